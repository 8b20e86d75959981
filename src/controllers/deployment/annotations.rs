//! What a Deployment writes into its ReplicaSets' annotations, read by kubectl's history and undo.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::sets;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of the Deployment that its ReplicaSets don't get.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// Longest revision history, in bytes, as upstream's.
const LONGEST_HISTORY: usize = 2000;

pub(super) fn get<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

fn number<T: std::str::FromStr>(meta: &ObjectMeta, key: &str) -> Option<T> {
    get(meta, key)?.parse().ok()
}

/// The set's revision, 0 when it has none.
pub(super) fn revision(set: &ReplicaSet) -> i64 {
    number(&set.metadata, REVISION).unwrap_or(0)
}

/// The Deployment's size when the set was last scaled.
pub(super) fn desired(set: &ReplicaSet) -> Option<i32> {
    number(&set.metadata, DESIRED)
}

/// The Deployment's size and surge when the set was last scaled.
pub(super) fn max(set: &ReplicaSet) -> Option<i32> {
    number(&set.metadata, MAX)
}

fn put(annotations: &mut BTreeMap<String, String>, key: &str, value: String) -> bool {
    annotations.insert(key.to_owned(), value.clone()).as_ref() != Some(&value)
}

/// Notes the Deployment's size on the set; tells whether anything changed.
pub(super) fn set_sizes(set: &mut ReplicaSet, deployment: &Deployment) -> bool {
    let replicas = sets::replicas(deployment);
    let annotations = set.metadata.annotations.get_or_insert_default();
    let desired = put(annotations, DESIRED, replicas.to_string());
    let max = put(
        annotations,
        MAX,
        (replicas + sets::max_surge(deployment)).to_string(),
    );
    desired || max
}

/// Copies the Deployment's annotations to its newest set and gives it `revision` unless it has a later
/// one; tells whether anything changed.
pub(super) fn set_revision(set: &mut ReplicaSet, deployment: &Deployment, revision: i64) -> bool {
    let annotations = set.metadata.annotations.get_or_insert_default();
    let mut changed = false;
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !OWN.contains(&key.as_str()) {
            changed |= put(annotations, key, value.clone());
        }
    }
    let old: Option<i64> = annotations.get(REVISION).and_then(|r| r.parse().ok());
    if old.unwrap_or(0) < revision {
        put(annotations, REVISION, revision.to_string());
        changed = true;
        if let Some(old) = old {
            // Rolled back to: the revisions it had before.
            let history = annotations
                .get(REVISION_HISTORY)
                .map(String::as_str)
                .unwrap_or_default();
            let history = if history.is_empty() {
                old.to_string()
            } else {
                format!("{history},{old}")
            };
            if history.len() <= LONGEST_HISTORY {
                put(annotations, REVISION_HISTORY, history);
            }
        }
    }
    changed
}
