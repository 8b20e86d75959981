//! The room's loops against the fake server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::testing::FakeApi;
use crate::{Action, EventRecorder, EventType, Filter, Informers, ObjectKey, WorkQueue, run_workers, wait};

fn config_map(name: &str) -> serde_json::Value {
    json!({"kind": "ConfigMap", "metadata": {"name": name}})
}

#[tokio::test]
async fn informer_lists_watches_and_indexes() {
    let api = FakeApi::new();
    api.create(config_map("before"));
    let informers = Informers::new(api.client());
    let maps = informers.get::<ConfigMap>();
    maps.index("first letter", |m: &ConfigMap| {
        m.name_any().chars().take(1).map(String::from).collect()
    });
    maps.synced().await;
    let before = ObjectKey::new("default", "before");
    assert!(maps.get(&before).is_some());

    let mut changes = maps.subscribe();
    let first = changes.recv().await.unwrap();
    assert_eq!((first.key, first.old.is_none()), (before.clone(), true));

    api.create(config_map("after"));
    let change = changes.recv().await.unwrap();
    assert!(change.old.is_none() && change.new.unwrap().name_any() == "after");
    assert_eq!(maps.list_in("default").len(), 2);
    assert_eq!(maps.list_in("defaul").len(), 0);
    assert_eq!(maps.by_index("first letter", "a").len(), 1);

    api.delete("configmaps", "default", "before", json!({}));
    let change = changes.recv().await.unwrap();
    assert!(change.key == before && change.old.is_some() && change.new.is_none());
    assert!(maps.by_index("first letter", "b").is_empty());
    assert_eq!(maps.revision(), 3);
}

#[tokio::test]
async fn a_slow_subscriber_gets_each_key_once_with_its_oldest_and_newest_state() {
    let api = FakeApi::new();
    let maps = Informers::new(api.client()).get::<ConfigMap>();
    maps.synced().await;
    let mut slow = maps.subscribe();
    api.create(config_map("short-lived"));
    api.create(config_map("changing"));
    for value in ["1", "2", "3"] {
        api.edit("configmaps", "default", "changing", |m| {
            m["data"]["k"] = json!(value)
        });
    }
    api.delete("configmaps", "default", "short-lived", json!({}));
    let key = ObjectKey::new("default", "changing");
    let newest = |m: Option<&ConfigMap>| m.is_some_and(|m| m.data.as_ref().is_some_and(|d| d["k"] == "3"));
    wait::until_cached(&maps, &key, Duration::from_secs(5), newest)
        .await
        .unwrap();
    wait::until_cached(
        &maps,
        &ObjectKey::new("default", "short-lived"),
        Duration::from_secs(5),
        |m| m.is_none(),
    )
    .await
    .unwrap();

    let gone = slow.recv().await.unwrap();
    assert!(gone.key.name == "short-lived" && gone.old.is_some() && gone.new.is_none());
    let changed = slow.recv().await.unwrap();
    assert!(changed.old.is_none() && newest(changed.new.as_deref()));
    assert!(slow.try_recv().is_none());
}

#[tokio::test]
async fn filtered_and_metadata_informers_see_their_part() {
    let api = FakeApi::new();
    for (name, node) in [("here", "n1"), ("there", "n2")] {
        api.create(
            json!({"kind": "Pod", "metadata": {"name": name}, "spec": {"nodeName": node, "containers": []}}),
        );
    }
    let informers = Informers::new(api.client());
    let mine = informers.filtered::<Pod>(Filter::fields("spec.nodeName=n1"));
    mine.synced().await;
    assert_eq!(
        mine.list().iter().map(|p| p.name_any()).collect::<Vec<_>>(),
        ["here"]
    );
    let meta = informers.metadata(&kube::api::ApiResource::erase::<Pod>(&()));
    meta.synced().await;
    assert_eq!(meta.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn queue_excludes_repeats_and_delays() {
    let queue = WorkQueue::new();
    queue.add("a");
    queue.add("a");
    assert_eq!(queue.len(), 1);
    let key = queue.get().await.unwrap();
    queue.add("a");
    assert_eq!(queue.len(), 0, "not handed out while it is worked on");
    queue.done(&key);
    assert_eq!(queue.get().await, Some("a"));
    queue.done(&"a");

    let start = tokio::time::Instant::now();
    queue.add_after("b", Duration::from_secs(60));
    queue.add_after("b", Duration::from_secs(10));
    queue.add_after("b", Duration::from_secs(30));
    assert_eq!(queue.get().await, Some("b"));
    assert_eq!(start.elapsed().as_secs(), 10);
    queue.done(&"b");
    for _ in 0..3 {
        queue.add_rate_limited("c");
        assert_eq!(queue.get().await, Some("c"));
        queue.done(&"c");
    }
    assert_eq!(queue.failures(&"c"), 3);
    assert_eq!(
        (start.elapsed().as_millis() - 10_000).div_ceil(5),
        7,
        "5 + 10 + 20 ms"
    );
    queue.shut_down();
    assert_eq!(queue.get().await, None);
}

#[tokio::test(start_paused = true)]
async fn workers_retry_errors_and_panics_until_success() {
    let (queue, stop) = (WorkQueue::new(), CancellationToken::new());
    let runs = Arc::new(AtomicUsize::new(0));
    let (seen, done) = (runs.clone(), stop.clone());
    queue.add("key");
    run_workers(queue, 3, stop, move |_| {
        let (run, done) = (seen.fetch_add(1, Ordering::SeqCst), done.clone());
        async move {
            match run {
                0 => Err(std::io::Error::other("no luck")),
                1 => panic!("a bug"),
                2 => Ok(Action::RequeueAfter(Duration::from_secs(3600))),
                _ => {
                    done.cancel();
                    Ok(Action::Done)
                }
            }
        }
    })
    .await;
    assert_eq!(runs.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn repeated_events_raise_the_count() {
    let api = FakeApi::new();
    let recorder = EventRecorder::new(api.client(), "test-controller", "");
    let map: ConfigMap = serde_json::from_value(api.create(config_map("subject"))).unwrap();
    for _ in 0..3 {
        recorder.event(&map, EventType::Warning, "Trouble", "it burns");
    }
    api.wait("one event counted three times", |api| {
        let events = api.list("events");
        events.len() == 1 && events[0]["count"] == 3
    })
    .await;
    let event = &api.list("events")[0];
    assert_eq!(event["involvedObject"]["kind"], "ConfigMap");
    assert_eq!(event["source"]["component"], "test-controller");
    assert_eq!(event["type"], "Warning");
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_state_or_the_time() {
    let api = FakeApi::new();
    let maps: kube::Api<ConfigMap> = kube::Api::default_namespaced(api.client());
    let limit = Duration::from_secs(5);
    let absent = wait::until(maps.clone(), "it", limit, |m| m.is_none()).await;
    assert_eq!(absent, Ok(None));
    let never = wait::until(maps.clone(), "it", limit, |m| m.is_some()).await;
    assert_eq!(
        never.unwrap_err().to_string(),
        "it did not reach the awaited state within 5s"
    );
    let later = api.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        later.create(config_map("it"));
    });
    let there = wait::until(maps, "it", limit, |m| m.is_some()).await;
    assert_eq!(there.unwrap().unwrap().name_any(), "it");
}

#[tokio::test]
async fn errors_tell_what_the_server_said_once() {
    use crate::ErrorExt;
    let api = FakeApi::new();
    let maps: kube::Api<ConfigMap> = kube::Api::default_namespaced(api.client());
    let error = maps.get("it").await.unwrap_err();
    assert!(error.is_not_found() && !error.is_conflict());
    assert_eq!(crate::chain(&error), "configmaps \"it\" not found");
    let missing = crate::from_kubeconfig("/nowhere".as_ref())
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(missing.to_string().starts_with("cannot read kubeconfig /nowhere"));
    assert!(crate::chain(&missing).len() > missing.to_string().len());
}
