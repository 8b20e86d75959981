//! Storage that is in use stays: claims, volumes and volume attributes classes that are to be deleted
//! go once nobody uses them.
//!
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection>.
//! The API server puts a finalizer on each; these loops take it off.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kube::{Api, Resource, ResourceExt as _};
use rkind_client::{Action, Change, ErrorExt, Informer, ObjectKey, WorkQueue, patch, run_workers};
use serde_json::json;

use crate::common::{Context, Outcome};

#[cfg(test)]
mod tests;

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";
const CLASS: &str = "kubernetes.io/vac-protection";

/// What is to be done about an object's finalizer.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Keep,
    Add,
    Remove,
}

fn step<K: Resource>(object: &K, finalizer: &str, is_used: impl FnOnce() -> bool) -> Step {
    let meta = object.meta();
    let has = meta.finalizers.iter().flatten().any(|f| f == finalizer);
    match (meta.deletion_timestamp.is_some(), has) {
        (true, true) if !is_used() => Step::Remove,
        (false, false) => Step::Add,
        _ => Step::Keep,
    }
}

/// Names of the claims of its namespace that a pod uses.
fn claims(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| {
            if volume.ephemeral.is_some() {
                return Some(format!("{}-{}", pod.name_any(), volume.name));
            }
            volume
                .persistent_volume_claim
                .as_ref()
                .map(|c| c.claim_name.clone())
        })
        .collect()
}

/// Whether a pod keeps its claims: one on a node that has not ended.
fn keeps_claims(pod: &Pod) -> bool {
    let placed = pod
        .spec
        .as_ref()
        .and_then(|s| s.node_name.as_deref())
        .unwrap_or_default();
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    !placed.is_empty() && !matches!(phase, Some("Succeeded" | "Failed"))
}

fn is_claim_used(pods: &[Arc<Pod>], claim: &str) -> bool {
    pods.iter()
        .any(|pod| keeps_claims(pod) && claims(pod).iter().any(|c| c == claim))
}

fn is_bound(volume: &PersistentVolume) -> bool {
    volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound")
}

/// Classes that a claim has or is to get.
fn classes(claim: &PersistentVolumeClaim) -> Vec<String> {
    let wanted = claim
        .spec
        .as_ref()
        .and_then(|s| s.volume_attributes_class_name.clone());
    let status = claim.status.as_ref();
    let current = status.and_then(|s| s.current_volume_attributes_class_name.clone());
    let target = status
        .and_then(|s| s.modify_volume_status.as_ref())
        .and_then(|m| m.target_volume_attributes_class_name.clone());
    [wanted, current, target].into_iter().flatten().collect()
}

async fn write<K>(api: Api<K>, object: &K, finalizer: &str, step: Step) -> Outcome
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let mut list = object.finalizers().to_vec();
    match step {
        Step::Keep => return Ok(Action::Done),
        Step::Add => list.push(finalizer.to_owned()),
        Step::Remove => list.retain(|f| f != finalizer),
    }
    let body = json!({"metadata": {
        "finalizers": list, "resourceVersion": object.meta().resource_version, "uid": object.meta().uid}});
    match patch::merge(&api, &object.name_any(), &body).await {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(Action::Done),
    }
}

/// Claims.
pub(crate) async fn run_claims(context: Context) {
    let all: Informer<PersistentVolumeClaim> = context.informers.get();
    let pods: Informer<Pod> = context.informers.get();
    let queue = WorkQueue::new();
    context.feed_own(&all, &queue);
    context.feed(&pods, &queue, |change: &Change<Pod>| {
        let ended = change.new.as_deref().is_none_or(|pod| !keeps_claims(pod));
        let pod = change.old.as_deref().filter(|_| ended);
        let claims = pod.map(claims).unwrap_or_default().into_iter();
        claims
            .map(|claim| ObjectKey::new(change.key.namespace(), claim))
            .collect()
    });
    all.synced().await;
    pods.synced().await;
    let world = Arc::new((context.client.clone(), all, pods));
    run_workers(queue, 1, context.shutdown.clone(), move |key: ObjectKey| {
        let world = world.clone();
        async move {
            let (client, all, pods) = &*world;
            let Some(claim) = all.get(&key) else {
                return Ok(Action::Done);
            };
            let used = || is_claim_used(&pods.list_in(key.namespace()), &key.name);
            let step = step(&*claim, CLAIM, used);
            write(
                Api::namespaced(client.clone(), key.namespace()),
                &*claim,
                CLAIM,
                step,
            )
            .await
        }
    })
    .await;
}

/// Volumes.
pub(crate) async fn run_volumes(context: Context) {
    let all: Informer<PersistentVolume> = context.informers.get();
    let queue = WorkQueue::new();
    context.feed_own(&all, &queue);
    all.synced().await;
    let world = Arc::new((context.client.clone(), all));
    run_workers(queue, 1, context.shutdown.clone(), move |key: ObjectKey| {
        let world = world.clone();
        async move {
            let (client, all) = &*world;
            let Some(volume) = all.get(&key) else {
                return Ok(Action::Done);
            };
            let step = step(&*volume, VOLUME, || is_bound(&volume));
            write(Api::all(client.clone()), &*volume, VOLUME, step).await
        }
    })
    .await;
}

/// Volume attributes classes.
pub(crate) async fn run_classes(context: Context) {
    let all: Informer<VolumeAttributesClass> = context.informers.get();
    let claims: Informer<PersistentVolumeClaim> = context.informers.get();
    let volumes: Informer<PersistentVolume> = context.informers.get();
    let queue = WorkQueue::new();
    context.feed_own(&all, &queue);
    context.feed(&claims, &queue, |change: &Change<PersistentVolumeClaim>| {
        let old = change.old.as_deref().map(classes).unwrap_or_default();
        old.into_iter().map(ObjectKey::cluster).collect()
    });
    context.feed(&volumes, &queue, |change: &Change<PersistentVolume>| {
        let spec = change.old.as_deref().and_then(|v| v.spec.as_ref());
        let class = spec.and_then(|s| s.volume_attributes_class_name.clone());
        class.map(ObjectKey::cluster).into_iter().collect()
    });
    all.synced().await;
    claims.synced().await;
    volumes.synced().await;
    let world = Arc::new((context.client.clone(), all, claims, volumes));
    run_workers(queue, 1, context.shutdown.clone(), move |key: ObjectKey| {
        let world = world.clone();
        async move {
            let (client, all, of_claims, volumes) = &*world;
            let Some(class) = all.get(&key) else {
                return Ok(Action::Done);
            };
            let used = || {
                let of = |volume: &PersistentVolume| {
                    let spec = volume.spec.as_ref();
                    spec.and_then(|s| s.volume_attributes_class_name.as_deref()) == Some(&*key.name)
                };
                of_claims
                    .list()
                    .iter()
                    .any(|claim| classes(claim).contains(&key.name.to_string()))
                    || volumes.list().iter().any(|volume| of(volume))
            };
            let step = step(&*class, CLASS, used);
            write(Api::all(client.clone()), &*class, CLASS, step).await
        }
    })
    .await;
}
