//! Feeds the pod network: this node's own range to the CNI configuration, the
//! other nodes' ranges to the routing table. The CNI room does not know the
//! API, so the watch is here.

use crate::Error;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use rkind_client::{Informer, Informers};
use rkind_config::paths;
use std::net::IpAddr;
use std::path::Path;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;

/// What this node's pod network must look like.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// The ranges of this node's own pods, from `spec.podCIDRs`.
    own: Vec<IpNet>,
    /// Another node's range and the address it is reached through.
    others: Vec<(IpNet, IpAddr)>,
}

/// Keeps the pod network as the Nodes say, until shutdown.
pub(crate) async fn run(
    informers: Informers,
    node_name: String,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    rkind_cni::agent::prepare_node().map_err(Error::room("the pod network can't be prepared"))?;
    let mtu = rkind_cni::agent::node_mtu().map_err(Error::room("the node's routes can't be read"))?;
    let (others, routes) = watch::channel(Vec::new());
    tokio::select! {
        outcome = follow(&informers, &node_name, mtu, others) => outcome,
        outcome = rkind_cni::agent::run_routes(WatchStream::from_changes(routes), shutdown) => {
            outcome.map_err(Error::room("the pod routes can't be kept"))
        }
    }
}

async fn follow(
    informers: &Informers,
    node_name: &str,
    mtu: u32,
    others: watch::Sender<Vec<(IpNet, IpAddr)>>,
) -> Result<(), Error> {
    let nodes: Informer<Node> = informers.get();
    let mut changes = nodes.subscribe();
    nodes.synced().await;
    loop {
        let plan = plan(node_name, nodes.list().iter().map(AsRef::as_ref));
        if let Some(own) = plan.own.first() {
            rkind_cni::agent::write_conflist(Path::new(paths::CNI_CONF_DIR), *own, mtu)
                .map_err(Error::room("the CNI configuration can't be written"))?;
        }
        others.send_if_modified(|sent| {
            let modified = *sent != plan.others;
            *sent = plan.others;
            modified
        });
        changes.recv().await;
    }
}

fn plan<'a>(node_name: &str, nodes: impl Iterator<Item = &'a Node>) -> Plan {
    let mut plan = Plan::default();
    for node in nodes {
        let ranges = ranges(node);
        if node.metadata.name.as_deref() == Some(node_name) {
            plan.own = ranges;
        } else if let Some(address) = internal_address(node) {
            plan.others.extend(
                ranges
                    .into_iter()
                    .filter(|range| same_family(range, &address))
                    .map(|range| (range, address)),
            );
        }
    }
    plan.others.sort();
    plan
}

fn ranges(node: &Node) -> Vec<IpNet> {
    let spec = node.spec.as_ref();
    let several = spec
        .and_then(|spec| spec.pod_cidrs.as_deref())
        .unwrap_or_default();
    let single = spec.and_then(|spec| spec.pod_cidr.as_ref());
    let written = if several.is_empty() {
        single.into_iter().collect()
    } else {
        several.iter().collect::<Vec<_>>()
    };
    written
        .into_iter()
        .filter_map(|range| range.parse().ok())
        .collect()
}

fn internal_address(node: &Node) -> Option<IpAddr> {
    let addresses = node.status.as_ref()?.addresses.as_deref()?;
    addresses
        .iter()
        .find(|address| address.type_ == "InternalIP")?
        .address
        .parse()
        .ok()
}

fn same_family(range: &IpNet, address: &IpAddr) -> bool {
    matches!(
        (range, address),
        (IpNet::V4(_), IpAddr::V4(_)) | (IpNet::V6(_), IpAddr::V6(_))
    )
}

#[cfg(test)]
mod tests;
