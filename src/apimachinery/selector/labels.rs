//! Label selectors: the string grammar, the `metav1.LabelSelector` form,
//! matching and printing.

use std::fmt;

use serde_json::{Map, Value};

use super::SelectorError;
use crate::field::{Error, ErrorList, Path};
use crate::names;

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One term of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    /// Sorted, without repetitions.
    pub values: Vec<String>,
}

/// A conjunction of requirements; without any it matches everything, except
/// when made from an absent `metav1.LabelSelector`, which matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl Requirement {
    /// Checks key and values as upstream's `NewRequirement`.
    ///
    /// # Errors
    /// The aggregated field errors.
    pub fn new(key: &str, operator: Operator, mut values: Vec<String>) -> Result<Self, SelectorError> {
        let mut errs = ErrorList::new();
        let msgs = names::qualified_name(key);
        if !msgs.is_empty() {
            errs.push(Error::invalid(&Path::new("key"), key, msgs.join("; ")));
        }
        let path = Path::new("values");
        let all = || Value::from(values.clone());
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => errs.push(Error::invalid(
                &path,
                all(),
                "for 'in', 'notin' operators, values set can't be empty",
            )),
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
                errs.push(Error::invalid(
                    &path,
                    all(),
                    "exact-match compatibility requires one single value",
                ));
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => errs.push(Error::invalid(
                &path,
                all(),
                "values set must be empty for exists and does not exist",
            )),
            Operator::GreaterThan | Operator::LessThan => {
                if values.len() != 1 {
                    errs.push(Error::invalid(
                        &path,
                        all(),
                        "for 'Gt', 'Lt' operators, exactly one value is required",
                    ));
                }
                for (i, v) in values.iter().enumerate() {
                    if v.parse::<i64>().is_err() {
                        errs.push(Error::invalid(
                            &path.index(i),
                            v.as_str(),
                            "for 'Gt', 'Lt' operators, the value must be an integer",
                        ));
                    }
                }
            }
            _ => {}
        }
        for (i, v) in values.iter().enumerate() {
            let msgs = names::label_value(v);
            if !msgs.is_empty() {
                errs.push(Error::invalid(
                    &path.index(i).key(key),
                    v.as_str(),
                    msgs.join("; "),
                ));
            }
        }
        if !errs.is_empty() {
            return Err(SelectorError(errs.to_string()));
        }
        values.sort();
        values.dedup();
        Ok(Self {
            key: key.into(),
            operator,
            values,
        })
    }

    fn matches(&self, value: Option<&str>) -> bool {
        let has = |v: &str| self.values.iter().any(|x| x == v);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => value.is_some_and(has),
            Operator::NotIn | Operator::NotEquals => !value.is_some_and(has),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let (Some(Ok(l)), Some(Ok(r))) = (
                    value.map(str::parse::<i64>),
                    self.values.first().map(|v| v.parse::<i64>()),
                ) else {
                    return false;
                };
                if self.operator == Operator::GreaterThan {
                    l > r
                } else {
                    l < r
                }
            }
        }
    }
}

impl LabelSelector {
    /// Matches every object.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Matches no object.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            requirements: vec![],
            nothing: true,
        }
    }

    /// Parses the string form of `labelSelector=` and kubectl's `-l`.
    ///
    /// # Errors
    /// Upstream's message of what was found and expected.
    pub fn parse(s: &str) -> Result<Self, SelectorError> {
        let mut requirements = Parser::new(s).parse().map_err(SelectorError)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self {
            requirements,
            nothing: false,
        })
    }

    /// From a `metav1.LabelSelector` value: absent matches nothing, empty
    /// matches everything.
    ///
    /// # Errors
    /// An operator or value the selector can't have.
    pub fn from_meta(v: &Value) -> Result<Self, SelectorError> {
        if v.is_null() {
            return Ok(Self::nothing());
        }
        let mut requirements = vec![];
        for (k, v) in v["matchLabels"].as_object().into_iter().flatten() {
            let value = v.as_str().unwrap_or("").to_owned();
            requirements.push(Requirement::new(k, Operator::Equals, vec![value])?);
        }
        for e in v["matchExpressions"].as_array().into_iter().flatten() {
            let operator = match e["operator"].as_str().unwrap_or("") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(SelectorError(format!(
                        "{} is not a valid label selector operator",
                        crate::field::quote(other)
                    )));
                }
            };
            let values = e["values"].as_array().into_iter().flatten();
            let values = values.map(|v| v.as_str().unwrap_or("").to_owned()).collect();
            requirements.push(Requirement::new(
                e["key"].as_str().unwrap_or(""),
                operator,
                values,
            )?);
        }
        requirements.sort_by(|a: &Requirement, b| a.key.cmp(&b.key));
        Ok(Self {
            requirements,
            nothing: false,
        })
    }

    /// From a plain map of labels (a Service's or a ReplicationController's
    /// selector): all must be equal; an empty or absent map matches nothing.
    #[must_use]
    pub fn from_map(v: &Value) -> Self {
        match v.as_object() {
            Some(m) if !m.is_empty() => Self {
                requirements: m
                    .iter()
                    .map(|(k, v)| Requirement {
                        key: k.clone(),
                        operator: Operator::Equals,
                        values: vec![v.as_str().unwrap_or("").to_owned()],
                    })
                    .collect(),
                nothing: false,
            },
            _ => Self::nothing(),
        }
    }

    /// Whether it matches every object.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether an object's labels (`meta::labels(&object)`) match.
    #[must_use]
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.matches_by(|k| labels.and_then(|l| l.get(k)).and_then(Value::as_str))
    }

    /// Whether labels found by key match.
    pub fn matches_by<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(get(&r.key)))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.values.first().map_or("", String::as_str);
        match self.operator {
            Operator::In => write!(f, "{} in ({})", self.key, self.values.join(",")),
            Operator::NotIn => write!(f, "{} notin ({})", self.key, self.values.join(",")),
            Operator::Equals => write!(f, "{}={first}", self.key),
            Operator::DoubleEquals => write!(f, "{}=={first}", self.key),
            Operator::NotEquals => write!(f, "{}!={first}", self.key),
            Operator::Exists => f.write_str(&self.key),
            Operator::DoesNotExist => write!(f, "!{}", self.key),
            Operator::GreaterThan => write!(f, "{}>{first}", self.key),
            Operator::LessThan => write!(f, "{}<{first}", self.key),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{r}")?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Error,
    ClosedPar,
    Comma,
    DoesNotExist,
    DoubleEquals,
    Equals,
    GreaterThan,
    Identifier,
    In,
    LessThan,
    NotEquals,
    NotIn,
    OpenPar,
    End,
}

fn symbol(s: &str) -> Option<Token> {
    Some(match s {
        ")" => Token::ClosedPar,
        "," => Token::Comma,
        "!" => Token::DoesNotExist,
        "==" => Token::DoubleEquals,
        "=" => Token::Equals,
        ">" => Token::GreaterThan,
        "in" => Token::In,
        "<" => Token::LessThan,
        "!=" => Token::NotEquals,
        "notin" => Token::NotIn,
        "(" => Token::OpenPar,
        _ => return None,
    })
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn scan(s: &str) -> Vec<(Token, String)> {
    let mut items = vec![];
    let mut rest = s;
    loop {
        rest = rest.trim_start_matches(is_space);
        let Some(c) = rest.chars().next() else {
            items.push((Token::End, String::new()));
            return items;
        };
        if is_special(c) {
            let run = rest.find(|c| !is_special(c)).unwrap_or(rest.len());
            let mut found = None;
            for end in 1..=run {
                match symbol(&rest[..end]) {
                    Some(t) => found = Some((t, end)),
                    None if found.is_some() => break,
                    None => {}
                }
            }
            let (token, end) = found.unwrap_or((Token::Error, run));
            let literal = if token == Token::Error {
                format!("error expected: keyword found '{}'", &rest[..end])
            } else {
                rest[..end].to_owned()
            };
            items.push((token, literal));
            rest = &rest[end..];
        } else {
            let end = rest.find(|c| is_special(c) || is_space(c)).unwrap_or(rest.len());
            items.push((
                symbol(&rest[..end]).unwrap_or(Token::Identifier),
                rest[..end].to_owned(),
            ));
            rest = &rest[end..];
        }
    }
}

struct Parser {
    items: Vec<(Token, String)>,
    at: usize,
}

impl Parser {
    fn new(s: &str) -> Self {
        Self {
            items: scan(s),
            at: 0,
        }
    }

    /// The next token, `in` and `notin` read as identifiers.
    fn look(&self) -> (Token, &str) {
        let (t, l) = self.look_operator();
        (
            if matches!(t, Token::In | Token::NotIn) {
                Token::Identifier
            } else {
                t
            },
            l,
        )
    }

    fn look_operator(&self) -> (Token, &str) {
        self.items
            .get(self.at)
            .map_or((Token::End, ""), |(t, l)| (*t, l.as_str()))
    }

    fn consume(&mut self) -> (Token, String) {
        let (t, l) = self.look();
        let item = (t, l.to_owned());
        self.at += 1;
        item
    }

    fn parse(&mut self) -> Result<Vec<Requirement>, String> {
        let mut out = vec![];
        loop {
            match self.look() {
                (Token::Identifier | Token::DoesNotExist, _) => {
                    out.push(
                        self.requirement()
                            .map_err(|e| format!("unable to parse requirement: {e}"))?,
                    );
                    let (t, l) = self.consume();
                    match t {
                        Token::End => return Ok(out),
                        Token::Comma => {
                            let (t2, l2) = self.look();
                            if !matches!(t2, Token::Identifier | Token::DoesNotExist) {
                                return Err(format!("found '{l2}', expected: identifier after ','"));
                            }
                        }
                        _ => return Err(format!("found '{l}', expected: ',' or 'end of string'")),
                    }
                }
                (Token::End, _) => return Ok(out),
                (_, l) => {
                    return Err(format!(
                        "found '{l}', expected: !, identifier, or 'end of string'"
                    ));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut t, mut key) = self.consume();
        let negated = t == Token::DoesNotExist;
        if negated {
            (t, key) = self.consume();
        }
        if t != Token::Identifier {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let msgs = names::qualified_name(&key);
        if !msgs.is_empty() {
            let e = Error::invalid(&Path::new("<nil>"), key.as_str(), msgs.join("; "));
            return Err(e.to_string());
        }
        let made = |op, values| Requirement::new(&key, op, values).map_err(|e| e.0);
        if negated {
            return made(Operator::DoesNotExist, vec![]);
        }
        if matches!(self.look().0, Token::End | Token::Comma) {
            return made(Operator::Exists, vec![]);
        }
        let (t, l) = self.look_operator();
        let op = match t {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::NotEquals => Operator::NotEquals,
            Token::GreaterThan => Operator::GreaterThan,
            Token::LessThan => Operator::LessThan,
            _ => return Err(format!("found '{l}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        self.at += 1;
        let values = match op {
            Operator::In | Operator::NotIn => self.values()?,
            _ => self.exact_value()?,
        };
        made(op, values)
    }

    fn exact_value(&mut self) -> Result<Vec<String>, String> {
        if matches!(self.look().0, Token::End | Token::Comma) {
            return Ok(vec![String::new()]);
        }
        match self.consume() {
            (Token::Identifier, l) => Ok(vec![l]),
            (_, l) => Err(format!("found '{l}', expected: identifier")),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let (t, l) = self.consume();
        if t != Token::OpenPar {
            return Err(format!("found '{l}' expected: '('"));
        }
        match self.look() {
            (Token::Identifier | Token::Comma, _) => {
                let list = self.identifiers()?;
                match self.consume() {
                    (Token::ClosedPar, _) => Ok(list),
                    (_, l) => Err(format!("found '{l}', expected: ')'")),
                }
            }
            // Nothing between the brackets is one empty value.
            (Token::ClosedPar, _) => {
                self.at += 1;
                Ok(vec![String::new()])
            }
            (_, l) => Err(format!("found '{l}', expected: ',', ')' or identifier")),
        }
    }

    fn identifiers(&mut self) -> Result<Vec<String>, String> {
        let mut out: Vec<String> = vec![];
        loop {
            match self.consume() {
                (Token::Identifier, l) => {
                    out.push(l);
                    match self.look() {
                        (Token::Comma, _) => {}
                        (Token::ClosedPar, _) => return Ok(out),
                        (_, l2) => return Err(format!("found '{l2}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    if out.is_empty() {
                        out.push(String::new());
                    }
                    match self.look().0 {
                        Token::ClosedPar => {
                            out.push(String::new());
                            return Ok(out);
                        }
                        Token::Comma => {
                            self.at += 1;
                            out.push(String::new());
                        }
                        _ => {}
                    }
                }
                (_, l) => return Err(format!("found '{l}', expected: ',', or identifier")),
            }
        }
    }
}
