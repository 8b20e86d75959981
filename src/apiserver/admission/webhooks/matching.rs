//! Whether a webhook is meant. Upstream: `k8s.io/apiserver/pkg/admission/plugin/webhook/predicates`.

use rkind_apimachinery::{
    meta::{self, GroupResource},
    selector::LabelSelector,
    status::Status,
};
use serde_json::Value;

use super::{
    super::{Operation, Request, conditions::Match},
    hook::{Hook, Rule},
};
use crate::{catalog::Def, core::group_resource, error::Result};

/// The resource (the request's, or an equivalent version of it) by which `hook` is meant.
///
/// # Errors
/// 404 or 500 when the hook is meant but for a selector that cannot be judged.
pub(super) fn meant(hook: &Hook, request: &Request<'_>) -> Result<Option<Def>> {
    // What cannot be judged only matters when the rules match.
    let namespace = in_namespace(hook, request);
    if matches!(namespace, Ok(false)) {
        return Ok(None);
    }
    let object = of_object(hook, request);
    if matches!(object, Ok(false)) {
        return Ok(None);
    }
    let by_rule = |rule: &Rule, def: &Def| matches(rule, request, def);
    let Some(def) = found(&hook.rules, hook.equivalent, request, by_rule) else {
        return Ok(None);
    };
    namespace?;
    object?;
    if hook.conditions.is_empty() {
        return Ok(Some(def));
    }
    match hook.conditions.judge(request, &def) {
        Match::Yes => Ok(Some(def)),
        Match::No => Ok(None),
        Match::Failed(_) if hook.fails_open => Ok(None),
        Match::Failed(why) => Err(Status::forbidden(&group_resource(request.def), request.name, &why).into()),
    }
}

/// A `LabelSelector`; absent, it selects everything.
///
/// # Errors
/// What is wrong with it.
pub(in crate::admission) fn selector(value: &Value) -> Result<LabelSelector, String> {
    if value.is_null() {
        return Ok(LabelSelector::everything());
    }
    LabelSelector::from_meta(value).map_err(|e| e.to_string())
}

/// The resource by which one of `rules` fits: the request's, or where `equivalent` is told, another version of
/// the same objects.
pub(in crate::admission) fn found<R>(
    rules: &[R],
    equivalent: bool,
    request: &Request<'_>,
    fits: impl Fn(&R, &Def) -> bool,
) -> Option<Def> {
    if rules.iter().any(|rule| fits(rule, request.def)) {
        return Some(request.def.clone());
    }
    if !equivalent || rules.is_empty() {
        return None;
    }
    let now = request.core.catalog.now();
    let others: Vec<&Def> = now
        .all()
        .iter()
        .filter(|def| def.storage_prefix == request.def.storage_prefix)
        .filter(|def| (def.group, def.version) != (request.def.group, request.def.version))
        .filter(|def| request.sub.is_empty() || def.subresource(request.sub).is_some())
        .collect();
    rules.iter().find_map(|rule| {
        let found = others.iter().find(|def| fits(rule, def))?;
        Some((*found).clone())
    })
}

fn any(items: &[String], wanted: &str) -> bool {
    items.iter().any(|item| item == "*" || item == wanted)
}

/// Whether a rule matches the request as one for `def`.
pub(in crate::admission) fn matches(rule: &Rule, request: &Request<'_>, def: &Def) -> bool {
    // A namespace counts as cluster-scoped although it is in the namespace of its name.
    let cluster = !def.namespaced || request.namespace.is_empty();
    let scope = match rule.scope.as_str() {
        "Namespaced" => !cluster,
        "Cluster" => cluster,
        _ => true,
    };
    scope
        && any(&rule.operations, request.operation.as_str())
        && any(&rule.groups, def.group)
        && any(&rule.versions, def.version)
        && rule.resources.iter().any(|text| {
            let (resource, sub) = text.split_once('/').unwrap_or((text, ""));
            (resource == "*" || resource == def.resource) && (sub == "*" || sub == request.sub)
        })
}

fn broken(why: &str) -> Box<Status> {
    Status::internal_error(why).into()
}

fn in_namespace(hook: &Hook, request: &Request<'_>) -> Result<bool> {
    let is_namespace = request.def.group.is_empty() && request.def.resource == "namespaces";
    let scope = request.scope();
    if scope.is_empty() && !is_namespace {
        return Ok(true);
    }
    let selector = hook.namespaces.as_ref().map_err(|e| broken(e))?;
    namespace_matches(selector, request)
}

/// Whether the labels of a request's namespace match.
///
/// # Errors
/// 404 when the namespace is not there.
pub(crate) fn namespace_matches(selector: &LabelSelector, request: &Request<'_>) -> Result<bool> {
    if selector.is_everything() {
        return Ok(true);
    }
    let is_namespace = request.def.group.is_empty() && request.def.resource == "namespaces";
    let written = matches!(request.operation, Operation::Create | Operation::Update);
    if is_namespace && request.sub.is_empty() && written {
        return Ok(selector.matches(meta::labels(request.object)));
    }
    let scope = request.scope();
    let namespace = request
        .core
        .cached("core/namespaces", scope)
        .ok_or_else(|| Status::not_found(&GroupResource::new("", "namespaces"), scope))?;
    Ok(selector.matches_by(|key| namespace.labels().get(key)))
}

fn of_object(hook: &Hook, request: &Request<'_>) -> Result<bool> {
    let selector = hook.objects.as_ref().map_err(|e| broken(e))?;
    Ok(object_matches(selector, request))
}

/// Whether the new or the old object's labels match.
pub(crate) fn object_matches(selector: &LabelSelector, request: &Request<'_>) -> bool {
    if selector.is_everything() {
        return true;
    }
    let of = |object: &Value| object["metadata"].is_object() && selector.matches(meta::labels(object));
    let new = request.operation != Operation::Delete && of(request.object);
    new || request.old.is_some_and(of)
}
