//! Conditions in CEL that a request must meet before a webhook or a policy looks at it.
//! Upstream: `k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions`.

use std::sync::LazyLock;

use rkind_apimachinery::{
    field::{Error, ErrorList, Path},
    names,
};
use rkind_cel::{
    Env, MATCH_CONDITIONS_BUDGET, Program, Type, Vars,
    authz::{Answer, Authorizer, Authz, Question},
    request::match_conditions,
    value::Value as Outcome,
};
use serde_json::Value;

use super::Request;
use crate::{
    authz::{Attributes, selectors::Selectors},
    catalog::Def,
    user::UserInfo,
};

/// Conditions of one webhook or policy at most.
const MOST: usize = 64;

static ENV: LazyLock<Env> = LazyLock::new(match_conditions);

/// Compiled conditions.
#[derive(Default)]
pub(crate) struct Conditions(Vec<Condition>);

struct Condition {
    source: String,
    /// The error is what its evaluation fails with.
    program: Result<Program, String>,
}

/// What conditions say of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Match {
    Yes,
    No,
    /// At least one failed, and none said no.
    Failed(String),
}

impl Conditions {
    /// Compiles a `matchConditions` list.
    pub(crate) fn compile(list: &Value) -> Self {
        let sources = list.as_array().into_iter().flatten();
        let conditions = sources.map(|condition| {
            let source = condition["expression"].as_str().unwrap_or_default().to_owned();
            let program = Program::compile(&ENV, &source).map_err(|e| format!("compilation error: {e}"));
            Condition { source, program }
        });
        Conditions(conditions.collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Judges a request, with its objects in the version of `def`.
    pub(crate) fn judge(&self, request: &Request<'_>, def: &Def) -> Match {
        let (object, old) = request.objects_in(def);
        let mut asked = request.admission_request("", def, Value::Null, Value::Null);
        if let Some(map) = asked.as_object_mut() {
            for field in ["uid", "object", "oldObject"] {
                map.remove(field);
            }
        }
        let asker = Asker::of(request);
        let vars = Vars::new()
            .json("object", &object)
            .json("oldObject", &old)
            .json("request", &asked)
            .value("authorizer", Authz::authorizer(&asker))
            .value(
                "authorizer.requestResource",
                Authz::request_resource(&asker, asker.own(request)),
            );
        let mut budget = MATCH_CONDITIONS_BUDGET;
        let mut failed = Vec::new();
        for condition in &self.0 {
            let outcome = match &condition.program {
                Err(why) => Err(why.clone()),
                Ok(program) => program
                    .run(&vars, &mut budget)
                    .map_err(|e| format!("expression '{}' resulted in error: {e}", condition.source)),
            };
            match outcome {
                Ok(Outcome::Bool(true)) => {}
                Ok(_) => return Match::No,
                Err(why) => failed.push(why),
            }
        }
        match failed.as_slice() {
            [] => Match::Yes,
            [one] => Match::Failed(one.clone()),
            many => Match::Failed(format!("[{}]", many.join(", "))),
        }
    }
}

/// Lets an expression ask what a request's user may do.
pub(crate) struct Asker<'a> {
    authorizer: &'a crate::authz::Authorizer,
    user: &'a UserInfo,
}

impl<'a> Asker<'a> {
    pub(crate) fn of(request: &Request<'a>) -> Self {
        Asker {
            authorizer: &request.core.authorizer,
            user: request.user,
        }
    }

    /// The question whether the user may do something with what the request is for.
    pub(crate) fn own(&self, request: &Request<'_>) -> Question {
        Question {
            group: request.def.group.to_owned(),
            resource: request.def.resource.to_owned(),
            subresource: request.sub.to_owned(),
            namespace: request.namespace.to_owned(),
            name: request.name.to_owned(),
            ..Default::default()
        }
    }
}

impl Authorizer for Asker<'_> {
    fn authorize(&self, question: &Question) -> Answer {
        let account = question.service_account.as_ref().map(|(namespace, name)| {
            UserInfo::new(
                format!("system:serviceaccount:{namespace}:{name}"),
                &[
                    "system:serviceaccounts",
                    &format!("system:serviceaccounts:{namespace}"),
                ],
            )
        });
        let wanted = Attributes {
            verb: question.verb.clone(),
            namespace: question.namespace.clone(),
            group: question.group.clone(),
            version: "*".into(),
            resource: question.resource.clone(),
            subresource: question.subresource.clone(),
            name: question.name.clone(),
            path: question.path.clone().unwrap_or_default(),
            is_resource: question.path.is_none(),
            selectors: Selectors::of_query(
                question.field_selector.as_deref().unwrap_or_default(),
                question.label_selector.as_deref().unwrap_or_default(),
            ),
        };
        let decision = self
            .authorizer
            .decide_here(account.as_ref().unwrap_or(self.user), &wanted);
        Answer {
            allowed: decision.allowed(),
            reason: decision.reason().to_owned(),
            error: None,
        }
    }
}

/// Checks the conditions of every webhook of a configuration. What stood in `old` with the same
/// expression is not compiled again: it may be from another version.
pub(crate) fn check_webhooks(object: &Value, old: Option<&Value>) -> ErrorList {
    let mut errors = ErrorList::new();
    let hooks = |object: &Value| object["webhooks"].as_array().cloned().unwrap_or_default();
    let known: Vec<String> = old
        .map(hooks)
        .unwrap_or_default()
        .iter()
        .flat_map(|hook| hook["matchConditions"].as_array().cloned().unwrap_or_default())
        .filter_map(|condition| condition["expression"].as_str().map(str::to_owned))
        .collect();
    for (i, hook) in hooks(object).iter().enumerate() {
        let path = Path::new("webhooks").index(i).child("matchConditions");
        check(&hook["matchConditions"], &path, &known, &mut errors);
    }
    errors
}

/// Checks one `matchConditions` list; expressions in `known` are taken as they are.
pub(crate) fn check(list: &Value, path: &Path, known: &[String], errors: &mut ErrorList) {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    if list.len() > MOST {
        errors.push(Error::too_many(path, list.len(), MOST));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (i, condition) in list.iter().enumerate() {
        let path = path.index(i);
        let whole = condition["expression"].as_str().unwrap_or_default();
        let expression = whole.trim();
        let at = path.child("expression");
        if expression.is_empty() {
            errors.push(Error::required(&at, ""));
        } else if !known.iter().any(|known| known == whole) {
            match Program::compile(&ENV, expression) {
                Err(why) => errors.push(Error::invalid(
                    &at,
                    expression,
                    format!("compilation failed: {why}"),
                )),
                Ok(program) if !matches!(program.output(), Type::Bool | Type::Dyn) => {
                    errors.push(Error::invalid(&at, expression, "must evaluate to bool"));
                }
                Ok(_) => {}
            }
        }
        let name = condition["name"].as_str().unwrap_or_default();
        let at = path.child("name");
        if name.is_empty() {
            errors.push(Error::required(&at, ""));
        } else {
            errors.invalid_each(&at, name, names::qualified_name(name));
            if seen.contains(&name) {
                errors.push(Error::duplicate(&at, name));
            }
            seen.push(name);
        }
    }
}
