//! Volumes, claims and storage.k8s.io.

use serde_json::Value;

use super::pod::volume_source;
use super::support::{differences, immutable, list, one_of, required, required_one_of, same, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;
use crate::quantity::Quantity;

const MODES: &[&str] = &[
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];

fn access_modes(v: &Value, path: &Path, errs: &mut ErrorList) {
    let modes = list(v);
    if modes.is_empty() {
        errs.push(Error::required(path, "at least 1 access mode is required"));
    }
    for m in modes {
        one_of(m, MODES, path, errs);
    }
    if modes.len() > 1 && modes.iter().any(|m| m == "ReadWriteOncePod") {
        errs.push(Error::forbidden(
            path,
            "may not use ReadWriteOncePod with other access modes",
        ));
    }
}

fn positive(v: &Value, path: &Path, errs: &mut ErrorList) {
    match Quantity::from_value(v) {
        Ok(q) if q.sign() <= 0 => errs.push(Error::invalid(path, q.to_string(), "must be greater than zero")),
        Ok(_) => {}
        Err(e) => errs.push(Error::invalid(path, v.clone(), e.to_string())),
    }
}

pub(super) fn claim_spec(s: &Value, path: &Path, errs: &mut ErrorList) {
    access_modes(&s["accessModes"], &path.child("accessModes"), errs);
    super::support::label_selector(&s["selector"], &path.child("selector"), errs);
    let storage = &s["resources"]["requests"]["storage"];
    if storage.is_null() {
        errs.push(Error::required(&path.child("resources").key("storage"), ""));
    } else {
        positive(storage, &path.child("resources").key("storage"), errs);
    }
    let class = text(s, "storageClassName");
    if !class.is_empty() {
        errs.invalid_each(
            &path.child("storageClassName"),
            class,
            names::dns1123_subdomain(class),
        );
    }
    one_of(
        &s["volumeMode"],
        &["Block", "Filesystem"],
        &path.child("volumeMode"),
        errs,
    );
}

pub(super) fn claim_update(new: &Value, old: &Value, errs: &mut ErrorList) {
    let path = Path::new("spec");
    claim_spec(&new["spec"], &path, errs);
    let bound = text(&old["status"], "phase") == "Bound";
    let late_class = old["spec"]["storageClassName"].is_null();
    let rest = |o: &Value| {
        let mut s = o["spec"].clone();
        if let Some(m) = s.as_object_mut() {
            // Who binds a claim fills these in.
            if text(&old["spec"], "volumeName").is_empty() {
                m.remove("volumeName");
            }
            if late_class {
                m.remove("storageClassName");
            }
            if bound {
                m.remove("resources");
                m.remove("volumeAttributesClassName");
            }
        }
        s
    };
    let changed = differences("spec", &rest(old), &rest(new));
    if !changed.is_empty() {
        errs.push(Error::forbidden(
            &path,
            format!(
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{changed}"
            ),
        ));
    }
    let storage = |o: &Value| Quantity::from_value(&o["spec"]["resources"]["requests"]["storage"]).ok();
    let held = Quantity::from_value(&old["status"]["capacity"]["storage"]).ok();
    if let (Some(n), Some(o)) = (storage(new), storage(old))
        && n < o
        && held.is_some_and(|h| n <= h)
    {
        errs.push(Error::forbidden(
            &path.child("resources").child("requests").child("storage"),
            "field can not be less than status.capacity",
        ));
    }
}

pub(super) fn volume(o: &Value, errs: &mut ErrorList) {
    let s = &o["spec"];
    let path = Path::new("spec");
    access_modes(&s["accessModes"], &path.child("accessModes"), errs);
    let capacity = s["capacity"].as_object();
    if capacity.is_none_or(serde_json::Map::is_empty) {
        errs.push(Error::required(&path.child("capacity"), ""));
    }
    for (k, v) in capacity.into_iter().flatten() {
        if k == "storage" {
            positive(v, &path.child("capacity").key(k), errs);
        } else {
            errs.push(Error::not_supported(
                &path.child("capacity"),
                k.as_str(),
                &["storage"],
            ));
        }
    }
    one_of(
        &s["persistentVolumeReclaimPolicy"],
        &["Delete", "Recycle", "Retain"],
        &path.child("persistentVolumeReclaimPolicy"),
        errs,
    );
    if s["nodeAffinity"]["required"].is_object() {
        super::pod::node_selector(
            &s["nodeAffinity"]["required"],
            &path.child("nodeAffinity").child("required"),
            errs,
        );
    } else if s["local"].is_object() {
        errs.push(Error::required(
            &Path::new("metadata").child("annotations"),
            "Local volume requires node affinity",
        ));
    }
    volume_source(s, &path, errs);
    let class = text(s, "storageClassName");
    if !class.is_empty() {
        errs.invalid_each(
            &path.child("storageClassName"),
            class,
            names::dns1123_subdomain(class),
        );
    }
    one_of(
        &s["volumeMode"],
        &["Block", "Filesystem"],
        &path.child("volumeMode"),
        errs,
    );
}

pub(super) fn volume_update(new: &Value, old: &Value, errs: &mut ErrorList) {
    // Its strategy checks it as new and as changed.
    volume(new, errs);
    volume(new, errs);
    let source = |o: &Value| {
        let mut s = o["spec"].clone();
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
        s
    };
    let changed = differences("spec", &source(old), &source(new));
    if !changed.is_empty() {
        errs.push(Error::forbidden(
            &Path::new("spec").child("persistentvolumesource"),
            format!("spec.persistentvolumesource is immutable after creation\n{changed}"),
        ));
    }
    let (n, o) = (&new["spec"], &old["spec"]);
    immutable(&n["volumeMode"], &o["volumeMode"], &Path::new("volumeMode"), errs);
    if !o["nodeAffinity"].is_null() && !same(&n["nodeAffinity"], &o["nodeAffinity"]) {
        errs.push(Error::invalid(
            &Path::new("nodeAffinity"),
            n["nodeAffinity"].clone(),
            "field is immutable",
        ));
    }
}

pub(super) fn create(kind: &str, o: &Value, errs: &mut ErrorList) {
    match kind {
        "StorageClass" => {
            if required(&o["provisioner"], &Path::new("provisioner"), errs) {
                let p = text(o, "provisioner");
                errs.invalid_each(
                    &Path::new("provisioner"),
                    p,
                    names::qualified_name(&p.to_lowercase()),
                );
            }
            required_one_of(
                &o["reclaimPolicy"],
                &["Delete", "Retain"],
                &Path::new("reclaimPolicy"),
                errs,
            );
            required_one_of(
                &o["volumeBindingMode"],
                &["Immediate", "WaitForFirstConsumer"],
                &Path::new("volumeBindingMode"),
                errs,
            );
        }
        "VolumeAttachment" => {
            let (s, p) = (&o["spec"], Path::new("spec"));
            required(&s["attacher"], &p.child("attacher"), errs);
            required(&s["nodeName"], &p.child("nodeName"), errs);
            if s["source"]["persistentVolumeName"].is_null() && s["source"]["inlineVolumeSpec"].is_null() {
                errs.push(Error::required(
                    &p.child("source"),
                    "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
                ));
            }
        }
        "CSINode" => {
            for (i, d) in list(&o["spec"]["drivers"]).iter().enumerate() {
                let p = Path::new("spec").child("drivers").index(i);
                required(&d["name"], &p.child("name"), errs);
                required(&d["nodeID"], &p.child("nodeID"), errs);
            }
        }
        "CSIDriver" => {
            for (i, m) in list(&o["spec"]["volumeLifecycleModes"]).iter().enumerate() {
                one_of(
                    m,
                    &["Ephemeral", "Persistent"],
                    &Path::new("spec").child("volumeLifecycleModes").index(i),
                    errs,
                );
            }
        }
        "CSIStorageCapacity" => {
            required(&o["storageClassName"], &Path::new("storageClassName"), errs);
        }
        "VolumeAttributesClass" => {
            required(&o["driverName"], &Path::new("driverName"), errs);
        }
        _ => {}
    }
}

pub(super) fn update(kind: &str, new: &Value, old: &Value, errs: &mut ErrorList) {
    create(kind, new, errs);
    match kind {
        "StorageClass" => {
            for f in ["parameters", "provisioner", "reclaimPolicy"] {
                if !same(&new[f], &old[f]) {
                    errs.push(Error::forbidden(
                        &Path::new(f),
                        format!("updates to {f} are forbidden."),
                    ));
                }
            }
            immutable(
                &new["volumeBindingMode"],
                &old["volumeBindingMode"],
                &Path::new("volumeBindingMode"),
                errs,
            );
        }
        "VolumeAttributesClass" => {
            for f in ["driverName", "parameters"] {
                if !same(&new[f], &old[f]) {
                    errs.push(Error::forbidden(
                        &Path::new(f),
                        format!("updates to {f} are forbidden."),
                    ));
                }
            }
        }
        "VolumeAttachment" if !same(&new["spec"], &old["spec"]) => {
            errs.push(Error::invalid(
                &Path::new("spec"),
                new["spec"].clone(),
                "field is immutable",
            ));
        }
        "CSIStorageCapacity" => {
            for f in ["nodeTopology", "storageClassName"] {
                immutable(&new[f], &old[f], &Path::new(f), errs);
            }
        }
        _ => {}
    }
}
