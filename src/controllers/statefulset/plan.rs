//! The next steps of a StatefulSet, and its status. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};

use super::identity;
use crate::common::intstr::resolve;
use crate::common::pods;

/// Revision names and their templates.
#[derive(Debug, Clone)]
pub(super) struct Versions {
    pub(super) current: (String, PodTemplateSpec),
    pub(super) update: (String, PodTemplateSpec),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    /// Make the pod (and its claims).
    Create(Pod),
    /// Make its claims only.
    Claims(Pod),
    /// Write the pod as it should be.
    Update(Pod),
    Delete(Pod),
}

/// The spec's numbers.
struct Shape {
    start: i32,
    end: i32,
    ordered: bool,
    min_ready: i32,
    partition: i32,
    max_unavailable: i32,
    on_delete: bool,
}

impl Shape {
    fn of(spec: &StatefulSetSpec) -> Self {
        let start = spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0);
        let replicas = spec.replicas.unwrap_or(1);
        let strategy = spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
        let max_unavailable = rolling.and_then(|r| r.max_unavailable.as_ref());
        Self {
            start,
            end: start + replicas,
            ordered: spec.pod_management_policy.as_deref() != Some("Parallel"),
            min_ready: spec.min_ready_seconds.unwrap_or(0),
            partition: rolling.and_then(|r| r.partition).unwrap_or(0),
            max_unavailable: max_unavailable
                .and_then(|m| resolve(m, replicas, true))
                .unwrap_or(1)
                .max(1),
            on_delete: strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete"),
        }
    }
}

fn is_available(pod: &Pod, shape: &Shape, now: Timestamp) -> bool {
    pods::phase(pod) == "Running" && pods::is_available(pod, shape.min_ready, now)
}

fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

fn new_pod(set: &StatefulSet, ordinal: i32, versions: &Versions, shape: &Shape) -> Pod {
    let keeps_current = !shape.on_delete && ordinal < shape.start + shape.partition;
    let (revision, template) = if keeps_current {
        &versions.current
    } else {
        &versions.update
    };
    identity::new_pod(set, ordinal, revision, template)
}

/// What to do now. With ordered management at most one pod is made or deleted at a time.
pub(super) fn plan(set: &StatefulSet, versions: &Versions, claimed: &[Arc<Pod>], now: Timestamp) -> Vec<Act> {
    if set.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let shape = Shape::of(&set.spec.clone().unwrap_or_default());
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let by_number: BTreeMap<i32, &Arc<Pod>> = claimed
        .iter()
        .filter_map(|pod| Some((identity::ordinal(name, pod.metadata.name.as_deref()?)?, pod)))
        .collect();
    let mut acts = Vec::new();
    for ordinal in shape.start..shape.end {
        let stop = match by_number.get(&ordinal) {
            None => {
                acts.push(Act::Create(new_pod(set, ordinal, versions, &shape)));
                true
            }
            Some(pod) if pods::is_terminal(pod) => {
                // It makes room for its successor.
                if !is_terminating(pod) {
                    acts.push(Act::Delete((***pod).clone()));
                }
                true
            }
            Some(pod) => {
                if pods::phase(pod) == "Pending" && !is_terminating(pod) {
                    acts.push(Act::Claims((***pod).clone()));
                }
                if let Some(repaired) = identity::repaired(set, ordinal, pod).filter(|_| !is_terminating(pod))
                {
                    acts.push(Act::Update(repaired));
                }
                is_terminating(pod) || !is_available(pod, &shape, now)
            }
        };
        if stop && shape.ordered {
            return acts;
        }
    }
    // Condemned pods go from the highest number down; an unhealthy one may only go first.
    let condemned: Vec<&Arc<Pod>> = by_number
        .iter()
        .rev()
        .filter(|(ordinal, _)| !(shape.start..shape.end).contains(*ordinal))
        .map(|(_, pod)| *pod)
        .collect();
    let first_unhealthy = by_number
        .values()
        .find(|pod| is_terminating(pod) || !pods::is_ready(pod));
    for pod in &condemned {
        if is_terminating(pod) {
            if shape.ordered {
                return acts;
            }
            continue;
        }
        let is_first_unhealthy =
            first_unhealthy.is_some_and(|first| first.metadata.name == pod.metadata.name);
        if shape.ordered && !is_available(pod, &shape, now) && !is_first_unhealthy {
            return acts;
        }
        acts.push(Act::Delete((***pod).clone()));
        if shape.ordered {
            return acts;
        }
    }
    if !shape.on_delete {
        acts.extend(roll(&shape, versions, &by_number, now));
    }
    acts
}

/// Replaces pods of older revisions from the highest number down to the partition, waiting for each to
/// be available again.
fn roll(
    shape: &Shape,
    versions: &Versions,
    by_number: &BTreeMap<i32, &Arc<Pod>>,
    now: Timestamp,
) -> Vec<Act> {
    let mut acts = Vec::new();
    let in_range = |ordinal: &i32| (shape.start..shape.end).contains(ordinal);
    let mut unavailable = by_number
        .iter()
        .filter(|(ordinal, pod)| in_range(ordinal) && (is_terminating(pod) || !is_available(pod, shape, now)))
        .count();
    let missing = (shape.start..shape.end)
        .filter(|o| !by_number.contains_key(o))
        .count();
    unavailable += missing;
    let most = usize::try_from(shape.max_unavailable).unwrap_or(1);
    for ordinal in (shape.start + shape.partition..shape.end).rev() {
        let Some(pod) = by_number.get(&ordinal) else {
            return acts;
        };
        let outdated = identity::revision(pod).as_ref() != Some(&versions.update.0);
        let healthy = !is_terminating(pod) && is_available(pod, shape, now);
        if outdated && !is_terminating(pod) {
            // A broken pod costs nothing to replace.
            if healthy && unavailable >= most {
                return acts;
            }
            acts.push(Act::Delete((***pod).clone()));
            unavailable += usize::from(healthy);
            if most == 1 {
                return acts;
            }
        } else if !healthy && most == 1 {
            return acts;
        }
    }
    acts
}

pub(super) fn status(
    set: &StatefulSet,
    versions: &Versions,
    claimed: &[Arc<Pod>],
    now: Timestamp,
) -> StatefulSetStatus {
    let spec = set.spec.clone().unwrap_or_default();
    let shape = Shape::of(&spec);
    let count = |test: &dyn Fn(&Pod) -> bool| {
        i32::try_from(claimed.iter().filter(|pod| test(pod)).count()).unwrap_or(i32::MAX)
    };
    let of = |pod: &Pod, revision: &str| {
        !is_terminating(pod) && identity::revision(pod).is_some_and(|r| r == revision)
    };
    let ready = |pod: &Pod| pods::phase(pod) == "Running" && pods::is_ready(pod);
    let nonzero = |n: i32| Some(n).filter(|n| *n != 0);
    let replicas = count(&|_| true);
    let ready = count(&ready);
    let updated = count(&|pod| of(pod, &versions.update.0));
    let mut current = (
        count(&|pod| of(pod, &versions.current.0)),
        versions.current.0.clone(),
    );
    let wanted = shape.end - shape.start;
    if !shape.on_delete && updated == wanted && ready == wanted && replicas == wanted {
        // The update is complete: it is the current revision now.
        current = (updated, versions.update.0.clone());
    }
    StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas,
        ready_replicas: nonzero(ready),
        available_replicas: Some(count(&|pod| is_available(pod, &shape, now))),
        current_replicas: nonzero(current.0),
        updated_replicas: nonzero(updated),
        current_revision: Some(current.1),
        update_revision: Some(versions.update.0.clone()),
        collision_count: None,
        conditions: set.status.as_ref().and_then(|s| s.conditions.clone()),
    }
}
