//! `status.conditions`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};

use super::phase::any_regular_started;
use crate::pod::{PodExt, find_status, is_sidecar};

/// The types this agent owns, in the order in which upstream lists them.
pub(crate) const OWNED: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

struct Finding {
    status: bool,
    reason: &'static str,
    message: String,
}

impl Finding {
    fn yes() -> Self {
        Self {
            status: true,
            reason: "",
            message: String::new(),
        }
    }

    fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: false,
            reason,
            message: message.into(),
        }
    }
}

/// All conditions: ours anew, those of others as they are. A transition time changes only with the status.
pub(super) fn conditions(
    pod: &Pod,
    status: &PodStatus,
    has_sandbox: bool,
    now: Timestamp,
) -> Vec<PodCondition> {
    let old = pod.status().conditions.as_deref().unwrap_or_default();
    let containers_ready = containers_ready(pod, status);
    let ready = if containers_ready.status {
        readiness_gates(pod, old)
    } else {
        Finding {
            status: false,
            reason: containers_ready.reason,
            message: containers_ready.message.clone(),
        }
    };
    let sandbox = if has_sandbox {
        Finding::yes()
    } else {
        Finding::no("", "")
    };
    let findings = [
        sandbox,
        initialized(pod, status),
        ready,
        containers_ready,
        Finding::yes(),
    ];
    let mut all: Vec<PodCondition> = OWNED
        .iter()
        .zip(findings)
        .map(|(kind, finding)| {
            let before = old.iter().find(|c| c.type_ == *kind);
            let value = if finding.status { "True" } else { "False" };
            let transition = match before {
                Some(c) if c.status == value => c.last_transition_time.clone(),
                _ => Some(super::whole(now)),
            };
            let filled = |text: String| (!text.is_empty()).then_some(text);
            PodCondition {
                type_: (*kind).to_string(),
                status: value.to_string(),
                reason: filled(finding.reason.to_string()),
                message: filled(finding.message),
                last_probe_time: None,
                last_transition_time: transition,
                observed_generation: pod.generation(),
            }
        })
        .collect();
    all.extend(old.iter().filter(|c| !OWNED.contains(&c.type_.as_str())).cloned());
    all
}

fn listed(names: &[&str]) -> String {
    format!("[{}]", names.join(" "))
}

fn terminal(phase: &str) -> Option<&'static str> {
    match phase {
        "Failed" => Some("PodFailed"),
        "Succeeded" => Some("PodCompleted"),
        _ => None,
    }
}

fn containers_ready(pod: &Pod, status: &PodStatus) -> Finding {
    let all: Vec<ContainerStatus> = status
        .container_statuses
        .iter()
        .flatten()
        .chain(status.init_container_statuses.iter().flatten())
        .cloned()
        .collect();
    if status.container_statuses.is_none() {
        return Finding::no("UnknownContainerStatuses", "");
    }
    let sidecars = pod
        .spec()
        .init_containers
        .iter()
        .flatten()
        .filter(|c| is_sidecar(c));
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    for container in sidecars.chain(&pod.spec().containers) {
        match find_status(&all, &container.name) {
            None => unknown.push(container.name.as_str()),
            Some(s) if !s.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    let phase = status.phase.as_deref().unwrap_or_default();
    if let Some(reason) = terminal(phase)
        && (phase == "Failed" || unknown.is_empty())
    {
        return Finding::no(reason, "");
    }
    let mut messages = Vec::new();
    if !unknown.is_empty() {
        messages.push(format!("containers with unknown status: {}", listed(&unknown)));
    }
    if !unready.is_empty() {
        messages.push(format!("containers with unready status: {}", listed(&unready)));
    }
    if messages.is_empty() {
        Finding::yes()
    } else {
        Finding::no("ContainersNotReady", messages.join(", "))
    }
}

fn readiness_gates(pod: &Pod, conditions: &[PodCondition]) -> Finding {
    let mut messages = Vec::new();
    for gate in pod.spec().readiness_gates.iter().flatten() {
        let kind = &gate.condition_type;
        match conditions.iter().find(|c| c.type_ == *kind) {
            None => messages.push(format!(
                "corresponding condition of pod readiness gate \"{kind}\" does not exist."
            )),
            Some(c) if c.status != "True" => messages.push(format!(
                "the status of pod readiness gate \"{kind}\" is not \"True\", but {}",
                c.status
            )),
            Some(_) => {}
        }
    }
    if messages.is_empty() {
        Finding::yes()
    } else {
        Finding::no("ReadinessGatesNotReady", messages.join(", "))
    }
}

fn initialized(pod: &Pod, status: &PodStatus) -> Finding {
    let inits = pod.spec().init_containers.as_deref().unwrap_or_default();
    if inits.is_empty() {
        return match status.phase.as_deref() {
            Some("Succeeded") => Finding {
                status: true,
                reason: "PodCompleted",
                message: String::new(),
            },
            _ => Finding::yes(),
        };
    }
    let statuses = status.init_container_statuses.as_deref().unwrap_or_default();
    if statuses.is_empty() {
        return Finding::no("UnknownContainerStatuses", "");
    }
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in inits {
        match find_status(statuses, &container.name) {
            None => unknown.push(container.name.as_str()),
            Some(s) => {
                let done = if is_sidecar(container) {
                    s.started == Some(true)
                } else {
                    s.ready
                };
                if !done {
                    incomplete.push(container.name.as_str());
                }
            }
        }
    }
    if status.phase.as_deref() == Some("Succeeded") && unknown.is_empty() {
        return Finding {
            status: true,
            reason: "PodCompleted",
            message: String::new(),
        };
    }
    if any_regular_started(status) {
        return Finding::yes();
    }
    let mut messages = Vec::new();
    if !unknown.is_empty() {
        messages.push(format!("containers with unknown status: {}", listed(&unknown)));
    }
    if !incomplete.is_empty() {
        messages.push(format!(
            "containers with incomplete status: {}",
            listed(&incomplete)
        ));
    }
    if messages.is_empty() {
        Finding::yes()
    } else {
        Finding::no("ContainersNotInitialized", messages.join(", "))
    }
}
