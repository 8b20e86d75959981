//! The cluster as the scheduler sees it: nodes with their pods, indexed, changed object by object.
//!
//! It holds what the API said and, ahead of it, placements that were decided and not yet seen there
//! (*assumed* pods).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Service},
    policy::v1::PodDisruptionBudget,
    storage::v1::StorageClass,
};

use crate::{
    counts::{Counts, Matcher, NodeCounts, Places, add_place},
    node::NodeInfo,
    pod::PodInfo,
    terms::{PlacedTerm, Terms},
};

/// A node's place in the cluster's table. A slot is used again after its node is gone.
pub type Slot = usize;

/// UIDs of pods by something that pods share.
#[derive(Debug, Default)]
struct Index(HashMap<Arc<str>, HashSet<Arc<str>>>);

impl Index {
    fn insert(&mut self, key: &Arc<str>, uid: &Arc<str>) {
        self.0.entry(key.clone()).or_default().insert(uid.clone());
    }

    fn remove(&mut self, key: &Arc<str>, uid: &str) {
        if let Some(pods) = self.0.get_mut(key) {
            pods.remove(uid);
            if pods.is_empty() {
                self.0.remove(key);
            }
        }
    }

    fn get(&self, key: &Arc<str>) -> impl Iterator<Item = &Arc<str>> {
        self.0.get(key).into_iter().flatten()
    }
}

/// Where a pod is.
#[derive(Debug)]
struct Placed {
    pod: Arc<PodInfo>,
    slot: Slot,
    /// Decided here, not yet seen in the API.
    assumed: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Cluster {
    nodes: Vec<NodeInfo>,
    free: Vec<Slot>,
    by_name: HashMap<Arc<str>, Slot>,
    /// Nodes that exist, zones taking turns, so that looking at the first of them covers all zones.
    order: Vec<Slot>,
    order_outdated: bool,
    /// By UID.
    pods: HashMap<Arc<str>, Placed>,
    /// UIDs of pods, by namespace and by the controller that made them.
    by_namespace: Index,
    by_owner: Index,
    terms: Terms,
    /// Pods that have a node cleared for them by preemption, by that node.
    nominated: HashMap<Arc<str>, Vec<Arc<PodInfo>>>,
    counts: Counts,
    /// Names of zones that nodes have or had.
    zones: HashSet<Arc<str>>,
    /// Nodes per place, for the labels that were asked for since labels last changed.
    places: Vec<(Arc<str>, Places)>,
    /// Number of nodes that have the image.
    images: HashMap<String, usize>,
    namespaces: HashMap<String, Arc<Namespace>>,
    /// By namespace and name.
    services: HashMap<String, HashMap<String, BTreeMap<String, String>>>,
    /// What volumes need.
    pub volumes: Volumes,
    /// Budgets that preemption respects, by namespace and name.
    pub budgets: BTreeMap<(String, String), Arc<PodDisruptionBudget>>,
}

/// Persistent volumes and claims.
#[derive(Debug, Default)]
pub struct Volumes {
    /// By namespace and name.
    pub claims: HashMap<(String, String), Arc<PersistentVolumeClaim>>,
    /// By name.
    pub volumes: HashMap<String, Arc<PersistentVolume>>,
    /// By name.
    pub classes: HashMap<String, Arc<StorageClass>>,
}

impl Cluster {
    /// The node in a slot.
    pub fn node(&self, slot: Slot) -> &NodeInfo {
        &self.nodes[slot]
    }

    /// The slot of a node that exists.
    pub fn slot(&self, name: &str) -> Option<Slot> {
        self.by_name
            .get(name)
            .copied()
            .filter(|slot| self.nodes[*slot].node.is_some())
    }

    /// Number of slots, used or not.
    pub fn slots(&self) -> usize {
        self.nodes.len()
    }

    /// All nodes, zones taking turns.
    pub fn order(&mut self) -> &[Slot] {
        if std::mem::take(&mut self.order_outdated) {
            let mut zones: BTreeMap<Option<Arc<str>>, Vec<Slot>> = BTreeMap::new();
            let mut known: Vec<_> = self
                .by_name
                .iter()
                .filter(|(_, s)| self.nodes[**s].node.is_some())
                .collect();
            known.sort();
            for (_, slot) in known {
                zones
                    .entry(self.nodes[*slot].zone.clone())
                    .or_default()
                    .push(*slot);
            }
            let longest = zones.values().map(Vec::len).max().unwrap_or(0);
            self.order = (0..longest)
                .flat_map(|turn| zones.values().filter_map(move |z| z.get(turn).copied()))
                .collect();
        }
        &self.order
    }

    fn slot_or_new(&mut self, name: &str) -> Slot {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let name: Arc<str> = name.into();
        let node = NodeInfo::unknown(name.clone());
        let slot = match self.free.pop() {
            Some(slot) => {
                self.nodes[slot] = node;
                slot
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        self.by_name.insert(name, slot);
        slot
    }

    fn free_if_unused(&mut self, slot: Slot) {
        let node = &self.nodes[slot];
        if node.node.is_none() && node.pods.is_empty() {
            self.by_name.remove(&node.name);
            self.free.push(slot);
        }
    }

    /// A node appeared or changed.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let Some(name) = node.metadata.name.as_deref() else {
            return;
        };
        let slot = self.slot_or_new(name);
        self.count_images(slot, false);
        let info = &self.nodes[slot];
        let (new, zone) = (info.node.is_none(), info.zone.clone());
        let relabelled = new || info.labels() != node.metadata.labels.as_ref();
        if relabelled {
            self.count_terms(slot, -1);
        }
        self.nodes[slot].set_node(node);
        let zones = &mut self.zones;
        self.nodes[slot].share_zone(|zone| match zones.get(&zone) {
            Some(known) => known.clone(),
            None => {
                zones.insert(zone.clone());
                zone
            }
        });
        if relabelled {
            self.count_terms(slot, 1);
            self.counts.forget_places();
            self.places.clear();
        }
        self.order_outdated |= new || self.nodes[slot].zone != zone;
        self.count_images(slot, true);
    }

    /// Before (`-1`) and after (`1`) labels of a node change.
    fn count_terms(&mut self, slot: Slot, by: i64) {
        let node = &self.nodes[slot];
        node.pods.iter().for_each(|pod| self.terms.adjust(pod, node, by));
    }

    /// A node is gone; its pods stay known until they go too.
    pub fn remove_node(&mut self, name: &str) {
        let Some(&slot) = self.by_name.get(name) else {
            return;
        };
        self.count_images(slot, false);
        self.count_terms(slot, -1);
        self.nodes[slot].unset_node();
        self.count_terms(slot, 1);
        self.counts.forget_places();
        self.places.clear();
        self.order_outdated = true;
        self.free_if_unused(slot);
    }

    fn count_images(&mut self, slot: Slot, add: bool) {
        for image in self.nodes[slot].images.keys() {
            if add {
                *self.images.entry(image.clone()).or_default() += 1;
            } else if let Some(count) = self.images.get_mut(image) {
                *count -= 1;
                if *count == 0 {
                    self.images.remove(image);
                }
            }
        }
    }

    /// Number of nodes that have an image.
    pub fn nodes_with_image(&self, image: &str) -> usize {
        self.images.get(image).copied().unwrap_or(0)
    }

    /// A pod that the API shows on a node: appeared there, changed, or confirms what was assumed.
    pub fn set_pod(&mut self, pod: Arc<PodInfo>) {
        if let Some(name) = pod.node_name().map(Arc::<str>::from) {
            self.place(pod, &name, false);
        }
    }

    /// A placement was decided: counts from now on.
    pub fn assume(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.place(pod, node, true);
    }

    fn place(&mut self, pod: Arc<PodInfo>, node: &str, assumed: bool) {
        self.remove_pod(&pod.uid);
        let slot = self.slot_or_new(node);
        self.counts.adjust(&pod, slot, &self.nodes[slot], 1);
        self.terms.adjust(&pod, &self.nodes[slot], 1);
        self.by_namespace.insert(&pod.namespace, &pod.uid);
        pod.owner
            .iter()
            .for_each(|owner| self.by_owner.insert(owner, &pod.uid));
        self.pods.insert(
            pod.uid.clone(),
            Placed {
                pod: pod.clone(),
                slot,
                assumed,
            },
        );
        self.nodes[slot].add_pod(pod);
    }

    /// A pod is gone, has ended, or its placement failed.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let placed = self.pods.remove(uid)?;
        let pod = self.nodes[placed.slot].remove_pod(uid)?;
        self.counts
            .adjust(&pod, placed.slot, &self.nodes[placed.slot], -1);
        self.terms.adjust(&pod, &self.nodes[placed.slot], -1);
        self.by_namespace.remove(&pod.namespace, uid);
        pod.owner
            .iter()
            .for_each(|owner| self.by_owner.remove(owner, uid));
        self.free_if_unused(placed.slot);
        Some(pod)
    }

    /// Whether the pod counts on a node by decision only.
    pub fn is_assumed(&self, uid: &str) -> bool {
        self.pods.get(uid).is_some_and(|placed| placed.assumed)
    }

    /// Whether the pod counts on a node.
    pub fn has_pod(&self, uid: &str) -> bool {
        self.pods.contains_key(uid)
    }

    /// Number of pods on nodes.
    pub fn pod_count(&self) -> usize {
        self.pods.len()
    }

    /// The affinity terms of all placed pods.
    pub fn terms(&self) -> &[PlacedTerm] {
        self.terms.all()
    }

    /// Each node with each pod on it.
    pub fn all_pods(&self) -> impl Iterator<Item = (Slot, &Arc<PodInfo>)> {
        self.nodes
            .iter()
            .enumerate()
            .flat_map(|(slot, node)| node.pods.iter().map(move |pod| (slot, pod)))
    }

    /// How many pods of a sort are in each place, by value of a node label; 0 for places without any.
    pub fn count_places(&mut self, matcher: Matcher, key: &str) -> Places {
        if let Some(places) = self.counts.places(&matcher, key) {
            return places;
        }
        let counts = self.count(matcher.clone());
        let mut places = self.places(key);
        Arc::make_mut(&mut places)
            .values_mut()
            .for_each(|count| *count = 0);
        for (slot, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            add_place(&mut places, key, &self.nodes[slot], i64::from(*count));
        }
        self.counts.insert_places(&matcher, key, places.clone());
        places
    }

    /// How many nodes are in each place.
    pub fn places(&mut self, key: &str) -> Places {
        if let Some((_, places)) = self.places.iter().find(|(known, _)| **known == *key) {
            return places.clone();
        }
        let mut places = Places::default();
        for node in self.nodes.iter().filter(|node| node.node.is_some()) {
            add_place(&mut places, key, node, 1);
        }
        self.places.push((key.into(), places.clone()));
        places
    }

    /// How many pods of a sort are on each node.
    pub fn count(&mut self, matcher: Matcher) -> NodeCounts {
        if let Some(counts) = self.counts.nodes(&matcher) {
            return counts;
        }
        let mut counts = vec![0; self.nodes.len()];
        let mut look = |uid: &Arc<str>| {
            if let Some(placed) = self.pods.get(uid) {
                counts[placed.slot] += u32::from(matcher.matches(&placed.pod));
            }
        };
        match &matcher.owner {
            Some(owner) => self.by_owner.get(owner).for_each(look),
            None => matcher
                .namespaces()
                .iter()
                .flat_map(|ns| self.by_namespace.get(ns))
                .for_each(&mut look),
        }
        let counts = Arc::new(counts);
        self.counts.insert(matcher, counts.clone());
        counts
    }

    /// A namespace appeared, changed or (with `None`) went.
    pub fn set_namespace(&mut self, name: &str, namespace: Option<Arc<Namespace>>) {
        match namespace {
            Some(namespace) => self.namespaces.insert(name.to_owned(), namespace),
            None => self.namespaces.remove(name),
        };
    }

    /// A namespace's labels.
    pub fn namespace_labels(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.namespaces.get(name)?.metadata.labels.as_ref()
    }

    /// A service appeared, changed or (with `None`) went.
    pub fn set_service(&mut self, namespace: &str, name: &str, service: Option<&Service>) {
        let selector = service
            .and_then(|s| s.spec.as_ref())
            .and_then(|spec| spec.selector.clone());
        match selector.filter(|selector| !selector.is_empty()) {
            Some(selector) => {
                self.services
                    .entry(namespace.to_owned())
                    .or_default()
                    .insert(name.to_owned(), selector);
            }
            None => {
                if let Some(services) = self.services.get_mut(namespace) {
                    services.remove(name);
                }
            }
        }
    }

    /// The labels that all services selecting this pod ask for together; empty when there is none.
    pub fn service_labels(&self, pod: &PodInfo) -> BTreeMap<String, String> {
        let mut merged = BTreeMap::new();
        for selector in self
            .services
            .get(&*pod.namespace)
            .into_iter()
            .flat_map(HashMap::values)
        {
            let labels = pod.labels();
            if selector
                .iter()
                .all(|(key, value)| labels.is_some_and(|labels| labels.get(key) == Some(value)))
            {
                merged.extend(selector.clone());
            }
        }
        merged
    }

    /// Sets or clears (with `None`) the node that preemption cleared for a pod.
    pub fn nominate(&mut self, pod: &Arc<PodInfo>, node: Option<&str>) {
        self.forget_nomination(&pod.uid);
        if let Some(node) = node {
            self.nominated.entry(node.into()).or_default().push(pod.clone());
        }
    }

    /// The pod needs no cleared node any more; gives the pod if it had one.
    pub fn forget_nomination(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let mut forgotten = None;
        self.nominated.retain(|_, pods| {
            if let Some(index) = pods.iter().position(|pod| *pod.uid == *uid) {
                forgotten = Some(pods.swap_remove(index));
            }
            !pods.is_empty()
        });
        forgotten
    }

    /// Pods of at least this priority that a node was cleared for, without the pod itself.
    pub fn nominated(&self, node: &str, pod: &PodInfo) -> Vec<Arc<PodInfo>> {
        let pods = self.nominated.get(node).into_iter().flatten();
        pods.filter(|other| other.uid != pod.uid && other.priority >= pod.priority)
            .cloned()
            .collect()
    }

    /// Whether any node was cleared for any pod.
    pub fn has_nominations(&self) -> bool {
        !self.nominated.is_empty()
    }

    /// The lower-priority pods that a node was cleared for: their claim lapses when a pod of higher
    /// priority takes it.
    pub fn nominated_below(&self, node: &str, priority: i32) -> Vec<Arc<PodInfo>> {
        let pods = self.nominated.get(node).into_iter().flatten();
        pods.filter(|other| other.priority < priority).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
