//! The objects that a binding hands to its policy.
//! Upstream: `CollectParams` of `…/policy/generic/policy_dispatcher.go`.

use serde_json::Value;

use super::{
    super::Request,
    compiled::{Binding, ParamKind, Policy},
};
use crate::{catalog::Def, core::Core, registry::convert};

fn resource(kind: &ParamKind, core: &Core) -> Option<Def> {
    let now = core.catalog.now();
    now.all()
        .iter()
        .find(|def| def.group == kind.group && def.version == kind.version && def.kind == kind.kind)
        .cloned()
}

/// Why a policy's kind of params cannot be used.
pub(super) fn unknown_kind(policy: &Policy, core: &Core) -> Option<String> {
    let kind = policy.param_kind.as_ref()?;
    if resource(kind, core).is_some() {
        return None;
    }
    let version = if kind.group.is_empty() {
        format!("/{}", kind.version)
    } else {
        format!("{}/{}", kind.group, kind.version)
    };
    Some(format!(
        "failed to find resource referenced by paramKind: '{version}, Kind={}'",
        kind.kind
    ))
}

/// The param objects of a binding for a request; a single null when it uses none. An empty list:
/// there is none, and that is no fault.
///
/// # Errors
/// What is wrong with the binding.
pub(super) fn collect(
    policy: &Policy,
    binding: &Binding,
    request: &Request<'_>,
) -> Result<Vec<Value>, String> {
    let (Some(kind), Some(reference)) = (&policy.param_kind, &binding.params) else {
        return Ok(vec![Value::Null]);
    };
    let (Some(def), core) = (resource(kind, request.core), request.core) else {
        return Err(format!(
            "paramKind kind `&ParamKind{{APIVersion:{},Kind:{},}}` not known",
            kind.version, kind.kind
        ));
    };
    let mut namespace = "";
    if def.namespaced {
        namespace = if reference.namespace.is_empty() {
            request.scope()
        } else {
            &reference.namespace
        };
        if namespace.is_empty() {
            return Err(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                    .into(),
            );
        }
    } else if !reference.namespace.is_empty() {
        return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
    }
    let cacher = core.cacher(&def).map_err(|status| match status.code {
        404 => format!("paramKind kind `{}` not known", kind.kind),
        _ => status.message,
    })?;
    let served = |object: &crate::cacher::Obj| {
        let mut value = convert::to_served(&def, object.to_value());
        value["apiVersion"] = Value::String(rkind_apimachinery::meta::api_version(def.group, def.version));
        value["kind"] = Value::String(def.kind.to_owned());
        value
    };
    let found: Vec<Value> = match (&reference.selector, reference.name.as_str()) {
        (None, "") => return Err("one of name or selector must be provided".into()),
        (None, name) => {
            let key = crate::core::object_key(&def, namespace, name);
            cacher.get(&key).iter().map(|object| served(object)).collect()
        }
        (Some(_), name) if !name.is_empty() => {
            return Err("paramRef.name and paramRef.selector are mutually exclusive".into());
        }
        (Some(selector), _) => {
            let selector = selector.as_ref().map_err(Clone::clone)?;
            cacher
                .snapshot(0)
                .objects
                .values()
                .filter(|object| !def.namespaced || object.namespace() == namespace)
                .filter(|object| selector.matches_by(|key| object.labels().get(key)))
                .map(|object| served(object))
                .collect()
        }
    };
    if found.is_empty() && reference.deny_missing {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    Ok(found)
}
