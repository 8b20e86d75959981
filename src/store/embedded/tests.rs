//! The embedded store as a whole: contract, model, recovery, limits.

use std::{path::Path, sync::Arc};

use super::{EmbeddedStore, Options, Retention};
use crate::{Store, Value, contract};

mod limits;
mod model;
mod recovery;

fn open(dir: &Path) -> EmbeddedStore {
    open_with(
        dir,
        Options {
            retention: Retention::FOREVER,
            ..Options::default()
        },
    )
}

fn open_with(dir: &Path, options: Options) -> EmbeddedStore {
    EmbeddedStore::open_blocking(dir, options).expect("open")
}

/// `key=value@mod_revision` of everything.
async fn dump(store: &EmbeddedStore) -> Vec<String> {
    let range = store.range("", None, 0, None).await.expect("range");
    let show = |value: &Value| String::from_utf8_lossy(&value.bytes()).into_owned();
    range
        .entries
        .iter()
        .map(|e| format!("{}={}@{}", e.key, show(&e.value), e.mod_revision))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn passes_the_contract_on_new_stores() {
    let dir = tempfile::tempdir().expect("tempdir");
    let count = std::sync::atomic::AtomicUsize::new(0);
    contract::run(|| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let store: Arc<dyn Store> = Arc::new(open(&dir.path().join(n.to_string())));
        async move { store }
    })
    .await;
}

/// As a shared etcd would be: one store for all cases, and checkpoints all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn passes_the_contract_on_one_store_with_frequent_checkpoints() {
    let dir = tempfile::tempdir().expect("tempdir");
    let options = Options {
        checkpoint_after: 1024,
        retention: Retention::FOREVER,
        ..Options::default()
    };
    let store: Arc<dyn Store> = Arc::new(open_with(dir.path(), options));
    contract::run(|| {
        let store = store.clone();
        async move { store }
    })
    .await;
}
