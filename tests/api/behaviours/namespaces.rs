//! Namespaces with their controller: what goes with one, and in which order.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Ground, cases};
use crate::server::{config_map, pod};

cases! {
    pods_go_with_their_namespace: ["namespace/pods-removed"],
    services_go_with_their_namespace: ["namespace/services-removed"],
    pods_go_first: ["namespace/pods-first"],
    a_namespace_is_patched: ["namespace/patch"],
    a_namespace_is_updated: ["namespace/update"],
    a_status_changes: ["namespace/status"],
    a_finalizer_is_applied: ["namespace/finalizer"],
}

/// Makes an object in a new namespace, deletes the namespace, and makes it anew: it is empty.
async fn goes_with_its_namespace(g: &Ground, namespace: &str, resource: &str, object: &Value) {
    let (api, ns) = (&g.api, g.namespace(namespace).await);
    let one = format!("{ns}/{resource}/{}", object["metadata"]["name"].as_str().unwrap());
    let made = api.post(&format!("{ns}/{resource}"), object).await;
    assert!(made["metadata"]["uid"].is_string());
    api.delete(&ns).await;
    api.until_gone(&ns).await;
    assert_eq!(api.refused("GET", &one, &Value::Null).await.0, 404);
    api.namespace(namespace).await;
    assert_eq!(api.refused("GET", &one, &Value::Null).await.0, 404);
}

async fn pods_go_with_their_namespace(g: Arc<Ground>) {
    goes_with_its_namespace(&g, "nsdelete-pods", "pods", &pod("p")).await;
}

async fn services_go_with_their_namespace(g: Arc<Ground>) {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    goes_with_its_namespace(&g, "nsdelete-services", "services", &service).await;
}

fn condition<'a>(namespace: &'a Value, kind: &str) -> Option<&'a Value> {
    let mut all = namespace["status"]["conditions"].as_array().into_iter().flatten();
    all.find(|condition| condition["type"] == kind && condition["status"] == "True")
}

async fn pods_go_first(g: Arc<Ground>) {
    let ns = g.namespace("nsdelete-order").await;
    let mut held = pod("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    g.api.post(&format!("{ns}/pods"), &held).await;
    g.api
        .post(&format!("{ns}/configmaps"), &config_map("later"))
        .await;
    g.api.delete(&ns).await;
    // The controller has been here: it says what remains, and that is the pod and the map beside.
    let going = g
        .api
        .until(&ns, |ns| condition(ns, "NamespaceContentRemaining").is_some())
        .await;
    assert_eq!(going["status"]["phase"], "Terminating");
    let pod = g.api.get(&format!("{ns}/pods/held")).await;
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
    let map = g.api.get(&format!("{ns}/configmaps/later")).await;
    assert!(map["metadata"]["deletionTimestamp"].is_null());
    g.api
        .merge(
            &format!("{ns}/pods/held"),
            json!({"metadata": {"finalizers": null}}),
        )
        .await;
    g.api.until_gone(&ns).await;
}

async fn a_namespace_is_patched(g: Arc<Ground>) {
    let ns = g.api.namespace("nspatched").await;
    g.api
        .merge(&ns, json!({"metadata": {"labels": {"testLabel": "testValue"}}}))
        .await;
    let read = g.api.get(&ns).await;
    assert_eq!(
        read["metadata"]["labels"],
        json!({"kubernetes.io/metadata.name": "nspatched", "testLabel": "testValue"})
    );
}

async fn a_namespace_is_updated(g: Arc<Ground>) {
    let ns = g.api.namespace("nsupdated").await;
    let mut read = g.api.get(&ns).await;
    read["metadata"]["labels"]["e2e"] = json!("updated");
    assert_eq!(
        g.api.put(&ns, &read).await["metadata"]["labels"]["e2e"],
        "updated"
    );
}

async fn a_status_changes(g: Arc<Ground>) {
    let ns = g.api.namespace("nsstatus").await;
    let status = format!("{ns}/status");
    assert_eq!(g.api.get(&status).await["status"]["phase"], "Active");
    let condition_of = |kind: &str| json!({"type": kind, "status": "True", "reason": "E2E", "message": "m"});
    let patched = g
        .api
        .merge(
            &status,
            json!({"metadata": {"annotations": {"patched": "yes"}},
        "status": {"conditions": [condition_of("StatusPatch")]}}),
        )
        .await;
    assert!(condition(&patched, "StatusPatch").is_some());
    let mut changed = patched;
    changed["status"]["conditions"]
        .as_array_mut()
        .unwrap()
        .push(condition_of("StatusUpdate"));
    let updated = g.api.put(&status, &changed).await;
    assert!(condition(&updated, "StatusUpdate").is_some() && condition(&updated, "StatusPatch").is_some());
    assert_eq!(updated["status"]["phase"], "Active");
}

async fn a_finalizer_is_applied(g: Arc<Ground>) {
    let ns = g.api.namespace("nsfinalized").await;
    let finalize = format!("{ns}/finalize");
    let mut read = g.api.get(&ns).await;
    assert_eq!(read["spec"]["finalizers"], json!(["kubernetes"]));
    read["spec"]["finalizers"] = json!(["kubernetes", "e2e.example.com/fake"]);
    let updated = g.api.put(&finalize, &read).await;
    assert_eq!(
        updated["spec"]["finalizers"],
        json!(["kubernetes", "e2e.example.com/fake"])
    );
    g.api.delete(&ns).await;
    // The controller takes off its own finalizer, and the other holds.
    let held = g
        .api
        .until(&ns, |ns| {
            ns["spec"]["finalizers"] == json!(["e2e.example.com/fake"])
        })
        .await;
    let mut free = held;
    free["spec"]["finalizers"] = json!([]);
    g.api.put(&finalize, &free).await;
    g.api.until_gone(&ns).await;
}
