//! ControllerRevisions: the templates that a StatefulSet or DaemonSet has had, for rollout and undo.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use rkind_client::{ErrorExt, owner, patch};
use serde_json::{Value, json};

use super::{ReconcileError, hash};

/// Whose history it is.
pub(crate) struct Parent<'a> {
    pub(crate) reference: OwnerReference,
    pub(crate) namespace: &'a str,
    pub(crate) template: &'a PodTemplateSpec,
    pub(crate) collisions: i32,
    /// The label that holds the revision's hash.
    pub(crate) hash_label: &'static str,
}

/// All revisions, oldest first, with the one of the present template last.
pub(crate) struct History {
    pub(crate) all: Vec<ControllerRevision>,
    /// How often a revision's name was taken by another.
    pub(crate) collisions: i32,
}

impl History {
    /// The present template's revision.
    pub(crate) fn update(&self) -> Option<&ControllerRevision> {
        self.all.last()
    }
}

/// A patch of the parent that brings the template back, as kubectl's undo applies it.
fn data(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    if let Value::Object(fields) = &mut template {
        fields.insert("$patch".into(), json!("replace"));
    }
    json!({"spec": {"template": template}})
}

/// The template that a revision holds.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.get("spec")?.get("template")?.clone();
    if let Value::Object(fields) = &mut template {
        fields.remove("$patch");
    }
    serde_json::from_value(template).ok()
}

pub(crate) fn name(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or_default()
}

fn same_data(a: &ControllerRevision, b: &Value) -> bool {
    a.data.as_ref().is_some_and(|data| data.0 == *b)
}

fn new_revision(parent: &Parent<'_>, number: i64, collisions: i32) -> ControllerRevision {
    let data = data(parent.template);
    let mut bytes = data.to_string().into_bytes();
    bytes.extend_from_slice(&collisions.to_le_bytes());
    let hash = hash::safe_encode(hash::fnv1a(&bytes));
    let mut labels: BTreeMap<String, String> = parent
        .template
        .metadata
        .as_ref()
        .and_then(|m| m.labels.clone())
        .unwrap_or_default();
    labels.insert(parent.hash_label.to_owned(), hash.clone());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", parent.reference.name)),
            namespace: Some(parent.namespace.to_owned()),
            labels: Some(labels),
            owner_references: Some(vec![parent.reference.clone()]),
            ..Default::default()
        },
        data: Some(RawExtension(data)),
        revision: number,
    }
}

/// Makes sure that the newest revision is the present template's: an older one with the same template
/// is renumbered, otherwise one is made. `owned`: the parent's revisions.
pub(crate) async fn sync(
    api: &Api<ControllerRevision>,
    parent: &Parent<'_>,
    owned: Vec<Arc<ControllerRevision>>,
) -> Result<History, ReconcileError> {
    let mut all: Vec<ControllerRevision> = owned.iter().map(|r| (**r).clone()).collect();
    all.sort_by(|a, b| {
        a.revision
            .cmp(&b.revision)
            .then_with(|| a.metadata.creation_timestamp.cmp(&b.metadata.creation_timestamp))
            .then_with(|| a.metadata.name.cmp(&b.metadata.name))
    });
    let newest = all.last().map_or(0, |r| r.revision);
    let wanted = data(parent.template);
    let mut collisions = parent.collisions;
    if let Some(place) = all.iter().rposition(|r| same_data(r, &wanted)) {
        let mut revision = all.remove(place);
        if revision.revision < newest {
            let change = json!({"revision": newest + 1});
            revision = patch::merge(api, name(&revision), &change).await?;
        }
        all.push(revision);
        return Ok(History { all, collisions });
    }
    loop {
        let revision = new_revision(parent, newest + 1, collisions);
        match api.create(&PostParams::default(), &revision).await {
            Ok(created) => {
                all.push(created);
                return Ok(History { all, collisions });
            }
            Err(error) if error.is_already_exists() => {
                let existing = api.get(name(&revision)).await?;
                if same_data(&existing, &wanted)
                    && owner::is_controlled_by(&existing.metadata, &parent.reference.uid)
                {
                    all.push(existing);
                    return Ok(History { all, collisions });
                }
                collisions += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes the oldest revisions beyond `limit` that are not in `live` (names).
pub(crate) async fn truncate(
    api: &Api<ControllerRevision>,
    history: &History,
    live: &HashSet<String>,
    limit: Option<i32>,
) -> Result<(), ReconcileError> {
    let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or(0);
    let dead: Vec<&ControllerRevision> = history.all.iter().filter(|r| !live.contains(name(r))).collect();
    for revision in dead.iter().take(dead.len().saturating_sub(limit)) {
        match api.delete(name(revision), &DeleteParams::default()).await {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
