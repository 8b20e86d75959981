//! Served version <-> stored version, for the few kinds that are served in several.
//!
//! Same-shape versions differ in `apiVersion` only; events and horizontal pod autoscalers have
//! functions of their own.

use rkind_apimachinery::{meta::api_version, resources::ResourceDef};
use serde_json::{Map, Value, json};

#[cfg(test)]
mod tests;

/// Whether stored and served form differ.
pub(crate) fn needed(def: &ResourceDef) -> bool {
    def.version != def.storage_version || def.group != def.storage_group
}

/// Stored -> served.
pub(crate) fn to_served(def: &ResourceDef, mut object: Value) -> Value {
    if !needed(def) {
        return object;
    }
    match (def.group, def.version, def.resource) {
        ("events.k8s.io", _, "events") => event_to_new(&mut object),
        ("autoscaling", "v1", "horizontalpodautoscalers") => hpa_to_v1(&mut object),
        _ => {}
    }
    object["apiVersion"] = json!(api_version(def.group, def.version));
    object
}

/// Served -> stored.
pub(crate) fn to_stored(def: &ResourceDef, mut object: Value) -> Value {
    if !needed(def) {
        return object;
    }
    match (def.group, def.version, def.resource) {
        ("events.k8s.io", _, "events") => event_to_core(&mut object),
        ("autoscaling", "v1", "horizontalpodautoscalers") => hpa_to_v2(&mut object),
        _ => {}
    }
    object["apiVersion"] = json!(api_version(def.storage_group, def.storage_version));
    object
}

/// `(core/v1, events.k8s.io/v1)` names of the fields that differ.
const EVENT: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(object: &mut Value, pairs: impl Iterator<Item = (&'static str, &'static str)>) {
    let Some(map) = object.as_object_mut() else { return };
    for (from, to) in pairs {
        if let Some(value) = map.remove(from) {
            map.insert(to.into(), value);
        }
    }
}

fn event_to_new(object: &mut Value) {
    rename(object, EVENT.into_iter());
}

fn event_to_core(object: &mut Value) {
    rename(object, EVENT.into_iter().map(|(core, new)| (new, core)));
}

/// Annotations in which autoscaling/v1 keeps what it has no fields for.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

fn annotate(object: &mut Value, key: &str, value: &Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        annotations[key] = json!(value.to_string());
    }
}

fn unannotate(object: &mut Value, key: &str) -> Option<Value> {
    let annotations = object["metadata"].get_mut("annotations")?.as_object_mut()?;
    let text = annotations.remove(key)?;
    if annotations.is_empty()
        && let Some(metadata) = object["metadata"].as_object_mut()
    {
        metadata.remove("annotations");
    }
    serde_json::from_str(text.as_str()?).ok()
}

fn is_cpu_utilization(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

fn take(object: &mut Value, part: &str, field: &str) -> Option<Value> {
    object.get_mut(part)?.as_object_mut()?.remove(field)
}

fn hpa_to_v1(object: &mut Value) {
    if let Some(Value::Array(metrics)) = take(object, "spec", "metrics") {
        let (cpu, rest): (Vec<Value>, Vec<Value>) = metrics
            .into_iter()
            .partition(|m| is_cpu_utilization(m) && m["resource"]["target"]["averageUtilization"].is_i64());
        if let Some(metric) = cpu.first() {
            object["spec"]["targetCPUUtilizationPercentage"] =
                metric["resource"]["target"]["averageUtilization"].clone();
        }
        let rest: Vec<Value> = cpu.into_iter().skip(1).chain(rest).collect();
        if !rest.is_empty() {
            annotate(object, METRICS, &Value::Array(rest));
        }
    }
    if let Some(behavior) = take(object, "spec", "behavior") {
        annotate(object, BEHAVIOR, &behavior);
    }
    if let Some(Value::Array(current)) = take(object, "status", "currentMetrics") {
        if let Some(metric) = current.iter().find(|m| is_cpu_utilization(m)) {
            let value = metric["resource"]["current"]["averageUtilization"].clone();
            if !value.is_null() {
                object["status"]["currentCPUUtilizationPercentage"] = value;
            }
        }
        annotate(object, CURRENT, &Value::Array(current));
    }
    if let Some(conditions) = take(object, "status", "conditions") {
        annotate(object, CONDITIONS, &conditions);
    }
}

fn hpa_to_v2(object: &mut Value) {
    let mut metrics: Vec<Value> = Vec::new();
    if let Some(percent) = take(object, "spec", "targetCPUUtilizationPercentage") {
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": percent}}}));
    }
    if let Some(Value::Array(rest)) = unannotate(object, METRICS) {
        metrics.extend(rest);
    }
    if !metrics.is_empty() {
        object["spec"]["metrics"] = Value::Array(metrics);
    }
    if let Some(behavior) = unannotate(object, BEHAVIOR) {
        object["spec"]["behavior"] = behavior;
    }
    let current = unannotate(object, CURRENT);
    let percent = take(object, "status", "currentCPUUtilizationPercentage");
    let current = current.or_else(|| {
        percent.map(|p| json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": p}}}]))
    });
    let conditions = unannotate(object, CONDITIONS);
    for (field, value) in [("currentMetrics", current), ("conditions", conditions)] {
        if let Some(value) = value {
            let status = object
                .as_object_mut()
                .map(|o| o.entry("status").or_insert_with(|| Value::Object(Map::new())));
            if let Some(status) = status {
                status[field] = value;
            }
        }
    }
}
