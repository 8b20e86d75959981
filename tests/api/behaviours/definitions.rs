//! CustomResourceDefinitions as objects, and what the resources that they declare do.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Ground, cases, names};
use crate::server::Api;

pub(super) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

cases! {
    definitions_come_and_go: ["crd/create-delete"],
    definitions_are_listed: ["crd/list"],
    definitions_have_a_status: ["crd/status"],
    definitions_are_discovered: ["crd/discovery"],
    defaults_are_for_requests_and_for_what_is_stored: ["crd/defaulting"],
    custom_objects_are_watched: ["crd/watch"],
    fields_select: ["crd/field-selectors"],
    many_definitions_over_one_connection: [],
}

/// A namespaced definition with one version, `v1`.
pub(super) fn definition(group: &str, plural: &str, kind: &str, schema: Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
}

/// A schema that keeps everything.
pub(super) fn open_schema() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

pub(super) fn object(group: &str, version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": format!("{group}/{version}"), "kind": kind, "metadata": {"name": name}})
}

fn is_established(definition: &Value) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|c| c["type"] == "Established" && c["status"] == "True")
}

/// Creates a definition and waits until it is established; gives its path.
pub(super) async fn define(api: &Api, definition: Value) -> String {
    let made = api.post(DEFINITIONS, &definition).await;
    let path = format!(
        "{DEFINITIONS}/{}",
        made["metadata"]["name"].as_str().expect("a name")
    );
    api.until(&path, is_established).await;
    path
}

async fn definitions_come_and_go(g: Arc<Ground>) {
    let path = define(
        &g.api,
        definition("comes.example.com", "widgets", "Widget", open_schema()),
    )
    .await;
    let widgets = "/apis/comes.example.com/v1/namespaces/default/widgets";
    let list = g.api.get(widgets).await;
    assert_eq!(
        (&list["kind"], &list["items"]),
        (&json!("WidgetList"), &json!([]))
    );
    g.api.delete(&path).await;
    g.api.until_gone(&path).await;
    let (code, reason, _) = g.api.refused("GET", widgets, &Value::Null).await;
    assert_eq!((code, reason.as_str()), (404, "NotFound"));
}

async fn definitions_are_listed(g: Arc<Ground>) {
    for i in 0..5 {
        let mut made = definition(
            "listed.example.com",
            &format!("widget{i}s"),
            &format!("Widget{i}"),
            open_schema(),
        );
        made["metadata"]["labels"] = json!({"listed": "yes"});
        define(&g.api, made).await;
    }
    let selected = format!("{DEFINITIONS}?labelSelector=listed%3Dyes");
    let list = g.api.get(&selected).await;
    assert_eq!(names(&list).len(), 5);
    assert!(list["items"].as_array().unwrap().iter().all(is_established));
    g.api.delete(&selected).await;
    g.api.until(&selected, |list| names(list).is_empty()).await;
}

async fn definitions_have_a_status(g: Arc<Ground>) {
    let path = define(
        &g.api,
        definition("status.example.com", "widgets", "Widget", open_schema()),
    )
    .await;
    let status = format!("{path}/status");
    let mut read = g.api.get(&status).await;
    assert!(is_established(&read));
    let condition = |reason: &str| {
        json!({"type": "StatusUpdate", "status": "True", "reason": reason, "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let conditions = read["status"]["conditions"].as_array_mut().unwrap();
    conditions.push(condition("Updated"));
    read["spec"]["conversion"] = json!({"strategy": "None", "nonsense": 1});
    let updated = g.api.put(&status, &read).await;
    assert!(
        updated["status"]["conditions"]
            .as_array()
            .unwrap()
            .contains(&condition("Updated"))
    );
    let mut conditions = updated["status"]["conditions"].clone();
    let last = conditions.as_array().unwrap().len() - 1;
    conditions[last] = condition("Patched");
    let patched = g
        .api
        .merge(&status, json!({"status": {"conditions": conditions}}))
        .await;
    assert!(
        patched["status"]["conditions"]
            .as_array()
            .unwrap()
            .contains(&condition("Patched"))
    );
    assert_eq!(
        patched["metadata"]["generation"], 1,
        "a status is no new generation"
    );
}

async fn definitions_are_discovered(g: Arc<Ground>) {
    let groups = g.api.get("/apis").await;
    let group = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|group| group["name"] == "apiextensions.k8s.io");
    let version = json!({"groupVersion": "apiextensions.k8s.io/v1", "version": "v1"});
    assert!(
        group.expect("the group")["versions"]
            .as_array()
            .unwrap()
            .contains(&version)
    );
    let own = g.api.get("/apis/apiextensions.k8s.io").await;
    assert_eq!(own["preferredVersion"], version);
    let resources = g.api.get("/apis/apiextensions.k8s.io/v1").await;
    let names: Vec<&Value> = resources["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["name"])
        .collect();
    assert_eq!(
        names,
        ["customresourcedefinitions", "customresourcedefinitions/status"]
    );
}

async fn defaults_are_for_requests_and_for_what_is_stored(g: Arc<Ground>) {
    let group = "defaults.example.com";
    let text = json!({"type": "string"});
    let with_default = |value: &str| json!({"type": "string", "default": value});
    let schema = |a: Value, b: Value| json!({"type": "object", "properties": {"a": a, "b": b}});
    let path = define(
        &g.api,
        definition(
            group,
            "widgets",
            "Widget",
            schema(with_default("A"), text.clone()),
        ),
    )
    .await;
    let widgets = format!("/apis/{group}/v1/namespaces/default/widgets");
    let made = g.api.post(&widgets, &object(group, "v1", "Widget", "w")).await;
    assert_eq!((&made["a"], &made["b"]), (&json!("A"), &Value::Null));
    // What is stored has no "b": the new default shows when it is read.
    let version = "/spec/versions/0/schema/openAPIV3Schema/properties";
    let patch = json!([{"op": "replace", "path": version, "value": {"a": text, "b": with_default("B")}}]);
    let form = [("content-type", "application/json-patch+json")];
    Api::expect(
        "patch",
        g.api
            .ask("PATCH", &path, &form, patch.to_string().into_bytes())
            .await,
    );
    let one = format!("{widgets}/w");
    let read = g.api.until(&one, |read| read["b"] == "B").await;
    assert_eq!(read["a"], "A", "was stored with its default");
    let list = g.api.get(&widgets).await;
    assert_eq!(list["items"][0]["b"], "B");
    assert_eq!(
        read["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
}

async fn custom_objects_are_watched(g: Arc<Ground>) {
    let group = "watched.example.com";
    define(&g.api, definition(group, "widgets", "Widget", open_schema())).await;
    let widgets = format!("/apis/{group}/v1/namespaces/default/widgets");
    let version = g.api.get(&widgets).await["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    for name in ["one", "two"] {
        let path = format!("{widgets}/{name}");
        g.api.post(&widgets, &object(group, "v1", "Widget", name)).await;
        g.api.merge(&path, json!({"dummy": "value"})).await;
        g.api.delete(&path).await;
    }
    let watch = format!("{widgets}?watch=1&timeoutSeconds=20&resourceVersion={version}");
    let events = g.api.events(&watch, |seen| seen.len() == 6).await;
    assert_eq!(
        super::watches::shown(&events),
        [
            "ADDED one",
            "MODIFIED one",
            "DELETED one",
            "ADDED two",
            "MODIFIED two",
            "DELETED two"
        ]
    );
    assert_eq!(events[1]["object"]["dummy"], "value");
}

async fn fields_select(g: Arc<Ground>) {
    let group = "fields.example.com";
    let text = json!({"type": "string"});
    let schema = json!({"type": "object", "properties": {"hostPort": text, "color": text}});
    let mut made = definition(group, "widgets", "Widget", schema);
    made["spec"]["versions"][0]["selectableFields"] =
        json!([{"jsonPath": ".hostPort"}, {"jsonPath": ".color"}]);
    define(&g.api, made).await;
    let widgets = format!("/apis/{group}/v1/namespaces/default/widgets");
    let version = g.api.get(&widgets).await["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    for (name, port, color) in [
        ("a", "host1:80", "blue"),
        ("b", "host1:8080", "blue"),
        ("c", "host2", "green"),
    ] {
        let mut widget = object(group, "v1", "Widget", name);
        widget["hostPort"] = json!(port);
        widget["color"] = json!(color);
        g.api.post(&widgets, &widget).await;
    }
    for (selector, selected) in [
        ("hostPort%3Dhost1:80", vec!["a"]),
        ("color%3Dblue", vec!["a", "b"]),
        ("color%3Dgreen,hostPort%3Dhost2", vec!["c"]),
        ("color%3Dgreen,hostPort%3Dhost1:80", vec![]),
        ("color!%3Dblue", vec!["c"]),
        ("metadata.name%3Db,color%3Dblue", vec!["b"]),
    ] {
        assert_eq!(
            names(&g.api.get(&format!("{widgets}?fieldSelector={selector}")).await),
            selected,
            "{selector}"
        );
        let said = g
            .kubectl(
                &[
                    "get",
                    &format!("widgets.{group}"),
                    "-o=name",
                    "--field-selector",
                    &selector.replace("%3D", "="),
                ],
                "",
            )
            .await;
        assert_eq!(said.lines().count(), selected.len(), "{selector}: {said}");
    }
    // Leaving the selection is a deletion.
    g.api
        .merge(&format!("{widgets}/a"), json!({"color": "green"}))
        .await;
    let watch =
        format!("{widgets}?watch=1&timeoutSeconds=20&resourceVersion={version}&fieldSelector=color%3Dblue");
    let events = g.api.events(&watch, |seen| seen.len() == 3).await;
    assert_eq!(
        super::watches::shown(&events),
        ["ADDED a", "ADDED b", "DELETED a"]
    );
    let (code, _, said) = g
        .api
        .refused(
            "GET",
            &format!("{widgets}?fieldSelector=spec.x%3Dy"),
            &Value::Null,
        )
        .await;
    assert_eq!((code, said.as_str()), (400, "field label not supported: spec.x"));
}

/// What operators' set-ups do: one client, one connection, definition after definition.
async fn many_definitions_over_one_connection(g: Arc<Ground>) {
    for i in 0..30 {
        let (plural, kind) = (format!("many{i}s"), format!("Many{i}"));
        g.api
            .post(
                DEFINITIONS,
                &definition("many.example.com", &plural, &kind, open_schema()),
            )
            .await;
        let objects = format!("/apis/many.example.com/v1/namespaces/default/{plural}");
        g.api.until(&objects, |list| list["items"] == json!([])).await;
        g.api
            .post(&objects, &object("many.example.com", "v1", &kind, "a"))
            .await;
    }
}
