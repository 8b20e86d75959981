//! JSONPath as kubectl and printer columns write it: what stands at a place in an object.
//!
//! ```text
//! let path = JsonPath::parse(".status.conditions[?(@.type==\"Ready\")].status")?;
//! path.find(&object) -> Vec<&Value>      // in document order; what is not there is left out
//! simple(".spec.replicas") -> ["spec", "replicas"]
//! ```
//! Upstream: `k8s.io/client-go/util/jsonpath`. Not understood: unions of names, arithmetic, templates around
//! a path.

use serde_json::Value;

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Every,
    /// `..`: this value and all below it.
    Deep,
    Slice {
        from: Option<i64>,
        to: Option<i64>,
        step: i64,
    },
    Index(i64),
    Filter(Operand, Option<(Operator, Operand)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    /// Relative to the item.
    Path(JsonPath),
    Literal(Value),
}

/// The names of a path in plain dot notation, such as `.spec.replicas`.
pub fn simple(path: &str) -> Vec<String> {
    path.split('.')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What stands at the names of a [`simple`] path.
pub fn at<'a>(object: &'a Value, names: &[String]) -> Option<&'a Value> {
    names.iter().try_fold(object, |at, name| at.get(name))
}

impl JsonPath {
    /// Parses a path, with or without the braces and the `$` that templates put around it.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<JsonPath, ParseError> {
        let text = text.trim();
        let text = text
            .strip_prefix('{')
            .and_then(|t| t.strip_suffix('}'))
            .unwrap_or(text);
        let text = text.strip_prefix('$').unwrap_or(text);
        let mut parser = Parser { rest: text };
        let path = parser.path()?;
        if parser.rest.is_empty() {
            return Ok(path);
        }
        Err(ParseError(format!("unexpected {:?}", parser.rest)))
    }

    /// All values at this path.
    #[must_use]
    pub fn find<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![object];
        for step in &self.0 {
            let mut next = Vec::new();
            for value in found {
                step.take(value, &mut next);
            }
            found = next;
        }
        found
    }
}

impl Step {
    fn take<'a>(&self, value: &'a Value, out: &mut Vec<&'a Value>) {
        match self {
            Step::Field(name) => out.extend(value.get(name)),
            Step::Every => match value {
                Value::Array(items) => out.extend(items),
                Value::Object(fields) => out.extend(fields.values()),
                _ => {}
            },
            Step::Deep => deep(value, out),
            Step::Index(index) => {
                let Some(items) = value.as_array() else { return };
                let at = if *index < 0 {
                    items.len() as i64 + index
                } else {
                    *index
                };
                out.extend(usize::try_from(at).ok().and_then(|at| items.get(at)));
            }
            Step::Slice { from, to, step } => {
                let Some(items) = value.as_array() else { return };
                let len = items.len() as i64;
                let bound = |given: Option<i64>, default: i64| {
                    given
                        .map_or(default, |n| if n < 0 { len + n } else { n })
                        .clamp(0, len)
                };
                let (from, to) = (bound(*from, 0) as usize, bound(*to, len) as usize);
                if from < to {
                    out.extend(items[from..to].iter().step_by((*step).max(1) as usize));
                }
            }
            Step::Filter(left, right) => {
                let Some(items) = value.as_array() else { return };
                out.extend(items.iter().filter(|item| matches(item, left, right.as_ref())));
            }
        }
    }
}

fn deep<'a>(value: &'a Value, out: &mut Vec<&'a Value>) {
    out.push(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| deep(item, out)),
        Value::Object(fields) => fields.values().for_each(|field| deep(field, out)),
        _ => {}
    }
}

fn matches(item: &Value, left: &Operand, right: Option<&(Operator, Operand)>) -> bool {
    let value = |operand: &Operand| match operand {
        Operand::Path(path) => path.find(item).first().map(|v| (*v).clone()),
        Operand::Literal(value) => Some(value.clone()),
    };
    let Some(left) = value(left) else { return false };
    let Some((operator, right)) = right else {
        return true;
    };
    let Some(right) = value(right) else { return false };
    use std::cmp::Ordering;
    let order = match (&left, &right) {
        (Value::String(a), Value::String(b)) => a.partial_cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.partial_cmp(b),
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        _ => None,
    };
    match (operator, order) {
        (Operator::Equal, order) => order == Some(Ordering::Equal),
        (Operator::Unequal, order) => order != Some(Ordering::Equal),
        (Operator::Less, Some(order)) => order.is_lt(),
        (Operator::LessEqual, Some(order)) => order.is_le(),
        (Operator::Greater, Some(order)) => order.is_gt(),
        (Operator::GreaterEqual, Some(order)) => order.is_ge(),
        (_, None) => false,
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn need(&mut self, token: &str) -> Result<(), ParseError> {
        if self.eat(token) {
            return Ok(());
        }
        Err(ParseError(format!("{token:?} is missing before {:?}", self.rest)))
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn path(&mut self) -> Result<JsonPath, ParseError> {
        let mut steps = Vec::new();
        loop {
            if self.eat("..") {
                steps.push(Step::Deep);
                self.name(&mut steps);
            } else if self.eat(".") {
                self.name(&mut steps);
            } else if self.eat("[") {
                steps.push(self.bracket()?);
            } else if steps.is_empty() && self.rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                // Upstream lets the first dot be left out.
                self.name(&mut steps);
            } else {
                return Ok(JsonPath(steps));
            }
        }
    }

    /// A name up to the next step, `\` taking the character behind it as it is.
    fn name(&mut self, steps: &mut Vec<Step>) {
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => name.extend(chars.next().map(|(_, c)| c)),
                '.' | '[' | ' ' | ')' | ']' | '=' | '!' | '<' | '>' => {
                    end = at;
                    break;
                }
                c => name.push(c),
            }
        }
        self.rest = &self.rest[end..];
        if name == "*" {
            steps.push(Step::Every);
        } else if !name.is_empty() {
            steps.push(Step::Field(name));
        }
    }

    fn bracket(&mut self) -> Result<Step, ParseError> {
        self.blank();
        if self.eat("?(") {
            let step = self.filter()?;
            self.blank();
            self.need(")")?;
            self.need("]")?;
            return Ok(step);
        }
        let step = if self.eat("*") {
            Step::Every
        } else if let Some(text) = self.quoted()? {
            Step::Field(text)
        } else {
            let end = self
                .rest
                .find(']')
                .ok_or_else(|| ParseError("unterminated array".into()))?;
            let inner = self.rest[..end].trim();
            self.rest = &self.rest[end..];
            slice(inner)?
        };
        self.blank();
        self.need("]")?;
        Ok(step)
    }

    fn quoted(&mut self) -> Result<Option<String>, ParseError> {
        let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
            return Ok(None);
        };
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => text.extend(chars.next().map(|(_, c)| c)),
                c if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(Some(text));
                }
                c => text.push(c),
            }
        }
        Err(ParseError("unterminated quoted string".into()))
    }

    fn filter(&mut self) -> Result<Step, ParseError> {
        let left = self.operand()?;
        self.blank();
        let operators = [
            ("==", Operator::Equal),
            ("!=", Operator::Unequal),
            ("<=", Operator::LessEqual),
            (">=", Operator::GreaterEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        for (token, operator) in operators {
            if self.eat(token) {
                let right = self.operand()?;
                return Ok(Step::Filter(left, Some((operator, right))));
            }
        }
        Ok(Step::Filter(left, None))
    }

    fn operand(&mut self) -> Result<Operand, ParseError> {
        self.blank();
        if self.eat("@") {
            return Ok(Operand::Path(self.path()?));
        }
        if let Some(text) = self.quoted()? {
            return Ok(Operand::Literal(text.into()));
        }
        let end = self
            .rest
            .find([')', ' ', '=', '!', '<', '>'])
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        let literal = serde_json::from_str(word).map_err(|_| ParseError(format!("unrecognized {word:?}")))?;
        Ok(Operand::Literal(literal))
    }
}

fn slice(inner: &str) -> Result<Step, ParseError> {
    let number = |text: &str| -> Result<Option<i64>, ParseError> {
        if text.is_empty() {
            return Ok(None);
        }
        let bad = |_| ParseError(format!("invalid array index {inner}"));
        text.trim().parse().map(Some).map_err(bad)
    };
    let parts: Vec<&str> = inner.split(':').collect();
    match parts.as_slice() {
        [one] => number(one)?
            .map(Step::Index)
            .ok_or_else(|| ParseError(format!("invalid array index {inner}"))),
        [from, to] => Ok(Step::Slice {
            from: number(from)?,
            to: number(to)?,
            step: 1,
        }),
        [from, to, step] => Ok(Step::Slice {
            from: number(from)?,
            to: number(to)?,
            step: number(step)?.unwrap_or(1),
        }),
        _ => Err(ParseError(format!("invalid array index {inner}"))),
    }
}

#[cfg(test)]
mod tests;
