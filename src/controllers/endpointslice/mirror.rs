//! EndpointSlices that repeat Endpoints which users keep themselves.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/service/#endpointslice-mirroring>

use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use rkind_client::{Action, ObjectKey, WorkQueue, owner, run_workers};

use super::desired::Group;
use super::{MANAGED_BY, SERVICE_NAME, Writer, diff};
use crate::common::expect::Expectations;
use crate::common::{Context, WORKERS};

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Endpoints that the Endpoints controller made.
const ENDPOINTS_MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const BY_ENDPOINTS: &str = "mirrored";
/// Most addresses of a subset that are repeated.
const MOST: usize = 1000;

/// Whether the Endpoints are a user's, for a Service without selector.
pub(super) fn is_mirrored(endpoints: &Endpoints, service: Option<&Service>) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    let skip = labels.and_then(|l| l.get(SKIP)).is_some_and(|v| v == "true");
    let managed = labels.is_some_and(|l| l.contains_key(ENDPOINTS_MANAGED_BY));
    let election = endpoints
        .metadata
        .annotations
        .as_ref()
        .is_some_and(|a| a.contains_key(LEADER));
    let selectorless = service
        .and_then(|s| s.spec.as_ref())
        .is_some_and(|spec| spec.selector.as_ref().is_none_or(|s| s.is_empty()));
    !skip && !managed && !election && selectorless && endpoints.metadata.deletion_timestamp.is_none()
}

fn family(ip: &str) -> Option<&'static str> {
    let ip: std::net::IpAddr = ip.parse().ok()?;
    Some(if ip.is_ipv6() { "IPv6" } else { "IPv4" })
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: None,
            terminating: None,
        }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Default::default()
    }
}

/// What the Endpoints say, as groups of endpoints that can share a slice.
pub(super) fn groups(endpoints: &Endpoints) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports: Vec<EndpointPort> = subset
            .ports
            .iter()
            .flatten()
            .map(|port| EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(port.port),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
                app_protocol: port.app_protocol.clone(),
            })
            .collect();
        let ready = subset.addresses.iter().flatten().map(|a| (a, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|a| (a, false));
        for (address, ready) in ready.chain(not_ready).take(MOST) {
            let Some(family) = family(&address.ip) else {
                continue;
            };
            let place = groups
                .iter()
                .position(|g| g.address_type == family && g.ports == ports);
            let place = place.unwrap_or_else(|| {
                groups.push(Group {
                    address_type: family.to_owned(),
                    ports: ports.clone(),
                    endpoints: Vec::new(),
                });
                groups.len() - 1
            });
            groups[place].endpoints.push(endpoint(address, ready));
        }
    }
    groups
}

/// The Endpoints whose slice of ours this is.
fn mirrored(slice: &EndpointSlice) -> Option<ObjectKey> {
    let labels = slice.metadata.labels.as_ref()?;
    if labels.get(MANAGED_BY).map(String::as_str) != Some(MANAGER) {
        return None;
    }
    Some(ObjectKey::new(
        slice.metadata.namespace.as_deref()?,
        labels.get(SERVICE_NAME)?,
    ))
}

pub(crate) async fn run(context: Context) {
    let services = context.informers.get::<Service>();
    let endpoints = context.informers.get::<Endpoints>();
    let slices = context.informers.get::<EndpointSlice>();
    slices.index(BY_ENDPOINTS, |s: &EndpointSlice| {
        mirrored(s).map(|k| k.to_string()).into_iter().collect()
    });
    let queue = WorkQueue::new();
    context.feed_own(&services, &queue);
    context.feed_own(&endpoints, &queue);
    context.feed(&slices, &queue, |change| {
        change.latest().and_then(|s| mirrored(s)).into_iter().collect()
    });
    services.synced().await;
    endpoints.synced().await;
    slices.synced().await;
    let writer = Writer {
        client: context.client.clone(),
        expectations: Expectations::default(),
    };
    let world = Arc::new((services, endpoints, slices, writer));
    run_workers(queue, WORKERS, context.shutdown.clone(), move |key: ObjectKey| {
        let world = world.clone();
        async move {
            let (services, endpoints, slices, writer) = &*world;
            if !writer.expectations.satisfied(&key, slices) {
                return Ok(Action::Done);
            }
            let existing = slices.by_index(BY_ENDPOINTS, &key.to_string());
            let source = endpoints.get(&key);
            let service = services.get(&key);
            let source = source.filter(|e| is_mirrored(e, service.as_deref()));
            let changes = match &source {
                Some(source) => diff::diff(&parent(source), groups(source), &existing),
                None => diff::Changes {
                    delete: existing,
                    ..diff::Changes::default()
                },
            };
            writer.write(&key, changes).await.map(|()| Action::Done)
        }
    })
    .await;
}

/// What the slices carry: the Endpoints' labels, and the controller's.
fn parent(endpoints: &Endpoints) -> diff::Parent {
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(
        SERVICE_NAME.into(),
        endpoints.metadata.name.clone().unwrap_or_default(),
    );
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    diff::Parent {
        name: endpoints.metadata.name.clone().unwrap_or_default(),
        namespace: endpoints.metadata.namespace.clone(),
        labels,
        owner: owner::controller_ref(endpoints),
    }
}
