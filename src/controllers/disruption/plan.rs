//! A budget's arithmetic. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::common::intstr::resolve;
use crate::common::pods;

/// An evicted pod that is still there after this long was not deleted after all.
const EVICTION: SignedDuration = SignedDuration::from_secs(120);

/// Whether the budget is relative to how many pods there should be.
pub(super) fn needs_scale(budget: &PodDisruptionBudget) -> bool {
    let spec = budget.spec.as_ref();
    spec.is_some_and(|s| {
        s.max_unavailable.is_some() || matches!(s.min_available, Some(IntOrString::String(_)))
    })
}

/// The status, and when evictions must be looked at again. `scale`: how many pods their controllers want.
pub(super) fn plan(
    budget: &PodDisruptionBudget,
    selected: &[Arc<Pod>],
    scale: i32,
    now: &Time,
) -> (PodDisruptionBudgetStatus, Option<SignedDuration>) {
    let spec = budget.spec.clone().unwrap_or_default();
    let old = budget.status.clone().unwrap_or_default();
    let active: Vec<&Arc<Pod>> = selected.iter().filter(|pod| !pods::is_terminal(pod)).collect();
    let count = i32::try_from(active.len()).unwrap_or(i32::MAX);
    let (expected, desired) = if let Some(unavailable) = &spec.max_unavailable {
        (
            scale,
            (scale - resolve(unavailable, scale, true).unwrap_or(0)).max(0),
        )
    } else {
        match &spec.min_available {
            Some(IntOrString::Int(least)) => (count, *least),
            Some(percent) => (scale, resolve(percent, scale, true).unwrap_or(0)),
            None => (count, 1),
        }
    };
    let (disrupted, wait) = still_disrupted(&old.disrupted_pods.unwrap_or_default(), selected, now);
    let healthy = active
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none() && pods::is_ready(pod))
        .filter(|pod| {
            pod.metadata
                .name
                .as_ref()
                .is_none_or(|name| !disrupted.contains_key(name))
        })
        .count();
    let healthy = i32::try_from(healthy).unwrap_or(i32::MAX);
    let allowed = if expected <= 0 {
        0
    } else {
        (healthy - desired).max(0)
    };
    let status = PodDisruptionBudgetStatus {
        conditions: Some(conditions(
            old.conditions,
            allowed,
            budget.metadata.generation,
            now,
        )),
        current_healthy: healthy,
        desired_healthy: desired,
        expected_pods: expected,
        disruptions_allowed: allowed,
        disrupted_pods: Some(disrupted).filter(|d| !d.is_empty()),
        observed_generation: budget.metadata.generation,
    };
    (status, wait)
}

/// Evictions that were granted and are not visible yet.
fn still_disrupted(
    granted: &BTreeMap<String, Time>,
    selected: &[Arc<Pod>],
    now: &Time,
) -> (BTreeMap<String, Time>, Option<SignedDuration>) {
    let mut left = BTreeMap::new();
    let mut wait: Option<SignedDuration> = None;
    for (name, at) in granted {
        let pod = selected
            .iter()
            .find(|pod| pod.metadata.name.as_ref() == Some(name));
        let remaining = EVICTION - now.0.duration_since(at.0);
        if pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_none()) && remaining.is_positive() {
            left.insert(name.clone(), at.clone());
            wait = Some(wait.map_or(remaining, |w| w.min(remaining)));
        }
    }
    (left, wait)
}

fn conditions(
    old: Option<Vec<Condition>>,
    allowed: i32,
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    let (status, reason) = if allowed > 0 {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    let mut list = old.unwrap_or_default();
    let since = list
        .iter()
        .find(|c| c.type_ == "DisruptionAllowed" && c.status == status)
        .map(|c| c.last_transition_time.clone());
    list.retain(|c| c.type_ != "DisruptionAllowed");
    list.push(Condition {
        type_: "DisruptionAllowed".into(),
        status: status.into(),
        reason: reason.into(),
        message: String::new(),
        observed_generation: generation,
        last_transition_time: since.unwrap_or_else(|| now.clone()),
    });
    list
}
