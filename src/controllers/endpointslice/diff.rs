//! From the slices that are there to the ones that should be, with few writes. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use rkind_client::owner;

use super::desired::{self, Group, port_key};
use super::{MANAGED_BY, MANAGER, SERVICE_NAME};

/// Most endpoints in a slice, as `--max-endpoints-per-slice`.
const MOST: usize = 100;
const HEADLESS: &str = "service.kubernetes.io/headless";

#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) create: Vec<EndpointSlice>,
    pub(super) update: Vec<EndpointSlice>,
    pub(super) delete: Vec<Arc<EndpointSlice>>,
}

pub(super) fn diff(parent: &Parent, wanted: Vec<Group>, existing: &[Arc<EndpointSlice>]) -> Changes {
    let mut changes = Changes::default();
    let key = |address_type: &str, ports: &str| format!("{address_type} {ports}");
    let mut by_group: BTreeMap<String, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in existing
        .iter()
        .filter(|slice| slice.metadata.deletion_timestamp.is_none())
    {
        let ports = port_key(slice.ports.as_deref().unwrap_or_default());
        by_group
            .entry(key(&slice.address_type, &ports))
            .or_default()
            .push(slice.clone());
    }
    for group in wanted {
        let slices = by_group
            .remove(&key(&group.address_type, &port_key(&group.ports)))
            .unwrap_or_default();
        diff_group(parent, group, slices, &mut changes);
    }
    changes.delete.extend(by_group.into_values().flatten());
    reuse(&mut changes);
    changes
}

/// A slice to delete becomes one to create, where only contents differ: one write instead of two.
fn reuse(changes: &mut Changes) {
    changes.create.retain_mut(|new| {
        let same_family = |old: &Arc<EndpointSlice>| old.address_type == new.address_type;
        let Some(place) = changes.delete.iter().position(same_family) else {
            return true;
        };
        let old = changes.delete.remove(place);
        let mut slice = new.clone();
        slice.metadata = ObjectMeta {
            labels: new.metadata.labels.clone(),
            owner_references: new.metadata.owner_references.clone(),
            ..old.metadata.clone()
        };
        changes.update.push(slice);
        false
    });
}

/// An endpoint's identity: a pod's, or its addresses.
fn identity(endpoint: &Endpoint) -> String {
    match endpoint.target_ref.as_ref().and_then(|r| r.uid.as_deref()) {
        Some(uid) => uid.to_owned(),
        None => endpoint.addresses.join(","),
    }
}

fn diff_group(parent: &Parent, group: Group, slices: Vec<Arc<EndpointSlice>>, changes: &mut Changes) {
    let mut wanted: HashMap<String, Endpoint> = HashMap::new();
    let mut order: VecDeque<String> = VecDeque::new();
    for endpoint in group.endpoints.iter().cloned() {
        let id = identity(&endpoint);
        if wanted.insert(id.clone(), endpoint).is_none() {
            order.push_back(id);
        }
    }
    // First what is there already stays where it is.
    let mut kept: Vec<(Arc<EndpointSlice>, EndpointSlice)> = Vec::new();
    for slice in slices {
        let mut new = (*slice).clone();
        new.endpoints = slice
            .endpoints
            .iter()
            .filter_map(|e| wanted.remove(&identity(e)))
            .collect();
        kept.push((slice, new));
    }
    order.retain(|id| wanted.contains_key(id));
    let mut rest: VecDeque<Endpoint> = order.iter().filter_map(|id| wanted.remove(id)).collect();
    // Then slices that change anyway take new endpoints, then the fullest that have room.
    let mut places: Vec<usize> = (0..kept.len()).collect();
    places.sort_by_key(|&i| {
        let (old, new) = &kept[i];
        let changes_anyway = old.endpoints != new.endpoints;
        (!changes_anyway, MOST.saturating_sub(new.endpoints.len()))
    });
    for i in places {
        while kept[i].1.endpoints.len() < MOST {
            let Some(endpoint) = rest.pop_front() else { break };
            kept[i].1.endpoints.push(endpoint);
        }
    }
    // One slice stays, even empty, when the group is to be empty.
    let empty_group = group.endpoints.is_empty();
    let mut placeholder = false;
    for (old, mut new) in kept {
        if new.endpoints.is_empty() && (placeholder || !empty_group) {
            changes.delete.push(old);
            continue;
        }
        placeholder = true;
        new.metadata.labels = Some(parent.labels.clone());
        let same = old.endpoints == new.endpoints && old.metadata.labels == new.metadata.labels;
        if !same {
            changes.update.push(new);
        }
    }
    while !rest.is_empty() || (empty_group && !placeholder) {
        let take = rest.len().min(MOST);
        let endpoints = rest.drain(..take).collect();
        changes.create.push(new_slice(parent, &group, endpoints));
        placeholder = true;
    }
}

/// What slices are made for, and what all of them carry.
pub(super) struct Parent {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) owner: OwnerReference,
}

impl Parent {
    /// The service's labels, and the controller's.
    pub(super) fn service(service: &Service) -> Self {
        let mut labels = service.metadata.labels.clone().unwrap_or_default();
        labels.remove(HEADLESS);
        if desired::is_headless(service) {
            labels.insert(HEADLESS.into(), String::new());
        }
        let name = service.metadata.name.clone().unwrap_or_default();
        labels.insert(SERVICE_NAME.into(), name.clone());
        labels.insert(MANAGED_BY.into(), MANAGER.into());
        let namespace = service.metadata.namespace.clone();
        Self {
            name,
            namespace,
            labels,
            owner: owner::controller_ref(service),
        }
    }
}

fn new_slice(parent: &Parent, group: &Group, endpoints: Vec<Endpoint>) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", parent.name)),
            namespace: parent.namespace.clone(),
            labels: Some(parent.labels.clone()),
            owner_references: Some(vec![parent.owner.clone()]),
            ..Default::default()
        },
        address_type: group.address_type.clone(),
        ports: Some(group.ports.clone()).filter(|p| !p.is_empty()),
        endpoints,
    }
}
