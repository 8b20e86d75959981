//! `autoscaling/v1 Scale` of whatever has `spec.replicas`.

use jiff::Timestamp;
use rkind_apimachinery::{
    apply, codec,
    field::{Error, ErrorList, Path, quote},
    jsonpath, meta,
    selector::LabelSelector,
    status::Status,
};
use serde_json::{Value, json};

use super::create::Write;
use crate::{catalog::Def, crd::family::Scale, error::Result, machinery};

mod owners;
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

/// What a custom resource says of its scale must be what a scale can say; a status write is not asked about
/// the wish. Upstream: `registry/customresource/validator.go`.
pub(crate) fn check(scale: Option<&Scale>, object: &Value, sub: &str) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(scale) = scale else { return errors };
    let mut count = |text: &str, path: &[String]| {
        let at = Path::new(text);
        let found = match accessed(object, path, "int64", Value::is_i64) {
            Ok(found) => found.and_then(Value::as_i64).unwrap_or(0),
            Err(why) => return errors.push(Error::invalid(&at, 0, why)),
        };
        if found < 0 {
            errors.push(Error::invalid(&at, found, "should be a non-negative integer"));
        } else if found > i64::from(i32::MAX) {
            let detail = format!("should be less than or equal to {}", i32::MAX);
            errors.push(Error::invalid(&at, found, detail));
        }
    };
    if sub != "status" {
        count(&scale.spec_text, &scale.spec);
    }
    count(&scale.status_text, &scale.status);
    if !scale.selector.is_empty()
        && let Err(why) = accessed(object, &scale.selector, "string", Value::is_string)
    {
        errors.push(Error::invalid(&Path::new(scale.selector_text.as_str()), "", why));
    }
    errors
}

/// What stands at a path; where that is of another type, Go's complaint.
fn accessed<'a>(
    object: &'a Value,
    path: &[String],
    wanted: &str,
    fits: fn(&Value) -> bool,
) -> Result<Option<&'a Value>, String> {
    let complaint = |depth: usize, found: &Value, wanted: &str| {
        let kind = match found {
            Value::Null => "<nil>",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float64",
            Value::Number(_) => "int64",
            Value::String(_) => "string",
            Value::Array(_) => "[]interface {}",
            Value::Object(_) => "map[string]interface {}",
        };
        let shown = match found.as_f64() {
            Some(number) => number.to_string(),
            None => codec::go_value(found),
        };
        let at = path[..depth].join(".");
        format!(".{at} accessor error: {shown} is of the type {kind}, expected {wanted}")
    };
    let mut here = object;
    for (at, name) in path.iter().enumerate() {
        let next = match here {
            Value::Null => None,
            Value::Object(fields) => fields.get(name),
            other => return Err(complaint(at + 1, other, "map[string]interface{}")),
        };
        match next {
            Some(next) => here = next,
            None => return Ok(None),
        }
    }
    match here {
        found if fits(found) => Ok(Some(found)),
        found => Err(complaint(path.len(), found, wanted)),
    }
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

/// Records that who updates a scale owns the replicas of the object behind it: `new` is `old` with the
/// scale's wish.
///
/// # Errors
/// None but that a type is not in the schema.
pub(crate) fn updated(write: &Write, old: &Value, new: &mut Value) -> Result<()> {
    let def = &write.def;
    let (mut before, mut after) = (of(def, old)?, of(def, new)?);
    owners::lend(def, old, &mut before);
    by(write, |request| {
        apply::track(request, Some(&before), &mut after);
        Ok(())
    })?;
    owners::give_back(def, new, &after);
    Ok(())
}

/// The outcome of applying a scale to an object (both in the served version).
///
/// # Errors
/// 409 naming the replicas when others own them, unless forced; and that of `check`.
pub(crate) fn applied(
    write: &Write,
    live: &Value,
    config: &Value,
    check: impl FnOnce(&Value) -> Result<()>,
) -> Result<Value> {
    let def = &write.def;
    let mut scale = of(def, live)?;
    owners::lend(def, live, &mut scale);
    let scale = by(write, |request| {
        Ok(apply::apply(request, Some(&scale), config, write.options.force)?)
    })?;
    check(&scale)?;
    let mut new = live.clone();
    set(def, &mut new, &scale);
    owners::give_back(def, &mut new, &scale);
    Ok(new)
}

/// Runs with a write to a scale as those see it who track owners.
fn by<T>(write: &Write, run: impl FnOnce(&apply::Request<'_>) -> Result<T>) -> Result<T> {
    run(&apply::Request {
        def: Some(machinery::type_def(TYPE)?),
        api_version: owners::VERSION,
        manager: &write.options.field_manager,
        subresource: "scale",
        now: Timestamp::now(),
        ignored: &apply::Set::new(),
    })
}
