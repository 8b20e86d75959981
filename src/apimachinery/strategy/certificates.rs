//! Certificate signing requests: who asks, and what was decided when.

use serde_json::{Value, json};

use crate::meta;

/// Makes a new request ready: it says who asks by the `UserInfo` given, whatever it said before, and nothing
/// is decided yet.
pub fn prepare_signing_request(new: &mut Value, requester: &Value) {
    let spec = meta::child_object(new, "spec");
    for field in ["username", "uid", "groups", "extra"] {
        match requester.get(field) {
            Some(value) => spec.insert(field.into(), value.clone()),
            None => spec.remove(field),
        };
    }
    meta::as_map(new).insert("status".into(), json!({}));
}

/// What was decided stays as it is; validation refuses decisions that are new.
pub(super) fn prepare_for_status_update(new: &mut Value, old: &Value) {
    for kind in ["Approved", "Denied"] {
        let known: Vec<&Value> = conditions(old).filter(|c| c["type"] == kind).collect();
        let ours: Vec<&mut Value> = conditions_mut(new).filter(|c| c["type"] == kind).collect();
        if ours.len() == known.len() {
            for (own, known) in ours.into_iter().zip(known) {
                *own = known.clone();
            }
        }
    }
    stamp(new, old);
}

/// An approval changes conditions only.
pub fn prepare_for_approval(new: &mut Value, old: &Value) {
    stamp(new, old);
    let conditions = new["status"].get("conditions").cloned();
    super::copy(new, old, "spec");
    super::copy(new, old, "status");
    let status = meta::child_object(new, "status");
    match conditions {
        Some(conditions) => status.insert("conditions".into(), conditions),
        None => status.remove("conditions"),
    };
}

fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    object["status"]["conditions"].as_array().into_iter().flatten()
}

fn conditions_mut(object: &mut Value) -> impl Iterator<Item = &mut Value> {
    let conditions = object.pointer_mut("/status/conditions");
    conditions.and_then(Value::as_array_mut).into_iter().flatten()
}

/// Times of conditions that their writer leaves out.
fn stamp(new: &mut Value, old: &Value) {
    let now = meta::now();
    for condition in conditions_mut(new) {
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = json!(now);
        }
        if condition["lastTransitionTime"].is_null() {
            let same = |c: &&Value| c["type"] == condition["type"] && c["status"] == condition["status"];
            let mut known = conditions(old).filter(same).map(|c| &c["lastTransitionTime"]);
            let since = known.find(|t| !t.is_null()).cloned();
            condition["lastTransitionTime"] = since.unwrap_or_else(|| json!(now));
        }
    }
}
