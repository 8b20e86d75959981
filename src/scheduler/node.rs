//! A node with what is on it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod::{HostPort, PodInfo, Resources};

/// The label that makes each node a place.
pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";
/// The label that makes nodes of a zone one place.
pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";

/// A node and the sums over its pods, kept up to date pod by pod.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// The object; `None` while only pods on it are known.
    pub node: Option<Arc<Node>>,
    /// What its pods may take together.
    pub allocatable: Resources,
    /// What its pods request together.
    pub requested: Resources,
    /// CPU and memory as scoring counts them.
    pub scored: (i64, i64),
    /// Its pods, assumed ones included.
    pub pods: Vec<Arc<PodInfo>>,
    /// Host ports in use.
    pub ports: Vec<HostPort>,
    /// `topology.kubernetes.io/zone` with the region before it, for taking nodes of all zones in turn.
    pub zone: Option<Arc<str>>,
    /// `spec.taints`.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// Two labels for quick reading.
    hostname: Option<Arc<str>>,
    zone_label: Option<Arc<str>>,
    /// Images on it by name (with tag), and their sizes in bytes.
    pub images: HashMap<String, i64>,
}

impl NodeInfo {
    /// A node of which nothing but the name is known.
    pub fn unknown(name: Arc<str>) -> Self {
        NodeInfo {
            name,
            node: None,
            allocatable: Resources::default(),
            requested: Resources::default(),
            scored: (0, 0),
            pods: Vec::new(),
            ports: Vec::new(),
            zone: None,
            taints: Vec::new(),
            unschedulable: false,
            hostname: None,
            zone_label: None,
            images: HashMap::new(),
        }
    }

    /// Takes over the object.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let status = node.status.as_ref();
        let allocatable = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        self.allocatable = allocatable.map(Resources::from_list).unwrap_or_default();
        self.images.clear();
        for image in status
            .and_then(|status| status.images.as_ref())
            .into_iter()
            .flatten()
        {
            let size = image.size_bytes.unwrap_or(0);
            self.images
                .extend(image.names.iter().flatten().map(|name| (name.clone(), size)));
        }
        let spec = node.spec.as_ref();
        self.taints = spec.and_then(|spec| spec.taints.clone()).unwrap_or_default();
        self.unschedulable = spec.and_then(|spec| spec.unschedulable).unwrap_or(false);
        let label = |key| Some(node.metadata.labels.as_ref()?.get(key)?.as_str().into());
        (self.hostname, self.zone_label) = (label(HOSTNAME), label(ZONE));
        self.node = Some(node);
        let region = self.label("topology.kubernetes.io/region");
        let zone = self.label(ZONE);
        self.zone = match (region, zone) {
            (None, None) => None,
            (region, zone) => {
                Some(format!("{}:{}", region.unwrap_or_default(), zone.unwrap_or_default()).into())
            }
        };
    }

    /// Takes the zone's name from where other nodes have it too: read for every placement, it is then one
    /// string that stays near the processor.
    pub(crate) fn share_zone(&mut self, share: impl FnOnce(Arc<str>) -> Arc<str>) {
        self.zone_label = self.zone_label.take().map(share);
    }

    /// The object is gone; its pods stay.
    pub fn unset_node(&mut self) {
        let gone = NodeInfo::unknown(self.name.clone());
        let left = std::mem::replace(self, gone);
        left.pods.into_iter().for_each(|pod| self.add_pod(pod));
    }

    /// Adds a pod's share.
    pub fn add_pod(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.scored.0 += pod.scored.0;
        self.scored.1 += pod.scored.1;
        self.ports.extend(pod.ports.iter().cloned());
        self.pods.push(pod);
    }

    /// Takes a pod's share away; gives the pod if it was there.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let index = self.pods.iter().position(|pod| &*pod.uid == uid)?;
        let pod = self.pods.swap_remove(index);
        self.requested.subtract(&pod.requests);
        self.scored.0 -= pod.scored.0;
        self.scored.1 -= pod.scored.1;
        for port in &pod.ports {
            if let Some(index) = self.ports.iter().position(|used| used == port) {
                self.ports.swap_remove(index);
            }
        }
        Some(pod)
    }

    /// `metadata.labels`.
    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.node.as_ref()?.metadata.labels.as_ref()
    }

    /// One label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        // These two are asked for all the time, mostly of nodes that are in no cache of the processor.
        match key {
            HOSTNAME => self.hostname.as_deref(),
            ZONE => self.zone_label.as_deref(),
            _ => self.labels()?.get(key).map(String::as_str),
        }
    }
}
