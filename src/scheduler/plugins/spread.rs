//! Spreading pods over places.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/>

use std::{collections::HashSet, sync::Arc};

use rkind_client::Selector;

use super::{MAX_SCORE, Plugin, Reject, Verdict, basic};
use crate::{
    cluster::{Cluster, Slot},
    counts::{Matcher, NodeCounts, Places, add_place, place},
    node::{HOSTNAME, NodeInfo, ZONE},
    pod::{PodInfo, SpreadConstraint},
};

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

/// Whether the pods on every node that has the label count.
fn counts_everywhere(constraint: &SpreadConstraint, pod: &PodInfo) -> bool {
    (!constraint.honor_affinity || pod.node_affinity.allows_all()) && !constraint.honor_taints
}

/// The hard constraints of one pod, counted.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    constraints: Vec<Hard>,
}

#[derive(Clone, Debug)]
struct Hard {
    /// Index into the pod's constraints.
    index: usize,
    /// Pods per place that counts, also of places without any.
    places: Places,
    /// Pods in the emptiest place, or 0 when there are too few places.
    emptiest: i64,
}

impl Hard {
    fn new(index: usize, places: Places, constraint: &SpreadConstraint) -> Self {
        let mut hard = Hard {
            index,
            places,
            emptiest: 0,
        };
        hard.find_emptiest(constraint);
        hard
    }

    fn find_emptiest(&mut self, constraint: &SpreadConstraint) {
        let few = (self.places.len() as i64) < constraint.min_domains;
        self.emptiest = if few {
            0
        } else {
            self.places.values().copied().min().unwrap_or(0)
        };
    }
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
        if let [(index, constraint)] = hard[..]
            && counts_everywhere(constraint, pod)
        {
            // The ordinary case, from what is counted already.
            let places = cluster.count_places(
                matcher(pod, constraint.selector.clone()),
                &constraint.topology_key,
            );
            return Spread {
                constraints: vec![Hard::new(index, places, constraint)],
            };
        }
        let mut places: Vec<_> = hard.iter().map(|_| Places::default()).collect();
        let counts: Vec<_> = hard
            .iter()
            .map(|(_, constraint)| cluster.count(matcher(pod, constraint.selector.clone())))
            .collect();
        let nodes = if hard.is_empty() {
            Vec::new()
        } else {
            cluster.order().to_vec()
        };
        for slot in nodes {
            let node = cluster.node(slot);
            if !has_all_labels(node, hard.iter().map(|(_, constraint)| *constraint)) {
                continue;
            }
            for (((_, constraint), counts), places) in hard.iter().zip(&counts).zip(&mut places) {
                if !counts_in(constraint, pod, node) {
                    continue;
                }
                let count = i64::from(counts.get(slot).copied().unwrap_or(0));
                add_place(places, &constraint.topology_key, node, count);
            }
        }
        let counted = hard.iter().zip(places);
        let constraints = counted
            .map(|((index, constraint), places)| Hard::new(*index, places, constraint))
            .collect();
        Spread { constraints }
    }

    /// As if `other` had come to (`1`) or left (`-1`) the node.
    pub fn adjust(&mut self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, by: i64) {
        if other.namespace != pod.namespace || !has_all_labels(node, pod.spread.iter().filter(|c| c.hard)) {
            return;
        }
        for hard in &mut self.constraints {
            let constraint = &pod.spread[hard.index];
            if constraint.selector.matches(other.labels())
                && other.pod.metadata.deletion_timestamp.is_none()
                && counts_in(constraint, pod, node)
            {
                add_place(&mut hard.places, &constraint.topology_key, node, by);
                hard.find_emptiest(constraint);
            }
        }
    }

    /// Whether the node's places would stay within all constraints.
    pub fn allows(&self, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        for hard in &self.constraints {
            let constraint = &pod.spread[hard.index];
            let Some(count) = place(&hard.places, &constraint.topology_key, node) else {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(Reject::unresolvable(Plugin::PodTopologySpread, reason));
            };
            let itself = i64::from(constraint.selector.matches(pod.labels()));
            if count + itself - hard.emptiest > constraint.max_skew {
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
    topology_key: Arc<str>,
    max_skew: i64,
    weight: f64,
    counts: NodeCounts,
    /// Pods per place; not for host names, where the node's own count serves.
    places: Places,
}

impl SpreadScore {
    /// Counts beforehand. `feasible`: the nodes that passed all filters.
    ///
    /// A pod without constraints of its own is spread over hosts and zones, softly, among the pods of its
    /// Services and of the controller that made it.
    pub fn new(pod: &PodInfo, cluster: &mut Cluster, feasible: &[Slot]) -> Self {
        let constraints = soft_constraints(pod, cluster);
        if constraints.is_empty() {
            return SpreadScore::default();
        }
        let all_labels = !pod.spread.is_empty();
        let scored =
            |node: &NodeInfo| !all_labels || has_all_labels(node, constraints.iter().map(|(c, _)| c));
        let mut rules = Vec::new();
        for (constraint, matcher) in &constraints {
            let counts = cluster.count(matcher.clone());
            let key = &constraint.topology_key;
            let mut places = Places::default();
            let mut size = 0;
            if **key == *HOSTNAME {
                size = feasible
                    .iter()
                    .filter(|slot| scored(cluster.node(**slot)))
                    .count();
            } else {
                if counts_everywhere(constraint, pod) && (!all_labels || constraints.len() == 1) {
                    places = cluster.count_places(matcher.clone(), key);
                } else {
                    for (slot, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                        let node = cluster.node(slot);
                        if scored(node) && counts_in(constraint, pod, node) {
                            add_place(&mut places, key, node, i64::from(*count));
                        }
                    }
                }
                // Few places: a list is searched faster than a set is filled.
                let mut seen: Vec<&str> = Vec::new();
                for node in feasible
                    .iter()
                    .map(|slot| cluster.node(*slot))
                    .filter(|node| scored(node))
                {
                    let value = node.label(key).unwrap_or_default();
                    if seen.len() < 16 && !seen.contains(&value) {
                        seen.push(value);
                    }
                }
                size += seen.len();
                if size == 16 {
                    let all = feasible
                        .iter()
                        .map(|slot| cluster.node(*slot))
                        .filter(|node| scored(node));
                    size = all
                        .map(|node| node.label(key).unwrap_or_default())
                        .collect::<HashSet<_>>()
                        .len();
                }
            }
            let weight = ((size + 2) as f64).ln();
            rules.push(Rule {
                topology_key: key.clone(),
                max_skew: constraint.max_skew,
                weight,
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
            let count = if *rule.topology_key == *HOSTNAME {
                let count = i64::from(rule.counts.get(slot).copied().unwrap_or(0));
                node.label(HOSTNAME).map(|_| count)
            } else {
                place(&rule.places, &rule.topology_key, node)
            };
            let Some(count) = count else {
                if self.all_labels {
                    return None;
                }
                continue;
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

/// The pod's own soft constraints, or the cluster's, with the pods that count.
fn soft_constraints(pod: &PodInfo, cluster: &Cluster) -> Vec<(SpreadConstraint, Matcher)> {
    if !pod.spread.is_empty() {
        let soft = pod.spread.iter().filter(|constraint| !constraint.hard);
        return soft
            .map(|c| (c.clone(), matcher(pod, c.selector.clone())))
            .collect();
    }
    let labels = cluster.service_labels(pod);
    if labels.is_empty() && pod.owner.is_none() {
        return Vec::new();
    }
    let selector = Selector::from_map(Some(&labels));
    let constraint = |topology_key: &str, max_skew| {
        let constraint = SpreadConstraint {
            max_skew,
            topology_key: topology_key.into(),
            hard: false,
            selector: selector.clone(),
            min_domains: 1,
            honor_affinity: true,
            honor_taints: false,
        };
        (
            constraint,
            Matcher {
                owner: pod.owner.clone(),
                ..matcher(pod, selector.clone())
            },
        )
    };
    vec![constraint(HOSTNAME, 3), constraint(ZONE, 5)]
}
