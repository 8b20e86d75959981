//! What every node runs: kubelet, Service rules, DNS and pod routes, in one
//! process. Any of them that ends takes the process with it; PID 1 starts it
//! anew, and each finds its state again in the API and the kernel.

use crate::{Error, join, resolver, routes, shutdown};
use k8s_openapi::api::core::v1::Taint;
use rkind_apimachinery::names::is_kubelets_label;
use rkind_client::{Client, Informers};
use rkind_config::{NodeConfig, paths};
use rkind_sys::net::Net;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const DNS_PORT: u16 = 53;

pub(crate) fn run(node: NodeConfig) -> Result<(), Error> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Error::room("could not start the agent's runtime"))?
        .block_on(run_rooms(node))
}

async fn run_rooms(node: NodeConfig) -> Result<(), Error> {
    let shutdown = shutdown::on_signal().map_err(Error::room("could not listen for signals"))?;
    claim_dns_address(&node)?;
    resolver::write(&node)?;
    let kubelet = connect(paths::KUBELET_KUBECONFIG).await?;
    // One cache of Services, EndpointSlices and Nodes for all that routes packets.
    let network = Informers::new(connect(paths::PROXY_KUBECONFIG).await?);
    let mut rooms = JoinSet::new();
    rooms.spawn(run_kubelet(kubelet, node.clone(), shutdown.clone()));
    rooms.spawn(run_proxy(network.clone(), node.clone(), shutdown.clone()));
    rooms.spawn(run_dns(network.clone(), node.clone(), shutdown.clone()));
    rooms.spawn(routes::run(network, node.name, shutdown.clone()));
    join::all(rooms, &shutdown).await
}

async fn connect(kubeconfig: &str) -> Result<Client, Error> {
    rkind_client::from_kubeconfig(Path::new(kubeconfig))
        .await
        .map_err(Error::room("no client for the API server"))
}

/// Every node answers DNS itself, at the cluster's one DNS address: a pod's
/// query never leaves its node, and needs no translation.
fn claim_dns_address(node: &NodeConfig) -> Result<(), Error> {
    let claim = || -> Result<(), rkind_sys::Error> {
        let net = Net::here()?;
        let loopback = net.expect_link("lo")?;
        net.add_address(loopback.index, node.network.dns_ip.into())
    };
    claim().map_err(Error::room("could not take the DNS address"))
}

async fn run_kubelet(client: Client, node: NodeConfig, shutdown: CancellationToken) -> Result<(), Error> {
    let runtime = Arc::new(rkind_cri::grpc::Client::new(paths::CONTAINERD_SOCKET));
    let flags = crate::component_flags(&node)?;
    let mut options = rkind_kubelet::Options::new(node.name, node.node_ip);
    options.max_pods = flags.max_pods.unwrap_or(options.max_pods);
    let (mine, others) = node
        .labels
        .into_iter()
        .partition(|(key, _)| is_kubelets_label(key));
    options.labels = mine;
    for (label, _) in BTreeMap::<String, String>::into_iter(others) {
        tracing::warn!(
            label,
            "a node may not give itself this label: set it through the API"
        );
    }
    options.taints = node.taints.into_iter().map(taint).collect();
    options.cpus = node.resources.cpus;
    options.memory_bytes = node.resources.memory_bytes;
    options.root_dir = paths::KUBELET_DIR.into();
    options.pod_log_dir = paths::POD_LOG_DIR.into();
    options.container_log_dir = Some(paths::CONTAINER_LOG_DIR.into());
    options.cluster_dns = vec![node.network.dns_ip.to_string()];
    options.cluster_domain = node.network.dns_domain;
    options.resolv_conf = resolver::POD_RESOLV_CONF.into();
    options.listen.set_port(paths::KUBELET_PORT);
    options.serving_cert_pem = node.pki.kubelet_serving.cert;
    options.serving_key_pem = node.pki.kubelet_serving.key;
    options.client_ca_pem = node.pki.ca_cert;
    rkind_kubelet::run(client, runtime, options, shutdown)
        .await
        .map_err(Error::room("the kubelet ended"))
}

async fn run_proxy(informers: Informers, node: NodeConfig, shutdown: CancellationToken) -> Result<(), Error> {
    let options = rkind_proxy::Options {
        node_name: node.name,
        node_ip: node.node_ip,
        pod_subnet: node.network.pod_subnet,
        service_subnet: node.network.service_subnet,
        node_port_range: node.network.node_port_range,
        dns_ip: Some(node.network.dns_ip),
    };
    let firewall =
        rkind_sys::nft::Netlink::here().map_err(Error::room("no way to the kernel's packet rules"))?;
    rkind_proxy::run_with(informers, options, Arc::new(firewall), shutdown)
        .await
        .map_err(Error::room("the service proxy ended"))
}

async fn run_dns(informers: Informers, node: NodeConfig, shutdown: CancellationToken) -> Result<(), Error> {
    let options = rkind_dns::Options {
        listen: vec![SocketAddr::new(node.network.dns_ip, DNS_PORT)],
        domain: node.network.dns_domain,
        service_subnet: node.network.service_subnet,
        pod_subnet: node.network.pod_subnet,
        hosts: node.hosts,
        upstream_resolv_conf: resolver::NODE_RESOLV_CONF.into(),
    };
    rkind_dns::run_with(informers, options, shutdown)
        .await
        .map_err(Error::room("DNS ended"))
}

fn taint(taint: rkind_config::Taint) -> Taint {
    let value = Some(taint.value).filter(|value| !value.is_empty());
    Taint {
        key: taint.key,
        value,
        effect: taint.effect,
        time_added: None,
    }
}
