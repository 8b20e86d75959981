//! What clients learn of the server: its version, its groups, its resources.

use std::sync::Arc;

use serde_json::{Value, json};

use super::definitions::{define, definition, open_schema};
use super::{Ground, cases, eventually};

cases! {
    the_version: ["version"],
    groups_prefer_a_version_they_have: ["discovery/preferred-version"],
    groups_have_the_resources_they_name: ["discovery/resources"],
    clients_use_the_aggregated_form: ["discovery/aggregated"],
    clients_find_custom_resources: ["discovery/aggregated-crd"],
    forms_by_accept_header: ["discovery/aggregated-accept"],
    custom_resources_in_both_documents: ["discovery/aggregated-raw-crd"],
}

/// Kinds that every cluster has.
const KNOWN: [(&str, &str, &str); 16] = [
    ("", "v1", "namespaces"),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
    ),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "v1", "apiservices"),
    ("apps", "v1", "deployments"),
    ("authentication.k8s.io", "v1", "tokenreviews"),
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews"),
    ("autoscaling", "v1", "horizontalpodautoscalers"),
    ("autoscaling", "v2", "horizontalpodautoscalers"),
    ("batch", "v1", "jobs"),
    ("certificates.k8s.io", "v1", "certificatesigningrequests"),
    ("coordination.k8s.io", "v1", "leases"),
    ("discovery.k8s.io", "v1", "endpointslices"),
    ("networking.k8s.io", "v1", "ingresses"),
    ("policy", "v1", "poddisruptionbudgets"),
    ("storage.k8s.io", "v1", "csinodes"),
];

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

async fn the_version(g: Arc<Ground>) {
    let version = g.api.get("/version").await;
    assert_eq!(
        (&version["major"], &version["minor"]),
        (&json!("1"), &json!("35"))
    );
    assert_eq!(version["gitVersion"], "v1.35.0");
    for field in ["buildDate", "goVersion", "compiler", "platform"] {
        assert!(
            version[field].as_str().is_some_and(|text| !text.is_empty()),
            "{field}: {version}"
        );
    }
}

async fn groups(g: &Ground) -> Vec<Value> {
    let list = g.api.get("/apis").await;
    list["groups"].as_array().expect("groups").clone()
}

async fn groups_prefer_a_version_they_have(g: Arc<Ground>) {
    for group in groups(&g).await {
        let versions = group["versions"].as_array().unwrap();
        assert!(versions.contains(&group["preferredVersion"]), "{group}");
        let own = g
            .api
            .send(
                "GET",
                &format!("/apis/{}", group["name"].as_str().unwrap()),
                &Value::Null,
            )
            .await
            .1;
        // Another case's group may have gone meanwhile.
        if own["kind"] == "APIGroup" {
            assert_eq!(own["preferredVersion"], group["preferredVersion"]);
        }
    }
}

async fn groups_have_the_resources_they_name(g: Arc<Ground>) {
    let groups = groups(&g).await;
    for (group, version, resource) in KNOWN {
        let group_version = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        let path = if group.is_empty() {
            "/api/v1".into()
        } else {
            format!("/apis/{group_version}")
        };
        if !group.is_empty() {
            let found = groups.iter().find(|found| found["name"] == group).expect(group);
            let versions = found["versions"].as_array().unwrap();
            assert!(
                versions.iter().any(|v| v["groupVersion"] == group_version),
                "{found}"
            );
        }
        let list = g.api.get(&path).await;
        assert_eq!(list["groupVersion"], group_version);
        assert!(
            list["resources"]
                .as_array()
                .unwrap()
                .iter()
                .any(|r| r["name"] == resource),
            "{path}: {resource}"
        );
    }
}

/// Resources of a group's version in the aggregated documents.
async fn aggregated(g: &Ground, group: &str, version: &str) -> Vec<String> {
    let path = if group.is_empty() { "/api" } else { "/apis" };
    let (_, list) = g.api.ask("GET", path, &[("accept", AGGREGATED)], vec![]).await;
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("APIGroupDiscoveryList"), &json!("apidiscovery.k8s.io/v2"))
    );
    let items = list["items"].as_array().expect("items").iter();
    let group = items.filter(|item| item["metadata"]["name"].as_str().unwrap_or_default() == group);
    let versions = group.flat_map(|item| item["versions"].as_array().expect("versions"));
    let resources = versions
        .filter(|v| v["version"] == version)
        .flat_map(|v| v["resources"].as_array().expect("resources"));
    resources
        .map(|r| r["resource"].as_str().expect("a name").to_owned())
        .collect()
}

async fn clients_use_the_aggregated_form(g: Arc<Ground>) {
    let said = g.kubectl(&["api-resources", "--no-headers", "-v=8"], "").await;
    for (group, version, resource) in KNOWN {
        // kubectl shows the preferred version only.
        if (group, version) == ("autoscaling", "v1") {
            continue;
        }
        let group_version = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        let mut lines = said.lines();
        let line = lines.find(|line| {
            line.starts_with(&format!("{resource} ")) && line.contains(&format!(" {group_version} "))
        });
        assert!(line.is_some(), "{group_version} {resource} is not in\n{said}");
    }
    let (_, _, log) = g
        .try_kubectl(&["api-resources", "--cached=false", "-v=8"], "")
        .await;
    assert!(
        log.contains("/apis?timeout=") && !log.contains("/apis/apps/v1?"),
        "two requests, not one per group\n{log}"
    );
}

async fn clients_find_custom_resources(g: Arc<Ground>) {
    define(
        &g.api,
        definition("found.example.com", "widgets", "Widget", open_schema()),
    )
    .await;
    let group = kube::discovery::group(&g.api.0, "found.example.com")
        .await
        .expect("the group");
    let (resource, capabilities) = group.recommended_kind("Widget").expect("the kind");
    assert_eq!(
        (resource.plural.as_str(), resource.version.as_str()),
        ("widgets", "v1")
    );
    assert!(capabilities.supports_operation("watch"));
    let said = g
        .kubectl(
            &[
                "api-resources",
                "--api-group=found.example.com",
                "--no-headers",
                "--cached=false",
            ],
            "",
        )
        .await;
    assert_eq!(
        said.split_whitespace().collect::<Vec<_>>(),
        ["widgets", "found.example.com/v1", "true", "Widget"]
    );
    let names = aggregated(&g, "found.example.com", "v1").await;
    assert_eq!(names, ["widgets"]);
}

async fn forms_by_accept_header(g: Arc<Ground>) {
    for (group, version, resource) in KNOWN {
        let all = aggregated(&g, group, version).await;
        assert!(
            all.iter().any(|name| name == resource),
            "{group}/{version}: {all:?}"
        );
    }
    for (path, accept, kind) in [
        ("/apis", "application/json", "APIGroupList"),
        ("/apis", AGGREGATED, "APIGroupDiscoveryList"),
        ("/api", AGGREGATED, "APIGroupDiscoveryList"),
        ("/api", "application/json", "APIVersions"),
    ] {
        let both = format!("{accept},application/json");
        let response = g.api.raw("GET", path, &[("accept", &both)], vec![]).await;
        let media = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(media.starts_with(accept), "{path}: {media}");
        assert!(
            response.headers()["vary"].to_str().unwrap().contains("Accept"),
            "caches tell the forms apart"
        );
        let tag = response.headers().get("etag").cloned();
        let body = response.into_body().collect_bytes().await.unwrap();
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["kind"], kind, "{path} {accept}");
        if accept == AGGREGATED && path == "/api" {
            let tag = tag.expect("a tag");
            let again = [
                ("accept", both.as_str()),
                ("if-none-match", tag.to_str().unwrap()),
            ];
            let response = g.api.raw("GET", path, &again, vec![]).await;
            assert_eq!(response.status(), 304);
        }
    }
}

async fn custom_resources_in_both_documents(g: Arc<Ground>) {
    let group = "both.example.com";
    let mut made = definition(group, "widgets", "Widget", open_schema());
    made["spec"]["names"]["shortNames"] = json!(["wd"]);
    made["spec"]["names"]["categories"] = json!(["all"]);
    made["spec"]["versions"][0]["subresources"] = json!({"status": {}});
    let path = define(&g.api, made).await;
    let legacy = g.api.get(&format!("/apis/{group}/v1")).await;
    let resource = &legacy["resources"][0];
    assert_eq!(
        (
            &resource["name"],
            &resource["shortNames"],
            &resource["categories"],
            &resource["singularName"]
        ),
        (
            &json!("widgets"),
            &json!(["wd"]),
            &json!(["all"]),
            &json!("widget")
        )
    );
    assert_eq!(legacy["resources"][1]["name"], "widgets/status");
    let (_, list) = g.api.ask("GET", "/apis", &[("accept", AGGREGATED)], vec![]).await;
    let item = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["metadata"]["name"] == group);
    let resource = &item.expect("the group")["versions"][0]["resources"][0];
    assert_eq!(
        resource["responseKind"],
        json!({"group": group, "version": "v1", "kind": "Widget"})
    );
    assert_eq!(
        (&resource["scope"], &resource["singularResource"]),
        (&json!("Namespaced"), &json!("widget"))
    );
    assert_eq!(resource["subresources"][0]["subresource"], "status");
    g.api.delete(&path).await;
    g.api.until_gone(&path).await;
    eventually("the group is gone", async || {
        aggregated(&g, group, "v1").await.is_empty().then_some(())
    })
    .await;
}
