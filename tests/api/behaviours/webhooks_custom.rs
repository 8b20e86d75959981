//! Webhooks and custom resources.

use std::sync::Arc;

use serde_json::{Value, json};

use super::definitions::{DEFINITIONS, define, definition, object};
use super::webhooks::{configure, only_in, rule, webhook};
use super::{Ground, cases};
use crate::server::Api;

cases! {
    custom_objects_are_denied: ["webhook/deny-custom"],
    definitions_are_denied: ["webhook/deny-crd"],
    custom_objects_are_changed: ["webhook/mutate-custom"],
    what_the_schema_lacks_is_pruned: ["webhook/mutate-custom-pruned"],
    another_version_is_stored: ["webhook/mutate-custom-stored-version"],
}

/// `data` takes any text.
fn data_schema() -> Value {
    json!({"type": "object", "properties": {"data": {"type": "object", "additionalProperties": {"type": "string"}}}})
}

fn with_data(group: &str, version: &str, name: &str, data: Value) -> Value {
    let mut made = object(group, version, "Widget", name);
    made["data"] = data;
    made
}

async fn custom_objects_are_denied(g: Arc<Ground>) {
    let (api, hook) = (&g.api, g.webhook().await);
    api.namespace("custom-denied").await;
    define(
        api,
        definition("denied.example.com", "widgets", "Widget", data_schema()),
    )
    .await;
    let rule = rule(
        &["CREATE", "UPDATE", "DELETE"],
        "denied.example.com",
        "v1",
        "widgets",
    );
    let hooks = [webhook(
        "custom",
        hook.by_service("/data"),
        rule,
        only_in("custom-denied"),
    )];
    configure(api, "validating", "custom-denied", &hooks).await;
    let widgets = "/apis/denied.example.com/v1/namespaces/custom-denied/widgets";
    let bad = json!({"webhook-e2e-test": "webhook-disallow"});
    let refused = |answer: (u16, String, String)| {
        assert!(
            answer
                .2
                .ends_with("denied the request: the object contains unwanted data"),
            "{answer:?}"
        );
    };
    refused(
        api.refused(
            "POST",
            widgets,
            &with_data("denied.example.com", "v1", "a", bad.clone()),
        )
        .await,
    );
    api.post(
        widgets,
        &with_data("denied.example.com", "v1", "a", json!({"k": "v"})),
    )
    .await;
    let one = format!("{widgets}/a");
    refused(api.refused("PATCH", &one, &json!({"data": bad})).await);
    // An object from before the webhook cannot go while it has what is denied.
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/custom-denied";
    let operations =
        |list: Value| json!([{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": list}]);
    let form = [("content-type", "application/json-patch+json")];
    let only_deletions = operations(json!(["DELETE"])).to_string().into_bytes();
    Api::expect("patch", api.ask("PATCH", path, &form, only_deletions).await);
    api.merge(&one, json!({"data": bad})).await;
    refused(api.refused("DELETE", &one, &Value::Null).await);
    api.merge(&one, json!({"data": {"webhook-e2e-test": null}})).await;
    api.delete(&one).await;
}

async fn definitions_are_denied(g: Arc<Ground>) {
    let (api, hook) = (&g.api, g.webhook().await);
    let rule = rule(
        &["CREATE"],
        "apiextensions.k8s.io",
        "*",
        "customresourcedefinitions",
    );
    let mine = json!({"objectSelector": {"matchLabels": {"denied": "yes"}}});
    let hooks = [webhook(
        "definitions",
        hook.by_service("/always-deny"),
        rule,
        mine,
    )];
    configure(api, "validating", "definitions-denied", &hooks).await;
    let mut unwanted = definition("unwanted.example.com", "widgets", "Widget", data_schema());
    unwanted["metadata"]["labels"] = json!({"denied": "yes"});
    let (code, _, said) = api.refused("POST", DEFINITIONS, &unwanted).await;
    assert_eq!(code, 400);
    assert!(said.contains("this webhook denies all requests"), "{said}");
}

/// Two stages that change objects of a group's first version, in a namespace.
async fn stages(g: &Ground, group: &str, namespace: &str) {
    let hook = g.webhook().await;
    let stage = |name: &str| {
        let rule = rule(&["CREATE", "UPDATE"], group, "v1", "widgets");
        webhook(name, hook.by_service("/mutate-data"), rule, only_in(namespace))
    };
    configure(&g.api, "mutating", namespace, &[stage("one"), stage("two")]).await;
}

const STARTED: &str = "mutation-start";

async fn custom_objects_are_changed(g: Arc<Ground>) {
    let (api, group) = (&g.api, "changed.example.com");
    api.namespace("custom-changed").await;
    define(api, definition(group, "widgets", "Widget", data_schema())).await;
    stages(&g, group, "custom-changed").await;
    let widgets = format!("/apis/{group}/v1/namespaces/custom-changed/widgets");
    let made = api
        .post(&widgets, &with_data(group, "v1", "a", json!({STARTED: "yes"})))
        .await;
    assert_eq!(
        made["data"],
        json!({STARTED: "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"})
    );
}

async fn what_the_schema_lacks_is_pruned(g: Arc<Ground>) {
    let (api, group) = (&g.api, "pruned.example.com");
    api.namespace("custom-pruned").await;
    let text = json!({"type": "string"});
    let schema = json!({"type": "object", "properties": {"data": {"type": "object",
        "properties": {STARTED: text, "mutation-stage-1": text}}}});
    define(api, definition(group, "widgets", "Widget", schema)).await;
    stages(&g, group, "custom-pruned").await;
    let widgets = format!("/apis/{group}/v1/namespaces/custom-pruned/widgets");
    let made = api
        .post(&widgets, &with_data(group, "v1", "a", json!({STARTED: "yes"})))
        .await;
    assert_eq!(made["data"], json!({STARTED: "yes", "mutation-stage-1": "yes"}));
}

async fn another_version_is_stored(g: Arc<Ground>) {
    let (api, group) = (&g.api, "stored.example.com");
    api.namespace("custom-stored").await;
    let mut two = definition(group, "widgets", "Widget", data_schema());
    let mut second = two["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    two["spec"]["versions"].as_array_mut().unwrap().push(second);
    let path = define(api, two).await;
    stages(&g, group, "custom-stored").await;
    let widgets = |version: &str| format!("/apis/{group}/{version}/namespaces/custom-stored/widgets");
    api.post(&widgets("v1"), &with_data(group, "v1", "a", json!({"k": "v"})))
        .await;
    let mut changed = api.get(&path).await;
    changed["spec"]["versions"][0]["storage"] = json!(false);
    changed["spec"]["versions"][1]["storage"] = json!(true);
    let changed = api.put(&path, &changed).await;
    assert_eq!(changed["status"]["storedVersions"], json!(["v1", "v2"]));
    // The webhook is for v1; what is written as v2 is shown to it as v1.
    for version in ["v1", "v2"] {
        let one = format!("{}/a", widgets(version));
        api.merge(
            &one,
            json!({"data": {STARTED: null, "mutation-stage-1": null, "mutation-stage-2": null}}),
        )
        .await;
        let patched = api.merge(&one, json!({"data": {STARTED: "yes"}})).await;
        assert_eq!(patched["apiVersion"], format!("{group}/{version}"));
        assert_eq!(patched["data"]["mutation-stage-2"], "yes", "{version}: {patched}");
    }
}
