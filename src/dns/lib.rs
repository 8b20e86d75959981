//! The cluster's DNS, on every node.
//!
//! In come queries by UDP and TCP; out go answers: for the cluster's own names
//! from what the informers know at that moment (Kubernetes DNS specification
//! 1.1.0), for all others from the node's upstream servers. There are no records
//! to keep in step: a name is looked up in the objects' caches when it is asked
//! for, so an answer is never older than the newest watch event.
//!
//! This room must never know how packets reach it.

mod cluster;
mod forward;
mod server;
pub mod zone;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use rkind_client::{Client, Informers};
use tokio_util::sync::CancellationToken;

/// How DNS is to be served.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen, UDP and TCP. Each address must be the node's own.
    pub listen: Vec<SocketAddr>,
    /// The cluster's domain: "cluster.local".
    pub domain: String,
    /// Service addresses: reverse lookups there are ours.
    pub service_subnet: IpNet,
    /// Pod addresses: reverse lookups there are ours.
    pub pod_subnet: IpNet,
    /// Names outside the domain that resolve to these addresses.
    pub hosts: BTreeMap<String, IpAddr>,
    /// Upstream servers for everything else; read anew when it changes. Servers
    /// among `listen` are left out.
    pub upstream_resolv_conf: PathBuf,
}

/// Why DNS can't be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address can't be listened on.
    #[error("cannot listen for DNS on {address}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    /// The domain isn't one.
    #[error("domain {domain:?} is not a DNS name")]
    Domain {
        /// What was given.
        domain: String,
    },
}

/// Serves until `shutdown`. Sockets are open at once; queries wait in them until
/// the objects are known.
pub async fn run(client: Client, options: Options, shutdown: CancellationToken) -> Result<(), Error> {
    run_with(Informers::new(client), options, shutdown).await
}

/// As [`run`], with informers shared with others.
pub async fn run_with(
    informers: Informers,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let zone = zone::Zone::new(&options.domain, vec![options.service_subnet, options.pod_subnet])
        .ok_or_else(|| Error::Domain {
            domain: options.domain.clone(),
        })?
        .with_hosts(
            options
                .hosts
                .iter()
                .map(|(host, address)| (host.as_str(), *address)),
        );
    let sockets = server::Sockets::open(&options.listen).await?;
    let upstream = forward::Forwarder::new(options.upstream_resolv_conf, options.listen);
    let cluster = cluster::Cached::new(&informers);
    tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        () = cluster.synced() => {}
    }
    server::serve(sockets, zone, cluster, upstream, shutdown).await;
    Ok(())
}
