//! Claims and ingresses without a class get the default one.
//! Upstream: `plugin/pkg/admission/storage/storageclass/setdefault`,
//! `plugin/pkg/admission/network/defaultingressclass`.

use async_trait::async_trait;
use rkind_apimachinery::meta;
use serde_json::{Value, json};

use super::{Admit, Operation, Request};
use crate::error::Result;

/// Gives a default class; the fields are what differs between the two.
pub(super) struct DefaultClass {
    name: &'static str,
    group: &'static str,
    resource: &'static str,
    /// Field of the object's `spec` that names the class.
    field: &'static str,
    /// Annotation that named it before the field came.
    old_annotation: &'static str,
    /// Storage prefix of the classes.
    classes: &'static str,
    /// Annotation of the default class.
    default_annotation: &'static str,
}

pub(super) const DEFAULT_STORAGE_CLASS: DefaultClass = DefaultClass {
    name: "DefaultStorageClass",
    group: "",
    resource: "persistentvolumeclaims",
    field: "storageClassName",
    old_annotation: "volume.beta.kubernetes.io/storage-class",
    classes: "storage.k8s.io/storageclasses",
    default_annotation: "storageclass.kubernetes.io/is-default-class",
};

pub(super) const DEFAULT_INGRESS_CLASS: DefaultClass = DefaultClass {
    name: "DefaultIngressClass",
    group: "networking.k8s.io",
    resource: "ingresses",
    field: "ingressClassName",
    old_annotation: "kubernetes.io/ingress.class",
    classes: "networking.k8s.io/ingressclasses",
    default_annotation: "ingressclass.kubernetes.io/is-default-class",
};

#[async_trait]
impl Admit for DefaultClass {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        let kind = self;
        if !request.is(kind.group, kind.resource, Operation::Create) {
            return Ok(());
        }
        // An empty name is a wish for no class.
        let named = !request.object["spec"][kind.field].is_null()
            || meta::annotation(request.object, kind.old_annotation).is_some();
        if named {
            return Ok(());
        }
        let Some(classes) = request.core.cache.cacher(kind.classes) else {
            return Ok(());
        };
        let snapshot = classes.snapshot(0);
        if let Some(class) = newest_default(
            snapshot.objects.values().map(|c| c.to_value()),
            kind.default_annotation,
        ) {
            meta::child_object(request.object, "spec").insert(kind.field.into(), json!(class));
        }
        Ok(())
    }
}

/// Name of the newest class that is marked as default; of equally new ones the first by name.
fn newest_default(classes: impl Iterator<Item = Value>, annotation: &str) -> Option<String> {
    let mut marked: Vec<Value> = classes
        .filter(|c| meta::annotation(c, annotation) == Some("true"))
        .collect();
    marked.sort_by(|a, b| {
        let (newer, older) = (meta::creation_timestamp(b), meta::creation_timestamp(a));
        newer.cmp(older).then_with(|| meta::name(a).cmp(meta::name(b)))
    });
    marked.first().map(|c| meta::name(c).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_marked_class_wins() {
        let class = |name: &str, created: &str, marked: &str| json!({"metadata": {"name": name, "creationTimestamp": created, "annotations": {"d": marked}}});
        let all = [
            class("old", "2026-01-01T00:00:00Z", "true"),
            class("new", "2026-02-01T00:00:00Z", "true"),
            class("newest", "2026-03-01T00:00:00Z", "false"),
        ];
        assert_eq!(newest_default(all.into_iter(), "d").as_deref(), Some("new"));
        assert_eq!(newest_default(std::iter::empty(), "d"), None);
    }
}
