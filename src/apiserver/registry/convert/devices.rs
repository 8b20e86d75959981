//! `resource.k8s.io/v1beta1`: what later versions keep in `exactly` stands beside a request's name
//! there, and what they keep beside a device's name stands in `basic`.

use serde_json::{Map, Value};

/// The fields that v1beta1 and later versions have at the same place.
const OF_REQUEST: [&str; 2] = ["name", "firstAvailable"];
const OF_DEVICE: [&str; 1] = ["name"];
/// What every device has in v1beta1.
const BASIC: &str = "basic";

/// The lists to convert, by resource: where they are, and what of an entry stays.
fn lists<'o>(resource: &str, object: &'o mut Value) -> Option<(&'o mut Vec<Value>, &'static str)> {
    let (path, inner) = match resource {
        "resourceclaims" => ("/spec/devices/requests", "exactly"),
        "resourceclaimtemplates" => ("/spec/spec/devices/requests", "exactly"),
        "resourceslices" => ("/spec/devices", BASIC),
        _ => return None,
    };
    Some((object.pointer_mut(path)?.as_array_mut()?, inner))
}

/// Moves what `stays` does not name into a field of its own.
fn wrap(entry: &mut Value, inner: &str, stays: &[&str]) {
    let Some(fields) = entry.as_object_mut() else {
        return;
    };
    let names: Vec<String> = fields
        .keys()
        .filter(|k| !stays.contains(&k.as_str()))
        .cloned()
        .collect();
    let moved: Map<String, Value> = names
        .into_iter()
        .filter_map(|name| Some((name.clone(), fields.remove(&name)?)))
        .collect();
    if inner == BASIC || moved.values().any(|value| !is_empty(value)) {
        fields.insert(inner.to_owned(), Value::Object(moved));
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        _ => false,
    }
}

/// Moves the fields of a field out of it.
fn unwrap(entry: &mut Value, inner: &str) {
    let Some(fields) = entry.as_object_mut() else {
        return;
    };
    if let Some(Value::Object(moved)) = fields.remove(inner) {
        fields.extend(moved);
    }
}

/// The stored form as v1beta1 has it.
pub(super) fn to_v1beta1(resource: &str, object: &mut Value) {
    let Some((list, inner)) = lists(resource, object) else {
        return;
    };
    for entry in list {
        match inner {
            "exactly" => unwrap(entry, inner),
            _ => wrap(entry, inner, &OF_DEVICE),
        }
    }
}

/// The form of v1beta1 as it is stored.
pub(super) fn from_v1beta1(resource: &str, object: &mut Value) {
    let Some((list, inner)) = lists(resource, object) else {
        return;
    };
    for entry in list {
        match inner {
            "exactly" => wrap(entry, inner, &OF_REQUEST),
            _ => unwrap(entry, inner),
        }
    }
}
