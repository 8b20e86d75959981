//! Kubelets may do what the pods of their own node need. Upstream:
//! `plugin/pkg/auth/authorizer/node` (KEP-4601 for selectors); what a write may contain is the
//! NodeRestriction plugin's.
//!
//! Upstream keeps a graph of everything that pods refer to. Here only which pods are on which node is
//! kept; what those refer to is read from the cached pods when it is asked for: a node has few.

mod references;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;
use serde_json::Value;

use self::references::Kind;
use super::{Attributes, Decision, rbac::Rule};
use crate::{
    cacher::{Cache, Cacher, Obj, Subscription, fields},
    user::UserInfo,
};

/// Group of all kubelets.
const NODES: &str = "system:nodes";
const PREFIX: &str = "system:node:";
/// Namespace of the nodes' heartbeats.
const LEASES: &str = "kube-node-lease";

/// The name of the node whose kubelet a user is: empty when it is a kubelet that names no node;
/// `None` for everybody else.
pub(crate) fn identity(user: &UserInfo) -> Option<&str> {
    let name = user.name.strip_prefix(PREFIX)?;
    user.in_group(NODES).then_some(name)
}

/// Which pods are on which node, as far as the cache has come.
#[derive(Default)]
struct Index {
    changes: Option<Subscription>,
    by_node: HashMap<String, HashSet<Arc<str>>>,
}

impl Index {
    fn node(object: &Obj) -> &str {
        fields::value("core/pods", object, "spec.nodeName").unwrap_or_default()
    }

    fn add(&mut self, object: &Obj) {
        let node = Self::node(object);
        if !node.is_empty() {
            self.by_node
                .entry(node.to_owned())
                .or_default()
                .insert(object.key.clone());
        }
    }

    fn remove(&mut self, object: &Obj) {
        let node = Self::node(object);
        if let Some(pods) = self.by_node.get_mut(node) {
            pods.remove(&object.key);
            if pods.is_empty() {
                self.by_node.remove(node);
            }
        }
    }

    /// Adopts what changed since the last look; begins anew when too much did.
    fn advance(&mut self, pods: &Arc<Cacher>) {
        loop {
            let changes = match self.changes.as_mut().map(|c| c.poll(1024)) {
                Some(Ok(changes)) => changes,
                Some(Err(_)) | None => {
                    self.by_node.clear();
                    let (snapshot, changes) = pods.snapshot_and_subscribe(0);
                    for object in snapshot.objects.values() {
                        self.add(object);
                    }
                    self.changes = Some(changes);
                    continue;
                }
            };
            if changes.is_empty() {
                return;
            }
            for change in changes {
                if let Some(prev) = &change.prev {
                    self.remove(prev);
                }
                if change.kind != crate::cacher::ChangeKind::Deleted {
                    self.add(&change.object);
                }
            }
        }
    }
}

/// The authorizer.
pub(crate) struct NodeAuthorizer {
    cache: Arc<Cache>,
    /// What every kubelet may do, whatever runs on its node.
    rules: Vec<Rule>,
    index: Mutex<Index>,
}

/// A denial with upstream's reason.
fn no(why: impl Into<String>) -> Decision {
    Decision::NoOpinion(why.into())
}

fn yes() -> Decision {
    Decision::Allow(String::new())
}

impl NodeAuthorizer {
    /// Reads pods and what they refer to from `cache`; `rules` hold for every node.
    pub(crate) fn new(cache: Arc<Cache>, rules: Vec<Rule>) -> Self {
        NodeAuthorizer {
            cache,
            rules,
            index: Mutex::default(),
        }
    }

    /// Decides for kubelets; has no opinion about anybody else.
    pub(crate) fn decide(&self, user: &UserInfo, wanted: &Attributes) -> Decision {
        let Some(node) = identity(user) else {
            return no("");
        };
        if node.is_empty() {
            return no(format!("unknown node for user {:?}", user.name));
        }
        if wanted.is_resource {
            match (wanted.group.as_str(), wanted.resource.as_str()) {
                ("", "secrets") => return self.read(node, Kind::Secret, wanted),
                ("", "configmaps") => return self.read(node, Kind::ConfigMap, wanted),
                ("", "persistentvolumeclaims") if wanted.subresource == "status" => {
                    return self.update_status(node, wanted);
                }
                ("", "persistentvolumeclaims") => return self.get(node, Kind::Claim, wanted),
                ("", "persistentvolumes") => return self.get(node, Kind::Volume, wanted),
                ("resource.k8s.io", "resourceclaims") => return self.get(node, Kind::DeviceClaim, wanted),
                ("storage.k8s.io", "volumeattachments") => return self.get(node, Kind::Attachment, wanted),
                ("", "serviceaccounts") => return self.account(node, wanted),
                ("coordination.k8s.io", "leases") => return lease(node, wanted),
                ("storage.k8s.io", "csinodes") => return csi_node(node, wanted),
                ("resource.k8s.io", "resourceslices") => return self.slice(node, wanted),
                ("", "nodes") => return own_node(node, wanted),
                ("", "pods") => return self.pod(node, wanted),
                _ => {}
            }
        }
        if self.rules.iter().any(|rule| rule.allows(wanted)) {
            yes()
        } else {
            no("")
        }
    }

    /// The pods on a node.
    fn pods(&self, node: &str) -> Vec<Arc<Obj>> {
        let Some(pods) = self.cache.cacher("core/pods") else {
            return Vec::new();
        };
        let mut index = self.index.lock();
        index.advance(&pods);
        let keys = index.by_node.get(node).into_iter().flatten();
        keys.filter_map(|key| pods.get(key)).collect()
    }

    fn cached(&self, resource: &str, key: &str) -> Option<Value> {
        Some(self.cache.cacher(resource)?.get(key)?.to_value())
    }

    /// Whether a pod of the node leads to an object.
    fn related(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        match kind {
            Kind::Volume => {
                let Some(volume) = self.cached("core/persistentvolumes", name) else {
                    return false;
                };
                let claim = &volume["spec"]["claimRef"];
                match (claim["namespace"].as_str(), claim["name"].as_str()) {
                    (Some(namespace), Some(name)) => self.related(node, Kind::Claim, namespace, name),
                    _ => false,
                }
            }
            Kind::Attachment => self
                .cached("storage.k8s.io/volumeattachments", name)
                .is_some_and(|attachment| attachment["spec"]["nodeName"] == node),
            Kind::Secret => {
                let own = |pod: &Obj| pod.namespace() == namespace;
                let pods = self.pods(node);
                let by_pod = |pod: &Arc<Obj>| references::pod(&pod.to_value(), kind, name);
                pods.iter().any(|pod| own(pod) && by_pod(pod))
                    || pods.iter().any(|pod| self.by_volume(pod, namespace, name))
            }
            _ => self
                .pods(node)
                .iter()
                .any(|pod| pod.namespace() == namespace && references::pod(&pod.to_value(), kind, name)),
        }
    }

    /// Whether a volume that the pod claims needs a secret.
    fn by_volume(&self, pod: &Obj, namespace: &str, name: &str) -> bool {
        references::claims(&pod.to_value()).into_iter().any(|claim| {
            let key = format!("{}/{claim}", pod.namespace());
            let bound = self.cached("core/persistentvolumeclaims", &key);
            let volume = bound
                .as_ref()
                .and_then(|claim| claim["spec"]["volumeName"].as_str())
                .and_then(|volume| self.cached("core/persistentvolumes", volume));
            volume.is_some_and(|volume| references::volume(&volume, pod.namespace(), namespace, name))
        })
    }

    fn by_relation(&self, node: &str, kind: Kind, wanted: &Attributes) -> Decision {
        if wanted.name.is_empty() {
            return no("No Object name found");
        }
        if self.related(node, kind, &wanted.namespace, &wanted.name) {
            return yes();
        }
        no(format!(
            "no relationship found between node '{node}' and this object"
        ))
    }

    fn read(&self, node: &str, kind: Kind, wanted: &Attributes) -> Decision {
        if !matches!(wanted.verb.as_str(), "get" | "list" | "watch") {
            return no("can only read resources of this type");
        }
        if !wanted.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if wanted.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.by_relation(node, kind, wanted)
    }

    fn get(&self, node: &str, kind: Kind, wanted: &Attributes) -> Decision {
        if wanted.verb != "get" {
            return no("can only get individual resources of this type");
        }
        if !wanted.subresource.is_empty() {
            return no("cannot get subresource");
        }
        self.by_relation(node, kind, wanted)
    }

    fn update_status(&self, node: &str, wanted: &Attributes) -> Decision {
        if !matches!(wanted.verb.as_str(), "update" | "patch") {
            return no("can only get/update/patch this type");
        }
        self.by_relation(node, Kind::Claim, wanted)
    }

    fn account(&self, node: &str, wanted: &Attributes) -> Decision {
        if wanted.verb == "get" && wanted.subresource.is_empty() {
            return self.by_relation(node, Kind::Account, wanted);
        }
        if wanted.verb != "create" || wanted.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if wanted.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.by_relation(node, Kind::Account, wanted)
    }

    fn slice(&self, node: &str, wanted: &Attributes) -> Decision {
        if !wanted.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match wanted.verb.as_str() {
            // Whose it will be is for NodeRestriction to see.
            "create" => yes(),
            "get" | "update" | "patch" | "delete" => {
                let slice = self.cached("resource.k8s.io/resourceslices", &wanted.name);
                if slice.is_some_and(|slice| slice["spec"]["nodeName"] == node) {
                    return yes();
                }
                no(format!(
                    "no relationship found between node '{node}' and this object"
                ))
            }
            "watch" | "list" | "deletecollection" => {
                if wanted.selectors.select("spec.nodeName", node) {
                    return yes();
                }
                no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn pod(&self, node: &str, wanted: &Attributes) -> Decision {
        match (wanted.subresource.as_str(), wanted.verb.as_str()) {
            ("", "get") => self.own_pod(node, wanted),
            ("", "list" | "watch") if wanted.selectors.select("spec.nodeName", node) => yes(),
            ("", "list" | "watch") if !wanted.name.is_empty() => self.own_pod(node, wanted),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => yes(),
            _ => no(""),
        }
    }

    fn own_pod(&self, node: &str, wanted: &Attributes) -> Decision {
        let key = format!("{}/{}", wanted.namespace, wanted.name);
        let pod = self.cache.cacher("core/pods").and_then(|pods| pods.get(&key));
        if pod.is_some_and(|pod| Index::node(&pod) == node) {
            return yes();
        }
        no(format!(
            "no relationship found between node '{node}' and this object"
        ))
    }
}

fn lease(node: &str, wanted: &Attributes) -> Decision {
    if !matches!(
        wanted.verb.as_str(),
        "get" | "create" | "update" | "patch" | "delete"
    ) {
        return no("can only get, create, update, patch, or delete a node lease");
    }
    if wanted.namespace != LEASES {
        return no(format!(
            "can only access leases in the {LEASES:?} system namespace"
        ));
    }
    if wanted.verb != "create" && wanted.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    yes()
}

fn csi_node(node: &str, wanted: &Attributes) -> Decision {
    if !matches!(
        wanted.verb.as_str(),
        "get" | "create" | "update" | "patch" | "delete"
    ) {
        return no("can only get, create, update, patch, or delete a CSINode");
    }
    if !wanted.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    if wanted.verb != "create" && wanted.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    yes()
}

fn own_node(node: &str, wanted: &Attributes) -> Decision {
    match (wanted.subresource.as_str(), wanted.verb.as_str()) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => yes(),
        ("", "get" | "list" | "watch") if wanted.name == node => yes(),
        ("", "get" | "list" | "watch") if wanted.name.is_empty() => no(format!(
            "node '{node}' cannot read all nodes, only its own Node object"
        )),
        ("", "get" | "list" | "watch") => no(format!(
            "node '{node}' cannot read '{}', only its own Node object",
            wanted.name
        )),
        _ => no(""),
    }
}
