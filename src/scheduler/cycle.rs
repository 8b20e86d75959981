//! Placing one pod: filter, score, choose.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rand::{Rng as _, rngs::SmallRng};

use crate::{
    cluster::{Cluster, Slot},
    node::NodeInfo,
    plugins::{
        Plugin, PluginSet, Reject, Verdict, basic, fit,
        inter_pod::{InterPod, InterPodScore},
        normalize,
        spread::{Spread, SpreadScore},
        volumes::Claims,
    },
    pod::PodInfo,
};

/// One pod with what was counted for it beforehand.
#[derive(Clone, Debug)]
pub struct Cycle {
    /// The pod.
    pub pod: Arc<PodInfo>,
    /// The only nodes that come into question, by name.
    only: Option<BTreeSet<String>>,
    /// What its volumes need.
    pub claims: Claims,
    inter_pod: InterPod,
    spread: Spread,
}

impl Cycle {
    /// Counts beforehand. An error concerns the pod as a whole.
    pub fn new(pod: Arc<PodInfo>, cluster: &mut Cluster) -> Result<Self, Reject> {
        if let Some(error) = &pod.invalid {
            return Err(Reject::unresolvable(Plugin::InterPodAffinity, error.clone()));
        }
        let only = pod.node_affinity.only_names();
        let only = only.map(|names| names.into_iter().map(str::to_owned).collect());
        Ok(Cycle {
            only,
            claims: Claims::new(&pod, &cluster.volumes)?,
            inter_pod: InterPod::new(&pod, cluster),
            spread: Spread::new(&pod, cluster),
            pod,
        })
    }

    /// Whether the node may take the pod, as it is.
    pub fn filter(&self, node: &NodeInfo) -> Verdict {
        let pod = &*self.pod;
        basic::node_unschedulable(pod, node)?;
        basic::node_name(pod, node)?;
        basic::taint_toleration(pod, node)?;
        basic::node_affinity(pod, node)?;
        basic::node_ports(pod, node)?;
        fit::fits(pod, node)?;
        self.claims.allows(node)?;
        self.spread.allows(pod, node)?;
        self.inter_pod.allows(pod, node)
    }

    /// As if `other` had come to (`1`) or left (`-1`) the node.
    pub fn adjust(&mut self, other: &PodInfo, node: &NodeInfo, cluster: &Cluster, by: i64) {
        self.inter_pod.adjust(&self.pod, other, node, cluster, by);
        self.spread.adjust(&self.pod, other, node, by);
    }

    /// Whether the node may take the pod: also beside the pods that it was cleared for, and without them,
    /// since they may never come.
    pub fn check(&self, cluster: &Cluster, node: &NodeInfo) -> Verdict {
        if cluster.has_nominations() {
            let nominated = cluster.nominated(&node.name, &self.pod);
            if !nominated.is_empty() {
                let (mut with, mut crowded) = (self.clone(), node.clone());
                for other in nominated {
                    with.adjust(&other, node, cluster, 1);
                    crowded.add_pod(other);
                }
                with.filter(&crowded)?;
            }
        }
        self.filter(node)
    }

    /// The nodes to look at.
    pub fn candidates(&self, cluster: &mut Cluster) -> Vec<Slot> {
        match &self.only {
            None => cluster.order().to_vec(),
            Some(names) => names.iter().filter_map(|name| cluster.slot(name)).collect(),
        }
    }
}

/// Why a pod found no node.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// Number of all nodes.
    pub nodes: usize,
    /// The reason, if it concerns the pod whatever the node.
    pub pod: Option<Reject>,
    /// The nodes that were looked at.
    pub rejects: Vec<(Slot, Reject)>,
    /// Why the others were not.
    pub absent: Option<&'static str>,
}

impl Failure {
    /// The rules that stood in the way.
    pub fn plugins(&self) -> PluginSet {
        let mut plugins: PluginSet = self
            .pod
            .iter()
            .chain(self.rejects.iter().map(|(_, reject)| reject))
            .map(|r| r.plugin)
            .collect();
        if self.absent.is_some() && self.pod.is_none() {
            plugins.insert(Plugin::NodeAffinity);
        }
        plugins
    }

    /// Upstream's message: `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had ….`
    pub fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut message = format!("0/{} nodes are available:", self.nodes);
        if let Some(reject) = &self.pod {
            message.push_str(&format!(" {}.", reject.reasons.join(", ")));
            return message;
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in self.rejects.iter().flat_map(|(_, reject)| &reject.reasons) {
            *counts.entry(reason).or_default() += 1;
        }
        if let Some(absent) = self.absent
            && self.nodes > self.rejects.len()
        {
            *counts.entry(absent).or_default() += self.nodes - self.rejects.len();
        }
        let mut reasons: Vec<_> = counts
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        reasons.sort();
        if !reasons.is_empty() {
            message.push_str(&format!(" {}.", reasons.join(", ")));
        }
        message
    }
}

/// Chooses nodes; remembers where it stopped looking.
#[derive(Debug)]
pub struct Chooser {
    /// Where the next search begins, so that over time all nodes of a large cluster are looked at.
    next: usize,
    random: SmallRng,
}

impl Chooser {
    /// Begins at the first node.
    pub fn new(random: SmallRng) -> Self {
        Chooser { next: 0, random }
    }

    /// The node for a pod.
    pub fn choose(&mut self, cycle: &Cycle, cluster: &mut Cluster) -> Result<Slot, Failure> {
        let total = cluster.order().len();
        if total == 0 {
            return Err(Failure::default());
        }
        if let Some(slot) = self.nominated(cycle, cluster) {
            return Ok(slot);
        }
        let candidates = cycle.candidates(cluster);
        let wanted = enough(candidates.len());
        let start = if cycle.only.is_some() {
            0
        } else {
            self.next % candidates.len().max(1)
        };
        let (mut feasible, mut rejects) = (Vec::new(), Vec::new());
        for offset in 0..candidates.len() {
            let slot = candidates[(start + offset) % candidates.len()];
            match cycle.check(cluster, cluster.node(slot)) {
                Ok(()) => feasible.push(slot),
                Err(reject) => rejects.push((slot, reject)),
            }
            if feasible.len() >= wanted {
                break;
            }
        }
        if cycle.only.is_none() {
            self.next = (start + feasible.len() + rejects.len()) % candidates.len().max(1);
        }
        match feasible[..] {
            [] => {
                let absent = cycle
                    .only
                    .as_ref()
                    .map(|_| "node(s) didn't satisfy plugin(s) [NodeAffinity]");
                Err(Failure {
                    nodes: total,
                    pod: None,
                    rejects,
                    absent,
                })
            }
            [only] => Ok(only),
            _ => {
                let scores = scores(&cycle.pod, cluster, &feasible);
                Ok(self.best(&feasible, &scores))
            }
        }
    }

    /// The node that was cleared for the pod, if it may go there now.
    fn nominated(&self, cycle: &Cycle, cluster: &Cluster) -> Option<Slot> {
        let status = cycle.pod.pod.status.as_ref()?;
        let slot = cluster.slot(
            status
                .nominated_node_name
                .as_deref()
                .filter(|name| !name.is_empty())?,
        )?;
        cycle.check(cluster, cluster.node(slot)).is_ok().then_some(slot)
    }

    /// One of the best, by lot.
    fn best(&mut self, feasible: &[Slot], scores: &[i64]) -> Slot {
        let (mut best, mut equal) = (0, 1_u32);
        for index in 1..feasible.len() {
            if scores[index] > scores[best] {
                (best, equal) = (index, 1);
            } else if scores[index] == scores[best] {
                equal += 1;
                if self.random.random_ratio(1, equal) {
                    best = index;
                }
            }
        }
        feasible[best]
    }
}

/// How many feasible nodes are enough: all of up to 100, then a share that falls from half to a twentieth.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/scheduler-perf-tuning/>
fn enough(nodes: usize) -> usize {
    const LEAST: usize = 100;
    if nodes < LEAST {
        return nodes;
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(LEAST)
}

/// The sum of all rules' weighted scores per node.
pub fn scores(pod: &PodInfo, cluster: &mut Cluster, feasible: &[Slot]) -> Vec<i64> {
    let all = cluster.order().len();
    let inter_pod = InterPodScore::new(pod, cluster);
    let spread = SpreadScore::new(pod, cluster, feasible);
    let cluster = &*cluster;
    let mut total = vec![0; feasible.len()];
    let mut add = |weight: i64, scores: &[i64]| {
        total
            .iter_mut()
            .zip(scores)
            .for_each(|(sum, score)| *sum += weight * score);
    };
    let each = |score: &dyn Fn(&NodeInfo) -> i64| -> Vec<i64> {
        feasible.iter().map(|slot| score(cluster.node(*slot))).collect()
    };
    let mut taints = each(&|node| basic::taint_score(pod, node));
    normalize(&mut taints, true);
    add(3, &taints);
    if pod.node_affinity.has_preferences() {
        let mut preferences = each(&|node| pod.node_affinity.preference(node));
        normalize(&mut preferences, false);
        add(2, &preferences);
    }
    add(1, &each(&|node| fit::least_allocated(pod, node)));
    if pod.requests.cpu > 0 || pod.requests.memory > 0 {
        add(1, &each(&|node| fit::balanced(pod, node)));
    }
    let images = basic::Images::new(pod, cluster, all);
    add(1, &each(&|node| images.score(node)));
    if !spread.is_idle() {
        let crowded: Vec<_> = feasible
            .iter()
            .map(|slot| spread.score(*slot, cluster.node(*slot)))
            .collect();
        add(2, &SpreadScore::normalize(&crowded));
    }
    if !inter_pod.is_idle() {
        let mut liked = each(&|node| inter_pod.score(node));
        InterPodScore::normalize(&mut liked);
        add(2, &liked);
    }
    total
}

/// A message's text that was built at run time.
pub(crate) fn text(reason: impl Into<String>) -> Cow<'static, str> {
    Cow::Owned(reason.into())
}

#[cfg(test)]
mod tests;
