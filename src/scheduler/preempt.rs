//! Making room: which pods of lower priority must go so that a pod finds a node.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>

use std::{cmp::Reverse, sync::Arc};

use jiff::Timestamp;
use rkind_client::Selector;

use crate::{
    cluster::{Cluster, Slot},
    cycle::{Cycle, Failure, text},
    node::NodeInfo,
    plugins::{Plugin, Reject},
    pod::PodInfo,
};

/// A node and the pods that must leave it.
#[derive(Clone, Debug)]
pub struct Victims {
    /// The node.
    pub slot: Slot,
    /// From the most to the least important.
    pub pods: Vec<Arc<PodInfo>>,
    /// How many of them a disruption budget would protect.
    pub violations: usize,
}

/// Which pods to evict, or upstream's words why none.
pub fn preempt(cycle: &Cycle, failure: &Failure, cluster: &Cluster) -> Result<Victims, String> {
    let pod = &cycle.pod;
    let policy = pod
        .pod
        .spec
        .as_ref()
        .and_then(|spec| spec.preemption_policy.as_deref());
    if policy == Some("Never") {
        return Err("not eligible due to preemptionPolicy=Never.".to_owned());
    }
    if waits_for_victims(pod, failure, cluster) {
        return Err("not eligible due to a terminating pod on the nominated node.".to_owned());
    }
    let hopeful: Vec<Slot> = failure
        .rejects
        .iter()
        .filter(|(_, reject)| reject.resolvable)
        .map(|(slot, _)| *slot)
        .collect();
    // Enough to choose from: a tenth of the nodes, but at least 100.
    let enough = (hopeful.len() / 10).max(100);
    let (mut found, mut rejects) = (Vec::new(), Vec::new());
    for slot in hopeful {
        match victims_on(cycle, slot, cluster) {
            Ok(victims) => found.push(victims),
            Err(reject) => rejects.push((slot, reject)),
        }
        if found.len() >= enough {
            break;
        }
    }
    found.into_iter().min_by_key(cost).ok_or_else(|| {
        let absent = Some("Preemption is not helpful for scheduling");
        Failure {
            nodes: failure.nodes,
            pod: None,
            rejects,
            absent,
        }
        .message()
    })
}

/// Whether pods it evicted before are still about to leave its nominated node.
fn waits_for_victims(pod: &PodInfo, failure: &Failure, cluster: &Cluster) -> bool {
    let nominated = pod
        .pod
        .status
        .as_ref()
        .and_then(|status| status.nominated_node_name.as_deref());
    let Some(slot) = nominated.and_then(|name| cluster.slot(name)) else {
        return false;
    };
    // A node that no eviction helps is given up.
    if failure
        .rejects
        .iter()
        .any(|(rejected, reject)| *rejected == slot && !reject.resolvable)
    {
        return false;
    }
    let leaving = |other: &&Arc<PodInfo>| {
        let conditions = other
            .pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        other.priority < pod.priority
            && other.pod.metadata.deletion_timestamp.is_some()
            && conditions.into_iter().flatten().any(|c| {
                c.type_ == "DisruptionTarget"
                    && c.status == "True"
                    && c.reason.as_deref() == Some("PreemptionByScheduler")
            })
    };
    cluster.node(slot).pods.iter().any(|other| leaving(&other))
}

/// Descending importance: priority, then the longer running.
fn importance(pod: &PodInfo) -> (Reverse<i32>, Timestamp) {
    (Reverse(pod.priority), started(pod))
}

fn started(pod: &PodInfo) -> Timestamp {
    let start = pod
        .pod
        .status
        .as_ref()
        .and_then(|status| status.start_time.as_ref());
    start.map_or_else(Timestamp::now, |time| time.0)
}

/// What choosing a node costs; the least is best: budgets broken, the highest victim, their priorities'
/// sum, their number, and then rather young victims.
fn cost(victims: &Victims) -> (usize, i32, i64, usize, Reverse<Timestamp>) {
    let highest = victims
        .pods
        .iter()
        .map(|pod| pod.priority)
        .max()
        .unwrap_or(i32::MIN);
    // Shifted, so that many victims of negative priority don't look cheap.
    let sum = victims
        .pods
        .iter()
        .map(|pod| i64::from(pod.priority) + i64::from(i32::MAX) + 1)
        .sum();
    let oldest = victims
        .pods
        .iter()
        .filter(|pod| pod.priority == highest)
        .map(|pod| started(pod))
        .min();
    (
        victims.violations,
        highest,
        sum,
        victims.pods.len(),
        Reverse(oldest.unwrap_or(Timestamp::MAX)),
    )
}

/// The fewest pods that must leave one node.
fn victims_on(cycle: &Cycle, slot: Slot, cluster: &Cluster) -> Result<Victims, Reject> {
    let original = cluster.node(slot);
    let (mut cycle, mut node): (Cycle, NodeInfo) = (cycle.clone(), original.clone());
    let mut lower: Vec<_> = original
        .pods
        .iter()
        .filter(|p| p.priority < cycle.pod.priority)
        .cloned()
        .collect();
    if lower.is_empty() {
        return Err(Reject {
            plugin: Plugin::NodeResourcesFit,
            resolvable: false,
            reasons: vec![text("No preemption victims found for incoming pod")],
        });
    }
    for pod in &lower {
        node.remove_pod(&pod.uid);
        cycle.adjust(pod, original, cluster, -1);
    }
    cycle.check(cluster, &node)?;
    lower.sort_by_key(|pod| importance(pod));
    let (protected, free) = split_by_budgets(lower, cluster);
    let mut victims = Vec::new();
    let mut violations = 0;
    for (pod, violates) in protected
        .into_iter()
        .map(|p| (p, 1))
        .chain(free.into_iter().map(|p| (p, 0)))
    {
        // Spared if the pod still fits beside it.
        node.add_pod(pod.clone());
        cycle.adjust(&pod, original, cluster, 1);
        if cycle.check(cluster, &node).is_err() {
            node.remove_pod(&pod.uid);
            cycle.adjust(&pod, original, cluster, -1);
            victims.push(pod);
            violations += violates;
        }
    }
    victims.sort_by_key(|pod| importance(pod));
    Ok(Victims {
        slot,
        pods: victims,
        violations,
    })
}

/// Pods whose eviction would break a disruption budget, and the others.
fn split_by_budgets(pods: Vec<Arc<PodInfo>>, cluster: &Cluster) -> (Vec<Arc<PodInfo>>, Vec<Arc<PodInfo>>) {
    let mut left: Vec<_> = cluster
        .budgets
        .iter()
        .filter_map(|((namespace, _), budget)| {
            let selector = budget.spec.as_ref()?.selector.as_ref()?;
            let status = budget.status.as_ref();
            let allowed = status.map_or(0, |status| status.disruptions_allowed);
            let disrupted = status
                .and_then(|status| status.disrupted_pods.clone())
                .unwrap_or_default();
            Some((
                namespace,
                Selector::from_api(Some(selector)).ok()?,
                allowed,
                disrupted,
            ))
        })
        .collect();
    pods.into_iter().partition(|pod| {
        let mut violates = false;
        let name = pod.pod.metadata.name.as_deref().unwrap_or_default();
        for (namespace, selector, allowed, disrupted) in &mut left {
            let labelled = pod.labels().is_some_and(|labels| !labels.is_empty());
            if **namespace == *pod.namespace
                && labelled
                && selector.matches(pod.labels())
                && !disrupted.contains_key(name)
            {
                *allowed -= 1;
                violates |= *allowed < 0;
            }
        }
        violates
    })
}

#[cfg(test)]
mod tests;
