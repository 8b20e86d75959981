//! `autoscaling/v1 Scale` of whatever has `spec.replicas`.

use rkind_apimachinery::{field::quote, jsonpath, meta, selector::LabelSelector, status::Status};
use serde_json::{Value, json};

use crate::{catalog::Def, crd::family::Scale, error::Result};

#[cfg(test)]
mod tests;

/// Name of the schema's type.
pub(crate) const TYPE: &str = "io.k8s.api.autoscaling.v1.Scale";

/// The scale of an object in the form that writes work on.
///
/// # Errors
/// 500 when a custom resource has no number of replicas.
pub(crate) fn of(def: &Def, object: &Value) -> Result<Value> {
    if let Some(scale) = def.custom().and_then(|own| own.version().scale.as_ref()) {
        return custom(scale, object);
    }
    let spec = &object["spec"];
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
    Ok(assemble(object, replicas, status))
}

/// The scale of a custom resource, whose definition says where it stands.
fn custom(scale: &Scale, object: &Value) -> Result<Value> {
    let number = |path: &[String]| jsonpath::at(object, path).and_then(Value::as_i64);
    let replicas = number(&scale.spec).ok_or_else(|| {
        Status::internal_error(&format!(
            "the spec replicas field {} does not exist",
            quote(&scale.spec_text)
        ))
    })?;
    let mut status = json!({"replicas": number(&scale.status).unwrap_or(0)});
    if !scale.selector.is_empty()
        && let Some(selector) = jsonpath::at(object, &scale.selector).and_then(Value::as_str)
        && !selector.is_empty()
    {
        status["selector"] = json!(selector);
    }
    Ok(assemble(object, replicas, status))
}

fn assemble(object: &Value, replicas: i64, status: Value) -> Value {
    let metadata = &object["metadata"];
    let mut shown = json!({"name": metadata["name"], "namespace": metadata["namespace"]});
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        if !metadata[field].is_null() {
            shown[field] = metadata[field].clone();
        }
    }
    let spec = if replicas == 0 {
        json!({})
    } else {
        json!({"replicas": replicas})
    };
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": shown, "spec": spec, "status": status})
}

/// Writes a scale's wish into an object in the form that writes work on.
pub(crate) fn set(def: &Def, object: &mut Value, scale: &Value) {
    let replicas = json!(scale["spec"]["replicas"].as_i64().unwrap_or(0));
    match def.custom().and_then(|own| own.version().scale.as_ref()) {
        None => {
            meta::child_object(object, "spec").insert("replicas".into(), replicas);
        }
        Some(custom) => {
            let mut at = &mut *object;
            for name in &custom.spec {
                at = meta::as_map(at).entry(name.as_str()).or_insert(Value::Null);
            }
            *at = replicas;
        }
    }
    // Without one, the wish is for whatever state the object is in.
    let version = meta::resource_version(scale);
    if !version.is_empty() {
        meta::set(object, "resourceVersion", version);
    }
    let uid = meta::uid(scale);
    if !uid.is_empty() {
        meta::set(object, "uid", uid);
    }
}
