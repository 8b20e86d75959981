//! A Job's pods. Pure.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use rkind_client::owner;

use super::FINALIZER;
use crate::common::pods;

/// Annotation and label with an indexed pod's number.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Annotation: how often this index has failed before, for `backoffLimitPerIndex`.
pub(super) const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

pub(super) fn is_indexed(job: &Job) -> bool {
    job.spec.as_ref().and_then(|s| s.completion_mode.as_deref()) == Some("Indexed")
}

pub(super) fn index(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

/// How often the index of this pod had failed before it.
pub(super) fn earlier_failures(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations
        .and_then(|a| a.get(INDEX_FAILURES))
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

/// A new pod; `index` with its earlier failures for indexed Jobs.
pub(super) fn new_pod(job: &Job, index: Option<(i32, i32)>) -> Pod {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
    let spec = job.spec.clone().unwrap_or_default();
    let mut pod = pods::from_template(&spec.template, namespace, name, owner::controller_ref(job));
    pod.metadata
        .finalizers
        .get_or_insert_default()
        .push(FINALIZER.into());
    let Some((index, failures)) = index else {
        return pod;
    };
    pod.metadata.generate_name = Some(format!("{name}-{index}-"));
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.into(), index.to_string());
    if spec.backoff_limit_per_index.is_some() {
        annotations.insert(INDEX_FAILURES.into(), failures.to_string());
    }
    pod.metadata
        .labels
        .get_or_insert_default()
        .insert(INDEX.into(), index.to_string());
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.hostname = Some(format!("{name}-{index}"));
    pod_spec.containers.iter_mut().for_each(add_variable);
    pod_spec
        .init_containers
        .iter_mut()
        .flatten()
        .for_each(add_variable);
    pod
}

fn add_variable(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|v| v.name == INDEX_VARIABLE) {
        return;
    }
    variables.push(EnvVar {
        name: INDEX_VARIABLE.into(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: None,
                field_path: format!("metadata.labels['{INDEX}']"),
            }),
            ..Default::default()
        }),
    });
}
