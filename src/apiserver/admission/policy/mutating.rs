//! `MutatingAdmissionPolicy` (KEP-3962). Upstream: `…/admission/plugin/policy/mutating`.
//!
//! Served only where its group's beta version is: without policies a request reads two counters.

use async_trait::async_trait;
use rkind_apimachinery::{
    apply,
    meta::{Gvk, api_version},
    schema::{self, ListType, TypeDef},
    status::{Cause, Status},
};
use rkind_cel::{
    POLICY_BUDGET, Value,
    value::{Fields, List, Map, Object},
};
use serde_json::{Value as Json, json};

use super::{
    super::{Admit, Request, conditions::Asker},
    Policies,
    compiled::{Binding, Mutation, Policy},
    input, is_exempt, params,
    run::{self, Input},
};
use crate::{catalog::Def, core::Core, error::Result};

/// How a second round comes about; lives as long as the request.
#[derive(Default)]
pub(crate) struct Again {
    /// Runs that may be repeated, made since the last change.
    made: Vec<String>,
    /// Runs to be repeated.
    due: Vec<String>,
    /// The object as the last policy left it.
    last: Option<Json>,
}

impl Again {
    fn require(&mut self) {
        self.due.append(&mut self.made);
    }
}

/// `MutatingAdmissionPolicy`.
pub(in crate::admission) struct Mutating(Policies);

impl Default for Mutating {
    fn default() -> Self {
        Mutating(Policies::new(
            "admissionregistration.k8s.io/mutatingadmissionpolicies",
            "admissionregistration.k8s.io/mutatingadmissionpolicybindings",
        ))
    }
}

#[async_trait]
impl Admit for Mutating {
    fn name(&self) -> &'static str {
        "MutatingAdmissionPolicy"
    }

    fn shows(&self, core: &Core) -> bool {
        !self.0.get(&core.cache).is_empty()
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        let policies = self.0.get(&request.core.cache);
        if policies.is_empty() || is_exempt(request) {
            return Ok(());
        }
        change(&policies, request)
    }
}

/// Why a policy could not do its work.
struct Failed<'p> {
    policy: &'p Policy,
    binding: Option<&'p Binding>,
    message: String,
    /// The expressions failed; otherwise the configuration is wrong.
    run: bool,
}

/// Runs all policies that are meant.
///
/// # Errors
/// What the first that failed says, unless its failure policy lets the request pass.
pub(super) fn change(policies: &[Policy], request: &mut Request<'_>) -> Result<()> {
    let again = request.reinvocation.again;
    if again && request.reinvocation.policies.last.as_ref() != Some(&*request.object) {
        request.reinvocation.policies.require();
    }
    let mut failed: Vec<Failed<'_>> = Vec::new();
    for policy in policies {
        let configuration = |binding, message| Failed {
            policy,
            binding,
            message,
            run: false,
        };
        let def = match policy.constraints.meant(request) {
            Ok(Some(def)) => def,
            Ok(None) => continue,
            Err(why) => {
                failed.push(configuration(None, format!("failed to configure policy: {why}")));
                continue;
            }
        };
        if let Some(why) = params::unknown_kind(policy, request.core) {
            failed.push(configuration(None, format!("failed to configure policy: {why}")));
            continue;
        }
        for binding in &policy.bindings {
            let found = match binding.resources.meant(request) {
                Ok(None) => continue,
                Ok(Some(_)) => params::collect(policy, binding, request),
                Err(why) => Err(why),
            };
            let all = match found {
                Ok(all) => all,
                Err(why) => {
                    let message = format!("failed to configure binding: {why}");
                    failed.push(configuration(Some(binding), message));
                    continue;
                }
            };
            for param in all {
                let key = format!(
                    "{}/{}/{}/{}",
                    policy.name,
                    binding.name,
                    param["metadata"]["namespace"].as_str().unwrap_or_default(),
                    param["metadata"]["name"].as_str().unwrap_or_default()
                );
                if again && !request.reinvocation.policies.due.contains(&key) {
                    continue;
                }
                let before = request.object.clone();
                let faults = run(policy, &def, param, request)?;
                failed.extend(faults.into_iter().map(|message| Failed {
                    policy,
                    binding: Some(binding),
                    message,
                    run: true,
                }));
                if *request.object != before {
                    request.reinvocation.policies.require();
                    request.reinvocation.wanted = true;
                }
                let made = &mut request.reinvocation.policies.made;
                if policy.reinvoke && !made.contains(&key) {
                    made.push(key);
                }
            }
        }
    }
    request.reinvocation.policies.last = Some(request.object.clone());
    match failed.into_iter().find(|f| !f.policy.fails_open) {
        Some(first) => Err(refusal(request, &first)),
        None => Ok(()),
    }
}

fn refusal(request: &Request<'_>, failed: &Failed<'_>) -> Box<Status> {
    let Failed { policy, message, .. } = failed;
    let message = match failed.binding {
        Some(binding) => format!(
            "policy '{}' with binding '{}' denied request: {message}",
            policy.name, binding.name
        ),
        None => format!("policy \"{}\" denied request: {message}", policy.name),
    };
    let mut status = request.forbidden("admission request denied by policy");
    status.message.clone_from(&message);
    if failed.run {
        status.reason = "Invalid".into();
    }
    status.details.get_or_insert_default().causes.push(Cause {
        message,
        ..Cause::default()
    });
    status
}

/// Runs one policy with one param object; gives what failed.
fn run(policy: &Policy, def: &Def, param: Json, request: &mut Request<'_>) -> Result<Vec<String>> {
    let mut input = input(def, request)?;
    input.params = param;
    let (kind, asker) = (request.kind_in(def), Asker::of(request));
    {
        let base = run::base(&input, &asker, request);
        match run::conditions_hold(&policy.conditions, &base) {
            Ok(true) => {}
            Ok(false) => return Ok(Vec::new()),
            Err(_) if policy.fails_open => return Ok(Vec::new()),
            Err(why) => return Ok(vec![why]),
        }
    }
    if input.object.is_null() {
        return Ok(Vec::new());
    }
    let mut faults = Vec::new();
    for mutation in &policy.mutations {
        match mutated(policy, mutation, &input, &asker, def, &kind, request) {
            Ok(object) if object == input.object => {}
            Ok(object) => {
                request.take(def, object)?;
                // Defaults are in: the next mutation sees them.
                input.object = request.objects_in(def).0;
            }
            Err(why) => faults.push(why),
        }
    }
    Ok(faults)
}

/// What a mutation makes of the object.
fn mutated(
    policy: &Policy,
    mutation: &Mutation,
    input: &Input,
    asker: &Asker<'_>,
    def: &Def,
    kind: &Gvk,
    request: &Request<'_>,
) -> std::result::Result<Json, String> {
    let mut vars = run::base(input, asker, request);
    if !policy.variables.is_empty() {
        let variables = run::composed(&policy.variables, &vars);
        vars = vars.value("variables", variables);
    }
    let mut budget = POLICY_BUDGET;
    let value = run::evaluate(&mutation.expression, &vars, &mut budget)?;
    if mutation.patch {
        return patched(&value, &input.object);
    }
    check_names(&value, "Object").map_err(|why| format!("type mismatch: {why}"))?;
    let mut config = value
        .to_json()
        .ok_or_else(|| format!("invalid return type: {}", value.type_name()))?;
    config["apiVersion"] = json!(api_version(&kind.group, &kind.version));
    config["kind"] = json!(kind.kind);
    merged(&input.object, &config, def, kind).map_err(|why| format!("error applying patch: {why}"))
}

/// `Object.spec{}` belongs where a field `spec` of the root object is.
fn check_names(value: &Value<'_>, expected: &str) -> std::result::Result<(), String> {
    match value {
        Value::Object(Object {
            ty,
            fields: Fields::Own(fields),
        }) => {
            if ty.name != expected {
                return Err(format!(
                    "unexpected type name \"{}\", expected \"{expected}\", which matches field name path from root Object type",
                    ty.name
                ));
            }
            fields
                .iter()
                .try_for_each(|(name, field)| check_names(field, &format!("{expected}.{name}")))
        }
        Value::List(List::Own(items, _)) => items.iter().try_for_each(|item| check_names(item, expected)),
        Value::Map(Map::Own(entries)) => entries.values().try_for_each(|v| check_names(v, expected)),
        Value::Optional(Some(inner)) => check_names(inner, expected),
        _ => Ok(()),
    }
}

/// Applies a `[JSONPatch{…}]`. A `test` that fails leaves the object as it is.
fn patched(value: &Value<'_>, object: &Json) -> std::result::Result<Json, String> {
    let Value::List(operations) = value else {
        return Err("type mismatch: JSONPatchType.expression should evaluate to array".into());
    };
    for operation in operations.iter() {
        if let Value::Object(operation) = &operation
            && let Fields::Own(fields) = &operation.fields
            && let Some(value @ Value::Object(_)) = fields.get("value")
            && let Value::Object(inner) = value
        {
            check_names(value, &inner.ty.name).map_err(|why| format!("type mismatch: {why}"))?;
        }
    }
    let operations = value
        .to_json()
        .ok_or("JSONPath valueExpression evaluated to a type that could not marshal to JSON")?;
    match rkind_apimachinery::patch::json(object, operations.to_string().as_bytes()) {
        Ok(object) => Ok(object),
        Err(_) if fails_a_test(&operations, object) => Ok(object.clone()),
        Err(status) => Err(format!("JSONPath: {}", status.message)),
    }
}

/// Whether it is a `test` that stops a patch: all before it can be done.
fn fails_a_test(operations: &Json, object: &Json) -> bool {
    let all = operations.as_array().map_or(&[][..], Vec::as_slice);
    let done = |count: usize| {
        let part = Json::from(all[..count].to_vec());
        rkind_apimachinery::patch::json(object, part.to_string().as_bytes()).is_ok()
    };
    (0..all.len())
        .find(|at| !done(at + 1))
        .is_some_and(|at| all[at]["op"] == "test")
}

/// Merges an apply configuration, by server-side apply's rules; nobody comes to own anything by it.
fn merged(object: &Json, config: &Json, def: &Def, kind: &Gvk) -> std::result::Result<Json, String> {
    let ty = schema::Schema::get().type_by_name(def.type_name);
    if let (Some(ty), None) = (ty, def.custom()) {
        let mut atomics = Vec::new();
        find_atomics(ty, config, "", &mut atomics);
        if !atomics.is_empty() {
            return Err(format!(
                "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
                atomics.join(", ")
            ));
        }
    }
    let mut live = object.clone();
    let owners = live["metadata"]
        .as_object_mut()
        .and_then(|meta| meta.remove("managedFields"));
    let version = api_version(&kind.group, &kind.version);
    let ignored = apply::Set::new();
    let by = apply::Request {
        def: ty,
        api_version: &version,
        manager: "admission-policy",
        subresource: "",
        now: jiff::Timestamp::UNIX_EPOCH,
        ignored: &ignored,
    };
    let applied = match def.custom() {
        Some(custom) => apply::apply_custom(&by, &custom.version().schema, Some(&live), config, true),
        None => apply::apply(&by, Some(&live), config, true),
    };
    let mut new = applied.map_err(|status| status.message)?;
    if let Some(meta) = new["metadata"].as_object_mut() {
        meta.remove("managedFields");
        if let Some(owners) = owners {
            meta.insert("managedFields".into(), owners);
        }
    }
    Ok(new)
}

/// Places in a configuration where a whole list or object would be replaced.
fn find_atomics(ty: &TypeDef, config: &Json, path: &str, found: &mut Vec<String>) {
    for (name, value) in config.as_object().into_iter().flatten() {
        let Some(field) = ty.field(name) else { continue };
        let path = format!("{path}.{name}");
        let atomic = match (&field.ty, value) {
            (schema::Type::List(_), Json::Array(_)) => field.list_type == ListType::Atomic || field.atomic,
            (schema::Type::Message(id), Json::Object(_)) => field.atomic || id.def().atomic,
            (schema::Type::Map(_), Json::Object(_)) => field.atomic,
            _ => false,
        };
        if atomic {
            found.push(path.clone());
        }
        match (&field.ty, value) {
            (schema::Type::Message(id), Json::Object(_)) => find_atomics(id.def(), value, &path, found),
            (schema::Type::List(item), Json::Array(items)) => {
                if let schema::Type::Message(id) = &**item {
                    for (i, item) in items.iter().enumerate() {
                        find_atomics(id.def(), item, &format!("{path}[{i}]"), found);
                    }
                }
            }
            _ => {}
        }
    }
}
