//! What to do next for one pod: a pure function of what is wanted and what there is.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::observed::{Instance, Observed, RunState};
use crate::pod::{ContainerKind, PodExt, is_sidecar};
use crate::resize::needs_restart;

/// What the probes say of one container instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The startup probe has succeeded, or there is none.
    pub(crate) started: bool,
    /// The readiness probe's last result, or true without one (and started).
    pub(crate) ready: bool,
    /// The liveness probe has failed for good.
    pub(crate) liveness_failed: bool,
    /// The startup probe has failed for good.
    pub(crate) startup_failed: bool,
}

impl Verdict {
    /// What is true without probes.
    #[cfg(test)]
    pub(crate) const FINE: Self = Self {
        started: true,
        ready: true,
        liveness_failed: false,
        startup_failed: false,
    };
}

/// Why a container is stopped: its wording in events, and which grace period counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KillReason {
    Changed,
    Liveness,
    Startup,
    Broken,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) reason: KillReason,
    /// For the event.
    pub(crate) message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) kind: ContainerKind,
    pub(crate) name: String,
}

/// Steps in the order in which they are carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Stop all containers and the sandbox.
    pub(crate) kill_pod: bool,
    /// Make a sandbox with this attempt number.
    pub(crate) create_sandbox: Option<u32>,
    pub(crate) kill: Vec<Kill>,
    pub(crate) start: Vec<Start>,
}

impl Plan {
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether the pod needs a new sandbox, and that one's attempt number.
pub(crate) fn sandbox_change(pod: &Pod, observed: &Observed) -> Option<u32> {
    let Some(newest) = observed.sandbox() else {
        return Some(0);
    };
    let next = newest.attempt + 1;
    if observed.sandboxes.iter().filter(|s| s.ready).count() > 1 || !newest.ready {
        return Some(next);
    }
    if newest.host_network != pod.host_network() {
        return Some(next);
    }
    // A sandbox whose network is gone (the machine was restarted) is of no use.
    if !pod.host_network() && newest.ips.is_empty() {
        return Some(next);
    }
    None
}

/// Whether a container that is not running is to be started (again).
pub(crate) fn should_start(pod: &Pod, container: &Container, last: Option<&Instance>) -> bool {
    let Some(last) = last else { return true };
    match last.state {
        RunState::Running => return false,
        RunState::Created | RunState::Unknown => return true,
        RunState::Exited => {}
    }
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else { continue };
        let listed = codes.values.iter().flatten().any(|code| *code == last.exit_code);
        let matches = if codes.operator == "NotIn" {
            !listed
        } else {
            listed
        };
        if matches {
            return rule.action == "Restart" || rule.action == "RestartAllContainers";
        }
    }
    match container
        .restart_policy
        .as_deref()
        .unwrap_or_else(|| pod.restart_policy())
    {
        "Never" => false,
        "OnFailure" => last.exit_code != 0,
        _ => true,
    }
}

/// The next steps of a pod that is to run.
pub(crate) fn plan(pod: &Pod, observed: &Observed, verdict: &dyn Fn(&Instance) -> Verdict) -> Plan {
    let mut plan = Plan::default();
    let spec = pod.spec();
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    if let Some(attempt) = sandbox_change(pod, observed) {
        let wanted: Vec<&Container> = spec
            .containers
            .iter()
            .filter(|c| should_start(pod, c, not_running(observed.instance(&c.name))))
            .collect();
        let never_again = pod.restart_policy() == "Never" && attempt != 0 && !observed.containers.is_empty();
        plan.kill_pod = !observed.sandboxes.is_empty() && !observed.is_stopped();
        if wanted.is_empty()
            || (never_again && !has_own_policy(pod))
            || init_failed_for_good(pod, observed, None)
        {
            plan.kill_pod = !observed.is_stopped();
            return plan;
        }
        plan.create_sandbox = Some(attempt);
        if let Some(first) = inits.first() {
            plan.start.push(Start {
                kind: ContainerKind::Init,
                name: first.name.clone(),
            });
        } else {
            let starts = wanted.into_iter().map(|c| Start {
                kind: ContainerKind::Regular,
                name: c.name.clone(),
            });
            plan.start.extend(starts);
        }
        return plan;
    }
    let Some(sandbox) = observed.sandbox().map(|s| s.id.clone()) else {
        return plan;
    };

    for ephemeral in spec.ephemeral_containers.iter().flatten() {
        if observed.instance(&ephemeral.name).is_none() {
            plan.start.push(Start {
                kind: ContainerKind::Ephemeral,
                name: ephemeral.name.clone(),
            });
        }
    }
    let in_sandbox = |name: &str| {
        observed
            .containers
            .iter()
            .find(|i| i.name == name && i.sandbox_id == sandbox)
    };
    let initialized_before = spec
        .containers
        .iter()
        .any(|c| in_sandbox(&c.name).is_some_and(|i| i.state != RunState::Created));
    match plan_inits(pod, inits, &in_sandbox, initialized_before, verdict, &mut plan) {
        Inits::Failed => {
            // Nothing will ever start: free what the pod holds.
            return Plan {
                kill_pod: !observed.is_stopped(),
                ..Plan::default()
            };
        }
        Inits::Waiting => return plan,
        Inits::Done => {}
    }

    let mut alive = 0;
    let mut starts = 0;
    for container in &spec.containers {
        let last = observed.instance(&container.name);
        let current = last.filter(|i| i.sandbox_id == sandbox);
        match current {
            Some(instance) if instance.is_running() => {
                let Some((reason, mut message)) = trouble(pod, container, instance, verdict(instance)) else {
                    alive += 1;
                    continue;
                };
                let again = restarts_after_kill(pod, container);
                if again {
                    message.push_str(", will be restarted");
                    starts += 1;
                    plan.start.push(Start {
                        kind: ContainerKind::Regular,
                        name: container.name.clone(),
                    });
                }
                plan.kill.push(Kill {
                    id: instance.id.clone(),
                    name: container.name.clone(),
                    reason,
                    message,
                });
            }
            _ => {
                if should_start(pod, container, not_running(last)) {
                    plan.kill.extend(current.filter(|i| is_broken(i)).map(broken));
                    starts += 1;
                    plan.start.push(Start {
                        kind: ContainerKind::Regular,
                        name: container.name.clone(),
                    });
                }
            }
        }
    }
    if alive == 0 && starts == 0 && plan.kill.is_empty() {
        return Plan {
            kill_pod: !observed.is_stopped(),
            ..Plan::default()
        };
    }
    plan
}

/// A container of a sandbox that is going counts as ended, whatever the runtime still says.
fn not_running(last: Option<&Instance>) -> Option<&Instance> {
    last.filter(|i| !i.is_running())
}

fn has_own_policy(pod: &Pod) -> bool {
    pod.spec()
        .containers
        .iter()
        .any(|c| c.restart_policy.is_some() || c.restart_policy_rules.is_some())
}

fn is_broken(instance: &Instance) -> bool {
    matches!(instance.state, RunState::Created | RunState::Unknown)
}

fn broken(instance: &Instance) -> Kill {
    let message = format!(
        "Container {} is in unknown state, try killing it before restart",
        instance.name
    );
    Kill {
        id: instance.id.clone(),
        name: instance.name.clone(),
        reason: KillReason::Broken,
        message,
    }
}

fn trouble(
    pod: &Pod,
    container: &Container,
    instance: &Instance,
    verdict: Verdict,
) -> Option<(KillReason, String)> {
    let name = &container.name;
    if !instance.hash.is_empty() && instance.hash != hash(container) {
        Some((
            KillReason::Changed,
            format!("Container {name} definition changed"),
        ))
    } else if needs_restart(pod, container, instance) {
        Some((
            KillReason::Changed,
            format!("Container {name} resize requires restart"),
        ))
    } else if verdict.liveness_failed {
        Some((
            KillReason::Liveness,
            format!("Container {name} failed liveness probe"),
        ))
    } else if verdict.startup_failed {
        Some((
            KillReason::Startup,
            format!("Container {name} failed startup probe"),
        ))
    } else {
        None
    }
}

fn restarts_after_kill(pod: &Pod, container: &Container) -> bool {
    container
        .restart_policy
        .as_deref()
        .unwrap_or_else(|| pod.restart_policy())
        != "Never"
}

fn init_failed_for_good(pod: &Pod, observed: &Observed, sandbox: Option<&str>) -> bool {
    let inits = pod.spec().init_containers.as_deref().unwrap_or_default();
    inits.iter().filter(|c| !is_sidecar(c)).any(|c| {
        let last = observed
            .instances(&c.name)
            .find(|i| sandbox.is_none_or(|s| i.sandbox_id == s));
        last.is_some_and(|i| i.failed() && !should_start(pod, c, Some(i)))
    })
}

enum Inits {
    Done,
    Waiting,
    Failed,
}

/// Init containers one after the other; a sidecar only has to have started.
fn plan_inits<'a>(
    pod: &Pod,
    inits: &[Container],
    in_sandbox: &dyn Fn(&str) -> Option<&'a Instance>,
    initialized_before: bool,
    verdict: &dyn Fn(&Instance) -> Verdict,
    plan: &mut Plan,
) -> Inits {
    for container in inits {
        let sidecar = is_sidecar(container);
        if initialized_before && !sidecar {
            continue;
        }
        let last = in_sandbox(&container.name);
        let start = Start {
            kind: ContainerKind::Init,
            name: container.name.clone(),
        };
        match last {
            Some(i) if i.state == RunState::Exited && !sidecar => {
                if i.exit_code == 0 {
                    continue;
                }
                if !should_start(pod, container, Some(i)) {
                    return Inits::Failed;
                }
                plan.start.push(start);
                return Inits::Waiting;
            }
            Some(i) if i.is_running() => {
                if !sidecar {
                    return Inits::Waiting;
                }
                let now = verdict(i);
                if let Some((reason, mut message)) = trouble(pod, container, i, now) {
                    message.push_str(", will be restarted");
                    plan.kill.push(Kill {
                        id: i.id.clone(),
                        name: i.name.clone(),
                        reason,
                        message,
                    });
                    plan.start.push(start);
                } else if now.started {
                    continue;
                }
            }
            _ => {
                plan.kill.extend(last.filter(|i| is_broken(i)).map(broken));
                plan.start.push(start);
            }
        }
        if !initialized_before {
            return Inits::Waiting;
        }
    }
    Inits::Done
}

/// Identifies the parts of a container whose change restarts it. Kubernetes lets only the image
/// (and resources, in place) of a running pod change.
pub(crate) fn hash(container: &Container) -> String {
    use sha2::Digest;
    let text = format!(
        "{}\n{}",
        container.name,
        container.image.as_deref().unwrap_or_default()
    );
    let digest = sha2::Sha256::digest(text.as_bytes());
    digest.iter().take(4).map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;
