//! Field paths and field errors, worded as upstream's
//! `k8s.io/apimachinery/pkg/util/validation/field` words them.
//!
//! ```text
//! Path::new("spec").child("containers").index(0).child("name")  => spec.containers[0].name
//! Path::new("metadata").child("labels").key("a/b")              => metadata.labels[a/b]
//! Error::required(&path, "")           => spec.containers[0].name: Required value
//! Error::invalid(&path, "X", "no")     => spec.containers[0].name: Invalid value: "X": no
//! ErrorList                            => one error, or `[a, b]` without repetitions
//! ```

use std::fmt;

use serde_json::Value;
use smallvec::SmallVec;

/// The place of a field in an object, printed as upstream prints it.
///
/// Validation names every field that it looks at and prints nearly none: names of the usual length take no
/// memory but the stack's.
#[derive(Clone, PartialEq, Eq)]
pub struct Path(SmallVec<[u8; 88]>);

impl Path {
    /// A path of one root element.
    #[must_use]
    pub fn new(root: &str) -> Self {
        Self(SmallVec::from_slice(root.as_bytes()))
    }

    /// The empty path: `child` of it is the child's bare name.
    #[must_use]
    pub fn root() -> Self {
        Self(SmallVec::new())
    }

    /// The named field below this one.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let dot = if self.0.is_empty() { "" } else { "." };
        self.with([dot, name, ""])
    }

    /// The list element at `index`.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(["[", &index.to_string(), "]"])
    }

    /// The map entry `key`.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(["[", key, "]"])
    }

    fn with(&self, more: [&str; 3]) -> Self {
        let mut path = SmallVec::new();
        path.reserve(self.0.len() + more.iter().map(|part| part.len()).sum::<usize>());
        path.extend_from_slice(&self.0);
        more.iter()
            .for_each(|part| path.extend_from_slice(part.as_bytes()));
        Self(path)
    }

    /// The printed path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made of whole strings")
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Path").field(&self.as_str()).finish()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    /// `Invalid` that does not say which value.
    InvalidBare,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    Internal,
    TypeInvalid,
}

impl Kind {
    /// The words that begin the error's text.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::InvalidBare | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }

    /// `metav1.CauseType`, as it stands in `status.details.causes[].reason`.
    #[must_use]
    pub fn cause(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid | Self::InvalidBare => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }
}

/// One thing wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    pub kind: Kind,
    pub field: String,
    pub value: Value,
    pub detail: String,
}

impl Error {
    fn make(kind: Kind, path: &Path, value: Value, detail: impl Into<String>) -> Self {
        Self {
            kind,
            field: path.as_str().to_owned(),
            value,
            detail: detail.into(),
        }
    }

    /// A field that must be set and isn't.
    pub fn required(path: &Path, detail: impl Into<String>) -> Self {
        Self::make(Kind::Required, path, Value::Null, detail)
    }

    /// A value that breaks a rule; `detail` states the rule.
    pub fn invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::make(Kind::Invalid, path, value.into(), detail)
    }

    /// A value that breaks a rule and is not repeated.
    pub fn invalid_bare(path: &Path, detail: impl Into<String>) -> Self {
        Self::make(Kind::InvalidBare, path, Value::Null, detail)
    }

    /// A value of the wrong type.
    pub fn type_invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::make(Kind::TypeInvalid, path, value.into(), detail)
    }

    /// A value that may stand only once.
    pub fn duplicate(path: &Path, value: impl Into<Value>) -> Self {
        Self::make(Kind::Duplicate, path, value.into(), "")
    }

    /// A reference to something that isn't there.
    pub fn not_found(path: &Path, value: impl Into<Value>) -> Self {
        Self::make(Kind::NotFound, path, value.into(), "")
    }

    /// A field that must not be set, or not now.
    pub fn forbidden(path: &Path, detail: impl Into<String>) -> Self {
        Self::make(Kind::Forbidden, path, Value::Null, detail)
    }

    /// A value outside an enumeration; `supported` in the order to be printed.
    pub fn not_supported(path: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let mut detail = String::new();
        if !supported.is_empty() {
            detail.push_str("supported values: ");
            for (i, s) in supported.iter().enumerate() {
                if i > 0 {
                    detail.push_str(", ");
                }
                detail.push_str(&quote(s));
            }
        }
        Self::make(Kind::NotSupported, path, value.into(), detail)
    }

    /// A value of more than `max` bytes.
    #[must_use]
    pub fn too_long(path: &Path, max: usize) -> Self {
        Self::make(
            Kind::TooLong,
            path,
            Value::Null,
            format!("may not be more than {max} bytes"),
        )
    }

    /// A list or map of `actual` items where at most `max` are allowed.
    #[must_use]
    pub fn too_many(path: &Path, actual: usize, max: usize) -> Self {
        Self::make(
            Kind::TooMany,
            path,
            Value::from(actual),
            format!("must have at most {max} items"),
        )
    }

    /// A fault of the server met while checking this field.
    pub fn internal(path: &Path, detail: impl Into<String>) -> Self {
        Self::make(Kind::Internal, path, Value::Null, detail)
    }

    /// The text without the field's name: what a status cause carries.
    #[must_use]
    pub fn body(&self) -> String {
        let mut s = self.kind.words().to_owned();
        match self.kind {
            Kind::Required | Kind::Forbidden | Kind::TooLong | Kind::Internal | Kind::InvalidBare => {}
            _ => {
                s.push_str(": ");
                match &self.value {
                    Value::Null => s.push_str("null"),
                    Value::String(t) => s.push_str(&quote(t)),
                    other => write_value(other, &mut s),
                }
            }
        }
        if !self.detail.is_empty() {
            s.push_str(": ");
            s.push_str(&self.detail);
        }
        s
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl std::error::Error for Error {}

/// Everything wrong with an object, in the order found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorList(pub Vec<Error>);

impl ErrorList {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, error: Error) {
        self.0.push(error);
    }

    /// Adds `Invalid` errors with the messages of a name check.
    pub fn invalid_each(&mut self, path: &Path, value: &str, messages: Vec<String>) {
        for m in messages {
            self.0.push(Error::invalid(path, value, m));
        }
    }

    pub fn extend(&mut self, other: ErrorList) {
        self.0.extend(other.0);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.0.iter()
    }
}

impl From<Vec<Error>> for ErrorList {
    fn from(v: Vec<Error>) -> Self {
        Self(v)
    }
}

impl fmt::Display for ErrorList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seen: Vec<String> = Vec::with_capacity(self.0.len());
        for e in &self.0 {
            let text = e.to_string();
            if !seen.contains(&text) {
                seen.push(text);
            }
        }
        match seen.as_slice() {
            [] => Ok(()),
            [one] => f.write_str(one),
            many => write!(f, "[{}]", many.join(", ")),
        }
    }
}

/// Fields of metav1's types in their order, which is the one in which upstream prints them.
const ORDER: [&str; 11] = [
    "apiVersion",
    "kind",
    "name",
    "uid",
    "controller",
    "blockOwnerDeletion",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
];

fn write_value(value: &Value, out: &mut String) {
    let mut list = |open: char, close: char, parts: Vec<String>| {
        out.push(open);
        out.push_str(&parts.join(","));
        out.push(close);
    };
    let text = |value: &Value| {
        let mut text = String::new();
        write_value(value, &mut text);
        text
    };
    match value {
        Value::Array(items) => list('[', ']', items.iter().map(text).collect()),
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            let rank = |name: &str| ORDER.iter().position(|known| *known == name);
            fields.sort_by_key(|(name, _)| rank(name).unwrap_or(ORDER.len()));
            let part =
                |(name, value): (&String, &Value)| format!("{}:{}", Value::from(name.as_str()), text(value));
            list('{', '}', fields.into_iter().map(part).collect());
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// A Go `%q` string: what upstream's messages quote values with.
#[must_use]
pub fn quote(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\x0b' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
