//! Writes: compare-and-swap, one revision each.

use std::collections::BTreeSet;

use super::{Case, bytes};
use crate::Error;

pub(super) async fn a_created_key_can_be_read(case: &Case) {
    assert_eq!(case.get("a").await, None);
    let revision = case.create("a", "1").await;
    let entry = case.get("a").await.expect("created");
    assert_eq!(&*entry.key, case.key("a"));
    assert_eq!(*entry.value.bytes(), *b"1");
    assert_eq!((entry.create_revision, entry.mod_revision), (revision, revision));
    let (_, read_at) = case.store.get(&case.key("a"), None).await.expect("get");
    assert_eq!(read_at, revision, "nobody else writes");
    assert_eq!(case.store.revision(), revision);
}

pub(super) async fn creating_an_existing_key_gives_what_is_there(case: &Case) {
    let revision = case.create("a", "1").await;
    match case.store.create(&case.key("a"), bytes("2")).await {
        Err(Error::Exists { current }) => {
            assert_eq!(
                (current.mod_revision, &*current.value.bytes()),
                (revision, &b"1"[..])
            );
        }
        other => panic!("expected Exists, got {other:?}"),
    }
    assert_eq!(
        case.store.revision(),
        revision,
        "a refused write takes no revision"
    );
}

pub(super) async fn update_needs_the_current_revision(case: &Case) {
    let first = case.create("a", "1").await;
    let second = case.update("a", first, "2").await;
    let entry = case.get("a").await.expect("there");
    assert_eq!((entry.create_revision, entry.mod_revision), (first, second));
    for stale in [first, second + 1, 0] {
        match case.store.update(&case.key("a"), stale, bytes("3")).await {
            Err(Error::Conflict {
                current: Some(current),
                expected,
                ..
            }) => {
                assert_eq!((current.mod_revision, expected), (second, stale));
            }
            other => panic!("expected Conflict, got {other:?}"),
        }
    }
    match case.store.update(&case.key("none"), first, bytes("3")).await {
        Err(Error::Conflict { current: None, .. }) => {}
        other => panic!("expected Conflict without an entry, got {other:?}"),
    }
    assert_eq!(case.get("a").await, Some(entry));
}

pub(super) async fn delete_needs_the_current_revision(case: &Case) {
    let first = case.create("a", "1").await;
    let second = case.update("a", first, "2").await;
    match case.store.delete(&case.key("a"), first).await {
        Err(Error::Conflict {
            current: Some(current),
            ..
        }) => assert_eq!(current.mod_revision, second),
        other => panic!("expected Conflict, got {other:?}"),
    }
    let deleted = case.delete("a", second).await;
    assert!(deleted > second);
    assert_eq!(case.get("a").await, None);
    match case.store.delete(&case.key("a"), second).await {
        Err(Error::NotFound { key }) => assert_eq!(&*key, case.key("a")),
        other => panic!("expected NotFound, got {other:?}"),
    }
}

pub(super) async fn a_key_created_again_begins_anew(case: &Case) {
    let first = case.create("a", "1").await;
    let deleted = case.delete("a", first).await;
    let again = case.create("a", "2").await;
    assert!(first < deleted && deleted < again);
    assert_eq!(case.get("a").await.expect("there").create_revision, again);
}

pub(super) async fn each_write_takes_exactly_one_revision(case: &Case) {
    let first = case.create("a", "1").await;
    assert_eq!(
        case.update("a", first, "1").await,
        first + 1,
        "also when the value stays the same"
    );
    assert_eq!(case.create("b", "1").await, first + 2);
    assert_eq!(case.delete("a", first + 1).await, first + 3);
    let creates = (0..50).map(|n| {
        let (store, key) = (case.store.clone(), case.key(&format!("c{n}")));
        tokio::spawn(async move { store.create(&key, bytes("")).await.expect("create") })
    });
    let mut revisions = BTreeSet::new();
    for create in creates.collect::<Vec<_>>() {
        revisions.insert(create.await.expect("task"));
    }
    assert_eq!(revisions, (first + 4..first + 54).collect());
}

pub(super) async fn values_are_kept_to_the_byte(case: &Case) {
    let all: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    for (name, value) in [("empty", vec![]), ("all", all), ("zeros", vec![0; 9])] {
        let key = case.key(name);
        case.store
            .create(&key, value.clone().into())
            .await
            .expect("create");
        let (entry, _) = case.store.get(&key, None).await.expect("get");
        assert_eq!(entry.expect("there").value.bytes(), value);
    }
}

pub(super) async fn of_racing_creates_one_wins(case: &Case) {
    for round in 0..20 {
        let key = case.key(&format!("race{round}"));
        let racers = (0..16).map(|n| {
            let (store, key) = (case.store.clone(), key.clone());
            tokio::spawn(async move { (n, store.create(&key, bytes(n.to_string())).await) })
        });
        let mut won = None;
        for racer in racers.collect::<Vec<_>>() {
            match racer.await.expect("task") {
                (n, Ok(revision)) => assert!(won.replace((n, revision)).is_none(), "two creates won"),
                (_, Err(Error::Exists { .. })) => {}
                (_, Err(error)) => panic!("expected Exists, got {error:?}"),
            }
        }
        let (winner, revision) = won.expect("somebody wins");
        let (entry, _) = case.store.get(&key, None).await.expect("get");
        let entry = entry.expect("there");
        assert_eq!(
            (entry.value.bytes().to_vec(), entry.mod_revision),
            (winner.to_string().into_bytes(), revision)
        );
    }
}

pub(super) async fn racing_increments_lose_none(case: &Case) {
    case.create("counter", "0").await;
    let tasks = (0..16).map(|_| {
        let (store, key) = (case.store.clone(), case.key("counter"));
        tokio::spawn(async move {
            let mut done = 0;
            let (mut seen, _) = store.get(&key, None).await.expect("get");
            while done < 10 {
                let entry = seen.expect("there");
                let count: u32 = std::str::from_utf8(&entry.value.bytes())
                    .expect("text")
                    .parse()
                    .expect("number");
                match store
                    .update(&key, entry.mod_revision, bytes((count + 1).to_string()))
                    .await
                {
                    Ok(_) => {
                        done += 1;
                        seen = store.get(&key, None).await.expect("get").0;
                    }
                    Err(Error::Conflict { current, .. }) => seen = current,
                    Err(error) => panic!("expected Conflict, got {error:?}"),
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("task");
    }
    assert!(case.get("counter").await.expect("there").value == *bytes("160"));
}
