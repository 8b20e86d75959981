//! Which daemon pods to make and remove, and the status. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{HASH_LABEL, fit};
use crate::common::intstr::resolve;
use crate::common::pods;

/// What a run sees.
pub(super) struct View<'a> {
    pub(super) set: &'a DaemonSet,
    pub(super) nodes: &'a [Arc<Node>],
    pub(super) pods: &'a [Arc<Pod>],
    /// The hash of the present template.
    pub(super) update: &'a str,
    pub(super) now: Timestamp,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Work {
    /// Names of nodes that get a pod.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Those of `delete` that had failed.
    pub(super) failed: Vec<Arc<Pod>>,
}

pub(super) fn hash(pod: &Pod) -> Option<String> {
    pod.metadata.labels.as_ref()?.get(HASH_LABEL).cloned()
}

fn spec(view: &View<'_>) -> DaemonSetSpec {
    view.set.spec.clone().unwrap_or_default()
}

fn is_updated(view: &View<'_>, pod: &Pod) -> bool {
    hash(pod).as_deref() == Some(view.update)
}

fn is_available(view: &View<'_>, pod: &Pod) -> bool {
    pods::is_available(pod, spec(view).min_ready_seconds.unwrap_or(0), view.now)
}

fn by_node(view: &View<'_>) -> HashMap<String, Vec<Arc<Pod>>> {
    let mut map: HashMap<String, Vec<Arc<Pod>>> = HashMap::new();
    for pod in view.pods {
        if let Some(node) = fit::target_node(pod) {
            map.entry(node).or_default().push(pod.clone());
        }
    }
    for pods in map.values_mut() {
        // The one that stays comes first: on its node, ready, oldest.
        pods.sort_by_key(|pod| {
            let assigned = pod.spec.as_ref().is_some_and(|s| s.node_name.is_some());
            (
                !assigned,
                !pods::is_ready(pod),
                pod.metadata.creation_timestamp.clone(),
                pod.metadata.name.clone(),
            )
        });
    }
    map
}

fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

struct Limits {
    surge: usize,
    unavailable: usize,
}

fn limits(view: &View<'_>, wanted: usize) -> Option<Limits> {
    let strategy = spec(view).update_strategy.unwrap_or_default();
    if strategy.type_.as_deref() == Some("OnDelete") {
        return None;
    }
    let rolling = strategy.rolling_update.unwrap_or_default();
    let total = i32::try_from(wanted).unwrap_or(i32::MAX);
    let number = |value: Option<IntOrString>, default: i32| {
        let value = value
            .map_or(Some(default), |v| resolve(&v, total, true))
            .unwrap_or(default);
        usize::try_from(value).unwrap_or(0)
    };
    let surge = number(rolling.max_surge, 0);
    let unavailable = number(rolling.max_unavailable, if surge == 0 { 1 } else { 0 });
    Some(if surge == 0 && unavailable == 0 {
        Limits {
            surge,
            unavailable: 1,
        }
    } else {
        Limits { surge, unavailable }
    })
}

pub(super) fn plan(view: &View<'_>) -> Work {
    let mut work = Work::default();
    let mut by_node = by_node(view);
    let mut wanted: Vec<(String, Vec<Arc<Pod>>)> = Vec::new();
    for node in view.nodes {
        let name = node.metadata.name.clone().unwrap_or_default();
        let pods = by_node.remove(&name).unwrap_or_default();
        let (start, keep) = fit::belongs(view.set, node);
        if !keep {
            work.delete.extend(pods.into_iter().filter(|pod| !is_going(pod)));
            continue;
        }
        let (finished, alive): (Vec<_>, Vec<_>) = pods.into_iter().partition(|pod| pods::is_terminal(pod));
        let failed = finished.into_iter().filter(|pod| !is_going(pod));
        let before = work.delete.len();
        work.delete.extend(failed);
        work.failed.extend(
            work.delete[before..]
                .iter()
                .filter(|p| pods::phase(p) == "Failed")
                .cloned(),
        );
        if start || !alive.is_empty() {
            if alive.is_empty() && work.delete.len() == before {
                work.create.push(name.clone());
            }
            wanted.push((name, alive));
        }
    }
    // What is left is meant for nodes that don't exist: the pod collector takes pods that were there.
    let unassigned = |pod: &Arc<Pod>| pod.spec.as_ref().is_none_or(|s| s.node_name.is_none());
    work.delete.extend(
        by_node
            .into_values()
            .flatten()
            .filter(|p| unassigned(p) && !is_going(p)),
    );
    let limits = limits(view, wanted.len());
    keep_one_each(
        view,
        &wanted,
        limits.as_ref().is_some_and(|l| l.surge > 0),
        &mut work,
    );
    if let Some(limits) = limits {
        roll(view, &wanted, &limits, &mut work);
    }
    work
}

/// Of several pods on a node only the best stays, except a surge pod beside the one it replaces.
fn keep_one_each(view: &View<'_>, wanted: &[(String, Vec<Arc<Pod>>)], surging: bool, work: &mut Work) {
    for (_, pods) in wanted {
        let alive: Vec<&Arc<Pod>> = pods.iter().filter(|pod| !is_going(pod)).collect();
        if alive.len() < 2 {
            continue;
        }
        let (updated, old): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) =
            alive.iter().partition(|pod| is_updated(view, pod));
        if surging && !updated.is_empty() && !old.is_empty() {
            // The old one goes when the new one is available.
            let done = is_available(view, updated[0]);
            work.delete
                .extend(old.into_iter().skip(usize::from(!done)).cloned());
            work.delete.extend(updated.into_iter().skip(1).cloned());
        } else {
            work.delete.extend(alive.into_iter().skip(1).cloned());
        }
    }
}

/// Replaces pods of older templates within the limits.
fn roll(view: &View<'_>, wanted: &[(String, Vec<Arc<Pod>>)], limits: &Limits, work: &mut Work) {
    let alive = |pods: &[Arc<Pod>]| -> Option<Arc<Pod>> {
        let mut alive = pods.iter().filter(|pod| !is_going(pod));
        let first = alive.next()?.clone();
        alive.next().is_none().then_some(first)
    };
    let outdated: Vec<(&String, Arc<Pod>)> = wanted
        .iter()
        .filter_map(|(node, pods)| Some((node, alive(pods)?)))
        .filter(|(_, pod)| !is_updated(view, pod))
        .collect();
    if limits.surge > 0 {
        let surging = wanted
            .iter()
            .filter(|(_, pods)| pods.iter().filter(|p| !is_going(p)).count() > 1)
            .count();
        let room = limits.surge.saturating_sub(surging);
        let (broken, healthy): (Vec<_>, Vec<_>) = outdated
            .into_iter()
            .partition(|(_, pod)| !is_available(view, pod));
        work.delete.extend(broken.into_iter().map(|(_, pod)| pod));
        work.create
            .extend(healthy.into_iter().take(room).map(|(node, _)| node.clone()));
        return;
    }
    let available = |pods: &[Arc<Pod>]| pods.iter().any(|pod| !is_going(pod) && is_available(view, pod));
    let unavailable = wanted.iter().filter(|(_, pods)| !available(pods)).count();
    let mut room = limits.unavailable.saturating_sub(unavailable);
    for (_, pod) in outdated {
        // A broken pod costs nothing to replace.
        if !is_available(view, &pod) {
            work.delete.push(pod);
        } else if room > 0 {
            room -= 1;
            work.delete.push(pod);
        }
    }
}

pub(super) fn status(view: &View<'_>) -> DaemonSetStatus {
    let by_node = by_node(view);
    let mut status = DaemonSetStatus {
        observed_generation: view.set.metadata.generation,
        conditions: view.set.status.as_ref().and_then(|s| s.conditions.clone()),
        ..Default::default()
    };
    let (mut updated, mut available) = (0, 0);
    for node in view.nodes {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let (start, _) = fit::belongs(view.set, node);
        let pods = by_node.get(name).map(Vec::as_slice).unwrap_or_default();
        if !start {
            status.number_misscheduled += i32::from(!pods.is_empty());
            continue;
        }
        status.desired_number_scheduled += 1;
        let Some(pod) = pods
            .iter()
            .max_by_key(|p| (is_updated(view, p), pods::is_ready(p)))
        else {
            continue;
        };
        status.current_number_scheduled += 1;
        updated += i32::from(is_updated(view, pod));
        status.number_ready += i32::from(pods.iter().any(|p| pods::is_ready(p)));
        available += i32::from(pods.iter().any(|p| is_available(view, p)));
    }
    let nonzero = |n: i32| Some(n).filter(|n| *n != 0);
    status.updated_number_scheduled = nonzero(updated);
    status.number_available = nonzero(available);
    status.number_unavailable = nonzero(status.desired_number_scheduled - available);
    status
}
