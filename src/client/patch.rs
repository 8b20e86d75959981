//! Patches in one call.

use std::fmt::Debug;

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// JSON merge patch of an object.
///
/// # Errors
/// The API server's answer, or why it could not be reached.
pub async fn merge<K, P>(api: &Api<K>, name: &str, patch: &P) -> kube::Result<K>
where
    K: Clone + DeserializeOwned + Debug,
    P: Serialize + Debug,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
}

/// JSON merge patch of an object's status.
///
/// # Errors
/// As [`merge`].
pub async fn merge_status<K, P>(api: &Api<K>, name: &str, patch: &P) -> kube::Result<K>
where
    K: Clone + DeserializeOwned + Debug,
    P: Serialize + Debug,
{
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
}

/// Strategic merge patch of an object: lists with a merge key are merged by it.
///
/// # Errors
/// As [`merge`].
pub async fn strategic<K, P>(api: &Api<K>, name: &str, patch: &P) -> kube::Result<K>
where
    K: Clone + DeserializeOwned + Debug,
    P: Serialize + Debug,
{
    api.patch(name, &PatchParams::default(), &Patch::Strategic(patch))
        .await
}

/// Strategic merge patch of an object's status.
///
/// # Errors
/// As [`merge`].
pub async fn strategic_status<K, P>(api: &Api<K>, name: &str, patch: &P) -> kube::Result<K>
where
    K: Clone + DeserializeOwned + Debug,
    P: Serialize + Debug,
{
    api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch))
        .await
}

/// Server-side apply as `manager`, taking over fields that others own.
///
/// # Errors
/// As [`merge`].
pub async fn apply<K, P>(api: &Api<K>, name: &str, manager: &str, object: &P) -> kube::Result<K>
where
    K: Clone + DeserializeOwned + Debug,
    P: Serialize + Debug,
{
    api.patch(name, &PatchParams::apply(manager).force(), &Patch::Apply(object))
        .await
}

/// Server-side apply of an object's status, as [`apply`].
///
/// # Errors
/// As [`merge`].
pub async fn apply_status<K, P>(api: &Api<K>, name: &str, manager: &str, object: &P) -> kube::Result<K>
where
    K: Clone + DeserializeOwned + Debug,
    P: Serialize + Debug,
{
    api.patch_status(name, &PatchParams::apply(manager).force(), &Patch::Apply(object))
        .await
}
