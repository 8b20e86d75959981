//! Signs of life, and what is said of a node that gives none. Pure.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::common::conditions;

/// The conditions that only a kubelet can know.
const KUBELET_CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Whatever changes when a kubelet lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signs {
    lease: Option<Timestamp>,
    heartbeat: Option<Timestamp>,
    transition: Option<Timestamp>,
}

/// `True`, `False`, `Unknown` or nothing.
pub(super) fn ready(node: &Node) -> &str {
    super::condition_status(node, "Ready")
}

pub(super) fn signs(node: &Node, lease: Option<&Lease>) -> Signs {
    let ready = node
        .status
        .as_ref()
        .and_then(|s| conditions::find(&s.conditions, "Ready"));
    // What this controller itself wrote is no sign of the node's life.
    let ready = ready.filter(|c| c.status != "Unknown");
    Signs {
        lease: lease.and_then(|l| l.spec.as_ref()?.renew_time.as_ref().map(|t| t.0)),
        heartbeat: ready.and_then(|c| c.last_heartbeat_time.as_ref().map(|t| t.0)),
        transition: ready.and_then(|c| c.last_transition_time.as_ref().map(|t| t.0)),
    }
}

/// The status of a node that fell silent; `None`: it says so already.
pub(super) fn unknown(node: &Node, now: &Time) -> Option<NodeStatus> {
    let mut status = node.status.clone().unwrap_or_default();
    let list = status.conditions.get_or_insert_default();
    let mut changed = false;
    for kind in KUBELET_CONDITIONS {
        match list.iter_mut().find(|c| c.type_ == kind) {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                condition.status = "Unknown".into();
                condition.reason = Some("NodeStatusUnknown".into());
                condition.message = Some("Kubelet stopped posting node status.".into());
                condition.last_transition_time = Some(now.clone());
                changed = true;
            }
            None => {
                list.push(NodeCondition {
                    type_: kind.into(),
                    status: "Unknown".into(),
                    reason: Some("NodeStatusNeverUpdated".into()),
                    message: Some("Kubelet never posted node status.".into()),
                    last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                    last_transition_time: Some(now.clone()),
                });
                changed = true;
            }
        }
    }
    changed.then_some(status)
}
