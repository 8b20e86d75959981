//! Affinity and anti-affinity between pods.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity>

use std::sync::Arc;

use super::{MAX_SCORE, Plugin, Reject, Verdict};
use crate::{
    cluster::Cluster,
    counts::{Matcher, Places, add_place, place},
    node::NodeInfo,
    pod::{AffinityTerm, PodInfo},
    terms::Meaning,
};

/// What a term that an existing pod requires is worth to a pod that it is about.
const HARD_AFFINITY_WEIGHT: i64 = 1;

/// What the pods already placed say about the pod at hand.
#[derive(Clone, Debug, Default)]
pub struct InterPod {
    /// Pods that refuse this one, by value of a label. Few labels are ever in use.
    refusing: Vec<(Arc<str>, Places)>,
    /// Per required term: pods that match all required terms, by place.
    wanted: Vec<Places>,
    /// Per refusing term: pods that match it, by place.
    unwanted: Vec<Places>,
    /// Whether the pod matches its own required terms: then it may be the first of its group.
    matches_itself: bool,
    /// Whether no pod matches all required terms.
    alone: bool,
}

fn about(term: &AffinityTerm, pod: &PodInfo, cluster: &Cluster) -> bool {
    term.matches(pod, cluster.namespace_labels(&pod.namespace))
}

/// The pods that match all the terms, by value of a label.
fn matching(terms: &[&AffinityTerm], key: &str, cluster: &mut Cluster) -> Places {
    if terms.iter().all(|term| term.namespace_selector.is_none()) {
        let terms = terms
            .iter()
            .map(|term| (term.namespaces.clone(), term.selector.clone()))
            .collect();
        return cluster.count_places(
            Matcher {
                terms,
                owner: None,
                terminating: true,
            },
            key,
        );
    }
    let mut places = Places::default();
    for (slot, pod) in cluster.all_pods() {
        if terms.iter().all(|term| about(term, pod, cluster)) {
            add_place(&mut places, key, cluster.node(slot), 1);
        }
    }
    places
}

/// Adds places of one label to those of several.
fn merge(into: &mut Vec<(Arc<str>, Places)>, key: &Arc<str>, places: &Places) {
    match into.iter_mut().find(|(known, _)| known == key) {
        None => into.push((key.clone(), places.clone())),
        Some((_, known)) => {
            let known = Arc::make_mut(known);
            for (value, amount) in places.iter() {
                *known.entry(value.clone()).or_default() += amount;
            }
        }
    }
}

impl InterPod {
    /// Counts beforehand.
    pub fn new(pod: &PodInfo, cluster: &mut Cluster) -> Self {
        let mut state = InterPod::default();
        for placed in cluster.terms() {
            if placed.meaning == Meaning::Refuses && about(&placed.term, pod, cluster) {
                merge(&mut state.refusing, &placed.term.topology_key, &placed.places);
            }
        }
        if !pod.affinity.is_empty() {
            state.matches_itself = pod.affinity.iter().all(|term| about(term, pod, cluster));
            let terms: Vec<_> = pod.affinity.iter().collect();
            for term in &pod.affinity {
                state.wanted.push(matching(&terms, &term.topology_key, cluster));
            }
        }
        state.find_alone();
        for term in &pod.anti_affinity {
            state
                .unwanted
                .push(matching(&[term], &term.topology_key, cluster));
        }
        state
    }

    fn find_alone(&mut self) {
        self.alone = self
            .wanted
            .iter()
            .all(|places| places.values().all(|count| *count <= 0));
    }

    /// As if `other` had come to (`1`) or left (`-1`) the node.
    pub fn adjust(&mut self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, cluster: &Cluster, by: i64) {
        for term in other
            .anti_affinity
            .iter()
            .filter(|term| about(term, pod, cluster))
        {
            let key = &term.topology_key;
            if !self.refusing.iter().any(|(known, _)| known == key) {
                self.refusing.push((key.clone(), Places::default()));
            }
            for (_, places) in self.refusing.iter_mut().filter(|(known, _)| known == key) {
                add_place(places, key, node, by);
            }
        }
        if !pod.affinity.is_empty() && pod.affinity.iter().all(|term| about(term, other, cluster)) {
            for (term, places) in pod.affinity.iter().zip(&mut self.wanted) {
                add_place(places, &term.topology_key, node, by);
            }
            self.find_alone();
        }
        for (term, places) in pod.anti_affinity.iter().zip(&mut self.unwanted) {
            if about(term, other, cluster) {
                add_place(places, &term.topology_key, node, by);
            }
        }
    }

    /// Whether the pod may go beside the pods in the node's places.
    pub fn allows(&self, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        if !self.affinity_holds(pod, node) {
            let reason = "node(s) didn't match pod affinity rules";
            return Err(Reject::unresolvable(Plugin::InterPodAffinity, reason));
        }
        let has = |places: &Places, key: &str| place(places, key, node).is_some_and(|count| count > 0);
        if pod
            .anti_affinity
            .iter()
            .zip(&self.unwanted)
            .any(|(term, places)| has(places, &term.topology_key))
        {
            let reason = "node(s) didn't match pod anti-affinity rules";
            return Err(Reject::unschedulable(Plugin::InterPodAffinity, reason));
        }
        if self.refusing.iter().any(|(key, places)| has(places, key)) {
            let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
            return Err(Reject::unschedulable(Plugin::InterPodAffinity, reason));
        }
        Ok(())
    }

    fn affinity_holds(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        let mut all = true;
        for (term, places) in pod.affinity.iter().zip(&self.wanted) {
            match place(places, &term.topology_key, node) {
                None => return false,
                Some(count) => all &= count > 0,
            }
        }
        // The first pod of a group that wants to be together has nobody to join.
        all || (self.matches_itself && self.alone)
    }
}

/// What pods prefer, by place.
#[derive(Debug, Default)]
pub struct InterPodScore {
    /// Label, weight per pod, pods by value of the label.
    terms: Vec<(Arc<str>, i64, Places)>,
}

impl InterPodScore {
    /// Counts beforehand.
    pub fn new(pod: &PodInfo, cluster: &mut Cluster) -> Self {
        let mut terms = Vec::new();
        for (weight, term) in &pod.preferred {
            terms.push((
                term.topology_key.clone(),
                *weight,
                matching(&[term], &term.topology_key, cluster),
            ));
        }
        for placed in cluster.terms() {
            let weight = match placed.meaning {
                Meaning::Refuses => continue,
                Meaning::Requires => HARD_AFFINITY_WEIGHT,
                Meaning::Prefers(weight) => weight,
            };
            if about(&placed.term, pod, cluster) {
                terms.push((placed.term.topology_key.clone(), weight, placed.places.clone()));
            }
        }
        terms.retain(|(_, _, places)| !places.is_empty());
        InterPodScore { terms }
    }

    /// Whether all nodes score the same.
    pub fn is_idle(&self) -> bool {
        self.terms.is_empty()
    }

    /// Sum of the weights that speak for the node; may be negative.
    pub fn score(&self, node: &NodeInfo) -> i64 {
        self.terms
            .iter()
            .map(|(key, weight, places)| weight * place(places, key, node).unwrap_or(0))
            .sum()
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
