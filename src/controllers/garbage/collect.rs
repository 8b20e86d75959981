//! Acting on what the graph suggests, after asking the server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy};
use rkind_client::{Action, ErrorExt};
use serde_json::{Value, json};

use super::graph::{FOREGROUND, Node, ORPHAN};
use super::{Collector, Work, owner_key};
use crate::common::discover::Discovered;
use crate::common::{Outcome, ReconcileError};

/// An object's owners, by what they are to it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Owners {
    /// They live: reason enough to stay.
    pub(super) solid: Vec<String>,
    /// They are gone.
    pub(super) dangling: Vec<String>,
    /// They are being deleted and wait for this object to go first.
    pub(super) waiting: Vec<String>,
}

impl Collector {
    pub(super) async fn work(&self, work: Work) -> Outcome {
        match work {
            Work::Delete(uid) => self.attempt_delete(&uid).await,
            Work::Orphan(uid) => self.attempt_orphan(&uid).await,
        }
    }

    fn absent(&self, uid: &str) -> Outcome {
        let more = self.graph.lock().removed(uid);
        for work in more {
            self.queue.add(work);
        }
        Ok(Action::Done)
    }

    fn api(&self, resource: &Discovered, namespace: Option<&str>) -> Api<DynamicObject> {
        resource.api(self.context.client.clone(), namespace)
    }

    async fn attempt_delete(&self, uid: &str) -> Outcome {
        let Some(node) = self.graph.lock().get(uid).cloned() else {
            return Ok(Action::Done);
        };
        if node.is_deleting() && !node.waits_for_dependents() {
            return Ok(Action::Done);
        }
        let seen = &node.seen;
        let Some(resource) = self.resource_of(&seen.api_version, &seen.kind) else {
            // Perhaps it is served later; until then nothing may be concluded.
            return Err(ReconcileError::Other(format!(
                "{} {} is not served",
                seen.api_version, seen.kind
            )));
        };
        if resource.namespaced && seen.key.namespace.is_none() {
            // A cluster-scoped object can't have a namespaced owner: no such owner exists.
            return self.absent(uid);
        }
        let key = owner_key(resource.namespaced, seen.key.namespace.as_deref(), &seen.key.name);
        let api = self.api(&resource, key.namespace.as_deref());
        let latest = match api.get_metadata_opt(&key.name).await? {
            Some(latest) if latest.metadata.uid.as_deref() == Some(uid) => latest.metadata,
            _ => return self.absent(uid),
        };
        if node.waits_for_dependents() {
            return self.process_waiting(&node, &latest, &api).await;
        }
        let owners = self.classify(&latest).await?;
        self.act(&node, &latest, &owners, &api).await
    }

    async fn act(
        &self,
        node: &Node,
        latest: &ObjectMeta,
        owners: &Owners,
        api: &Api<DynamicObject>,
    ) -> Outcome {
        if owners.solid.is_empty() && owners.dangling.is_empty() && owners.waiting.is_empty() {
            return Ok(Action::Done);
        }
        if !owners.solid.is_empty() {
            let gone: Vec<&String> = owners.dangling.iter().chain(&owners.waiting).collect();
            if gone.is_empty() {
                return Ok(Action::Done);
            }
            let left = latest
                .owner_references
                .iter()
                .flatten()
                .filter(|r| !gone.contains(&&r.uid));
            return write_owners(api, latest, left.cloned().collect()).await;
        }
        if !owners.waiting.is_empty() && !node.dependents.is_empty() {
            // The owner waits for this object, and this one may have to wait for its own dependents: a
            // circle of waiting is broken by letting the owner go.
            let circular = {
                let graph = self.graph.lock();
                node.dependents
                    .iter()
                    .any(|d| graph.get(d).is_some_and(Node::waits_for_dependents))
            };
            if circular {
                let unblocked = latest.owner_references.iter().flatten().cloned().map(|mut r| {
                    r.block_owner_deletion = Some(false);
                    r
                });
                write_owners(api, latest, unblocked.collect()).await?;
            }
            return delete(api, latest, PropagationPolicy::Foreground).await;
        }
        let has = |name: &str| latest.finalizers.iter().flatten().any(|f| f == name);
        let policy = if has(ORPHAN) {
            PropagationPolicy::Orphan
        } else if has(FOREGROUND) {
            PropagationPolicy::Foreground
        } else {
            PropagationPolicy::Background
        };
        delete(api, latest, policy).await
    }

    /// A foreground deletion ends when nothing that blocks it is left.
    async fn process_waiting(&self, node: &Node, latest: &ObjectMeta, api: &Api<DynamicObject>) -> Outcome {
        let uid = &node.seen.uid;
        let blocking: Vec<(String, bool)> = {
            let graph = self.graph.lock();
            node.dependents
                .iter()
                .filter_map(|d| graph.get(d))
                .filter(|dependent| dependent.blocks(uid))
                .map(|dependent| (dependent.seen.uid.clone(), dependent.waits_for_dependents()))
                .collect()
        };
        if blocking.is_empty() {
            return remove_finalizer(api, latest, FOREGROUND).await;
        }
        for (dependent, waits) in blocking {
            if !waits {
                self.queue.add(Work::Delete(dependent));
            }
        }
        Ok(Action::Done)
    }

    async fn classify(&self, meta: &ObjectMeta) -> Result<Owners, ReconcileError> {
        let mut owners = Owners::default();
        for reference in meta.owner_references.iter().flatten() {
            let uid = reference.uid.clone();
            if self.graph.lock().is_absent(&uid) {
                owners.dangling.push(uid);
                continue;
            }
            let Some(resource) = self.resource_of(&reference.api_version, &reference.kind) else {
                // Not knowing an owner's kind is no proof of its absence.
                owners.solid.push(uid);
                continue;
            };
            let namespace = meta.namespace.as_deref().filter(|n| !n.is_empty());
            if resource.namespaced && namespace.is_none() {
                owners.dangling.push(uid);
                continue;
            }
            let key = owner_key(resource.namespaced, namespace, &reference.name);
            let found = self
                .api(&resource, key.namespace.as_deref())
                .get_metadata_opt(&key.name)
                .await?;
            match found.map(|f| f.metadata).filter(|f| f.uid.as_ref() == Some(&uid)) {
                None => {
                    self.absent(&uid)?;
                    owners.dangling.push(uid);
                }
                Some(owner)
                    if owner.deletion_timestamp.is_some()
                        && owner.finalizers.iter().flatten().any(|f| f == FOREGROUND) =>
                {
                    owners.waiting.push(uid);
                }
                Some(_) => owners.solid.push(uid),
            }
        }
        Ok(owners)
    }

    /// Takes the owner's reference off all its dependents, then lets the owner go.
    async fn attempt_orphan(&self, uid: &str) -> Outcome {
        let Some(node) = self.graph.lock().get(uid).cloned() else {
            return Ok(Action::Done);
        };
        let dependents: Vec<Node> = {
            let graph = self.graph.lock();
            node.dependents
                .iter()
                .filter_map(|d| graph.get(d).cloned())
                .collect()
        };
        for dependent in dependents {
            let seen = &dependent.seen;
            let Some(resource) = self.resource_of(&seen.api_version, &seen.kind) else {
                continue;
            };
            let api = self.api(&resource, seen.key.namespace.as_deref());
            let Some(latest) = api.get_metadata_opt(&seen.key.name).await?.map(|l| l.metadata) else {
                continue;
            };
            if latest.uid.as_ref() != Some(&seen.uid) {
                continue;
            }
            let references = latest.owner_references.clone().unwrap_or_default();
            let left: Vec<OwnerReference> = references.iter().filter(|r| r.uid != uid).cloned().collect();
            if left.len() != references.len() {
                write_owners(&api, &latest, left).await?;
            }
        }
        let seen = &node.seen;
        let Some(resource) = self.resource_of(&seen.api_version, &seen.kind) else {
            return Ok(Action::Done);
        };
        let api = self.api(&resource, seen.key.namespace.as_deref());
        match api.get_metadata_opt(&seen.key.name).await?.map(|l| l.metadata) {
            Some(latest) if latest.uid.as_deref() == Some(uid) => {
                remove_finalizer(&api, &latest, ORPHAN).await
            }
            _ => self.absent(uid),
        }
    }
}

async fn write(api: &Api<DynamicObject>, latest: &ObjectMeta, mut metadata: Value) -> Outcome {
    metadata["uid"] = json!(latest.uid);
    metadata["resourceVersion"] = json!(latest.resource_version);
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    let name = latest.name.as_deref().unwrap_or_default();
    match api.patch_metadata(name, &PatchParams::default(), &patch).await {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(Action::Done),
    }
}

async fn write_owners(api: &Api<DynamicObject>, latest: &ObjectMeta, left: Vec<OwnerReference>) -> Outcome {
    let left = if left.is_empty() { Value::Null } else { json!(left) };
    write(api, latest, json!({ "ownerReferences": left })).await
}

async fn remove_finalizer(api: &Api<DynamicObject>, latest: &ObjectMeta, finalizer: &str) -> Outcome {
    let all = latest.finalizers.clone().unwrap_or_default();
    let left: Vec<&String> = all.iter().filter(|f| *f != finalizer).collect();
    if left.len() == all.len() {
        return Ok(Action::Done);
    }
    let left = if left.is_empty() { Value::Null } else { json!(left) };
    write(api, latest, json!({ "finalizers": left })).await
}

async fn delete(api: &Api<DynamicObject>, latest: &ObjectMeta, policy: PropagationPolicy) -> Outcome {
    let parameters = DeleteParams {
        propagation_policy: Some(policy),
        preconditions: Some(Preconditions {
            uid: latest.uid.clone(),
            resource_version: latest.resource_version.clone(),
        }),
        ..DeleteParams::default()
    };
    match api
        .delete(latest.name.as_deref().unwrap_or_default(), &parameters)
        .await
    {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(Action::Done),
    }
}
