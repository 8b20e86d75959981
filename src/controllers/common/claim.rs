//! Adopting and releasing objects by selector and controller reference.
//!
//! <https://github.com/kubernetes/design-proposals-archive/blob/main/api-machinery/controller-ref.md>

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Api, Resource};
use rkind_client::{ErrorExt, Selector, owner, patch};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::ReconcileError;

/// What to do about one object.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Claim {
    /// It is ours.
    Owned,
    /// It has no controller and is selected: make it ours.
    Adopt,
    /// It is ours but no longer selected: let it go.
    Release,
    /// None of our business.
    Ignore,
}

/// `owner_deleting`: an owner on its way out neither adopts nor releases.
pub(crate) fn classify(meta: &ObjectMeta, uid: &str, owner_deleting: bool, selector: &Selector) -> Claim {
    let selected = selector.matches(meta.labels.as_ref());
    match owner::controller_of(meta) {
        Some(controller) if controller.uid != uid => Claim::Ignore,
        Some(_) if selected => Claim::Owned,
        Some(_) if owner_deleting => Claim::Ignore,
        Some(_) => Claim::Release,
        None if !selected || owner_deleting || meta.deletion_timestamp.is_some() => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// Who claims.
pub(crate) struct Claimer<'a, O> {
    /// To look at the owner once more before the first adoption, as the cache may not know its end.
    pub(crate) owners: Api<O>,
    pub(crate) owner: &'a O,
    pub(crate) reference: OwnerReference,
    pub(crate) selector: &'a Selector,
}

impl<O> Claimer<'_, O>
where
    O: Resource + Clone + DeserializeOwned + Debug,
{
    /// Those of `objects` that are ours now, adopting and releasing on the way.
    pub(crate) async fn claim<K>(
        &self,
        api: &Api<K>,
        objects: Vec<Arc<K>>,
    ) -> Result<Vec<Arc<K>>, ReconcileError>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        let uid = &self.reference.uid;
        let deleting = self.owner.meta().deletion_timestamp.is_some();
        let (mut claimed, mut checked) = (Vec::with_capacity(objects.len()), false);
        for object in objects {
            match classify(object.meta(), uid, deleting, self.selector) {
                Claim::Owned => claimed.push(object),
                Claim::Ignore => {}
                Claim::Adopt => {
                    if !checked {
                        self.check_owner().await?;
                        checked = true;
                    }
                    if let Some(adopted) = self.adopt(api, &*object).await? {
                        claimed.push(Arc::new(adopted));
                    }
                }
                Claim::Release => release(api, &*object, uid).await?,
            }
        }
        Ok(claimed)
    }

    async fn check_owner(&self) -> Result<(), ReconcileError> {
        let name = &self.reference.name;
        let fresh = self.owners.get(name).await?;
        if fresh.meta().uid.as_deref() != Some(&self.reference.uid) {
            return Err(ReconcileError::Other(format!("original {name} is gone")));
        }
        if fresh.meta().deletion_timestamp.is_some() {
            return Err(ReconcileError::Other(format!("{name} has just been deleted")));
        }
        Ok(())
    }

    async fn adopt<K>(&self, api: &Api<K>, object: &K) -> Result<Option<K>, ReconcileError>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        let meta = object.meta();
        let change = json!({"metadata": {"uid": meta.uid, "ownerReferences": [self.reference]}});
        match patch::strategic(api, meta.name.as_deref().unwrap_or_default(), &change).await {
            Ok(adopted) => Ok(Some(adopted)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

async fn release<K>(api: &Api<K>, object: &K, uid: &str) -> Result<(), ReconcileError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let meta = object.meta();
    let change =
        json!({"metadata": {"uid": meta.uid, "ownerReferences": [{"$patch": "delete", "uid": uid}]}});
    match patch::strategic(api, meta.name.as_deref().unwrap_or_default(), &change).await {
        // Gone, or another object by now: nothing of ours either way.
        Err(error) if error.is_not_found() || error.is_invalid() => Ok(()),
        other => other.map(|_| ()).map_err(Into::into),
    }
}
