//! Served version <-> stored version, for the few kinds that are served in several.
//!
//! Same-shape versions differ in `apiVersion` only; events, horizontal pod autoscalers and devices
//! have functions of their own.

mod devices;

use std::sync::Arc;

use rkind_apimachinery::meta::{Gvk, api_version};
use serde_json::{Map, Value, json};

use crate::{cacher::Obj, catalog::Def, core::Core, crd, error::Result, request::options::Selector};

#[cfg(test)]
mod tests;

/// Whether a built-in kind's stored and served form differ. The objects of custom resources are each
/// asked by [`is_plain`].
pub(crate) fn needed(def: &Def) -> bool {
    def.custom().is_none() && (def.version != def.storage_version || def.group != def.storage_group)
}

/// Whether an object's stored bytes are what is served.
pub(crate) fn is_plain(def: &Def, object: &Obj) -> bool {
    match def.custom() {
        None => !needed(def),
        Some(own) => own.is_plain(object),
    }
}

/// Stored objects as they are served.
///
/// # Errors
/// 500 when a conversion webhook fails.
pub(crate) async fn served(core: &Core, def: &Def, objects: Vec<Value>) -> Result<Vec<Value>> {
    match def.custom() {
        None => Ok(objects.into_iter().map(|object| to_served(def, object)).collect()),
        Some(own) => crd::convert::served(core, own, objects).await,
    }
}

/// Which objects a selector chooses, in their order. Fields of a custom resource are those of the
/// version that is served: what is stored in another one is converted first, all at once.
///
/// # Errors
/// As [`served`].
pub(crate) async fn selected(
    core: &Core,
    def: &Def,
    selector: &Selector,
    objects: &[Arc<Obj>],
) -> Result<Vec<bool>> {
    let mut chosen = Vec::with_capacity(objects.len());
    let mut others = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        let other = selector.reads_served(def, object);
        if other {
            others.push(at);
        }
        chosen.push(!other && (selector.is_everything() || selector.matches(def, object)));
    }
    if let Some(own) = def.custom().filter(|_| !others.is_empty()) {
        let stored = others.iter().map(|at| objects[*at].to_value()).collect();
        let served = crd::convert::served(core, own, stored).await?;
        for (at, served) in others.into_iter().zip(&served) {
            chosen[at] = selector.matches_served(own, &objects[at], served);
        }
    }
    Ok(chosen)
}

/// The form that writes work on -> served.
pub(crate) fn to_served(def: &Def, mut object: Value) -> Value {
    // Writes work on custom resources in a served version already; admission may want another one, and
    // gets it as the conversion `None` makes it.
    if def.custom().is_some() && object.is_object() {
        object["apiVersion"] = json!(api_version(def.group, def.version));
    }
    if !needed(def) {
        return object;
    }
    match (def.group, def.version, def.resource) {
        ("events.k8s.io", _, "events") => event_to_new(&mut object),
        ("autoscaling", "v1", "horizontalpodautoscalers") => hpa_to_v1(&mut object),
        ("resource.k8s.io", "v1beta1", resource) => devices::to_v1beta1(resource, &mut object),
        _ => {}
    }
    object["apiVersion"] = json!(api_version(def.group, def.version));
    crate::machinery::normalize(&Gvk::new(def.group, def.version, def.kind), &mut object);
    object
}

/// Served -> the form that writes work on.
pub(crate) fn to_stored(def: &Def, mut object: Value) -> Value {
    if !needed(def) {
        return object;
    }
    match (def.group, def.version, def.resource) {
        ("events.k8s.io", _, "events") => event_to_core(&mut object),
        ("autoscaling", "v1", "horizontalpodautoscalers") => hpa_to_v2(&mut object),
        ("resource.k8s.io", "v1beta1", resource) => devices::from_v1beta1(resource, &mut object),
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
