//! Wishes and facts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::Ipv4Net;
use rkind_config::{Mount, NodeResources, NodeRole, PortMapping};
use serde::{Deserialize, Serialize};

/// What a backend can do at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Limits of CPU and memory are enforced.
    pub limits: bool,
    /// Paths of the host can be mounted.
    pub mounts: bool,
    /// Nodes come back by themselves when the engine or host restarts.
    pub survives_restart: bool,
    /// The engine has an image store that images can be taken from.
    pub local_images: bool,
}

/// What the host has.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostFacts {
    /// `Docker Engine`, `Podman Engine`, ...
    pub engine: String,
    pub version: String,
    pub kernel: String,
    /// `x86_64`, `aarch64`
    pub arch: String,
    pub cpus: u64,
    pub memory_bytes: u64,
    /// 1 or 2.
    pub cgroup_version: u8,
    pub rootless: bool,
    /// The engine runs on this machine, so that its ports and paths are ours.
    pub local: bool,
    /// What is not there, and what follows.
    pub missing: Vec<Missing>,
}

/// Something that a host lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    pub what: String,
    /// What it means for the cluster.
    pub effect: String,
    /// What the user can do.
    pub hint: String,
    /// Without it no cluster can run.
    pub fatal: bool,
}

/// A network that shall be.
#[derive(Clone, Debug)]
pub struct NetworkSpec {
    pub cluster: String,
    /// `None`: any free one.
    pub subnet: Option<Ipv4Net>,
    /// Subnets that it must not overlap with: pods and services.
    pub avoid: Vec<Ipv4Net>,
}

/// A network that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub name: String,
    pub subnet: Ipv4Net,
    /// The host, seen from the nodes.
    pub gateway: IpAddr,
}

/// A node that shall be.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    pub cluster: String,
    /// Host name too.
    pub name: String,
    pub role: NodeRole,
    pub image: String,
    /// What runs as process 1.
    pub command: Vec<String>,
    /// Name of the network, as [`Network`] has it.
    pub network: String,
    /// Its fixed address there.
    pub address: IpAddr,
    pub resources: NodeResources,
    pub mounts: Vec<Mount>,
    /// All with a host port: a free one is the caller's choice, so that it stays
    /// the same over restarts.
    pub ports: Vec<PortMapping>,
    /// Names for `/etc/hosts`.
    pub hosts: BTreeMap<String, IpAddr>,
    /// Beside the driver's own.
    pub labels: BTreeMap<String, String>,
}

/// Whether a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Made, never started.
    Created,
    Running,
    Paused,
    Stopped,
}

impl NodeState {
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Created => "created",
            NodeState::Running => "running",
            NodeState::Paused => "paused",
            NodeState::Stopped => "stopped",
        }
    }
}

/// A node that is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFacts {
    pub cluster: String,
    pub name: String,
    pub role: NodeRole,
    pub state: NodeState,
    pub address: IpAddr,
    pub image: String,
    pub ports: Vec<PublishedPort>,
    #[serde(skip)]
    pub labels: BTreeMap<String, String>,
}

/// A port of the host that leads to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedPort {
    pub address: IpAddr,
    pub host_port: u16,
    pub node_port: u16,
    /// `tcp`, `udp`, `sctp`
    pub protocol: String,
}

/// Which lines of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogOptions {
    pub follow: bool,
    /// The last so many lines; `None` all.
    pub tail: Option<u32>,
}

/// An image of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalImage {
    /// Digest of its configuration: `sha256:…`, the id that CRI reports.
    pub id: String,
    /// Names with tags.
    pub tags: Vec<String>,
    pub size_bytes: u64,
    /// Digests of its layers' uncompressed archives, the lowest first.
    pub layers: Vec<String>,
    pub labels: BTreeMap<String, String>,
}
