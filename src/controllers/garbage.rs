//! The garbage collector: objects whose owners are gone go too.
//!
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>. A graph of all objects and
//! their owners is kept from metadata-only watches of every resource; what it suggests is checked
//! against the server before anything is deleted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ApiResource;
use parking_lot::Mutex;
use rkind_client::{Change, MetaObject, ObjectKey, WorkQueue, chain, run_workers};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::common::Context;
use crate::common::discover::{Discovered, discover};

mod collect;
mod graph;

use graph::{Graph, Seen};

const WORKERS: usize = 20;
/// How often the server is asked for new resources, beside changes of CustomResourceDefinitions.
const REDISCOVER: Duration = Duration::from_secs(30);
/// How long the first lists may take before collecting begins without the slow ones.
const FIRST_LISTS: Duration = Duration::from_secs(30);

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Work {
    /// The object with this uid may have to go.
    Delete(String),
    /// The object with this uid is being deleted and its dependents must be let go first.
    Orphan(String),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete(uid) => write!(f, "delete {uid}"),
            Self::Orphan(uid) => write!(f, "orphan {uid}"),
        }
    }
}

/// A resource being watched, and how to stop that.
struct Watched {
    discovered: Discovered,
    stop: CancellationToken,
}

struct Collector {
    context: Context,
    graph: Mutex<Graph>,
    /// By `group/plural`.
    watched: Mutex<HashMap<String, Watched>>,
    queue: WorkQueue<Work>,
}

pub(crate) async fn run(context: Context) {
    let collector = Arc::new(Collector {
        context: context.clone(),
        graph: Mutex::new(Graph::default()),
        watched: Mutex::new(HashMap::new()),
        queue: WorkQueue::new(),
    });
    let synced = Arc::new(Notify::new());
    let discovering = tokio::spawn(collector.clone().discover_for_ever(synced.clone()));
    tokio::select! {
        () = synced.notified() => {}
        () = context.shutdown.cancelled() => {}
    }
    let worker = collector.clone();
    run_workers(
        collector.queue.clone(),
        WORKERS,
        context.shutdown.clone(),
        move |work| {
            let collector = worker.clone();
            async move { collector.work(work).await }
        },
    )
    .await;
    discovering.abort();
}

/// Events have no dependents, outlive what they tell of, and are many.
fn is_ignored(resource: &ApiResource) -> bool {
    resource.plural == "events" && (resource.group.is_empty() || resource.group == "events.k8s.io")
}

fn name_of(resource: &ApiResource) -> String {
    format!("{}/{}", resource.group, resource.plural)
}

impl Collector {
    async fn discover_for_ever(self: Arc<Self>, synced: Arc<Notify>) {
        let definitions = self.context.informers.get::<CustomResourceDefinition>();
        let mut changes = definitions.subscribe();
        let mut first = true;
        loop {
            match discover(&self.context.client).await {
                Ok(discovery) => {
                    if !discovery.failed.is_empty() {
                        tracing::debug!(failed = ?discovery.failed, "some APIs don't answer");
                    }
                    self.watch_all(discovery.resources, discovery.failed.is_empty(), first)
                        .await;
                    if first {
                        synced.notify_one();
                        first = false;
                    }
                }
                Err(error) => tracing::debug!(error = %chain(&error), "discovery failed"),
            }
            let wait = if first {
                Duration::from_millis(200)
            } else {
                REDISCOVER
            };
            tokio::select! {
                () = self.context.shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                change = changes.recv(), if !first => {
                    if change.is_none() {
                        tokio::time::sleep(REDISCOVER).await;
                    }
                    while changes.try_recv().is_some() {}
                }
            }
        }
    }

    /// Watches what is new; stops watching what is no longer served.
    async fn watch_all(self: &Arc<Self>, resources: Vec<Discovered>, complete: bool, wait: bool) {
        let wanted: HashMap<String, Discovered> = resources
            .into_iter()
            .filter(|d| d.can("delete") && d.can("list") && d.can("watch") && !is_ignored(&d.resource))
            .map(|d| (name_of(&d.resource), d))
            .collect();
        let mut started = Vec::new();
        {
            let mut watched = self.watched.lock();
            if complete {
                watched.retain(|name, watch| {
                    let keep = wanted
                        .get(name)
                        .is_some_and(|d| d.resource == watch.discovered.resource);
                    if !keep {
                        watch.stop.cancel();
                        self.context.informers.forget_metadata(&watch.discovered.resource);
                    }
                    keep
                });
            }
            for (name, discovered) in wanted {
                if let Entry::Vacant(place) = watched.entry(name) {
                    let informer = self.context.informers.metadata(&discovered.resource);
                    let stop = self.context.shutdown.child_token();
                    started.push((discovered.clone(), informer, stop.clone()));
                    place.insert(Watched { discovered, stop });
                }
            }
        }
        let mut lists = Vec::new();
        for (discovered, informer, stop) in started {
            let collector = self.clone();
            let (listed, listing) = tokio::sync::oneshot::channel::<()>();
            lists.push(listing);
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = informer.synced() => {}
                }
                let mut changes = informer.subscribe();
                while let Some(change) = changes.try_recv() {
                    collector.observe(&discovered, &change);
                }
                let _ = listed.send(());
                loop {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        change = changes.recv() => match change {
                            Some(change) => collector.observe(&discovered, &change),
                            None => return,
                        }
                    }
                }
            });
        }
        if wait {
            let all = futures::future::join_all(lists);
            if tokio::time::timeout(FIRST_LISTS, all).await.is_err() {
                tracing::warn!("some resources could not be listed; collecting garbage without them");
            }
        }
    }

    fn observe(&self, discovered: &Discovered, change: &Change<MetaObject>) {
        let mut graph = self.graph.lock();
        let mut work = Vec::new();
        let uid = |object: &Arc<MetaObject>| object.metadata.uid.clone().unwrap_or_default();
        let old = change.old.as_ref().map(uid);
        let new = change.new.as_ref().map(uid);
        if let Some(old) = old.filter(|old| Some(old) != new.as_ref()) {
            work.extend(graph.removed(&old));
        }
        if let Some(object) = &change.new {
            work.extend(graph.observe(Seen::of(
                &discovered.resource,
                discovered.namespaced,
                &object.metadata,
            )));
        }
        drop(graph);
        for work in work {
            self.queue.add(work);
        }
    }

    /// The resource of a kind; `None`: not served as far as is known.
    fn resource_of(&self, api_version: &str, kind: &str) -> Option<Discovered> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let watched = self.watched.lock();
        let mut found = watched
            .values()
            .filter(|w| w.discovered.resource.group == group && w.discovered.resource.kind == kind);
        found.next().map(|w| w.discovered.clone())
    }
}

/// A reference's target in the namespace of the object that has it.
fn owner_key(namespaced: bool, namespace: Option<&str>, name: &str) -> ObjectKey {
    match namespace {
        Some(namespace) if namespaced => ObjectKey::new(namespace, name),
        _ => ObjectKey::cluster(name),
    }
}

#[cfg(test)]
mod tests;
