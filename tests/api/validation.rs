//! Field validation and the rules of kinds, in upstream's words.

use serde_json::{Value, json};

use crate::server::{Api, Server, config_map};

#[tokio::test]
async fn unknown_and_duplicate_fields() {
    let server = Server::start();
    let api = server.api().await;
    let base = api.namespace("strict").await.replace("/api/v1", "/apis/apps/v1");
    let body = r#"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "NAME", "labels": {"a": "b"}},
        "spec": {"replicas": 1, "replicas": 2, "nonsense": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i", "nope": true}]}}}}"#;
    let yaml = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: NAME}\nspec:\n  replicas: 1\n  replicas: 2\n  \
        nonsense: 1\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    \
        spec: {containers: [{name: c, image: i, nope: true}]}\n";
    for (kind, body, duplicate) in [
        ("application/json", body, r#"duplicate field "spec.replicas""#),
        ("application/yaml", yaml, r#"key "replicas" already set in map"#),
    ] {
        let headers = [("content-type", kind)];
        let send = |level: &'static str, name: &str| {
            let path = format!("{base}/deployments?fieldValidation={level}");
            let body = body.replace("NAME", name).into_bytes();
            let api = api.clone();
            async move { api.raw("POST", &path, &headers, body).await }
        };
        let short = kind.rsplit('/').next().unwrap();
        let response = send("Strict", &format!("{short}-strict")).await;
        assert_eq!(response.status(), 400);
        let bytes = response.into_body().collect_bytes().await.unwrap();
        let status: Value = serde_json::from_slice(&bytes).unwrap();
        let message = status["message"].as_str().unwrap();
        for fault in [
            duplicate,
            r#"unknown field "spec.nonsense""#,
            r#"unknown field "spec.template.spec.containers[0].nope""#,
        ] {
            assert!(message.contains(fault), "{kind}: {fault}\n{message}");
        }
        let response = send("Warn", &format!("{short}-warn")).await;
        assert_eq!(response.status(), 201);
        let warnings: Vec<&str> = response
            .headers()
            .get_all("warning")
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect();
        assert_eq!(warnings.len(), 3, "{kind}: {warnings:?}");
        assert!(warnings.iter().all(|text| text.starts_with("299 - \"")));
        let response = send("Ignore", &format!("{short}-ignore")).await;
        assert_eq!(
            (response.status().as_u16(), response.headers().get("warning")),
            (201, None)
        );
        let response = send("Loudly", &format!("{short}-loudly")).await;
        assert_eq!(response.status(), 422);
    }
    let patch = json!({"spec": {"bogus": 1}}).to_string().into_bytes();
    for kind in [
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ] {
        let path = format!("{base}/deployments/json-warn?fieldValidation=Strict&fieldManager=m");
        let body = if kind.contains("apply") {
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"bogus": 1}})
                .to_string()
                .into_bytes()
        } else {
            patch.clone()
        };
        let (code, status) = api.ask("PATCH", &path, &[("content-type", kind)], body).await;
        let message = status["message"].as_str().unwrap_or_default();
        assert!(code.is_client_error(), "{kind}: {status}");
        assert!(message.contains("spec.bogus"), "{kind}: {message}");
    }
}

#[tokio::test]
async fn faults_have_paths_and_causes() {
    let server = Server::start();
    let api = server.api().await;
    let ns = api.namespace("faults").await;
    let pod =
        |spec: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec});
    let service =
        |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec});
    let job = |spec: Value| json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": spec});
    let cases = [
        (
            "pods",
            pod(json!({"containers": []})),
            "spec.containers: Required value",
        ),
        (
            "pods",
            pod(json!({"containers": [{"name": "c"}]})),
            "spec.containers[0].image: Required value",
        ),
        (
            "pods",
            pod(
                json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}]}),
            ),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            "pods",
            pod(
                json!({"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
            ),
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ),
        (
            "pods",
            pod(json!({"restartPolicy": "Sometimes", "containers": [{"name": "c", "image": "i"}]})),
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ),
        (
            "services",
            service(json!({"ports": [{"port": 0}]})),
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            "services",
            service(json!({"clusterIP": "10.1.2.300", "ports": [{"port": 80}]})),
            "spec.clusterIPs[0]: Invalid value: \"10.1.2.300\"",
        ),
        (
            "jobs",
            job(json!({"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}})),
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        ),
        (
            "cronjobs",
            json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"}, "spec": {"schedule": "soon",
                "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}}),
            "spec.schedule: Invalid value: \"soon\"",
        ),
    ];
    for (resource, body, fault) in cases {
        let ns = if body["apiVersion"] == "v1" {
            ns.clone()
        } else {
            ns.replace("/api/v1", "/apis/batch/v1")
        };
        let (code, status) = api.send("POST", &format!("{ns}/{resource}"), &body).await;
        let message = status["message"].as_str().unwrap_or_default();
        assert_eq!(
            (code.as_u16(), &status["reason"]),
            (422, &json!("Invalid")),
            "{message}"
        );
        assert!(message.contains(fault), "{fault}\n{message}");
        let path = fault.split(':').next().unwrap();
        let causes = status["details"]["causes"].as_array().unwrap();
        assert!(causes.iter().any(|cause| cause["field"] == path), "{causes:?}");
    }
}

#[tokio::test]
async fn what_may_not_change() {
    let server = Server::start();
    let api = server.api().await;
    let ns = api.namespace("fixed").await;
    let mut map = config_map("m");
    map["immutable"] = json!(true);
    api.post(&format!("{ns}/configmaps"), &map).await;
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "type": "example.com/t"});
    api.post(&format!("{ns}/secrets"), &secret).await;
    let apps = ns.replace("/api/v1", "/apis/apps/v1");
    let labels = json!({"a": "b"});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": {"a": "b", "c": "d"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    api.post(&format!("{apps}/deployments"), &deployment).await;
    for (path, patch, fault) in [
        (
            format!("{ns}/configmaps/m"),
            json!({"data": {"k": "w"}}),
            "data: Forbidden: field is immutable when `immutable` is set",
        ),
        (
            format!("{ns}/configmaps/m"),
            json!({"immutable": false}),
            "immutable: Forbidden: field is immutable when `immutable` is set",
        ),
        (
            format!("{ns}/secrets/s"),
            json!({"type": "Opaque"}),
            "type: Invalid value: \"Opaque\": field is immutable",
        ),
        (
            format!("{apps}/deployments/d"),
            json!({"spec": {"selector": {"matchLabels": {"c": "d"}}}}),
            "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"c\":\"d\"}}: field is immutable",
        ),
        (
            format!("{ns}/secrets/s"),
            json!({"metadata": {"uid": "other"}}),
            "metadata.uid",
        ),
    ] {
        let (code, status) = api.send("PATCH", &path, &patch).await;
        let message = status["message"].as_str().unwrap_or_default();
        assert!(matches!(code.as_u16(), 409 | 422), "{path}: {code} {message}");
        assert!(message.contains(fault) || code == 409, "{fault}\n{message}");
    }
    Api::expect(
        "add",
        api.send(
            "PATCH",
            &format!("{ns}/secrets/s"),
            &json!({"stringData": {"a": "b"}}),
        )
        .await,
    );
}
