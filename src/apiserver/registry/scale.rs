//! `autoscaling/v1 Scale` of whatever has `spec.replicas`.

use rkind_apimachinery::{meta, selector::LabelSelector};
use serde_json::{Value, json};

#[cfg(test)]
mod tests;

/// The scale of an object in stored form.
pub(crate) fn of(object: &Value) -> Value {
    let spec = &object["spec"];
    let metadata = &object["metadata"];
    let mut shown = json!({"name": metadata["name"], "namespace": metadata["namespace"]});
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        if !metadata[field].is_null() {
            shown[field] = metadata[field].clone();
        }
    }
    let mut status = json!({"replicas": object["status"]["replicas"].as_i64().unwrap_or(0)});
    let selector = if object["kind"] == "ReplicationController" {
        Some(LabelSelector::from_map(&spec["selector"]))
    } else {
        LabelSelector::from_meta(&spec["selector"]).ok()
    };
    if let Some(selector) = selector {
        status["selector"] = json!(selector.to_string());
    }
    let replicas = spec["replicas"].as_i64().unwrap_or(0);
    let spec = if replicas == 0 {
        json!({})
    } else {
        json!({"replicas": replicas})
    };
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": shown, "spec": spec, "status": status})
}

/// Writes a scale's wish into an object in stored form.
pub(crate) fn set(object: &mut Value, scale: &Value) {
    meta::child_object(object, "spec").insert(
        "replicas".into(),
        json!(scale["spec"]["replicas"].as_i64().unwrap_or(0)),
    );
    let version = meta::resource_version(scale);
    if version.is_empty() {
        meta::remove(object, "resourceVersion");
    } else {
        meta::set(object, "resourceVersion", version);
    }
    let uid = meta::uid(scale);
    if !uid.is_empty() {
        meta::set(object, "uid", uid);
    }
}
