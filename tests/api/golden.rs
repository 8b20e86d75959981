//! Discovery and OpenAPI as files: a change of what clients see of the API shows in a review.
//!
//! `UPDATE_GOLDEN=1 cargo xtask test --api` writes the files anew.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::server::Server;

/// Holds a text against a file of `golden/`.
fn hold(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("api/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        return;
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (is, was)) in text.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(is, was, "golden/{name}:{}", number + 1);
    }
    assert_eq!(
        text.lines().count(),
        wanted.lines().count(),
        "lines of golden/{name}"
    );
}

/// A line per resource of a legacy discovery document.
fn lines(document: &Value) -> Vec<String> {
    let words = |value: &Value| -> String {
        let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(",")
    };
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    document["resources"]
        .as_array()
        .unwrap_or_else(|| panic!("{document}"))
        .iter()
        .map(|r| {
            let scope = if r["namespaced"] == true {
                "namespaced"
            } else {
                "cluster"
            };
            let mut line = format!(
                "  {} {} {scope} {}",
                text(&r["name"]),
                text(&r["kind"]),
                words(&r["verbs"])
            );
            for (label, value) in [
                ("singular", text(&r["singularName"])),
                ("short", words(&r["shortNames"])),
                ("in", words(&r["categories"])),
                ("group", text(&r["group"])),
                ("version", text(&r["version"])),
                ("hash", text(&r["storageVersionHash"])),
            ] {
                if !value.is_empty() && value != "-" {
                    line.push_str(&format!(" {label}={value}"));
                }
            }
            line
        })
        .collect()
}

#[tokio::test]
async fn discovery() {
    let server = Server::start();
    let api = server.api().await;
    let mut out = format!("/api {}\nv1\n", api.get("/api").await["versions"]);
    out.push_str(&lines(&api.get("/api/v1").await).join("\n"));
    let groups = api.get("/apis").await;
    for group in groups["groups"].as_array().unwrap() {
        out.push_str(&format!(
            "\n{} preferred={}",
            group["name"].as_str().unwrap(),
            group["preferredVersion"]["version"].as_str().unwrap()
        ));
        for version in group["versions"].as_array().unwrap() {
            let name = version["groupVersion"].as_str().unwrap();
            out.push_str(&format!("\n {name}\n"));
            out.push_str(&lines(&api.get(&format!("/apis/{name}")).await).join("\n"));
        }
    }
    out.push('\n');
    hold("discovery.txt", &out);
}

#[tokio::test]
async fn aggregated_discovery() {
    let server = Server::start();
    let api = server.api().await;
    let accept = [(
        "accept",
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    )];
    for (path, name) in [("/api", "aggregated-core.json"), ("/apis", "aggregated.json")] {
        let response = api.raw("GET", path, &accept, vec![]).await;
        let tag = response.headers()["etag"].to_str().unwrap().to_owned();
        let bytes = response.into_body().collect_bytes().await.unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        hold(
            name,
            &format!("{}\n", serde_json::to_string_pretty(&value).unwrap()),
        );
        let again = [accept[0], ("if-none-match", &*tag)];
        assert_eq!(api.raw("GET", path, &again, vec![]).await.status(), 304);
    }
}

/// A schema as one line: fields by name with their types, and what differs from plain.
fn reduced(schema: &Value) -> String {
    let target = |value: &Value| {
        value
            .as_str()
            .and_then(|r| r.rsplit('/').next())
            .unwrap_or_default()
            .to_owned()
    };
    if let Some(reference) = schema.get("$ref") {
        return target(reference);
    }
    if let Some(one) = schema["allOf"].as_array().and_then(|all| all.first()) {
        return target(&one["$ref"]);
    }
    match schema["type"].as_str() {
        Some("array") => format!("[]{}", reduced(&schema["items"])),
        Some("object") if schema.get("additionalProperties").is_some() => {
            format!("{{}}{}", reduced(&schema["additionalProperties"]))
        }
        kind => {
            let format = schema["format"]
                .as_str()
                .map(|f| format!(":{f}"))
                .unwrap_or_default();
            format!("{}{format}", kind.unwrap_or("any"))
        }
    }
}

#[tokio::test]
async fn openapi_documents() {
    let server = Server::start();
    let api = server.api().await;
    let index = api.get("/openapi/v3").await;
    let mut definitions: BTreeMap<String, String> = BTreeMap::new();
    let mut paths = String::new();
    for (name, place) in index["paths"].as_object().unwrap() {
        let document = api.get(place["serverRelativeURL"].as_str().unwrap()).await;
        assert_eq!(document["openapi"], "3.0.0", "{name}");
        for (path, methods) in document["paths"].as_object().into_iter().flatten() {
            let methods: Vec<&str> = methods
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| *key != "parameters")
                .map(String::as_str)
                .collect();
            paths.push_str(&format!("{path} {}\n", methods.join(",")));
        }
        for (name, schema) in document["components"]["schemas"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let required: Vec<&str> = schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let mut text = format!("{name} {}\n", reduced(schema));
            for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                let mark = if required.contains(&&**field) {
                    " required"
                } else {
                    ""
                };
                text.push_str(&format!("  {field} {}{mark}\n", reduced(property)));
            }
            definitions.insert(name.clone(), text);
        }
    }
    hold("openapi-paths.txt", &paths);
    hold(
        "openapi-definitions.txt",
        &definitions.into_values().collect::<String>(),
    );
    // The two versions name the same things.
    let old = api.get("/openapi/v2").await;
    let names: Vec<&String> = old["paths"].as_object().unwrap().keys().collect();
    for path in paths.lines().filter_map(|line| line.split(' ').next()) {
        assert!(names.iter().any(|name| *name == path), "{path} is not in v2");
    }
    assert_eq!(
        (&old["swagger"], &old["info"]["version"]),
        (&json!("2.0"), &json!("1.35"))
    );
}
