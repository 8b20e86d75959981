//! CustomResourceDefinitions and what they declare.

use std::time::Duration;

use super::*;

mod life;
mod objects;
mod versions;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

/// A namespaced definition of one version.
pub(crate) fn definition(plural: &str, kind: &str, schema: Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.example.com")},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "shortNames": [&plural[..2]], "categories": ["all"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
}

/// The schema of most tests here.
fn schema() -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer", "minimum": 1},
            "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
            "replicas": {"type": "integer"},
            "note": {"type": "string", "nullable": true},
            "port": {"x-kubernetes-int-or-string": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"}, "count": {"type": "integer"}}}},
        }},
        "status": {"type": "object", "properties": {"phase": {"type": "string"}, "replicas": {"type": "integer"},
            "selector": {"type": "string"}}},
    }})
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

impl Fixture {
    /// Creates a definition and waits until it is established.
    pub(crate) async fn define(&self, definition: Value) -> Value {
        let (code, made) = self.send("POST", DEFINITIONS, definition).await;
        assert_eq!(code, StatusCode::CREATED, "{made}");
        let name = made["metadata"]["name"].as_str().unwrap().to_owned();
        self.until(&format!("{DEFINITIONS}/{name}"), |d| {
            condition(d, "Established") == "True"
        })
        .await
    }

    /// Asks until the answer is as it should be.
    pub(crate) async fn until(&self, uri: &str, good: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let mut changes = self
                .server
                .core
                .cache
                .cacher(crate::crd::DEFINITIONS)
                .unwrap()
                .changed();
            changes.borrow_and_update();
            let found = self.get(uri).await;
            if good(&found) {
                return found;
            }
            let change = tokio::time::timeout_at(deadline, changes.changed()).await;
            assert!(change.is_ok(), "still {found}");
        }
    }
}

fn condition<'a>(definition: &'a Value, kind: &str) -> &'a str {
    definition["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|c| c["type"] == kind)
        .and_then(|c| c["status"].as_str())
        .unwrap_or_default()
}

fn message(status: &Value) -> &str {
    status["message"].as_str().unwrap_or_default()
}
