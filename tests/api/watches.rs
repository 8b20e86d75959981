//! Watches: where they begin, what they show, how they end.

use serde_json::{Value, json};

use crate::server::{Server, config_map};

fn shown(events: &[Value]) -> Vec<String> {
    let word = |event: &Value| {
        let kind = event["type"].as_str().unwrap_or_default();
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
        format!("{kind} {name}")
    };
    events.iter().map(word).collect()
}

#[tokio::test]
async fn beginnings() {
    let server = Server::start();
    let api = server.api().await;
    let maps = format!("{}/configmaps", api.namespace("watches").await);
    api.post(&maps, &config_map("a")).await;
    let version = api.get(&maps).await["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    api.post(&maps, &config_map("b")).await;
    let watch = |query: &str| format!("{maps}?watch=1&timeoutSeconds=20&{query}");
    for query in ["", "resourceVersion=0"] {
        let events = api.events(&watch(query), |seen| seen.len() == 2).await;
        assert_eq!(shown(&events), ["ADDED a", "ADDED b"], "{query}");
    }
    let events = api
        .events(&watch(&format!("resourceVersion={version}")), |seen| {
            seen.len() == 1
        })
        .await;
    assert_eq!(shown(&events), ["ADDED b"]);
    let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let events = api.events(&watch(initial), |seen| seen.len() == 3).await;
    assert_eq!(shown(&events), ["ADDED a", "ADDED b", "BOOKMARK "]);
    let mark = &events[2]["object"];
    assert_eq!(
        mark["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(
        (&mark["kind"], &mark["apiVersion"]),
        (&json!("ConfigMap"), &json!("v1"))
    );
    let events = api
        .events(&watch("fieldSelector=metadata.name%3Db"), |seen| seen.len() == 1)
        .await;
    assert_eq!(shown(&events), ["ADDED b"]);
    let events = api
        .events(
            &format!("{maps}?watch=1&timeoutSeconds=1&resourceVersion=0"),
            |_| false,
        )
        .await;
    assert_eq!(events.len(), 2, "ended by its timeout");
    for (query, code) in [
        ("sendInitialEvents=true", 422),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersion=x", 400),
        ("sendInitialEvents=true&resourceVersionMatch=Exact", 422),
    ] {
        let (got, reason, message) = api.refused("GET", &watch(query), &json!(null)).await;
        assert_eq!(got, code, "{query}: {reason} {message}");
    }
}

#[tokio::test]
async fn what_is_forgotten_is_gone() {
    let server = Server::start();
    let api = server.api().await;
    let maps = format!("{}/configmaps", api.namespace("gone").await);
    api.post(&maps, &config_map("a")).await;
    let server = server.restart();
    let api = server.api().await;
    assert_eq!(api.get(&format!("{maps}/a")).await["data"]["k"], "v");
    // The cache begins anew with a restart: it does not know what was before.
    let path = format!("{maps}?watch=1&resourceVersion=1&timeoutSeconds=20");
    let events = api.events(&path, |seen| !seen.is_empty()).await;
    assert_eq!(events[0]["type"], "ERROR");
    let status = &events[0]["object"];
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&json!(410), &json!("Expired")),
        "{status}"
    );
}
