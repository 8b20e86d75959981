//! Upstream's static defaults of every built-in kind (`SetDefaults_*` of each
//! API group), applied after decoding and again after mutating admission.
//!
//! ```text
//! defaults::apply(&gvk, &mut object)
//! ```
//! Idempotent; never fails; leaves fields of a wrong type alone. Kinds of one
//! group and name share their defaults across versions unless said otherwise.

mod core;
mod pod;
mod policy;
mod workloads;

use serde_json::{Map, Value};

use crate::meta::{Gvk, as_map};

type Object = Map<String, Value>;

/// Sets what the object leaves out.
pub fn apply(gvk: &Gvk, object: &mut Value) {
    let Value::Object(o) = object else { return };
    match gvk.group_kind() {
        ("", kind) => core::apply(kind, o),
        ("apps" | "batch" | "autoscaling", kind) => workloads::apply(&gvk.group, &gvk.version, kind, o),
        (group, kind) => policy::apply(group, kind, o),
    }
}

/// The defaults of a pod template (`spec.template` of workloads) alone.
pub fn pod_template(template: &mut Value) {
    pod::template(as_map(template));
}

fn unset(v: Option<&Value>) -> bool {
    v.is_none_or(Value::is_null)
}

/// Sets `key` when absent.
fn or(m: &mut Object, key: &str, value: impl Into<Value>) {
    if unset(m.get(key)) {
        m.insert(key.into(), value.into());
    }
}

/// Sets a text when absent or empty.
fn or_str(m: &mut Object, key: &str, value: &str) {
    if unset(m.get(key)) || m.get(key).is_some_and(|v| v == "") {
        m.insert(key.into(), value.into());
    }
}

/// Sets a number when absent or 0 (a field that is no pointer upstream).
fn or_num(m: &mut Object, key: &str, value: i64) {
    if unset(m.get(key)) || m.get(key).is_some_and(|v| v == 0) {
        m.insert(key.into(), value.into());
    }
}

/// Sets an object when absent and returns it, unless it is something else.
fn ensure<'a>(m: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    or(m, key, Object::new());
    child(m, key)
}

fn child<'a>(m: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    m.get_mut(key).and_then(Value::as_object_mut)
}

fn text<'a>(m: &'a Object, key: &str) -> &'a str {
    m.get(key).and_then(Value::as_str).unwrap_or("")
}

/// Runs over the objects of a list.
fn each(m: &mut Object, key: &str, mut f: impl FnMut(&mut Object)) {
    for item in m.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::Object(o) = item {
            f(o);
        }
    }
}

#[cfg(test)]
mod tests;
