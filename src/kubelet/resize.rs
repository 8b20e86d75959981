//! Changing requests and limits of running containers in place.
//!
//! <https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/>

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};

use crate::agent::Agent;
use crate::events::Warning;
use crate::observed::{Instance, Observed};
use crate::pod::{PodExt, find_status};
use crate::qos;

/// What the container runs with, as its status says, when that is not what its spec asks for.
fn actual(pod: &Pod, container: &Container, instance: &Instance) -> Option<ResourceRequirements> {
    let status = pod.status();
    let lists = [&status.container_statuses, &status.init_container_statuses];
    let known = lists
        .into_iter()
        .find_map(|l| find_status(l.as_deref().unwrap_or_default(), &container.name))?;
    let same = known
        .container_id
        .as_deref()
        .is_some_and(|id| id.ends_with(&format!("//{}", instance.id)));
    let running = known.state.as_ref().is_some_and(|s| s.running.is_some());
    let resources = known.resources.clone().filter(|_| same && running)?;
    let wanted = container.resources.clone().unwrap_or_default();
    let differs = resources.limits != wanted.limits || resources.requests != wanted.requests;
    differs.then_some(resources)
}

/// The container's new resources need a restart, by its own policy for a resource that changes.
pub(crate) fn needs_restart(pod: &Pod, container: &Container, instance: &Instance) -> bool {
    let Some(old) = actual(pod, container, instance) else {
        return false;
    };
    let new = container.resources.clone().unwrap_or_default();
    container
        .resize_policy
        .iter()
        .flatten()
        .filter(|p| p.restart_policy == "RestartContainer")
        .any(|p| {
            let name = &p.resource_name;
            let of = |list: &Option<crate::quantity::ResourceList>| {
                list.as_ref().and_then(|l| l.get(name)).cloned()
            };
            of(&old.limits) != of(&new.limits) || of(&old.requests) != of(&new.requests)
        })
}

/// Running containers whose limits can and have to be changed now.
pub(crate) fn pending<'a>(pod: &Pod, observed: &'a Observed) -> Vec<(Container, &'a Instance)> {
    let containers = pod.containers();
    let running = containers.into_iter().filter_map(|(_, container)| {
        let instance = observed.instance(&container.name).filter(|i| i.is_running())?;
        Some((container, instance))
    });
    running
        .filter(|(c, i)| actual(pod, c, i).is_some() && !needs_restart(pod, c, i))
        .collect()
}

impl Agent {
    /// Gives running containers the limits that their spec asks for now.
    pub(crate) async fn resize(&self, pod: &Pod, observed: &Observed) -> Result<(), String> {
        let pending = pending(pod, observed);
        if pending.is_empty() {
            return Ok(());
        }
        // The pod's own limit grows before its containers'; a container above a shrunken one is refused by the kernel.
        self.cgroups.ensure(pod).map_err(|e| e.to_string())?;
        for (container, instance) in pending {
            let resources = qos::container_resources(pod, &container, self.machine.memory);
            if let Err(error) = self
                .runtime
                .update_container_resources(&instance.id, resources)
                .await
            {
                let message = format!(
                    "Failed to resize container {}: {}",
                    container.name,
                    error.rpc_message()
                );
                self.recorder.event(pod, Warning, "ResizeError", message.clone());
                return Err(message);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
