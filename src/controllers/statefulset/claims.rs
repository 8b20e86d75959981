//! The PersistentVolumeClaims of a StatefulSet's pods. Pure.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use rkind_client::owner;

use super::identity::ordinal;

pub(super) fn claim_name(set: &StatefulSet, template: &str, ordinal: i32) -> String {
    format!(
        "{template}-{}-{ordinal}",
        set.metadata.name.as_deref().unwrap_or_default()
    )
}

fn policy(set: &StatefulSet) -> (bool, bool) {
    let policy = set
        .spec
        .as_ref()
        .and_then(|s| s.persistent_volume_claim_retention_policy.as_ref());
    let delete = |value: Option<&String>| value.is_some_and(|v| v == "Delete");
    (
        delete(policy.and_then(|p| p.when_deleted.as_ref())),
        delete(policy.and_then(|p| p.when_scaled.as_ref())),
    )
}

fn number(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    ordinal(set.metadata.name.as_deref()?, pod.metadata.name.as_deref()?)
}

/// The claims that `pod` needs.
pub(super) fn claims(set: &StatefulSet, pod: &Pod) -> Vec<PersistentVolumeClaim> {
    let spec = set.spec.clone().unwrap_or_default();
    let Some(ordinal) = number(set, pod) else {
        return Vec::new();
    };
    let labels = spec.selector.match_labels.unwrap_or_default();
    let (when_deleted, _) = policy(set);
    spec.volume_claim_templates
        .into_iter()
        .flatten()
        .map(|mut claim| {
            let template = claim.metadata.name.clone().unwrap_or_default();
            claim.metadata.name = Some(claim_name(set, &template, ordinal));
            claim.metadata.namespace = set.metadata.namespace.clone();
            claim
                .metadata
                .labels
                .get_or_insert_default()
                .extend(labels.clone());
            claim.status = None;
            if when_deleted {
                let mut reference = owner::controller_ref(set);
                reference.block_owner_deletion = None;
                claim.metadata.owner_references = Some(vec![reference]);
            }
            claim
        })
        .collect()
}

/// The names of claims that go with a pod that is scaled away.
pub(super) fn to_release(set: &StatefulSet, pod: &Pod) -> Vec<String> {
    let (_, when_scaled) = policy(set);
    let spec = set.spec.as_ref();
    let start = spec
        .and_then(|s| s.ordinals.as_ref())
        .and_then(|o| o.start)
        .unwrap_or(0);
    let end = start + spec.and_then(|s| s.replicas).unwrap_or(1);
    let condemned = number(set, pod).is_some_and(|n| n < start || n >= end);
    if !when_scaled || !condemned {
        return Vec::new();
    }
    claims(set, pod)
        .into_iter()
        .filter_map(|c| c.metadata.name)
        .collect()
}

/// The claim with the pod as its only owner; `None`: it has it already.
pub(super) fn owned_by_pod(claim: &PersistentVolumeClaim, pod: &Pod) -> Option<PersistentVolumeClaim> {
    let uid = pod.metadata.uid.clone()?;
    if claim
        .metadata
        .owner_references
        .iter()
        .flatten()
        .any(|r| r.uid == uid)
    {
        return None;
    }
    let mut claim = claim.clone();
    claim.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".into(),
        kind: "Pod".into(),
        name: pod.metadata.name.clone()?,
        uid,
        controller: Some(true),
        ..Default::default()
    }]);
    Some(claim)
}
