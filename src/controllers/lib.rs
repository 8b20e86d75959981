//! Loops that bring the cluster's objects to what other objects ask for.
//!
//! **For:** one module per controller of upstream's kube-controller-manager. A module is a thin shell
//! (`run`, `reconcile(key)`: read caches, call the planner, write) round pure planning functions, which
//! have table tests beside them.
//!
//! **In:** a [`Client`], [`Options`], a shutdown token. **Out:** writes through the API only.
//!
//! **Must never know:** the API server, the store, nodes' insides, another control loop.

use std::time::Duration;

use futures::future::BoxFuture;
use ipnet::IpNet;
use rkind_client::{Client, Informers};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

mod clusterroles;
mod common;
mod cronjob;
mod daemonset;
mod deployment;
mod disruption;
mod endpoints;
mod endpointslice;
mod garbage;
mod job;
mod namespace;
mod nodeipam;
mod nodelifecycle;
mod podgc;
mod protection;
mod replicaset;
mod resourcequota;
mod rootca;
mod serviceaccount;
mod servicecidrs;
mod statefulset;
mod tainteviction;
mod tokencleaner;
mod ttlafterfinished;

use common::Context;

/// What the controllers need to know of the cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where nodes' pod ranges are cut from; `None`: nodes get no range.
    pub cluster_cidr: Option<IpNet>,
    /// Prefix length of one node's range, 24 for IPv4 upstream.
    pub node_cidr_mask: u8,
    /// PEM of the CA that the API server's certificate is signed by, published in every namespace.
    pub root_ca_pem: String,
    /// How long a node's Lease may be silent before the node's state is Unknown.
    pub node_monitor_grace: Duration,
    /// How many finished pods are kept before the oldest are removed.
    pub terminated_pod_threshold: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cluster_cidr: None,
            node_cidr_mask: 24,
            root_ca_pem: String::new(),
            node_monitor_grace: Duration::from_secs(40),
            terminated_pod_threshold: 12_500,
        }
    }
}

/// The controllers could not be started or ended by themselves.
#[derive(Debug, Error)]
pub enum Error {
    /// `node_cidr_mask` does not cut `cluster_cidr`.
    #[error("node_cidr_mask /{mask} does not fit cluster_cidr {cidr}: give one from /{first} to /{last}",
        first = cidr.prefix_len(), last = cidr.max_prefix_len())]
    NodeMask {
        /// As given.
        mask: u8,
        /// As given.
        cidr: IpNet,
    },
    /// A controller's task ended although nothing was shut down.
    #[error("a controller stopped by itself")]
    Stopped(#[source] Option<tokio::task::JoinError>),
}

/// Runs every controller until `shutdown`.
///
/// # Errors
/// Unusable options (nothing was started), or a controller that died.
///
/// The future is boxed: its code is made once, in this crate, and not in each that awaits it.
pub fn run(
    client: Client,
    options: Options,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(run_all(client, options, shutdown))
}

async fn run_all(client: Client, options: Options, shutdown: CancellationToken) -> Result<(), Error> {
    if let Some(cidr) = options.cluster_cidr
        && !(cidr.prefix_len()..=cidr.max_prefix_len()).contains(&options.node_cidr_mask)
    {
        return Err(Error::NodeMask {
            mask: options.node_cidr_mask,
            cidr,
        });
    }
    let context = Context::new(client.clone(), Informers::new(client), options, shutdown.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(deployment::run(context.clone()));
    tasks.spawn(replicaset::run(context.clone()));
    tasks.spawn(replicaset::run_replication_controllers(context.clone()));
    tasks.spawn(statefulset::run(context.clone()));
    tasks.spawn(daemonset::run(context.clone()));
    tasks.spawn(job::run(context.clone()));
    tasks.spawn(cronjob::run(context.clone()));
    tasks.spawn(disruption::run(context.clone()));
    tasks.spawn(endpointslice::run(context.clone()));
    tasks.spawn(endpointslice::mirror::run(context.clone()));
    tasks.spawn(clusterroles::run(context.clone()));
    tasks.spawn(tokencleaner::run(context.clone()));
    tasks.spawn(endpoints::run(context.clone()));
    tasks.spawn(namespace::run(context.clone()));
    tasks.spawn(serviceaccount::run(context.clone()));
    tasks.spawn(servicecidrs::run(context.clone()));
    tasks.spawn(rootca::run(context.clone()));
    tasks.spawn(resourcequota::run(context.clone()));
    tasks.spawn(garbage::run(context.clone()));
    tasks.spawn(nodeipam::run(context.clone()));
    tasks.spawn(nodelifecycle::run(context.clone()));
    tasks.spawn(tainteviction::run(context.clone()));
    tasks.spawn(podgc::run(context.clone()));
    tasks.spawn(protection::run_claims(context.clone()));
    tasks.spawn(protection::run_volumes(context.clone()));
    tasks.spawn(protection::run_classes(context.clone()));
    tasks.spawn(ttlafterfinished::run(context.clone()));
    while let Some(ended) = tasks.join_next().await {
        if !shutdown.is_cancelled() {
            shutdown.cancel();
            return Err(Error::Stopped(ended.err()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod whole;
