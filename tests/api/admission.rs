//! Admission that is always on, seen from outside.

use serde_json::{Value, json};

use crate::server::{Server, pod};

#[tokio::test]
async fn limit_ranges_default_and_refuse() {
    let server = Server::start();
    let api = server.api().await;
    let ns = api.namespace("limits").await;
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}}]}});
    api.post(&format!("{ns}/limitranges"), &range).await;
    let made = api.post(&format!("{ns}/pods"), &pod("a")).await;
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}})
    );
    let mut large = pod("b");
    large["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}});
    let (code, _, message) = api.refused("POST", &format!("{ns}/pods"), &large).await;
    assert_eq!(code, 403);
    assert!(
        message.contains("maximum cpu usage per Container is 1, but limit is 2"),
        "{message}"
    );
}

#[tokio::test]
async fn pods_get_priority_runtime_and_tolerations() {
    let server = Server::start();
    let api = server.api().await;
    let ns = api.namespace("pods").await;
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000,
        "preemptionPolicy": "Never"});
    api.post("/apis/scheduling.k8s.io/v1/priorityclasses", &class)
        .await;
    let runtime = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "small"}, "handler": "h",
        "overhead": {"podFixed": {"cpu": "50m"}}, "scheduling": {"nodeSelector": {"kind": "small"}}});
    api.post("/apis/node.k8s.io/v1/runtimeclasses", &runtime).await;
    let mut body = pod("a");
    body["spec"]["priorityClassName"] = json!("high");
    body["spec"]["runtimeClassName"] = json!("small");
    let made = api.post(&format!("{ns}/pods"), &body).await;
    let spec = &made["spec"];
    assert_eq!(
        (&spec["priority"], &spec["preemptionPolicy"]),
        (&json!(1000), &json!("Never"))
    );
    assert_eq!(spec["overhead"], json!({"cpu": "50m"}));
    assert_eq!(spec["nodeSelector"], json!({"kind": "small"}));
    let keys: Vec<&Value> = spec["tolerations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["key"])
        .collect();
    assert_eq!(
        keys,
        ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
    );
    body["metadata"]["name"] = json!("b");
    body["spec"]["priorityClassName"] = json!("none");
    let (code, _, message) = api.refused("POST", &format!("{ns}/pods"), &body).await;
    assert_eq!(code, 403);
    assert!(
        message.contains("no PriorityClass with name none was found"),
        "{message}"
    );
}

#[tokio::test]
async fn default_classes() {
    let server = Server::start();
    let api = server.api().await;
    let ns = api.namespace("classes").await;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "example.com/p",
        "metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}});
    api.post("/apis/storage.k8s.io/v1/storageclasses", &class).await;
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let made = api.post(&format!("{ns}/persistentvolumeclaims"), &claim).await;
    assert_eq!(made["spec"]["storageClassName"], "fast");
}

#[tokio::test]
async fn service_accounts_when_they_are_asked_for() {
    let server = Server::start_with(&["--enable-admission-plugins=ServiceAccount"]);
    let api = server.api().await;
    let ns = api.namespace("accounts").await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
        "imagePullSecrets": [{"name": "pull"}]});
    api.post(&format!("{ns}/serviceaccounts"), &account).await;
    let made = api.post(&format!("{ns}/pods"), &pod("a")).await;
    let spec = &made["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "pull"}]));
    let mount = &spec["containers"][0]["volumeMounts"][0];
    assert_eq!(
        mount["mountPath"],
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    let mut other = pod("b");
    other["spec"]["serviceAccountName"] = json!("none");
    let (code, _, message) = api.refused("POST", &format!("{ns}/pods"), &other).await;
    assert_eq!(code, 403);
    assert!(message.contains("serviceaccount \"none\" not found"), "{message}");
}
