//! `status.phase`.

use k8s_openapi::api::core::v1::{Pod, PodStatus};

use crate::pod::{PodExt, find_status, is_sidecar};

/// Any regular container is running or has run.
pub(super) fn any_regular_started(status: &PodStatus) -> bool {
    status.container_statuses.iter().flatten().any(|s| {
        let state = s.state.clone().unwrap_or_default();
        let last = s.last_state.clone().unwrap_or_default();
        // A container that started and ended waits with a last state.
        state.running.is_some() || state.terminated.is_some() || last.terminated.is_some()
    })
}

/// The phase that the container statuses add up to. `finished`: nothing will be started again.
pub(super) fn phase(pod: &Pod, status: &PodStatus, finished: bool) -> &'static str {
    let policy = pod.restart_policy();
    let inits = status.init_container_statuses.as_deref().unwrap_or_default();
    let regular = status.container_statuses.as_deref().unwrap_or_default();
    let (mut pending_init, mut pending_sidecar, mut failed_init) = (0, 0, 0);
    for container in pod.spec().init_containers.iter().flatten() {
        let state = find_status(inits, &container.name);
        let current = state.and_then(|s| s.state.clone()).unwrap_or_default();
        let last = state.and_then(|s| s.last_state.clone()).unwrap_or_default();
        if is_sidecar(container) {
            let up = current.running.is_some() && state.is_some_and(|s| s.started == Some(true));
            let ended = current.terminated.is_some() || last.terminated.is_some();
            pending_sidecar += i32::from(!up && !ended);
        } else if let Some(terminated) = &current.terminated {
            failed_init += i32::from(terminated.exit_code != 0);
        } else if let (Some(_), Some(terminated)) = (&current.waiting, &last.terminated) {
            if terminated.exit_code == 0 {
                pending_init += 1;
            } else {
                failed_init += 1;
                pending_init += i32::from(policy != "Never");
            }
        } else {
            pending_init += 1;
        }
    }
    let (mut unknown, mut running, mut waiting, mut stopped, mut succeeded) = (0, 0, 0, 0, 0);
    for container in &pod.spec().containers {
        let Some(state) = find_status(regular, &container.name) else {
            unknown += 1;
            continue;
        };
        let current = state.state.clone().unwrap_or_default();
        let last = state.last_state.clone().unwrap_or_default();
        if current.running.is_some() {
            running += 1;
        } else if let Some(terminated) = current.terminated {
            stopped += 1;
            succeeded += i32::from(terminated.exit_code == 0);
        } else if current.waiting.is_some() {
            if last.terminated.is_some() {
                stopped += 1;
            } else {
                waiting += 1;
            }
        } else {
            unknown += 1;
        }
    }
    if failed_init > 0 && policy == "Never" {
        return "Failed";
    }
    let started = any_regular_started(status);
    if finished && running == 0 && pending_init == 0 && waiting == 0 && stopped > 0 {
        return if stopped == succeeded {
            "Succeeded"
        } else {
            "Failed"
        };
    }
    if finished && running == 0 {
        return "Failed";
    }
    if (pending_init > 0 || pending_sidecar > 0) && !started || waiting > 0 {
        "Pending"
    } else if running > 0 && unknown == 0 {
        "Running"
    } else if stopped > 0 && unknown == 0 {
        match (policy, stopped == succeeded) {
            ("Always", _) => "Running",
            (_, true) => "Succeeded",
            ("Never", false) => "Failed",
            _ => "Running",
        }
    } else {
        "Pending"
    }
}
