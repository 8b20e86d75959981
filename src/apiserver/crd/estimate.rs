//! What is wrong with the rules of a definition: sources that do not compile, transition rules where
//! nothing can be compared, costs that are too high by estimate.
//! Upstream: `apiextensions-apiserver/pkg/apis/apiextensions/validation`, `cel_validation.go`.

use rkind_apimachinery::field::{Error, ErrorList, Path};
use rkind_apimachinery::validation;
use rkind_cel::{CRD_RULE_LIMIT, CRD_TOTAL_LIMIT, schema::Sizes};
use serde_json::{Value, json};

use super::cel::Rule;

/// Bytes that a request may have.
const MAX_REQUEST: u64 = 3 * 1024 * 1024;
/// How many rules are named as the most expensive ones.
const NAMED: usize = 4;
const REASONS: &[&str] = &[
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// Checks the rules of every schema of a definition. Those of a schema that is wrong otherwise are not
/// compiled.
pub(crate) fn check(definition: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    for place in validation::definition_schemas(definition) {
        let mut walk = Walk {
            plain: ErrorList::new(),
            compiled: ErrorList::new(),
            is_sound: has_rules(place.schema) && place.is_sound(),
            total: 0,
            costs: Vec::new(),
        };
        walk.node(place.schema, true, Some(1), None, &place.path);
        walk.finish(&place.path);
        errors.extend(walk.plain);
        errors.extend(walk.compiled);
    }
    errors
}

fn has_rules(node: &Value) -> bool {
    match node {
        Value::Object(fields) => fields
            .iter()
            .any(|(name, v)| name == "x-kubernetes-validations" || has_rules(v)),
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}

/// A rule as upstream's messages show it: the fields of its internal type.
fn shown(rule: &Value) -> Value {
    let text = |field: &str| rule[field].as_str().unwrap_or_default();
    json!({
        "Rule": text("rule"),
        "Message": text("message"),
        "MessageExpression": text("messageExpression"),
        "Reason": rule["reason"],
        "FieldPath": text("fieldPath"),
        "OptionalOldSelf": rule["optionalOldSelf"],
    })
}

struct Walk {
    /// What is wrong with rules before they are compiled.
    plain: ErrorList,
    compiled: ErrorList,
    is_sound: bool,
    total: u64,
    costs: Vec<(u64, Path)>,
}

impl Walk {
    /// `times`: how often the node can be there; `None` when nothing bounds it. `lost`: where above
    /// old and new can no longer be compared.
    fn node(&mut self, node: &Value, root: bool, times: Option<u64>, lost: Option<&Path>, path: &Path) {
        if !node.is_object() {
            return;
        }
        let before = self.plain.len();
        let atomic = node["x-kubernetes-map-type"] == "atomic";
        let own = if atomic { lost.or(Some(path)) } else { lost };
        for (name, child) in node["properties"].as_object().into_iter().flatten() {
            self.node(child, false, times, own, &path.child("properties").key(name));
        }
        let many = |limit: &Value| match (times, limit.as_u64()) {
            (Some(times), Some(limit)) => Some(times.saturating_mul(limit)),
            _ => None,
        };
        let place = path.child("additionalProperties");
        self.node(
            &node["additionalProperties"],
            false,
            many(&node["maxProperties"]),
            own,
            &place,
        );
        let keyed = node["x-kubernetes-list-type"] == "map";
        let within = if keyed { lost } else { lost.or(Some(path)) };
        let place = path.child("items");
        self.node(&node["items"], false, many(&node["maxItems"]), within, &place);

        let rules = node["x-kubernetes-validations"].as_array();
        let places = || (0..).map(|i| path.child("x-kubernetes-validations").index(i));
        for (rule, place) in rules.into_iter().flatten().zip(places()) {
            self.rule_itself(rule, node, &place);
        }
        // Nothing is compiled where something is wrong with the rules here or below.
        if !self.is_sound || self.plain.len() > before {
            return;
        }
        for (rule, place) in rules.into_iter().flatten().zip(places()) {
            self.rule(rule, node, root, times, lost, &place);
        }
    }

    /// What is wrong with a rule whatever it says.
    fn rule_itself(&mut self, rule: &Value, node: &Value, path: &Path) {
        let text = |field: &str| rule[field].as_str().unwrap_or_default();
        let (source, message) = (text("rule").trim(), text("message"));
        let breaks = |text: &str| text.contains(['\n', '\r']);
        let errors = &mut self.plain;
        let place = path.child("message");
        if source.is_empty() {
            errors.push(Error::required(&path.child("rule"), "rule is not specified"));
        } else if !message.is_empty() && message.trim().is_empty() {
            errors.push(Error::invalid(&place, message, "must be non-empty if specified"));
        } else if breaks(message.trim()) {
            errors.push(Error::invalid(&place, message, "must not contain line breaks"));
        } else if breaks(source) && message.is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            errors.push(Error::required(&place, detail));
        }
        let expression = text("messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            let detail = "messageExpression must be non-empty if specified";
            errors.push(Error::required(&path.child("messageExpression"), detail));
        }
        if let Some(reason) = rule["reason"].as_str()
            && !REASONS.contains(&reason)
        {
            errors.push(Error::not_supported(&path.child("reason"), reason, REASONS));
        }
        let field = text("fieldPath");
        if field.is_empty() {
            return;
        }
        let place = path.child("fieldPath");
        for (is_wrong, detail) in [
            (field.trim().is_empty(), "must be non-empty if specified"),
            (breaks(field), "must not contain line breaks"),
            (!validation::is_field_path(field, node), "must be a valid path"),
        ] {
            if is_wrong {
                errors.push(Error::invalid(&place, field, detail));
            }
        }
    }

    fn rule(
        &mut self,
        rule: &Value,
        node: &Value,
        root: bool,
        times: Option<u64>,
        lost: Option<&Path>,
        path: &Path,
    ) {
        let at = path.child("rule");
        let compiled = Rule::compile(rule, node, root);
        match &compiled.program {
            Err(why) => self.compiled.push(Error::invalid(&at, shown(rule), why.as_str())),
            Ok(program) => {
                let cost = program.estimated_cost(&Sizes::new(node)).max;
                self.cost(cost, "estimated rule cost", node, times, at.clone());
            }
        }
        match &compiled.explain {
            Some(Err(why)) => {
                let at = path.child("messageExpression");
                self.compiled.push(Error::invalid(&at, shown(rule), why.as_str()));
            }
            Some(Ok(program)) => {
                let cost = program.estimated_cost(&Sizes::new(node)).max;
                let at = path.child("messageExpression");
                self.cost(cost, "estimated messageExpression cost", node, times, at);
            }
            None => {}
        }
        if compiled.uses_old {
            if let Some(lost) = lost {
                let detail = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {lost}"
                );
                self.compiled
                    .push(Error::invalid(&at, rule["rule"].clone(), detail));
            }
        } else if !rule["optionalOldSelf"].is_null() {
            let detail = "may not be set if oldSelf is not used in rule";
            let place = path.child("optionalOldSelf");
            self.compiled
                .push(Error::invalid(&place, rule["optionalOldSelf"].clone(), detail));
        }
    }

    fn cost(&mut self, one: u64, what: &str, node: &Value, times: Option<u64>, at: Path) {
        let times = times.unwrap_or_else(|| MAX_REQUEST / (least(node) + 1));
        let cost = one.saturating_mul(times);
        if cost > CRD_RULE_LIMIT {
            self.compiled
                .push(Error::forbidden(&at, exceeds(what, cost, CRD_RULE_LIMIT)));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= CRD_TOTAL_LIMIT / 100 {
            self.costs.push((cost, at));
        }
    }

    fn finish(&mut self, path: &Path) {
        if self.total <= CRD_TOTAL_LIMIT {
            return;
        }
        self.costs.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        for (_, at) in self.costs.iter().take(NAMED) {
            let detail =
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            self.compiled.push(Error::forbidden(at, detail));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        self.compiled
            .push(Error::forbidden(path, exceeds(what, self.total, CRD_TOTAL_LIMIT)));
    }
}

fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// The fewest bytes that a value of a node can be written in.
fn least(node: &Value) -> u64 {
    if node["x-kubernetes-int-or-string"] == true {
        return 1;
    }
    match node["type"].as_str().unwrap_or_default() {
        "object" => {
            let required = node["required"].as_array().into_iter().flatten();
            let fields = required.filter_map(Value::as_str).filter_map(|name| {
                let child = node["properties"].get(name)?;
                child["default"]
                    .is_null()
                    .then(|| name.len() as u64 + 4 + least(child))
            });
            2 + fields.sum::<u64>()
        }
        "boolean" => 4,
        "integer" | "number" => 1,
        // Quotes, brackets.
        _ => 2,
    }
}
