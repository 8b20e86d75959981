//! PersistentVolumes and the claims on them.

use serde_json::Value;

use super::super::pod::{node_selector, volume_source};
use super::super::support::{differences, immutable, label_selector, list, one_of, required, same, text};
use crate::field::{Error, ErrorList, Path};
use crate::meta;
use crate::names;
use crate::quantity::Quantity;

const MODES: &[&str] = &[
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];
const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
/// The annotation that named a class before `storageClassName` did.
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// The annotation that asks for mount options, and the volumes that heed it.
const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
const MOUNTED_WITH_OPTIONS: &[&str] = &[
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "nfs",
    "rbd",
    "quobyte",
    "iscsi",
    "cinder",
    "cephfs",
    "azureFile",
    "vsphereVolume",
    "azureDisk",
    "photonPersistentDisk",
];

fn access_modes(v: &Value, path: &Path, errs: &mut ErrorList) {
    let modes = list(v);
    for mode in modes {
        let mode = mode.as_str().unwrap_or("");
        if !MODES.contains(&mode) {
            errs.push(Error::not_supported(path, mode, MODES));
        }
    }
    let is_exclusive = |mode: &Value| mode == "ReadWriteOncePod";
    let is_shared =
        |mode: &Value| mode.as_str().is_some_and(|mode| MODES.contains(&mode)) && !is_exclusive(mode);
    if modes.iter().any(is_exclusive) && modes.iter().any(is_shared) {
        errs.push(Error::forbidden(
            path,
            "may not use ReadWriteOncePod with other access modes",
        ));
    }
}

/// A quantity above zero; whether it is one.
fn positive(v: &Value, path: &Path, errs: &mut ErrorList) -> bool {
    match Quantity::from_value(v) {
        Ok(q) if q.sign() > 0 => true,
        Ok(q) => {
            errs.push(Error::invalid(path, q.to_string(), "must be greater than zero"));
            false
        }
        Err(e) => {
            errs.push(Error::invalid(path, v.clone(), e.to_string()));
            false
        }
    }
}

/// A capacity of what is no pod's: a whole number not below zero.
fn basic_resource(v: &Value, path: &Path, errs: &mut ErrorList) {
    if let Some(n) = Quantity::from_value(v).ok().map(|q| q.value()).filter(|n| *n < 0) {
        errs.push(Error::invalid(path, n, "must be a valid resource quantity"));
    }
}

fn volume_mode(v: &Value, path: &Path, errs: &mut ErrorList) {
    if let Some(mode) = v.as_str().filter(|mode| !VOLUME_MODES.contains(mode)) {
        errs.push(Error::not_supported(path, mode, VOLUME_MODES));
    }
}

/// A class's name, which may be left out.
fn class_name(name: &str, path: &Path, errs: &mut ErrorList) {
    if !name.is_empty() {
        errs.invalid_each(path, name, names::dns1123_subdomain(name));
    }
}

/// A claim's spec; `old` is that of the claim it updates.
pub(in super::super) fn claim_spec(s: &Value, old: &Value, path: &Path, errs: &mut ErrorList) {
    let at = path.child("accessModes");
    if list(&s["accessModes"]).is_empty() {
        errs.push(Error::required(&at, "at least 1 access mode is required"));
    }
    label_selector(&s["selector"], &path.child("selector"), errs);
    access_modes(&s["accessModes"], &at, errs);
    let storage = &s["resources"]["requests"]["storage"];
    let at = path.child("resources").key("storage");
    if storage.is_null() {
        errs.push(Error::required(&at, ""));
    } else {
        positive(storage, &at, errs);
    }
    class_name(text(s, "storageClassName"), &path.child("storageClassName"), errs);
    volume_mode(&s["volumeMode"], &path.child("volumeMode"), errs);
    let had_group = ["dataSource", "dataSourceRef"]
        .iter()
        .any(|field| old[*field]["apiGroup"].is_string());
    for field in ["dataSource", "dataSourceRef"] {
        if s[field].is_object() {
            data_source(&s[field], had_group, &path.child(field), errs);
        }
    }
    // Upstream gives a path where the value belongs, which prints as an empty object.
    let (source, reference) = (&s["dataSource"], &s["dataSourceRef"]);
    if source.is_object() && reference.is_object() {
        let shown = serde_json::json!({});
        let differ = ["apiGroup", "kind", "name"]
            .iter()
            .any(|field| source[*field] != reference[*field]);
        if !text(reference, "namespace").is_empty() {
            let why = "may not be specified when dataSourceRef.namespace is specified";
            errs.push(Error::invalid(path, shown, why));
        } else if differ {
            errs.push(Error::invalid(path, shown, "must match dataSourceRef"));
        }
    }
    class_name(
        text(s, "volumeAttributesClassName"),
        &path.child("volumeAttributesClassName"),
        errs,
    );
}

/// A `dataSource` or `dataSourceRef` (KEP-1495); `had_group`: any group is let through.
fn data_source(source: &Value, had_group: bool, path: &Path, errs: &mut ErrorList) {
    required(&source["name"], &path.child("name"), errs);
    required(&source["kind"], &path.child("kind"), errs);
    let (group, kind) = (text(source, "apiGroup"), text(source, "kind"));
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        errs.push(Error::invalid(
            path,
            kind,
            "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        ));
    }
    if !group.is_empty() && !had_group {
        errs.invalid_each(&path.child("apiGroup"), group, names::dns1123_subdomain(group));
    }
    let namespace = text(source, "namespace");
    if !namespace.is_empty() {
        errs.invalid_each(
            &path.child("namespace"),
            namespace,
            names::dns1123_label(namespace),
        );
    }
}

/// What a claim's update may have changed beside: `metadata` and `status` are not looked at.
pub(in super::super) fn claim_update(new: &Value, old: &Value, errs: &mut ErrorList) {
    let path = Path::new("spec");
    let (n, o) = (&new["spec"], &old["spec"]);
    claim_spec(n, o, &path, errs);
    let bound = text(&new["status"], "phase") == "Bound";
    let (annotated, annotation) = (
        meta::annotation(old, BETA_CLASS),
        meta::annotation(new, BETA_CLASS),
    );
    let class = n["storageClassName"].as_str();
    let had_class = !o["storageClassName"].is_null();
    let mut may = vec![];
    if annotated.is_some()
        && !had_class
        && class == annotated
        && annotation.is_none_or(|a| Some(a) == annotated)
    {
        may.push("storageClassName");
    } else {
        if annotation.unwrap_or("") != annotated.unwrap_or("") {
            errs.push(Error::invalid(
                &Path::new("metadata").child("annotations").key(BETA_CLASS),
                annotation.unwrap_or(""),
                "field is immutable",
            ));
        }
        if class.is_some() && !had_class && annotated.is_none_or(|a| class == Some(a)) {
            may.push("storageClassName");
        }
    }
    // Who binds a claim fills this in.
    if text(o, "volumeName").is_empty() {
        may.push("volumeName");
    }
    if bound {
        may.push("volumeAttributesClassName");
    }
    let rest = |spec: &Value| {
        let mut spec = spec.clone();
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|name, _| !may.contains(&name.as_str()));
        }
        if bound && let Some(requests) = spec["resources"]["requests"].as_object_mut() {
            requests.remove("storage");
        }
        spec
    };
    let changed = differences("spec", &rest(o), &rest(n));
    if !changed.is_empty() {
        errs.push(Error::forbidden(
            &path,
            format!(
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{changed}"
            ),
        ));
    }
    smaller(new, old, errs);
    immutable(&n["volumeMode"], &o["volumeMode"], &Path::new("volumeMode"), errs);
    if !old["status"]["currentVolumeAttributesClassName"].is_null() {
        let at = path.child("volumeAttributesClassName");
        let now = &n["volumeAttributesClassName"];
        let to = match now.as_str() {
            None => "nil",
            Some("") => "empty string",
            Some(_) => return,
        };
        if *now != o["volumeAttributesClassName"] {
            errs.push(Error::forbidden(
                &at,
                format!(
                    "update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil"
                ),
            ));
        }
    }
}

/// A request may go back to what the volume already has, not below (KEP-1790).
fn smaller(new: &Value, old: &Value, errs: &mut ErrorList) {
    let amount = |v: &Value| Quantity::from_value(v).map_or(0, |q| q.value());
    let request = |claim: &Value| amount(&claim["spec"]["resources"]["requests"]["storage"]);
    let held = amount(&old["status"]["capacity"]["storage"]);
    if request(new) < request(old) && request(new) <= held {
        let at = Path::new("spec")
            .child("resources")
            .child("requests")
            .child("storage");
        errs.push(Error::forbidden(
            &at,
            "field can not be less than status.capacity",
        ));
    }
}

/// A claim's status.
pub(in super::super) fn claim_status(new: &Value, errs: &mut ErrorList) {
    const RESIZES: &[&str] = &[
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
        "NodeResizePending",
    ];
    let (status, path) = (&new["status"], Path::new("status"));
    if list(&new["spec"]["accessModes"]).is_empty() {
        errs.push(Error::required(&Path::new("Spec").child("accessModes"), ""));
    }
    for (name, amount) in status["capacity"].as_object().into_iter().flatten() {
        basic_resource(amount, &path.child("capacity").key(name), errs);
    }
    let at = path.child("allocatedResourceStatuses");
    for (name, resize) in status["allocatedResourceStatuses"]
        .as_object()
        .into_iter()
        .flatten()
    {
        resource_key(name, &at, errs);
        if !resize.as_str().is_some_and(|resize| RESIZES.contains(&resize)) {
            errs.push(Error::not_supported(&at, name.as_str(), RESIZES));
        }
    }
    let at = path.child("allocatedResources");
    for (name, amount) in status["allocatedResources"].as_object().into_iter().flatten() {
        let before = errs.len();
        resource_key(name, &at, errs);
        if errs.len() == before {
            basic_resource(amount, &at.key(name), errs);
        }
    }
}

/// What a claim can have some of: `storage`, or a resource of somebody's own.
fn resource_key(name: &str, path: &Path, errs: &mut ErrorList) {
    let faults = names::qualified_name(name);
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    if !faults.is_empty() {
        errs.invalid_each(path, name, faults);
    } else if native && name != "storage" {
        errs.push(Error::not_supported(path, name, &["storage"]));
    }
}

/// Where a PersistentVolume's spec stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    Volume,
    /// A VolumeAttachment describes a volume that has no object.
    Attachment,
}

const INLINE: &str = "may not be specified in the context of inline volumes";

/// A volume's spec; `name` is the volume's.
pub(super) fn volume_spec(s: &Value, name: &str, within: Within, path: &Path, errs: &mut ErrorList) {
    let inline = within == Within::Attachment;
    if inline {
        for field in ["claimRef", "capacity"] {
            let given = s[field]
                .as_object()
                .is_some_and(|o| field == "claimRef" || !o.is_empty());
            if given {
                errs.push(Error::forbidden(&path.child(field), INLINE));
            }
        }
        if s["csi"].is_null() {
            let why = "has to be specified in the context of inline volumes";
            errs.push(Error::required(&path.child("csi"), why));
        }
    }
    required(&s["accessModes"], &path.child("accessModes"), errs);
    access_modes(&s["accessModes"], &path.child("accessModes"), errs);
    if !inline {
        capacity(&s["capacity"], &path.child("capacity"), errs);
    }
    let (policy, at) = (
        text(s, "persistentVolumeReclaimPolicy"),
        path.child("persistentVolumeReclaimPolicy"),
    );
    if inline && !matches!(policy, "" | "Retain") {
        errs.push(Error::forbidden(
            &at,
            "may only be Retain in the context of inline volumes",
        ));
    } else if !inline {
        let known = &["Delete", "Recycle", "Retain"];
        one_of(&s["persistentVolumeReclaimPolicy"], known, &at, errs);
    }
    if s["nodeAffinity"].is_object() {
        let at = path.child("nodeAffinity");
        let required = &s["nodeAffinity"]["required"];
        if inline {
            errs.push(Error::forbidden(&at, INLINE));
        } else if required.is_object() {
            node_selector(required, &at.child("required"), errs);
        } else {
            let why = "must specify required node constraints";
            errs.push(Error::required(&at.child("required"), why));
        }
    }
    volume_source(s, name, path, errs);
    if clean(text(&s["hostPath"], "path")) == "/" && policy == "Recycle" {
        errs.push(Error::forbidden(
            &at,
            "may not be 'recycle' for a hostPath mount of '/'",
        ));
    }
    classes(s, inline, path, errs);
}

/// The classes and the mode of a volume.
fn classes(s: &Value, inline: bool, path: &Path, errs: &mut ErrorList) {
    let (class, at) = (text(s, "storageClassName"), path.child("storageClassName"));
    if inline && !class.is_empty() {
        errs.push(Error::forbidden(&at, INLINE));
    } else {
        class_name(class, &at, errs);
    }
    let at = path.child("volumeMode");
    if !inline {
        volume_mode(&s["volumeMode"], &at, errs);
    } else if s["volumeMode"].as_str().is_some_and(|mode| mode != "Filesystem") {
        errs.push(Error::forbidden(
            &at,
            "may not specify volumeMode other than Filesystem in the context of inline volumes",
        ));
    }
    // Upstream leaves this out of attachments, where the feature counts as off.
    if let Some(class) = s["volumeAttributesClassName"].as_str().filter(|_| !inline) {
        let at = path.child("volumeAttributesClassName");
        if class.is_empty() {
            errs.push(Error::required(&at, "an empty string is disallowed"));
        }
        class_name(class, &at, errs);
        if s["csi"].is_null() {
            let why = "has to be specified when using volumeAttributesClassName";
            errs.push(Error::required(&path.child("csi"), why));
        }
    }
}

fn capacity(capacity: &Value, path: &Path, errs: &mut ErrorList) {
    required(capacity, path, errs);
    let amounts = capacity.as_object();
    if capacity["storage"].is_null() || amounts.is_some_and(|amounts| amounts.len() > 1) {
        errs.push(Error::not_supported(path, capacity.clone(), &["storage"]));
    }
    for (name, amount) in amounts.into_iter().flatten() {
        basic_resource(amount, &path.key(name), errs);
        positive(amount, &path.key(name), errs);
    }
}

/// A path as Go's `path.Clean` leaves it, as far as it takes to know the root.
fn clean(path: &str) -> &str {
    let is_root = path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | "." | ".."));
    if is_root { "/" } else { path }
}

pub(in super::super) fn volume(o: &Value, errs: &mut ErrorList) {
    volume_spec(
        &o["spec"],
        meta::name(o),
        Within::Volume,
        &Path::new("spec"),
        errs,
    );
    mount_options(o, errs);
}

fn mount_options(o: &Value, errs: &mut ErrorList) {
    let heeded = MOUNTED_WITH_OPTIONS
        .iter()
        .any(|source| o["spec"][*source].is_object());
    if !heeded && meta::annotation(o, MOUNT_OPTIONS).is_some() {
        errs.push(Error::forbidden(
            &Path::new("metadata").child("annotations").child(MOUNT_OPTIONS),
            "may not specify mount options for this volume type",
        ));
    }
}

pub(in super::super) fn volume_update(new: &Value, old: &Value, errs: &mut ErrorList) {
    // Its strategy checks it as new and as changed.
    volume(new, errs);
    let (n, o) = (&new["spec"], &old["spec"]);
    volume_spec(n, meta::name(new), Within::Volume, &Path::new("spec"), errs);
    // A volume may be told later with what it is expanded.
    let may_expand = o["csi"].is_object() && o["csi"]["controllerExpandSecretRef"].is_null();
    let source = |s: &Value| {
        let mut s = s.clone();
        if let Some(m) = s.as_object_mut() {
            for f in [
                "capacity",
                "accessModes",
                "claimRef",
                "persistentVolumeReclaimPolicy",
                "storageClassName",
                "mountOptions",
                "volumeMode",
                "nodeAffinity",
                "volumeAttributesClassName",
            ] {
                m.remove(f);
            }
        }
        if may_expand && let Some(csi) = s["csi"].as_object_mut() {
            csi.remove("controllerExpandSecretRef");
        }
        s
    };
    let changed = differences("spec", &source(o), &source(n));
    if !changed.is_empty() {
        errs.push(Error::forbidden(
            &Path::new("spec").child("persistentvolumesource"),
            format!("spec.persistentvolumesource is immutable after creation\n{changed}"),
        ));
    }
    immutable(&n["volumeMode"], &o["volumeMode"], &Path::new("volumeMode"), errs);
    let (affinity, had) = (&n["nodeAffinity"], &o["nodeAffinity"]);
    if !had.is_null() && !same_but_for_beta_labels(affinity, had) {
        errs.push(Error::invalid(
            &Path::new("nodeAffinity"),
            affinity.clone(),
            "field is immutable, except for updating from beta label to GA",
        ));
    }
    if !o["volumeAttributesClassName"].is_null() && n["volumeAttributesClassName"].is_null() {
        errs.push(Error::forbidden(
            &Path::new("spec").child("volumeAttributesClassName"),
            "update from non-nil value to nil is forbidden",
        ));
    }
}

/// Labels of nodes under their names of then and of now.
const BETA_LABELS: &[(&str, &str)] = &[
    (
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/zone",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "topology.kubernetes.io/region",
    ),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    (
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
    ),
];

fn same_but_for_beta_labels(new: &Value, old: &Value) -> bool {
    let renamed = |key: &Value, was: &Value| {
        BETA_LABELS
            .iter()
            .any(|(beta, ga)| *was == **beta && *key == **ga)
    };
    match (new, old) {
        (Value::Object(n), Value::Object(o)) => {
            let all = n.keys().chain(o.keys());
            all.into_iter().all(|field| {
                let (n, o) = (&new[field.as_str()], &old[field.as_str()]);
                same_but_for_beta_labels(n, o) || (field == "key" && renamed(n, o))
            })
        }
        (Value::Array(n), Value::Array(o)) if n.len() == o.len() => {
            n.iter().zip(o).all(|(n, o)| same_but_for_beta_labels(n, o))
        }
        _ => same(new, old),
    }
}
