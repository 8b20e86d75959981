//! Who owns an object's replicas, seen through its scale. Upstream: `managedfields.ScaleHandler` (KEP-2005 of
//! server-side apply for subresources).
//!
//! A scale is a view of two fields, with owners of its own: entries of the object that have the replicas are
//! entries of `autoscaling/v1` while a scale is written, and go back with what they own then.

use rkind_apimachinery::{apply, meta};
use serde_json::{Map, Value, json};

use crate::catalog::Def;

/// Version that owners of a scale write in.
pub(super) const VERSION: &str = "autoscaling/v1";

/// Where a scale has its replicas.
const REPLICAS: [&str; 2] = ["spec", "replicas"];

/// Where the objects of one version have their replicas.
enum Place {
    At(Vec<String>),
    /// The version has no scale.
    Nowhere,
    /// There is no such version: who wrote in it is forgotten.
    Unknown,
}

fn place(def: &Def, api_version: &str) -> Place {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if group != def.group {
        return Place::Unknown;
    }
    let Some(own) = def.custom() else {
        return Place::At(REPLICAS.map(str::to_owned).to_vec());
    };
    match own.family.versions.iter().find(|known| known.name == version) {
        Some(known) => known
            .scale
            .as_ref()
            .map_or(Place::Nowhere, |scale| Place::At(scale.spec.clone())),
        None => Place::Unknown,
    }
}

/// Gives a scale the owners of its object's replicas.
pub(super) fn lend(def: &Def, object: &Value, scale: &mut Value) {
    let owners: Vec<Value> = entries(object)
        .filter(|entry| match place(def, text(entry, "apiVersion")) {
            Place::At(path) => has(&entry["fieldsV1"], &path),
            Place::Nowhere | Place::Unknown => false,
        })
        .map(|entry| with_fields(entry, VERSION, &REPLICAS))
        .collect();
    if !owners.is_empty() {
        meta::set(scale, "managedFields", owners);
    }
}

/// Gives an object the owners that a write left its scale with.
pub(super) fn give_back(def: &Def, object: &mut Value, scale: &Value) {
    let mut new: Vec<Value> = entries(scale)
        .filter(|entry| has(&entry["fieldsV1"], &REPLICAS))
        .cloned()
        .collect();
    let mut all = Vec::new();
    for entry in entries(object) {
        let path = match place(def, text(entry, "apiVersion")) {
            Place::Unknown => continue,
            Place::At(path) if has(&entry["fieldsV1"], &path) => path,
            Place::At(_) | Place::Nowhere => {
                all.push(entry.clone());
                continue;
            }
        };
        // Appliers are the same manager in every version; updaters are another in the scale's.
        let same = |other: &Value| {
            ["manager", "operation", "subresource"]
                .iter()
                .all(|field| text(entry, field) == text(other, field))
        };
        if text(entry, "operation") == "Apply"
            && let Some(at) = new.iter().position(same)
        {
            new.remove(at);
            all.push(entry.clone());
            continue;
        }
        let mut rest = entry.clone();
        remove(&mut rest["fieldsV1"], &path);
        if rest["fieldsV1"]
            .as_object()
            .is_some_and(|fields| !fields.is_empty())
        {
            all.push(rest);
        }
    }
    let version = def.api_version();
    if let Place::At(path) = place(def, &version) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        all.extend(new.iter().map(|entry| {
            let mut entry = with_fields(entry, &version, &path);
            // Upstream looks for their times under names that they do not have there.
            meta::as_map(&mut entry).remove("time");
            entry
        }));
    }
    if all.is_empty() {
        meta::remove(object, "managedFields");
    } else {
        apply::in_order(&mut all);
        meta::set(object, "managedFields", all);
    }
}

fn entries(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry[field].as_str().unwrap_or_default()
}

/// The same manager as owner of one field in another version.
fn with_fields(entry: &Value, version: &str, path: &[&str]) -> Value {
    let mut entry = entry.clone();
    entry["apiVersion"] = version.into();
    entry["fieldsV1"] = path
        .iter()
        .rev()
        .fold(json!({}), |below, name| json!({format!("f:{name}"): below}));
    entry
}

fn has<S: AsRef<str>>(fields: &Value, path: &[S]) -> bool {
    let mut here = Some(fields);
    for name in path {
        here = here.and_then(|here| here.get(format!("f:{}", name.as_ref())));
    }
    here.is_some()
}

/// Removes a field, and what holds nothing without it.
fn remove(fields: &mut Value, path: &[String]) {
    fn below(fields: &mut Map<String, Value>, path: &[String]) {
        let [name, rest @ ..] = path else { return };
        let key = format!("f:{name}");
        if let (false, Some(Value::Object(inner))) = (rest.is_empty(), fields.get_mut(&key)) {
            below(inner, rest);
            if !inner.is_empty() {
                return;
            }
        }
        fields.remove(&key);
    }
    if let Value::Object(fields) = fields {
        below(fields, path);
    }
}
