//! Rows of volumes, claims and storage.k8s.io.

use serde_json::Value;

use super::Row;
use super::format::{join, len, list, or, plain};
use crate::meta;

pub(super) fn cells(group: &str, kind: &str, r: Row<'_>) -> Option<Vec<Value>> {
    if group != "storage.k8s.io" {
        return None;
    }
    Some(match kind {
        "StorageClass" => storage_class(r),
        "VolumeAttributesClass" => vec![r.name(), r.text(&["driverName"]).into(), r.age()],
        "VolumeAttachment" => vec![
            r.name(),
            r.text(&["spec", "attacher"]).into(),
            r.text(&["spec", "source", "persistentVolumeName"]).into(),
            r.text(&["spec", "nodeName"]).into(),
            (r.o["status"]["attached"] == true).into(),
            r.age(),
        ],
        "CSINode" => vec![r.name(), len(&r.o["spec"]["drivers"]).into(), r.age()],
        "CSIDriver" => csi_driver(r),
        _ => return None,
    })
}

fn storage_class(r: Row<'_>) -> Vec<Value> {
    let default = [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ]
    .iter()
    .any(|a| meta::annotation(r.o, a) == Some("true"));
    let name = meta::name(r.o);
    vec![
        if default {
            format!("{name} (default)")
        } else {
            name.to_owned()
        }
        .into(),
        r.text(&["provisioner"]).into(),
        or(r.text(&["reclaimPolicy"]), "Delete").into(),
        or(r.text(&["volumeBindingMode"]), "Immediate").into(),
        (r.o["allowVolumeExpansion"] == true).into(),
        r.age(),
    ]
}

fn csi_driver(r: Row<'_>) -> Vec<Value> {
    let spec = &r.o["spec"];
    let audiences: Vec<&str> = list(&spec["tokenRequests"])
        .iter()
        .map(|t| t["audience"].as_str().unwrap_or(""))
        .collect();
    vec![
        r.name(),
        (spec["attachRequired"] != false).into(),
        (spec["podInfoOnMount"] == true).into(),
        (spec["storageCapacity"] == true).into(),
        or(&audiences.join(","), "<unset>").into(),
        (spec["requiresRepublish"] == true).into(),
        or(&join(list(&spec["volumeLifecycleModes"]), ","), "<none>").into(),
        r.age(),
    ]
}

fn modes(v: &Value) -> String {
    let has = |m: &str| list(v).iter().any(|x| x == m);
    [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ]
    .iter()
    .filter(|(long, _)| has(long))
    .map(|(_, short)| *short)
    .collect::<Vec<_>>()
    .join(",")
}

fn class<'a>(r: Row<'a>) -> &'a str {
    meta::annotation(r.o, "volume.beta.kubernetes.io/storage-class")
        .unwrap_or_else(|| r.text(&["spec", "storageClassName"]))
}

fn phase<'a>(r: Row<'a>) -> &'a str {
    if meta::is_deleting(r.o) {
        "Terminating"
    } else {
        r.text(&["status", "phase"])
    }
}

pub(super) fn volume(r: Row<'_>) -> Vec<Value> {
    let spec = &r.o["spec"];
    let claim = if spec["claimRef"].is_object() {
        format!(
            "{}/{}",
            r.text(&["spec", "claimRef", "namespace"]),
            r.text(&["spec", "claimRef", "name"])
        )
    } else {
        String::new()
    };
    vec![
        r.name(),
        plain(&spec["capacity"]["storage"], "0").into(),
        modes(&spec["accessModes"]).into(),
        r.text(&["spec", "persistentVolumeReclaimPolicy"]).into(),
        phase(r).into(),
        claim.into(),
        class(r).into(),
        or(r.text(&["spec", "volumeAttributesClassName"]), "<unset>").into(),
        r.text(&["status", "reason"]).into(),
        r.age(),
        or(r.text(&["spec", "volumeMode"]), "<unset>").into(),
    ]
}

pub(super) fn claim(r: Row<'_>) -> Vec<Value> {
    let bound = !r.text(&["spec", "volumeName"]).is_empty();
    let status = &r.o["status"];
    let (capacity, access) = if bound {
        (
            plain(&status["capacity"]["storage"], "0"),
            modes(&status["accessModes"]),
        )
    } else {
        (String::new(), String::new())
    };
    vec![
        r.name(),
        phase(r).into(),
        r.text(&["spec", "volumeName"]).into(),
        capacity.into(),
        access.into(),
        class(r).into(),
        or(r.text(&["spec", "volumeAttributesClassName"]), "<unset>").into(),
        r.age(),
        or(r.text(&["spec", "volumeMode"]), "<unset>").into(),
    ]
}
