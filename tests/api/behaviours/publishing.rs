//! Schemas of custom resources in OpenAPI: what kubectl explains, and refuses.

use std::sync::Arc;

use serde_json::{Value, json};

use super::definitions::{define, definition, object};
use super::{Ground, cases, eventually};

cases! {
    a_schema_is_published: ["openapi/schema"],
    nothing_is_said_without_a_schema: ["openapi/no-schema"],
    unknown_fields_at_the_root: ["openapi/preserve-root"],
    unknown_fields_within: ["openapi/preserve-embedded"],
    definitions_of_two_groups: ["openapi/groups"],
    versions_of_one_group: ["openapi/versions"],
    kinds_of_one_version: ["openapi/kinds"],
    a_renamed_version: ["openapi/renamed-version"],
    a_version_that_is_no_longer_served: ["openapi/unserved-version"],
}

fn foo_schema() -> Value {
    json!({"type": "object", "description": "Foo CRD for Testing", "properties": {
        "spec": {"type": "object", "description": "Specification of Foo", "properties": {"bars": {
            "type": "array", "description": "List of Bars and their specs.", "items": {"type": "object",
                "required": ["name"], "properties": {
                    "name": {"type": "string", "description": "Name of Bar."},
                    "age": {"type": "string", "description": "Age of Bar."},
                    "feeling": {"type": "string", "description": "Whether Bar is feeling great.", "enum": ["Great", "Down"]},
                    "bazs": {"type": "array", "description": "List of Bazs.", "items": {"type": "string"}}}}}}},
        "status": {"type": "object", "description": "Status of Foo"}}})
}

/// `com.example.foo.v1.Foo` of `foo.example.com`.
fn published_name(group: &str, version: &str, kind: &str) -> String {
    let mut parts: Vec<&str> = group.split('.').collect();
    parts.reverse();
    format!("{}.{version}.{kind}", parts.join("."))
}

/// What both documents say of a version's kind.
async fn published(g: &Ground, group: &str, version: &str, kind: &str) -> (Option<Value>, Option<Value>) {
    let name = published_name(group, version, kind);
    let second = g.api.get("/openapi/v2").await["definitions"].get(&name).cloned();
    let index = g.api.get("/openapi/v3").await;
    let path = &index["paths"][format!("apis/{group}/{version}")]["serverRelativeURL"];
    let third = match path.as_str() {
        Some(path) => g.api.get(path).await["components"]["schemas"].get(&name).cloned(),
        None => None,
    };
    (second, third)
}

/// Waits until both documents say it, or neither does.
async fn until_published(g: &Ground, group: &str, version: &str, kind: &str, wanted: bool) {
    eventually(
        &format!("{group}/{version} {kind} published: {wanted}"),
        async || {
            let (second, third) = published(g, group, version, kind).await;
            (second.is_some() == wanted && third.is_some() == wanted).then_some(())
        },
    )
    .await;
}

async fn explains(g: &Arc<Ground>, what: &str, version: &str, words: &[&str]) {
    let said = g
        .kubectl(&["explain", what, &format!("--api-version={version}")], "")
        .await;
    for wanted in words {
        assert!(said.contains(wanted), "{what}: {wanted:?} is not in\n{said}");
    }
}

async fn a_schema_is_published(g: Arc<Ground>) {
    let (group, version) = ("foo.example.com", "foo.example.com/v1");
    define(&g.api, definition(group, "foos", "Foo", foo_schema())).await;
    until_published(&g, group, "v1", "Foo", true).await;
    let (second, third) = published(&g, group, "v1", "Foo").await;
    for document in [second.unwrap(), third.unwrap()] {
        assert_eq!(document["properties"]["spec"], foo_schema()["properties"]["spec"]);
        assert_eq!(
            document["x-kubernetes-group-version-kind"],
            json!([{"group": group, "version": "v1", "kind": "Foo"}])
        );
    }
    let widget = |bar: Value| {
        let mut made = object(group, "v1", "Foo", "foo");
        made["spec"] = json!({"bars": [bar]});
        made.to_string()
    };
    g.kubectl(&["create", "-f", "-"], &widget(json!({"name": "bar"})))
        .await;
    g.kubectl(&["delete", "foos.foo.example.com", "foo"], "").await;
    g.kubectl(&["apply", "-f", "-"], &widget(json!({"name": "bar"})))
        .await;
    for (bar, refused) in [
        (
            json!({"name": "b", "feeling": "NonExistentValue"}),
            "Unsupported value: \"NonExistentValue\"",
        ),
        (
            json!({"name": "b", "foo": true}),
            "unknown field \"spec.bars[0].foo\"",
        ),
        (json!({"age": "10"}), "spec.bars[0].name: Required value"),
    ] {
        for verb in ["create", "apply"] {
            let (code, _, said) = g.try_kubectl(&[verb, "-f", "-"], &widget(bar.clone())).await;
            assert!(code != 0 && said.contains(refused), "{verb}: {refused}\n{said}");
        }
    }
    explains(
        &g,
        "foos",
        version,
        &["Foo CRD for Testing", "FIELDS:", "apiVersion", "spec"],
    )
    .await;
    explains(
        &g,
        "foos.metadata",
        version,
        &[
            "Standard object",
            "creationTimestamp",
            "CreationTimestamp is a timestamp",
        ],
    )
    .await;
    explains(
        &g,
        "foos.spec",
        version,
        &[
            "Specification of Foo",
            "bars\t<[]Object>",
            "List of Bars and their specs",
        ],
    )
    .await;
    explains(
        &g,
        "foos.spec.bars",
        version,
        &[
            "FIELD: bars <[]Object>",
            "bazs\t<[]string>",
            "name\t<string> -required-",
            "Name of Bar",
        ],
    )
    .await;
    let (code, _, said) = g
        .try_kubectl(&["explain", "foos.spec.bars2", "--api-version", version], "")
        .await;
    assert!(
        code != 0 && said.contains("field \"bars2\" does not exist"),
        "{said}"
    );
}

/// kubectl lets anything through, and explains what there is.
async fn anything_goes(g: &Arc<Ground>, kind: &str, schema: Value, extra: Value, words: &[&str]) {
    let plural = format!("{}s", kind.to_lowercase());
    let group = format!("{plural}.example.com");
    define(&g.api, definition(&group, &plural, kind, schema)).await;
    until_published(g, &group, "v1", kind, true).await;
    let mut made = object(&group, "v1", kind, "foo");
    for (key, value) in extra.as_object().into_iter().flatten() {
        made[key] = value.clone();
    }
    for verb in ["create", "apply"] {
        g.kubectl(&[verb, "-f", "-"], &made.to_string()).await;
        let read = g
            .api
            .get(&format!("/apis/{group}/v1/namespaces/default/{plural}/foo"))
            .await;
        for (key, value) in extra.as_object().into_iter().flatten() {
            assert_eq!(read[key], *value, "{verb}: {read}");
        }
        g.kubectl(&["delete", &plural, "foo"], "").await;
    }
    explains(g, &plural, &format!("{group}/v1"), words).await;
}

async fn nothing_is_said_without_a_schema(g: Arc<Ground>) {
    // A version of v1 must have a schema; this one says nothing.
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    anything_goes(
        &g,
        "Blank",
        schema,
        json!({"a": {"b": [{"c": "d"}]}}),
        &["<empty>"],
    )
    .await;
}

async fn unknown_fields_at_the_root(g: Arc<Ground>) {
    let schema = json!({"type": "object", "description": "preserve-unknown-properties at root for Testing",
        "x-kubernetes-preserve-unknown-fields": true, "properties": {
            "spec": {"type": "object", "description": "Specification of Waldo", "properties": {
                "dummy": {"type": "string", "description": "Dummy property."}}}}});
    let words = ["preserve-unknown-properties at root for Testing"];
    anything_goes(&g, "Root", schema, json!({"a": {"b": [{"c": "d"}]}}), &words).await;
}

async fn unknown_fields_within(g: Arc<Ground>) {
    let schema = json!({"type": "object", "description": "preserve-unknown-properties in nested field for Testing",
        "properties": {"spec": {"type": "object", "description": "Specification of Waldo",
            "x-kubernetes-preserve-unknown-fields": true, "properties": {
                "dummy": {"type": "string", "description": "Dummy property."}}}}});
    let words = [
        "preserve-unknown-properties in nested field for Testing",
        "Specification of Waldo",
    ];
    anything_goes(&g, "Nest", schema, json!({"spec": {"b": [{"c": "d"}]}}), &words).await;
}

async fn definitions_of_two_groups(g: Arc<Ground>) {
    for group in ["one.groups.example.com", "two.groups.example.com"] {
        define(&g.api, definition(group, "foos", "Foo", foo_schema())).await;
    }
    for group in ["one.groups.example.com", "two.groups.example.com"] {
        until_published(&g, group, "v1", "Foo", true).await;
    }
}

/// One version more, with a schema of its own.
fn add_version(definition: &mut Value, name: &str, schema: Value) {
    let versions = definition["spec"]["versions"].as_array_mut().expect("versions");
    versions
        .push(json!({"name": name, "served": true, "storage": false, "schema": {"openAPIV3Schema": schema}}));
}

async fn versions_of_one_group(g: Arc<Ground>) {
    let group = "versions.example.com";
    let mut multi = definition(group, "foos", "Foo", foo_schema());
    add_version(&mut multi, "v2", foo_schema());
    define(&g.api, multi).await;
    let mut other = definition(group, "waldos", "Waldo", foo_schema());
    other["spec"]["versions"][0]["name"] = json!("v5");
    define(&g.api, other).await;
    for (version, kind) in [("v1", "Foo"), ("v2", "Foo"), ("v5", "Waldo")] {
        until_published(&g, group, version, kind, true).await;
    }
}

async fn kinds_of_one_version(g: Arc<Ground>) {
    let group = "kinds.example.com";
    define(&g.api, definition(group, "foos", "Foo", foo_schema())).await;
    define(&g.api, definition(group, "waldos", "Waldo", foo_schema())).await;
    for kind in ["Foo", "Waldo"] {
        until_published(&g, group, "v1", kind, true).await;
    }
}

async fn a_renamed_version(g: Arc<Ground>) {
    let group = "renamed.example.com";
    let mut made = definition(group, "foos", "Foo", foo_schema());
    add_version(&mut made, "v2", foo_schema());
    let path = define(&g.api, made).await;
    until_published(&g, group, "v2", "Foo", true).await;
    let before = g.api.get("/openapi/v3").await["paths"].clone();
    let patch = json!([{"op": "test", "path": "/spec/versions/1/name", "value": "v2"},
        {"op": "replace", "path": "/spec/versions/1/name", "value": "v4"}]);
    let form = [("content-type", "application/json-patch+json")];
    let answer = g
        .api
        .ask("PATCH", &path, &form, patch.to_string().into_bytes())
        .await;
    crate::server::Api::expect("rename", answer);
    until_published(&g, group, "v4", "Foo", true).await;
    until_published(&g, group, "v2", "Foo", false).await;
    until_published(&g, group, "v1", "Foo", true).await;
    // What did not change keeps its address, and so clients their copy.
    let after = g.api.get("/openapi/v3").await["paths"].clone();
    assert_eq!(after["api/v1"], before["api/v1"]);
}

async fn a_version_that_is_no_longer_served(g: Arc<Ground>) {
    let group = "unserved.example.com";
    let mut made = definition(group, "foos", "Foo", foo_schema());
    add_version(&mut made, "v2", foo_schema());
    let path = define(&g.api, made).await;
    until_published(&g, group, "v2", "Foo", true).await;
    let patch = json!([{"op": "replace", "path": "/spec/versions/1/served", "value": false}]);
    let form = [("content-type", "application/json-patch+json")];
    let answer = g
        .api
        .ask("PATCH", &path, &form, patch.to_string().into_bytes())
        .await;
    crate::server::Api::expect("unserve", answer);
    until_published(&g, group, "v2", "Foo", false).await;
    until_published(&g, group, "v1", "Foo", true).await;
    let (code, _, _) = g
        .api
        .refused(
            "GET",
            &format!("/apis/{group}/v2/namespaces/default/foos"),
            &Value::Null,
        )
        .await;
    assert_eq!(code, 404);
}
