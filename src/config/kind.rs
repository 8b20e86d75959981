//! kind's own cluster file, `kind.x-k8s.io/v1alpha4`, read as it is.
//!
//! <https://kind.sigs.k8s.io/docs/user/configuration/>. What has a meaning here
//! keeps it; what cannot have one is named in one warning.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Taint;
use crate::v1alpha1::{self, Dialect};

pub(crate) const API_VERSION: &str = "kind.x-k8s.io/v1alpha4";

/// Any value, whose content does not matter: the field has no meaning here.
type Unused = Option<serde::de::IgnoredAny>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Cluster {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    name: Option<String>,
    nodes: Vec<Node>,
    networking: Networking,
    feature_gates: BTreeMap<String, bool>,
    runtime_config: BTreeMap<String, String>,
    kubeadm_config_patches: Unused,
    #[serde(rename = "kubeadmConfigPatchesJSON6902")]
    kubeadm_config_patches_json6902: Unused,
    containerd_config_patches: Unused,
    #[serde(rename = "containerdConfigPatchesJSON6902")]
    containerd_config_patches_json6902: Unused,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Node {
    role: Option<String>,
    image: Option<String>,
    labels: BTreeMap<String, String>,
    extra_mounts: Vec<v1alpha1::Mount>,
    extra_port_mappings: Vec<v1alpha1::PortMapping>,
    gpus: Unused,
    kubeadm_config_patches: Unused,
    #[serde(rename = "kubeadmConfigPatchesJSON6902")]
    kubeadm_config_patches_json6902: Unused,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Networking {
    ip_family: Option<String>,
    api_server_port: Option<i32>,
    api_server_address: Option<String>,
    pod_subnet: Option<String>,
    service_subnet: Option<String>,
    #[serde(rename = "disableDefaultCNI")]
    disable_default_cni: bool,
    kube_proxy_mode: Option<String>,
    dns_search: Unused,
}

/// The same wishes in our form, and the fields that do not apply.
pub(crate) fn convert(file: Cluster) -> (v1alpha1::Cluster, Vec<String>) {
    let mut ignored = Vec::new();
    let mut ignore = |present: bool, field: String| {
        if present {
            ignored.push(field);
        }
    };
    ignore(
        file.kubeadm_config_patches.is_some(),
        "kubeadmConfigPatches".into(),
    );
    ignore(
        file.kubeadm_config_patches_json6902.is_some(),
        "kubeadmConfigPatchesJSON6902".into(),
    );
    ignore(
        file.containerd_config_patches.is_some(),
        "containerdConfigPatches".into(),
    );
    ignore(
        file.containerd_config_patches_json6902.is_some(),
        "containerdConfigPatchesJSON6902".into(),
    );
    ignore(
        file.networking.disable_default_cni,
        "networking.disableDefaultCNI".into(),
    );
    ignore(
        file.networking.kube_proxy_mode.is_some(),
        "networking.kubeProxyMode".into(),
    );
    ignore(
        file.networking.dns_search.is_some(),
        "networking.dnsSearch".into(),
    );

    let workers = file.nodes.iter().any(|n| n.role.as_deref() == Some("worker"));
    let mut nodes = Vec::with_capacity(file.nodes.len());
    for (i, node) in file.nodes.into_iter().enumerate() {
        ignore(
            node.kubeadm_config_patches.is_some(),
            format!("nodes[{i}].kubeadmConfigPatches"),
        );
        ignore(
            node.kubeadm_config_patches_json6902.is_some(),
            format!("nodes[{i}].kubeadmConfigPatchesJSON6902"),
        );
        ignore(node.gpus.is_some(), format!("nodes[{i}].gpus"));
        // kind's node images hold kubeadm and a Go kubelet.
        let foreign = node
            .image
            .as_deref()
            .is_some_and(|image| image.contains("kindest/node"));
        ignore(foreign, format!("nodes[{i}].image"));
        let role = node.role.unwrap_or_else(|| "control-plane".to_owned());
        // kind keeps pods off the control plane as soon as there are workers.
        let taints = if workers && role == "control-plane" {
            vec![Taint {
                key: "node-role.kubernetes.io/control-plane".to_owned(),
                value: String::new(),
                effect: "NoSchedule".to_owned(),
            }]
        } else {
            Vec::new()
        };
        nodes.push(v1alpha1::Node {
            role: Some(role),
            image: node.image.filter(|_| !foreign),
            labels: node.labels,
            taints,
            mounts: node.extra_mounts,
            ports: node.extra_port_mappings,
            ..Default::default()
        });
    }
    let cluster = v1alpha1::Cluster {
        name: file.name,
        nodes,
        networking: v1alpha1::Networking {
            ip_family: file.networking.ip_family,
            api_server_address: file.networking.api_server_address,
            api_server_port: file.networking.api_server_port.filter(|p| *p != 0),
            pod_subnet: file.networking.pod_subnet,
            service_subnet: file.networking.service_subnet,
            ..Default::default()
        },
        feature_gates: file.feature_gates,
        runtime_config: file.runtime_config,
        dialect: Dialect::Kind,
        ..Default::default()
    };
    (cluster, ignored)
}
