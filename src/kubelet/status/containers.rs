//! One entry of `status.containerStatuses`.

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, Pod, VolumeMountStatus,
};

use super::{Inputs, whole};
use crate::observed::{Instance, RunState};
use crate::pod::{ContainerKind, PodExt, find_status, is_sidecar};

/// What containers' ids begin with.
pub(crate) const ID_PREFIX: &str = "containerd://";

fn waiting(reason: &str, message: &str) -> ContainerState {
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_string());
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: filled(reason),
            message: filled(message),
        }),
        ..ContainerState::default()
    }
}

fn terminated(instance: &Instance) -> ContainerState {
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_string());
    let reason = match instance.reason.as_str() {
        "" if instance.exit_code == 0 => "Completed",
        "" => "Error",
        reason => reason,
    };
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: Some(format!("{ID_PREFIX}{}", instance.id)),
            exit_code: instance.exit_code,
            finished_at: instance.finished_at.map(whole),
            message: filled(&instance.message),
            reason: filled(reason),
            signal: None,
            started_at: instance.started_at.map(whole),
        }),
        ..ContainerState::default()
    }
}

fn state_of(instance: &Instance, default_reason: &str) -> ContainerState {
    match instance.state {
        RunState::Running => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: instance.started_at.map(whole),
            }),
            ..ContainerState::default()
        },
        RunState::Exited => terminated(instance),
        RunState::Created => waiting(default_reason, ""),
        RunState::Unknown => terminated(&Instance {
            exit_code: 137,
            reason: "ContainerStatusUnknown".into(),
            message: "The container could not be located when the pod was terminated".into(),
            ..instance.clone()
        }),
    }
}

fn old_status<'a>(pod: &'a Pod, kind: ContainerKind, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status();
    let list = match kind {
        ContainerKind::Init => &status.init_container_statuses,
        ContainerKind::Regular => &status.container_statuses,
        ContainerKind::Ephemeral => &status.ephemeral_container_statuses,
    };
    find_status(list.as_deref().unwrap_or_default(), name)
}

pub(super) fn status(
    pod: &Pod,
    kind: ContainerKind,
    container: &Container,
    inputs: &Inputs<'_>,
) -> ContainerStatus {
    let has_init = !pod
        .spec()
        .init_containers
        .as_deref()
        .unwrap_or_default()
        .is_empty();
    let default_reason = if has_init {
        "PodInitializing"
    } else {
        "ContainerCreating"
    };
    let old = old_status(pod, kind, &container.name);
    let mut instances = inputs.observed.instances(&container.name);
    let current = instances.next();
    let previous = instances.find(|i| i.state == RunState::Exited);

    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        last_state: Some(ContainerState::default()),
        ..ContainerStatus::default()
    };
    match current {
        Some(instance) => {
            status.image.clone_from(&instance.image);
            status.image_id.clone_from(&instance.image_id);
            status.container_id = Some(format!("{ID_PREFIX}{}", instance.id));
            status.restart_count = instance.restart_count;
            status.state = Some(state_of(instance, default_reason));
            status.last_state = Some(match previous {
                Some(previous) => terminated(previous),
                // The runtime has forgotten the former attempt: what was known stays.
                None => old
                    .filter(|o| instance.restart_count > 0 && o.restart_count <= instance.restart_count)
                    .and_then(|o| remembered(o, &instance.id))
                    .unwrap_or_default(),
            });
        }
        None => {
            status.state = Some(waiting(default_reason, ""));
            if let Some(old) = old {
                status.restart_count = old.restart_count;
                status.image_id.clone_from(&old.image_id);
                lost(old, pod, inputs.finished, &mut status);
            }
        }
    }
    if !inputs.finished
        && let Some(error) = inputs.start_errors.get(&container.name)
        && current.is_none_or(|i| !i.is_running())
    {
        let before = status.state.take().unwrap_or_default();
        if before.terminated.is_some() {
            status.last_state = Some(before);
        }
        status.state = Some(waiting(&error.reason, &error.message));
    }
    if inputs.finished
        && status.state.as_ref().is_some_and(|s| s.waiting.is_some())
        && kind == ContainerKind::Regular
    {
        // What was created but never ran, or was never there, is gone for good now.
        status.state = Some(never_located(status.container_id.clone()));
    }
    readiness(kind, container, current, inputs, &mut status);
    resources(container, &mut status);
    status.volume_mounts = mounts(container);
    status
}

fn never_located(container_id: Option<String>) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id,
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".into()),
            message: Some("The container could not be located when the pod was terminated".into()),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

/// The termination that an older status tells of, unless it is the current instance's own.
fn remembered(old: &ContainerStatus, current_id: &str) -> Option<ContainerState> {
    let of_other = |state: &ContainerState| {
        let id = state
            .terminated
            .as_ref()
            .and_then(|t| t.container_id.as_deref())
            .unwrap_or_default();
        state.terminated.is_some() && id != format!("{ID_PREFIX}{current_id}")
    };
    [old.state.clone(), old.last_state.clone()]
        .into_iter()
        .flatten()
        .find(of_other)
}

/// A container that was there and is not any more.
fn lost(old: &ContainerStatus, pod: &Pod, finished: bool, status: &mut ContainerStatus) {
    let state = old.state.clone().unwrap_or_default();
    if state.terminated.is_some() {
        let container_id = old.container_id.clone();
        if finished || pod.is_terminal() || pod.restart_policy() == "Never" {
            status.state = Some(state);
            status.container_id = container_id;
            status.last_state.clone_from(&old.last_state);
        } else {
            status.last_state = Some(state);
        }
    } else if state.running.is_some() {
        status.last_state = Some(ContainerState {
            terminated: Some(ContainerStateTerminated {
                container_id: old.container_id.clone(),
                exit_code: 137,
                reason: Some("ContainerStatusUnknown".into()),
                message: Some("The container could not be located when the pod was deleted.  The container used to be Running".into()),
                ..ContainerStateTerminated::default()
            }),
            ..ContainerState::default()
        });
        status.restart_count = old.restart_count + 1;
    } else if old.last_state.as_ref().is_some_and(|s| s.terminated.is_some()) {
        status.last_state.clone_from(&old.last_state);
    }
}

fn readiness(
    kind: ContainerKind,
    container: &Container,
    current: Option<&Instance>,
    inputs: &Inputs<'_>,
    status: &mut ContainerStatus,
) {
    let running = current.filter(|i| i.is_running());
    let verdict = running.map(|i| (inputs.verdict)(i));
    let started = verdict.is_some_and(|v| v.started);
    let completed = status
        .state
        .as_ref()
        .and_then(|s| s.terminated.as_ref())
        .is_some_and(|t| t.exit_code == 0);
    match kind {
        ContainerKind::Ephemeral => status.ready = false,
        ContainerKind::Init if !is_sidecar(container) => {
            status.ready = completed;
            status.started = Some(started);
        }
        _ => {
            status.ready = verdict.is_some_and(|v| v.started && v.ready);
            status.started = Some(started);
        }
    }
}

fn resources(container: &Container, status: &mut ContainerStatus) {
    let resources = container.resources.clone().unwrap_or_default();
    let requests = resources.requests.clone().filter(|r| !r.is_empty());
    if status.state.as_ref().is_some_and(|s| s.running.is_some()) {
        status.allocated_resources = requests;
    }
    status.resources = Some(resources);
}

fn mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts: Vec<_> = container
        .volume_mounts
        .iter()
        .flatten()
        .map(|m| {
            let read_only = m.read_only.unwrap_or(false);
            VolumeMountStatus {
                mount_path: m.mount_path.clone(),
                name: m.name.clone(),
                read_only: m.read_only.filter(|r| *r),
                recursive_read_only: read_only.then(|| "Disabled".to_string()),
            }
        })
        .collect();
    (!mounts.is_empty()).then_some(mounts)
}
