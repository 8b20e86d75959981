//! Label selectors: `metav1.LabelSelector`, plain maps and the string form, matched on labels.
//!
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use thiserror::Error;

/// A selector that can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectorError {
    /// `matchExpressions[].operator` is none of In, NotIn, Exists, DoesNotExist.
    #[error("{0:?} is not a valid label selector operator")]
    Operator(String),
    /// In and NotIn need values, Exists and DoesNotExist must have none.
    #[error("label selector requirement on {key:?}: operator {operator} with {values} values")]
    Values {
        /// The label.
        key: String,
        /// The operator.
        operator: &'static str,
        /// How many values were given.
        values: usize,
    },
    /// The string form does not parse.
    #[error("unable to parse label selector requirement {0:?}")]
    Syntax(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Requirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Self::Exists(key) => labels.contains_key(key),
            Self::Absent(key) => !labels.contains_key(key),
        }
    }
}

/// A parsed selector: all requirements must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// `None`: matches nothing.
    requirements: Option<Vec<Requirement>>,
}

impl Selector {
    /// Matches every object.
    pub fn everything() -> Self {
        Self {
            requirements: Some(Vec::new()),
        }
    }

    /// Matches no object.
    pub fn nothing() -> Self {
        Self { requirements: None }
    }

    /// Whether there is no requirement at all, so that everything matches.
    pub fn is_everything(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    /// From the API form: an absent selector matches nothing, an empty one everything.
    ///
    /// # Errors
    /// An operator that doesn't exist or that doesn't fit its values.
    pub fn from_api(selector: Option<&LabelSelector>) -> Result<Self, SelectorError> {
        let Some(selector) = selector else {
            return Ok(Self::nothing());
        };
        let mut requirements: Vec<Requirement> = Self::equalities(selector.match_labels.as_ref());
        for expression in selector.match_expressions.iter().flatten() {
            let key = expression.key.clone();
            let values = expression.values.clone().unwrap_or_default();
            let count = values.len();
            let wrong = |operator| SelectorError::Values {
                key: key.clone(),
                operator,
                values: count,
            };
            requirements.push(match expression.operator.as_str() {
                "In" if count > 0 => Requirement::In(key, values),
                "NotIn" if count > 0 => Requirement::NotIn(key, values),
                "Exists" if count == 0 => Requirement::Exists(key),
                "DoesNotExist" if count == 0 => Requirement::Absent(key),
                "In" => return Err(wrong("In")),
                "NotIn" => return Err(wrong("NotIn")),
                "Exists" => return Err(wrong("Exists")),
                "DoesNotExist" => return Err(wrong("DoesNotExist")),
                other => return Err(SelectorError::Operator(other.to_owned())),
            });
        }
        Ok(Self {
            requirements: Some(requirements),
        })
    }

    /// From a plain map (Services, ReplicationControllers); an absent or empty map matches everything.
    pub fn from_map(labels: Option<&BTreeMap<String, String>>) -> Self {
        Self {
            requirements: Some(Self::equalities(labels)),
        }
    }

    fn equalities(labels: Option<&BTreeMap<String, String>>) -> Vec<Requirement> {
        labels
            .into_iter()
            .flatten()
            .map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()]))
            .collect()
    }

    /// From the string form, such as `app=web,tier in (a,b),!legacy`.
    ///
    /// # Errors
    /// The requirement that does not parse.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for part in split_requirements(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            requirements.push(parse_requirement(part).ok_or_else(|| SelectorError::Syntax(part.to_owned()))?);
        }
        Ok(Self {
            requirements: Some(requirements),
        })
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let labels = labels.unwrap_or(&NONE);
        self.requirements
            .as_ref()
            .is_some_and(|all| all.iter().all(|r| r.matches(labels)))
    }
}

impl fmt::Display for Selector {
    /// The string form, as `status.selector` of the scale subresource holds it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().flatten().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::In(key, values) if values.len() == 1 => write!(f, "{key}={}", values[0])?,
                Requirement::In(key, values) => write!(f, "{key} in ({})", values.join(","))?,
                Requirement::NotIn(key, values) if values.len() == 1 => write!(f, "{key}!={}", values[0])?,
                Requirement::NotIn(key, values) => write!(f, "{key} notin ({})", values.join(","))?,
                Requirement::Exists(key) => f.write_str(key)?,
                Requirement::Absent(key) => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

/// Splits at commas outside of parentheses.
fn split_requirements(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_requirement(part: &str) -> Option<Requirement> {
    let word = |s: &str| {
        let s = s.trim();
        let ok = !s.is_empty() && !s.contains(|c: char| c.is_whitespace() || "=!(),".contains(c));
        ok.then(|| s.to_owned())
    };
    let value = |s: &str| {
        if s.trim().is_empty() {
            Some(String::new())
        } else {
            word(s)
        }
    };
    if let Some(key) = part.strip_prefix('!') {
        return Some(Requirement::Absent(word(key)?));
    }
    if let Some((key, v)) = part.split_once("!=") {
        return Some(Requirement::NotIn(word(key)?, vec![value(v)?]));
    }
    if let Some((key, v)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Requirement::In(word(key)?, vec![value(v)?]));
    }
    if let Some((head, list)) = part.split_once('(') {
        let values: Option<Vec<String>> = list.trim_end().strip_suffix(')')?.split(',').map(value).collect();
        let mut words = head.split_whitespace();
        let (key, operator) = (words.next()?, words.next()?);
        return match (operator, words.next()) {
            ("in", None) => Some(Requirement::In(word(key)?, values?)),
            ("notin", None) => Some(Requirement::NotIn(word(key)?, values?)),
            _ => None,
        };
    }
    Some(Requirement::Exists(word(part)?))
}

#[cfg(test)]
mod tests;
