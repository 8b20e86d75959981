//! What the node agent is told at its start.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Taint;

/// Everything configurable about a node agent. Build with [`Options::new`] and change fields.
#[derive(Clone)]
pub struct Options {
    /// Name of the Node object; also its hostname.
    pub node_name: String,
    /// Address under which the node is reached; also what pods on the node's network have.
    pub node_ip: IpAddr,
    /// Further labels of the Node, e.g. `topology.kubernetes.io/zone`; those that NodeRestriction
    /// keeps from kubelets are refused by the API server.
    pub labels: BTreeMap<String, String>,
    /// Taints the Node is registered with. Later changes through the API stay.
    pub taints: Vec<Taint>,
    /// CPUs to report as capacity; `None`: what the machine has.
    pub cpus: Option<f64>,
    /// Bytes of memory to report as capacity; `None`: what the machine has.
    pub memory_bytes: Option<u64>,
    /// Most pods on this node.
    pub max_pods: u32,
    /// Directory of pods' volumes and files, usually `/var/lib/kubelet`.
    pub root_dir: PathBuf,
    /// Directory of pods' logs, usually `/var/log/pods`.
    pub pod_log_dir: PathBuf,
    /// Directory of links to logs, usually `/var/log/containers`; `None`: no links.
    pub container_log_dir: Option<PathBuf>,
    /// Name servers of pods; empty: pods use the node's own.
    pub cluster_dns: Vec<String>,
    /// Domain of the cluster, usually `cluster.local`.
    pub cluster_domain: String,
    /// The node's own resolver configuration.
    pub resolv_conf: PathBuf,
    /// Where the agent's HTTPS API listens.
    pub listen: SocketAddr,
    /// Serving certificate chain and key, PEM. Empty: no HTTPS API.
    pub serving_cert_pem: String,
    /// See [`Options::serving_cert_pem`].
    pub serving_key_pem: String,
    /// Certificate authority of the clients that may use the HTTPS API, PEM.
    pub client_ca_pem: String,
    /// Mount point of the cgroup file system, usually `/sys/fs/cgroup`; `None`: pods get no
    /// cgroups of their own.
    pub cgroup_root: Option<PathBuf>,
    /// `nodeInfo.kubeletVersion`.
    pub version: String,
}

impl Options {
    /// Options with upstream's defaults.
    pub fn new(node_name: impl Into<String>, node_ip: IpAddr) -> Self {
        Self {
            node_name: node_name.into(),
            node_ip,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            cpus: None,
            memory_bytes: None,
            max_pods: 110,
            root_dir: "/var/lib/kubelet".into(),
            pod_log_dir: "/var/log/pods".into(),
            container_log_dir: Some("/var/log/containers".into()),
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 10250),
            serving_cert_pem: String::new(),
            serving_key_pem: String::new(),
            client_ca_pem: String::new(),
            cgroup_root: Some("/sys/fs/cgroup".into()),
            version: "v1.35.0".into(),
        }
    }
}

impl std::fmt::Debug for Options {
    /// Leaves the key out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("node_name", &self.node_name)
            .field("node_ip", &self.node_ip)
            .field("listen", &self.listen)
            .field("root_dir", &self.root_dir)
            .finish_non_exhaustive()
    }
}
