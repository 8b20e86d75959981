//! What is wrong with the rules of a definition: sources that do not compile, transition rules where
//! nothing can be compared, costs that are too high by estimate.
//! Upstream: `apiextensions-apiserver/pkg/apis/apiextensions/validation`, `cel_validation.go`.

use rkind_apimachinery::field::{Error, ErrorList, Path};
use rkind_cel::{CRD_RULE_LIMIT, CRD_TOTAL_LIMIT, schema::Sizes};
use serde_json::Value;

use super::cel::Rule;

/// Bytes that a request may have.
const MAX_REQUEST: u64 = 3 * 1024 * 1024;
/// How many rules are named as the most expensive ones.
const NAMED: usize = 4;
const REASONS: &[&str] = &[
    "FieldValueRequired",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueDuplicate",
];

/// Checks the rules of every version of a definition.
pub(crate) fn check(definition: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("spec").child("versions");
    for (i, version) in definition["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let schema = &version["schema"]["openAPIV3Schema"];
        let place = path.index(i).child("schema").child("openAPIV3Schema");
        let mut walk = Walk {
            errors: &mut errors,
            total: 0,
            costs: Vec::new(),
        };
        walk.node(schema, true, Some(1), None, &place);
        walk.finish(&place);
    }
    errors
}

struct Walk<'e> {
    errors: &'e mut ErrorList,
    total: u64,
    costs: Vec<(u64, Path)>,
}

impl Walk<'_> {
    /// `times`: how often the node can be there; `None` when nothing bounds it. `lost`: where above
    /// old and new can no longer be compared.
    fn node(&mut self, node: &Value, root: bool, times: Option<u64>, lost: Option<&Path>, path: &Path) {
        if !node.is_object() {
            return;
        }
        let rules = node["x-kubernetes-validations"].as_array();
        for (i, rule) in rules.into_iter().flatten().enumerate() {
            let place = path.child("x-kubernetes-validations").index(i);
            self.rule(rule, node, root, times, lost, &place);
        }
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
        let place = path.child("items");
        let keyed = node["x-kubernetes-list-type"] == "map";
        let lost = if keyed { lost } else { lost.or(Some(&place)) };
        self.node(&node["items"], false, many(&node["maxItems"]), lost, &place);
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
        let source = rule["rule"].as_str().unwrap_or_default().trim();
        let message = rule["message"].as_str().unwrap_or_default();
        let breaks = |text: &str| text.contains(['\n', '\r']);
        let at = path.child("rule");
        if source.is_empty() {
            self.errors.push(Error::required(&at, "rule is not specified"));
            return;
        }
        if !message.is_empty() && message.trim().is_empty() {
            let detail = "message must be non-empty if specified";
            self.errors
                .push(Error::invalid(&path.child("message"), message, detail));
        } else if breaks(message.trim()) {
            let detail = "message must not contain line breaks";
            self.errors
                .push(Error::invalid(&path.child("message"), message, detail));
        } else if breaks(source) && message.is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            self.errors.push(Error::required(&path.child("message"), detail));
        }
        let reason = rule["reason"].as_str().unwrap_or_default();
        if !reason.is_empty() && !REASONS.contains(&reason) {
            self.errors
                .push(Error::not_supported(&path.child("reason"), reason, REASONS));
        }
        let compiled = Rule::compile(rule, node, root);
        match &compiled.program {
            Err(why) => self.errors.push(Error::invalid(&at, source, why.as_str())),
            Ok(program) => {
                if compiled.uses_old
                    && let Some(lost) = lost
                {
                    let detail = format!(
                        "oldSelf cannot be used on the uncorrelatable portion of the schema within {lost}"
                    );
                    self.errors.push(Error::invalid(&at, source, detail));
                }
                if !rule["optionalOldSelf"].is_null() && !compiled.uses_old {
                    let detail = "may not be set if oldSelf is not used in rule";
                    let place = path.child("optionalOldSelf");
                    self.errors
                        .push(Error::invalid(&place, rule["optionalOldSelf"].clone(), detail));
                }
                let cost = program.estimated_cost(&Sizes::new(node)).max;
                self.cost(cost, "estimated rule cost", node, times, at);
            }
        }
        match &compiled.explain {
            Some(Err(why)) => {
                let at = path.child("messageExpression");
                self.errors.push(Error::invalid(
                    &at,
                    rule["messageExpression"].clone(),
                    why.as_str(),
                ));
            }
            Some(Ok(program)) => {
                let cost = program.estimated_cost(&Sizes::new(node)).max;
                let at = path.child("messageExpression");
                self.cost(cost, "estimated messageExpression cost", node, times, at);
            }
            None => {}
        }
    }

    fn cost(&mut self, one: u64, what: &str, node: &Value, times: Option<u64>, at: Path) {
        let times = times.unwrap_or_else(|| MAX_REQUEST / (least(node) + 1));
        let cost = one.saturating_mul(times);
        if cost > CRD_RULE_LIMIT {
            self.errors
                .push(Error::forbidden(&at, exceeds(what, cost, CRD_RULE_LIMIT)));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= CRD_TOTAL_LIMIT / 100 {
            self.costs.push((cost, at));
        }
    }

    fn finish(mut self, path: &Path) {
        if self.total <= CRD_TOTAL_LIMIT {
            return;
        }
        self.costs.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        for (_, at) in self.costs.iter().take(NAMED) {
            let detail = "contributed to estimated rule & messageExpression cost total exceeding cost limit for entire OpenAPIv3 schema";
            self.errors.push(Error::forbidden(at, detail));
        }
        let what = "x-kubernetes-validations estimated rule & messageExpression cost total for entire OpenAPIv3 schema";
        self.errors
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
