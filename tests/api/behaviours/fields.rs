//! Fields that a kind does not have, or that come twice. Lists of all forms are in `validation`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::definitions::{define, definition, open_schema};
use super::{Ground, cases, message};
use crate::server::Api;

cases! {
    unknown_and_repeated_fields: ["fields/typed"],
    unknown_metadata: ["fields/metadata-typed"],
    a_valid_custom_object: ["fields/valid"],
    a_custom_object_without_schema: ["fields/no-schema"],
    a_custom_object_with_more: ["fields/extra"],
    unknown_metadata_of_embedded_objects: ["fields/metadata-embedded"],
    repeated_fields_where_unknown_ones_are_kept: ["fields/duplicates-preserved"],
}

const STRICT: &str = "fieldManager=field_validation_mgr&fieldValidation=Strict";

/// Creates a Deployment with texts put into metadata and spec; gives what is said about it.
async fn deployment(g: &Ground, metadata: &str, spec: &str) -> String {
    let text = format!(
        r#"{{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {{"name": "typed"{metadata}}},
        "spec": {{{spec}"selector": {{"matchLabels": {{"app": "a"}}}}, "template": {{"metadata": {{"labels": {{"app": "a"}}}},
        "spec": {{"containers": [{{"name": "c", "image": "registry.example/c:1"}}]}}}}}}}}"#
    );
    let path = format!("/apis/apps/v1/namespaces/default/deployments?{STRICT}");
    let form = [("content-type", "application/json")];
    let (code, status) = g.api.ask("POST", &path, &form, text.into_bytes()).await;
    assert_eq!(code, 400, "{status}");
    message(&status).to_owned()
}

async fn unknown_and_repeated_fields(g: Arc<Ground>) {
    let said = deployment(&g, "", r#""unknownField": "foo", "replicas": 2, "replicas": 3, "#).await;
    let wanted =
        r#"strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas""#;
    assert!(said.contains(wanted), "{said}");
}

async fn unknown_metadata(g: Arc<Ground>) {
    let said = deployment(&g, r#", "unknownMeta": "foo""#, "").await;
    assert!(
        said.contains(r#"strict decoding error: unknown field "metadata.unknownMeta""#),
        "{said}"
    );
}

/// As upstream's: fields, a pattern, a list with keys.
fn schema(more: Value) -> Value {
    let text = json!({"type": "string"});
    let number = json!({"type": "integer", "format": "int32"});
    let mut spec = json!({"type": "object", "properties": {
        "foo": text,
        "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
            "items": {"type": "object", "required": ["containerPort", "protocol"], "properties": {
                "containerPort": number, "hostIP": text, "hostPort": number, "name": text, "protocol": text}}}}});
    for (key, value) in more.as_object().into_iter().flatten() {
        match key.as_str() {
            "template" => spec["properties"]["template"] = value.clone(),
            _ => spec[key] = value.clone(),
        }
    }
    json!({"type": "object", "properties": {"spec": spec}})
}

/// Declares `widgets` of a group and applies one: parts in YAML go into the object, its metadata and its spec.
async fn applied(g: &Ground, group: &str, schema: Value, [root, metadata, spec]: [&str; 3]) -> (u16, Value) {
    define(&g.api, definition(group, "widgets", "Widget", schema)).await;
    let yaml = format!(
        "apiVersion: {group}/v1\nkind: Widget\nmetadata:\n  name: w\n{metadata}{root}spec:\n{spec}  foo: foo1\n  \
         cronSpec: \"* * * * */5\"\n  ports:\n  - name: x\n    containerPort: 80\n    protocol: TCP\n"
    );
    let path = format!("/apis/{group}/v1/namespaces/default/widgets/w?{STRICT}");
    let form = [("content-type", "application/apply-patch+yaml")];
    let (code, answer) = g.api.ask("PATCH", &path, &form, yaml.into_bytes()).await;
    (code.as_u16(), answer)
}

async fn a_valid_custom_object(g: Arc<Ground>) {
    let (code, made) = applied(&g, "valid.example.com", schema(json!({})), [""; 3]).await;
    assert_eq!(
        (code, &made["spec"]["cronSpec"]),
        (201, &json!("* * * * */5")),
        "{made}"
    );
}

async fn a_custom_object_without_schema(g: Arc<Ground>) {
    let (code, made) = applied(
        &g,
        "schemaless.example.com",
        open_schema(),
        ["", "", "  unknown: uk1\n"],
    )
    .await;
    assert_eq!((code, &made["spec"]["unknown"]), (201, &json!("uk1")), "{made}");
}

async fn a_custom_object_with_more(g: Arc<Ground>) {
    let (code, status) = applied(
        &g,
        "extra.example.com",
        schema(json!({})),
        ["unknownField: u\n", "", ""],
    )
    .await;
    assert_ne!(code, 201);
    assert!(
        message(&status).contains(".unknownField: field not declared in schema"),
        "{status}"
    );
    let path = format!("/apis/extra.example.com/v1/namespaces/default/widgets?{STRICT}");
    let body = json!({"apiVersion": "extra.example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"more": 1}});
    let (code, _, said) = g.api.refused("POST", &path, &body).await;
    assert_eq!(code, 400);
    assert!(
        said.contains("strict decoding error: unknown field \"spec.more\""),
        "{said}"
    );
}

async fn unknown_metadata_of_embedded_objects(g: Arc<Ground>) {
    let embedded = json!({"x-kubernetes-preserve-unknown-fields": true, "template": {"type": "object",
        "x-kubernetes-embedded-resource": true, "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}}, "spec": {"type": "object"}}}});
    let template = "  template:\n    apiVersion: foo/v1\n    kind: Sub\n    metadata:\n      unknownSubMeta: unknown\n      name: sub\n";
    let parts = ["", "  unknownMeta: unknown\n", template];
    let (code, status) = applied(&g, "embedded.example.com", schema(embedded), parts).await;
    assert_ne!(code, 201);
    let said = message(&status);
    assert!(
        said.contains(".spec.template.metadata.unknownSubMeta: field not declared in schema")
            || said.contains(".metadata.unknownMeta: field not declared in schema"),
        "{said}"
    );
    // Without apply, both are named.
    let body = json!({"apiVersion": "embedded.example.com/v1", "kind": "Widget", "metadata": {"name": "w", "unknownMeta": 1},
        "spec": {"template": {"apiVersion": "foo/v1", "kind": "Sub", "metadata": {"name": "s", "unknownSubMeta": 1}}}});
    let path = format!("/apis/embedded.example.com/v1/namespaces/default/widgets?{STRICT}");
    let (_, _, said) = g.api.refused("POST", &path, &body).await;
    for field in ["metadata.unknownMeta", "spec.template.metadata.unknownSubMeta"] {
        assert!(
            said.contains(&format!("unknown field \"{field}\"")),
            "{field}\n{said}"
        );
    }
}

async fn repeated_fields_where_unknown_ones_are_kept(g: Arc<Ground>) {
    let kept = schema(json!({"x-kubernetes-preserve-unknown-fields": true}));
    let parts = ["", "", "  unknown: uk1\n  foo: foo0\n"];
    let (code, status) = applied(&g, "repeated.example.com", kept, parts).await;
    assert_ne!(code, 201);
    assert!(
        message(&status).contains("key \"foo\" already set in map"),
        "{status}"
    );
    let text = r#"{"apiVersion": "repeated.example.com/v1", "kind": "Widget", "metadata": {"name": "w"},
        "spec": {"unknown": 1, "foo": "1", "foo": "2"}}"#;
    let path = format!("/apis/repeated.example.com/v1/namespaces/default/widgets?{STRICT}");
    let form = [("content-type", "application/json")];
    let answer = g.api.ask("POST", &path, &form, text.into()).await;
    assert!(
        message(&answer.1).contains("duplicate field \"spec.foo\""),
        "{}",
        answer.1
    );
    let lax = path.replace("Strict", "Warn");
    let made = Api::expect(
        "with a warning",
        g.api.ask("POST", &lax, &form, text.into()).await,
    );
    assert_eq!(made["spec"]["foo"], "2", "the last one counts");
}
