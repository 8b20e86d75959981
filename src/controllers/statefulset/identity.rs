//! What makes a StatefulSet's pod that pod. Pure.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume};
use rkind_client::owner;

use super::claims::claim_name;
use crate::common::pods;

pub(super) const REVISION: &str = "controller-revision-hash";
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The number at the end of a pod's name, if the rest is the set's name.
pub(super) fn ordinal(set: &str, pod: &str) -> Option<i32> {
    let number = pod.strip_prefix(set)?.strip_prefix('-')?;
    let canonical = number == "0" || !number.starts_with('0');
    number.parse().ok().filter(|n| *n >= 0 && canonical)
}

pub(super) fn revision(pod: &Pod) -> Option<String> {
    pod.metadata.labels.as_ref()?.get(REVISION).cloned()
}

fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", set.metadata.name.as_deref().unwrap_or_default())
}

/// The pod with this number, of the given revision.
pub(super) fn new_pod(set: &StatefulSet, ordinal: i32, revision: &str, template: &PodTemplateSpec) -> Pod {
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let mut pod = pods::from_template(template, namespace, "", owner::controller_ref(set));
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(pod_name(set, ordinal));
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = pod.metadata.name.clone();
    spec.subdomain = set
        .spec
        .as_ref()
        .and_then(|s| s.service_name.clone())
        .filter(|s| !s.is_empty());
    fix(set, ordinal, &mut pod);
    pod.metadata
        .labels
        .get_or_insert_default()
        .insert(REVISION.into(), revision.to_owned());
    pod
}

/// Gives the pod its labels and volumes.
fn fix(set: &StatefulSet, ordinal: i32, pod: &mut Pod) {
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.into(), pod_name(set, ordinal));
    labels.insert(POD_INDEX.into(), ordinal.to_string());
    let templates = set
        .spec
        .as_ref()
        .and_then(|s| s.volume_claim_templates.clone())
        .unwrap_or_default();
    let volumes = pod.spec.get_or_insert_default().volumes.get_or_insert_default();
    for template in &templates {
        let name = template.metadata.name.clone().unwrap_or_default();
        volumes.retain(|volume| volume.name != name);
        volumes.push(Volume {
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(set, &name, ordinal),
                ..Default::default()
            }),
            name,
            ..Default::default()
        });
    }
    if volumes.is_empty()
        && let Some(spec) = &mut pod.spec
    {
        spec.volumes = None;
    }
}

/// The pod with its identity restored; `None`: nobody has touched it.
pub(super) fn repaired(set: &StatefulSet, ordinal: i32, pod: &Pod) -> Option<Pod> {
    let labels = pod.metadata.labels.as_ref();
    let has = |key: &str, value: &str| labels.and_then(|l| l.get(key)).is_some_and(|v| v == value);
    if has(POD_NAME, &pod_name(set, ordinal)) && has(POD_INDEX, &ordinal.to_string()) {
        return None;
    }
    let mut pod = pod.clone();
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.into(), pod_name(set, ordinal));
    labels.insert(POD_INDEX.into(), ordinal.to_string());
    Some(pod)
}
