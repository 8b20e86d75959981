//! The taints that a node's conditions ask for. Pure.

use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::condition_status;

pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Condition, its status, and the key of the NoSchedule taint.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    (
        "NetworkUnavailable",
        "True",
        "node.kubernetes.io/network-unavailable",
    ),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];

/// Whether a taint is one of those this controller sets and removes.
fn is_ours(taint: &Taint) -> bool {
    match taint.effect.as_str() {
        "NoSchedule" => taint.key == UNSCHEDULABLE || BY_CONDITION.iter().any(|(.., key)| *key == taint.key),
        "NoExecute" => taint.key == NOT_READY || taint.key == UNREACHABLE,
        _ => false,
    }
}

/// All the node's taints as they should be; `None`: they are.
pub(super) fn plan(node: &Node, now: &Time) -> Option<Vec<Taint>> {
    let spec = node.spec.clone().unwrap_or_default();
    let current = spec.taints.unwrap_or_default();
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for (condition, status, key) in BY_CONDITION {
        // A node that has not reported yet came with the not-ready taint; it stays until it is Ready.
        if condition_status(node, condition) == status {
            wanted.push((key, "NoSchedule"));
        }
    }
    match condition_status(node, "Ready") {
        "False" => wanted.push((NOT_READY, "NoExecute")),
        "Unknown" => wanted.push((UNREACHABLE, "NoExecute")),
        "True" => {}
        _ => {
            let kept = |effect: &str| current.iter().any(|t| t.key == NOT_READY && t.effect == effect);
            for effect in ["NoSchedule", "NoExecute"] {
                if kept(effect) {
                    wanted.push((NOT_READY, effect));
                }
            }
        }
    }
    if spec.unschedulable == Some(true) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let matches = |taint: &Taint, (key, effect): &(&str, &str)| taint.key == *key && taint.effect == *effect;
    let mut taints: Vec<Taint> = current
        .iter()
        .filter(|taint| !is_ours(taint) || wanted.iter().any(|w| matches(taint, w)))
        .cloned()
        .collect();
    for want in &wanted {
        if !taints.iter().any(|taint| matches(taint, want)) {
            taints.push(Taint {
                key: want.0.into(),
                effect: want.1.into(),
                value: None,
                time_added: Some(now.clone()),
            });
        }
    }
    (taints != current).then_some(taints)
}
