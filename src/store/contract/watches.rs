//! Watches: everything from a revision on, in order, once.

use std::sync::Arc;

use futures::{FutureExt, StreamExt};

use super::{Case, bytes};
use crate::{Error, Event, Revision, Store};

pub(super) async fn from_now_sees_only_what_comes(case: &Case) {
    let base = case.create("a", "1").await;
    let mut watch = case.watch(0).await;
    assert_eq!(watch.revision(), base);
    let next = case.update("a", base, "2").await;
    let events = case.events(&mut watch, 1).await;
    assert_eq!(case.show_event(&events[0], base), "1~a=2");
    assert_eq!(watch.revision(), next);
    assert!(watch.next().now_or_never().is_none(), "nothing more may come");
}

pub(super) async fn from_a_revision_sees_history_first(case: &Case) {
    let a = case.create("a", "1").await;
    let base = a - 1;
    let a = case.update("a", a, "2").await;
    let b = case.create("b", "1").await;
    let mut watch = case.watch(a).await;
    assert_eq!(watch.revision(), a - 1);
    case.delete("a", a).await;
    let mut shown = Vec::new();
    for event in case.events(&mut watch, 3).await {
        shown.push(case.show_event(&event, base));
    }
    assert_eq!(shown, ["2~a=2", "3+b=1", "4-a"]);
    let mut next = case.watch(case.store.revision() + 1).await;
    assert!(next.next().now_or_never().is_none());
    case.delete("b", b).await;
    let events = case.events(&mut next, 1).await;
    assert_eq!(case.show_event(&events[0], base), "5-b");
}

pub(super) async fn from_the_future_skips_what_is_before(case: &Case) {
    let base = case.store.revision();
    let mut watch = case.watch(base + 3).await;
    for name in ["a", "b", "c", "d"] {
        case.create(name, "1").await;
    }
    let events = case.events(&mut watch, 2).await;
    let shown: Vec<_> = events.iter().map(|event| case.show_event(event, base)).collect();
    assert_eq!(shown, ["3+c=1", "4+d=1"]);
}

pub(super) async fn events_carry_what_was_before(case: &Case) {
    let first = case.create("a", "1").await;
    let second = case.update("a", first, "2").await;
    let third = case.delete("a", second).await;
    let fourth = case.create("a", "3").await;
    let mut watch = case.watch(first).await;
    let events = case.events(&mut watch, 4).await;
    let revisions: Vec<_> = events.iter().map(Event::revision).collect();
    assert_eq!(revisions, [first, second, third, fourth]);
    assert!(matches!(&events[0], Event::Put { entry, prev: None } if entry.create_revision == first));
    assert!(matches!(&events[1], Event::Put { entry, prev: Some(prev) }
        if entry.create_revision == first && prev.mod_revision == first && prev.value == *bytes("1")));
    assert!(matches!(&events[2], Event::Delete { prev, .. }
        if prev.mod_revision == second && prev.value == *bytes("2")));
    assert!(matches!(&events[3], Event::Put { entry, prev: None } if entry.create_revision == fourth));
}

pub(super) async fn what_is_told_can_be_read(case: &Case) {
    const WRITES: usize = 500;
    let mut watch = case.watch(0).await;
    let write = async {
        for number in 0..WRITES {
            case.create(&format!("k{number:03}"), "1").await;
        }
    };
    let read = async {
        let mut seen = 0;
        while seen < WRITES {
            for event in watch.next().await.expect("watch ended").expect("watch failed") {
                assert!(case.store.revision() >= event.revision());
                let (found, _) = case.store.get(event.key(), None).await.expect("get");
                assert!(found.is_some_and(|entry| entry.mod_revision >= event.revision()));
                seen += 1;
            }
        }
    };
    futures::join!(write, read);
}

pub(super) async fn keeps_to_its_prefix(case: &Case) {
    let base = case.store.revision();
    let mut pods = case.store.watch(&case.key("pods/"), 0).await.expect("watch");
    let mut all = case.watch(0).await;
    case.create("nodes/a", "1").await;
    case.create("pods/a", "1").await;
    case.create("pods", "1").await;
    case.create("podsx", "1").await;
    case.create("pods/b", "1").await;
    let shown: Vec<_> = case
        .events(&mut pods, 2)
        .await
        .iter()
        .map(|e| case.show_event(e, base))
        .collect();
    assert_eq!(shown, ["2+pods/a=1", "5+pods/b=1"]);
    let late = case
        .store
        .watch(&case.key("pods/"), base + 1)
        .await
        .expect("watch");
    let again: Vec<_> = case
        .events(&mut { late }, 2)
        .await
        .iter()
        .map(|e| case.show_event(e, base))
        .collect();
    assert_eq!(again, shown);
    assert_eq!(case.events(&mut all, 5).await.len(), 5);
}

/// Writers on several tasks; watches begin all the time, from now or from the first revision; each must
/// see one unbroken sequence.
pub(super) async fn started_amid_writes_misses_nothing(case: &Case) {
    const WRITERS: u64 = 8;
    const WRITES: u64 = 60;
    let base = case.store.revision();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, key) = (case.store.clone(), case.key(&format!("w{writer}")));
            tokio::spawn(async move {
                let mut revision = store.create(&key, bytes("0")).await.expect("create");
                for n in 1..WRITES {
                    revision = store
                        .update(&key, revision, bytes(n.to_string()))
                        .await
                        .expect("update");
                }
            })
        })
        .collect();
    let total = base + WRITERS * WRITES;
    let watches: Vec<_> = (0..24)
        .map(|n| {
            let (store, root) = (case.store.clone(), case.root.clone());
            tokio::spawn(async move {
                for _ in 0..n * 3 {
                    tokio::task::yield_now().await;
                }
                let from = if n % 2 == 0 { 0 } else { base + 1 };
                sequence(store, &root, from, total).await
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("writer");
    }
    assert_eq!(case.store.revision(), total);
    for watch in watches {
        let (begun, revisions) = watch.await.expect("watch");
        assert_eq!(revisions, (begun + 1..=total).collect::<Vec<_>>(), "from {begun}");
    }
}

/// The revision a watch begins behind and the revisions it sees, until `last`.
async fn sequence(
    store: Arc<dyn Store>,
    root: &str,
    from: Revision,
    last: Revision,
) -> (Revision, Vec<Revision>) {
    let mut watch = store.watch(root, from).await.expect("watch");
    let begun = watch.revision();
    let mut seen = Vec::new();
    while begun < last && seen.last() != Some(&last) {
        let events = watch.next().await.expect("watch ended").expect("watch failed");
        seen.extend(events.iter().map(Event::revision));
    }
    (begun, seen)
}

pub(super) async fn an_acknowledged_write_is_queued(case: &Case) {
    let mut watch = case.watch(0).await;
    for n in 0..20 {
        let revision = case
            .store
            .create(&case.key(&n.to_string()), bytes("x"))
            .await
            .expect("create");
        case.store.progress(&case.root).await.expect("progress");
        while watch.revision() < revision {
            watch.next().await.expect("watch ended").expect("watch failed");
        }
    }
}

pub(super) async fn from_a_compacted_revision_is_refused(case: &Case) {
    let first = case.create("a", "1").await;
    let second = case.update("a", first, "2").await;
    let third = case.update("a", second, "3").await;
    case.store.compact(second).await.expect("compact");
    for from in [first, second] {
        match case.store.watch(&case.root, from).await {
            Err(Error::Compacted { requested, oldest }) => assert_eq!((requested, oldest), (from, third)),
            other => panic!("expected Compacted, got {other:?}"),
        }
    }
    let mut watch = case.watch(third).await;
    let events = case.events(&mut watch, 1).await;
    assert_eq!(case.show_event(&events[0], second), "1~a=3");
    let mut now = case.watch(0).await;
    case.store.compact(third).await.expect("compact");
    case.create("b", "1").await;
    assert_eq!(
        case.events(&mut now, 1).await.len(),
        1,
        "a running watch outlives compaction"
    );
    assert_eq!(case.events(&mut watch, 1).await.len(), 1);
}

pub(super) async fn progress_moves_the_revision(case: &Case) {
    let mut watch = case.store.watch(&case.key("quiet/"), 0).await.expect("watch");
    let revision = case.create("loud", "1").await;
    case.store.progress(&case.key("quiet/")).await.expect("progress");
    while watch.revision() < revision {
        let events = watch.next().await.expect("watch ended").expect("watch failed");
        assert!(events.is_empty(), "only progress, got {events:?}");
    }
}

pub(super) async fn a_dropped_watch_disturbs_nobody(case: &Case) {
    let dropped = case.watch(0).await;
    let mut kept = case.watch(0).await;
    case.create("a", "1").await;
    drop(dropped);
    case.create("b", "1").await;
    assert_eq!(case.events(&mut kept, 2).await.len(), 2);
}
