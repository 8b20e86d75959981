//! Whether a pod bound to this node may run on it. The scheduler decides on a picture that may be
//! old, and a pod may name its node itself: the node has the last word.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod};
use kube::Api;

use crate::agent::Agent;
use crate::node;
use crate::observed::Observed;
use crate::pod::PodExt;
use crate::qos::pod_resources;
use crate::status::Failure;

/// Checks a pod that has not started yet; one that the runtime knows was admitted before.
pub(crate) async fn admit(agent: &Agent, pod: &Pod, observed: &Observed) -> Result<(), Failure> {
    if !observed.sandboxes.is_empty() || !observed.containers.is_empty() {
        return Ok(());
    }
    let others: Vec<_> = agent
        .pods
        .list()
        .into_iter()
        .filter(|p| p.uid() != pod.uid() && !p.is_terminal() && is_running_here(p))
        .collect();
    let others: Vec<&Pod> = others.iter().map(AsRef::as_ref).collect();
    if wants_certain_nodes(pod) {
        let api: Api<Node> = Api::all(agent.client.clone());
        // Without an answer, the labels that this agent registered are the best guess.
        let labels = match api.get_opt(&agent.options.node_name).await {
            Ok(Some(node)) => node.metadata.labels.unwrap_or_default(),
            _ => node::labels(&agent.options),
        };
        if !fits_node(pod, &agent.options.node_name, &labels) {
            return Err(Failure {
                reason: "NodeAffinity".into(),
                message: "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
                    .into(),
            });
        }
    }
    if has_port_conflict(pod, &others) {
        return Err(Failure {
            reason: "NodePorts".into(),
            message: "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
                .into(),
        });
    }
    if let Some(name) = forbidden_sysctl(pod) {
        return Err(Failure {
            reason: "SysctlForbidden".into(),
            message: format!("forbidden sysctl: \"{name}\" not allowlisted"),
        });
    }
    let capacity = (
        agent.machine.cpu,
        agent.machine.memory,
        i64::from(agent.options.max_pods),
    );
    fits(pod, &others, capacity)
}

fn is_running_here(pod: &Pod) -> bool {
    // Pods admitted before have a start time; those after us in line must not count against us.
    pod.status().start_time.is_some()
}

fn required_terms(pod: &Pod) -> Option<&Vec<NodeSelectorTerm>> {
    let affinity = pod.spec().affinity.as_ref()?.node_affinity.as_ref()?;
    Some(
        &affinity
            .required_during_scheduling_ignored_during_execution
            .as_ref()?
            .node_selector_terms,
    )
}

fn wants_certain_nodes(pod: &Pod) -> bool {
    pod.spec().node_selector.as_ref().is_some_and(|s| !s.is_empty()) || required_terms(pod).is_some()
}

/// Node selector and required node affinity.
pub(crate) fn fits_node(pod: &Pod, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let selected = pod
        .spec()
        .node_selector
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    let field = |r: &NodeSelectorRequirement| (r.key == "metadata.name").then_some(name);
    let label = |r: &NodeSelectorRequirement| labels.get(&r.key).map(String::as_str);
    selected
        && required_terms(pod).is_none_or(|terms| {
            terms.iter().any(|term| {
                let expressions = term.match_expressions.as_deref().unwrap_or_default();
                let fields = term.match_fields.as_deref().unwrap_or_default();
                // A term that asks for nothing matches nothing.
                !(expressions.is_empty() && fields.is_empty())
                    && expressions.iter().all(|r| holds(r, label(r)))
                    && fields.iter().all(|r| holds(r, field(r)))
            })
        })
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|v| values.iter().any(|wanted| wanted == v));
    let number = |text: Option<&str>| text.and_then(|t| t.parse::<i64>().ok());
    let bound = number(values.first().map(String::as_str));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => number(value).zip(bound).is_some_and(|(v, b)| v > b),
        "Lt" => number(value).zip(bound).is_some_and(|(v, b)| v < b),
        _ => false,
    }
}

/// Settings that touch nothing outside of a pod.
/// <https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/#safe-and-unsafe-sysctls>
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// The first setting that a pod may not make here. Both spellings, with dots and slashes, are one.
pub(crate) fn forbidden_sysctl(pod: &Pod) -> Option<String> {
    let context = pod.spec().security_context.as_ref()?;
    let wanted = context.sysctls.iter().flatten().map(|s| s.name.clone());
    let namespaced = |name: &str| {
        if name.starts_with("net.") {
            !pod.host_network()
        } else {
            pod.spec().host_ipc != Some(true)
        }
    };
    wanted.into_iter().find(|name| {
        let dotted = name.replace('/', ".");
        !SAFE_SYSCTLS.contains(&dotted.as_str()) || !namespaced(&dotted)
    })
}

type HostPort = (String, String, i32);

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let containers = pod.containers();
    let ports = containers.iter().flat_map(|(_, c)| c.ports.iter().flatten());
    ports
        .filter_map(|p| {
            let port = p.host_port.filter(|port| *port > 0)?;
            let ip = p
                .host_ip
                .clone()
                .filter(|ip| !ip.is_empty())
                .unwrap_or_else(|| "0.0.0.0".into());
            Some((ip, p.protocol.clone().unwrap_or_else(|| "TCP".into()), port))
        })
        .collect()
}

/// Two pods want the same port of the node.
pub(crate) fn has_port_conflict(pod: &Pod, others: &[&Pod]) -> bool {
    let wanted = host_ports(pod);
    let any = |ip: &str| ip == "0.0.0.0" || ip == "::";
    let clash =
        |a: &HostPort, b: &HostPort| a.1 == b.1 && a.2 == b.2 && (a.0 == b.0 || any(&a.0) || any(&b.0));
    !wanted.is_empty()
        && others
            .iter()
            .flat_map(|p| host_ports(p))
            .any(|taken| wanted.iter().any(|w| clash(w, &taken)))
}

/// Whether the machine has room. `capacity`: milli-CPUs, bytes, pods.
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
