//! What each node is given: pure, but for making keys.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rkind_config::{
    Cluster, ControlPlanePki, KeyPair, NODE_API_VERSION, NODE_KIND, Node, NodeConfig, NodePki, NodeRole,
    PortMapping, Protocol, nth_address, paths,
};
use rkind_driver::{File, Network, NodeSpec};
use rkind_pki::{ClusterPki, Leaf, ServerNames};

use crate::Error;

/// A node, its address and its files.
#[derive(Debug)]
pub(crate) struct NodePlan {
    pub spec: NodeSpec,
    pub config: NodeConfig,
}

/// The first address is the network's, the second the gateway's.
pub(crate) const FIRST_ADDRESS: u32 = 2;

/// Addresses that nodes can have, in order.
pub(crate) fn addresses(network: &Network, count: usize) -> Result<Vec<IpAddr>, Error> {
    // The last one is for broadcasts.
    let capacity =
        (1u32 << (32 - u32::from(network.subnet.prefix_len())).min(20)).saturating_sub(FIRST_ADDRESS + 1);
    if count > capacity as usize {
        return Err(Error::TooManyNodes {
            subnet: network.subnet.to_string(),
            capacity,
            wanted: count,
        });
    }
    Ok((FIRST_ADDRESS..)
        .take(count)
        .filter_map(|n| nth_address(network.subnet.into(), n))
        .collect())
}

fn pair(leaf: Leaf) -> KeyPair {
    KeyPair {
        cert: leaf.cert_pem,
        key: leaf.key_pem,
    }
}

/// Names by which a node reaches this machine.
fn host_names(network: &Network) -> BTreeMap<String, IpAddr> {
    ["host.rkind.internal", "host.docker.internal"]
        .map(|n| (n.to_owned(), network.gateway))
        .into()
}

/// What the plans of all nodes of a cluster share.
pub(crate) struct Planner<'a> {
    pub cluster: &'a Cluster,
    /// For nodes that name none.
    pub image: &'a str,
    pub network: &'a Network,
    pub pki: &'a ClusterPki,
    /// Names and addresses of all control-plane nodes.
    pub control_planes: &'a [(&'a str, IpAddr)],
    /// On the host.
    pub api_port: u16,
}

impl Planner<'_> {
    /// The plan of one node.
    pub(crate) fn plan(&self, node: &Node, address: IpAddr) -> Result<NodePlan, Error> {
        let Planner {
            cluster,
            image,
            network,
            pki,
            control_planes,
            api_port,
        } = *self;
        let certificates = pki.node(&node.name, &[address])?;
        let control_plane = match node.role {
            NodeRole::Worker => None,
            NodeRole::ControlPlane => {
                let mut extra = cluster.api.extra_sans.clone();
                extra.push(cluster.api.address.to_string());
                extra.retain(|san| san.parse::<IpAddr>().map_or(true, |ip| !ip.is_unspecified()));
                let certificates = pki.control_plane(&ServerNames {
                    nodes: control_planes,
                    kubernetes_ip: cluster.network.kubernetes_ip(),
                    dns_domain: &cluster.network.dns_domain,
                    extra: &extra,
                })?;
                Some(ControlPlanePki {
                    ca_key: pki.ca.key_pem().to_owned(),
                    apiserver: pair(certificates.apiserver),
                    apiserver_kubelet_client: pair(certificates.apiserver_kubelet_client),
                    front_proxy_ca_cert: pki.front_proxy_ca.cert_pem().to_owned(),
                    front_proxy_client: pair(certificates.front_proxy_client),
                    sa_private_key: pki.service_account.private_pem.clone(),
                    sa_public_key: pki.service_account.public_pem.clone(),
                    admin: pair(certificates.admin),
                    controller_manager: pair(certificates.controller_manager),
                    scheduler: pair(certificates.scheduler),
                })
            }
        };
        let endpoint = control_planes.first().map_or(address, |(_, address)| *address);
        let config = NodeConfig {
            api_version: NODE_API_VERSION.to_owned(),
            kind: NODE_KIND.to_owned(),
            cluster: cluster.name.clone(),
            name: node.name.clone(),
            role: node.role,
            node_ip: address,
            api_endpoint: format!(
                "https://{}",
                std::net::SocketAddr::new(endpoint, paths::APISERVER_PORT)
            ),
            network: cluster.network.clone(),
            labels: node.labels.clone(),
            taints: node.taints.clone(),
            resources: node.resources,
            pki: NodePki {
                ca_cert: pki.ca.cert_pem().to_owned(),
                kubelet: pair(certificates.kubelet),
                kubelet_serving: pair(certificates.kubelet_serving),
                proxy: pair(certificates.proxy),
                control_plane,
            },
            log_level: cluster.log_level.clone(),
            feature_gates: cluster.feature_gates.clone(),
            extra_config: cluster.component_flags(),
            hosts: host_names(network),
        };
        let mut ports = node.ports.clone();
        if node.role == NodeRole::ControlPlane {
            ports.push(PortMapping {
                container_port: paths::APISERVER_PORT,
                host_port: Some(api_port),
                listen_address: cluster.api.address,
                protocol: Protocol::Tcp,
            });
        }
        let spec = NodeSpec {
            cluster: cluster.name.clone(),
            name: node.name.clone(),
            role: node.role,
            image: node.image.clone().unwrap_or_else(|| image.to_owned()),
            command: [paths::BINARY, "node", "init"].map(str::to_owned).into(),
            network: network.name.clone(),
            address,
            resources: node.resources,
            mounts: node.mounts.clone(),
            ports,
            hosts: host_names(network),
            labels: BTreeMap::new(),
        };
        Ok(NodePlan { spec, config })
    }
}

/// The files that a node has before its first start: those that its image has
/// not already.
pub(crate) fn files(plan: &NodePlan, baked: &str, binary: &std::path::Path) -> Result<Vec<File>, Error> {
    let node = &plan.config.name;
    let yaml = plan.config.to_yaml().map_err(|source| Error::NodeConfig {
        node: node.clone(),
        source,
    })?;
    let mut files = vec![File::new(paths::NODE_CONFIG, 0o600, yaml)];
    if plan.spec.image != baked {
        files.push(binary_file(binary));
    }
    Ok(files)
}

pub(crate) fn binary_file(binary: &std::path::Path) -> File {
    File::copy(paths::BINARY, 0o755, binary)
}
