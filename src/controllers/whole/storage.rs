//! Storage in use stays.

use super::*;

#[tokio::test]
async fn a_claim_goes_when_its_last_pod_has_ended() {
    let (api, _stop) = start(options());
    let claim = |name: &str| json!({"kind": "PersistentVolumeClaim", "metadata": {"name": name, "finalizers": ["kubernetes.io/pvc-protection"]}, "spec": {}});
    api.create(claim("used"));
    api.create(claim("free"));
    api.create(
        json!({"kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Running"}, "spec": {
        "nodeName": "n1", "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "used"}}]}}),
    );
    for name in ["used", "free"] {
        api.delete("persistentvolumeclaims", "default", name, json!({}));
    }
    api.wait("the free claim gone", |api| {
        api.get("persistentvolumeclaims", "default", "free").is_none()
    })
    .await;
    assert!(api.get("persistentvolumeclaims", "default", "used").is_some());
    api.edit("pods", "default", "p", |pod| {
        pod["status"]["phase"] = json!("Succeeded")
    });
    api.wait("the used claim gone", |api| {
        api.get("persistentvolumeclaims", "default", "used").is_none()
    })
    .await;
}
