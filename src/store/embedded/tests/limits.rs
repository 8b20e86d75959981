//! Locks, failures of the disk, slow watches, retention, closing.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::join_all};

use super::{dump, open, open_with};
use crate::{
    Error, Event, Store,
    embedded::{
        EmbeddedStore, MAX_KEY, MAX_VALUE, Options, Retention,
        disk::{Faults, Kind, Step},
    },
};

/// Options with a fault that `fails` decides on; it is told how many such steps came before.
fn failing(fails: impl Fn(Step, usize) -> bool + Send + Sync + 'static) -> Options {
    let counts: [AtomicUsize; 4] = Default::default();
    let faults = Faults(Some(Arc::new(move |step| {
        let before = counts[step as usize].fetch_add(1, Ordering::Relaxed);
        if fails(step, before) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    })));
    Options {
        faults,
        retention: Retention::FOREVER,
        ..Options::default()
    }
}

#[tokio::test]
async fn a_folder_opens_once() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = open(dir.path());
    match EmbeddedStore::open(dir.path(), Options::default()).await {
        Err(Error::Locked { path }) => assert_eq!(path, dir.path()),
        other => panic!("expected Locked, got {other:?}"),
    }
    drop(store);
    open(dir.path());
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_more() {
    for failing_step in [Step::Append, Step::Sync] {
        let dir = tempfile::tempdir().expect("tempdir");
        let store = open_with(
            dir.path(),
            failing(move |step, before| step == failing_step && before >= 2),
        );
        let mut watch = store.watch("", 0).await.expect("watch");
        store.create("a", "1".into()).await.expect("create");
        store.create("b", "1".into()).await.expect("create");
        store.health().expect("healthy");
        for key in ["c", "d"] {
            match store.create(key, "1".into()).await {
                Err(Error::Io { action, source }) => {
                    assert!(
                        action.contains("append to ") && action.contains("log-"),
                        "{action}"
                    );
                    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
                }
                other => panic!("expected Io, got {other:?}"),
            }
        }
        assert!(matches!(store.health(), Err(Error::Io { .. })));
        // What was committed stays readable, what failed is nowhere to be seen.
        assert_eq!(store.revision(), 3);
        assert_eq!(dump(&store).await, ["a=1@2", "b=1@3"]);
        let seen = watch.next().await.expect("open").expect("events");
        assert_eq!(seen.last().map(Event::revision), Some(3));
        assert!(watch.next().now_or_never().is_none());
        drop(store);
        // Half a record is cut; a whole one that was not synced may have survived.
        let store = open(dir.path());
        let dump = dump(&store).await;
        assert!(
            dump.starts_with(&["a=1@2".into(), "b=1@3".into()]) && dump.len() <= 3,
            "{dump:?}"
        );
        store.create("e", "1".into()).await.expect("writes again");
    }
}

#[tokio::test]
async fn failing_checkpoints_leave_the_store_at_work() {
    for failing_step in [Step::Checkpoint, Step::Create] {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut options = failing(move |step, before| step == failing_step && before >= 1);
        options.checkpoint_after = 512;
        let store = open_with(dir.path(), options);
        for n in 0..50 {
            store
                .create(&format!("{n:02}"), vec![b'x'; 100].into())
                .await
                .expect("create");
        }
        store.health().expect("healthy");
        let before = dump(&store).await;
        drop(store);
        assert_eq!(dump(&open(dir.path())).await, before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_that_wait_together_share_a_sync() {
    let dir = tempfile::tempdir().expect("tempdir");
    let syncs = Arc::new(AtomicUsize::new(0));
    let counted = syncs.clone();
    let options = failing(move |step, _| {
        if step == Step::Sync {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        false
    });
    let store = open_with(dir.path(), options);
    store.create("alone", Bytes::new()).await.expect("create");
    assert_eq!(syncs.load(Ordering::Relaxed), 1);
    let keys: Vec<_> = (0..2000).map(|n| format!("{n}")).collect();
    for result in join_all(keys.iter().map(|key| store.create(key, Bytes::new()))).await {
        result.expect("create");
    }
    let shared = syncs.load(Ordering::Relaxed) - 1;
    assert!(
        (1..1000).contains(&shared),
        "{shared} syncs for 2000 concurrent writes"
    );
}

#[tokio::test]
async fn a_slow_watch_ends_and_can_go_on_where_it_fell_behind() {
    let dir = tempfile::tempdir().expect("tempdir");
    let options = Options {
        watch_queue: 4,
        retention: Retention::FOREVER,
        ..Options::default()
    };
    let store = open_with(dir.path(), options);
    let mut slow = store.watch("", 0).await.expect("watch");
    for n in 0..10 {
        store
            .create(&n.to_string(), Bytes::new())
            .await
            .expect("a slow watch never stops a writer");
    }
    let mut seen = Vec::new();
    let behind = loop {
        match slow.next().await {
            Some(Ok(events)) => seen.extend(events.iter().map(Event::revision)),
            Some(Err(Error::Slow { revision })) => break revision,
            other => panic!("expected Slow, got {other:?}"),
        }
    };
    assert!(slow.next().await.is_none());
    assert_eq!(seen, [2, 3, 4, 5]);
    assert_eq!(behind, 5);
    let mut again = store.watch("", behind + 1).await.expect("watch");
    let rest = again.next().await.expect("open").expect("events");
    assert_eq!(
        rest.iter().map(Event::revision).collect::<Vec<_>>(),
        [6, 7, 8, 9, 10, 11]
    );
}

#[tokio::test]
async fn history_keeps_to_its_limits() {
    let cases = [
        Retention {
            age: Some(Duration::ZERO),
            ..Retention::FOREVER
        },
        Retention {
            commits: Some(3),
            ..Retention::FOREVER
        },
        Retention {
            bytes: Some(3 * 1200),
            ..Retention::FOREVER
        },
    ];
    for retention in cases {
        let dir = tempfile::tempdir().expect("tempdir");
        let store = open_with(
            dir.path(),
            Options {
                retention: retention.clone(),
                ..Options::default()
            },
        );
        let mut revision = store.create("a", vec![0; 1000].into()).await.expect("create");
        for _ in 0..20 {
            revision = store
                .update("a", revision, vec![0; 1000].into())
                .await
                .expect("update");
        }
        let kept = revision - store.oldest();
        assert!(kept <= 3, "{retention:?} keeps {kept}");
        assert!(store.watch("", revision - kept + 1).await.is_ok());
        assert!(matches!(
            store.watch("", revision - kept).await,
            Err(Error::Compacted { .. })
        ));
        assert!(store.get("a", None).await.expect("get").0.is_some());
    }
}

#[tokio::test]
async fn oversized_input_is_named() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = open(dir.path());
    let error = store
        .create(&"k".repeat(MAX_KEY + 1), Bytes::new())
        .await
        .expect_err("key");
    assert_eq!(
        error.to_string(),
        "key of 4097 bytes is over the store's limit of 4096 bytes"
    );
    let error = store
        .create("k", vec![0; MAX_VALUE + 1].into())
        .await
        .expect_err("value");
    assert!(
        error.to_string().starts_with("value of 16777217 bytes is over"),
        "{error}"
    );
}

#[tokio::test]
async fn closing_ends_watches_and_finishes_writes() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = Arc::new(open(dir.path()));
    let mut watch = store.watch("", 0).await.expect("watch");
    let revision = store.create("a", "1".into()).await.expect("create");
    store.close().await;
    store.close().await;
    assert_eq!(watch.next().await.expect("open").expect("events").len(), 1);
    assert!(matches!(watch.next().await, Some(Err(Error::Closed))));
    assert!(watch.next().await.is_none());
    assert!(matches!(store.create("b", "1".into()).await, Err(Error::Closed)));
    assert!(matches!(
        store.update("a", revision, "1".into()).await,
        Err(Error::Closed)
    ));
    assert!(matches!(store.watch("", 0).await, Err(Error::Closed)));
    assert!(matches!(store.health(), Err(Error::Closed)));
    assert_eq!(dump(&store).await, ["a=1@2"]);
    drop(open(dir.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn checkpoints_are_taken_while_writing_and_bound_the_folder() {
    let dir = tempfile::tempdir().expect("tempdir");
    let options = || Options {
        checkpoint_after: 64 << 10,
        ..Options::default()
    };
    let store = Arc::new(open_with(dir.path(), options()));
    let tasks = (0..8).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut last = [None; 5];
            for n in 0..200 {
                let (key, slot) = (format!("{task}/{}", n % 5), n % 5);
                let value = Bytes::from(vec![n as u8; 1000]);
                last[slot] = Some(match last[slot] {
                    None => store.create(&key, value).await.expect("create"),
                    Some(revision) => store.update(&key, revision, value).await.expect("update"),
                });
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("writer");
    }
    let before = store.range("", None, 0, None).await.expect("range");
    store.close().await;
    drop(store);
    let disk = crate::embedded::disk::Disk::open(dir.path(), Faults::default()).expect("open");
    let (logs, checkpoints) = (
        disk.list(Kind::Log).expect("list"),
        disk.list(Kind::Checkpoint).expect("list"),
    );
    assert_eq!(checkpoints.len(), 1, "older ones are removed");
    assert!(logs.len() <= 2, "1.6 MB in logs of 64 KiB would be 25: {logs:?}");
    drop(disk);
    let store = open_with(dir.path(), options());
    assert_eq!(store.range("", None, 0, None).await.expect("range"), before);
    assert!(store.oldest() >= checkpoints[0]);
}
