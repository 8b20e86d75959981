//! What an Endpoints object should say. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::common::pods;
use crate::endpointslice::desired;

const HEADLESS: &str = "service.kubernetes.io/headless";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Most addresses in one object.
const MOST: usize = 1000;

pub(super) fn is_ours(endpoints: &Endpoints) -> bool {
    endpoints
        .metadata
        .labels
        .as_ref()
        .and_then(|l| l.get(MANAGED_BY))
        .is_some_and(|m| m == MANAGER)
}

/// The object to write; `None`: `current` says it already.
pub(super) fn plan(
    service: &Service,
    selected: &[Arc<Pod>],
    current: Option<&Endpoints>,
) -> Option<Endpoints> {
    let (subsets, truncated) = subsets(service, selected);
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if desired::is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let mut annotations = current
        .and_then(|c| c.metadata.annotations.clone())
        .unwrap_or_default();
    annotations.remove(OVER_CAPACITY);
    if truncated {
        annotations.insert(OVER_CAPACITY.into(), "truncated".into());
    }
    let some = |map: BTreeMap<String, String>| Some(map).filter(|m| !m.is_empty());
    let wanted = Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: some(labels),
            annotations: some(annotations),
            ..current.map(|c| c.metadata.clone()).unwrap_or_default()
        },
        subsets: Some(subsets).filter(|s| !s.is_empty()),
    };
    let same = current.is_some_and(|current| {
        let subsets = |e: &Endpoints| e.subsets.clone().unwrap_or_default();
        current.metadata.labels.clone().unwrap_or_default()
            == wanted.metadata.labels.clone().unwrap_or_default()
            && current.metadata.annotations.clone().unwrap_or_default()
                == wanted.metadata.annotations.clone().unwrap_or_default()
            && subsets(current) == subsets(&wanted)
    });
    (!same).then_some(wanted)
}

type Addresses = BTreeMap<String, (EndpointAddress, bool)>;

fn subsets(service: &Service, selected: &[Arc<Pod>]) -> (Vec<EndpointSubset>, bool) {
    let family = desired::families(service)
        .into_iter()
        .next()
        .unwrap_or_else(|| "IPv4".into());
    let regardless = service.spec.as_ref().and_then(|s| s.publish_not_ready_addresses) == Some(true);
    let mut groups: BTreeMap<String, (Vec<EndpointPort>, Addresses)> = BTreeMap::new();
    let (mut count, mut truncated) = (0, false);
    for pod in selected {
        if pods::is_terminal(pod) || (pod.metadata.deletion_timestamp.is_some() && !regardless) {
            continue;
        }
        let Some(ip) = desired::addresses(pod, &family).into_iter().next() else {
            continue;
        };
        count += 1;
        if count > MOST {
            truncated = true;
            break;
        }
        let mut ports = desired::endpoint_ports(service, pod);
        ports.sort_by(|a, b| (&a.name, a.port, &a.protocol).cmp(&(&b.name, b.port, &b.protocol)));
        let no_ports = service
            .spec
            .as_ref()
            .is_none_or(|s| s.ports.iter().flatten().next().is_none());
        if ports.is_empty() && !no_ports {
            continue;
        }
        let address = EndpointAddress {
            ip: ip.clone(),
            hostname: desired::hostname(service, pod),
            node_name: pod
                .spec
                .as_ref()
                .and_then(|s| s.node_name.clone())
                .filter(|n| !n.is_empty()),
            target_ref: Some(desired::target_ref(pod)),
        };
        let group = groups.entry(desired::port_key(&ports)).or_insert_with(|| {
            let ports = ports
                .into_iter()
                .map(|p| EndpointPort {
                    name: p.name.filter(|n| !n.is_empty()),
                    port: p.port.unwrap_or(0),
                    protocol: p.protocol,
                    app_protocol: p.app_protocol,
                })
                .collect();
            (ports, Addresses::new())
        });
        group.1.insert(ip, (address, regardless || pods::is_ready(pod)));
    }
    let subsets = groups
        .into_values()
        .map(|(ports, addresses)| {
            let (ready, not_ready): (Vec<_>, Vec<_>) = addresses.into_values().partition(|(_, ready)| *ready);
            let strip = |list: Vec<(EndpointAddress, bool)>| {
                Some(list.into_iter().map(|(a, _)| a).collect::<Vec<_>>()).filter(|l| !l.is_empty())
            };
            EndpointSubset {
                addresses: strip(ready),
                not_ready_addresses: strip(not_ready),
                ports: Some(ports).filter(|p| !p.is_empty()),
            }
        })
        .collect();
    (subsets, truncated)
}
