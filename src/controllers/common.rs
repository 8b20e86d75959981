//! What all controllers share.

use std::sync::Arc;

use kube::Resource;
use rkind_client::{Change, Client, EventRecorder, Informer, Informers, ObjectKey, WorkQueue, owner};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::Options;

pub(crate) mod claim;
pub(crate) mod conditions;
pub(crate) mod discover;
pub(crate) mod expect;
pub(crate) mod hash;
pub(crate) mod history;
pub(crate) mod intstr;
pub(crate) mod owned;
pub(crate) mod pods;
pub(crate) mod slowstart;

/// Workers per controller, as upstream's `--concurrent-*-syncs`.
pub(crate) const WORKERS: usize = 5;

/// Why a reconcile failed; it is tried again.
#[derive(Debug, Error)]
pub(crate) enum ReconcileError {
    #[error("request to the API failed")]
    Api(#[from] kube::Error),
    #[error("selector is not usable")]
    Selector(#[from] rkind_client::selector::SelectorError),
    #[error("object can't be written as JSON")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Other(String),
}

pub(crate) type Outcome = Result<rkind_client::Action, ReconcileError>;

/// The world a controller lives in.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) informers: Informers,
    pub(crate) options: Arc<Options>,
    pub(crate) shutdown: CancellationToken,
}

impl Context {
    pub(crate) fn new(
        client: Client,
        informers: Informers,
        options: Options,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            client,
            informers,
            options: Arc::new(options),
            shutdown,
        }
    }

    pub(crate) fn recorder(&self, component: &str) -> EventRecorder {
        EventRecorder::new(self.client.clone(), component, "")
    }

    /// Puts the keys that `keys` derives from each change into `queue`, for as long as the process runs.
    pub(crate) fn feed<K, T>(
        &self,
        informer: &Informer<K>,
        queue: &WorkQueue<T>,
        keys: impl Fn(&Change<K>) -> Vec<T> + Send + 'static,
    ) where
        K: Resource + Send + Sync + 'static,
        T: std::hash::Hash + Eq + Clone + Send + 'static,
    {
        let (informer, queue, shutdown) = (informer.clone(), queue.clone(), self.shutdown.clone());
        tokio::spawn(async move {
            let mut changes = informer.subscribe();
            loop {
                let change = tokio::select! {
                    () = shutdown.cancelled() => return,
                    change = changes.recv() => change,
                };
                let Some(change) = change else { return };
                for key in keys(&change) {
                    queue.add(key);
                }
            }
        });
    }

    /// Feeds each changed object's own key.
    pub(crate) fn feed_own<K>(&self, informer: &Informer<K>, queue: &WorkQueue<ObjectKey>)
    where
        K: Resource + Send + Sync + 'static,
    {
        self.feed(informer, queue, |change| vec![change.key.clone()]);
    }
}

/// The controllers of kind `kind` that a change concerns.
pub(crate) fn controller_keys<K: Resource>(change: &Change<K>, kind: &str) -> Vec<ObjectKey> {
    let mut keys: Vec<ObjectKey> = Vec::new();
    for object in [change.old.as_deref(), change.new.as_deref()]
        .into_iter()
        .flatten()
    {
        if let Some(controller) = owner::controller_of(object.meta()).filter(|r| r.kind == kind) {
            let key = ObjectKey::new(change.key.namespace(), controller.name.clone());
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}

/// The current time in the API's form.
pub(crate) fn now() -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    let now = jiff::Timestamp::now();
    // The API keeps whole seconds: compare what will be stored.
    jiff::Timestamp::from_second(now.as_second())
        .unwrap_or(now)
        .into()
}
