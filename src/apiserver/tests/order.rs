//! The order of a write's stages, seen by what webhooks are sent and by what becomes of their changes.

use base64::Engine as _;

use super::{
    hooks::{Hook, Reply},
    *,
};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A webhook that patches whatever it is asked about.
async fn patching(f: &Fixture, group: &str, resources: &[&str], patch: Value) -> Hook {
    let hook = Hook::start(move |_, review| {
        let patch = base64::engine::general_purpose::STANDARD.encode(patch.to_string());
        Reply::Json(
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
            "uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch}}),
        )
    })
    .await;
    configure(f, "Mutating", &hook, group, resources).await;
    hook
}

/// A webhook that allows everything.
async fn watching(f: &Fixture, group: &str, resources: &[&str]) -> Hook {
    let hook = Hook::start(|_, review| {
        Reply::Json(
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": {"uid": review["request"]["uid"], "allowed": true}}),
        )
    })
    .await;
    configure(f, "Validating", &hook, group, resources).await;
    hook
}

async fn configure(f: &Fixture, kind: &str, hook: &Hook, group: &str, resources: &[&str]) {
    let config = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": format!("{kind}WebhookConfiguration"),
        "metadata": {"name": "w"}, "webhooks": [{"name": "h.example.com", "clientConfig": hook.by_url("/"),
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [{"operations": ["CREATE", "UPDATE"],
            "apiGroups": [group], "apiVersions": ["v1"], "resources": resources}]}]});
    let plural = kind.to_lowercase();
    let uri = format!("/apis/admissionregistration.k8s.io/v1/{plural}webhookconfigurations");
    let (code, answer) = f.send("POST", &uri, config).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
}

fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "c", "image": "img:1"}]}}}})
}

#[tokio::test]
async fn what_a_webhook_changes_is_prepared_as_what_a_client_sends() {
    let f = fixture().await;
    let (code, answer) = f.send("POST", DEPLOYMENTS, deployment("d")).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    let patch = json!([
        {"op": "add", "path": "/metadata/uid", "value": "forged"},
        {"op": "add", "path": "/metadata/generation", "value": 77},
        {"op": "add", "path": "/spec/replicas", "value": 5},
        {"op": "add", "path": "/status", "value": {"replicas": 9}},
    ]);
    patching(&f, "apps", &["deployments", "deployments/status"], patch).await;

    let (code, made) = f.send("POST", DEPLOYMENTS, deployment("new")).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_ne!(made["metadata"]["uid"], "forged");
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(made["status"], json!({}));
    assert_eq!(made["spec"]["replicas"], 5);

    let uri = format!("{DEPLOYMENTS}/new");
    let relabelled = json!({"metadata": {"labels": {"a": "b"}}});
    let merge = [("content-type", "application/merge-patch+json")];
    let (_, same) = f
        .send_as(f.admin(), "PATCH", &uri, relabelled.clone(), &merge)
        .await;
    assert_eq!(same["code"], 422, "an update's uid is its object's: {same}");

    // Only what the main resource may change is changed, and its generation counted.
    let f = fixture().await;
    f.send("POST", DEPLOYMENTS, deployment("d")).await;
    let patch = json!([
        {"op": "add", "path": "/metadata/generation", "value": 77},
        {"op": "add", "path": "/spec/replicas", "value": 5},
        {"op": "add", "path": "/status", "value": {"replicas": 9}},
    ]);
    patching(&f, "apps", &["deployments", "deployments/status"], patch).await;
    let uri = format!("{DEPLOYMENTS}/d");
    let (code, answer) = f.send_as(f.admin(), "PATCH", &uri, relabelled, &merge).await;
    assert_eq!(code, StatusCode::OK, "{answer}");
    assert_eq!(answer["spec"]["replicas"], 5);
    assert_eq!(
        answer["metadata"]["generation"], 2,
        "the webhook changed the specification"
    );
    assert_eq!(answer["status"], json!({}));

    // And through the status nothing but the status.
    let (code, answer) = f
        .send_as(
            f.admin(),
            "PATCH",
            &format!("{uri}/status"),
            json!({"status": {"observedGeneration": 2}}),
            &merge,
        )
        .await;
    assert_eq!(code, StatusCode::OK, "{answer}");
    assert_eq!(answer["status"], json!({"replicas": 9}));
    assert_eq!(answer["metadata"]["generation"], 2);
}

#[tokio::test]
async fn admission_sees_an_object_before_the_server_names_it() {
    let f = fixture().await;
    let mutating = patching(
        &f,
        "",
        &["configmaps"],
        json!([{"op": "add", "path": "/data/added", "value": "x"}]),
    )
    .await;
    let validating = watching(&f, "", &["configmaps"]).await;
    let mut map = config_map("");
    map["metadata"] =
        json!({"generateName": "m-", "uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z"});
    let (code, made) = f.send("POST", &format!("{MAPS}?fieldManager=me"), map).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let before = &mutating.bodies()[0]["request"];
    assert!(before["name"].is_null(), "{before}");
    for field in ["name", "uid", "creationTimestamp"] {
        assert!(before["object"]["metadata"][field].is_null(), "{field}: {before}");
    }
    let after = &validating.bodies()[0]["request"];
    for field in ["name", "uid", "creationTimestamp", "managedFields"] {
        assert_eq!(after["object"]["metadata"][field], made["metadata"][field]);
    }
    assert_eq!(after["name"], made["metadata"]["name"]);
    // The client owns what it sent, nobody what admission added.
    assert_eq!(
        made["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:data": {".": {}, "f:k": {}}, "f:metadata": {"f:generateName": {}}})
    );
    assert_eq!(made["data"]["added"], "x");
}

#[tokio::test]
async fn broken_owners_from_a_webhook_are_not_taken() {
    let f = fixture().await;
    let patch = json!([{"op": "replace", "path": "/metadata/managedFields/0/operation", "value": "Odd"}]);
    patching(&f, "", &["configmaps"], patch).await;
    let (code, made) = f.send("POST", MAPS, config_map("m")).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(made["metadata"]["managedFields"][0]["operation"], "Update");
}

#[tokio::test]
async fn owners_are_those_of_the_version_that_was_written() {
    let f = fixture().await;
    let scaler = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    let uri = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let (code, made) = f.send("POST", uri, scaler).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let owner = &made["metadata"]["managedFields"][0];
    assert_eq!(owner["apiVersion"], "autoscaling/v1");
    assert_eq!(
        owner["fieldsV1"]["f:spec"]["f:targetCPUUtilizationPercentage"],
        json!({})
    );
}

#[tokio::test]
async fn a_status_is_not_overwritten_without_a_version_where_its_object_is_not() {
    let f = fixture().await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}});
    let (code, mut made) = f.send("POST", budgets, budget).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    made["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    for uri in [format!("{budgets}/b"), format!("{budgets}/b/status")] {
        let (code, answer) = f.send("PUT", &uri, made.clone()).await;
        assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert_eq!(
            answer["message"],
            "poddisruptionbudgets.policy \"b\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        );
    }
}

#[tokio::test]
async fn a_patch_that_speaks_of_versions_is_still_made_anew() {
    let f = fixture().await;
    let (code, _) = f.send("POST", MAPS, config_map("m")).await;
    assert_eq!(code, StatusCode::CREATED);
    let uri = format!("{MAPS}/m");
    let merge = [("content-type", "application/merge-patch+json")];
    let patches = (0..32).map(|n| {
        let patch = json!({"data": {(format!("k{n}")): "not metadata.resourceVersion"}});
        f.send_as(f.admin(), "PATCH", &uri, patch, &merge)
    });
    // Not one loses against another.
    for (code, answer) in futures::future::join_all(patches).await {
        assert_eq!(code, StatusCode::OK, "{answer}");
    }
    let patch = json!({"metadata": {"resourceVersion": "1"}, "data": {"k": "late"}});
    let (code, answer) = f.send_as(f.admin(), "PATCH", &uri, patch, &merge).await;
    assert_eq!(code, StatusCode::CONFLICT, "{answer}");
}
