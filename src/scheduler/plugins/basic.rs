//! Rules that look at one node and one pod alone.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use super::{MAX_SCORE, Plugin, Reject, Verdict};
use crate::{cluster::Cluster, node::NodeInfo, pod::PodInfo};

/// The taint that stands for `spec.unschedulable`.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// `spec.unschedulable` keeps pods off, save those that tolerate its taint.
pub fn node_unschedulable(pod: &PodInfo, node: &NodeInfo) -> Verdict {
    if !node.unschedulable {
        return Ok(());
    }
    let taint = Taint {
        key: UNSCHEDULABLE.to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    if tolerated(pod.tolerations(), &taint) {
        return Ok(());
    }
    Err(Reject::unresolvable(
        Plugin::NodeUnschedulable,
        "node(s) were unschedulable",
    ))
}

/// A pod that names its node goes nowhere else.
pub fn node_name(pod: &PodInfo, node: &NodeInfo) -> Verdict {
    match pod.node_name() {
        Some(name) if *name != *node.name => Err(Reject::unresolvable(
            Plugin::NodeName,
            "node(s) didn't match the requested node name",
        )),
        _ => Ok(()),
    }
}

/// Whether a toleration covers a taint.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let key = given(&toleration.key);
    if given(&toleration.effect).is_some_and(|effect| effect != taint.effect)
        || key.as_ref().is_some_and(|key| *key != taint.key)
    {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => {
            key.is_some()
                && toleration.value.as_deref().unwrap_or_default()
                    == taint.value.as_deref().unwrap_or_default()
        }
        "Exists" => true,
        _ => false,
    }
}

fn tolerated(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

/// The first taint of the node that keeps the pod off.
pub fn untolerated<'a>(pod: &PodInfo, node: &'a NodeInfo) -> Option<&'a Taint> {
    node.taints
        .iter()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
        .find(|taint| !tolerated(pod.tolerations(), taint))
}

/// `NoSchedule` and `NoExecute` taints keep pods off that don't tolerate them.
pub fn taint_toleration(pod: &PodInfo, node: &NodeInfo) -> Verdict {
    let Some(taint) = untolerated(pod, node) else {
        return Ok(());
    };
    let value = taint.value.as_deref().unwrap_or_default();
    let reason = format!("node(s) had untolerated taint {{{}: {value}}}", taint.key);
    Err(Reject::unresolvable(Plugin::TaintToleration, reason))
}

/// Number of `PreferNoSchedule` taints the pod doesn't tolerate; to be normalised in reverse.
pub fn taint_score(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let soft = node
        .taints
        .iter()
        .filter(|taint| taint.effect == "PreferNoSchedule");
    soft.filter(|taint| !tolerated(pod.tolerations(), taint)).count() as i64
}

/// Node selector and required node affinity.
pub fn node_affinity(pod: &PodInfo, node: &NodeInfo) -> Verdict {
    if pod.node_affinity.allows(node) {
        return Ok(());
    }
    let reason = "node(s) didn't match Pod's node affinity/selector";
    Err(Reject::unresolvable(Plugin::NodeAffinity, reason))
}

/// Host ports that are free.
pub fn node_ports(pod: &PodInfo, node: &NodeInfo) -> Verdict {
    if pod
        .ports
        .iter()
        .any(|wanted| node.ports.iter().any(|used| used.conflicts(wanted)))
    {
        let reason = "node(s) didn't have free ports for the requested pod ports";
        return Err(Reject::unschedulable(Plugin::NodePorts, reason));
    }
    Ok(())
}

/// The pod's images and the share of nodes that have each.
#[derive(Debug)]
pub struct Images {
    shares: Vec<(String, f64)>,
    containers: i64,
}

impl Images {
    /// Looks the images up. `nodes`: the number of all nodes.
    pub fn new(pod: &PodInfo, cluster: &Cluster, nodes: usize) -> Self {
        let mut images = Images {
            shares: Vec::new(),
            containers: 0,
        };
        let spec = pod.pod.spec.as_ref();
        let init = spec
            .and_then(|spec| spec.init_containers.as_ref())
            .into_iter()
            .flatten();
        for container in init.chain(spec.into_iter().flat_map(|spec| &spec.containers)) {
            images.containers += 1;
            let Some(image) = container.image.as_deref() else {
                continue;
            };
            let tagged = if image.rfind(':') <= image.rfind('/') {
                format!("{image}:latest")
            } else {
                image.to_owned()
            };
            let with = cluster.nodes_with_image(&tagged);
            if with > 0 {
                images.shares.push((tagged, with as f64 / nodes.max(1) as f64));
            }
        }
        images
    }

    /// Favours nodes that have the images: by size, and by the share of nodes that have them, so that one
    /// node with an image doesn't draw everything.
    pub fn score(&self, node: &NodeInfo) -> i64 {
        const LEAST: i64 = 23 << 20;
        const MOST_PER_CONTAINER: i64 = 1000 << 20;
        let on_node = |(image, share): &(String, f64)| Some((*node.images.get(image)? as f64 * share) as i64);
        let sum: i64 = self.shares.iter().filter_map(on_node).sum();
        let most = MOST_PER_CONTAINER * self.containers.max(1);
        MAX_SCORE * (sum.clamp(LEAST, most) - LEAST) / (most - LEAST)
    }
}
