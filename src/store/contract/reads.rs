//! Reads: order, pages, the past.

use super::{Case, bytes};
use crate::Error;

pub(super) async fn range_is_ordered_and_keeps_to_its_prefix(case: &Case) {
    for name in ["b/1", "b/2", "a", "b", "b0", "c/ä", "b/\u{10ffff}", "b/10"] {
        case.create(name, "").await;
    }
    let names = async |prefix: &str| -> Vec<String> {
        let range = case
            .store
            .range(&case.key(prefix), None, 0, None)
            .await
            .expect("range");
        assert_eq!((range.remaining, range.revision), (0, case.store.revision()));
        range
            .entries
            .iter()
            .map(|e| e.key.strip_prefix(&case.root).expect("prefix").to_owned())
            .collect()
    };
    assert_eq!(
        names("").await,
        ["a", "b", "b/1", "b/10", "b/2", "b/\u{10ffff}", "b0", "c/ä"]
    );
    assert_eq!(names("b/").await, ["b/1", "b/10", "b/2", "b/\u{10ffff}"]);
    assert_eq!(
        names("b").await,
        ["b", "b/1", "b/10", "b/2", "b/\u{10ffff}", "b0"]
    );
    assert_eq!(names("b/\u{10ffff}").await, ["b/\u{10ffff}"]);
    assert_eq!(names("d").await, Vec::<String>::new());
}

pub(super) async fn pages_cover_everything_once(case: &Case) {
    for n in 0..25 {
        case.store
            .create(&case.key(&format!("{n:02}")), bytes("x"))
            .await
            .expect("create");
    }
    let mut after = None;
    let mut seen = Vec::new();
    let mut left = Vec::new();
    loop {
        let page = case
            .store
            .range(&case.root, after.as_deref(), 10, None)
            .await
            .expect("range");
        seen.extend(page.entries.iter().map(|entry| entry.key.to_string()));
        after = page.entries.last().map(|entry| entry.key.to_string());
        left.push(page.remaining);
        if page.remaining == 0 {
            break;
        }
    }
    assert_eq!(left, [15, 5, 0]);
    assert_eq!(
        seen,
        (0..25).map(|n| case.key(&format!("{n:02}"))).collect::<Vec<_>>()
    );
    let exact = case.store.range(&case.root, None, 25, None).await.expect("range");
    assert_eq!((exact.entries.len(), exact.remaining), (25, 0));
    // A start between keys, before all, and behind all.
    let from = async |after: &str| {
        case.store
            .range(&case.root, Some(after), 0, None)
            .await
            .expect("range")
            .entries
            .len()
    };
    assert_eq!(from(&case.key("23x")).await, 1);
    assert_eq!(from("").await, 25);
    assert_eq!(from(&case.key("24")).await, 0);
    assert_eq!(from(&case.key("\u{10ffff}\u{10ffff}")).await, 0);
    assert_eq!(from("\u{10ffff}").await, 0);
}

pub(super) async fn pages_keep_to_the_first_pages_revision(case: &Case) {
    let mut revisions = Vec::new();
    for name in ["a", "c", "e", "g", "i"] {
        revisions.push(case.create(name, "old").await);
    }
    let first = case.store.range(&case.root, None, 2, None).await.expect("range");
    assert_eq!(first.remaining, 3);
    case.create("b", "new").await;
    case.create("d", "new").await;
    case.delete("e", revisions[2]).await;
    case.update("g", revisions[3], "new").await;
    case.create("z", "new").await;
    let after = first.entries.last().map(|entry| entry.key.clone());
    let rest = case
        .store
        .range(&case.root, after.as_deref(), 2, Some(first.revision))
        .await
        .expect("range");
    let shown: Vec<_> = rest.entries.iter().map(|entry| case.show(entry)).collect();
    assert_eq!(shown, ["e=old", "g=old"]);
    assert_eq!((rest.remaining, rest.revision), (1, first.revision));
    assert_eq!(
        case.list_at(None).await.expect("list"),
        ["a=old", "b=new", "c=old", "d=new", "g=new", "i=old", "z=new"]
    );
}

pub(super) async fn every_retained_revision_can_be_read(case: &Case) {
    let mut expected = Vec::new();
    let mut remember =
        async || expected.push((case.store.revision(), case.list_at(None).await.expect("list")));
    remember().await;
    let a = case.create("a", "1").await;
    remember().await;
    let b = case.create("b", "1").await;
    remember().await;
    let a = case.update("a", a, "2").await;
    remember().await;
    case.delete("b", b).await;
    remember().await;
    case.delete("a", a).await;
    remember().await;
    case.create("b", "2").await;
    remember().await;
    for (revision, list) in &expected {
        assert_eq!(
            &case.list_at(Some(*revision)).await.expect("list"),
            list,
            "at {revision}"
        );
        for name in ["a", "b"] {
            let (entry, at) = case
                .store
                .get(&case.key(name), Some(*revision))
                .await
                .expect("get");
            assert_eq!(at, *revision);
            let entry = entry.map(|entry| case.show(&entry));
            assert_eq!(
                entry.as_ref(),
                list.iter().find(|item| item.starts_with(name)),
                "{name} at {revision}"
            );
        }
    }
}

pub(super) async fn the_future_cannot_be_read(case: &Case) {
    let current = case.create("a", "1").await;
    let at = Some(current + 1);
    for error in [
        case.list_at(at).await.expect_err("range in the future"),
        case.store
            .get(&case.key("a"), at)
            .await
            .expect_err("get in the future"),
        case.store
            .compact(current + 1)
            .await
            .expect_err("compaction in the future"),
    ] {
        assert!(
            matches!(error, Error::Future { requested, current: now } if requested == current + 1 && now == current),
            "expected Future, got {error:?}"
        );
    }
}

pub(super) async fn compaction_ends_the_past(case: &Case) {
    let first = case.create("a", "1").await;
    let second = case.update("a", first, "2").await;
    let third = case.update("a", second, "3").await;
    case.store.compact(second).await.expect("compact");
    assert_eq!(case.store.oldest(), second);
    assert_eq!(case.store.revision(), third, "compaction takes no revision");
    for error in [
        case.list_at(Some(first))
            .await
            .expect_err("range in the compacted past"),
        case.store
            .get(&case.key("a"), Some(first))
            .await
            .expect_err("get in the compacted past"),
    ] {
        assert!(
            matches!(error, Error::Compacted { requested, oldest } if requested == first && oldest == second),
            "expected Compacted, got {error:?}"
        );
    }
    assert_eq!(case.list_at(Some(second)).await.expect("list"), ["a=2"]);
    assert_eq!(case.list_at(Some(third)).await.expect("list"), ["a=3"]);
    case.store
        .compact(first)
        .await
        .expect("compacting less changes nothing");
    assert_eq!(case.store.oldest(), second);
    case.store.compact(third).await.expect("compact");
    assert_eq!(case.list_at(None).await.expect("list"), ["a=3"]);
    assert_eq!(case.list_at(Some(third)).await.expect("list"), ["a=3"]);
}
