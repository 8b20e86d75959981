//! `x-kubernetes-validations`: rules of a schema, compiled once, run for every write; and what they may
//! cost by estimate when a definition is created.
//! Upstream: `apiextensions-apiserver/pkg/apiserver/schema/cel`, KEP-2876.

use std::collections::BTreeMap;

use rkind_apimachinery::field::{Error, ErrorList, Path};
use rkind_cel::{
    CRD_BUDGET, Env, Program, RunError, Type, Value as Cel, Vars,
    schema::{object_type, resource_type},
};
use serde_json::Value;

/// Longest text of a message expression in bytes.
const MAX_MESSAGE: usize = 5 * 1024;
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// The rules of a schema node and of all below it.
pub(crate) struct Rules {
    own: Vec<Rule>,
    /// The node's `type`, which stands for the value where a rule could not be run.
    kind: String,
    list_keys: Option<Vec<(String, Option<Value>)>>,
    atomic: bool,
    items: Option<Box<Rules>>,
    properties: BTreeMap<String, Rules>,
    additional: Option<Box<Rules>>,
}

/// One rule, ready to run.
pub(super) struct Rule {
    pub(super) text: String,
    message: String,
    reason: String,
    field_path: String,
    /// The type of `oldSelf` when the rule wants it to be optional.
    optional: Option<Type>,
    pub(super) uses_old: bool,
    pub(super) program: Result<Program, String>,
    pub(super) explain: Option<Result<Program, String>>,
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The type that rules of a node see as `self`.
fn self_type(node: &Value, root: bool) -> Type {
    if root || node["x-kubernetes-embedded-resource"] == true {
        resource_type(node)
    } else {
        object_type(node)
    }
}

impl Rule {
    pub(super) fn compile(rule: &Value, node: &Value, root: bool) -> Rule {
        let ty = self_type(node, root);
        let optional = rule["optionalOldSelf"] == true;
        let old = if optional {
            Type::optional(ty.clone())
        } else {
            ty.clone()
        };
        let env = Env::new()
            .variable("self", ty.clone())
            .variable("oldSelf", old)
            .build();
        let compile = |source: &str, wanted: &Type, otherwise: &str| match Program::compile(&env, source) {
            Err(errors) => Err(format!("compilation failed: {errors}")),
            Ok(program) if program.output() == wanted => Ok(program),
            Ok(_) => Err(otherwise.to_owned()),
        };
        let source = text(rule, "rule");
        let program = compile(source, &Type::Bool, "cel expression must evaluate to a bool");
        let explanation = text(rule, "messageExpression");
        let explain = (!explanation.is_empty()).then(|| {
            compile(
                explanation,
                &Type::String,
                "messageExpression must evaluate to a string",
            )
        });
        Rule {
            text: source.to_owned(),
            message: text(rule, "message").trim().to_owned(),
            reason: text(rule, "reason").to_owned(),
            field_path: text(rule, "fieldPath").to_owned(),
            uses_old: program.as_ref().is_ok_and(|p| p.reads("oldSelf")),
            optional: optional.then_some(ty),
            program,
            explain,
        }
    }

    /// The rule's message, or the rule itself.
    fn named(&self) -> &str {
        if self.message.is_empty() {
            self.text.trim()
        } else {
            &self.message
        }
    }
}

impl Rules {
    /// Of a structural schema (`openAPIV3Schema`); `None` when it has no rules.
    pub(crate) fn compile(schema: &Value) -> Option<Rules> {
        Self::node(schema, true)
    }

    fn node(node: &Value, root: bool) -> Option<Rules> {
        let below = |child: &Value| child.is_object().then(|| Self::node(child, false)).flatten();
        let own: Vec<Rule> = node["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|rule| Rule::compile(rule, node, root))
            .collect();
        let properties: BTreeMap<String, Rules> = node["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, child)| Some((name.clone(), below(child)?)))
            .collect();
        let items = below(&node["items"]).map(Box::new);
        let additional = below(&node["additionalProperties"]).map(Box::new);
        if own.is_empty() && properties.is_empty() && items.is_none() && additional.is_none() {
            return None;
        }
        let list_keys = (node["x-kubernetes-list-type"] == "map").then(|| {
            let keys = node["x-kubernetes-list-map-keys"].as_array();
            keys.into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(|key| {
                    let default = &node["items"]["properties"][key]["default"];
                    (key.to_owned(), (!default.is_null()).then(|| default.clone()))
                })
                .collect()
        });
        Some(Rules {
            own,
            kind: text(node, "type").to_owned(),
            list_keys,
            atomic: node["x-kubernetes-map-type"] == "atomic",
            items,
            properties,
            additional,
        })
    }

    /// Runs every rule over an object; `old` is what an update replaces.
    pub(crate) fn validate(&self, new: &Value, old: Option<&Value>) -> ErrorList {
        let mut run = Run {
            budget: CRD_BUDGET,
            errors: ErrorList::new(),
        };
        run.node(self, "", new, old, false);
        run.errors
    }

    /// The item of a keyed list that was this one.
    fn before<'a>(&self, item: &Value, old: Option<&'a Value>) -> Option<&'a Value> {
        let keys = self.list_keys.as_ref()?;
        let of = |item: &Value| -> Vec<Option<Value>> {
            keys.iter()
                .map(|(key, default)| item.get(key).cloned().or_else(|| default.clone()))
                .collect()
        };
        let wanted = of(item);
        old?.as_array()?.iter().find(|before| of(before) == wanted)
    }
}

struct Run {
    budget: u64,
    errors: ErrorList,
}

fn path(at: &str) -> Path {
    Path::new(if at.is_empty() { "<nil>" } else { at })
}

fn child(at: &str, name: &str) -> String {
    if at.is_empty() {
        name.to_owned()
    } else {
        format!("{at}.{name}")
    }
}

impl Run {
    /// Runs a node's rules and those below it; `same`: an ancestor is as it was. Gives whether to go on.
    fn node(&mut self, rules: &Rules, at: &str, new: &Value, old: Option<&Value>, same: bool) -> bool {
        if new.is_null() {
            return true;
        }
        let old = old.filter(|old| !old.is_null());
        let same = old.map_or(same, |old| old == new);
        for rule in &rules.own {
            if !self.rule(rules, rule, at, new, old, same) {
                return false;
            }
        }
        match new {
            Value::Array(items) => {
                let Some(below) = &rules.items else { return true };
                items.iter().enumerate().all(|(i, item)| {
                    let before = rules.before(item, old);
                    self.node(below, &format!("{at}[{i}]"), item, before, same)
                })
            }
            Value::Object(fields) => fields.iter().all(|(name, value)| {
                let before = old.filter(|_| !rules.atomic).and_then(|old| old.get(name));
                if let Some(below) = rules.properties.get(name) {
                    return self.node(below, &child(at, name), value, before, same);
                }
                match &rules.additional {
                    Some(below) => self.node(below, &format!("{at}[{name}]"), value, before, same),
                    None => true,
                }
            }),
            _ => true,
        }
    }

    fn rule(
        &mut self,
        rules: &Rules,
        rule: &Rule,
        at: &str,
        new: &Value,
        old: Option<&Value>,
        same: bool,
    ) -> bool {
        let invalid = |errors: &mut ErrorList, detail: String| {
            errors.push(Error::invalid(&path(at), rules.kind.as_str(), detail))
        };
        let program = match &rule.program {
            Ok(program) => program,
            Err(why) => {
                invalid(&mut self.errors, format!("rule compile error: {why}"));
                return true;
            }
        };
        if rule.uses_old && old.is_none() && rule.optional.is_none() {
            return true;
        }
        let mut vars = Vars::new().json("self", new);
        vars = match (&rule.optional, old) {
            (Some(ty), old) => vars.value("oldSelf", Cel::optional(old.map(|old| Cel::from_json(old, ty)))),
            (None, Some(old)) => vars.json("oldSelf", old),
            (None, None) => vars,
        };
        match program.run(&vars, &mut self.budget) {
            Ok(Cel::Bool(true)) => return true,
            Ok(_) => {}
            Err(RunError::Budget) => {
                invalid(&mut self.errors, OUT_OF_BUDGET.to_owned());
                return false;
            }
            Err(error @ RunError::CallLimit) => {
                invalid(
                    &mut self.errors,
                    format!(
                        "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                        rule.named()
                    ),
                );
                return false;
            }
            Err(error) => {
                let why = error.to_string();
                invalid(
                    &mut self.errors,
                    if why.starts_with("no such overload") {
                        format!(
                            "'{why}': call arguments did not match a supported operator, function or macro signature for rule: {}",
                            rule.named()
                        )
                    } else {
                        format!("{why} evaluating rule: {}", rule.named())
                    },
                );
                return true;
            }
        }
        let mut detail = None;
        if let Some(Ok(explain)) = &rule.explain {
            match explain.run(&vars, &mut self.budget) {
                Ok(value) => detail = said(&value),
                Err(RunError::Budget) => {
                    invalid(&mut self.errors, "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".into());
                    return false;
                }
                Err(error) => tracing::debug!(%error, rule = %rule.text, "a message expression failed"),
            }
        }
        // What an update leaves as it was may stay so (KEP-4008).
        if same && !rule.uses_old {
            return true;
        }
        let detail = detail.unwrap_or_else(|| {
            if rule.message.is_empty() {
                format!("failed rule: {}", rule.named())
            } else {
                rule.message.clone()
            }
        });
        let place = path(&below(at, &rule.field_path));
        let shown = !matches!(rules.kind.as_str(), "object" | "array");
        self.errors.push(match rule.reason.as_str() {
            "FieldValueForbidden" => Error::forbidden(&place, detail),
            "FieldValueRequired" => Error::required(&place, detail),
            "FieldValueDuplicate" => Error::duplicate(&place, rules.kind.as_str()),
            _ if shown => Error::invalid(&place, new.clone(), detail),
            _ => Error::invalid_bare(&place, detail),
        });
        true
    }
}

/// What a message expression says; `None` when it is no message.
fn said(value: &Cel<'_>) -> Option<String> {
    let json = value.to_json()?;
    let message = json.as_str()?.trim();
    (!message.is_empty() && message.len() <= MAX_MESSAGE && !message.contains('\n'))
        .then(|| message.to_owned())
}

/// A rule's `fieldPath` (`.a.b`, `.a['b.c']`) below the place of its node.
fn below(at: &str, field_path: &str) -> String {
    if field_path.is_empty() {
        return at.to_owned();
    }
    let mut out = at.to_owned();
    let mut rest = field_path;
    while !rest.is_empty() {
        let name;
        if let Some(quoted) = rest.strip_prefix("['") {
            let end = quoted.find("']").unwrap_or(quoted.len());
            name = quoted[..end].replace("\\'", "'");
            rest = quoted.get(end + 2..).unwrap_or_default();
        } else {
            let plain = rest.trim_start_matches('.');
            let end = plain.find(['.', '[']).unwrap_or(plain.len());
            name = plain[..end].to_owned();
            rest = &plain[end..];
            if name.is_empty() {
                break;
            }
        }
        out = child(&out, &name);
    }
    out
}

#[cfg(test)]
mod tests;
