//! Conditions in a status.

use serde_json::{Value, json};

/// Puts a condition in the place of the one of its `type`; `lastTransitionTime` moves to `now` when its
/// `status` does. Upstream: `meta.SetStatusCondition`, `podutil.UpdatePodCondition`.
pub(crate) fn set(status: &mut Value, mut condition: Value, now: &str) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(list) = status["conditions"].as_array_mut() else {
        return;
    };
    condition["lastTransitionTime"] = json!(now);
    match list.iter_mut().find(|c| c["type"] == condition["type"]) {
        Some(known) => {
            if known["status"] == condition["status"] {
                condition["lastTransitionTime"] = known["lastTransitionTime"].clone();
            }
            *known = condition;
        }
        None => list.push(condition),
    }
}

/// The condition of a type; null for none.
pub(crate) fn find<'a>(status: &'a Value, kind: &str) -> &'a Value {
    status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|c| c["type"] == kind)
        .unwrap_or(&Value::Null)
}

/// Whether a condition is `True`.
pub(crate) fn is_true(status: &Value, kind: &str) -> bool {
    find(status, kind)["status"] == "True"
}
