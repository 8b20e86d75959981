//! The internal form: complete, valid, the only one that other rooms see.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::extra::{APISERVER, ExtraConfig};
use crate::{ClusterNetwork, NodeResources, NodeRole, Taint};

/// A cluster as it shall be. Made by [`crate::v1alpha1::Cluster::into_cluster`];
/// its values are valid and its names unique.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    pub name: String,
    /// At least one; the first is a control-plane node.
    pub nodes: Vec<Node>,
    pub network: ClusterNetwork,
    /// Addresses of the nodes themselves; `None` lets the driver find a free
    /// subnet.
    pub node_subnet: Option<Ipv4Net>,
    pub api: ApiAccess,
    pub feature_gates: BTreeMap<String, bool>,
    /// `group/version -> enabled`, as of `--runtime-config`.
    pub runtime_config: BTreeMap<String, String>,
    /// `component -> flag -> value`
    pub extra_config: ExtraConfig,
    pub log_level: String,
}

impl Cluster {
    /// `extraConfig` as nodes are handed it: `runtimeConfig` is the API server's flag of that name.
    pub fn component_flags(&self) -> ExtraConfig {
        let mut all = self.extra_config.clone();
        if !self.runtime_config.is_empty() {
            let settings = self.runtime_config.iter().map(|(api, on)| format!("{api}={on}"));
            let flag = all.entry(APISERVER.to_owned()).or_default();
            let flag = flag.entry("runtime-config".to_owned()).or_default();
            // What is said by the flag's own name comes last, and wins.
            let flag_s = std::mem::take(flag);
            let all = settings.chain((!flag_s.is_empty()).then_some(flag_s));
            *flag = all.collect::<Vec<_>>().join(",");
        }
        all
    }
}

/// One node as it shall be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub name: String,
    pub role: NodeRole,
    /// `None` is the image that this rkind makes.
    pub image: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub resources: NodeResources,
    pub mounts: Vec<Mount>,
    pub ports: Vec<PortMapping>,
}

/// How the API server is reached from outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiAccess {
    /// Address on the host.
    pub address: IpAddr,
    /// Port on the host; `None` is a free one.
    pub port: Option<u16>,
    /// More names and addresses for the server's certificate.
    pub extra_sans: Vec<String>,
}

/// A directory or file of the host inside a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    pub host_path: PathBuf,
    /// Absolute.
    pub container_path: String,
    pub read_only: bool,
    pub selinux_relabel: bool,
    pub propagation: Propagation,
}

/// Which way later mounts below a [`Mount`] are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    #[default]
    None,
    HostToContainer,
    Bidirectional,
}

/// A port of a node on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    pub container_port: u16,
    /// `None` is a free one.
    pub host_port: Option<u16>,
    pub listen_address: IpAddr,
    pub protocol: Protocol,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// As container engines write it: `tcp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

impl Cluster {
    /// The node that holds the cluster's state.
    pub fn control_plane(&self) -> Option<&Node> {
        self.nodes.iter().find(|n| n.role == NodeRole::ControlPlane)
    }

    /// Makes relative host paths absolute, as seen from `base`.
    pub fn resolve_paths(&mut self, base: &Path) {
        for mount in self.nodes.iter_mut().flat_map(|n| n.mounts.iter_mut()) {
            if mount.host_path.is_relative() {
                mount.host_path = base.join(&mount.host_path).components().collect();
            }
        }
    }

    /// A name for one more node of this role that none of `taken` has.
    pub fn next_node_name(cluster: &str, role: NodeRole, taken: &[&str]) -> String {
        let base = format!("{cluster}-{role}");
        let mut name = base.clone();
        let mut n = 2u32;
        while taken.contains(&name.as_str()) {
            name = format!("{base}{n}");
            n += 1;
        }
        name
    }
}
