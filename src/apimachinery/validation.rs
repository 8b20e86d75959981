//! Upstream-worded validation of built-in kinds.
//!
//! ```text
//! validation::create(&gvk, &object) -> ErrorList
//! validation::update(&gvk, &new, &old) -> ErrorList          // of the main resource
//! validation::newer_event(&new, old) -> ErrorList            // of events.k8s.io
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
mod endpoints;
mod events;
mod extensions;
mod flowcontrol;
mod hooks;
mod limits;
mod meta;
mod network;
mod pod;
mod policy;
mod rbac;
mod resource_names;
mod rest;
mod service;
mod status;
mod storage;
mod support;
mod workloads;

use serde_json::Value;

use crate::field::{ErrorList, Path};
use crate::meta::Gvk;

pub use definition::{Place, definition_schemas, is_field_path};
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

/// Checks an event written through `events.k8s.io`, which asks more of it than the core group.
#[must_use]
pub fn newer_event(new: &Value, old: Option<&Value>) -> ErrorList {
    let mut errs = match old {
        None => object_meta(new, true, meta::object_name, &Path::new("metadata")),
        Some(old) => metadata_update("events.k8s.io", "Event", new, old),
    };
    meta::domainless_finalizers(new, &Path::new("metadata"), &mut errs);
    events::newer(new, old, &mut errs);
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

/// Kinds whose strategies check the metadata of an updated object as if it were new, too, and how often.
const CHECKED_WHOLE: &[(&str, &[&str], usize)] = &[
    (
        "",
        &[
            "ConfigMap",
            "Endpoints",
            "LimitRange",
            "Namespace",
            "Node",
            "PersistentVolumeClaim",
            "Pod",
            "Secret",
            "ServiceAccount",
        ],
        1,
    ),
    ("", &["PersistentVolume"], 2),
    ("admissionregistration.k8s.io", ALL, 1),
    ("apiregistration.k8s.io", ALL, 1),
    ("apps", &["ControllerRevision"], 1),
    ("batch", &["Job"], 1),
    ("certificates.k8s.io", &["CertificateSigningRequest"], 1),
    ("discovery.k8s.io", ALL, 1),
    ("flowcontrol.apiserver.k8s.io", ALL, 1),
    (
        "networking.k8s.io",
        &["Ingress", "IngressClass", "IPAddress", "NetworkPolicy"],
        1,
    ),
    ("node.k8s.io", ALL, 1),
    ("rbac.authorization.k8s.io", ALL, 1),
    (
        "resource.k8s.io",
        &["DeviceClass", "ResourceClaim", "ResourceClaimTemplate"],
        1,
    ),
    ("storage.k8s.io", &["CSINode"], 2),
    (
        "storage.k8s.io",
        &[
            "CSIStorageCapacity",
            "StorageClass",
            "VolumeAttachment",
            "VolumeAttributesClass",
        ],
        1,
    ),
];
/// Kinds whose strategies leave to others what an update may change in metadata.
const NOT_AGAIN: &[(&str, &[&str])] = &[
    ("", &["Event", "LimitRange", "PersistentVolume"]),
    ("admissionregistration.k8s.io", ALL),
    ("discovery.k8s.io", ALL),
    ("flowcontrol.apiserver.k8s.io", ALL),
    ("policy", ALL),
    ("storage.k8s.io", &["CSINode", "VolumeAttachment"]),
];
/// All kinds of a group.
const ALL: &[&str] = &[];

/// What is wrong with the metadata of an updated object. Upstream checks it for all kinds as new and
/// as changed, and most strategies check it again: clients see each cause so many times.
fn metadata_update(group: &str, kind: &str, new: &Value, old: &Value) -> ErrorList {
    let path = Path::new("metadata");
    let namespaced = meta::is_namespaced(group, kind);
    let is_among = |of: &str, kinds: &[&str]| of == group && (kinds.is_empty() || kinds.contains(&kind));
    let mut errs = object_meta(new, namespaced, |name, _| crate::names::path_segment(name), &path);
    errs.extend(object_meta_update(new, old, &path));
    if !NOT_AGAIN.iter().any(|(of, kinds)| is_among(of, kinds)) {
        errs.extend(object_meta_update(new, old, &path));
        meta::standard_finalizers(new, &path, &mut errs);
    }
    let found = CHECKED_WHOLE.iter().find(|(of, kinds, _)| is_among(of, kinds));
    for _ in 0..found.map_or(0, |(_, _, times)| *times) {
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
    match (group, kind) {
        ("resource.k8s.io", "ResourceClaim") => devices::status(new, old, &mut errs),
        ("", "PersistentVolumeClaim") => storage::claim_status(new, &mut errs),
        _ => {}
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
