//! Who goes with whom: the garbage collector, with the controllers whose objects it collects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Ground, cases, names, workload};
use crate::server::{Api, pod};

cases! {
    pods_go_with_their_controller: ["gc/rc"],
    pods_are_orphaned: ["gc/orphan-rc"],
    replica_sets_go_with_their_deployment: ["gc/deployment"],
    replica_sets_are_orphaned: ["gc/orphan-deployment"],
    an_owner_waits_for_its_dependents: ["gc/foreground"],
    another_owner_keeps_dependents: ["gc/two-owners"],
    a_circle_does_not_hold: ["gc/circle"],
}

fn options(policy: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy})
}

async fn delete(api: &Api, path: &str, policy: &str) {
    Api::expect(path, api.send("DELETE", path, &options(policy)).await);
}

/// Makes a controller of a number of pods in a new namespace and waits for them; gives its path and theirs.
async fn controller(g: &Ground, name: &str, count: usize) -> (String, String) {
    let (api, ns) = (&g.api, g.namespace(name).await);
    let body = workload("v1", "ReplicationController", name, count as u32);
    api.post(&format!("{ns}/replicationcontrollers"), &body).await;
    let pods = format!("{ns}/pods?labelSelector=app%3D{name}");
    api.until(&pods, |list| names(list).len() == count).await;
    (format!("{ns}/replicationcontrollers/{name}"), pods)
}

async fn pods_go_with_their_controller(g: Arc<Ground>) {
    let (one, pods) = controller(&g, "gc-rc", 3).await;
    delete(&g.api, &one, "Background").await;
    g.api.until_gone(&one).await;
    g.api.until(&pods, |list| names(list).is_empty()).await;
}

async fn pods_are_orphaned(g: Arc<Ground>) {
    let (one, pods) = controller(&g, "gc-rc-orphan", 3).await;
    delete(&g.api, &one, "Orphan").await;
    g.api.until_gone(&one).await;
    // Without an owner there is nothing that they could go with.
    let list = g.api.get(&pods).await;
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    assert!(
        items
            .iter()
            .all(|pod| pod["metadata"]["ownerReferences"].is_null()),
        "{list}"
    );
}

/// Makes a Deployment in a new namespace and waits for its ReplicaSet; gives the paths of both kinds.
async fn deployment(g: &Ground, name: &str) -> (String, String) {
    let api = &g.api;
    g.namespace(name).await;
    let apps = format!("/apis/apps/v1/namespaces/{name}");
    api.post(
        &format!("{apps}/deployments"),
        &workload("apps/v1", "Deployment", name, 2),
    )
    .await;
    let sets = format!("{apps}/replicasets");
    api.until(&sets, |list| names(list).len() == 1).await;
    (format!("{apps}/deployments/{name}"), sets)
}

async fn replica_sets_go_with_their_deployment(g: Arc<Ground>) {
    let (one, sets) = deployment(&g, "gc-deployment").await;
    delete(&g.api, &one, "Background").await;
    g.api.until(&sets, |list| names(list).is_empty()).await;
    g.api
        .until("/api/v1/namespaces/gc-deployment/pods", |list| {
            names(list).is_empty()
        })
        .await;
}

async fn replica_sets_are_orphaned(g: Arc<Ground>) {
    let (one, sets) = deployment(&g, "gc-deployment-orphan").await;
    delete(&g.api, &one, "Orphan").await;
    g.api.until_gone(&one).await;
    let list = g.api.get(&sets).await;
    assert_eq!(names(&list).len(), 1);
    assert!(
        list["items"][0]["metadata"]["ownerReferences"].is_null(),
        "{list}"
    );
}

async fn an_owner_waits_for_its_dependents(g: Arc<Ground>) {
    let (one, pods) = controller(&g, "gc-foreground", 3).await;
    let list = g.api.get(&pods).await;
    let held = format!("/api/v1/namespaces/gc-foreground/pods/{}", names(&list)[0]);
    g.api
        .merge(&held, json!({"metadata": {"finalizers": ["example.com/hold"]}}))
        .await;
    delete(&g.api, &one, "Foreground").await;
    g.api.until(&pods, |list| names(list).len() == 1).await;
    let owner = g.api.get(&one).await;
    assert!(owner["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(owner["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    g.api
        .merge(&held, json!({"metadata": {"finalizers": null}}))
        .await;
    g.api.until_gone(&one).await;
    assert!(names(&g.api.get(&pods).await).is_empty());
}

async fn another_owner_keeps_dependents(g: Arc<Ground>) {
    let (going, pods) = controller(&g, "gc-two", 4).await;
    let staying = "/api/v1/namespaces/gc-two/replicationcontrollers";
    let stays = g
        .api
        .post(staying, &workload("v1", "ReplicationController", "stays", 0))
        .await;
    let reference = json!({"apiVersion": "v1", "kind": "ReplicationController", "name": "stays", "uid": stays["metadata"]["uid"]});
    let list = g.api.get(&pods).await;
    let kept: Vec<String> = names(&list)[..2]
        .iter()
        .map(|name| format!("/api/v1/namespaces/gc-two/pods/{name}"))
        .collect();
    for path in &kept {
        let pod = g.api.get(path).await;
        let mut owners = pod["metadata"]["ownerReferences"].clone();
        owners.as_array_mut().unwrap().push(reference.clone());
        g.api
            .merge(path, json!({"metadata": {"ownerReferences": owners}}))
            .await;
    }
    delete(&g.api, &going, "Foreground").await;
    g.api.until_gone(&going).await;
    let left = g.api.until(&pods, |list| names(list).len() == 2).await;
    for pod in left["items"].as_array().unwrap() {
        let owners = &pod["metadata"]["ownerReferences"];
        assert_eq!(
            (owners.as_array().unwrap().len(), &owners[0]["name"]),
            (1, &json!("stays")),
            "{owners}"
        );
        assert!(pod["metadata"]["deletionTimestamp"].is_null());
    }
}

async fn a_circle_does_not_hold(g: Arc<Ground>) {
    let pods = format!("{}/pods", g.namespace("gc-circle").await);
    let mut made = Vec::new();
    for name in ["one", "two", "three"] {
        made.push(g.api.post(&pods, &pod(name)).await);
    }
    for (i, pod) in made.iter().enumerate() {
        let owner = &made[(i + 1) % 3]["metadata"];
        let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": owner["name"], "uid": owner["uid"],
            "controller": true, "blockOwnerDeletion": true});
        let path = format!("{pods}/{}", pod["metadata"]["name"].as_str().unwrap());
        g.api
            .merge(&path, json!({"metadata": {"ownerReferences": [reference]}}))
            .await;
    }
    delete(&g.api, &format!("{pods}/one"), "Foreground").await;
    g.api.until(&pods, |list| names(list).is_empty()).await;
}
