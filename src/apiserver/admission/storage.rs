//! Storage that is in use stays; claims grow only where their class lets them.
//! Upstream: `plugin/pkg/admission/storage/storageobjectinuseprotection`,
//! `plugin/pkg/admission/storage/persistentvolume/resize`.

use async_trait::async_trait;
use rkind_apimachinery::{meta, quantity::Quantity};
use serde_json::{Value, json};

use super::{Admit, Operation, Request, Validate};
use crate::error::Result;

/// `(group, resource, finalizer)`: the controllers in `controllers/protection` take them off.
const PROTECTED: [(&str, &str, &str); 3] = [
    ("", "persistentvolumes", "kubernetes.io/pv-protection"),
    ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    (
        "storage.k8s.io",
        "volumeattributesclasses",
        "kubernetes.io/vac-protection",
    ),
];

pub(super) struct StorageObjectInUseProtection;

#[async_trait]
impl Admit for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        let found = PROTECTED
            .iter()
            .find(|(group, resource, _)| request.is(group, resource, Operation::Create));
        if let Some((_, _, finalizer)) = found
            && meta::finalizers(request.object).all(|known| known != *finalizer)
        {
            let list = meta::metadata_mut(request.object)
                .entry("finalizers")
                .or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(json!(finalizer));
            }
        }
        Ok(())
    }
}

pub(super) struct PersistentVolumeClaimResize;

#[async_trait]
impl Validate for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        let Some(old) = request
            .old
            .filter(|_| request.is("", "persistentvolumeclaims", Operation::Update))
        else {
            return Ok(());
        };
        let size = |claim: &Value| {
            Quantity::from_value(&claim["spec"]["resources"]["requests"]["storage"]).unwrap_or_default()
        };
        if size(request.object) <= size(old) {
            return Ok(());
        }
        if old["status"]["phase"] != "Bound" {
            return Err(request.forbidden("Only bound persistent volume claims can be expanded"));
        }
        // As far as a claim names a class, that must be one that lets claims grow.
        let class = |claim: &Value| {
            meta::annotation(claim, "volume.beta.kubernetes.io/storage-class")
                .or_else(|| claim["spec"]["storageClassName"].as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let (new_class, old_class) = (class(request.object), class(old));
        let grows = !new_class.is_empty()
            && new_class == old_class
            && request
                .core
                .cached("storage.k8s.io/storageclasses", &new_class)
                .is_some_and(|class| class.to_value()["allowVolumeExpansion"] == true);
        if grows {
            return Ok(());
        }
        Err(request.forbidden(
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
        ))
    }
}
