//! The rules: each a small pure function over a pod, a node and what was counted beforehand.
//!
//! Names, order, weights and messages are upstream's
//! (<https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins>): people and tools read
//! them in events.

use std::borrow::Cow;

pub mod basic;
pub mod fit;
pub mod inter_pod;
pub mod spread;
pub mod volumes;

/// Which rule let a node or a pod fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Plugin {
    SchedulingGates,
    NodeUnschedulable,
    NodeName,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    NodeResourcesFit,
    VolumeBinding,
    PodTopologySpread,
    InterPodAffinity,
}

/// A set of rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PluginSet(u16);

impl PluginSet {
    /// Adds one.
    pub fn insert(&mut self, plugin: Plugin) {
        self.0 |= 1 << plugin as u8;
    }

    /// Whether one is in it.
    pub fn contains(self, plugin: Plugin) -> bool {
        self.0 & (1 << plugin as u8) != 0
    }

    /// Whether none is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds all of another set.
    pub fn extend(&mut self, other: PluginSet) {
        self.0 |= other.0;
    }
}

impl FromIterator<Plugin> for PluginSet {
    fn from_iter<I: IntoIterator<Item = Plugin>>(plugins: I) -> Self {
        let mut set = PluginSet::default();
        plugins.into_iter().for_each(|plugin| set.insert(plugin));
        set
    }
}

/// Why a node is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The rule.
    pub plugin: Plugin,
    /// Whether evicting pods from the node could change it.
    pub resolvable: bool,
    /// For people; counted over nodes.
    pub reasons: Vec<Cow<'static, str>>,
}

impl Reject {
    /// A pod's eviction may help.
    pub fn unschedulable(plugin: Plugin, reason: impl Into<Cow<'static, str>>) -> Self {
        Reject {
            plugin,
            resolvable: true,
            reasons: vec![reason.into()],
        }
    }

    /// No eviction helps.
    pub fn unresolvable(plugin: Plugin, reason: impl Into<Cow<'static, str>>) -> Self {
        Reject {
            plugin,
            resolvable: false,
            reasons: vec![reason.into()],
        }
    }
}

/// A rule's answer for a node.
pub type Verdict = Result<(), Reject>;

/// Highest score of a rule.
pub const MAX_SCORE: i64 = 100;

/// Stretches scores so that the highest becomes [`MAX_SCORE`]; `reverse`: and then the lowest is best.
pub fn normalize(scores: &mut [i64], reverse: bool) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        if highest == 0 {
            *score = if reverse { MAX_SCORE } else { *score };
            continue;
        }
        *score = MAX_SCORE * *score / highest;
        if reverse {
            *score = MAX_SCORE - *score;
        }
    }
}

#[cfg(test)]
mod tests;
