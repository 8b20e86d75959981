//! Admission policies in CEL. Upstream: `k8s.io/apiserver/pkg/admission/plugin/policy`.
//!
//! # Flow
//! Policies with their bindings are read, and their expressions compiled, when one of either kind
//! changed. For a request, a policy whose constraints match is run once for every binding that
//! matches and every param object that the binding refers to; what it denies is refused, warned of
//! or noted in the audit event, as the binding says. Without policies a request pays for reading
//! two counters.

mod compiled;
mod matching;
pub(crate) mod mutating;
mod params;
mod run;
pub(crate) mod type_check;
pub(crate) mod validation;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use rkind_apimachinery::{
    meta::{self, GroupResource},
    status::{Cause, Status},
};
use serde_json::{Value, json};

use self::{
    compiled::{Binding, Policy},
    run::{Annotation, Decision, Input},
};
use super::{Request, Validate};
use crate::{cacher::Cache, catalog::Def, core::Core, error::Result};

/// Bytes of an audit annotation's value that are kept.
const MAX_ANNOTATION: usize = 10 * 1024;

/// What no policy judges: policies, which may always be repaired, and the questions on which the cluster's
/// own authentication and authorization stand. Upstream: `generic.Plugin.shouldIgnoreResource` and
/// `pkg/kubeapiserver/admission/exclusion`.
const EXEMPT: [(&str, &[&str]); 3] = [
    (
        "admissionregistration.k8s.io",
        &[
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
        ],
    ),
    ("authentication.k8s.io", &["selfsubjectreviews", "tokenreviews"]),
    (
        "authorization.k8s.io",
        &[
            "localsubjectaccessreviews",
            "selfsubjectaccessreviews",
            "selfsubjectrulesreviews",
            "subjectaccessreviews",
        ],
    ),
];

fn is_exempt(request: &Request<'_>) -> bool {
    EXEMPT
        .iter()
        .any(|(group, resources)| request.def.group == *group && resources.contains(&request.def.resource))
}

/// Generations of policies and bindings, and what they came to.
type Known = ([u64; 2], Arc<Vec<Policy>>);

/// The policies of one kind, compiled, with their bindings, in the order of names.
struct Policies {
    /// Storage prefixes of policies and bindings.
    resources: [&'static str; 2],
    known: Mutex<Option<Known>>,
}

impl Policies {
    fn new(policies: &'static str, bindings: &'static str) -> Self {
        Policies {
            resources: [policies, bindings],
            known: Mutex::default(),
        }
    }

    fn get(&self, cache: &Cache) -> Arc<Vec<Policy>> {
        let [Some(policies), Some(bindings)] = self.resources.map(|r| cache.cacher(r)) else {
            return Arc::default();
        };
        let now = [policies.generation(), bindings.generation()];
        let mut known = self.known.lock();
        if let Some((at, all)) = &*known
            && *at == now
        {
            return all.clone();
        }
        let bindings: Vec<Value> = bindings
            .snapshot(0)
            .objects
            .values()
            .map(|object| object.to_value())
            .collect();
        let all: Vec<Policy> = policies
            .snapshot(0)
            .objects
            .values()
            .filter_map(|object| {
                let policy = object.to_value();
                let name = meta::name(&policy);
                let bound: Vec<&Value> = bindings
                    .iter()
                    .filter(|b| b["spec"]["policyName"] == name)
                    .collect();
                // Nothing is compiled for a policy that nobody uses.
                (!bound.is_empty()).then(|| Policy::read(&policy, &bound))
            })
            .collect();
        let all = Arc::new(all);
        *known = Some((now, all.clone()));
        all
    }
}

/// `ValidatingAdmissionPolicy`.
pub(super) struct Validating(Policies);

impl Default for Validating {
    fn default() -> Self {
        Validating(Policies::new(
            "admissionregistration.k8s.io/validatingadmissionpolicies",
            "admissionregistration.k8s.io/validatingadmissionpolicybindings",
        ))
    }
}

/// A refusal: by which policy and binding, why.
struct Denied<'p> {
    policy: &'p Policy,
    binding: Option<&'p Binding>,
    message: String,
    reason: String,
}

#[async_trait]
impl Validate for Validating {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn shows(&self, core: &Core) -> bool {
        !self.0.get(&core.cache).is_empty()
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        let policies = self.0.get(&request.core.cache);
        if policies.is_empty() || is_exempt(request) {
            return Ok(());
        }
        judge(&policies, request)
    }
}

fn judge(policies: &[Policy], request: &Request<'_>) -> Result<()> {
    let mut denied: Vec<Denied<'_>> = Vec::new();
    for policy in policies {
        let misconfigured = |binding: Option<&Binding>, why: String| -> Option<String> {
            let what = if binding.is_some() { "binding" } else { "policy" };
            (!policy.fails_open).then(|| format!("failed to configure {what}: {why}"))
        };
        let def = match policy.constraints.meant(request) {
            Ok(Some(def)) => def,
            Ok(None) => continue,
            Err(why) => {
                denied.extend(misconfigured(None, why).map(|message| Denied {
                    policy,
                    binding: None,
                    message,
                    reason: String::new(),
                }));
                continue;
            }
        };
        if let Some(why) = params::unknown_kind(policy, request.core) {
            denied.extend(misconfigured(None, why).map(|message| Denied {
                policy,
                binding: None,
                message,
                reason: String::new(),
            }));
            continue;
        }
        let mut annotations: Vec<(String, Vec<String>)> = Vec::new();
        for binding in &policy.bindings {
            let found = match binding.resources.meant(request) {
                Ok(None) => continue,
                Ok(Some(_)) => params::collect(policy, binding, request),
                Err(why) => Err(why),
            };
            let all = match found {
                Ok(all) => all,
                Err(why) => {
                    denied.extend(misconfigured(Some(binding), why).map(|message| Denied {
                        policy,
                        binding: Some(binding),
                        message,
                        reason: String::new(),
                    }));
                    continue;
                }
            };
            if all.is_empty() {
                continue;
            }
            let mut input = input(&def, request)?;
            for param in all {
                input.params = param;
                let outcome = run::validate(policy, &input, request);
                act(policy, binding, outcome.decisions, request, &mut denied);
                note(
                    policy,
                    binding,
                    outcome.annotations,
                    &mut annotations,
                    &mut denied,
                );
            }
        }
        for (key, values) in annotations {
            request
                .notes
                .annotate(format!("{}/{key}", policy.name), values.join(", "));
        }
    }
    match denied.into_iter().next() {
        Some(first) => Err(refusal(request, &first)),
        None => Ok(()),
    }
}

/// Does what a binding wants done about failed validations.
fn act<'p>(
    policy: &'p Policy,
    binding: &'p Binding,
    decisions: Vec<Decision>,
    request: &Request<'_>,
    denied: &mut Vec<Denied<'p>>,
) {
    for (index, decision) in decisions.into_iter().enumerate() {
        let Decision::Deny { message, reason } = decision else {
            continue;
        };
        for action in &binding.actions {
            match action.as_str() {
                "Deny" => denied.push(Denied {
                    policy,
                    binding: Some(binding),
                    message: message.clone(),
                    reason: reason.clone(),
                }),
                "Warn" => request.notes.warn(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {message}",
                    policy.name, binding.name
                )),
                _ => {
                    let failure = json!([{"message": message, "policy": policy.name, "binding": binding.name,
                        "expressionIndex": index, "validationActions": binding.actions}]);
                    request.notes.annotate(
                        "validation.policy.admission.k8s.io/validation_failure",
                        failure.to_string(),
                    );
                }
            }
        }
    }
}

/// Collects a run's audit annotations; the same value of one key is noted once.
fn note<'p>(
    policy: &'p Policy,
    binding: &'p Binding,
    made: Vec<Annotation>,
    annotations: &mut Vec<(String, Vec<String>)>,
    denied: &mut Vec<Denied<'p>>,
) {
    for annotation in made {
        match annotation {
            Annotation::Publish { key, mut value } => {
                value.truncate(value.floor_char_boundary(MAX_ANNOTATION));
                match annotations.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, values)) if values.contains(&value) => {}
                    Some((_, values)) => values.push(value),
                    None => annotations.push((key, vec![value])),
                }
            }
            Annotation::Failed(message) => denied.push(Denied {
                policy,
                binding: Some(binding),
                message,
                reason: String::new(),
            }),
        }
    }
}

/// What expressions see of a request for `def`; without params yet.
///
/// # Errors
/// 404 when the request's namespace is not there.
fn input(def: &Def, request: &Request<'_>) -> Result<Input> {
    let (object, old) = request.objects_in(def);
    let mut seen = request.admission_request("", def, Value::Null, Value::Null);
    if let Some(fields) = seen.as_object_mut() {
        for unseen in ["uid", "object", "oldObject"] {
            fields.remove(unseen);
        }
    }
    Ok(Input {
        object,
        old,
        request: seen,
        namespace: namespace(request)?,
        params: Value::Null,
    })
}

/// The namespace that a request is in; null for cluster-scoped resources and namespaces.
fn namespace(request: &Request<'_>) -> Result<Value> {
    let is_namespace = request.def.group.is_empty() && request.def.resource == "namespaces";
    if request.namespace.is_empty() || is_namespace {
        return Ok(Value::Null);
    }
    let found = request
        .core
        .cached("core/namespaces", request.namespace)
        .ok_or_else(|| Status::not_found(&GroupResource::new("", "namespaces"), request.namespace))?;
    let mut namespace = found.to_value();
    namespace["metadata"]["UID"] = namespace["metadata"]["uid"].clone();
    Ok(namespace)
}

fn refusal(request: &Request<'_>, denied: &Denied<'_>) -> Box<Status> {
    let by = match denied.binding {
        Some(binding) => format!(" with binding '{}'", binding.name),
        None => String::new(),
    };
    let message = format!(
        "ValidatingAdmissionPolicy '{}'{by} denied request: {}",
        denied.policy.name, denied.message
    );
    let mut status = request.forbidden(&message);
    let reason = if denied.reason.is_empty() {
        "Invalid"
    } else {
        &denied.reason
    };
    status.code = match reason {
        "Forbidden" => 403,
        "Unauthorized" => 401,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    status.reason = reason.to_owned();
    status.details.get_or_insert_default().causes.push(Cause {
        message,
        ..Cause::default()
    });
    status
}
