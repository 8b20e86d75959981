//! PersistentVolumeClaims and what they are bound to.

use serde_json::Value;

use crate::meta;

/// Both names of a claim's source say the same (KEP-1495): of a `dataSource` alone, what is neither a
/// claim nor a snapshot is dropped, unless the claim has had a source before.
pub(super) fn data_sources(new: &mut Value, old: Option<&Value>) {
    let (source, reference) = ("dataSource", "dataSourceRef");
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    spec.retain(|name, value| !(value.is_null() && (name == source || name == reference)));
    // `CrossNamespaceVolumeDataSource` is off.
    let elsewhere = |value: &Value| value["namespace"].is_string();
    if old.is_none() && spec.get(reference).is_some_and(elsewhere) {
        spec.remove(reference);
    }
    let had = old.is_some_and(|old| {
        [source, reference]
            .iter()
            .any(|field| old["spec"][*field].is_object())
    });
    if !had && !spec.contains_key(reference) && !spec.get(source).is_some_and(is_claim_or_snapshot) {
        spec.remove(source);
    }
    match (spec.get(source).cloned(), spec.get(reference).cloned()) {
        (Some(given), None) => {
            spec.insert(reference.into(), given);
        }
        // A source elsewhere has only the newer name.
        (None, Some(given)) if given["namespace"].as_str().is_none_or(str::is_empty) => {
            let mut given = given;
            if let Some(fields) = given.as_object_mut() {
                fields.remove("namespace");
            }
            spec.insert(source.into(), given);
        }
        _ => {}
    }
}

fn is_claim_or_snapshot(source: &Value) -> bool {
    let group = source["apiGroup"].as_str().unwrap_or("");
    match source["kind"].as_str() {
        Some("PersistentVolumeClaim") => group.is_empty(),
        Some("VolumeSnapshot") => group == "snapshot.storage.k8s.io",
        _ => false,
    }
}

/// Says when a volume came into its phase, unless who changed the phase says it.
pub(super) fn volume_phase(new: &mut Value, old: &Value) {
    let field = "lastPhaseTransitionTime";
    let (was, now) = (&old["status"][field], &new["status"][field]);
    let time = if old["status"]["phase"] == new["status"]["phase"] {
        now.is_null().then(|| was.clone())
    } else {
        (now.is_null() || now == was).then(|| meta::now().into())
    };
    if let Some(time) = time.filter(|time| !time.is_null()) {
        meta::child_object(new, "status").insert(field.into(), time);
    }
}
