//! Webhooks as no configuration of today may be; all else about them is asked from outside, in `tests/api`.

use parking_lot::Mutex;

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

/// A plain create writes owners down without having had them in its object; nobody is to notice.
#[tokio::test]
async fn owners_of_new_fields_are_seen_by_hooks_answers_and_readers() {
    const MAPS: &str = "/api/v1/namespaces/default/configmaps";
    let owned = |object: &Value| object["metadata"]["managedFields"][0]["fieldsV1"].clone();
    let f = fixture().await;
    let (code, answer) = f.send("POST", MAPS, config_map("plain")).await;
    assert_eq!(code, 201, "{answer}");
    let expected = owned(&answer);
    assert!(expected["f:data"].is_object(), "{answer}");
    let stored = rkind_store::Store::get(&*f.store, "/registry/core/configmaps/default/plain", None);
    let stored = stored.await.unwrap().0.unwrap().value;
    let read: Value = serde_json::from_slice(&stored.bytes()).unwrap();
    assert_eq!(owned(&read), expected);
    assert_eq!(
        read.to_string().as_bytes(),
        &*stored.bytes(),
        "as any other write has it"
    );

    let (_, dry) = f
        .send("POST", &format!("{MAPS}?dryRun=All"), config_map("dry"))
        .await;
    assert_eq!(owned(&dry), expected);

    for kind in ["Mutating", "Validating"] {
        let shown = Arc::new(Mutex::new(Value::Null));
        let seen = shown.clone();
        let hook = Hook::start(move |_, review| {
            *seen.lock() = review["request"]["object"].clone();
            Reply::Json(
                json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "response": {"uid": review["request"]["uid"], "allowed": true}}),
            )
        })
        .await;
        let config = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": format!("{kind}WebhookConfiguration"),
            "metadata": {"name": "h"}, "webhooks": [{"name": "h.example.com", "clientConfig": hook.by_url("/"),
                "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [{"operations": ["*"],
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]}]});
        let configs = format!(
            "/apis/admissionregistration.k8s.io/v1/{}webhookconfigurations",
            kind.to_lowercase()
        );
        let (code, answer) = f.send("POST", &configs, config).await;
        assert_eq!(code, 201, "{answer}");
        let (code, answer) = f.send("POST", MAPS, config_map(&kind.to_lowercase())).await;
        assert_eq!(code, 201, "{answer}");
        assert_eq!(owned(&shown.lock()), expected, "{kind}");
        assert_eq!(owned(&answer), expected);
        f.send("DELETE", &format!("{configs}/h"), Value::Null).await;
    }
}
