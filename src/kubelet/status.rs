//! A pod's status, computed from what the runtime has: pure.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, HostIP, Pod, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::observed::{Instance, Observed};
use crate::plan::{Verdict, sandbox_change};
use crate::pod::{ContainerKind, PodExt};
use crate::qos::QosClass;

pub(crate) use conditions::OWNED;
pub(crate) use containers::ID_PREFIX;

mod conditions;
mod containers;
mod phase;

/// Why a container could not be started, as its waiting state says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StartError {
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// All that a status depends on beside the pod itself.
pub(crate) struct Inputs<'a> {
    pub(crate) observed: &'a Observed,
    /// By container name.
    pub(crate) start_errors: &'a HashMap<String, StartError>,
    pub(crate) verdict: &'a dyn Fn(&Instance) -> Verdict,
    pub(crate) host_ips: &'a [String],
    /// The pod was stopped for good: what does not run never will.
    pub(crate) finished: bool,
    pub(crate) now: Timestamp,
}

/// Phase and reason forced from outside: eviction, a deadline, rejected admission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// The status that the pod should have now. Fields that other components own (conditions of other
/// types, nominatedNodeName, resize …) are carried over from the pod's current status.
pub(crate) fn compute(pod: &Pod, inputs: &Inputs<'_>, failure: Option<&Failure>) -> PodStatus {
    let old = pod.status();
    if let Some(failure) = failure
        && inputs.observed.containers.is_empty()
        && old.container_statuses.is_none()
    {
        return rejected(pod, failure);
    }
    let all = pod.containers();
    let list = |kind: ContainerKind| -> Option<Vec<ContainerStatus>> {
        let found: Vec<_> = all
            .iter()
            .filter(|(k, _)| *k == kind)
            .map(|(k, c)| containers::status(pod, *k, c, inputs))
            // An ephemeral container has a status from its first try on, as all others.
            .collect();
        (!found.is_empty()).then_some(found)
    };
    let init = list(ContainerKind::Init);
    let regular = list(ContainerKind::Regular);
    let ephemeral = list(ContainerKind::Ephemeral);
    let mut status = PodStatus {
        phase: None,
        init_container_statuses: init,
        container_statuses: regular,
        ephemeral_container_statuses: ephemeral,
        qos_class: Some(QosClass::of(pod).as_str().to_string()),
        start_time: old.start_time.clone().or(Some(whole(inputs.now))),
        host_ip: inputs.host_ips.first().cloned(),
        host_ips: Some(
            inputs
                .host_ips
                .iter()
                .map(|ip| HostIP { ip: ip.clone() })
                .collect(),
        ),
        observed_generation: pod.generation(),
        nominated_node_name: old.nominated_node_name.clone(),
        resource_claim_statuses: old.resource_claim_statuses.clone(),
        extended_resource_claim_status: old.extended_resource_claim_status.clone(),
        resize: old.resize.clone(),
        resources: old.resources.clone(),
        allocated_resources: old.allocated_resources.clone(),
        ..PodStatus::default()
    };
    set_pod_ips(pod, inputs, &mut status);
    let phase = if pod.is_terminal() {
        // A terminal phase is final.
        pod.phase().to_string()
    } else if failure.is_some() {
        "Failed".to_string()
    } else {
        phase::phase(pod, &status, inputs.finished).to_string()
    };
    let (reason, message) = match failure {
        Some(f) => (Some(f.reason.clone()), Some(f.message.clone())),
        None if pod.is_terminal() => (old.reason.clone(), old.message.clone()),
        None => (None, None),
    };
    status.phase = Some(phase);
    status.reason = reason;
    status.message = message;
    let has_sandbox = sandbox_change(pod, inputs.observed).is_none();
    status.conditions = Some(conditions::conditions(pod, &status, has_sandbox, inputs.now));
    status
}

/// A pod that was never started here says only that, and why.
fn rejected(pod: &Pod, failure: &Failure) -> PodStatus {
    PodStatus {
        phase: Some("Failed".into()),
        reason: Some(failure.reason.clone()),
        message: Some(failure.message.clone()),
        qos_class: Some(QosClass::of(pod).as_str().to_string()),
        observed_generation: pod.generation(),
        ..pod.status().clone()
    }
}

fn set_pod_ips(pod: &Pod, inputs: &Inputs<'_>, status: &mut PodStatus) {
    let old = pod.status();
    let current: Vec<String> = if pod.host_network() {
        // The machine's address counts once the sandbox is there.
        if inputs.observed.sandboxes.is_empty() && old.pod_ip.is_none() {
            Vec::new()
        } else {
            inputs.host_ips.to_vec()
        }
    } else {
        inputs
            .observed
            .sandbox()
            .filter(|s| s.ready)
            .map(|s| s.ips.clone())
            .unwrap_or_default()
    };
    if current.is_empty() {
        // A finished pod keeps showing the address it had.
        status.pod_ip.clone_from(&old.pod_ip);
        status.pod_ips.clone_from(&old.pod_ips);
    } else {
        status.pod_ip = current.first().cloned();
        status.pod_ips = Some(current.into_iter().map(|ip| PodIP { ip }).collect());
    }
}

/// A moment as the API keeps it: whole seconds. Finer ones would never compare equal to what is stored.
fn whole(moment: Timestamp) -> Time {
    Time(Timestamp::from_second(moment.as_second()).unwrap_or(moment))
}

#[cfg(test)]
mod tests;
