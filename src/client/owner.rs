//! Owner references and other facts in metadata.
//!
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/>

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

/// The reference a controller puts on what it makes: `controller` and `blockOwnerDeletion` are true.
pub fn controller_ref<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    let meta = owner.meta();
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The reference to the managing controller, if there is one.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .iter()
        .flatten()
        .find(|r| r.controller == Some(true))
}

/// Whether the object with `uid` manages this one.
pub fn is_controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    controller_of(meta).is_some_and(|r| r.uid == uid)
}

/// An index function: the uid of the managing controller, or nothing for an orphan.
pub fn controller_uid<K: Resource>(object: &K) -> Vec<String> {
    controller_of(object.meta())
        .map(|r| r.uid.clone())
        .into_iter()
        .collect()
}

/// `metadata.resourceVersion` as the number it is.
pub fn revision(meta: &ObjectMeta) -> Option<u64> {
    meta.resource_version.as_deref()?.parse().ok()
}
