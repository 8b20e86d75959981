//! Watch cache: every resource in memory as bytes, fed by one watch on the store.
//!
//! # Flow
//! One task reads the store's changes of all keys in revision order and hands each to the
//! [`Cacher`] of its resource; then it publishes how far it has come. Readers that must see their
//! own writes wait for that mark to reach the store's revision. Because there is one mark for all
//! resources, a list's revision is the newest one, whatever the resource.
//!
//! # Guarantees
//! - A list takes a snapshot of a persistent map: it never holds up a change, nor does a change it.
//! - A change is encoded once per media type and shared by all watchers.
//! - A watcher that does not keep up falls out of the ring and is ended; nobody waits for it.

pub(crate) mod fields;
mod object;
mod repeats;
mod resource;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures::StreamExt;
use rkind_store::{Entry, Event, Revision, Store};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use object::{Obj, Written};
pub(crate) use repeats::repeats;
pub(crate) use resource::{
    Cacher, Change, ChangeKind, FrameForm, Snapshot, Subscription, SubscriptionError, json_frame,
};

/// Prefix of every object's key in the store.
pub(crate) const ROOT: &str = "/registry/";

/// How often what could not be read is tried again.
const REOPEN: Duration = Duration::from_secs(10);
/// How long the caches may be behind the store.
const PATIENCE: Duration = Duration::from_secs(10);

/// All caches and the mark how far they have come.
pub(crate) struct Cache {
    store: Arc<dyn Store>,
    cachers: ArcSwap<HashMap<String, Arc<Cacher>>>,
    progress: watch::Sender<Revision>,
    /// The same, for a look in passing.
    reached: AtomicU64,
    wanted: mpsc::UnboundedSender<Wanted>,
    /// How far the caches were when they were first seen behind there, and when that was.
    behind: parking_lot::Mutex<Option<(Revision, Instant)>>,
    /// Taken by the task that follows the store.
    wants: Mutex<mpsc::UnboundedReceiver<Wanted>>,
}

/// A resource that is to be cached from now on, and who waits for it.
type Wanted = (String, oneshot::Sender<rkind_store::Result<()>>);

impl Cache {
    /// Loads everything from the store. Resources are named by storage prefix (`apps/deployments`).
    ///
    /// # Errors
    /// Those of [`Store::range`].
    pub(crate) async fn load(store: Arc<dyn Store>, resources: &[String]) -> rkind_store::Result<Arc<Cache>> {
        let cachers = resources
            .iter()
            .map(|r| (r.clone(), Arc::new(Cacher::new(r))))
            .collect();
        let (wanted, wants) = mpsc::unbounded_channel();
        let cache = Arc::new(Cache {
            store,
            cachers: ArcSwap::from_pointee(cachers),
            progress: watch::Sender::new(0),
            reached: AtomicU64::new(0),
            wanted,
            behind: Default::default(),
            wants: Mutex::new(wants),
        });
        cache.reload().await?;
        Ok(cache)
    }

    /// The cache of a storage prefix.
    pub(crate) fn cacher(&self, resource: &str) -> Option<Arc<Cacher>> {
        self.cachers.load().get(resource).cloned()
    }

    /// Caches a resource from now on; returns when its objects are there. Needs [`Cache::run`].
    ///
    /// # Errors
    /// Those of [`Store::range`]; `Closed` when nobody follows the store.
    pub(crate) async fn add(&self, resource: &str) -> rkind_store::Result<()> {
        if self.cacher(resource).is_some() {
            return Ok(());
        }
        let (done, loaded) = oneshot::channel();
        self.wanted
            .send((resource.to_owned(), done))
            .map_err(|_| rkind_store::Error::Closed)?;
        loaded.await.unwrap_or(Err(rkind_store::Error::Closed))
    }

    /// Caches a resource no longer.
    pub(crate) fn remove(&self, resource: &str) {
        self.cachers.rcu(|cachers| {
            let mut cachers = HashMap::clone(cachers);
            cachers.remove(resource);
            cachers
        });
    }

    /// Loads a resource as of the revision that all caches have reached. Run by the task that follows
    /// the store, so that no change passes meanwhile.
    async fn adopt(&self, resource: &str) -> rkind_store::Result<()> {
        if self.cacher(resource).is_some() {
            return Ok(());
        }
        let cacher = Arc::new(Cacher::new(resource));
        let revision = self.revision();
        if revision > 0 {
            let prefix = format!("{ROOT}{resource}/");
            let range = self.store.range(&prefix, None, 0, Some(revision)).await?;
            cacher.replace(range.entries, revision);
        }
        self.cachers.rcu(|cachers| {
            let mut cachers = HashMap::clone(cachers);
            cachers.insert(resource.to_owned(), cacher.clone());
            cachers
        });
        Ok(())
    }

    /// Revision up to which every cache is complete.
    pub(crate) fn revision(&self) -> Revision {
        self.reached.load(Ordering::Acquire)
    }

    /// Waits until the caches hold everything committed before this call; gives the revision that they
    /// are complete up to.
    ///
    /// # Errors
    /// 504 when they do not come that far: nothing is told, and nothing decided, by the past.
    pub(crate) async fn catch_up(&self) -> crate::error::Result<Revision> {
        let target = self.store.revision();
        self.reach(target, PATIENCE)
            .await
            .map_err(|seen| crate::error::too_large_version(target, seen))
    }

    /// Whether the caches follow the store: they have all of it, or had within [`PATIENCE`].
    pub(crate) fn is_following(&self) -> bool {
        let mut behind = self.behind.lock();
        if self.revision() >= self.store.revision() {
            *behind = None;
            return true;
        }
        // Under writes there is nearly always something on its way: what counts is that it arrives.
        let now = self.revision();
        match &mut *behind {
            Some((seen, since)) if *seen == now => since.elapsed() < PATIENCE,
            behind => {
                *behind = Some((now, Instant::now()));
                true
            }
        }
    }

    /// Waits until the caches have reached `target`; the error is how far they had come in time.
    pub(crate) async fn reach(&self, target: Revision, limit: Duration) -> Result<Revision, Revision> {
        // Nearly always: a subscription and a timer would cost more than all else here.
        let now = self.revision();
        if now >= target {
            return Ok(now);
        }
        let mut seen = self.progress.subscribe();
        let reached = tokio::time::timeout(limit, seen.wait_for(|r| *r >= target)).await;
        match reached {
            Ok(Ok(revision)) => Ok(*revision),
            _ => Err(*self.progress.borrow()),
        }
    }

    /// Adopts changes until `shutdown`; run once, as a task.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut wants = self.wants.lock().await;
        loop {
            let ended = tokio::select! {
                () = shutdown.cancelled() => break,
                ended = self.follow(&mut wants) => ended,
            };
            if matches!(ended, rkind_store::Error::Closed) {
                break;
            }
            tracing::warn!(error = %ended, "store watch ended, loading anew");
            if let Err(error) = self.reload().await {
                tracing::error!(%error, "cannot load from the store");
                // A store that cannot be read offers nothing to await but time.
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = tokio::time::sleep(Duration::from_millis(200)) => {}
                }
            }
        }
        wants.close();
    }

    async fn follow(&self, wants: &mut mpsc::UnboundedReceiver<Wanted>) -> rkind_store::Error {
        let from = self.revision() + 1;
        let mut stream = match self.store.watch(ROOT, from).await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        let mut again = tokio::time::interval(REOPEN);
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let batch = tokio::select! {
                batch = stream.next() => batch,
                _ = again.tick() => {
                    self.reopen().await;
                    continue;
                }
                Some((resource, done)) = wants.recv() => {
                    // Whoever asked may have gone.
                    let _ = done.send(self.adopt(&resource).await);
                    continue;
                }
            };
            match batch {
                None => return rkind_store::Error::Closed,
                Some(Ok(events)) => {
                    let revision = stream.revision();
                    self.apply(events);
                    self.advance(revision);
                }
                Some(Err(error)) => return error,
            }
        }
    }

    /// Loads anew what could not be read before: a key service is back, for instance. Run by the task that
    /// follows the store, as [`Cache::adopt`].
    async fn reopen(&self) {
        let revision = self.revision();
        for (name, cacher) in self.cachers.load().iter() {
            let Some(key) = cacher.unreadable() else { continue };
            if !matches!(self.store.get(&key, Some(revision)).await, Ok((Some(_), _))) {
                continue;
            }
            let prefix = format!("{ROOT}{name}/");
            match self.store.range(&prefix, None, 0, Some(revision)).await {
                Ok(range) => cacher.replace(range.entries, revision),
                Err(error) => tracing::warn!(%error, resource = name, "cannot be loaded anew"),
            }
        }
    }

    /// Tells that all caches are complete up to `revision`.
    fn advance(&self, revision: Revision) {
        self.reached.fetch_max(revision, Ordering::Release);
        self.progress
            .send_if_modified(|r| std::mem::replace(r, revision.max(*r)) < revision);
    }

    fn apply(&self, events: Vec<Event>) {
        let cachers = self.cachers.load();
        for event in events {
            let Some(cacher) = resource_of(event.key()).and_then(|r| cachers.get(r)) else {
                continue;
            };
            match event {
                Event::Put { entry, .. } => cacher.put(&entry),
                Event::Delete { prev, revision } => cacher.remove(&prev.key, revision),
            }
        }
    }

    /// Reads all from the store.
    async fn reload(&self) -> rkind_store::Result<()> {
        let range = self.store.range(ROOT, None, 0, None).await?;
        let mut by_resource: HashMap<&str, Vec<Entry>> = HashMap::new();
        for entry in &range.entries {
            if let Some(resource) = resource_of(&entry.key) {
                by_resource.entry(resource).or_default().push(entry.clone());
            }
        }
        for (name, cacher) in self.cachers.load().iter() {
            let entries = by_resource.remove(name.as_str()).unwrap_or_default();
            cacher.replace(entries, range.revision);
        }
        self.advance(range.revision);
        Ok(())
    }
}

/// `apps/deployments` of `/registry/apps/deployments/default/web`.
fn resource_of(key: &str) -> Option<&str> {
    let rest = key.strip_prefix(ROOT)?;
    let group = rest.find('/')?;
    let end = rest[group + 1..].find('/')?;
    Some(&rest[..group + 1 + end])
}
