//! What a read of many selects, as authorizers see it: each requirement narrows what is asked for, so one
//! that cannot be read is left out. KEP-4601.

use rkind_apimachinery::selector::{FieldSelector, FieldTerm, LabelSelector, Operator, Requirement};
use serde_json::{Value, json};

use crate::machinery::strings;

/// What could be read of one selector.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Read<T> {
    requirements: Vec<T>,
    /// Whether some of it was not understood.
    broken: bool,
}

impl<T> Default for Read<T> {
    fn default() -> Self {
        Read {
            requirements: Vec::new(),
            broken: false,
        }
    }
}

impl<T> Read<T> {
    /// Of a text; empty for none.
    fn text(text: &str, parse: impl Fn(&str) -> Option<Vec<T>>) -> Self {
        let parsed = if text.is_empty() {
            Some(Vec::new())
        } else {
            parse(text)
        };
        Read {
            broken: parsed.is_none(),
            requirements: parsed.unwrap_or_default(),
        }
    }

    /// Of a review's selector: a text or a list.
    fn review(
        selector: &Value,
        parse: impl Fn(&str) -> Option<Vec<T>>,
        one: impl Fn(&Value) -> Option<T>,
    ) -> Self {
        let mut read = Read::text(selector["rawSelector"].as_str().unwrap_or_default(), parse);
        for requirement in selector["requirements"].as_array().into_iter().flatten() {
            match one(requirement) {
                Some(requirement) => read.requirements.push(requirement),
                None => read.broken = true,
            }
        }
        read
    }
}

/// The requirements of a request or of a review's `resourceAttributes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selectors {
    fields: Read<FieldTerm>,
    labels: Read<Requirement>,
}

impl Selectors {
    /// Of a query's `fieldSelector` and `labelSelector`; empty for none.
    pub(crate) fn of_query(fields: &str, labels: &str) -> Selectors {
        Selectors {
            fields: Read::text(fields, field_terms),
            labels: Read::text(labels, label_requirements),
        }
    }

    /// Of a valid `ResourceAttributes`.
    pub(crate) fn of_review(attributes: &Value) -> Selectors {
        Selectors {
            fields: Read::review(&attributes["fieldSelector"], field_terms, field_term),
            labels: Read::review(
                &attributes["labelSelector"],
                label_requirements,
                label_requirement,
            ),
        }
    }

    /// Whether only objects with exactly this value of a field are asked for.
    pub(crate) fn select(&self, field: &str, value: &str) -> bool {
        let exact = |term: &FieldTerm| !term.negated && term.field == field && term.value == value;
        self.fields.requirements.iter().any(exact)
    }

    /// What a review says about requirements that were left out.
    pub(crate) fn errors(&self) -> impl Iterator<Item = String> {
        let (fields, labels) = (&self.fields, &self.labels);
        let kinds = [
            ("fieldSelector", fields.broken, fields.requirements.is_empty()),
            ("labelSelector", labels.broken, labels.requirements.is_empty()),
        ];
        kinds
            .into_iter()
            .filter(|(_, broken, _)| *broken)
            .map(|(name, _, all)| {
                let part = if all { "" } else { "partially " };
                format!("spec.resourceAttributes.{name} {part}ignored due to parse error")
            })
    }

    /// Writes them into a review's `resourceAttributes`.
    pub(crate) fn write(&self, attributes: &mut Value) {
        let fields = self.fields.requirements.iter().map(|term| {
            let operator = if term.negated { "NotIn" } else { "In" };
            json!({"key": term.field, "operator": operator, "values": [term.value]})
        });
        let labels = self.labels.requirements.iter().filter_map(|one| {
            let operator = match one.operator {
                Operator::In | Operator::Equals | Operator::DoubleEquals => "In",
                Operator::NotIn | Operator::NotEquals => "NotIn",
                Operator::Exists => return Some(json!({"key": one.key, "operator": "Exists"})),
                Operator::DoesNotExist => return Some(json!({"key": one.key, "operator": "DoesNotExist"})),
                // The API has no such operators.
                Operator::GreaterThan | Operator::LessThan => return None,
            };
            Some(json!({"key": one.key, "operator": operator, "values": one.values}))
        });
        let (fields, labels): (Vec<Value>, Vec<Value>) = (fields.collect(), labels.collect());
        for (name, requirements) in [("fieldSelector", fields), ("labelSelector", labels)] {
            if !requirements.is_empty() {
                attributes[name] = json!({"requirements": requirements});
            }
        }
    }
}

fn field_terms(text: &str) -> Option<Vec<FieldTerm>> {
    Some(FieldSelector::parse(text).ok()?.terms().to_vec())
}

fn label_requirements(text: &str) -> Option<Vec<Requirement>> {
    Some(LabelSelector::parse(text).ok()?.requirements().to_vec())
}

/// Fields are compared with one value only.
fn field_term(requirement: &Value) -> Option<FieldTerm> {
    let negated = match requirement["operator"].as_str()? {
        "In" => false,
        "NotIn" => true,
        _ => return None,
    };
    let values: [String; 1] = strings(&requirement["values"]).try_into().ok()?;
    let [value] = values;
    Some(FieldTerm {
        field: requirement["key"].as_str()?.to_owned(),
        value,
        negated,
    })
}

fn label_requirement(requirement: &Value) -> Option<Requirement> {
    let operator = match requirement["operator"].as_str()? {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        _ => return None,
    };
    Requirement::new(
        requirement["key"].as_str()?,
        operator,
        strings(&requirement["values"]),
    )
    .ok()
}
