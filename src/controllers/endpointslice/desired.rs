//! Which endpoints a Service should have. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::common::pods;

pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";

/// All endpoints of one address family that have the same ports.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    /// `IPv4` or `IPv6`.
    pub(crate) address_type: String,
    pub(crate) ports: Vec<EndpointPort>,
    pub(crate) endpoints: Vec<Endpoint>,
}

/// Whether a change of a pod is one that no Service can see.
pub(crate) fn same_for_services(old: &Pod, new: &Pod) -> bool {
    let facts = |pod: &Pod| {
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        (
            pod.metadata.uid.clone(),
            pod.metadata.labels.clone(),
            pod.metadata.deletion_timestamp.is_some(),
            pods::is_ready(pod),
            pods::is_terminal(pod),
            status.and_then(|s| s.pod_ips.clone()),
            status.and_then(|s| s.pod_ip.clone()),
            spec.and_then(|s| s.node_name.clone()),
            spec.and_then(|s| s.hostname.clone()),
        )
    };
    facts(old) == facts(new)
}

/// The address families of a Service, `IPv4` / `IPv6`.
pub(crate) fn families(service: &Service) -> Vec<String> {
    let spec = service.spec.as_ref();
    let families = spec.and_then(|s| s.ip_families.clone()).unwrap_or_default();
    if !families.is_empty() {
        return families;
    }
    let address = spec
        .and_then(|s| s.cluster_ip.as_deref())
        .and_then(|ip| ip.parse::<IpAddr>().ok());
    vec![
        if address.is_some_and(|a| a.is_ipv6()) {
            "IPv6"
        } else {
            "IPv4"
        }
        .to_owned(),
    ]
}

/// Whether the Service has no virtual address.
pub(crate) fn is_headless(service: &Service) -> bool {
    !service
        .spec
        .as_ref()
        .and_then(|s| s.cluster_ip.as_deref())
        .is_some_and(|ip| !ip.is_empty() && ip != "None")
}

/// The pod's addresses of a family.
pub(crate) fn addresses(pod: &Pod, family: &str) -> Vec<String> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let mut all: Vec<String> = status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect();
    if all.is_empty() {
        all.extend(status.pod_ip.clone());
    }
    all.retain(|ip| {
        ip.parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_ipv6() == (family == "IPv6"))
    });
    all
}

/// The pod's number for a Service port, by name when `targetPort` is one.
pub(crate) fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    match port.target_port.as_ref() {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let spec = pod.spec.as_ref()?;
            // Sidecars are init containers that stay.
            let sidecars = spec
                .init_containers
                .iter()
                .flatten()
                .filter(|c| c.restart_policy.as_deref() == Some("Always"));
            spec.containers
                .iter()
                .chain(sidecars)
                .flat_map(|container| container.ports.iter().flatten())
                .find(|p| {
                    p.name.as_deref() == Some(name) && p.protocol.as_deref().unwrap_or("TCP") == protocol
                })
                .map(|p| p.container_port)
        }
    }
}

/// The ports of a Service as this pod has them. A port the pod doesn't have is left out.
pub(crate) fn endpoint_ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.as_ref().and_then(|s| s.ports.as_ref());
    ports
        .into_iter()
        .flatten()
        .filter_map(|port| {
            Some(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(target_port(pod, port)?),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

/// The hostname by which DNS knows the pod within the Service.
pub(crate) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let matches = spec.subdomain.as_deref() == service.metadata.name.as_deref()
        && pod.metadata.namespace == service.metadata.namespace;
    spec.hostname.clone().filter(|name| matches && !name.is_empty())
}

pub(crate) fn target_ref(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..Default::default()
    }
}

fn endpoint(
    service: &Service,
    pod: &Pod,
    addresses: Vec<String>,
    zone: &dyn Fn(&str) -> Option<String>,
) -> Endpoint {
    let node = pod
        .spec
        .as_ref()
        .and_then(|s| s.node_name.clone())
        .filter(|n| !n.is_empty());
    let serving = pods::is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let regardless = service.spec.as_ref().and_then(|s| s.publish_not_ready_addresses) == Some(true);
    Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(regardless || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(service, pod),
        zone: node.as_deref().and_then(zone),
        node_name: node,
        target_ref: Some(target_ref(pod)),
        ..Default::default()
    }
}

/// What the Service should have, grouped by what must share a slice. A family without endpoints has
/// one empty group, so that a Service always has a slice. `zone` gives a node's zone.
pub(crate) fn slices(
    service: &Service,
    selected: &[Arc<Pod>],
    zone: &dyn Fn(&str) -> Option<String>,
) -> Vec<Group> {
    let mut all = Vec::new();
    for family in families(service) {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for pod in selected.iter().filter(|pod| !pods::is_terminal(pod)) {
            let addresses = addresses(pod, &family);
            if addresses.is_empty() {
                continue;
            }
            let ports = endpoint_ports(service, pod);
            let group = groups.entry(port_key(&ports)).or_insert_with(|| Group {
                address_type: family.clone(),
                ports,
                endpoints: Vec::new(),
            });
            group.endpoints.push(endpoint(service, pod, addresses, zone));
        }
        if groups.is_empty() {
            all.push(Group {
                address_type: family,
                ports: Vec::new(),
                endpoints: Vec::new(),
            });
        } else {
            all.extend(groups.into_values());
        }
    }
    all
}

/// Equal for equal sets of ports, whatever their order.
pub(crate) fn port_key(ports: &[EndpointPort]) -> String {
    let mut each: Vec<String> = ports
        .iter()
        .map(|p| {
            let name = p.name.as_deref().unwrap_or_default();
            let protocol = p.protocol.as_deref().unwrap_or("TCP");
            let application = p.app_protocol.as_deref().unwrap_or_default();
            format!("{name}/{protocol}/{}/{application}", p.port.unwrap_or(0))
        })
        .collect();
    each.sort();
    each.join(",")
}
