//! Which change in the cluster may help which waiting pod.
//!
//! A pod was rejected by some rules; it is tried again when something changes that one of them looks at.
//! A hint may be too hopeful, never too pessimistic.

use crate::{
    node::NodeInfo,
    plugins::{Plugin, PluginSet, basic, fit},
    pod::PodInfo,
};

/// Something that changed.
#[derive(Debug)]
pub enum Change<'a> {
    /// A node appeared, or changed in what rules look at.
    Node(&'a NodeInfo),
    /// A pod came to a node, or its labels changed there.
    PodPlaced(&'a PodInfo),
    /// A pod left a node, or asks for less.
    PodLeft(&'a PodInfo),
    /// A pod is being deleted; what it has is not free yet.
    PodLeaving(&'a PodInfo),
    /// A claim, a volume or a class changed.
    Volumes,
    /// A namespace's labels changed.
    Namespace,
}

/// Whether a pod that these rules rejected may find a node after the change.
pub fn helps(change: &Change<'_>, pod: &PodInfo, rejected_by: PluginSet) -> bool {
    // Rejected by nothing: there was no node at all, or the failure was of another sort.
    if rejected_by.is_empty() {
        return true;
    }
    let by = |plugin| rejected_by.contains(plugin);
    match change {
        Change::Node(node) => {
            // The new state of the node must satisfy every rule that only looks at the node; the others
            // may be satisfied by it.
            basic::node_unschedulable(pod, node).is_ok()
                && basic::node_name(pod, node).is_ok()
                && basic::taint_toleration(pod, node).is_ok()
                && basic::node_affinity(pod, node).is_ok()
                && fit::fits(pod, node).map_or_else(|reject| reject.resolvable, |()| true)
        }
        Change::PodPlaced(other) => {
            // Somebody to be near to, or a place that makes others less crowded in comparison.
            by(Plugin::InterPodAffinity) && !pod.affinity.is_empty()
                || by(Plugin::PodTopologySpread) && other.namespace == pod.namespace
        }
        Change::PodLeft(other) => {
            by(Plugin::NodeResourcesFit)
                || by(Plugin::NodePorts) && !other.ports.is_empty()
                || by(Plugin::InterPodAffinity)
                || by(Plugin::PodTopologySpread) && other.namespace == pod.namespace
        }
        Change::PodLeaving(other) => by(Plugin::PodTopologySpread) && other.namespace == pod.namespace,
        Change::Volumes => by(Plugin::VolumeBinding),
        Change::Namespace => by(Plugin::InterPodAffinity),
    }
}

#[cfg(test)]
mod tests;
