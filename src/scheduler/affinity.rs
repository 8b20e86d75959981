//! Node selectors and node affinity.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity>

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

use crate::node::NodeInfo;

/// Which nodes a pod may or would like to go to.
#[derive(Clone, Debug, Default)]
pub struct NodeAffinity {
    selector: BTreeMap<String, String>,
    /// One of them must match; `None`: no such rule.
    required: Option<Vec<Term>>,
    /// Weight and term.
    preferred: Vec<(i64, Term)>,
}

#[derive(Clone, Debug)]
struct Term {
    labels: Vec<NodeSelectorRequirement>,
    /// On `metadata.name` only: there is no other field.
    fields: Vec<NodeSelectorRequirement>,
}

impl Term {
    fn new(term: &NodeSelectorTerm) -> Self {
        Term {
            labels: term.match_expressions.clone().unwrap_or_default(),
            fields: term.match_fields.clone().unwrap_or_default(),
        }
    }

    /// An empty term matches no node.
    fn matches(&self, node: &NodeInfo) -> bool {
        (!self.labels.is_empty() || !self.fields.is_empty())
            && self.labels.iter().all(|r| holds(r, node.label(&r.key)))
            && self
                .fields
                .iter()
                .all(|r| r.key == "metadata.name" && holds(r, Some(&node.name)))
    }

    /// The node names it is bound to, if it is.
    fn names(&self) -> Option<BTreeSet<&str>> {
        let bound = self
            .fields
            .iter()
            .find(|r| r.key == "metadata.name" && r.operator == "In")?;
        Some(bound.values.iter().flatten().map(String::as_str).collect())
    }
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || value.is_some_and(|value| values.iter().any(|v| v == value));
    let compare = |wanted: fn(i64, i64) -> bool| match (value.map(str::parse), values) {
        (Some(Ok(has)), [bound]) => bound.parse().is_ok_and(|bound| wanted(has, bound)),
        _ => false,
    };
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(|has, bound| has > bound),
        "Lt" => compare(|has, bound| has < bound),
        _ => false,
    }
}

impl NodeAffinity {
    pub(crate) fn new(spec: &PodSpec) -> Self {
        let affinity = spec
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref());
        let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        let preferred =
            affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
        NodeAffinity {
            selector: spec.node_selector.clone().unwrap_or_default(),
            required: required.map(|required| required.node_selector_terms.iter().map(Term::new).collect()),
            preferred: preferred
                .into_iter()
                .flatten()
                .map(|weighted| (i64::from(weighted.weight), Term::new(&weighted.preference)))
                .collect(),
        }
    }

    /// For a persistent volume, which has required terms only.
    pub(crate) fn from_terms(terms: &[NodeSelectorTerm]) -> Self {
        NodeAffinity {
            required: Some(terms.iter().map(Term::new).collect()),
            ..NodeAffinity::default()
        }
    }

    /// Whether every node passes.
    pub(crate) fn allows_all(&self) -> bool {
        self.selector.is_empty() && self.required.is_none()
    }

    /// Whether the node selector and the required terms let the node pass.
    pub(crate) fn allows(&self, node: &NodeInfo) -> bool {
        self.selector
            .iter()
            .all(|(key, value)| node.label(key) == Some(value))
            && self
                .required
                .as_ref()
                .is_none_or(|terms| terms.iter().any(|term| term.matches(node)))
    }

    /// The only nodes that the required terms can let pass, by name; `None`: not limited so. Daemon pods
    /// are bound to their node this way, which spares looking at the others.
    pub(crate) fn only_names(&self) -> Option<BTreeSet<&str>> {
        let mut names = BTreeSet::new();
        for term in self.required.as_ref()? {
            names.extend(term.names()?);
        }
        Some(names)
    }

    /// Whether any node is preferred.
    pub(crate) fn has_preferences(&self) -> bool {
        !self.preferred.is_empty()
    }

    /// Sum of the weights of the preferred terms that match.
    pub(crate) fn preference(&self, node: &NodeInfo) -> i64 {
        self.preferred
            .iter()
            .filter(|(weight, term)| *weight != 0 && term.matches(node))
            .map(|(w, _)| w)
            .sum()
    }
}
