//! Pod security standards of namespaces.

use super::*;

const NS: &str = "/api/v1/namespaces";

/// Code, body and warnings.
async fn send(
    f: &Fixture,
    method: &str,
    uri: &str,
    body: &Value,
    content: &str,
) -> (u16, Value, Vec<String>) {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("content-type", content)
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = f.admin().oneshot(request).await.unwrap();
    let code = response.status().as_u16();
    let all = response.headers().get_all("warning").iter();
    let warnings = all.map(|w| w.to_str().unwrap().replace("\\\"", "\"")).collect();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_default(), warnings)
}

#[tokio::test]
async fn a_level_is_enforced_and_warned_of() {
    let f = fixture().await;
    let json = "application/json";
    let namespace = json!({"metadata": {"name": "r", "labels": {"pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/warn": "restricted"}}});
    assert_eq!(f.send("POST", NS, namespace).await.0, 201);
    f.send(
        "POST",
        &format!("{NS}/r/serviceaccounts"),
        json!({"metadata": {"name": "default"}}),
    )
    .await;
    let pods = format!("{NS}/r/pods");
    let mut host = pod("host");
    host["spec"]["hostNetwork"] = json!(true);
    let (code, answer, warnings) = send(&f, "POST", &pods, &host, json).await;
    assert_eq!(code, 403);
    assert_eq!(
        answer["message"],
        "pods \"host\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"
    );
    assert!(warnings.is_empty(), "{warnings:?}");
    let (code, answer, warnings) = send(&f, "POST", &pods, &pod("plain"), json).await;
    assert_eq!(code, 201, "{answer}");
    assert!(
        warnings[0].starts_with("299 - \"would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"c\""),
        "{warnings:?}"
    );
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"app": "host"}},
        "template": {"metadata": host["metadata"]["labels"].as_object().map(|_| json!({"labels": {"app": "host"}})),
            "spec": host["spec"]}}});
    let uri = "/apis/apps/v1/namespaces/r/deployments";
    let (code, answer, warnings) = send(&f, "POST", uri, &deployment, json).await;
    assert_eq!(code, 201, "{answer}");
    assert!(
        warnings[0].contains("host namespaces (hostNetwork=true), allowPrivilegeEscalation"),
        "{warnings:?}"
    );
    // What a standard does not look at may change.
    let label = json!({"metadata": {"labels": {"x": "y"}}});
    let (code, _, warnings) = send(
        &f,
        "PATCH",
        &format!("{pods}/plain"),
        &label,
        "application/merge-patch+json",
    )
    .await;
    assert_eq!((code, warnings.len()), (200, 0));
}

#[tokio::test]
async fn labels_are_checked_and_existing_pods_told_of() {
    let f = fixture().await;
    let bad = json!({"metadata": {"name": "n", "labels": {"pod-security.kubernetes.io/enforce": "strict"}}});
    let (code, answer) = f.send("POST", NS, bad).await;
    assert_eq!(code, 422);
    assert_eq!(
        answer["message"],
        "Namespace \"n\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted"
    );
    f.send(
        "POST",
        &format!("{NS}/default/serviceaccounts"),
        json!({"metadata": {"name": "default"}}),
    )
    .await;
    for name in ["a", "b", "c"] {
        let mut object = pod(name);
        object["spec"]["hostPID"] = json!(name != "c");
        assert_eq!(f.send("POST", &format!("{NS}/default/pods"), object).await.0, 201);
    }
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
    let uri = format!("{NS}/default");
    let (code, _, warnings) = send(&f, "PATCH", &uri, &label, "application/merge-patch+json").await;
    assert_eq!(code, 200);
    assert_eq!(
        warnings,
        [
            "299 - \"existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\"\"",
            "299 - \"a (and 1 other pod): host namespaces\"",
        ]
    );
}
