//! Access reviews: what is asked, whether it can be, and the answer.
//! Upstream: `pkg/apis/authorization/validation`, `pkg/registry/authorization`.

use std::collections::BTreeMap;

use rkind_apimachinery::{
    field::{Error, ErrorList, Path},
    names,
    status::Status,
};
use serde_json::{Value, json};

use super::{super::Context, text};
use crate::{
    authz::{Attributes, Decision, selectors::Selectors},
    error::Result,
    machinery::strings,
    user::UserInfo,
};

/// Answers a `SelfSubjectAccessReview`, `SubjectAccessReview` or `LocalSubjectAccessReview`.
///
/// # Errors
/// 422 for a question that is none.
pub(super) async fn answer(ctx: &Context, review: &Value) -> Result<Value> {
    let spec = &review["spec"];
    let mut errors = validate(ctx.def.kind, &ctx.info.namespace, spec);
    bare(ctx.def.kind, &review["metadata"], &mut errors);
    if !errors.is_empty() {
        // Upstream has no kind here: the object has lost its own when it is asked for it.
        return Err(Status::invalid(ctx.def.group, "", "", &errors).into());
    }
    let user = match ctx.def.kind {
        "SelfSubjectAccessReview" => ctx.user.clone(),
        _ => subject(spec),
    };
    let wanted = attributes(spec);
    Ok(status(
        &ctx.core.authorizer.decide(&user, &wanted).await,
        &wanted.selectors,
    ))
}

/// A question has no name: it is not kept.
fn bare(kind: &str, metadata: &Value, errors: &mut ErrorList) {
    let (local, detail) = match kind {
        "LocalSubjectAccessReview" => (true, "must be empty except for namespace"),
        _ => (false, "must be empty"),
    };
    let said = metadata.as_object().into_iter().flatten().any(|(field, value)| {
        let set = match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Object(entries) => !entries.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Number(number) => number.as_i64() != Some(0),
            Value::Bool(_) => true,
        };
        set && field != "managedFields" && !(local && field == "namespace")
    });
    if said {
        errors.push(Error::invalid(&Path::new("metadata"), metadata.clone(), detail));
    }
}

fn validate(kind: &str, namespace: &str, spec: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("spec");
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let (resource_path, other_path) = (
        path.child("resourceAttributes"),
        path.child("nonResourceAttributes"),
    );
    // As Go prints the fields.
    let shown = || json!({"Path": text(&other["path"]), "Verb": text(&other["verb"])});
    match (resource.is_object(), other.is_object()) {
        (true, true) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            errors.push(Error::invalid(&other_path, shown(), detail));
        }
        (false, false) => {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.push(Error::invalid(&resource_path, Value::Null, detail));
        }
        _ => {}
    }
    if kind != "SelfSubjectAccessReview"
        && text(&spec["user"]).is_empty()
        && strings(&spec["groups"]).is_empty()
    {
        let detail = "at least one of user or group must be specified";
        errors.push(Error::invalid(&path.child("user"), "", detail));
    }
    for name in ["fieldSelector", "labelSelector"] {
        selector(
            &resource[name],
            &resource_path.child(name),
            name == "labelSelector",
            &mut errors,
        );
    }
    if kind == "LocalSubjectAccessReview" {
        let named = text(&resource["namespace"]);
        if resource.is_object() && named != namespace {
            let detail = "must match metadata.namespace";
            errors.push(Error::invalid(&resource_path.child("namespace"), named, detail));
        }
        if other.is_object() {
            errors.push(Error::invalid(
                &other_path,
                shown(),
                "disallowed on this kind of request",
            ));
        }
    }
    errors
}

/// `FieldSelectorAttributes` and `LabelSelectorAttributes`. Operators that are not known are let through:
/// a newer client may know them.
fn selector(selector: &Value, path: &Path, labels: bool, errors: &mut ErrorList) {
    if !selector.is_object() {
        return;
    }
    let requirements = selector["requirements"].as_array().map_or(&[][..], Vec::as_slice);
    let raw = text(&selector["rawSelector"]);
    if !raw.is_empty() && !requirements.is_empty() {
        let detail = "may not specified at the same time as requirements";
        errors.push(Error::invalid(&path.child("rawSelector"), raw, detail));
    } else if raw.is_empty() && requirements.is_empty() {
        let detail = format!("when {path} is specified, requirements or rawSelector is required");
        errors.push(Error::required(&path.child("requirements"), &detail));
    }
    for (i, requirement) in requirements.iter().enumerate() {
        let path = path.child("requirements").index(i);
        let (key, values) = (text(&requirement["key"]), strings(&requirement["values"]));
        if !labels && key.is_empty() {
            errors.push(Error::required(&path.child("key"), "must be specified"));
        }
        match requirement["operator"].as_str().unwrap_or_default() {
            "In" | "NotIn" if values.is_empty() => errors.push(Error::required(
                &path.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(Error::forbidden(
                &path.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            _ => {}
        }
        if labels {
            errors.invalid_each(&path.child("key"), &key, names::qualified_name(&key));
            for (j, value) in values.iter().enumerate() {
                errors.invalid_each(&path.child("values").index(j), value, names::label_value(value));
            }
        }
    }
}

fn attributes(spec: &Value) -> Attributes {
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if other.is_object() {
        return Attributes {
            verb: text(&other["verb"]),
            path: text(&other["path"]),
            ..Default::default()
        };
    }
    let version = text(&resource["version"]);
    Attributes {
        verb: text(&resource["verb"]),
        namespace: text(&resource["namespace"]),
        group: text(&resource["group"]),
        version: if version.is_empty() { "*".into() } else { version },
        resource: text(&resource["resource"]),
        subresource: text(&resource["subresource"]),
        name: text(&resource["name"]),
        path: String::new(),
        is_resource: true,
        selectors: Selectors::of_review(resource),
    }
}

fn subject(spec: &Value) -> UserInfo {
    let extra: BTreeMap<_, _> = spec["extra"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), strings(v)))
        .collect();
    UserInfo {
        name: text(&spec["user"]),
        uid: text(&spec["uid"]),
        groups: strings(&spec["groups"]),
        extra,
    }
}

fn status(decision: &Decision, selectors: &Selectors) -> Value {
    let mut status = json!({"allowed": decision.allowed()});
    if matches!(decision, Decision::Deny(_)) {
        status["denied"] = json!(true);
    }
    let errors: Vec<String> = selectors.errors().collect();
    for (field, text) in [
        ("reason", decision.reason()),
        ("evaluationError", &errors.join("; ")),
    ] {
        if !text.is_empty() {
            status[field] = json!(text);
        }
    }
    status
}
