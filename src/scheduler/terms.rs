//! The affinity terms of the pods that are placed, each distinct one once.
//!
//! A pod that is being placed must be held against the terms of all the others. Pods of one controller
//! have the same terms, so there are few distinct ones; each knows how many pods have it in each place.

use std::sync::Arc;

use crate::{
    counts::{Places, add_place},
    node::NodeInfo,
    pod::{AffinityTerm, PodInfo},
};

/// What a term means for a pod that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It must not come near.
    Refuses,
    /// It had to be near, so is welcome.
    Requires,
    /// It is welcome, or not, by this weight.
    Prefers(i64),
}

/// A term that some placed pods have.
#[derive(Clone, Debug)]
pub struct PlacedTerm {
    /// What it means.
    pub meaning: Meaning,
    /// Which pods it is about.
    pub term: AffinityTerm,
    /// Pods that have it, by value of its topology key.
    pub places: Places,
    /// Pods that have it.
    pods: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    terms: Vec<PlacedTerm>,
}

impl Terms {
    /// All distinct terms.
    pub(crate) fn all(&self) -> &[PlacedTerm] {
        &self.terms
    }

    /// A pod came to (`1`) or left (`-1`) a node.
    pub(crate) fn adjust(&mut self, pod: &PodInfo, node: &NodeInfo, by: i64) {
        if !pod.has_affinity() {
            return;
        }
        let refuses = pod.anti_affinity.iter().map(|term| (Meaning::Refuses, term));
        let requires = pod.affinity.iter().map(|term| (Meaning::Requires, term));
        let prefers = pod
            .preferred
            .iter()
            .map(|(weight, term)| (Meaning::Prefers(*weight), term));
        for (meaning, term) in refuses.chain(requires).chain(prefers) {
            let known = self
                .terms
                .iter()
                .position(|known| known.meaning == meaning && known.term == *term);
            let index = known.unwrap_or_else(|| {
                let term = term.clone();
                self.terms.push(PlacedTerm {
                    meaning,
                    term,
                    places: Arc::default(),
                    pods: 0,
                });
                self.terms.len() - 1
            });
            let known = &mut self.terms[index];
            add_place(&mut known.places, &known.term.topology_key, node, by);
            if by > 0 {
                known.pods += 1;
            } else {
                known.pods -= 1;
                if known.pods == 0 {
                    self.terms.swap_remove(index);
                }
            }
        }
    }
}
