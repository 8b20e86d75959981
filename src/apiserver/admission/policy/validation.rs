//! Expressions of policies about to be stored. The rest of their validation is `apimachinery`'s.
//! Upstream: `pkg/apis/admissionregistration/validation`.

use rkind_apimachinery::{
    field::{Error, ErrorList, Path},
    meta::Gvk,
};
use rkind_cel::{Env, Type, request};
use serde_json::Value;

use super::compiled::{compile, items, text};

/// Everything wrong with the expressions of an object; nothing for kinds without any.
pub(crate) fn expressions(gvk: &Gvk, object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let (group, kind) = gvk.group_kind();
    if group != "admissionregistration.k8s.io" {
        return errors;
    }
    match kind {
        "ValidatingAdmissionPolicy" => policy(&object["spec"], false, &mut errors),
        "MutatingAdmissionPolicy" => policy(&object["spec"], true, &mut errors),
        _ => {}
    }
    errors
}

/// Checks one expression; an empty one is left to those who require it.
fn one(env: &Env, source: &Value, outputs: &[Type], path: &Path, errors: &mut ErrorList) -> Type {
    let source = source.as_str().unwrap_or_default();
    if source.trim().is_empty() {
        return Type::Dyn;
    }
    match compile(env, source, outputs) {
        Ok(program) => program.output().clone(),
        Err(why) => {
            errors.push(Error::invalid(path, source, why));
            Type::Dyn
        }
    }
}

fn policy(spec: &Value, mutating: bool, errors: &mut ErrorList) {
    let path = Path::new("spec");
    let params = spec["paramKind"].is_object();
    let base = request::policy(params, mutating);
    for (i, condition) in items(spec, "matchConditions").iter().enumerate() {
        let path = path.child("matchConditions").index(i).child("expression");
        // Upstream compiles match conditions without the white space around them.
        let source = Value::from(text(condition, "expression").trim());
        one(&base, &source, &[Type::Bool], &path, errors);
    }
    let mut env = base;
    let mut known: Vec<(String, Type)> = Vec::new();
    for (i, variable) in items(spec, "variables").iter().enumerate() {
        env = env.with("variables", request::variables_type(&known));
        let path = path.child("variables").index(i).child("expression");
        let ty = one(&env, &variable["expression"], &[], &path, errors);
        // What says nothing is not known.
        if text(variable, "expression").trim().is_empty() {
            continue;
        }
        known.push((text(variable, "name").to_owned(), ty));
    }
    if !known.is_empty() {
        env = env.with("variables", request::variables_type(&known));
    }
    for (i, validation) in items(spec, "validations").iter().enumerate() {
        let path = path.child("validations").index(i);
        let at = path.child("expression");
        one(&env, &validation["expression"], &[Type::Bool], &at, errors);
        let at = path.child("messageExpression");
        // A message must not depend on what the user may do.
        let env = env.without("authorizer");
        one(
            &env,
            &validation["messageExpression"],
            &[Type::String],
            &at,
            errors,
        );
    }
    for (i, annotation) in items(spec, "auditAnnotations").iter().enumerate() {
        let path = path.child("auditAnnotations").index(i).child("valueExpression");
        let outputs = [Type::String, Type::Null];
        // Upstream compiles it without the white space around it, and shows it with that.
        let source = text(annotation, "valueExpression");
        if let Err(why) = compile(&env, source.trim(), &outputs)
            && !source.trim().is_empty()
        {
            errors.push(Error::invalid(&path, source, why));
        }
    }
    for (i, mutation) in items(spec, "mutations").iter().enumerate() {
        let path = path.child("mutations").index(i);
        let (field, output) = match text(mutation, "patchType") {
            "ApplyConfiguration" => ("applyConfiguration", super::compiled::apply_configuration()),
            "JSONPatch" => ("jsonPatch", Type::list(rkind_cel::types::json_patch())),
            _ => continue,
        };
        let path = path.child(field).child("expression");
        one(&env, &mutation[field]["expression"], &[output], &path, errors);
    }
}
