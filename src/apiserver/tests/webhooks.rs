//! Webhooks as no configuration of today may be; all else about them is asked from outside, in `tests/api`.

use super::{
    hooks::{Hook, Reply},
    *,
};

#[tokio::test]
async fn a_dry_run_needs_a_hook_without_side_effects() {
    let f = fixture().await;
    let hook = Hook::start(|_, review| {
        Reply::Json(
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": {"uid": review["request"]["uid"], "allowed": true}}),
        )
    })
    .await;
    for (effects, code) in [("Some", 400), ("NoneOnDryRun", 201)] {
        // Only `None` and `NoneOnDryRun` may be configured; older objects may say more.
        let name = effects.to_lowercase();
        let config = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name, "uid": "u"}, "webhooks": [{
                "name": "h.example.com", "clientConfig": hook.by_url("/"), "sideEffects": effects,
                "admissionReviewVersions": ["v1"], "rules": [{"operations": ["*"], "apiGroups": [""],
                    "apiVersions": ["v1"], "resources": ["configmaps"]}]}]});
        let key = format!("/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/{name}");
        rkind_store::Store::create(&*f.store, &key, config.to_string().into())
            .await
            .unwrap();
        let maps = "/api/v1/namespaces/default/configmaps?dryRun=All";
        let (got, answer) = f.send("POST", maps, config_map("a")).await;
        assert_eq!(got.as_u16(), code, "{answer}");
        if code == 400 {
            assert_eq!(
                answer["message"],
                "admission webhook \"h.example.com\" does not support dry run"
            );
        }
        let config = format!("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{name}");
        f.send("DELETE", &config, Value::Null).await;
    }
}
