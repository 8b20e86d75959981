//! The loop: objects in, transactions out.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use rkind_client::{Informer, Informers, ObjectKey};
use rkind_sys::nft::{Firewall, Transaction};
use tokio_util::sync::CancellationToken;

use crate::plan::Planner;
use crate::{Options, shape, stale, view};

const BY_SERVICE: &str = "proxy/service";
/// How often to look whether somebody else has removed our table.
const LOOK: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

struct Proxy {
    options: Options,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    planner: Planner,
    nodes: BTreeMap<String, Vec<IpAddr>>,
    firewall: Arc<dyn Firewall>,
    /// The kernel's state is unknown: the next transaction replaces everything.
    fresh: bool,
    retry: Duration,
}

fn addresses_of(node: &Node) -> Vec<IpAddr> {
    let addresses = node.status.iter().flat_map(|s| s.addresses.iter().flatten());
    addresses
        .filter(|a| a.type_ == "InternalIP" || a.type_ == "ExternalIP")
        .filter_map(|a| a.address.parse().ok())
        .collect()
}

fn service_key(slice: &EndpointSlice) -> Option<ObjectKey> {
    view::service_of(slice).map(|(namespace, name)| ObjectKey::new(namespace, name))
}

fn index_value(key: &ObjectKey) -> String {
    format!("{}/{}", key.namespace(), key.name)
}

pub(crate) async fn run(
    informers: Informers,
    options: Options,
    firewall: Arc<dyn Firewall>,
    shutdown: CancellationToken,
) {
    let (services, slices, nodes) = (
        informers.get::<Service>(),
        informers.get::<EndpointSlice>(),
        informers.get::<Node>(),
    );
    slices.index(BY_SERVICE, |slice| {
        service_key(slice).map(|k| index_value(&k)).into_iter().collect()
    });
    let mut proxy = Proxy {
        planner: Planner::new(options.clone()),
        options,
        services: services.clone(),
        slices: slices.clone(),
        nodes: BTreeMap::new(),
        firewall,
        fresh: true,
        retry: FIRST_RETRY,
    };
    let (mut service_changes, mut slice_changes, mut node_changes) =
        (services.subscribe(), slices.subscribe(), nodes.subscribe());
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = async { tokio::join!(services.synced(), slices.synced(), nodes.synced()); } => {}
    }
    // The first transaction replaces what an earlier agent left: it must have
    // everything, not just what the subscriptions have delivered by now.
    let mut dirty: HashSet<ObjectKey> = services
        .list()
        .iter()
        .map(|s| ObjectKey::of(s.as_ref()))
        .collect();
    let mut nodes_dirty = true;
    for node in nodes.list() {
        proxy.set_node(node.metadata.name.as_deref().unwrap_or_default(), Some(&node));
    }
    loop {
        // Everything that is there by now goes into one transaction; what comes
        // while it is carried out waits for the next.
        while let Some(change) = service_changes.try_recv() {
            dirty.insert(change.key);
        }
        while let Some(change) = slice_changes.try_recv() {
            dirty.extend(
                change
                    .old
                    .iter()
                    .chain(&change.new)
                    .filter_map(|s| service_key(s)),
            );
        }
        while let Some(change) = node_changes.try_recv() {
            nodes_dirty |= proxy.set_node(&change.key.name, change.new.as_deref());
        }
        for key in dirty.drain() {
            proxy.plan_service(&key);
        }
        if std::mem::take(&mut nodes_dirty) {
            proxy.plan_nodes();
        }
        let wait = proxy.commit().await;
        tokio::select! {
            () = shutdown.cancelled() => return,
            change = service_changes.recv() => match change {
                Some(change) => drop(dirty.insert(change.key)),
                None => return,
            },
            change = slice_changes.recv() => match change {
                Some(change) => dirty.extend(change.old.iter().chain(&change.new).filter_map(|s| service_key(s))),
                None => return,
            },
            change = node_changes.recv() => match change {
                Some(change) => nodes_dirty |= proxy.set_node(&change.key.name, change.new.as_deref()),
                None => return,
            },
            () = tokio::time::sleep(wait.unwrap_or(LOOK)) => proxy.look().await,
        }
    }
}

impl Proxy {
    /// Whether the node's addresses changed.
    fn set_node(&mut self, name: &str, node: Option<&Node>) -> bool {
        match node.map(addresses_of) {
            None => self.nodes.remove(name).is_some(),
            Some(now) if self.nodes.get(name) == Some(&now) => false,
            Some(now) => {
                self.nodes.insert(name.to_owned(), now);
                true
            }
        }
    }

    fn plan_nodes(&mut self) {
        // Our own address needs no Node object to be known.
        let all: BTreeSet<IpAddr> = self
            .nodes
            .values()
            .flatten()
            .copied()
            .chain([self.options.node_ip])
            .collect();
        self.planner.set_nodes(&all);
    }

    fn plan_service(&mut self, key: &ObjectKey) {
        let view = self.services.get(key).and_then(|service| {
            let slices = self.slices.by_index(BY_SERVICE, &index_value(key));
            view::view(&service, &slices, &self.options.node_name)
        });
        self.planner
            .set_service(key.namespace(), &key.name, view.as_ref());
    }

    /// Carries out what is pending; how long to wait before trying again if it failed.
    async fn commit(&mut self) -> Option<Duration> {
        let fresh = self.fresh;
        let transaction = if fresh {
            self.planner.take_everything()
        } else {
            self.planner.take_changes()
        };
        if transaction.is_empty() {
            return None;
        }
        let (changes, start) = (transaction.elements.len(), Instant::now());
        if let Err(error) = self.apply(transaction).await {
            let wait = self.retry;
            self.fresh = true;
            self.retry = (wait * 2).min(LAST_RETRY);
            tracing::error!(%error, ?wait, "service rules not applied, trying again from scratch");
            return Some(wait);
        }
        self.fresh = false;
        self.retry = FIRST_RETRY;
        tracing::debug!(changes, fresh, took = ?start.elapsed(), "service rules applied");
        if let Some(fronts) = self.planner.take_udp() {
            match tokio::task::spawn_blocking(move || stale::forget(&fronts)).await {
                Ok(Ok(0)) | Err(_) => {}
                Ok(Ok(count)) => tracing::debug!(count, "UDP flows to endpoints that are gone forgotten"),
                Ok(Err(error)) => tracing::warn!(%error, "UDP flows may still go to endpoints that are gone"),
            }
        }
        None
    }

    /// Whether our table is still there; if it isn't, the next commit replaces it.
    async fn look(&mut self) {
        let firewall = self.firewall.clone();
        let looked = tokio::task::spawn_blocking(move || firewall.has_table(&shape::table())).await;
        if let Ok(Ok(false)) = looked
            && !self.fresh
        {
            tracing::warn!("somebody removed the service rules, applying them again");
            self.fresh = true;
        }
    }

    async fn apply(&self, transaction: Transaction) -> rkind_sys::Result<()> {
        let firewall = self.firewall.clone();
        match tokio::task::spawn_blocking(move || firewall.commit(&transaction)).await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

#[cfg(test)]
mod tests;
