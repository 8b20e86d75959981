//! Runs a policy's expressions on one request with one param object.
//! Upstream: `…/policy/validating/validator.go`, `…/admission/plugin/cel`.

use std::{cell::Cell, collections::BTreeMap, rc::Rc, sync::Arc};

use rkind_cel::{
    MATCH_CONDITIONS_BUDGET, POLICY_BUDGET, RunError, Value, Vars,
    authz::Authz,
    value::{Fields, Made, Object},
};
use serde_json::Value as Json;

use super::{
    super::{Request, conditions::Asker},
    compiled::{Expression, Policy, Validation, Variable},
};

/// Bytes of a messageExpression's result that are used.
const MAX_MESSAGE: usize = 5 * 1024;

/// What expressions see.
pub(super) struct Input {
    pub object: Json,
    pub old: Json,
    /// An `AdmissionRequest` without objects.
    pub request: Json,
    pub namespace: Json,
    pub params: Json,
}

/// What became of one validation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Admit,
    Deny {
        message: String,
        /// Empty: `Invalid`.
        reason: String,
    },
}

/// What became of one audit annotation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Annotation {
    Publish { key: String, value: String },
    Failed(String),
}

/// What became of a policy's run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub decisions: Vec<Decision>,
    pub annotations: Vec<Annotation>,
}

/// The variables of every expression of a run.
pub(super) fn base<'a>(input: &'a Input, asker: &'a Asker<'a>, request: &Request<'_>) -> Vars<'a> {
    let own = asker.own(request);
    Vars::new()
        .json("object", &input.object)
        .json("oldObject", &input.old)
        .json("request", &input.request)
        .json("namespaceObject", &input.namespace)
        .json("params", &input.params)
        .value("authorizer", Authz::authorizer(asker))
        .value("authorizer.requestResource", Authz::request_resource(asker, own))
}

/// The value of `variables`: those that are used, computed in order.
pub(super) fn composed<'a>(variables: &'a [Variable], base: &Vars<'a>) -> Value<'a> {
    let object = |made: BTreeMap<String, Made<'a>>| {
        Value::Object(Object {
            ty: Arc::default(),
            fields: Fields::Made(Rc::new(made)),
        })
    };
    let mut made: BTreeMap<String, Made<'a>> = BTreeMap::new();
    for variable in variables.iter().filter(|v| v.used) {
        let name = &variable.name;
        let mut left = u64::MAX;
        let value = match &variable.program {
            Err(why) => Err(RunError::Failed(format!(
                "composited variable \"{name}\" fails to compile: {why}"
            ))),
            Ok(program) => {
                let scope = base.clone().value("variables", object(made.clone()));
                program.run(&scope, &mut left).map_err(|error| match error {
                    RunError::Failed(why) => {
                        RunError::Failed(format!("composited variable \"{name}\" fails to evaluate: {why}"))
                    }
                    other => other,
                })
            }
        };
        let cost = Rc::new(Cell::new(u64::MAX - left));
        made.insert(name.clone(), Made { value, cost });
    }
    object(made)
}

/// Runs one expression.
///
/// # Errors
/// In upstream's words.
pub(super) fn evaluate<'a>(
    expression: &'a Expression,
    vars: &Vars<'a>,
    budget: &mut u64,
) -> Result<Value<'a>, String> {
    let program = expression
        .program
        .as_ref()
        .map_err(|why| format!("compilation error: {why}"))?;
    program.run(vars, budget).map_err(|error| match error {
        RunError::Budget => error.to_string(),
        other => format!("expression '{}' resulted in error: {other}", expression.source),
    })
}

/// Whether all match conditions hold.
///
/// # Errors
/// What failed, unless one is false.
pub(super) fn conditions_hold(conditions: &[Expression], vars: &Vars<'_>) -> Result<bool, String> {
    let mut budget = MATCH_CONDITIONS_BUDGET;
    let mut errors = Vec::new();
    for condition in conditions {
        match evaluate_owned(condition, vars, &mut budget) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(why) => {
                if !errors.contains(&why) {
                    errors.push(why);
                }
            }
        }
    }
    match errors.as_slice() {
        [] => Ok(true),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

fn evaluate_owned(condition: &Expression, vars: &Vars<'_>, budget: &mut u64) -> Result<bool, String> {
    evaluate(condition, vars, budget).map(|value| matches!(value, Value::Bool(true)))
}

/// Runs a policy.
pub(super) fn validate(policy: &Policy, input: &Input, request: &Request<'_>) -> Outcome {
    let asker = Asker::of(request);
    let base = base(input, &asker, request);
    let failed = |message: String| {
        if policy.fails_open {
            Decision::Admit
        } else {
            Decision::Deny {
                message,
                reason: String::new(),
            }
        }
    };
    match conditions_hold(&policy.conditions, &base) {
        Ok(true) => {}
        Ok(false) => return Outcome::default(),
        // Upstream's matcher takes a failure under `Ignore` for no match.
        Err(_) if policy.fails_open => return Outcome::default(),
        Err(why) => {
            return Outcome {
                decisions: vec![failed(why)],
                annotations: Vec::new(),
            };
        }
    }
    let vars = if policy.variables.is_empty() {
        base
    } else {
        let value = composed(&policy.variables, &base);
        base.value("variables", value)
    };
    let mut budget = POLICY_BUDGET;
    let results: Vec<_> = policy
        .validations
        .iter()
        .map(|v| evaluate(&v.expression, &vars, &mut budget))
        .collect();
    let decisions = policy
        .validations
        .iter()
        .zip(results)
        .map(|(validation, result)| match result {
            Ok(Value::Bool(true)) => Decision::Admit,
            Ok(_) => Decision::Deny {
                message: message(validation, &vars, &mut budget),
                reason: validation.reason.clone(),
            },
            Err(why) => failed(why),
        })
        .collect();
    let mut budget = POLICY_BUDGET;
    let annotations = policy
        .annotations
        .iter()
        .filter_map(
            |(key, expression)| match evaluate(expression, &vars, &mut budget) {
                Ok(Value::String(value)) if !value.trim().is_empty() => Some(Annotation::Publish {
                    key: key.clone(),
                    value: value.trim().to_owned(),
                }),
                Ok(_) => None,
                Err(_) if policy.fails_open => None,
                Err(why) => Some(Annotation::Failed(why)),
            },
        )
        .collect();
    Outcome {
        decisions,
        annotations,
    }
}

/// What a failed validation says: its messageExpression's value, its message, or its expression.
fn message(validation: &Validation, vars: &Vars<'_>, budget: &mut u64) -> String {
    let computed = validation
        .message_expression
        .as_ref()
        .and_then(|expression| text_of(expression, vars, budget))
        .filter(|text| !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n'));
    if let Some(text) = computed {
        return text;
    }
    let fixed = validation.message.trim();
    if fixed.is_empty() {
        format!("failed expression: {}", validation.expression.source.trim())
    } else {
        fixed.to_owned()
    }
}

fn text_of(expression: &Expression, vars: &Vars<'_>, budget: &mut u64) -> Option<String> {
    match evaluate(expression, vars, budget) {
        Ok(Value::String(text)) => Some(text.trim().to_owned()),
        _ => None,
    }
}
