//! Watches of ConfigMaps. Where they may begin, and how they end, is in the module of the same name above.

use std::sync::Arc;

use futures::{AsyncBufReadExt as _, StreamExt as _};
use http::Request;
use serde_json::{Value, json};

use super::{Ground, cases};
use crate::server::config_map;

cases! {
    changes_are_seen_by_label: ["watch/configmaps"],
    a_watch_begins_at_a_version: ["watch/from-version"],
    a_watch_goes_on_where_another_ended: ["watch/resume"],
    leaving_a_selection_is_a_deletion: ["watch/selector"],
    every_watcher_sees_the_same_order: ["watch/same-order"],
}

/// `ADDED a` and so on.
pub(super) fn shown(events: &[Value]) -> Vec<String> {
    let word = |event: &Value| {
        let kind = event["type"].as_str().unwrap_or_default();
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
        format!("{kind} {name}")
    };
    events.iter().map(word).collect()
}

fn version(object: &Value) -> u64 {
    let text = object["metadata"]["resourceVersion"].as_str().expect("a version");
    text.parse().expect("a number")
}

fn labelled(name: &str, label: &str) -> Value {
    let mut map = config_map(name);
    map["metadata"]["labels"] = json!({"watch": label});
    map
}

async fn changes_are_seen_by_label(g: Arc<Ground>) {
    let maps = format!("{}/configmaps", g.api.namespace("seen").await);
    let begin = version(&g.api.get(&maps).await);
    for label in ["a", "b"] {
        let path = format!("{maps}/{label}");
        g.api.post(&maps, &labelled(label, label)).await;
        g.api.merge(&path, json!({"data": {"mutation": "1"}})).await;
        g.api.merge(&path, json!({"data": {"mutation": "2"}})).await;
        g.api.delete(&path).await;
    }
    let of = |name: &str| ["ADDED", "MODIFIED", "MODIFIED", "DELETED"].map(|kind| format!("{kind} {name}"));
    for (selector, wanted) in [
        ("%3Da", of("a").to_vec()),
        ("%3Db", of("b").to_vec()),
        ("%20in%20(a,b)", [of("a"), of("b")].concat()),
    ] {
        let path =
            format!("{maps}?watch=1&timeoutSeconds=20&resourceVersion={begin}&labelSelector=watch{selector}");
        let events = g.api.events(&path, |seen| seen.len() == wanted.len()).await;
        assert_eq!(shown(&events), wanted, "{selector}");
        assert_eq!(events[2]["object"]["data"]["mutation"], "2");
    }
}

async fn a_watch_begins_at_a_version(g: Arc<Ground>) {
    let maps = format!("{}/configmaps", g.api.namespace("from").await);
    g.api.post(&maps, &config_map("a")).await;
    let path = format!("{maps}/a");
    let first = g.api.merge(&path, json!({"data": {"mutation": "1"}})).await;
    g.api.merge(&path, json!({"data": {"mutation": "2"}})).await;
    g.api.delete(&path).await;
    let watch = format!(
        "{maps}?watch=1&timeoutSeconds=20&resourceVersion={}",
        version(&first)
    );
    let events = g.api.events(&watch, |seen| seen.len() == 2).await;
    assert_eq!(shown(&events), ["MODIFIED a", "DELETED a"]);
}

async fn a_watch_goes_on_where_another_ended(g: Arc<Ground>) {
    let maps = format!("{}/configmaps", g.api.namespace("resumed").await);
    let begin = version(&g.api.get(&maps).await);
    let path = format!("{maps}/a");
    g.api.post(&maps, &config_map("a")).await;
    g.api.merge(&path, json!({"data": {"mutation": "1"}})).await;
    let watch = |version| format!("{maps}?watch=1&timeoutSeconds=20&resourceVersion={version}");
    let events = g.api.events(&watch(begin), |seen| seen.len() == 2).await;
    assert_eq!(shown(&events), ["ADDED a", "MODIFIED a"]);
    // Meanwhile nobody watches.
    g.api.merge(&path, json!({"data": {"mutation": "2"}})).await;
    g.api.delete(&path).await;
    let events = g
        .api
        .events(&watch(version(&events[1]["object"])), |seen| seen.len() == 2)
        .await;
    assert_eq!(shown(&events), ["MODIFIED a", "DELETED a"]);
}

async fn leaving_a_selection_is_a_deletion(g: Arc<Ground>) {
    let maps = format!("{}/configmaps", g.api.namespace("left").await);
    let begin = version(&g.api.get(&maps).await);
    g.api.post(&maps, &labelled("a", "yes")).await;
    let path = format!("{maps}/a");
    for (label, data) in [("yes", "1"), ("no", "2"), ("no", "3"), ("yes", "4")] {
        g.api
            .merge(
                &path,
                json!({"metadata": {"labels": {"watch": label}}, "data": {"mutation": data}}),
            )
            .await;
    }
    g.api.delete(&path).await;
    let watch = format!("{maps}?watch=1&timeoutSeconds=20&resourceVersion={begin}&labelSelector=watch%3Dyes");
    let events = g.api.events(&watch, |seen| seen.len() == 5).await;
    assert_eq!(
        shown(&events),
        ["ADDED a", "MODIFIED a", "DELETED a", "ADDED a", "DELETED a"]
    );
    // What left is shown as it was selected, at the version of the change.
    assert_eq!(events[2]["object"]["metadata"]["labels"]["watch"], "yes");
    assert!(version(&events[2]["object"]) > version(&events[1]["object"]));
    assert_eq!(events[3]["object"]["data"]["mutation"], "4");
}

async fn every_watcher_sees_the_same_order(g: Arc<Ground>) {
    let maps = format!("{}/configmaps", g.api.namespace("ordered").await);
    let begin = version(&g.api.get(&maps).await);
    let path = format!("{maps}?watch=1&resourceVersion={begin}&timeoutSeconds=20");
    let mut watchers = Vec::new();
    for _ in 0..10 {
        let request = Request::get(&path).body(Vec::new()).unwrap();
        watchers.push(g.api.0.request_stream(request).await.unwrap().lines());
    }
    let writers = (0..4).map(|writer| {
        let (g, maps) = (g.clone(), maps.clone());
        async move {
            for i in 0..10 {
                let name = format!("w{writer}-{i}");
                g.api.post(&maps, &config_map(&name)).await;
                g.api.delete(&format!("{maps}/{name}")).await;
            }
        }
    });
    futures::future::join_all(writers).await;
    let mut orders = Vec::new();
    for watcher in watchers {
        let events = watcher
            .take(80)
            .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let events: Vec<Value> = events.collect().await;
        let versions: Vec<u64> = events.iter().map(|event| version(&event["object"])).collect();
        assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
        orders.push(shown(&events));
    }
    assert!(orders.windows(2).all(|pair| pair[0] == pair[1]));
}
