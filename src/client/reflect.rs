//! Keeps a cache equal to what the server has: list, watch, begin again after errors.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use kube::Api;
use kube::api::ApiResource;
use kube::runtime::watcher;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::store::Store;
use crate::unread::Unread;
use crate::{Backoff, Client};

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// Where what a watch tells of a kind goes.
pub(crate) trait Sink: Send + Sync {
    /// A list begins.
    fn begin(&self);
    /// One object of the list.
    fn listed(&self, object: &Unread);
    /// The list is whole.
    fn complete(&self);
    fn apply(&self, object: &Unread);
    fn delete(&self, object: &Unread);
    /// Nothing more comes.
    fn close(&self);
}

/// The cache of a kind, and how its objects are read.
pub(crate) struct Typed<K> {
    store: Arc<Store<K>>,
    /// Drops what no loop reads of an object.
    trim: fn(&mut K),
    /// Objects of a list that is not complete yet: the cache is only swapped for a whole one.
    listing: Mutex<Vec<K>>,
}

impl<K: kube::Resource + DeserializeOwned> Typed<K> {
    pub(crate) fn new(store: Arc<Store<K>>, trim: fn(&mut K)) -> Self {
        Self {
            store,
            trim,
            listing: Mutex::default(),
        }
    }

    /// `None`, and a line in the log, for an object that is not what its kind's schema says: the
    /// others are still of use.
    fn read(&self, object: &Unread) -> Option<K> {
        match serde_json::from_str::<K>(object.text()) {
            Ok(mut object) => {
                // A third of an object's size, and no loop reads them.
                object.meta_mut().managed_fields = None;
                (self.trim)(&mut object);
                Some(object)
            }
            Err(error) => {
                let (kind, version) = (std::any::type_name::<K>(), object.version());
                tracing::error!(kind, version, %error, "an object can't be read, it is left out");
                None
            }
        }
    }
}

impl<K> Sink for Typed<K>
where
    K: kube::Resource + DeserializeOwned + Send + Sync,
{
    fn begin(&self) {
        self.listing.lock().clear();
    }

    fn listed(&self, object: &Unread) {
        if let Some(object) = self.read(object) {
            self.listing.lock().push(object);
        }
    }

    fn complete(&self) {
        let objects = std::mem::take(&mut *self.listing.lock());
        self.store.replace(objects);
    }

    fn apply(&self, object: &Unread) {
        if let Some(object) = self.read(object) {
            self.store.apply(Arc::new(object));
        }
    }

    fn delete(&self, object: &Unread) {
        if let Some(object) = self.read(object) {
            self.store.delete(&object);
        }
    }

    fn close(&self) {
        self.store.close();
    }
}

/// Drives what `client` tells of `resource` into `sink` until `stop`. `synced` becomes true with the
/// first complete list.
pub(crate) async fn reflect(
    client: Client,
    resource: ApiResource,
    config: watcher::Config,
    sink: Arc<dyn Sink>,
    synced: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let mut events = watcher(Api::<Unread>::all_with(client, &resource), config)
        .into_stream()
        .boxed();
    let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => break,
            event = events.next() => event,
        };
        match event {
            None => break,
            Some(Ok(event)) => {
                if !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_)) {
                    backoff.reset();
                }
                match event {
                    watcher::Event::Init => sink.begin(),
                    watcher::Event::InitApply(object) => sink.listed(&object),
                    watcher::Event::InitDone => {
                        sink.complete();
                        synced.send_replace(true);
                    }
                    watcher::Event::Apply(object) => sink.apply(&object),
                    watcher::Event::Delete(object) => sink.delete(&object),
                }
            }
            Some(Err(error)) => {
                let delay = backoff.next_delay();
                tracing::debug!(kind = resource.kind, error = %crate::chain(&error), ?delay, "watch broke, trying again");
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(delay) => {}
                }
            }
        }
    }
    sink.close();
}
