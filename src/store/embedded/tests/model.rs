//! Random operations against a model that keeps every revision as a whole map.

use std::{collections::BTreeMap, ops::Range};

use bytes::Bytes;
use futures::StreamExt;
use proptest::{collection::vec, prelude::*};

use super::open_with;
use crate::{
    Entry, Error, Event, Revision, Store,
    embedded::{EmbeddedStore, Options, Retention},
};

#[derive(Clone, Debug)]
enum Op {
    Create {
        key: u8,
        size: usize,
    },
    Update {
        key: u8,
        size: usize,
        stale: bool,
    },
    Delete {
        key: u8,
        stale: bool,
    },
    Range {
        prefix: usize,
        after: Option<u8>,
        limit: usize,
        back: u64,
    },
    Watch {
        prefix: usize,
        back: u64,
    },
    Compact {
        back: u64,
    },
    Reopen,
}

const PREFIXES: [&str; 4] = ["", "/a/", "/b/", "/a/1"];

fn key(n: u8) -> String {
    format!("/{}/{}", if n.is_multiple_of(3) { "b" } else { "a" }, n)
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..14_u8;
    prop_oneof![
        4 => (key.clone(), 0..600_usize).prop_map(|(key, size)| Op::Create { key, size }),
        4 => (key.clone(), 0..600_usize, prop::bool::weighted(0.2))
            .prop_map(|(key, size, stale)| Op::Update { key, size, stale }),
        2 => (key.clone(), prop::bool::weighted(0.2)).prop_map(|(key, stale)| Op::Delete { key, stale }),
        3 => (0..4_usize, prop::option::of(key), 0..6_usize, 0..30_u64)
            .prop_map(|(prefix, after, limit, back)| Op::Range { prefix, after, limit, back }),
        2 => (0..4_usize, 0..30_u64).prop_map(|(prefix, back)| Op::Watch { prefix, back }),
        1 => (0..30_u64).prop_map(|back| Op::Compact { back }),
        1 => Just(Op::Reopen),
    ]
}

/// Key -> value, create revision, mod revision.
type State = BTreeMap<String, (Bytes, Revision, Revision)>;

struct Model {
    /// By revision, from 1 on; index 0 is unused.
    states: Vec<State>,
    /// What an explicit compaction guarantees at least.
    compacted: Revision,
}

impl Model {
    fn revision(&self) -> Revision {
        self.states.len() as u64 - 1
    }

    fn now(&self) -> &State {
        &self.states[self.states.len() - 1]
    }

    fn commit(&mut self, change: impl FnOnce(&mut State, Revision)) {
        let mut next = self.now().clone();
        change(&mut next, self.states.len() as u64);
        self.states.push(next);
    }

    /// Keys that changed with this revision, under a prefix.
    fn changed(&self, revision: Revision, prefix: &str) -> Option<String> {
        let (before, after) = (
            &self.states[revision as usize - 1],
            &self.states[revision as usize],
        );
        let differs = |key: &&String| before.get(*key) != after.get(*key);
        before
            .keys()
            .chain(after.keys())
            .find(differs)
            .filter(|key| key.starts_with(prefix))
            .cloned()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_map_that_remembers_every_revision(ops in vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(run(ops));
    }
}

async fn run(ops: Vec<Op>) {
    let dir = tempfile::tempdir().expect("tempdir");
    let options = Options {
        checkpoint_after: 2048,
        retention: Retention::FOREVER,
        log_size: 700,
        repeats: second_halves,
        ..Options::default()
    };
    let mut store = open_with(dir.path(), options.clone());
    let mut model = Model {
        states: vec![State::new(), State::new()],
        compacted: 0,
    };
    for (step, op) in ops.into_iter().enumerate() {
        if matches!(op, Op::Reopen) {
            drop(store);
            store = open_with(dir.path(), options.clone());
        } else {
            apply(&store, &mut model, op.clone(), step).await;
        }
        assert_eq!(store.revision(), model.revision(), "after {op:?}");
        assert!(
            (model.compacted.max(1)..=model.revision()).contains(&store.oldest()),
            "after {op:?}"
        );
        check_range(&store, &model, "", None, 0, None).await;
    }
}

/// Long values have the same bytes there, however they begin.
fn second_halves(value: &[u8]) -> Vec<Range<usize>> {
    std::iter::once(value.len() / 2..value.len()).collect()
}

async fn apply(store: &EmbeddedStore, model: &mut Model, op: Op, step: usize) {
    let value = |size: usize| {
        let half = size / 2;
        Bytes::from([vec![step as u8; half], vec![0; size - half]].concat())
    };
    match op {
        Op::Create { key: n, size } => {
            let result = store.create(&key(n), value(size)).await;
            if let Some((_, _, revision)) = model.now().get(&key(n)) {
                assert!(
                    matches!(result, Err(Error::Exists { current }) if current.mod_revision == *revision)
                );
            } else {
                model.commit(|state, revision| {
                    state.insert(key(n), (value(size), revision, revision));
                });
                assert_eq!(result.expect("create"), model.revision());
            }
        }
        Op::Update { key: n, size, stale } => {
            let current = model.now().get(&key(n)).cloned();
            let expected = current
                .as_ref()
                .map_or(1, |(_, _, revision)| revision - u64::from(stale));
            let result = store.update(&key(n), expected, value(size)).await;
            match current {
                Some((_, created, _)) if !stale => {
                    model.commit(|state, revision| {
                        state.insert(key(n), (value(size), created, revision));
                    });
                    assert_eq!(result.expect("update"), model.revision());
                }
                _ => match result {
                    Err(Error::Conflict { current: found, .. }) => {
                        assert_eq!(
                            found.map(|e| e.mod_revision),
                            current.map(|(_, _, revision)| revision)
                        );
                    }
                    other => panic!("expected Conflict, got {other:?}"),
                },
            }
        }
        Op::Delete { key: n, stale } => {
            let current = model.now().get(&key(n)).cloned();
            let expected = current
                .as_ref()
                .map_or(1, |(_, _, revision)| revision - u64::from(stale));
            let result = store.delete(&key(n), expected).await;
            match current {
                None => assert!(matches!(result, Err(Error::NotFound { .. })), "{result:?}"),
                Some(_) if stale => assert!(matches!(result, Err(Error::Conflict { .. })), "{result:?}"),
                Some(_) => {
                    model.commit(|state, _| {
                        state.remove(&key(n));
                    });
                    assert_eq!(result.expect("delete"), model.revision());
                }
            }
        }
        Op::Range {
            prefix,
            after,
            limit,
            back,
        } => {
            let at = model.revision().saturating_sub(back).max(store.oldest());
            let after = after.map(key);
            check_range(store, model, PREFIXES[prefix], after.as_deref(), limit, Some(at)).await;
        }
        Op::Watch { prefix, back } => check_watch(store, model, PREFIXES[prefix], back).await,
        Op::Compact { back } => {
            let revision = model.revision().saturating_sub(back);
            store.compact(revision).await.expect("compact");
            model.compacted = model.compacted.max(revision);
            assert!(store.oldest() >= model.compacted);
        }
        Op::Reopen => {}
    }
}

async fn check_range(
    store: &EmbeddedStore,
    model: &Model,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
    at: Option<Revision>,
) {
    let range = store.range(prefix, after, limit, at).await.expect("range");
    let state = &model.states[at.unwrap_or(model.revision()) as usize];
    let all: Vec<_> = state
        .iter()
        .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after))
        .map(|(key, (value, created, revision))| (key.clone(), value.clone(), *created, *revision))
        .collect();
    let taken = if limit == 0 {
        all.len()
    } else {
        limit.min(all.len())
    };
    let found: Vec<_> = range
        .entries
        .iter()
        .map(|e| (e.key.to_string(), plain(e), e.create_revision, e.mod_revision))
        .collect();
    assert_eq!(
        found,
        all[..taken],
        "range of {prefix:?} after {after:?} at {at:?}"
    );
    assert_eq!(range.remaining as usize, all.len() - taken);
    for entry in &range.entries {
        let (got, _) = store.get(&entry.key, at).await.expect("get");
        assert_eq!(got.as_ref(), Some(entry));
    }
}

fn plain(entry: &Entry) -> Bytes {
    entry.value.bytes().into_owned().into()
}

async fn check_watch(store: &EmbeddedStore, model: &Model, prefix: &str, back: u64) {
    let from = model.revision().saturating_sub(back).max(1);
    let mut watch = match store.watch(prefix, from).await {
        Ok(watch) => watch,
        Err(Error::Compacted { oldest, .. }) => {
            assert!(
                from < oldest && oldest == store.oldest() + 1,
                "{from} {oldest} {}",
                store.oldest()
            );
            return;
        }
        Err(error) => panic!("watch from {from}: {error}"),
    };
    store.progress(prefix).await.expect("progress");
    let mut events = Vec::new();
    while watch.revision() < model.revision() {
        events.extend(watch.next().await.expect("open").expect("events"));
    }
    let expected: Vec<_> = (from.max(2)..=model.revision())
        .filter_map(|revision| Some((revision, model.changed(revision, prefix)?)))
        .collect();
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.revision(), event.key().to_string()))
        .collect();
    assert_eq!(seen, expected, "watch of {prefix:?} from {from}");
    for event in &events {
        let before = model.states[event.revision() as usize - 1].get(&**event.key());
        let prev = event
            .prev()
            .map(|e| (plain(e), e.create_revision, e.mod_revision));
        assert_eq!(prev.as_ref(), before);
        if let Event::Put { entry, .. } = event {
            let after = &model.states[event.revision() as usize][&*entry.key];
            assert_eq!((&plain(entry), entry.create_revision), (&after.0, after.1));
        }
    }
}
