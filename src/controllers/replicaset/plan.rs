//! What to create or delete, and what to report. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;

use crate::common::{conditions, pods};

/// Most pods created or deleted in one run, as upstream's `BurstReplicas`.
const BURST: usize = 500;

#[derive(Debug, PartialEq)]
pub(super) enum Plan {
    Nothing,
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

/// `active`: our pods that count. `crowd`: see [`pods::deletion_order`].
pub(super) fn plan(
    active: &[Arc<Pod>],
    replicas: i32,
    crowd: &HashMap<String, usize>,
    now: Timestamp,
) -> Plan {
    let wanted = usize::try_from(replicas).unwrap_or(0);
    if active.len() < wanted {
        return Plan::Create((wanted - active.len()).min(BURST));
    }
    let surplus = (active.len() - wanted).min(BURST);
    if surplus == 0 {
        return Plan::Nothing;
    }
    let mut ranked = active.to_vec();
    ranked.sort_by(|a, b| pods::deletion_order(a, b, crowd, now));
    ranked.truncate(surplus);
    Plan::Delete(ranked)
}

/// What a run saw.
pub(super) struct Observed<'a> {
    pub(super) min_ready_seconds: i32,
    pub(super) template_labels: Option<BTreeMap<String, String>>,
    pub(super) generation: Option<i64>,
    pub(super) active: &'a [Arc<Pod>],
    pub(super) terminating: usize,
    /// Reason and message of what went wrong.
    pub(super) failure: Option<(&'static str, String)>,
}

/// The new status. Replicas that a run just made are reported by the next one, when they are seen.
pub(super) fn status(old: &ReplicaSetStatus, seen: Observed<'_>, now: Timestamp) -> ReplicaSetStatus {
    let labels = seen.template_labels.unwrap_or_default();
    let count = |test: &dyn Fn(&Pod) -> bool| {
        i32::try_from(seen.active.iter().filter(|pod| test(pod)).count()).unwrap_or(i32::MAX)
    };
    let fully_labeled = count(&|pod| {
        let own = pod.metadata.labels.as_ref();
        labels
            .iter()
            .all(|(key, value)| own.and_then(|l| l.get(key)) == Some(value))
    });
    let ready = count(&pods::is_ready);
    let available = count(&|pod| pods::is_available(pod, seen.min_ready_seconds, now));
    let mut status = ReplicaSetStatus {
        replicas: i32::try_from(seen.active.len()).unwrap_or(i32::MAX),
        fully_labeled_replicas: present(fully_labeled),
        ready_replicas: present(ready),
        available_replicas: present(available),
        terminating_replicas: i32::try_from(seen.terminating).ok(),
        observed_generation: seen.generation,
        conditions: old.conditions.clone(),
    };
    match seen.failure {
        Some((reason, message)) if conditions::find(&status.conditions, "ReplicaFailure").is_none() => {
            let condition = ReplicaSetCondition {
                type_: "ReplicaFailure".into(),
                status: "True".into(),
                reason: Some(reason.into()),
                message: Some(message),
                last_transition_time: Some(now.into()),
            };
            conditions::set(&mut status.conditions, condition);
        }
        None => conditions::remove(&mut status.conditions, "ReplicaFailure"),
        Some(_) => {}
    }
    status
}

/// Go leaves zeros out of JSON; what is read back must compare equal.
fn present(count: i32) -> Option<i32> {
    Some(count).filter(|n| *n != 0)
}
