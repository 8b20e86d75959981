//! What a namespace's conditions say of its deletion. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NamespaceCondition, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Counts;
use crate::common::conditions;

/// How far a deletion has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Group versions that didn't answer, and why.
    pub(super) undiscovered: BTreeMap<String, String>,
    /// Resources that could not be emptied, and why.
    pub(super) errors: BTreeMap<String, String>,
    /// How many objects are left, by resource.
    pub(super) remaining: Counts,
    /// How many objects each finalizer holds.
    pub(super) finalizers: Counts,
    /// Seconds that the slowest pod may take.
    pub(super) longest_grace: u64,
}

/// Type, then reason and message when all is well.
const FINE: [(&str, &str, &str); 5] = [
    (
        "NamespaceDeletionDiscoveryFailure",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    (
        "NamespaceContentRemaining",
        "ContentRemoved",
        "All content successfully removed",
    ),
    (
        "NamespaceFinalizersRemaining",
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
];

pub(super) fn status(old: &NamespaceStatus, progress: &Progress, now: &Time) -> NamespaceStatus {
    let mut status = old.clone();
    status.phase = Some("Terminating".into());
    for (kind, reason, message) in FINE {
        let trouble = trouble(kind, progress);
        let (value, reason, message) = match &trouble {
            Some((reason, message)) => ("True", *reason, message.as_str()),
            None => ("False", reason, message),
        };
        let current = conditions::find(&status.conditions, kind);
        if current.is_some_and(|c| {
            c.status == value && c.reason.as_deref() == Some(reason) && c.message.as_deref() == Some(message)
        }) {
            continue;
        }
        let since = current
            .filter(|c| c.status == value)
            .and_then(|c| c.last_transition_time.clone());
        let condition = NamespaceCondition {
            type_: kind.into(),
            status: value.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
        };
        // In place: the conditions' order is what `kubectl describe` shows.
        let list = status.conditions.get_or_insert_default();
        match list.iter_mut().find(|c| c.type_ == kind) {
            Some(place) => *place = condition,
            None => list.push(condition),
        }
    }
    status
}

fn trouble(kind: &str, progress: &Progress) -> Option<(&'static str, String)> {
    match kind {
        "NamespaceDeletionDiscoveryFailure" if !progress.undiscovered.is_empty() => {
            let failing: Vec<String> = progress
                .undiscovered
                .iter()
                .map(|(group, error)| format!("{group}: {error}"))
                .collect();
            let message = format!(
                "Discovery failed for some groups, {} failing: unable to retrieve the complete list of server APIs: {}",
                failing.len(),
                failing.join(", ")
            );
            Some(("DiscoveryFailed", message))
        }
        "NamespaceDeletionContentFailure" if !progress.errors.is_empty() => {
            let errors: Vec<&str> = progress.errors.values().map(String::as_str).collect();
            let message = format!(
                "Failed to delete all resource types, {} remaining: {}",
                errors.len(),
                errors.join(", ")
            );
            Some(("ContentDeletionFailed", message))
        }
        "NamespaceContentRemaining" if !progress.remaining.is_empty() => {
            let each: Vec<String> = progress
                .remaining
                .iter()
                .map(|(resource, count)| format!("{resource} has {count} resource instances"))
                .collect();
            Some((
                "SomeResourcesRemain",
                format!("Some resources are remaining: {}", each.join(", ")),
            ))
        }
        "NamespaceFinalizersRemaining" if !progress.finalizers.is_empty() => {
            let each: Vec<String> = progress
                .finalizers
                .iter()
                .map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"))
                .collect();
            let message = format!(
                "Some content in the namespace has finalizers remaining: {}",
                each.join(", ")
            );
            Some(("SomeFinalizersRemain", message))
        }
        _ => None,
    }
}
