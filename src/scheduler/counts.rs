//! How many pods of a sort are on each node, kept up to date instead of counted for every placement.
//!
//! Spreading and affinity ask the same question again and again: the pods of one ReplicaSet all ask for
//! the same labels. The first question walks over the pods; from then on each change of a pod adjusts
//! the counts.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher},
    sync::Arc,
};

use rkind_client::Selector;

use crate::{node::NodeInfo, pod::PodInfo};

/// Which pods count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// Namespaces and labels; all must hold.
    pub terms: Vec<(Vec<Arc<str>>, Selector)>,
    /// Made by this controller.
    pub owner: Option<Arc<str>>,
    /// Pods that are being deleted count too.
    pub terminating: bool,
}

impl Matcher {
    /// Whether this pod counts.
    pub fn matches(&self, pod: &PodInfo) -> bool {
        (self.owner.is_none() || self.owner == pod.owner)
            && (self.terminating || pod.pod.metadata.deletion_timestamp.is_none())
            && self.terms.iter().all(|(namespaces, selector)| {
                namespaces.contains(&pod.namespace) && selector.matches(pod.labels())
            })
    }

    /// The namespaces that all its pods are in.
    pub fn namespaces(&self) -> &[Arc<str>] {
        self.terms.first().map_or(&[], |(namespaces, _)| namespaces)
    }
}

/// Pods per node, by the node's slot. Missing slots count as 0.
pub type NodeCounts = Arc<Vec<u32>>;

/// An amount per value of a node label. Missing values count as 0.
pub type Places = Arc<HashMap<String, i64, Quick>>;

/// Hashes short label values with little ado. Who may label nodes may do worse than making two values
/// collide.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quick(u64);

impl BuildHasher for Quick {
    type Hasher = Quick;

    fn build_hasher(&self) -> Quick {
        Quick::default()
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        // Multiplying spreads low bits upwards; the end folds the high ones back.
        for word in bytes.chunks(8) {
            let mut padded = [0; 8];
            padded[..word.len()].copy_from_slice(word);
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(padded)).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 ^= u64::from(byte);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}

/// Adds to the amount of the place that the node is in.
pub(crate) fn add_place(places: &mut Places, key: &str, node: &NodeInfo, by: i64) {
    let Some(value) = node.label(key) else { return };
    // No copy unless a placement under way still holds the old answer.
    let places = Arc::make_mut(places);
    match places.get_mut(value) {
        Some(amount) => *amount += by,
        None => {
            places.insert(value.to_owned(), by);
        }
    }
}

/// The amount of the place that the node is in; `None`: the node lacks the label.
pub(crate) fn place(places: &Places, key: &str, node: &NodeInfo) -> Option<i64> {
    node.label(key)
        .map(|value| places.get(value).copied().unwrap_or(0))
}

/// Most questions that are remembered.
const REMEMBERED: usize = 256;

/// Remembered questions with their answers.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    entries: Vec<Counted>,
    clock: u64,
}

#[derive(Debug)]
struct Counted {
    matcher: Matcher,
    nodes: NodeCounts,
    /// The same by the values of those labels that were asked for.
    places: Vec<(Arc<str>, Places)>,
    used: u64,
}

impl Counts {
    fn entry(&mut self, matcher: &Matcher) -> Option<&mut Counted> {
        self.clock += 1;
        let entry = self.entries.iter_mut().find(|entry| entry.matcher == *matcher)?;
        entry.used = self.clock;
        Some(entry)
    }

    /// The remembered answer.
    pub(crate) fn nodes(&mut self, matcher: &Matcher) -> Option<NodeCounts> {
        self.entry(matcher).map(|entry| entry.nodes.clone())
    }

    /// The remembered answer by place.
    pub(crate) fn places(&mut self, matcher: &Matcher, key: &str) -> Option<Places> {
        let entry = self.entry(matcher)?;
        entry
            .places
            .iter()
            .find(|(known, _)| **known == *key)
            .map(|(_, places)| places.clone())
    }

    /// Remembers an answer, in place of the one that was of no use for longest.
    pub(crate) fn insert(&mut self, matcher: Matcher, nodes: NodeCounts) {
        if self.entries.len() >= REMEMBERED
            && let Some(oldest) = (0..self.entries.len()).min_by_key(|index| self.entries[*index].used)
        {
            self.entries.swap_remove(oldest);
        }
        self.entries.push(Counted {
            matcher,
            nodes,
            places: Vec::new(),
            used: self.clock,
        });
    }

    /// Remembers an answer by place, beside the one by node.
    pub(crate) fn insert_places(&mut self, matcher: &Matcher, key: &str, places: Places) {
        if let Some(entry) = self.entry(matcher) {
            entry.places.push((key.into(), places));
        }
    }

    /// Labels of a node have changed.
    pub(crate) fn forget_places(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.places.clear());
    }

    /// A pod came to (`1`) or left (`-1`) a node.
    pub(crate) fn adjust(&mut self, pod: &PodInfo, slot: usize, node: &NodeInfo, by: i32) {
        for entry in &mut self.entries {
            if !entry.matcher.matches(pod) {
                continue;
            }
            let nodes = Arc::make_mut(&mut entry.nodes);
            if nodes.len() <= slot {
                nodes.resize(slot + 1, 0);
            }
            nodes[slot] = nodes[slot].saturating_add_signed(by);
            for (key, places) in &mut entry.places {
                add_place(places, key, node, i64::from(by));
            }
        }
    }
}
