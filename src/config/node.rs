//! What the host hands to a node: one YAML file, complete, with all PEMs inline.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{ClusterNetwork, Error};

/// `apiVersion` of [`NodeConfig`].
pub const NODE_API_VERSION: &str = "node.rkind.dev/v1alpha1";
/// `kind` of [`NodeConfig`].
pub const NODE_KIND: &str = "NodeConfig";

/// Everything one node has to know, read by `rkind node init` from
/// [`crate::paths::NODE_CONFIG`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeConfig {
    pub api_version: String,
    pub kind: String,
    /// Name of the cluster (the profile).
    pub cluster: String,
    /// Name of the Node object, and the node's host name.
    pub name: String,
    pub role: NodeRole,
    pub node_ip: IpAddr,
    /// `https://<control plane node ip>:6443`
    pub api_endpoint: String,
    pub network: ClusterNetwork,
    /// Labels that the kubelet registers the Node with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Taints that the kubelet registers the Node with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    #[serde(default)]
    pub resources: NodeResources,
    pub pki: NodePki,
    /// A `tracing` filter: `info`, `rkind_kubelet=debug,info`, ...
    #[serde(default = "default_log_level")]
    pub log_level: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub feature_gates: BTreeMap<String, bool>,
    /// `component -> flag -> value`, from `--extra-config component.key=value`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_config: BTreeMap<String, BTreeMap<String, String>>,
    /// `host:address` pairs that resolve inside the cluster, such as
    /// `host.rkind.internal`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, IpAddr>,
}

/// What a node does beside running pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeRole {
    ControlPlane,
    Worker,
}

impl NodeRole {
    /// The name as it stands in files, labels and output.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeRole::ControlPlane => "control-plane",
            NodeRole::Worker => "worker",
        }
    }

    /// The role named `s`, if there is one.
    pub fn parse(s: &str) -> Option<Self> {
        match s {
            "control-plane" => Some(NodeRole::ControlPlane),
            "worker" => Some(NodeRole::Worker),
            _ => None,
        }
    }
}

impl std::fmt::Display for NodeRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A taint as in `node.spec.taints`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Taint {
    pub key: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// Limits of the node, which the kubelet reports as capacity; `None` is what
/// the machine has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeResources {
    /// Cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// A certificate (PEM, leaf first) and its private key (PEM, PKCS#8).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyPair {
    pub cert: String,
    pub key: String,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair")
            .field("cert", &self.cert)
            .field("key", &"<redacted>")
            .finish()
    }
}

/// The certificates of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodePki {
    pub ca_cert: String,
    /// Client: CN `system:node:<name>`, O `system:nodes`.
    pub kubelet: KeyPair,
    /// Server: the same CN, SANs are the node's name and addresses.
    pub kubelet_serving: KeyPair,
    /// Client: CN `system:kube-proxy`.
    pub proxy: KeyPair,
    /// Only on control-plane nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<ControlPlanePki>,
}

/// What only a control-plane node holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlPlanePki {
    /// Signs CertificateSigningRequests.
    pub ca_key: String,
    pub apiserver: KeyPair,
    /// CN `kube-apiserver-kubelet-client`, O `system:masters`.
    pub apiserver_kubelet_client: KeyPair,
    pub front_proxy_ca_cert: String,
    /// CN `front-proxy-client`, signed by the front-proxy CA.
    pub front_proxy_client: KeyPair,
    /// ES256; signs service-account tokens.
    pub sa_private_key: String,
    pub sa_public_key: String,
    /// CN `kubernetes-admin`, O `system:masters`.
    pub admin: KeyPair,
    /// CN `system:kube-controller-manager`.
    pub controller_manager: KeyPair,
    /// CN `system:kube-scheduler`.
    pub scheduler: KeyPair,
}

impl std::fmt::Debug for ControlPlanePki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlPlanePki")
            .field("apiserver", &self.apiserver)
            .field("front_proxy_ca_cert", &self.front_proxy_ca_cert)
            .field("sa_public_key", &self.sa_public_key)
            .finish_non_exhaustive()
    }
}

fn default_log_level() -> String {
    "info".to_owned()
}

impl NodeConfig {
    /// Reads the file's text.
    ///
    /// # Errors
    /// [`Error::Parse`] names line and field; [`Error::WrongType`] when the
    /// document is something else.
    pub fn from_yaml(text: &str) -> Result<Self, Error> {
        let config: NodeConfig = serde_saphyr::from_str(text).map_err(|e| Error::Parse {
            kind: NODE_KIND,
            message: e.to_string(),
        })?;
        if config.api_version != NODE_API_VERSION || config.kind != NODE_KIND {
            return Err(Error::WrongType {
                found: format!("{} {}", config.api_version, config.kind),
                expected: format!("{NODE_API_VERSION} {NODE_KIND}"),
            });
        }
        Ok(config)
    }

    /// The file's text.
    ///
    /// # Errors
    /// [`Error::Write`] if a value has no YAML form, which no value built from
    /// these types does.
    pub fn to_yaml(&self) -> Result<String, Error> {
        serde_saphyr::to_string(self).map_err(|e| Error::Write {
            kind: NODE_KIND,
            message: e.to_string(),
        })
    }
}
