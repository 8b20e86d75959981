//! What a pod, or a volume that it claims, refers to.

use rkind_apimachinery::meta;
use serde_json::Value;

/// Kinds that a kubelet reads because a pod needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
    Claim,
    Volume,
    Attachment,
    Account,
    DeviceClaim,
}

/// Volume sources, of pods and of persistent volumes, with a reference to a secret.
const SECRET_SOURCES: [&str; 8] = [
    "cephfs",
    "cinder",
    "flexVolume",
    "iscsi",
    "rbd",
    "scaleIO",
    "storageos",
    "quobyte",
];

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| items(&spec[list]))
}

/// Whether a pod refers to an object of its namespace. A mirror pod refers to nothing: its
/// kubelet wrote it.
pub(super) fn pod(pod: &Value, kind: Kind, name: &str) -> bool {
    let spec = &pod["spec"];
    if kind == Kind::Account {
        return spec["serviceAccountName"] == name;
    }
    if meta::annotation(pod, "kubernetes.io/config.mirror").is_some() {
        return false;
    }
    let environment = |reference: &str, source: &str| {
        containers(spec).any(|container| {
            items(&container["env"]).any(|env| env["valueFrom"][reference]["name"] == name)
                || items(&container["envFrom"]).any(|env| env[source]["name"] == name)
        })
    };
    let projected = |volume: &Value, source: &str| {
        items(&volume["projected"]["sources"]).any(|projection| projection[source]["name"] == name)
    };
    match kind {
        Kind::Secret => {
            items(&spec["imagePullSecrets"]).any(|secret| secret["name"] == name)
                || environment("secretKeyRef", "secretRef")
                || items(&spec["volumes"]).any(|volume| {
                    volume["secret"]["secretName"] == name
                        || volume["azureFile"]["secretName"] == name
                        || volume["csi"]["nodePublishSecretRef"]["name"] == name
                        || projected(volume, "secret")
                        || SECRET_SOURCES
                            .iter()
                            .any(|source| volume[*source]["secretRef"]["name"] == name)
                })
        }
        Kind::ConfigMap => {
            environment("configMapKeyRef", "configMapRef")
                || items(&spec["volumes"])
                    .any(|volume| volume["configMap"]["name"] == name || projected(volume, "configMap"))
        }
        Kind::Claim => claims(pod).iter().any(|claim| claim == name),
        Kind::DeviceClaim => {
            items(&spec["resourceClaims"]).any(|claim| claim["resourceClaimName"] == name)
                || items(&pod["status"]["resourceClaimStatuses"])
                    .any(|claim| claim["resourceClaimName"] == name)
                || pod["status"]["extendedResourceClaimStatus"]["resourceClaimName"] == name
        }
        Kind::Volume | Kind::Attachment | Kind::Account => false,
    }
}

/// Names of the volume claims that a pod uses.
pub(super) fn claims(pod: &Value) -> Vec<String> {
    items(&pod["spec"]["volumes"])
        .filter_map(|volume| {
            if volume["ephemeral"].is_object() {
                return Some(format!("{}-{}", meta::name(pod), volume["name"].as_str()?));
            }
            volume["persistentVolumeClaim"]["claimName"]
                .as_str()
                .map(str::to_owned)
        })
        .collect()
}

/// Whether a persistent volume, claimed from namespace `claimed`, needs a secret.
pub(super) fn volume(volume: &Value, claimed: &str, namespace: &str, name: &str) -> bool {
    let spec = &volume["spec"];
    let is = |reference: &Value, field: &str, of: &str| {
        reference[field] == name
            && reference[of]
                .as_str()
                .filter(|ns| !ns.is_empty())
                .unwrap_or(claimed)
                == namespace
    };
    is(&spec["azureFile"], "secretName", "secretNamespace")
        || SECRET_SOURCES
            .iter()
            .any(|source| is(&spec[*source]["secretRef"], "name", "namespace"))
        || [
            "nodePublishSecretRef",
            "nodeStageSecretRef",
            "nodeExpandSecretRef",
            "controllerExpandSecretRef",
        ]
        .iter()
        .any(|reference| is(&spec["csi"][*reference], "name", "namespace"))
}
