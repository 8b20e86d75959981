//! Policies and bindings as requests meet them: read and compiled once.

use std::collections::BTreeSet;

use rkind_apimachinery::{meta, selector::LabelSelector};
use rkind_cel::{Env, Program, Type, request};
use serde_json::Value;

use super::matching::Matcher;

/// An expression; the error is what its use fails with.
pub(super) struct Expression {
    pub source: String,
    pub program: Result<Program, String>,
}

impl Expression {
    fn new(env: &Env, source: &Value, outputs: &[Type]) -> Expression {
        let source = source.as_str().unwrap_or_default().to_owned();
        Expression {
            program: compile(env, &source, outputs),
            source,
        }
    }
}

/// Compiles an expression that must give one of `outputs`; none: anything.
///
/// # Errors
/// In upstream's words, without the field.
pub(super) fn compile(env: &Env, source: &str, outputs: &[Type]) -> Result<Program, String> {
    let program = Program::compile(env, source).map_err(|e| format!("compilation failed: {e}"))?;
    if outputs.is_empty() || outputs.contains(program.output()) {
        return Ok(program);
    }
    let found = match program.output() {
        Type::Null => "null_type".to_owned(),
        other => other.to_string(),
    };
    let name = |ty: &Type| match ty {
        Type::Null => "null_type".to_owned(),
        other => other.to_string(),
    };
    Err(match outputs {
        [one] => format!("must evaluate to {} but got {found}", name(one)),
        many => {
            let many: Vec<String> = many.iter().map(name).collect();
            format!("must evaluate to one of [{}] but got {found}", many.join(" "))
        }
    })
}

/// The type of an apply configuration: `Object`.
pub(super) fn apply_configuration() -> Type {
    Type::Object(rkind_cel::ObjectType::new("Object", []))
}

/// One of `spec.validations`.
pub(super) struct Validation {
    pub expression: Expression,
    pub message: String,
    pub message_expression: Option<Expression>,
    pub reason: String,
}

/// One of `spec.variables`.
pub(super) struct Variable {
    pub name: String,
    pub program: Result<Program, String>,
    /// Some expression reads it.
    pub used: bool,
}

/// One of `spec.mutations`.
pub(super) struct Mutation {
    pub expression: Expression,
    /// It gives a JSON patch; otherwise an apply configuration.
    pub patch: bool,
}

/// A kind that params are of.
pub(super) struct ParamKind {
    pub group: String,
    pub version: String,
    pub kind: String,
}

/// A policy with its bindings.
pub(super) struct Policy {
    pub name: String,
    /// Failures let the request pass.
    pub fails_open: bool,
    pub param_kind: Option<ParamKind>,
    pub constraints: Matcher,
    pub conditions: Vec<Expression>,
    pub variables: Vec<Variable>,
    pub validations: Vec<Validation>,
    /// Key and value.
    pub annotations: Vec<(String, Expression)>,
    pub mutations: Vec<Mutation>,
    /// May be run again when a later plugin changed the object.
    pub reinvoke: bool,
    pub bindings: Vec<Binding>,
}

/// A binding.
pub(super) struct Binding {
    pub name: String,
    pub resources: Matcher,
    pub actions: Vec<String>,
    pub params: Option<ParamRef>,
}

/// `spec.paramRef`.
pub(super) struct ParamRef {
    /// Empty: by selector.
    pub name: String,
    /// Empty: the request's.
    pub namespace: String,
    pub selector: Option<Result<LabelSelector, String>>,
    /// No params at all is a fault.
    pub deny_missing: bool,
}

/// Elements of a list field.
pub(super) fn items<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object[field].as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// The environment of a policy's expressions, with its variables compiled one after the other.
pub(super) fn variables(spec: &Value, mut env: Env) -> (Env, Vec<Variable>) {
    let mut types: Vec<(String, Type)> = Vec::new();
    let mut all = Vec::new();
    for variable in items(spec, "variables") {
        env = env.with("variables", request::variables_type(&types));
        let name = text(variable, "name").to_owned();
        let program = compile(&env, text(variable, "expression"), &[]);
        let ty = program.as_ref().map_or(Type::Dyn, |p| p.output().clone());
        types.push((name.clone(), ty));
        all.push(Variable {
            name,
            program,
            used: false,
        });
    }
    if !types.is_empty() {
        env = env.with("variables", request::variables_type(&types));
    }
    (env, all)
}

impl Policy {
    /// Of a policy object and the bindings that name it.
    pub(super) fn read(policy: &Value, bindings: &[&Value]) -> Policy {
        let spec = &policy["spec"];
        let has_params = spec["paramKind"].is_object();
        let base = request::policy(has_params, spec["mutations"].is_array());
        let conditions = items(spec, "matchConditions")
            .iter()
            .map(|c| Expression::new(&base, &c["expression"], &[Type::Bool]))
            .collect();
        let (env, variables) = variables(spec, base);
        let validations = items(spec, "validations")
            .iter()
            .map(|v| Validation {
                expression: Expression::new(&env, &v["expression"], &[Type::Bool]),
                message: text(v, "message").to_owned(),
                message_expression: v["messageExpression"]
                    .as_str()
                    .filter(|s| !s.is_empty())
                    .map(|_| Expression::new(&env, &v["messageExpression"], &[Type::String])),
                reason: text(v, "reason").to_owned(),
            })
            .collect();
        let annotations = items(spec, "auditAnnotations")
            .iter()
            .map(|a| {
                let outputs = [Type::String, Type::Null];
                let value = Expression::new(&env, &a["valueExpression"], &outputs);
                (text(a, "key").to_owned(), value)
            })
            .collect();
        let mutations = items(spec, "mutations")
            .iter()
            .map(|m| {
                let patch = m["patchType"] == "JSONPatch";
                let (field, output) = if patch {
                    ("jsonPatch", Type::list(rkind_cel::types::json_patch()))
                } else {
                    ("applyConfiguration", apply_configuration())
                };
                Mutation {
                    expression: Expression::new(&env, &m[field]["expression"], &[output]),
                    patch,
                }
            })
            .collect();
        let mut policy = Policy {
            name: meta::name(policy).to_owned(),
            fails_open: spec["failurePolicy"] == "Ignore",
            param_kind: has_params.then(|| {
                let version = text(&spec["paramKind"], "apiVersion");
                let (group, version) = version.split_once('/').unwrap_or(("", version));
                ParamKind {
                    group: group.to_owned(),
                    version: version.to_owned(),
                    kind: text(&spec["paramKind"], "kind").to_owned(),
                }
            }),
            constraints: Matcher::read(&spec["matchConstraints"]),
            conditions,
            variables,
            validations,
            annotations,
            mutations,
            reinvoke: spec["reinvocationPolicy"] == "IfNeeded",
            bindings: bindings.iter().map(|b| Binding::read(b)).collect(),
        };
        policy.mark_used();
        policy
    }

    /// Finds the variables that are read, by others that are read as well.
    fn mark_used(&mut self) {
        let mut wanted: Option<BTreeSet<String>> = Some(BTreeSet::new());
        let expressions = self
            .validations
            .iter()
            .flat_map(|v| std::iter::once(&v.expression).chain(&v.message_expression))
            .chain(self.annotations.iter().map(|(_, value)| value))
            .chain(self.mutations.iter().map(|m| &m.expression));
        for program in expressions.filter_map(|e| e.program.as_ref().ok()) {
            read(&mut wanted, program);
        }
        for variable in self.variables.iter_mut().rev() {
            variable.used = wanted.as_ref().is_none_or(|names| names.contains(&variable.name));
            if variable.used
                && let Ok(program) = &variable.program
            {
                read(&mut wanted, program);
            }
        }
    }
}

fn read(wanted: &mut Option<BTreeSet<String>>, program: &Program) {
    match (wanted.as_mut(), program.fields_of("variables")) {
        (Some(names), Some(more)) => names.extend(more),
        _ => *wanted = None,
    }
}

impl Binding {
    fn read(binding: &Value) -> Binding {
        let spec = &binding["spec"];
        let reference = &spec["paramRef"];
        Binding {
            name: meta::name(binding).to_owned(),
            resources: Matcher::read(&spec["matchResources"]),
            actions: items(spec, "validationActions")
                .iter()
                .filter_map(|a| a.as_str().map(str::to_owned))
                .collect(),
            params: reference.is_object().then(|| ParamRef {
                name: text(reference, "name").to_owned(),
                namespace: text(reference, "namespace").to_owned(),
                selector: reference
                    .get("selector")
                    .filter(|s| s.is_object())
                    .map(|s| LabelSelector::from_meta(s).map_err(|e| e.to_string())),
                deny_missing: reference["parameterNotFoundAction"] == "Deny",
            }),
        }
    }
}
