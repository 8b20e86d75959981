//! What a durable write, a watch and a read cost: `cargo bench -p rkind-store`.
//!
//! Writes go to a folder below the target directory, so that they meet a real disk.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use futures::{StreamExt, future::join_all};
use rkind_store::{
    Store,
    embedded::{EmbeddedStore, Options},
};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

const VALUE: Bytes = Bytes::from_static(&[b'v'; 2048]);

struct Fixture {
    store: Arc<EmbeddedStore>,
    next: AtomicUsize,
    runtime: Runtime,
    _dir: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("tempdir");
    let store = EmbeddedStore::open_blocking(dir.path(), Options::default()).expect("open");
    let runtime = Runtime::new().expect("runtime");
    Fixture {
        store: Arc::new(store),
        next: AtomicUsize::new(0),
        runtime,
        _dir: dir,
    }
}

impl Fixture {
    fn key(&self) -> String {
        format!(
            "/registry/pods/default/pod-{:08}",
            self.next.fetch_add(1, Ordering::Relaxed)
        )
    }
}

/// 2 KiB creates, `tasks` of them at a time: one item is one acknowledged create.
#[divan::bench(args = [1, 8, 64, 256], sample_count = 50, sample_size = 10)]
fn creates(bencher: Bencher<'_, '_>, tasks: usize) {
    let fixture = fixture();
    bencher.counter(ItemsCount::new(tasks)).bench_local(|| {
        let keys: Vec<_> = (0..tasks).map(|_| fixture.key()).collect();
        fixture.runtime.block_on(async {
            for result in join_all(keys.iter().map(|key| fixture.store.create(key, VALUE))).await {
                result.expect("create");
            }
        });
    });
}

/// One update seen by `watches` watches: one item is one delivered event.
#[divan::bench(args = [1, 100, 1000], sample_count = 50)]
fn watch_fan_out(bencher: Bencher<'_, '_>, watches: usize) {
    let fixture = fixture();
    let mut revision = fixture
        .runtime
        .block_on(fixture.store.create("/watched/a", VALUE))
        .expect("create");
    let mut streams = fixture
        .runtime
        .block_on(async { join_all((0..watches).map(|_| fixture.store.watch("/watched/", 0))).await });
    bencher.counter(ItemsCount::new(watches * 64)).bench_local(|| {
        fixture.runtime.block_on(async {
            for _ in 0..64 {
                revision = fixture
                    .store
                    .update("/watched/a", revision, VALUE)
                    .await
                    .expect("update");
            }
            for stream in &mut streams {
                let stream = stream.as_mut().expect("watch");
                while stream.revision() < revision {
                    stream.next().await.expect("open").expect("events");
                }
            }
        });
    });
}

fn fill(dir: &Path, count: usize) -> EmbeddedStore {
    let store = EmbeddedStore::open_blocking(dir, Options::default()).expect("open");
    let keys: Vec<_> = (0..count)
        .map(|n| format!("/registry/pods/default/pod-{n:08}"))
        .collect();
    Runtime::new().expect("runtime").block_on(async {
        for chunk in keys.chunks(4096) {
            for result in join_all(chunk.iter().map(|key| store.create(key, VALUE))).await {
                result.expect("create");
            }
        }
    });
    store
}

/// Opening a store of `count` objects of 2 KiB.
#[divan::bench(args = [1000, 100_000], sample_count = 5, sample_size = 1)]
fn open(bencher: Bencher<'_, '_>, count: usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("tempdir");
    drop(fill(dir.path(), count));
    bencher.bench_local(|| {
        let store = EmbeddedStore::open_blocking(dir.path(), Options::default()).expect("open");
        assert_eq!(store.len(), count);
    });
}

/// Reads among 100,000 objects: `what` is one key, a page of 500, or everything.
#[divan::bench(args = ["get", "page", "all"], sample_count = 50)]
fn reads(bencher: Bencher<'_, '_>, what: &str) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("tempdir");
    let store = fill(dir.path(), 100_000);
    let runtime = Runtime::new().expect("runtime");
    bencher.bench_local(|| {
        runtime.block_on(async {
            match what {
                "get" => drop(
                    store
                        .get("/registry/pods/default/pod-00070000", None)
                        .await
                        .expect("get"),
                ),
                "page" => drop(
                    store
                        .range("/registry/pods/", None, 500, None)
                        .await
                        .expect("range"),
                ),
                _ => drop(
                    store
                        .range("/registry/pods/", None, 0, None)
                        .await
                        .expect("range"),
                ),
            }
        });
    });
}
