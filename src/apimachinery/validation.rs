//! Upstream-worded validation of built-in kinds.
//!
//! ```text
//! validation::create(&gvk, &object) -> ErrorList
//! validation::update(&gvk, &new, &old) -> ErrorList          // of the main resource
//! validation::status_update(&gvk, &new, &old) -> ErrorList
//! validation::ephemeral_containers_update(&new, &old) -> ErrorList  // pods/ephemeralcontainers
//! validation::resize_update(&new, &old) -> ErrorList        // pods/resize
//! validation::approval_update(&new, &old) -> ErrorList      // certificatesigningrequests/approval
//! validation::finalize_update(&gvk, &new, &old) -> ErrorList // namespaces/finalize
//! validation::object_meta(&object, namespaced, name_check, &path) -> ErrorList   // for custom resources
//! ```
//! Objects are decoded (types fit the schema), defaulted and prepared by
//! `strategy`. The caller makes the answer:
//! `Status::invalid(&gvk.group, &gvk.kind, name, &errors)` when not empty.
//! Kinds without rules here are checked for their metadata only.

mod autoscaler;
mod batch;
mod certificates;
mod core;
mod definition;
mod devices;
mod extensions;
mod hooks;
mod meta;
mod network;
mod pod;
mod policy;
mod rbac;
mod rest;
mod service;
mod status;
mod storage;
mod support;
mod workloads;

use serde_json::Value;

use crate::field::{ErrorList, Path};
use crate::meta::Gvk;

pub use meta::{name_check, object_meta, object_meta_update};

/// Checks an object about to be created.
#[must_use]
pub fn create(gvk: &Gvk, object: &Value) -> ErrorList {
    let (group, kind) = gvk.group_kind();
    let mut errs = object_meta(
        object,
        meta::is_namespaced(group, kind),
        |name, prefix| name_check(group, kind, name, prefix),
        &Path::new("metadata"),
    );
    meta::standard_finalizers(object, &Path::new("metadata"), &mut errs);
    spec(group, kind, object, &mut errs);
    errs
}

/// Checks an update of the main resource.
#[must_use]
pub fn update(gvk: &Gvk, new: &Value, old: &Value) -> ErrorList {
    let (group, kind) = gvk.group_kind();
    let mut errs = metadata_update(group, kind, new, old);
    changes(group, kind, new, old, &mut errs);
    errs
}

/// Kinds whose strategies check an updated object as if it were new, too.
const CHECKED_WHOLE: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "ConfigMap",
            "Endpoints",
            "LimitRange",
            "Namespace",
            "Node",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "Secret",
            "ServiceAccount",
        ],
    ),
    ("apps", &["ControllerRevision"]),
    ("batch", &["Job"]),
    ("certificates.k8s.io", &["CertificateSigningRequest"]),
    (
        "networking.k8s.io",
        &["Ingress", "IngressClass", "IPAddress", "NetworkPolicy"],
    ),
    ("node.k8s.io", &["RuntimeClass"]),
    (
        "rbac.authorization.k8s.io",
        &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    ),
    (
        "resource.k8s.io",
        &["DeviceClass", "ResourceClaim", "ResourceClaimTemplate"],
    ),
    (
        "storage.k8s.io",
        &[
            "CSINode",
            "CSIStorageCapacity",
            "StorageClass",
            "VolumeAttributesClass",
        ],
    ),
];
/// Kinds whose strategies leave metadata to what is checked of all kinds.
const NOT_AGAIN: &[(&str, &str)] = &[
    ("", "Event"),
    ("", "LimitRange"),
    ("policy", "PodDisruptionBudget"),
];

/// What is wrong with the metadata of an updated object. Upstream checks it for all kinds as new and
/// as changed, and most strategies check it again: clients see each cause so many times.
fn metadata_update(group: &str, kind: &str, new: &Value, old: &Value) -> ErrorList {
    let path = Path::new("metadata");
    let namespaced = meta::is_namespaced(group, kind);
    let mut errs = object_meta(new, namespaced, |name, _| crate::names::path_segment(name), &path);
    errs.extend(object_meta_update(new, old, &path));
    if !NOT_AGAIN.contains(&(group, kind)) {
        errs.extend(object_meta_update(new, old, &path));
        meta::standard_finalizers(new, &path, &mut errs);
    }
    if CHECKED_WHOLE
        .iter()
        .any(|(of, kinds)| *of == group && kinds.contains(&kind))
    {
        let check = |name: &str, prefix: bool| name_check(group, kind, name, prefix);
        errs.extend(object_meta(new, namespaced, check, &path));
        meta::standard_finalizers(new, &path, &mut errs);
    }
    errs
}

/// Checks an update of the status subresource.
#[must_use]
pub fn status_update(gvk: &Gvk, new: &Value, old: &Value) -> ErrorList {
    let (group, kind) = gvk.group_kind();
    let path = Path::new("metadata");
    let mut errs = object_meta_update(new, old, &path);
    errs.extend(object_meta_update(new, old, &path));
    status::update(group, kind, new, old, &mut errs);
    if (group, kind) == ("resource.k8s.io", "ResourceClaim") {
        devices::status(new, old, &mut errs);
    }
    errs
}

/// Checks an update of a pod's `ephemeralcontainers` subresource.
#[must_use]
pub fn ephemeral_containers_update(new: &Value, old: &Value) -> ErrorList {
    let mut errs = metadata_update("", "Pod", new, old);
    pod::valid(new, &mut errs);
    status::ephemeral_containers(new, old, &mut errs);
    errs
}

/// Checks an update of a pod's `resize` subresource (KEP-1287).
#[must_use]
pub fn resize_update(new: &Value, old: &Value) -> ErrorList {
    let mut errs = object_meta_update(new, old, &Path::new("metadata"));
    pod::resize(new, old, &mut errs);
    errs
}

/// Checks an update of a certificate signing request's `approval` subresource.
#[must_use]
pub fn approval_update(new: &Value, old: &Value) -> ErrorList {
    let mut errs = object_meta_update(new, old, &Path::new("metadata"));
    certificates::update(certificates::By::Approval, new, old, &mut errs);
    errs
}

/// Checks an update of the `finalize` subresource.
#[must_use]
pub fn finalize_update(gvk: &Gvk, new: &Value, old: &Value) -> ErrorList {
    let mut errs = object_meta_update(new, old, &Path::new("metadata"));
    spec(&gvk.group, &gvk.kind, new, &mut errs);
    errs
}

fn spec(group: &str, kind: &str, o: &Value, errs: &mut ErrorList) {
    match group {
        "" => core::create(kind, o, errs),
        "apps" | "autoscaling" => workloads::create(group, kind, o, errs),
        "batch" => batch::create(kind, o, errs),
        "storage.k8s.io" => storage::create(kind, o, errs),
        "rbac.authorization.k8s.io" => rbac::create(kind, o, errs),
        "networking.k8s.io" | "discovery.k8s.io" => network::create(kind, o, errs),
        "apiextensions.k8s.io" => definition::create(o, errs),
        "resource.k8s.io" => devices::create(kind, o, errs),
        _ => {
            rest::create(group, kind, o, errs);
            extensions::create(group, kind, o, errs);
        }
    }
}

fn changes(group: &str, kind: &str, new: &Value, old: &Value, errs: &mut ErrorList) {
    match group {
        "" => core::update(kind, new, old, errs),
        "apps" | "autoscaling" => workloads::update(group, kind, new, old, errs),
        "batch" => batch::update(kind, new, old, errs),
        "storage.k8s.io" => storage::update(kind, new, old, errs),
        "rbac.authorization.k8s.io" => rbac::update(kind, new, old, errs),
        "networking.k8s.io" | "discovery.k8s.io" => network::update(kind, new, old, errs),
        "apiextensions.k8s.io" => definition::update(new, old, errs),
        "resource.k8s.io" => devices::update(kind, new, old, errs),
        _ => {
            rest::update(group, kind, new, old, errs);
            extensions::update(group, kind, new, errs);
        }
    }
}

#[cfg(test)]
mod tests;
