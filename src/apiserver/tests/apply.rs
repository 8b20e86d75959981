//! Server-side apply and field ownership.

use super::*;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn web(replicas: Option<i64>, image: &str) -> Value {
    let mut value = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}}});
    if let Some(replicas) = replicas {
        value["spec"]["replicas"] = json!(replicas);
    }
    value
}

async fn apply(f: &Fixture, manager: &str, force: bool, body: Value) -> (StatusCode, Value) {
    let uri = format!("{DEPLOYMENTS}/web?fieldManager={manager}&force={force}");
    f.send_as(
        f.admin(),
        "PATCH",
        &uri,
        body,
        &[("content-type", "application/apply-patch+yaml")],
    )
    .await
}

#[tokio::test]
async fn owners_conflict_share_and_give_up() {
    let f = fixture().await;
    let (code, made) = apply(&f, "one", false, web(Some(2), "i:1")).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "one");
    assert_eq!(made["metadata"]["managedFields"][0]["operation"], "Apply");

    let (code, same) = apply(&f, "one", false, web(Some(2), "i:1")).await;
    assert_eq!((code, &same), (StatusCode::OK, &made));

    let (code, error) = apply(&f, "two", false, web(Some(5), "i:1")).await;
    assert_eq!(code, StatusCode::CONFLICT, "{error}");
    assert_eq!(error["details"]["causes"][0]["field"], ".spec.replicas");
    let (code, taken) = apply(&f, "two", true, web(Some(5), "i:1")).await;
    assert_eq!(
        (code.as_u16(), taken["spec"]["replicas"].as_i64()),
        (200, Some(5))
    );

    // What its only owner no longer applies falls back to its default.
    let (_, given_up) = apply(&f, "two", false, web(None, "i:1")).await;
    assert_eq!(given_up["spec"]["replicas"], 1);
    let (code, error) = f
        .send_as(
            f.admin(),
            "PATCH",
            &format!("{DEPLOYMENTS}/web"),
            web(None, "i:1"),
            &[("content-type", "application/apply-patch+yaml")],
        )
        .await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{error}");
}

#[tokio::test]
async fn ordinary_writes_own_what_they_change() {
    let f = fixture().await;
    f.send_as(
        f.admin(),
        "POST",
        DEPLOYMENTS,
        web(Some(1), "i:1"),
        &[("user-agent", "kubectl-create/v1")],
    )
    .await;
    let uri = format!("{DEPLOYMENTS}/web/status");
    let status = json!({"status": {"replicas": 1}});
    let headers = [
        ("content-type", "application/merge-patch+json"),
        ("user-agent", "controller/v1"),
    ];
    let (code, value) = f.send_as(f.admin(), "PATCH", &uri, status, &headers).await;
    assert_eq!(code, StatusCode::OK, "{value}");
    let mut managers: Vec<(&str, &str)> = value["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            (
                m["manager"].as_str().unwrap(),
                m["subresource"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    // The list is in the order of the writes' seconds.
    managers.sort_unstable();
    assert_eq!(managers, [("controller", "status"), ("kubectl-create", "")]);
}
