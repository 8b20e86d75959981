//! The cluster file `rkind.dev/v1alpha1`, kind `Cluster`. Flags are edits of
//! this form, so that a flag and a file go the same way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Taint;

/// `apiVersion` of [`Cluster`].
pub const API_VERSION: &str = "rkind.dev/v1alpha1";
/// `kind` of [`Cluster`].
pub const KIND: &str = "Cluster";

/// Everything is optional: an empty file is a cluster of one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cluster {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Default `rkind`; the profile, and the name of the kubeconfig context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Node image of all nodes that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Default: one control-plane node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
    pub networking: Networking,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub feature_gates: BTreeMap<String, bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub runtime_config: BTreeMap<String, String>,
    /// `component -> flag -> value`
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_config: BTreeMap<String, BTreeMap<String, String>>,
    /// Default `info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    /// Names of fields in error messages are those of the file it came from.
    #[serde(skip)]
    pub(crate) dialect: Dialect,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    #[default]
    Rkind,
    Kind,
}

/// One node of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Node {
    /// Default `<cluster>-<role>`, then `<cluster>-<role>2` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `control-plane` or `worker`; default `control-plane` for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// Cores, as in `2` or `1.5`; default all of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// `4Gi`, `4g`, or MiB without a unit; default all of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", alias = "extraMounts")]
    pub mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "Vec::is_empty", alias = "extraPortMappings")]
    pub ports: Vec<PortMapping>,
}

/// A path of the host inside a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mount {
    pub host_path: String,
    pub container_path: String,
    #[serde(skip_serializing_if = "is_false")]
    pub read_only: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub selinux_relabel: bool,
    /// `None` (default), `HostToContainer` or `Bidirectional`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation: Option<String>,
}

/// A port of a node on the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PortMapping {
    pub container_port: i32,
    /// Default (or -1): a free one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_port: Option<i32>,
    /// Default 127.0.0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_address: Option<String>,
    /// `TCP` (default), `UDP` or `SCTP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

/// Addresses, names and ports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Networking {
    /// Only `ipv4` for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_family: Option<String>,
    /// Address on the host that the API server is published on; default
    /// 127.0.0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_server_address: Option<String>,
    /// Port on the host; default (or -1) a free one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_server_port: Option<i32>,
    /// More names and addresses in the server's certificate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_server_names: Vec<String>,
    /// Default 10.244.0.0/16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_subnet: Option<String>,
    /// Default 10.96.0.0/16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_subnet: Option<String>,
    /// Addresses of the nodes; default a free subnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_subnet: Option<String>,
    /// Default `cluster.local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_domain: Option<String>,
    /// Default `30000-32767`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_port_range: Option<String>,
}

fn is_false(b: &bool) -> bool {
    !*b
}
