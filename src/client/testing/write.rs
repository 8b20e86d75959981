//! Writes, with the server's side effects on metadata.

use serde_json::{Value, json};

use super::merge::merge;
use super::path::Target;
use super::{Inner, Key, Logged, status};

type Written = Result<Value, Value>;

fn key(target: &Target, name: &str) -> Key {
    (target.served.resource, target.namespace.clone(), name.to_owned())
}

fn not_found(target: &Target) -> Value {
    let name = target.name.as_deref().unwrap_or_default();
    status(
        404,
        "NotFound",
        &format!("{} \"{name}\" not found", target.served.resource),
    )
}

fn commit(inner: &mut Inner, target: &Target, kind: &'static str, mut object: Value) -> Value {
    inner.revision += 1;
    object["metadata"]["resourceVersion"] = json!(inner.revision.to_string());
    let key = key(target, object["metadata"]["name"].as_str().unwrap_or_default());
    if kind == "DELETED" {
        inner.objects.remove(&key);
    } else {
        inner.objects.insert(key, object.clone());
    }
    inner.log.push(Logged {
        revision: inner.revision,
        kind,
        resource: target.served,
        object: object.clone(),
    });
    object
}

pub(super) fn get(inner: &Inner, target: &Target) -> Written {
    let name = target.name.as_deref().unwrap_or_default();
    inner
        .objects
        .get(&key(target, name))
        .cloned()
        .ok_or_else(|| not_found(target))
}

pub(super) fn create(inner: &mut Inner, target: &Target, mut object: Value) -> Written {
    inner.names += 1;
    let number = inner.names;
    if object["metadata"]["name"].as_str().unwrap_or_default().is_empty() {
        let prefix = object["metadata"]["generateName"]
            .as_str()
            .unwrap_or("x-")
            .to_owned();
        object["metadata"]["name"] = json!(format!("{prefix}{number:05}"));
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if inner.objects.contains_key(&key(target, &name)) {
        let message = format!("{} \"{name}\" already exists", target.served.resource);
        return Err(status(409, "AlreadyExists", &message));
    }
    object["kind"] = json!(target.served.kind);
    object["apiVersion"] = json!(target.served.api_version());
    let meta = &mut object["metadata"];
    if target.served.namespaced {
        meta["namespace"] = json!(target.namespace);
    }
    meta["uid"] = json!(format!("uid-{number}"));
    meta["generation"] = json!(1);
    if meta["creationTimestamp"].is_null() {
        meta["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    Ok(commit(inner, target, "ADDED", object))
}

/// Replaces the whole object, as somebody with every right.
pub(super) fn store(inner: &mut Inner, target: &Target, object: Value) -> Written {
    get(inner, target)?;
    Ok(settle(inner, target, object))
}

pub(super) fn update(inner: &mut Inner, target: &Target, new: Value) -> Written {
    let old = get(inner, target)?;
    let version = &new["metadata"]["resourceVersion"];
    if version.is_string() && *version != old["metadata"]["resourceVersion"] {
        return Err(conflict(target));
    }
    let mut object = match target.subresource.as_deref() {
        Some("status") => {
            let mut object = old.clone();
            object["status"] = new["status"].clone();
            object
        }
        Some("finalize") => {
            let mut object = old.clone();
            object["spec"]["finalizers"] = new["spec"]["finalizers"].clone();
            object
        }
        _ => {
            let mut object = new;
            object["status"] = old["status"].clone();
            object
        }
    };
    for fixed in ["uid", "creationTimestamp", "deletionTimestamp", "generation"] {
        object["metadata"][fixed] = old["metadata"][fixed].clone();
    }
    if object["spec"] != old["spec"] {
        object["metadata"]["generation"] = json!(old["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
    }
    object["kind"] = old["kind"].clone();
    object["apiVersion"] = old["apiVersion"].clone();
    Ok(settle(inner, target, object))
}

fn conflict(target: &Target) -> Value {
    let message = format!(
        "Operation cannot be fulfilled on {} \"{}\": the object has been modified; please apply your changes to the latest version and try again",
        target.served.resource,
        target.name.as_deref().unwrap_or_default(),
    );
    status(409, "Conflict", &message)
}

/// Commits, or deletes what only finalizers held.
fn settle(inner: &mut Inner, target: &Target, object: Value) -> Value {
    let empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    let held = !empty(&object["metadata"]["finalizers"])
        || (target.served.kind == "Namespace" && !empty(&object["spec"]["finalizers"]))
        || target.served.kind == "Pod";
    let going = !object["metadata"]["deletionTimestamp"].is_null();
    commit(
        inner,
        target,
        if going && !held { "DELETED" } else { "MODIFIED" },
        object,
    )
}

pub(super) fn patch(inner: &mut Inner, target: &Target, patch: &Value) -> Written {
    let old = get(inner, target)?;
    let uid = &patch["metadata"]["uid"];
    if uid.is_string() && *uid != old["metadata"]["uid"] {
        return Err(conflict(target));
    }
    let mut new = old.clone();
    // A patch without a version always applies.
    new["metadata"]["resourceVersion"] = Value::Null;
    merge(&mut new, patch, patch_is_strategic(patch));
    update(inner, target, new)
}

/// Loops send lists of owner references and conditions only strategically, or whole.
fn patch_is_strategic(patch: &Value) -> bool {
    patch["metadata"]["resourceVersion"].is_null()
}

pub(super) fn delete(inner: &mut Inner, target: &Target, options: &Value) -> Written {
    let mut object = get(inner, target)?;
    let required = &options["preconditions"];
    for field in ["uid", "resourceVersion"] {
        if required[field].is_string() && required[field] != object["metadata"][field] {
            return Err(conflict(target));
        }
    }
    let mut finalizers: Vec<Value> = object["metadata"]["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let extra = match options["propagationPolicy"].as_str() {
        Some("Foreground") => Some("foregroundDeletion"),
        Some("Orphan") => Some("orphan"),
        _ => None,
    };
    if let Some(extra) = extra.filter(|extra| !finalizers.contains(&json!(extra))) {
        finalizers.push(json!(extra));
    }
    let graceful = target.served.kind == "Pod"
        && options["gracePeriodSeconds"] != json!(0)
        && object["spec"]["nodeName"].is_string();
    let held = !finalizers.is_empty()
        || graceful
        || object["spec"]["finalizers"]
            .as_array()
            .is_some_and(|f| !f.is_empty());
    if !held {
        return Ok(commit(inner, target, "DELETED", object));
    }
    object["metadata"]["finalizers"] = json!(finalizers);
    if object["metadata"]["deletionTimestamp"].is_null() {
        object["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
    }
    if target.served.kind == "Namespace" {
        object["status"]["phase"] = json!("Terminating");
    }
    Ok(commit(inner, target, "MODIFIED", object))
}

pub(super) fn delete_collection(inner: &mut Inner, target: &Target, options: &Value) -> Written {
    let doomed: Vec<Key> = inner
        .objects
        .iter()
        .filter(|(key, object)| key.0 == target.served.resource && target.selects(object))
        .map(|(key, _)| key.clone())
        .collect();
    for (_, namespace, name) in doomed {
        delete(inner, &Target::named(target.served, &namespace, &name), options)?;
    }
    let mut done = status(200, "", "");
    done["status"] = json!("Success");
    Ok(done)
}
