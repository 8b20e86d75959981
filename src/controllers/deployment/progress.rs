//! A Deployment's status: counts, Available, Progressing. Pure.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::sets::{self, Replicas, Sets};
use crate::common::conditions;

pub(super) const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";

pub(super) fn has_deadline(deployment: &Deployment) -> bool {
    sets::spec(deployment)
        .progress_deadline_seconds
        .is_some_and(|s| s != i32::MAX)
}

fn status(deployment: &Deployment) -> DeploymentStatus {
    deployment.status.clone().unwrap_or_default()
}

fn condition(kind: &str, value: &str, reason: &str, message: String, now: &Time) -> DeploymentCondition {
    DeploymentCondition {
        type_: kind.into(),
        status: value.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: Some(now.clone()),
        last_transition_time: Some(now.clone()),
    }
}

/// Everything runs, is available, is of the new template, and nothing else runs.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = sets::replicas(deployment);
    status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0)
}

fn moved(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let updated = |s: &DeploymentStatus| s.updated_replicas.unwrap_or(0);
    let old_ones = |s: &DeploymentStatus| s.replicas.unwrap_or(0) - updated(s);
    updated(new) > updated(old)
        || old_ones(new) < old_ones(old)
        || new.ready_replicas.unwrap_or(0) > old.ready_replicas.unwrap_or(0)
        || new.available_replicas.unwrap_or(0) > old.available_replicas.unwrap_or(0)
}

fn deadline(deployment: &Deployment) -> SignedDuration {
    SignedDuration::from_secs(
        sets::spec(deployment)
            .progress_deadline_seconds
            .unwrap_or(600)
            .into(),
    )
}

fn timed_out(deployment: &Deployment, now: &Time) -> bool {
    let status = status(deployment);
    let Some(progress) = conditions::find(&status.conditions, PROGRESSING) else {
        return false;
    };
    match progress.reason.as_deref() {
        // Done: pods that fail later are not this rollout's.
        Some(AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => progress
            .last_update_time
            .as_ref()
            .is_some_and(|from| now.0.duration_since(from.0) > deadline(deployment)),
    }
}

/// Counts and the Available condition.
pub(super) fn count(deployment: &Deployment, sets: &Sets, now: &Time) -> DeploymentStatus {
    let available = sets.available();
    let nonzero = |n: i32| Some(n).filter(|n| *n != 0);
    let ready = |s: &ReplicaSetStatus| s.ready_replicas.unwrap_or(0);
    let terminating: Option<i32> = sets
        .all()
        .map(|set| set.status.as_ref().and_then(|s| s.terminating_replicas))
        .sum();
    let old = status(deployment);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: nonzero(sets.all().map(Replicas::actual).sum()),
        updated_replicas: nonzero(sets.new.as_ref().map_or(0, Replicas::actual)),
        ready_replicas: nonzero(sets.all().filter_map(|set| set.status.as_ref()).map(ready).sum()),
        available_replicas: nonzero(available),
        unavailable_replicas: nonzero((sets.wanted() - available).max(0)),
        terminating_replicas: terminating,
        collision_count: old.collision_count,
        conditions: old.conditions,
    };
    let least = sets::replicas(deployment) - sets::max_unavailable(deployment);
    let (value, reason, message) = if available >= least {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    conditions::set(
        &mut status.conditions,
        condition("Available", value, reason, message.into(), now),
    );
    status
}

/// [`count`], and how the rollout goes.
pub(super) fn rollout(deployment: &Deployment, sets: &Sets, now: &Time) -> DeploymentStatus {
    let old = status(deployment);
    let mut new = count(deployment, sets, now);
    if !has_deadline(deployment) {
        conditions::remove(&mut new.conditions, PROGRESSING);
    }
    let current = conditions::find(&old.conditions, PROGRESSING);
    let was_complete = new.replicas.unwrap_or(0) == new.updated_replicas.unwrap_or(0)
        && current.is_some_and(|c| c.reason.as_deref() == Some(AVAILABLE));
    if has_deadline(deployment) && !was_complete {
        let subject = match &sets.new {
            Some(set) => format!("ReplicaSet \"{}\"", set.name()),
            None => format!(
                "Deployment \"{}\"",
                deployment.metadata.name.as_deref().unwrap_or_default()
            ),
        };
        if is_complete(deployment, &new) {
            let message = format!("{subject} has successfully progressed.");
            conditions::set(
                &mut new.conditions,
                condition(PROGRESSING, "True", AVAILABLE, message, now),
            );
        } else if moved(&old, &new) {
            let message = format!("{subject} is progressing.");
            let mut moving = condition(PROGRESSING, "True", "ReplicaSetUpdated", message, now);
            // Always renewed: its update time is what the deadline counts from.
            if let Some(current) = current.filter(|c| c.status == "True") {
                moving.last_transition_time = current.last_transition_time.clone();
            }
            conditions::remove(&mut new.conditions, PROGRESSING);
            conditions::set(&mut new.conditions, moving);
        } else if timed_out(deployment, now) {
            let message = format!("{subject} has timed out progressing.");
            conditions::set(
                &mut new.conditions,
                condition(PROGRESSING, "False", TIMED_OUT, message, now),
            );
        }
    }
    match replica_failure(sets, now) {
        Some(failure) => conditions::set(&mut new.conditions, failure),
        None => conditions::remove(&mut new.conditions, "ReplicaFailure"),
    }
    new
}

/// The newest set's failure, or any.
fn replica_failure(sets: &Sets, now: &Time) -> Option<DeploymentCondition> {
    let failure = sets
        .new
        .iter()
        .chain(sets.old.iter().filter(|set| set.wanted() > 0))
        .find_map(|set| {
            conditions::find(&set.status.as_ref()?.conditions, "ReplicaFailure")
                .filter(|c| c.status == "True")
        })?;
    Some(DeploymentCondition {
        type_: failure.type_.clone(),
        status: failure.status.clone(),
        reason: failure.reason.clone(),
        message: failure.message.clone(),
        last_update_time: Some(now.clone()),
        last_transition_time: failure.last_transition_time.clone(),
    })
}

/// The status that says that the rollout is paused, or goes on again; `None`: it says so already.
pub(super) fn pause_condition(deployment: &Deployment, now: &Time) -> Option<DeploymentStatus> {
    if !has_deadline(deployment) {
        return None;
    }
    let mut status = status(deployment);
    let current = conditions::find(&status.conditions, PROGRESSING).and_then(|c| c.reason.as_deref());
    if current == Some(TIMED_OUT) {
        return None;
    }
    let paused = sets::spec(deployment).paused == Some(true);
    let (reason, message) = match (paused, current == Some(PAUSED)) {
        (true, false) => (PAUSED, "Deployment is paused"),
        (false, true) => (RESUMED, "Deployment is resumed"),
        _ => return None,
    };
    conditions::set(
        &mut status.conditions,
        condition(PROGRESSING, "Unknown", reason, message.into(), now),
    );
    Some(status)
}

/// When the deadline must be checked even if nothing happens.
pub(super) fn look_again_in(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: &Time,
) -> Option<Duration> {
    let progress = conditions::find(&status.conditions, PROGRESSING)?;
    let settled = matches!(progress.reason.as_deref(), Some(TIMED_OUT));
    if !has_deadline(deployment) || settled || is_complete(deployment, status) {
        return None;
    }
    let from = progress.last_update_time.as_ref()?;
    let left = deadline(deployment) - now.0.duration_since(from.0) + SignedDuration::from_secs(1);
    Some(Duration::try_from(left).unwrap_or_default())
}
