//! The garbage collector.

use super::*;

fn owned(kind: &str, name: &str, owner: &Value, block: bool) -> Value {
    json!({"kind": kind, "metadata": {"name": name, "ownerReferences": [{
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "blockOwnerDeletion": block,
    }]}})
}

fn config_map(name: &str) -> Value {
    json!({"kind": "ConfigMap", "metadata": {"name": name}})
}

#[tokio::test]
async fn dependents_follow_their_owner() {
    let (api, _stop) = start(options());
    let a = api.create(config_map("a"));
    let b = api.create(owned("ConfigMap", "b", &a, true));
    api.create(owned("Secret", "c", &b, true));
    api.create(config_map("bystander"));
    api.delete(
        "configmaps",
        "default",
        "a",
        json!({"propagationPolicy": "Background"}),
    );
    api.wait("the whole chain gone", |api| {
        api.get("configmaps", "default", "b").is_none() && api.get("secrets", "default", "c").is_none()
    })
    .await;
    assert!(api.get("configmaps", "default", "bystander").is_some());
    // An owner that never existed, and a namesake of one that did.
    let mut ghost = a.clone();
    ghost["metadata"]["uid"] = json!("never");
    api.create(config_map("a"));
    api.create(owned("Secret", "of-a-ghost", &ghost, false));
    api.wait("the ghost's dependent gone", |api| {
        api.get("secrets", "default", "of-a-ghost").is_none()
    })
    .await;
    assert!(api.get("configmaps", "default", "a").is_some());
}

#[tokio::test]
async fn foreground_waits_for_dependents() {
    let (api, _stop) = start(options());
    let a = api.create(config_map("a"));
    let mut b = owned("ConfigMap", "b", &a, true);
    b["metadata"]["finalizers"] = json!(["test/hold"]);
    api.create(b);
    api.delete(
        "configmaps",
        "default",
        "a",
        json!({"propagationPolicy": "Foreground"}),
    );
    api.wait("the dependent's deletion", |api| {
        api.get("configmaps", "default", "b")
            .is_some_and(|b| !b["metadata"]["deletionTimestamp"].is_null())
    })
    .await;
    assert!(api.get("configmaps", "default", "a").is_some(), "the owner waits");
    api.edit("configmaps", "default", "b", |b| {
        let left: Vec<Value> = b["metadata"]["finalizers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|f| *f != "test/hold")
            .cloned()
            .collect();
        b["metadata"]["finalizers"] = json!(left);
    });
    api.wait("both gone", |api| {
        api.get("configmaps", "default", "a").is_none() && api.get("configmaps", "default", "b").is_none()
    })
    .await;
}

#[tokio::test]
async fn orphans_stay() {
    let (api, _stop) = start(options());
    let a = api.create(config_map("a"));
    api.create(owned("ConfigMap", "b", &a, true));
    // The collector must have seen the dependent before it can let it go.
    api.wait("the collector's start", |api| {
        api.get("configmaps", "default", "kube-root-ca.crt").is_some()
    })
    .await;
    api.delete(
        "configmaps",
        "default",
        "a",
        json!({"propagationPolicy": "Orphan"}),
    );
    api.wait("the owner gone", |api| {
        api.get("configmaps", "default", "a").is_none()
    })
    .await;
    let b = api.get("configmaps", "default", "b").unwrap_or_default();
    assert!(
        b["metadata"]["ownerReferences"]
            .as_array()
            .is_none_or(Vec::is_empty)
    );
}
