//! Affinity and anti-affinity between pods.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity>

use std::{collections::HashMap, sync::Arc};

use super::{MAX_SCORE, Plugin, Reject, Verdict};
use crate::{
    cluster::Cluster,
    counts::Matcher,
    node::NodeInfo,
    pod::{AffinityTerm, PodInfo},
};

/// What a term that an existing pod requires is worth to a pod that it is about.
const HARD_AFFINITY_WEIGHT: i64 = 1;

/// Amount per value of a topology label.
type Values = HashMap<String, i64>;
/// The same for several labels. Few labels are ever in use, so they are searched one by one.
type Topologies = Vec<(Arc<str>, Values)>;

/// What the pods already placed say about the pod at hand.
#[derive(Clone, Debug, Default)]
pub struct InterPod {
    /// Pods that refuse this one, by place.
    refusing: Topologies,
    /// Per required term: pods that match all required terms, by place.
    wanted: Vec<Values>,
    /// Per refusing term: pods that match it, by place.
    unwanted: Vec<Values>,
    /// Whether the pod matches its own required terms: then it may be the first of its group.
    matches_itself: bool,
}

fn add(topologies: &mut Topologies, key: &Arc<str>, node: &NodeInfo, by: i64) {
    let Some(value) = node.label(key) else { return };
    let index = topologies
        .iter()
        .position(|(known, _)| known == key)
        .unwrap_or_else(|| {
            topologies.push((key.clone(), Values::new()));
            topologies.len() - 1
        });
    add_value(&mut topologies[index].1, value, by);
}

fn add_value(values: &mut Values, value: &str, by: i64) {
    match values.get_mut(value) {
        Some(count) => *count += by,
        None => {
            values.insert(value.to_owned(), by);
        }
    }
}

fn about(term: &AffinityTerm, pod: &PodInfo, cluster: &Cluster) -> bool {
    term.matches(pod, cluster.namespace_labels(&pod.namespace))
}

/// Calls `each` for every node with the number of its pods that match all the terms.
fn each_matching(terms: &[&AffinityTerm], cluster: &mut Cluster, mut each: impl FnMut(&NodeInfo, i64)) {
    if terms.iter().all(|term| term.namespace_selector.is_none()) {
        let terms = terms
            .iter()
            .map(|term| (term.namespaces.clone(), term.selector.clone()))
            .collect();
        let counts = cluster.count(Matcher {
            terms,
            owner: None,
            terminating: true,
        });
        for (slot, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            each(cluster.node(slot), i64::from(*count));
        }
        return;
    }
    for (slot, pod) in cluster.all_pods() {
        if terms.iter().all(|term| about(term, pod, cluster)) {
            each(cluster.node(slot), 1);
        }
    }
}

impl InterPod {
    /// Counts beforehand.
    pub fn new(pod: &PodInfo, cluster: &mut Cluster) -> Self {
        let mut state = InterPod {
            wanted: vec![Values::new(); pod.affinity.len()],
            unwanted: vec![Values::new(); pod.anti_affinity.len()],
            ..InterPod::default()
        };
        for node in cluster.nodes_with_anti_affinity() {
            for other in node.pods.iter().filter(|other| !other.anti_affinity.is_empty()) {
                for term in other
                    .anti_affinity
                    .iter()
                    .filter(|term| about(term, pod, cluster))
                {
                    add(&mut state.refusing, &term.topology_key, node, 1);
                }
            }
        }
        if !pod.affinity.is_empty() {
            state.matches_itself = pod.affinity.iter().all(|term| about(term, pod, cluster));
            let terms: Vec<_> = pod.affinity.iter().collect();
            each_matching(&terms, cluster, |node, count| {
                for (term, values) in pod.affinity.iter().zip(&mut state.wanted) {
                    if let Some(value) = node.label(&term.topology_key) {
                        add_value(values, value, count);
                    }
                }
            });
        }
        for (term, values) in pod.anti_affinity.iter().zip(&mut state.unwanted) {
            each_matching(&[term], cluster, |node, count| {
                if let Some(value) = node.label(&term.topology_key) {
                    add_value(values, value, count);
                }
            });
        }
        state
    }

    /// Whether no node can be refused.
    pub fn is_idle(&self) -> bool {
        self.refusing.is_empty() && self.wanted.is_empty() && self.unwanted.is_empty()
    }

    /// As if `other` had come to (`1`) or left (`-1`) the node.
    pub fn adjust(&mut self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, cluster: &Cluster, by: i64) {
        for term in other
            .anti_affinity
            .iter()
            .filter(|term| about(term, pod, cluster))
        {
            add(&mut self.refusing, &term.topology_key, node, by);
        }
        if !pod.affinity.is_empty() && pod.affinity.iter().all(|term| about(term, other, cluster)) {
            for (term, values) in pod.affinity.iter().zip(&mut self.wanted) {
                if let Some(value) = node.label(&term.topology_key) {
                    add_value(values, value, by);
                }
            }
        }
        for (term, values) in pod.anti_affinity.iter().zip(&mut self.unwanted) {
            if about(term, other, cluster)
                && let Some(value) = node.label(&term.topology_key)
            {
                add_value(values, value, by);
            }
        }
    }

    /// Whether the pod may go beside the pods in the node's places.
    pub fn allows(&self, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        if !self.affinity_holds(pod, node) {
            let reason = "node(s) didn't match pod affinity rules";
            return Err(Reject::unresolvable(Plugin::InterPodAffinity, reason));
        }
        let has = |values: &Values, key: &str| {
            node.label(key)
                .and_then(|value| values.get(value))
                .is_some_and(|count| *count > 0)
        };
        if pod
            .anti_affinity
            .iter()
            .zip(&self.unwanted)
            .any(|(term, values)| has(values, &term.topology_key))
        {
            let reason = "node(s) didn't match pod anti-affinity rules";
            return Err(Reject::unschedulable(Plugin::InterPodAffinity, reason));
        }
        if self.refusing.iter().any(|(key, values)| has(values, key)) {
            let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
            return Err(Reject::unschedulable(Plugin::InterPodAffinity, reason));
        }
        Ok(())
    }

    fn affinity_holds(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        let mut all = true;
        for (term, values) in pod.affinity.iter().zip(&self.wanted) {
            let Some(value) = node.label(&term.topology_key) else {
                return false;
            };
            all &= values.get(value).is_some_and(|count| *count > 0);
        }
        // The first pod of a group that wants to be together has nobody to join.
        all || (self.matches_itself
            && self
                .wanted
                .iter()
                .all(|values| values.values().all(|count| *count <= 0)))
    }
}

/// What pods prefer, by place.
#[derive(Debug, Default)]
pub struct InterPodScore {
    topologies: Topologies,
}

impl InterPodScore {
    /// Counts beforehand.
    pub fn new(pod: &PodInfo, cluster: &mut Cluster) -> Self {
        let mut topologies = Topologies::new();
        for (weight, term) in &pod.preferred {
            each_matching(&[term], cluster, |node, count| {
                add(&mut topologies, &term.topology_key, node, weight * count);
            });
        }
        for node in cluster.nodes_with_affinity() {
            for other in node.pods.iter().filter(|other| other.has_affinity()) {
                for term in other.affinity.iter().filter(|term| about(term, pod, cluster)) {
                    add(&mut topologies, &term.topology_key, node, HARD_AFFINITY_WEIGHT);
                }
                for (weight, term) in other
                    .preferred
                    .iter()
                    .filter(|(_, term)| about(term, pod, cluster))
                {
                    add(&mut topologies, &term.topology_key, node, *weight);
                }
            }
        }
        InterPodScore { topologies }
    }

    /// Whether all nodes score the same.
    pub fn is_idle(&self) -> bool {
        self.topologies.is_empty()
    }

    /// Sum of the weights that speak for the node; may be negative.
    pub fn score(&self, node: &NodeInfo) -> i64 {
        let of = |(key, values): &(Arc<str>, Values)| values.get(node.label(key)?).copied();
        self.topologies.iter().filter_map(of).sum()
    }

    /// Stretches from the lowest (0) to the highest score.
    pub fn normalize(scores: &mut [i64]) {
        let highest = scores.iter().copied().fold(i64::MIN, i64::max);
        let lowest = scores.iter().copied().fold(i64::MAX, i64::min);
        for score in scores {
            *score = if highest > lowest {
                MAX_SCORE * (*score - lowest) / (highest - lowest)
            } else {
                0
            };
        }
    }
}
