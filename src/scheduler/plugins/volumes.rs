//! Volumes: claims must be there and bound, and their volumes reachable from the node.
//!
//! Claims of classes that wait for their first consumer are told the node (the annotation
//! `volume.kubernetes.io/selected-node`) before the pod is bound; see [`Claims::waiting`].
//! <https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode>

use std::sync::Arc;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::{Plugin, Reject, Verdict};
use crate::{affinity::NodeAffinity, cluster::Volumes, node::NodeInfo, pod::PodInfo};

/// What a pod's claims ask of a node.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Where bound volumes can be reached from.
    reachable: Vec<NodeAffinity>,
    /// Claims that wait for a node to be chosen, or for their volume on the chosen node.
    pub waiting: Vec<Arc<PersistentVolumeClaim>>,
    /// The node that was chosen for them before.
    chosen: Option<String>,
}

/// The annotation that tells a volume's provisioner which node was chosen.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// The node that was chosen for a claim.
pub fn selected_node(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim
        .metadata
        .annotations
        .as_ref()?
        .get(SELECTED_NODE)
        .map(String::as_str)
        .filter(|node| !node.is_empty())
}

/// The volume a claim is bound to; naming one in the spec is not enough.
fn bound_volume(claim: &PersistentVolumeClaim) -> Option<&str> {
    let annotations = claim.metadata.annotations.as_ref();
    let completed = annotations.is_some_and(|all| all.contains_key("pv.kubernetes.io/bind-completed"));
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let name = claim
        .spec
        .as_ref()?
        .volume_name
        .as_deref()
        .filter(|name| !name.is_empty())?;
    (completed || phase == Some("Bound")).then_some(name)
}

impl Claims {
    /// Looks the pod's claims up. An error concerns the pod as a whole, whatever the node.
    pub fn new(pod: &PodInfo, volumes: &Volumes) -> Result<Self, Reject> {
        let mut claims = Claims::default();
        let Some(spec) = pod.pod.spec.as_ref() else {
            return Ok(claims);
        };
        let fail = |reason: String| Err(Reject::unresolvable(Plugin::VolumeBinding, reason));
        for volume in spec.volumes.iter().flatten() {
            let name = match (&volume.persistent_volume_claim, &volume.ephemeral) {
                (Some(source), _) => source.claim_name.clone(),
                (None, Some(_)) => {
                    format!(
                        "{}-{}",
                        pod.pod.metadata.name.as_deref().unwrap_or_default(),
                        volume.name
                    )
                }
                (None, None) => continue,
            };
            let key = (pod.namespace.to_string(), name);
            let Some(claim) = volumes.claims.get(&key) else {
                let name = key.1;
                return fail(match volume.ephemeral {
                    Some(_) => format!(
                        "waiting for ephemeral volume controller to create the persistentvolumeclaim \"{name}\""
                    ),
                    None => format!("persistentvolumeclaim \"{name}\" not found"),
                });
            };
            if claim.metadata.deletion_timestamp.is_some() {
                return fail(format!("persistentvolumeclaim \"{}\" is being deleted", key.1));
            }
            match bound_volume(claim) {
                Some(name) => {
                    let Some(volume) = volumes.volumes.get(name) else {
                        return fail(format!("persistentvolume \"{name}\" not found"));
                    };
                    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
                    if let Some(required) = affinity.and_then(|affinity| affinity.required.as_ref()) {
                        claims
                            .reachable
                            .push(NodeAffinity::from_terms(&required.node_selector_terms));
                    }
                }
                None if waits_for_consumer(claim, volumes) => {
                    claims.chosen = claims.chosen.or(selected_node(claim).map(str::to_owned));
                    claims.waiting.push(claim.clone());
                }
                None => return fail("pod has unbound immediate PersistentVolumeClaims".to_owned()),
            }
        }
        Ok(claims)
    }

    /// Whether all bound volumes can be reached from the node.
    pub fn allows(&self, node: &NodeInfo) -> Verdict {
        if self.chosen.as_deref().is_some_and(|chosen| *chosen != *node.name) {
            let reason = "node(s) didn't find available persistent volumes to bind";
            return Err(Reject::unresolvable(Plugin::VolumeBinding, reason));
        }
        if self.reachable.iter().all(|affinity| affinity.allows(node)) {
            return Ok(());
        }
        Err(Reject::unresolvable(
            Plugin::VolumeBinding,
            "node(s) didn't match PersistentVolume's node affinity",
        ))
    }
}

fn waits_for_consumer(claim: &PersistentVolumeClaim, volumes: &Volumes) -> bool {
    let class = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.as_ref());
    let class = class.and_then(|name| volumes.classes.get(name));
    class.and_then(|class| class.volume_binding_mode.as_deref()) == Some("WaitForFirstConsumer")
}
