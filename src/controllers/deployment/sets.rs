//! A Deployment's ReplicaSets and the arithmetic on them. Pure.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::annotations;
use crate::common::intstr::resolve;

/// The label that tells a Deployment's ReplicaSets and their pods apart.
pub(super) const HASH_LABEL: &str = "pod-template-hash";

pub(super) fn spec(deployment: &Deployment) -> &DeploymentSpec {
    static EMPTY: std::sync::LazyLock<DeploymentSpec> = std::sync::LazyLock::new(DeploymentSpec::default);
    deployment.spec.as_ref().unwrap_or(&EMPTY)
}

pub(super) fn replicas(deployment: &Deployment) -> i32 {
    spec(deployment).replicas.unwrap_or(1)
}

pub(super) fn is_recreate(deployment: &Deployment) -> bool {
    spec(deployment)
        .strategy
        .as_ref()
        .and_then(|s| s.type_.as_deref())
        == Some("Recreate")
}

/// How many pods there may be above and how many may be missing below the wanted number.
fn bounds(deployment: &Deployment) -> (i32, i32) {
    let rolling: Option<&RollingUpdateDeployment> = spec(deployment)
        .strategy
        .as_ref()
        .and_then(|s| s.rolling_update.as_ref());
    let quarter = IntOrString::String("25%".to_owned());
    let total = replicas(deployment);
    let surge = rolling.and_then(|r| r.max_surge.as_ref()).unwrap_or(&quarter);
    let unavailable = rolling
        .and_then(|r| r.max_unavailable.as_ref())
        .unwrap_or(&quarter);
    let surge = resolve(surge, total, true).unwrap_or(0);
    let unavailable = resolve(unavailable, total, false).unwrap_or(0);
    // With both at zero nothing could ever move.
    if surge == 0 && unavailable == 0 {
        (0, 1)
    } else {
        (surge, unavailable)
    }
}

pub(super) fn max_surge(deployment: &Deployment) -> i32 {
    if is_recreate(deployment) {
        0
    } else {
        bounds(deployment).0
    }
}

pub(super) fn max_unavailable(deployment: &Deployment) -> i32 {
    let total = replicas(deployment);
    if is_recreate(deployment) || total == 0 {
        0
    } else {
        bounds(deployment).1.min(total)
    }
}

/// Sizes of a ReplicaSet.
pub(super) trait Replicas {
    /// `spec.replicas`.
    fn wanted(&self) -> i32;
    /// `status.replicas`.
    fn actual(&self) -> i32;
    /// `status.availableReplicas`.
    fn available(&self) -> i32;
    fn name(&self) -> &str;
}

impl Replicas for ReplicaSet {
    fn wanted(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }
    fn actual(&self) -> i32 {
        self.status.as_ref().map_or(0, |s| s.replicas)
    }
    fn available(&self) -> i32 {
        self.status
            .as_ref()
            .and_then(|s| s.available_replicas)
            .unwrap_or(0)
    }
    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
}

/// One ReplicaSet's new size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) name: String,
    pub(super) replicas: i32,
}

impl Scale {
    pub(super) fn to(set: &ReplicaSet, replicas: i32) -> Self {
        Self {
            name: set.name().to_owned(),
            replicas,
        }
    }
}

/// The set with the Deployment's template, and all others, oldest first.
#[derive(Debug, Default)]
pub(super) struct Sets {
    pub(super) new: Option<ReplicaSet>,
    pub(super) old: Vec<ReplicaSet>,
}

impl Sets {
    pub(super) fn sort(deployment: &Deployment, mut all: Vec<ReplicaSet>) -> Self {
        all.sort_by(by_age);
        let wanted = without_hash(&spec(deployment).template);
        let same = |set: &ReplicaSet| {
            let template = set.spec.as_ref().and_then(|s| s.template.as_ref());
            template.is_some_and(|template| without_hash(template) == wanted)
        };
        // Of several with the same template the oldest counts, so that the choice never changes.
        let new = all.iter().position(same).map(|i| all.remove(i));
        Self { new, old: all }
    }

    /// All sets, the new one last.
    pub(super) fn all(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.old.iter().chain(self.new.as_ref())
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut ReplicaSet> {
        self.old
            .iter_mut()
            .chain(self.new.as_mut())
            .find(|set| set.name() == name)
    }

    pub(super) fn wanted(&self) -> i32 {
        self.all().map(Replicas::wanted).sum()
    }

    pub(super) fn available(&self) -> i32 {
        self.all().map(Replicas::available).sum()
    }

    pub(super) fn last_old_revision(&self) -> i64 {
        self.old.iter().map(annotations::revision).max().unwrap_or(0)
    }

    /// Whether the Deployment's size changed since its sets were last scaled.
    pub(super) fn is_scaling(&self, deployment: &Deployment) -> bool {
        let wanted = replicas(deployment);
        self.all()
            .filter(|set| set.wanted() > 0)
            .any(|set| annotations::desired(set).is_some_and(|desired| desired != wanted))
    }

    /// The old sets to remove so that `limit` remain, oldest revision first.
    pub(super) fn beyond_history(&self, limit: Option<i32>) -> Vec<&ReplicaSet> {
        let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or(0);
        let mut removable: Vec<&ReplicaSet> = self
            .old
            .iter()
            .filter(|set| set.metadata.deletion_timestamp.is_none())
            .collect();
        removable.sort_by(|a, b| {
            annotations::revision(a)
                .cmp(&annotations::revision(b))
                .then_with(|| by_age(a, b))
        });
        let surplus = removable.len().saturating_sub(limit);
        removable.truncate(surplus);
        removable.retain(|set| {
            let observed = set
                .status
                .as_ref()
                .and_then(|s| s.observed_generation)
                .unwrap_or(0);
            set.actual() == 0 && set.wanted() == 0 && set.metadata.generation.unwrap_or(0) <= observed
        });
        removable
    }
}

/// Oldest first.
pub(super) fn by_age(a: &ReplicaSet, b: &ReplicaSet) -> std::cmp::Ordering {
    a.metadata
        .creation_timestamp
        .cmp(&b.metadata.creation_timestamp)
        .then_with(|| a.metadata.name.cmp(&b.metadata.name))
}

pub(super) fn without_hash(template: &PodTemplateSpec) -> serde_json::Value {
    let mut template = template.clone();
    if let Some(labels) = template.metadata.as_mut().and_then(|m| m.labels.as_mut()) {
        labels.remove(HASH_LABEL);
    }
    let mut value = serde_json::to_value(&template).unwrap_or_default();
    prune(&mut value);
    value
}

/// An absent field and an empty one are the same to Go.
fn prune(value: &mut serde_json::Value) {
    use serde_json::Value;
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(prune);
        fields.retain(|key, v| match v {
            Value::Null => false,
            Value::Object(inner) => !inner.is_empty() || KEEP_EMPTY.contains(&key.as_str()),
            Value::Array(items) => !items.is_empty(),
            _ => true,
        });
    } else if let Value::Array(items) = value {
        items.iter_mut().for_each(prune);
    }
}

/// Objects that mean something when empty.
const KEEP_EMPTY: [&str; 4] = ["emptyDir", "namespaceSelector", "labelSelector", "podSelector"];
