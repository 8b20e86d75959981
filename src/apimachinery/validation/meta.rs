//! ObjectMeta: names, labels, annotations, owners, finalizers.

use serde_json::Value;

use super::support::{immutable, list};
use crate::field::{Error, ErrorList, Path};
use crate::{meta, names};

/// All annotations together, in bytes.
const TOTAL_ANNOTATIONS: usize = 256 * 1024;

/// Kinds of Kubernetes' own groups that live outside namespaces.
pub(super) fn is_namespaced(group: &str, kind: &str) -> bool {
    !matches!(
        (group, kind),
        ("", "Node" | "Namespace" | "PersistentVolume" | "ComponentStatus")
            | ("rbac.authorization.k8s.io", "ClusterRole" | "ClusterRoleBinding")
            | (
                "storage.k8s.io",
                "StorageClass" | "VolumeAttachment" | "CSINode" | "CSIDriver" | "VolumeAttributesClass"
            )
            | ("scheduling.k8s.io", "PriorityClass")
            | ("node.k8s.io", _)
            | (
                "certificates.k8s.io",
                "CertificateSigningRequest" | "ClusterTrustBundle"
            )
            | ("networking.k8s.io", "IngressClass" | "ServiceCIDR" | "IPAddress")
            | (
                "admissionregistration.k8s.io" | "apiextensions.k8s.io" | "apiregistration.k8s.io",
                _
            )
            | (
                "flowcontrol.apiserver.k8s.io" | "internal.apiserver.k8s.io" | "storagemigration.k8s.io",
                _
            )
            | (
                "resource.k8s.io",
                "ResourceSlice" | "DeviceClass" | "DeviceTaintRule"
            )
    )
}

/// The messages of a kind's name rule; `prefix` for a `generateName`.
#[must_use]
pub fn name_check(group: &str, kind: &str, name: &str, prefix: bool) -> Vec<String> {
    match (group, kind) {
        ("rbac.authorization.k8s.io", _) => names::path_segment(name),
        ("certificates.k8s.io", "CertificateSigningRequest") => names::path_segment(name),
        // Their strategies leave names to what is asked of all kinds.
        ("apiregistration.k8s.io", _) | ("policy", _) | ("", "Event") => names::path_segment(name),
        ("", "Service") => names::dns1035_label(&masked(name, prefix)),
        ("", "Namespace") | ("apps", "StatefulSet") => names::dns1123_label(&masked(name, prefix)),
        ("networking.k8s.io", "IPAddress") => names::ip(name),
        // Rules that upstream declares with their types look at names only, and count bytes.
        ("", "ReplicationController") | ("resource.k8s.io", "DeviceClass") if prefix => Vec::new(),
        ("", "ReplicationController") | ("resource.k8s.io", "DeviceClass") => {
            let messages = object_name(name, false).into_iter();
            messages
                .map(|why| why.replace("no more than 253 characters", "no more than 253 bytes"))
                .collect()
        }
        _ => object_name(name, prefix),
    }
}

/// The messages of what is wrong with most kinds' names (upstream's `NameIsDNSSubdomain`).
pub(super) fn object_name(name: &str, prefix: bool) -> Vec<String> {
    names::dns1123_subdomain(&masked(name, prefix))
}

/// A prefix may end in a dash, as more follows.
fn masked(name: &str, prefix: bool) -> String {
    match name.strip_suffix('-') {
        Some(head) if prefix && !head.is_empty() => format!("{head}a"),
        _ => name.to_owned(),
    }
}

/// Checks an object's metadata. `check` gives the messages of what is wrong
/// with a name (second argument: it is a `generateName`).
pub fn object_meta(
    object: &Value,
    namespaced: bool,
    check: impl Fn(&str, bool) -> Vec<String>,
    path: &Path,
) -> ErrorList {
    let mut errs = ErrorList::new();
    let generate = meta::generate_name(object);
    if !generate.is_empty() {
        errs.invalid_each(&path.child("generateName"), generate, check(generate, true));
    }
    let name = meta::name(object);
    if name.is_empty() {
        errs.push(Error::required(
            &path.child("name"),
            "name or generateName is required",
        ));
    } else {
        errs.invalid_each(&path.child("name"), name, check(name, false));
    }
    let namespace = meta::namespace(object);
    if namespaced {
        if namespace.is_empty() {
            errs.push(Error::required(&path.child("namespace"), ""));
        } else {
            errs.invalid_each(
                &path.child("namespace"),
                namespace,
                names::dns1123_label(namespace),
            );
        }
    } else if !namespace.is_empty() {
        errs.push(Error::forbidden(
            &path.child("namespace"),
            "not allowed on this type",
        ));
    }
    if meta::generation(object) < 0 {
        errs.push(Error::invalid(
            &path.child("generation"),
            meta::generation(object),
            "must be greater than or equal to 0",
        ));
    }
    common(object, path, &mut errs);
    finalizers(object, &path.child("finalizers"), &mut errs);
    errs
}

/// What is looked at of what is new and of what changes.
fn common(object: &Value, path: &Path, errs: &mut ErrorList) {
    labels(&object["metadata"]["labels"], &path.child("labels"), errs);
    annotations(object, &path.child("annotations"), errs);
    owners(object, &path.child("ownerReferences"), errs);
    managers(object, &path.child("managedFields"), errs);
}

fn finalizers(object: &Value, path: &Path, errs: &mut ErrorList) {
    let all: Vec<&str> = meta::finalizers(object).collect();
    for f in &all {
        errs.invalid_each(path, f, names::qualified_name(f));
    }
    if all.contains(&"orphan") && all.contains(&"foregroundDeletion") {
        errs.push(Error::invalid(
            path,
            object["metadata"]["finalizers"].clone(),
            "finalizer orphan and foregroundDeletion cannot be both set",
        ));
    }
}

/// Longest name of a field manager, in bytes.
const MAX_MANAGER: usize = 128;

fn managers(object: &Value, path: &Path, errs: &mut ErrorList) {
    // One empty entry asks to forget all managers.
    if object["metadata"]["managedFields"] == serde_json::json!([{}]) {
        return;
    }
    for (i, m) in list(&object["metadata"]["managedFields"]).iter().enumerate() {
        let text = |f: &str| m[f].as_str().unwrap_or("");
        if !matches!(text("operation"), "Apply" | "Update") {
            errs.push(Error::invalid(
                &path.index(i).child("operation"),
                text("operation"),
                "must be `Apply` or `Update`",
            ));
        }
        if !matches!(text("fieldsType"), "" | "FieldsV1") {
            errs.push(Error::invalid(
                &path.index(i).child("fieldsType"),
                text("fieldsType"),
                "must be `FieldsV1`",
            ));
        }
        if text("manager").len() > MAX_MANAGER {
            errs.push(Error::too_long(&path.index(i).child("manager"), MAX_MANAGER));
        }
    }
}

/// Groups whose kinds may have finalizers without a domain, and so may custom resources and events.
const BARE_FINALIZERS: &[&str] = &[
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "coordination.k8s.io",
    "events.k8s.io",
    "node.k8s.io",
    "policy",
];

fn bare_finalizers(object: &Value) -> bool {
    let (group, _) = meta::split_api_version(object["apiVersion"].as_str().unwrap_or_default());
    BARE_FINALIZERS.contains(&group)
        || !meta::is_builtin_group(group)
        || (group.is_empty() && object["kind"] == "Event")
}

/// What stands without a domain is one of Kubernetes' own.
pub(super) fn standard_finalizers(object: &Value, path: &Path, errs: &mut ErrorList) {
    if !bare_finalizers(object) {
        domainless_finalizers(object, path, errs);
    }
}

/// [`standard_finalizers`] whatever the kind.
pub(super) fn domainless_finalizers(object: &Value, path: &Path, errs: &mut ErrorList) {
    for (i, f) in meta::finalizers(object).enumerate() {
        standard_finalizer(f, &path.child("finalizers").index(i), errs);
    }
}

pub(super) fn finalizer(f: &str, path: &Path, errs: &mut ErrorList) {
    errs.invalid_each(path, f, names::qualified_name(f));
    standard_finalizer(f, path, errs);
}

fn standard_finalizer(f: &str, path: &Path, errs: &mut ErrorList) {
    if !f.contains('/') && !matches!(f, "kubernetes" | "orphan" | "foregroundDeletion") {
        errs.push(Error::invalid(
            path,
            f,
            "name is neither a standard finalizer name nor is it fully qualified",
        ));
    }
}

/// Labels of an object, a template or a selector.
pub(super) fn labels(labels: &Value, path: &Path, errs: &mut ErrorList) {
    for (k, v) in labels.as_object().into_iter().flatten() {
        errs.invalid_each(path, k, names::qualified_name(k));
        let v = v.as_str().unwrap_or("");
        errs.invalid_each(path, v, names::label_value(v));
    }
}

fn annotations(object: &Value, path: &Path, errs: &mut ErrorList) {
    let mut total = 0;
    for (k, v) in meta::annotations(object).into_iter().flatten() {
        // Case does not matter in an annotation's key.
        errs.invalid_each(path, k, names::qualified_name(&k.to_lowercase()));
        total += k.len() + v.as_str().unwrap_or("").len();
    }
    if total > TOTAL_ANNOTATIONS {
        errs.push(Error::too_long(path, TOTAL_ANNOTATIONS));
    }
}

fn owners(object: &Value, path: &Path, errs: &mut ErrorList) {
    let mut controller: Option<String> = None;
    for r in meta::owner_references(object) {
        let text = |f: &str| r[f].as_str().unwrap_or("");
        let (group, version) = meta::split_api_version(text("apiVersion"));
        if version.is_empty() {
            errs.push(Error::invalid(
                &path.child("apiVersion"),
                text("apiVersion"),
                "version must not be empty",
            ));
        }
        for f in ["kind", "name", "uid"] {
            if text(f).is_empty() {
                errs.push(Error::invalid(&path.child(f), "", "must not be empty"));
            }
        }
        if (group, version, text("kind")) == ("", "v1", "Event") {
            errs.push(Error::invalid(
                path,
                r.clone(),
                "/v1, Kind=Event is disallowed from being an owner",
            ));
        }
        if r["controller"] == true {
            let this = format!("{}/{}", text("kind"), text("name"));
            match &controller {
                Some(first) => errs.push(Error::invalid(
                    path,
                    object["metadata"]["ownerReferences"].clone(),
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                    ),
                )),
                None => controller = Some(this),
            }
        }
    }
}

/// Checks what an update does to metadata.
#[must_use]
pub fn object_meta_update(new: &Value, old: &Value, path: &Path) -> ErrorList {
    let mut errs = ErrorList::new();
    if meta::is_deleting(old) {
        let had: Vec<&str> = meta::finalizers(old).collect();
        let added: Vec<&str> = meta::finalizers(new).filter(|f| !had.contains(f)).collect();
        if !added.is_empty() {
            errs.push(Error::forbidden(
                &path.child("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    added.iter().map(|f| crate::field::quote(f)).collect::<Vec<_>>().join(", ")
                ),
            ));
        }
    }
    if meta::generation(new) < meta::generation(old) {
        errs.push(Error::invalid(
            &path.child("generation"),
            meta::generation(new),
            "must not be decremented",
        ));
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        immutable(
            &new["metadata"][field],
            &old["metadata"][field],
            &path.child(field),
            &mut errs,
        );
    }
    common(new, path, &mut errs);
    errs
}

/// Fields of metadata that a claim's template must not have.
const TEMPLATE_METADATA: &[&str] = &[
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// The metadata of a claim's template, at `path`: labels and annotations, and nothing else.
pub(super) fn claim_template(template: &Value, path: &Path, errs: &mut ErrorList) {
    annotations(template, &path.child("annotations"), errs);
    labels(&template["metadata"]["labels"], &path.child("labels"), errs);
    for field in TEMPLATE_METADATA {
        let given = match &template["metadata"][*field] {
            Value::Null => false,
            Value::String(s) => !s.is_empty(),
            Value::Array(a) => !a.is_empty(),
            Value::Number(n) => n.as_i64() != Some(0),
            _ => true,
        };
        if given {
            let shown = if *field == "uid" { "uID" } else { field };
            errs.push(Error::forbidden(&path.child(shown), "cannot be set"));
        }
    }
}

/// The metadata of a pod template: labels, annotations, finalizers.
pub(super) fn template_meta(template: &Value, path: &Path, errs: &mut ErrorList) {
    // Upstream's paths leave `metadata` out.
    labels(&template["metadata"]["labels"], &path.child("labels"), errs);
    annotations(template, &path.child("annotations"), errs);
    for f in list(&template["metadata"]["finalizers"]) {
        finalizer(f.as_str().unwrap_or(""), &path.child("finalizers"), errs);
    }
}
