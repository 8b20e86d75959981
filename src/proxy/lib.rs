//! The service proxy of a node: what is sent to a Service arrives at one of its
//! endpoints.
//!
//! In come Services, EndpointSlices and Nodes through the client; out goes one
//! nftables table, changed in atomic transactions. The way between is pure:
//! objects -> [`view`] (what of a Service concerns packets) -> [`plan`] (map
//! elements, and what changed since last time) -> a `Transaction`. The rules
//! themselves ([`shape`]) are constant: a change of an endpoint is a change of a
//! few map elements whatever the number of Services.
//!
//! This room must never know how pods get their addresses and who runs them.

pub mod plan;
pub mod shape;
mod stale;
mod sync;
pub mod view;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rkind_client::{Client, Informers};
use rkind_sys::nft::{Firewall, Netlink};
use tokio_util::sync::CancellationToken;

/// What the proxy must know of its node and cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// The Node object's name: endpoints with it are local.
    pub node_name: String,
    /// The node's own address.
    pub node_ip: IpAddr,
    /// Addresses of the cluster's pods. Traffic from there keeps its source.
    pub pod_subnet: IpNet,
    /// Addresses of Services.
    pub service_subnet: IpNet,
    /// First and last NodePort.
    pub node_port_range: (u16, u16),
    /// The cluster's DNS address, if the node itself answers on it: then no rule
    /// is made for it, even if a Service claims it.
    pub dns_ip: Option<IpAddr>,
}

/// Keeps the node's rules true until `shutdown`. Failures of the firewall are
/// logged and tried again; the rules stay in place when this ends, so a restart
/// of the agent interrupts nothing.
pub async fn run(
    client: Client,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), rkind_sys::Error> {
    run_with(
        Informers::new(client),
        options,
        Arc::new(Netlink::here()?),
        shutdown,
    )
    .await
}

/// As [`run`], with informers shared with others and a firewall of choice.
pub async fn run_with(
    informers: Informers,
    options: Options,
    firewall: Arc<dyn Firewall>,
    shutdown: CancellationToken,
) -> Result<(), rkind_sys::Error> {
    sync::run(informers, options, firewall, shutdown).await;
    Ok(())
}
