//! `status.typeChecking`: whether a policy's expressions fit the types of what it is for. Upstream
//! does this in kube-controller-manager's `validatingadmissionpolicy-status` controller with
//! `…/policy/validating/typechecking.go`. It changes nothing about what the policy does.

use std::{collections::BTreeMap, sync::Arc};

use rkind_apimachinery::{
    meta,
    schema::{self, TypeDef},
};
use rkind_cel::{Env, Field, ObjectType, Type, names, request, types};
use serde_json::{Value, json};

use super::compiled::{compile, items, text, variables};
use crate::{
    catalog::{Def, Snapshot},
    core::Core,
    error::Result,
    registry::create::Write,
};

const POLICIES: &str = "admissionregistration.k8s.io/validatingadmissionpolicies";
/// Kinds that one policy is checked against.
const MAX_TYPES: usize = 10;

/// Checks policies as they change, until shutdown.
pub(crate) async fn keep(core: Arc<Core>) {
    let Some(policies) = core.cache.cacher(POLICIES) else {
        return;
    };
    let mut changed = policies.changed();
    loop {
        changed.mark_unchanged();
        let all = policies.snapshot(0);
        for object in all.objects.values() {
            let policy = object.to_value();
            if policy["status"]["observedGeneration"] == policy["metadata"]["generation"] {
                continue;
            }
            if let Err(error) = note(&core, &policy).await {
                tracing::debug!(policy = object.name(), message = %error.message, "status of a policy stays");
            }
        }
        tokio::select! {
            () = core.shutdown.cancelled() => return,
            changed = changed.changed() => if changed.is_err() { return },
        }
    }
}

async fn note(core: &Arc<Core>, policy: &Value) -> Result<()> {
    let Some(def) = core.catalog.find(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicies",
    ) else {
        return Ok(());
    };
    let warnings = check(&core.catalog.now(), policy);
    let mut write = Write::internal(core, def, "");
    write.admitted = true;
    write.sub = "status";
    write.retry = true;
    let generation = policy["metadata"]["generation"].clone();
    write
        .change(meta::name(policy), |old| {
            let mut new = old.clone();
            new["status"]["observedGeneration"] = generation.clone();
            new["status"]["typeChecking"] = if warnings.is_empty() {
                json!({})
            } else {
                json!({"expressionWarnings": warnings})
            };
            Ok(new)
        })
        .await
        .map(|_| ())
}

/// The warnings about a policy: `ExpressionWarning`s.
fn check(catalog: &Snapshot, policy: &Value) -> Vec<Value> {
    let spec = &policy["spec"];
    let params = params_type(catalog, spec);
    let environments: Vec<(String, Env)> = kinds(catalog, spec)
        .into_iter()
        .filter_map(|def| {
            let object = type_of(&def)?;
            let mut env = Env::new()
                .variable("object", object.clone())
                .variable("oldObject", object)
                .variable("request", request::request_type())
                .variable("namespaceObject", request::namespace_type())
                .variable("authorizer", types::authorizer());
            if let Some(params) = &params {
                env = env.variable("params", params.clone());
            }
            let kind = format!(
                "{}, Kind={}",
                match def.group {
                    "" => format!("/{}", def.version),
                    group => format!("{group}/{}", def.version),
                },
                def.kind
            );
            Some((kind, variables(spec, env.build()).0))
        })
        .collect();
    let mut warnings = Vec::new();
    for (i, validation) in items(spec, "validations").iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let source = text(validation, field);
            if source.is_empty() {
                continue;
            }
            let faults: Vec<String> = environments
                .iter()
                .filter_map(|(kind, env)| {
                    let why = compile(env, source, &[]).err()?;
                    let why = why.strip_prefix("compilation failed: ").unwrap_or(&why);
                    Some(format!("{kind}: {why}\n"))
                })
                .collect();
            if !faults.is_empty() {
                warnings.push(json!({
                    "fieldRef": format!("spec.validations[{i}].{field}"),
                    "warning": faults.join("\n"),
                }));
            }
        }
    }
    warnings
}

fn params_type(catalog: &Snapshot, spec: &Value) -> Option<Type> {
    let kind = &spec["paramKind"];
    if !kind.is_object() {
        return None;
    }
    let version = text(kind, "apiVersion");
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let def = catalog
        .all()
        .iter()
        .find(|def| def.group == group && def.version == version && def.kind == text(kind, "kind"));
    Some(def.and_then(type_of).unwrap_or(Type::Dyn))
}

/// The kinds that a policy's rules name outright, by group, version and kind.
fn kinds(catalog: &Snapshot, spec: &Value) -> Vec<Def> {
    let mut found: Vec<Def> = Vec::new();
    for rule in items(&spec["matchConstraints"], "resourceRules") {
        let names =
            |field: &str| -> Vec<&str> { items(rule, field).iter().filter_map(Value::as_str).collect() };
        let (groups, versions) = (names("apiGroups"), names("apiVersions"));
        if groups.iter().chain(&versions).any(|name| name.contains('*')) {
            continue;
        }
        for resource in names("resources") {
            if resource.contains(['*', '/']) {
                continue;
            }
            for group in &groups {
                for version in &versions {
                    if let Some(def) = catalog.find(group, version, resource)
                        && !found.iter().any(|f| key(f) == key(def))
                    {
                        found.push(def.clone());
                    }
                }
            }
        }
    }
    found.sort_by_key(key);
    found.truncate(MAX_TYPES);
    found
}

fn key(def: &Def) -> (&'static str, &'static str, &'static str) {
    (def.group, def.version, def.kind)
}

/// The type of a resource's objects.
fn type_of(def: &Def) -> Option<Type> {
    if let Some(custom) = def.custom() {
        return Some(rkind_cel::schema::resource_type(&custom.version().source));
    }
    let ty = schema::Schema::get().type_by_name(def.type_name)?;
    Some(object(ty, def.kind, &mut Vec::new()))
}

/// `within`: the types that this one is in, which end what is recursive.
fn object(def: &'static TypeDef, name: &str, within: &mut Vec<&'static str>) -> Type {
    if within.contains(&&*def.name) {
        return Type::Dyn;
    }
    within.push(&def.name);
    let mut fields = BTreeMap::new();
    for field in &def.fields {
        if let Some(escaped) = names::escape(&field.name) {
            let json = field.name.to_string();
            let ty = read(&field.ty, &format!("{name}.{json}"), within);
            // Objects in flight are no typed objects: `object.metadata.namespace` works.
            for known in [json.clone(), escaped] {
                let json = json.clone();
                fields.insert(known, Field { json, ty: ty.clone() });
            }
        }
    }
    within.pop();
    Type::Object(Arc::new(ObjectType {
        name: name.to_owned(),
        fields,
    }))
}

fn read(ty: &schema::Type, name: &str, within: &mut Vec<&'static str>) -> Type {
    match ty {
        schema::Type::Bool => Type::Bool,
        schema::Type::Int32 | schema::Type::Int64 => Type::Int,
        schema::Type::Float => Type::Double,
        schema::Type::String | schema::Type::Duration => Type::String,
        schema::Type::Bytes => Type::Bytes,
        schema::Type::Time | schema::Type::MicroTime => Type::Timestamp,
        schema::Type::Message(id) => object(id.def(), name, within),
        schema::Type::List(item) => Type::list(read(item, &format!("{name}.@idx"), within)),
        schema::Type::Map(value) => Type::map(Type::String, read(value, &format!("{name}.@elem"), within)),
        _ => Type::Dyn,
    }
}
