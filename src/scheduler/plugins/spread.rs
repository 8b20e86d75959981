//! Spreading pods over places.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/>

use std::collections::HashMap;

use rkind_client::Selector;

use super::{MAX_SCORE, Plugin, Reject, Verdict, basic};
use crate::{
    cluster::{Cluster, Slot},
    counts::{Matcher, NodeCounts},
    node::NodeInfo,
    pod::{PodInfo, SpreadConstraint},
};

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

fn matcher(pod: &PodInfo, selector: Selector) -> Matcher {
    Matcher {
        terms: vec![(vec![pod.namespace.clone()], selector)],
        owner: None,
        terminating: false,
    }
}

fn has_all_labels<'a>(node: &NodeInfo, constraints: impl IntoIterator<Item = &'a SpreadConstraint>) -> bool {
    constraints
        .into_iter()
        .all(|constraint| node.label(&constraint.topology_key).is_some())
}

/// Whether the pods on this node count for the constraint.
fn counts_in(constraint: &SpreadConstraint, pod: &PodInfo, node: &NodeInfo) -> bool {
    (!constraint.honor_affinity || pod.node_affinity.allows(node))
        && (!constraint.honor_taints || basic::untolerated(pod, node).is_none())
}

/// The hard constraints of one pod, counted.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    /// Index into the pod's constraints, and pods per place (also places without any).
    constraints: Vec<(usize, HashMap<String, i64>)>,
}

impl Spread {
    /// Counts beforehand.
    pub fn new(pod: &PodInfo, cluster: &mut Cluster) -> Self {
        let hard: Vec<_> = pod
            .spread
            .iter()
            .enumerate()
            .filter(|(_, constraint)| constraint.hard)
            .collect();
        if hard.is_empty() {
            return Spread::default();
        }
        let nodes = cluster.order().to_vec();
        let counts: Vec<_> = hard
            .iter()
            .map(|(_, constraint)| cluster.count(matcher(pod, constraint.selector.clone())))
            .collect();
        let mut constraints: Vec<_> = hard
            .iter()
            .map(|(index, _)| (*index, HashMap::<String, i64>::new()))
            .collect();
        for slot in nodes {
            let node = cluster.node(slot);
            if !has_all_labels(node, hard.iter().map(|(_, constraint)| *constraint)) {
                continue;
            }
            for (((_, constraint), counts), (_, places)) in hard.iter().zip(&counts).zip(&mut constraints) {
                if !counts_in(constraint, pod, node) {
                    continue;
                }
                let Some(value) = node.label(&constraint.topology_key) else {
                    continue;
                };
                let count = i64::from(counts.get(slot).copied().unwrap_or(0));
                match places.get_mut(value) {
                    Some(sum) => *sum += count,
                    None => {
                        places.insert(value.to_owned(), count);
                    }
                }
            }
        }
        Spread { constraints }
    }

    /// Whether no node can be refused.
    pub fn is_idle(&self) -> bool {
        self.constraints.is_empty()
    }

    /// As if `other` had come to (`1`) or left (`-1`) the node.
    pub fn adjust(&mut self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, by: i64) {
        if other.namespace != pod.namespace || !has_all_labels(node, pod.spread.iter().filter(|c| c.hard)) {
            return;
        }
        for (index, places) in &mut self.constraints {
            let constraint = &pod.spread[*index];
            if constraint.selector.matches(other.labels())
                && other.pod.metadata.deletion_timestamp.is_none()
                && counts_in(constraint, pod, node)
                && let Some(count) = node
                    .label(&constraint.topology_key)
                    .and_then(|value| places.get_mut(value))
            {
                *count += by;
            }
        }
    }

    /// Whether the node's places would stay within all constraints.
    pub fn allows(&self, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        for (index, places) in &self.constraints {
            let constraint = &pod.spread[*index];
            let Some(value) = node.label(&constraint.topology_key) else {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(Reject::unresolvable(Plugin::PodTopologySpread, reason));
            };
            let few = (places.len() as i64) < constraint.min_domains;
            let emptiest = if few {
                0
            } else {
                places.values().copied().min().unwrap_or(0)
            };
            let itself = i64::from(constraint.selector.matches(pod.labels()));
            if places.get(value).copied().unwrap_or(0) + itself - emptiest > constraint.max_skew {
                let reason = "node(s) didn't match pod topology spread constraints";
                return Err(Reject::unschedulable(Plugin::PodTopologySpread, reason));
            }
        }
        Ok(())
    }
}

/// The soft constraints of one pod, counted over the nodes that may take it.
#[derive(Debug, Default)]
pub struct SpreadScore {
    rules: Vec<Rule>,
    /// Nodes must have every constraint's label to be scored.
    all_labels: bool,
}

#[derive(Debug)]
struct Rule {
    topology_key: String,
    max_skew: i64,
    weight: f64,
    counts: NodeCounts,
    /// Pods per place; not for host names, where the node's own count serves.
    places: HashMap<String, i64>,
}

impl SpreadScore {
    /// Counts beforehand. `feasible`: the nodes that passed all filters.
    ///
    /// A pod without constraints of its own is spread over hosts and zones, softly, among the pods of its
    /// Services and of the controller that made it.
    pub fn new(pod: &PodInfo, cluster: &mut Cluster, feasible: &[Slot]) -> Self {
        let mut constraints: Vec<(SpreadConstraint, Matcher)> = Vec::new();
        if pod.spread.is_empty() {
            let labels = cluster.service_labels(pod);
            if labels.is_empty() && pod.owner.is_none() {
                return SpreadScore::default();
            }
            let selector = Selector::from_map(Some(&labels));
            for (topology_key, max_skew) in [(HOSTNAME, 3), (ZONE, 5)] {
                let constraint = SpreadConstraint {
                    max_skew,
                    topology_key: topology_key.into(),
                    hard: false,
                    selector: selector.clone(),
                    min_domains: 1,
                    honor_affinity: true,
                    honor_taints: false,
                };
                let counted = Matcher {
                    owner: pod.owner.clone(),
                    ..matcher(pod, selector.clone())
                };
                constraints.push((constraint, counted));
            }
        } else {
            for constraint in pod.spread.iter().filter(|constraint| !constraint.hard) {
                constraints.push((constraint.clone(), matcher(pod, constraint.selector.clone())));
            }
        }
        let all_labels = !pod.spread.is_empty();
        if constraints.is_empty() {
            return SpreadScore::default();
        }
        let counts: Vec<_> = constraints
            .iter()
            .map(|(_, matcher)| cluster.count(matcher.clone()))
            .collect();
        let all = cluster.order().to_vec();
        let scored =
            |node: &NodeInfo| !all_labels || has_all_labels(node, constraints.iter().map(|(c, _)| c));
        let candidates: Vec<_> = feasible
            .iter()
            .map(|slot| cluster.node(*slot))
            .filter(|node| scored(node))
            .collect();
        let mut rules = Vec::new();
        for ((constraint, _), counts) in constraints.iter().zip(counts) {
            let mut places = HashMap::new();
            let mut size = candidates.len();
            if &*constraint.topology_key != HOSTNAME {
                for node in &candidates {
                    let value = node.label(&constraint.topology_key).unwrap_or_default();
                    if !places.contains_key(value) {
                        places.insert(value.to_owned(), 0);
                    }
                }
                size = places.len();
                for slot in &all {
                    let count = counts.get(*slot).copied().unwrap_or(0);
                    if count == 0 {
                        continue;
                    }
                    let node = cluster.node(*slot);
                    if !scored(node) || !counts_in(constraint, pod, node) {
                        continue;
                    }
                    let value = node.label(&constraint.topology_key).unwrap_or_default();
                    if let Some(sum) = places.get_mut(value) {
                        *sum += i64::from(count);
                    }
                }
            }
            rules.push(Rule {
                topology_key: constraint.topology_key.to_string(),
                max_skew: constraint.max_skew,
                weight: ((size + 2) as f64).ln(),
                counts,
                places,
            });
        }
        SpreadScore { rules, all_labels }
    }

    /// Whether all nodes score the same.
    pub fn is_idle(&self) -> bool {
        self.rules.is_empty()
    }

    /// How crowded the node's places are; `None`: it lacks a label and gets no score.
    pub fn score(&self, slot: Slot, node: &NodeInfo) -> Option<i64> {
        let mut score = 0.0;
        for rule in &self.rules {
            let Some(value) = node.label(&rule.topology_key) else {
                if self.all_labels {
                    return None;
                }
                continue;
            };
            let count = if rule.topology_key == HOSTNAME {
                i64::from(rule.counts.get(slot).copied().unwrap_or(0))
            } else {
                rule.places.get(value).copied().unwrap_or(0)
            };
            score += count as f64 * rule.weight + (rule.max_skew - 1) as f64;
        }
        Some(score.round() as i64)
    }

    /// The least crowded becomes the best; nodes without a score get 0.
    pub fn normalize(scores: &[Option<i64>]) -> Vec<i64> {
        let highest = scores.iter().flatten().copied().max().unwrap_or(0);
        let lowest = scores.iter().flatten().copied().min().unwrap_or(0);
        let normal = |score: &Option<i64>| match score {
            None => 0,
            Some(_) if highest == 0 => MAX_SCORE,
            Some(score) => MAX_SCORE * (highest + lowest - score) / highest,
        };
        scores.iter().map(normal).collect()
    }
}
