//! What Services expect of a pod, and the moment it begins to give it.
//!
//! A container without a readiness probe is ready when it runs, but its program listens a little
//! later. Where status, endpoints and rules follow each other within milliseconds, that gap would
//! meet requests; so such a container of a pod behind a Service counts as ready once the ports
//! that the Service leads to are open, or after [`SETTLE`]: less than the second within which
//! upstream's kubelet notices a start at all.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rkind_cri::Runtime;
use tokio::time::{Instant, sleep};

use crate::pod::PodExt;

/// Longest wait for a program to open its ports.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);

/// Between two looks. The kernel tells nobody when a socket begins to listen.
const LOOK: Duration = Duration::from_millis(10);

/// The Services whose selector matches the pod.
fn selecting<'a>(pod: &'a Pod, services: &'a [Arc<Service>]) -> impl Iterator<Item = &'a Service> {
    let matches = |service: &&Service| {
        let selector = service.spec.as_ref().and_then(|s| s.selector.as_ref());
        service.metadata.namespace.as_deref() == Some(pod.namespace())
            && selector.is_some_and(|selector| {
                let labels = pod.metadata.labels.as_ref();
                !selector.is_empty()
                    && selector
                        .iter()
                        .all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))
            })
    };
    services.iter().map(Arc::as_ref).filter(matches)
}

/// Whether any Service leads to the pod.
pub(crate) fn serves(pod: &Pod, services: &[Arc<Service>]) -> bool {
    selecting(pod, services).next().is_some()
}

/// The pod's TCP ports that Services lead to, in order, each once.
pub(crate) fn ports(pod: &Pod, services: &[Arc<Service>]) -> Vec<u16> {
    let mut ports: Vec<u16> = selecting(pod, services)
        .flat_map(|service| service.spec.iter().flat_map(|s| s.ports.iter().flatten()))
        .filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP")
        .filter_map(|port| target(pod, port))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn target(pod: &Pod, port: &ServicePort) -> Option<u16> {
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let declared = pod
                .spec()
                .containers
                .iter()
                .flat_map(|c| c.ports.iter().flatten());
            declared
                .filter(|p| p.protocol.as_deref().unwrap_or("TCP") == "TCP")
                .find(|p| p.name.as_ref() == Some(name))?
                .container_port
        }
    };
    u16::try_from(number).ok().filter(|n| *n > 0)
}

/// Returns when all `ports` are open where the container `id` runs, or after [`SETTLE`]; at once
/// when the runtime doesn't say which process the container is.
pub(crate) async fn settled(runtime: &dyn Runtime, id: &str, ports: &[u16]) {
    let deadline = Instant::now() + SETTLE;
    let Some(pid) = process(runtime, id).await else {
        return;
    };
    while Instant::now() < deadline {
        let Some(open) = listening(pid) else { return };
        if ports.iter().all(|port| open.contains(port)) {
            return;
        }
        sleep(LOOK).await;
    }
}

/// The container's first process, as containerd and CRI-O tell it: in the verbose status' `info`.
async fn process(runtime: &dyn Runtime, id: &str) -> Option<u32> {
    let status = runtime.container_status(id, true).await.ok()?;
    let info: serde_json::Value = serde_json::from_str(status.info.get("info")?).ok()?;
    u32::try_from(info["pid"].as_u64()?).ok().filter(|pid| *pid > 0)
}

/// TCP ports that are listened on in the network namespace of a process; `None` once it is gone.
fn listening(pid: u32) -> Option<Vec<u16>> {
    let table = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/net/{name}"));
    let mut open = parse(&table("tcp").ok()?);
    open.extend(parse(&table("tcp6").unwrap_or_default()));
    Some(open)
}

/// Ports of the listening sockets in a table of `proc(5)`'s `/proc/net/tcp`.
fn parse(table: &str) -> Vec<u16> {
    const LISTEN: &str = "0A";
    let ports = table.lines().filter_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let (local, _remote, state) = (columns.next()?, columns.next()?, columns.next()?);
        let port = local.rsplit(':').next()?;
        u16::from_str_radix(port, 16).ok().filter(|_| state == LISTEN)
    });
    ports.collect()
}

#[cfg(test)]
mod tests;
