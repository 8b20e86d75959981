//! Watches: where they begin, what they show, how they end.

use serde_json::{Value, json};

use crate::server::{Server, config_map, pod};

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

/// Whoever watches sees when a pod went, also one that nothing had to be waited for.
#[tokio::test]
async fn a_pod_that_goes_at_once_is_seen_going() {
    let server = Server::start();
    let api = server.api().await;
    let pods = format!("{}/pods", api.namespace("going").await);
    let mut bound = pod("bound");
    bound["spec"]["nodeName"] = json!("n1");
    api.post(&pods, &pod("loose")).await;
    api.post(&pods, &bound).await;
    let version = api.get(&pods).await["metadata"]["resourceVersion"].clone();
    api.delete(&format!("{pods}/loose")).await;
    api.delete(&format!("{pods}/bound")).await;
    let gone = api.delete(&format!("{pods}/bound?gracePeriodSeconds=0")).await;
    assert_eq!(gone["metadata"]["deletionGracePeriodSeconds"], 0);
    let path = format!("{pods}?watch=1&resourceVersion={}", version.as_str().unwrap());
    let events = api.events(&path, |seen| seen.len() == 5).await;
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let meta = &event["object"]["metadata"];
            (
                event["type"].as_str().unwrap(),
                meta["name"].as_str().unwrap(),
                meta["deletionGracePeriodSeconds"].as_i64().unwrap(),
                meta["generation"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("MODIFIED", "loose", 0, 2),
            ("DELETED", "loose", 0, 2),
            ("MODIFIED", "bound", 30, 2),
            ("MODIFIED", "bound", 0, 2),
            ("DELETED", "bound", 0, 2),
        ]
    );
}

/// A bookmark comes before a watch ends, so that its client can go on from there.
#[tokio::test]
async fn the_last_event_is_a_bookmark() {
    let server = Server::start();
    let api = server.api().await;
    let maps = format!("{}/configmaps", api.namespace("marks").await);
    api.post(&maps, &config_map("a")).await;
    let elsewhere = format!("{}/configmaps", api.namespace("elsewhere").await);
    let later = api.post(&elsewhere, &config_map("b")).await;
    for (query, marks) in [("", 0), ("&allowWatchBookmarks=true", 1)] {
        let path = format!("{maps}?watch=1&timeoutSeconds=3{query}");
        let events = api.events(&path, |_| false).await;
        assert_eq!(shown(&events)[0], "ADDED a");
        assert_eq!(events.len(), 1 + marks, "{events:#?}");
        let Some(mark) = events.get(1) else { continue };
        assert_eq!(mark["type"], "BOOKMARK");
        let version = |object: &Value| {
            let text = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            text.parse::<u64>().unwrap()
        };
        assert!(version(&mark["object"]) >= version(&later), "{mark}");
    }
    let (code, _, _) = api
        .refused("GET", &format!("{maps}?watch=1&timeoutSeconds=x"), &Value::Null)
        .await;
    assert_eq!(code, 400);
}
