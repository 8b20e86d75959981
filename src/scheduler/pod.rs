//! A pod as the scheduler sees it: parsed once, compared often.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{Container, Pod, PodAffinityTerm, PodSpec, Toleration, TopologySpreadConstraint},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelectorRequirement},
};
use rkind_client::{ObjectKey, Selector};

use crate::{affinity::NodeAffinity, quantity};

/// What scoring assumes for a container without a CPU request, in thousandths of a core.
const DEFAULT_CPU: i64 = 100;
/// What scoring assumes for a container without a memory request, in bytes.
const DEFAULT_MEMORY: i64 = 200 << 20;

/// Amounts of resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes of local storage.
    pub storage: i64,
    /// Number of pods (only of a node).
    pub pods: i64,
    /// Extended resources and huge pages by name, in units; sorted by name.
    pub others: Vec<(Arc<str>, i64)>,
}

impl Resources {
    /// From a resource list; what is no quantity counts as nothing (the API server refuses it).
    pub fn from_list(list: &BTreeMap<String, Quantity>) -> Self {
        let mut resources = Resources::default();
        for (name, amount) in list {
            match name.as_str() {
                "cpu" => resources.cpu = quantity::milli(amount).unwrap_or(0),
                "memory" => resources.memory = quantity::units(amount).unwrap_or(0),
                "ephemeral-storage" => resources.storage = quantity::units(amount).unwrap_or(0),
                "pods" => resources.pods = quantity::units(amount).unwrap_or(0),
                other => resources
                    .others
                    .push((other.into(), quantity::units(amount).unwrap_or(0))),
            }
        }
        resources
    }

    /// An extended resource's amount; 0 when there is none.
    pub fn other(&self, name: &str) -> i64 {
        match self.others.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(index) => self.others[index].1,
            Err(_) => 0,
        }
    }

    fn merge(&mut self, other: &Resources, combine: impl Fn(i64, i64) -> i64) {
        self.cpu = combine(self.cpu, other.cpu);
        self.memory = combine(self.memory, other.memory);
        self.storage = combine(self.storage, other.storage);
        for (name, amount) in &other.others {
            match self.others.binary_search_by(|(known, _)| known.cmp(name)) {
                Ok(index) => self.others[index].1 = combine(self.others[index].1, *amount),
                Err(index) => self.others.insert(index, (name.clone(), combine(0, *amount))),
            }
        }
    }

    /// Adds all amounts.
    pub fn add(&mut self, other: &Resources) {
        self.merge(other, i64::saturating_add);
    }

    /// Takes all amounts away.
    pub fn subtract(&mut self, other: &Resources) {
        self.merge(other, i64::saturating_sub);
    }

    fn max(&mut self, other: &Resources) {
        self.merge(other, i64::max);
    }

    fn is_zero(&self) -> bool {
        self.cpu == 0 && self.memory == 0 && self.storage == 0 && self.others.iter().all(|(_, n)| *n == 0)
    }
}

/// A host port that a pod wants for itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// `0.0.0.0` stands for all addresses.
    pub ip: Arc<str>,
    /// TCP, UDP or SCTP.
    pub protocol: Arc<str>,
    /// 1 to 65535.
    pub port: i32,
}

impl HostPort {
    /// Whether both can't be had on one node.
    pub fn conflicts(&self, other: &HostPort) -> bool {
        const ANY: &str = "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || &*self.ip == ANY || &*other.ip == ANY)
    }
}

/// Which pods a term is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffinityTerm {
    /// Namespaces by name; the pod's own one when the term names none and has no selector.
    pub namespaces: Vec<Arc<str>>,
    /// Further namespaces, by label.
    pub namespace_selector: Option<Selector>,
    /// Pods by label.
    pub selector: Selector,
    /// Node label that makes nodes one place.
    pub topology_key: Arc<str>,
}

impl AffinityTerm {
    fn new(term: &PodAffinityTerm, namespace: &Arc<str>) -> Result<Self, String> {
        let mut namespaces: Vec<Arc<str>> = term
            .namespaces
            .iter()
            .flatten()
            .map(|n| n.as_str().into())
            .collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(namespace.clone());
        }
        let selector = |s| Selector::from_api(s).map_err(|error| error.to_string());
        Ok(AffinityTerm {
            namespaces,
            namespace_selector: term
                .namespace_selector
                .as_ref()
                .map(|s| selector(Some(s)))
                .transpose()?,
            selector: selector(term.label_selector.as_ref())?,
            topology_key: term.topology_key.as_str().into(),
        })
    }

    /// Whether it is about this pod, whose namespace has these labels.
    pub fn matches(&self, pod: &PodInfo, namespace_labels: Option<&BTreeMap<String, String>>) -> bool {
        let near = self.namespaces.contains(&pod.namespace)
            || self
                .namespace_selector
                .as_ref()
                .is_some_and(|selector| selector.matches(namespace_labels));
        near && self.selector.matches(pod.labels())
    }
}

/// One rule on how far pods may be from evenly spread.
#[derive(Clone, Debug)]
pub struct SpreadConstraint {
    /// Largest allowed (or, for soft rules, uncharged) difference.
    pub max_skew: i64,
    /// Node label that makes nodes one place.
    pub topology_key: Arc<str>,
    /// Whether a node that breaks it is out, rather than only worse.
    pub hard: bool,
    /// Which pods count.
    pub selector: Selector,
    /// With fewer places than this the emptiest counts as having no pods.
    pub min_domains: i64,
    /// Nodes that the pod's own node selector and affinity leave out don't count (the default).
    pub honor_affinity: bool,
    /// Nodes with taints that the pod doesn't tolerate don't count.
    pub honor_taints: bool,
}

impl SpreadConstraint {
    fn new(
        from: &TopologySpreadConstraint,
        labels: Option<&BTreeMap<String, String>>,
    ) -> Result<Self, String> {
        let mut selector = from.label_selector.clone();
        for key in from.match_label_keys.iter().flatten() {
            if let (Some(value), Some(selector)) = (labels.and_then(|l| l.get(key)), &mut selector) {
                selector
                    .match_expressions
                    .get_or_insert_default()
                    .push(LabelSelectorRequirement {
                        key: key.clone(),
                        operator: "In".to_owned(),
                        values: Some(vec![value.clone()]),
                    });
            }
        }
        Ok(SpreadConstraint {
            max_skew: i64::from(from.max_skew),
            topology_key: from.topology_key.as_str().into(),
            hard: from.when_unsatisfiable == "DoNotSchedule",
            selector: Selector::from_api(selector.as_ref()).map_err(|error| error.to_string())?,
            min_domains: i64::from(from.min_domains.unwrap_or(1)),
            honor_affinity: from.node_affinity_policy.as_deref() != Some("Ignore"),
            honor_taints: from.node_taints_policy.as_deref() == Some("Honor"),
        })
    }
}

/// A pod with everything that placing it, or placing others beside it, asks for.
#[derive(Debug)]
pub struct PodInfo {
    /// The object, for what is asked rarely.
    pub pod: Arc<Pod>,
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// What it occupies.
    pub requests: Resources,
    /// CPU and memory as scoring counts them: a container without requests isn't free.
    pub scored: (i64, i64),
    /// Whether it requests nothing that could be short.
    pub requests_nothing: bool,
    /// Host ports.
    pub ports: Vec<HostPort>,
    /// `spec.priority`.
    pub priority: i32,
    /// Required and preferred node affinity with the node selector.
    pub node_affinity: NodeAffinity,
    /// Terms that must hold of pods in the same place.
    pub affinity: Vec<AffinityTerm>,
    /// Terms that must not.
    pub anti_affinity: Vec<AffinityTerm>,
    /// Weighted terms; anti-affinity has negative weights.
    pub preferred: Vec<(i64, AffinityTerm)>,
    /// Explicit rules only.
    pub spread: Vec<SpreadConstraint>,
    /// UID of the controller that made it, if that is one whose pods are spread by default.
    pub owner: Option<Arc<str>>,
    /// Why its scheduling rules can't be understood; then it can't be placed.
    pub invalid: Option<String>,
}

impl PodInfo {
    /// Parses a pod.
    pub fn new(pod: Arc<Pod>) -> Self {
        let namespace: Arc<str> = pod.metadata.namespace.as_deref().unwrap_or_default().into();
        let mut invalid = None;
        let spec = pod.spec.as_ref();
        let affinity = spec.and_then(|spec| spec.affinity.as_ref());
        let pods = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
        let anti = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
        let mut term = |from: &PodAffinityTerm| {
            AffinityTerm::new(from, &namespace)
                .map_err(|error| invalid.get_or_insert(error).clone())
                .ok()
        };
        let required = pods.and_then(|p| p.required_during_scheduling_ignored_during_execution.as_ref());
        let required = required.into_iter().flatten().filter_map(&mut term).collect();
        let refused = anti.and_then(|p| p.required_during_scheduling_ignored_during_execution.as_ref());
        let refused = refused.into_iter().flatten().filter_map(&mut term).collect();
        let mut preferred = Vec::new();
        let liked = pods.and_then(|p| p.preferred_during_scheduling_ignored_during_execution.as_ref());
        let disliked = anti.and_then(|p| p.preferred_during_scheduling_ignored_during_execution.as_ref());
        for (list, sign) in [(liked, 1), (disliked, -1)] {
            for weighted in list.into_iter().flatten() {
                let parsed = term(&weighted.pod_affinity_term);
                preferred.extend(parsed.map(|parsed| (sign * i64::from(weighted.weight), parsed)));
            }
        }
        let mut spread = Vec::new();
        for constraint in spec
            .and_then(|s| s.topology_spread_constraints.as_ref())
            .into_iter()
            .flatten()
        {
            match SpreadConstraint::new(constraint, pod.metadata.labels.as_ref()) {
                Ok(constraint) => spread.push(constraint),
                Err(error) => invalid = Some(error),
            }
        }
        let owner = pod.metadata.owner_references.iter().flatten().find(|owner| {
            owner.controller == Some(true)
                && matches!(
                    owner.kind.as_str(),
                    "ReplicaSet" | "StatefulSet" | "ReplicationController"
                )
        });
        let requests = spec.map(requests).unwrap_or_default();
        PodInfo {
            uid: pod.metadata.uid.as_deref().unwrap_or_default().into(),
            scored: spec.map(scored_requests).unwrap_or_default(),
            requests_nothing: requests.is_zero(),
            ports: spec.map(host_ports).unwrap_or_default(),
            priority: spec.and_then(|spec| spec.priority).unwrap_or(0),
            node_affinity: spec.map(NodeAffinity::new).unwrap_or_default(),
            owner: owner.map(|owner| owner.uid.as_str().into()),
            affinity: required,
            anti_affinity: refused,
            preferred,
            spread,
            requests,
            namespace,
            pod,
            invalid,
        }
    }

    /// `metadata.labels`.
    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.pod.metadata.labels.as_ref()
    }

    /// Namespace and name.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::of(&*self.pod)
    }

    /// `namespace/name`, as messages have it.
    pub fn name(&self) -> String {
        format!(
            "{}/{}",
            self.namespace,
            self.pod.metadata.name.as_deref().unwrap_or_default()
        )
    }

    /// `spec.nodeName`, if it has been placed.
    pub fn node_name(&self) -> Option<&str> {
        node_name(&self.pod)
    }

    /// `spec.tolerations`.
    pub fn tolerations(&self) -> &[Toleration] {
        self.pod
            .spec
            .as_ref()
            .and_then(|spec| spec.tolerations.as_deref())
            .unwrap_or_default()
    }

    /// Whether others must be asked about when this pod is near, or the other way round.
    pub fn has_affinity(&self) -> bool {
        !(self.affinity.is_empty() && self.anti_affinity.is_empty() && self.preferred.is_empty())
    }
}

/// `spec.nodeName`, if it is set.
pub(crate) fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec
        .as_ref()?
        .node_name
        .as_deref()
        .filter(|name| !name.is_empty())
}

/// Whether it has ended, so that it occupies nothing any more.
pub(crate) fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn container_requests(container: &Container) -> Resources {
    let requests = container
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    requests.map(Resources::from_list).unwrap_or_default()
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// What the pod occupies: its containers and sidecars together, or what starting it takes at its peak,
/// whichever is more, plus the runtime's overhead. Requests of the pod as a whole win over that.
/// <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers>
fn requests(spec: &PodSpec) -> Resources {
    let mut total = combine(spec, container_requests);
    let whole = spec
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    if let Some(whole) = whole {
        let amounts = Resources::from_list(whole);
        if whole.contains_key("cpu") {
            total.cpu = amounts.cpu;
        }
        if whole.contains_key("memory") {
            total.memory = amounts.memory;
        }
        for (name, amount) in amounts
            .others
            .into_iter()
            .filter(|(name, _)| name.starts_with("hugepages-"))
        {
            match total.others.binary_search_by(|(known, _)| known.cmp(&name)) {
                Ok(index) => total.others[index].1 = amount,
                Err(index) => total.others.insert(index, (name, amount)),
            }
        }
    }
    if let Some(overhead) = &spec.overhead {
        total.add(&Resources::from_list(overhead));
    }
    total
}

fn combine(spec: &PodSpec, of: impl Fn(&Container) -> Resources) -> Resources {
    let mut total = Resources::default();
    for container in &spec.containers {
        total.add(&of(container));
    }
    // Sidecars started so far run beside whatever starts next.
    let mut sidecars = Resources::default();
    let mut starting = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut needed = of(container);
        if is_sidecar(container) {
            total.add(&needed);
            sidecars.add(&needed);
            needed = sidecars.clone();
        } else {
            needed.add(&sidecars);
        }
        starting.max(&needed);
    }
    total.max(&starting);
    total
}

fn scored_requests(spec: &PodSpec) -> (i64, i64) {
    let total = combine(spec, |container| {
        let mut amounts = container_requests(container);
        let requests = container
            .resources
            .as_ref()
            .and_then(|resources| resources.requests.as_ref());
        if requests.is_none_or(|requests| !requests.contains_key("cpu")) {
            amounts.cpu = DEFAULT_CPU;
        }
        if requests.is_none_or(|requests| !requests.contains_key("memory")) {
            amounts.memory = DEFAULT_MEMORY;
        }
        amounts
    });
    let whole = spec
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    let whole_has = |name| whole.is_some_and(|requests| requests.contains_key(name));
    let amounts = whole.map(Resources::from_list).unwrap_or_default();
    let overhead = spec
        .overhead
        .as_ref()
        .map(Resources::from_list)
        .unwrap_or_default();
    (
        if whole_has("cpu") { amounts.cpu } else { total.cpu } + overhead.cpu,
        if whole_has("memory") {
            amounts.memory
        } else {
            total.memory
        } + overhead.memory,
    )
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| is_sidecar(container));
    let ports = spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten());
    let wanted = ports.filter_map(|port| Some((port, port.host_port.filter(|number| *number > 0)?)));
    wanted
        .map(|(port, number)| HostPort {
            ip: port
                .host_ip
                .as_deref()
                .filter(|ip| !ip.is_empty())
                .unwrap_or("0.0.0.0")
                .into(),
            protocol: port
                .protocol
                .as_deref()
                .filter(|p| !p.is_empty())
                .unwrap_or("TCP")
                .into(),
            port: number,
        })
        .collect()
}
