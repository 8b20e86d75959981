//! Who owns whom. Pure: observations in, uids to look at out.

use std::collections::{HashMap, HashSet, VecDeque};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::ApiResource;
use rkind_client::ObjectKey;

use super::Work;

pub(super) const FOREGROUND: &str = "foregroundDeletion";
pub(super) const ORPHAN: &str = "orphan";

/// How many uids of objects known to be gone are remembered.
const ABSENT: usize = 5000;

/// An object as a watch or its dependents' references show it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) uid: String,
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) key: ObjectKey,
    owners: Vec<OwnerReference>,
    deleting: bool,
    foreground: bool,
    orphan: bool,
}

impl Seen {
    pub(super) fn of(resource: &ApiResource, namespaced: bool, meta: &ObjectMeta) -> Self {
        let finalizer = |name: &str| meta.finalizers.iter().flatten().any(|f| f == name);
        let namespace = meta.namespace.clone().filter(|_| namespaced);
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
            key: ObjectKey {
                namespace,
                name: meta.name.clone().unwrap_or_default(),
            },
            owners: meta.owner_references.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            foreground: finalizer(FOREGROUND),
            orphan: finalizer(ORPHAN),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) seen: Seen,
    /// Known only from a dependent's reference; `seen.key` has the dependent's namespace.
    pub(super) presumed: bool,
    /// Uids. Invariant: each has this node's uid among its owners.
    pub(super) dependents: HashSet<String>,
}

impl Node {
    pub(super) fn is_deleting(&self) -> bool {
        self.seen.deleting
    }

    /// Being deleted in the foreground: waits for its dependents to go.
    pub(super) fn waits_for_dependents(&self) -> bool {
        self.seen.deleting && self.seen.foreground
    }

    pub(super) fn blocks(&self, owner: &str) -> bool {
        self.seen
            .owners
            .iter()
            .any(|r| r.uid == owner && r.block_owner_deletion == Some(true))
    }
}

#[derive(Default)]
pub(super) struct Graph {
    nodes: HashMap<String, Node>,
    absent: HashSet<String>,
    absent_order: VecDeque<String>,
}

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// Whether the object with this uid is known to be gone. Uids are never used twice.
    pub(super) fn is_absent(&self, uid: &str) -> bool {
        self.absent.contains(uid)
    }

    pub(super) fn observe(&mut self, seen: Seen) -> Vec<Work> {
        let mut work = Vec::new();
        let uid = seen.uid.clone();
        let old = self
            .nodes
            .get(&uid)
            .map(|n| n.seen.owners.clone())
            .unwrap_or_default();
        for lost in old.iter().filter(|o| !seen.owners.iter().any(|n| n.uid == o.uid)) {
            if let Some(owner) = self.nodes.get_mut(&lost.uid) {
                owner.dependents.remove(&uid);
                if owner.waits_for_dependents() {
                    work.push(Work::Delete(lost.uid.clone()));
                }
            }
        }
        for reference in &seen.owners {
            let unblocked = old.iter().any(|o| {
                o.uid == reference.uid
                    && o.block_owner_deletion == Some(true)
                    && reference.block_owner_deletion != Some(true)
            });
            let known = self.nodes.contains_key(&reference.uid);
            let owner = self.nodes.entry(reference.uid.clone()).or_insert_with(|| Node {
                seen: Seen {
                    uid: reference.uid.clone(),
                    api_version: reference.api_version.clone(),
                    kind: reference.kind.clone(),
                    key: ObjectKey {
                        namespace: seen.key.namespace.clone(),
                        name: reference.name.clone(),
                    },
                    owners: Vec::new(),
                    deleting: false,
                    foreground: false,
                    orphan: false,
                },
                presumed: true,
                dependents: HashSet::new(),
            });
            let new_dependent = owner.dependents.insert(uid.clone());
            if !known || (unblocked && owner.waits_for_dependents()) {
                work.push(Work::Delete(reference.uid.clone()));
            }
            if new_dependent && (owner.waits_for_dependents() || self.absent.contains(&reference.uid)) {
                work.push(Work::Delete(uid.clone()));
            }
        }
        let (deleting, foreground, orphan) = (seen.deleting, seen.foreground, seen.orphan);
        let dependents = self
            .nodes
            .get(&uid)
            .map(|n| n.dependents.clone())
            .unwrap_or_default();
        self.nodes.insert(
            uid.clone(),
            Node {
                seen,
                presumed: false,
                dependents: dependents.clone(),
            },
        );
        if deleting && orphan {
            work.push(Work::Orphan(uid.clone()));
        }
        if deleting && foreground {
            work.extend(dependents.into_iter().map(Work::Delete));
            work.push(Work::Delete(uid));
        }
        work
    }

    /// The object with `uid` does not exist (any more).
    pub(super) fn removed(&mut self, uid: &str) -> Vec<Work> {
        if self.absent.insert(uid.to_owned()) {
            self.absent_order.push_back(uid.to_owned());
            if self.absent_order.len() > ABSENT
                && let Some(oldest) = self.absent_order.pop_front()
            {
                self.absent.remove(&oldest);
            }
        }
        let Some(node) = self.nodes.remove(uid) else {
            return Vec::new();
        };
        let mut work: Vec<Work> = node.dependents.into_iter().map(Work::Delete).collect();
        for reference in &node.seen.owners {
            if let Some(owner) = self.nodes.get_mut(&reference.uid) {
                owner.dependents.remove(uid);
                if owner.waits_for_dependents() {
                    work.push(Work::Delete(reference.uid.clone()));
                } else if owner.presumed && owner.dependents.is_empty() {
                    // Only this object spoke of it.
                    self.nodes.remove(&reference.uid);
                }
            }
        }
        work
    }
}
