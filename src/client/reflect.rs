//! Keeps a [`Store`] equal to what the server has: list, watch, begin again after errors.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::watcher;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Backoff;
use crate::store::Store;

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// Drives `events` into `store` until `stop`. `synced` becomes true with the first complete list.
pub(crate) async fn reflect<K>(
    what: String,
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    store: Arc<Store<K>>,
    synced: watch::Sender<bool>,
    stop: CancellationToken,
) where
    K: Resource + Debug + Send + Sync + 'static,
{
    let mut events = std::pin::pin!(events);
    let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
    // Objects of a list that is not complete yet: the cache is only swapped for a whole one.
    let mut listing = Vec::new();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => break,
            event = events.next() => event,
        };
        match event {
            None => break,
            Some(Ok(event)) => match event {
                watcher::Event::Init => listing.clear(),
                watcher::Event::InitApply(object) => listing.push(trim(object)),
                watcher::Event::InitDone => {
                    backoff.reset();
                    store.replace(std::mem::take(&mut listing));
                    synced.send_replace(true);
                }
                watcher::Event::Apply(object) => {
                    backoff.reset();
                    store.apply(Arc::new(trim(object)));
                }
                watcher::Event::Delete(object) => {
                    backoff.reset();
                    store.delete(&object);
                }
            },
            Some(Err(error)) => {
                let delay = backoff.next_delay();
                tracing::debug!(kind = what, error = %crate::chain(&error), ?delay, "watch broke, trying again");
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(delay) => {}
                }
            }
        }
    }
    store.close();
}

/// managedFields are a third of an object's size and no loop reads them.
fn trim<K: Resource>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}
