//! What a failed pod means under the Job's pod failure policy. Pure.

use k8s_openapi::api::batch::v1::{Job, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::common::pods;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One more failure.
    Count,
    /// As if it had not been.
    Ignore,
    /// Its index is lost.
    FailIndex,
    /// The whole Job is lost, with this message.
    FailJob(String),
}

pub(super) fn judge(job: &Job, pod: &Pod) -> Verdict {
    let policy = job.spec.as_ref().and_then(|s| s.pod_failure_policy.as_ref());
    for (i, rule) in policy.into_iter().flat_map(|p| &p.rules).enumerate() {
        if let Some(message) = matched(rule, i, pod) {
            return match rule.action.as_str() {
                "Ignore" => Verdict::Ignore,
                "FailIndex" => Verdict::FailIndex,
                "FailJob" => Verdict::FailJob(message),
                _ => Verdict::Count,
            };
        }
    }
    Verdict::Count
}

fn matched(rule: &PodFailurePolicyRule, number: usize, pod: &Pod) -> Option<String> {
    let place = format!(
        "{}/{}",
        pod.metadata.namespace.as_deref().unwrap_or_default(),
        pod.metadata.name.as_deref().unwrap_or_default()
    );
    let action = &rule.action;
    if let Some(codes) = &rule.on_exit_codes {
        let status = pod.status.as_ref()?;
        let lists = [&status.init_container_statuses, &status.container_statuses];
        let statuses = lists.into_iter().flatten().flatten();
        for container in statuses {
            if codes
                .container_name
                .as_ref()
                .is_some_and(|name| *name != container.name)
            {
                continue;
            }
            let Some(code) = exit_code(container).filter(|code| *code != 0) else {
                continue;
            };
            if codes.values.contains(&code) == (codes.operator == "In") {
                let name = &container.name;
                return Some(format!(
                    "Container {name} for pod {place} failed with exit code {code} matching {action} rule at index {number}"
                ));
            }
        }
        return None;
    }
    for pattern in rule.on_pod_conditions.iter().flatten() {
        let status = pattern.status.as_deref().unwrap_or("True");
        if pods::condition(pod, &pattern.type_).is_some_and(|c| c.status == status) {
            let kind = &pattern.type_;
            return Some(format!(
                "Pod {place} has condition {kind} matching {action} rule at index {number}"
            ));
        }
    }
    None
}

fn exit_code(container: &ContainerStatus) -> Option<i32> {
    Some(container.state.as_ref()?.terminated.as_ref()?.exit_code)
}
