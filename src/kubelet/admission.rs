//! Whether a pod bound to this node may run on it. The scheduler decides on a picture that may be
//! old, and a pod may name its node itself: the node has the last word.

use k8s_openapi::api::core::v1::Pod;

use crate::agent::Agent;
use crate::observed::Observed;
use crate::pod::PodExt;
use crate::qos::pod_resources;
use crate::status::Failure;

/// Checks a pod that has not started yet; one that the runtime knows was admitted before.
pub(crate) fn admit(agent: &Agent, pod: &Pod, observed: &Observed) -> Result<(), Failure> {
    if !observed.sandboxes.is_empty() || !observed.containers.is_empty() {
        return Ok(());
    }
    let others: Vec<_> = agent
        .pods
        .list()
        .into_iter()
        .filter(|p| p.uid() != pod.uid() && !p.is_terminal() && is_running_here(p))
        .collect();
    let capacity = (
        agent.machine.cpu,
        agent.machine.memory,
        i64::from(agent.options.max_pods),
    );
    fits(
        pod,
        &others.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
        capacity,
    )
}

fn is_running_here(pod: &Pod) -> bool {
    // Pods admitted before have a start time; those after us in line must not count against us.
    pod.status().start_time.is_some()
}

/// The pure part. `capacity`: milli-CPUs, bytes, pods.
pub(crate) fn fits(pod: &Pod, others: &[&Pod], capacity: (i64, i64, i64)) -> Result<(), Failure> {
    let (cpu, memory, pods) = capacity;
    let wanted = pod_resources(pod);
    let used = others
        .iter()
        .map(|p| pod_resources(p))
        .fold((0, 0), |sum, r| (sum.0 + r.cpu_request, sum.1 + r.memory_request));
    let lacking = |name: &str, requested: i64, used: i64, capacity: i64| {
        Err(Failure {
            reason: format!("OutOf{name}"),
            message: format!(
                "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
            ),
        })
    };
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if count + 1 > pods {
        return lacking("pods", 1, count, pods);
    }
    if wanted.cpu_request > 0 && used.0 + wanted.cpu_request > cpu {
        return lacking("cpu", wanted.cpu_request, used.0, cpu);
    }
    if wanted.memory_request > 0 && used.1 + wanted.memory_request > memory {
        return lacking("memory", wanted.memory_request, used.1, memory);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
