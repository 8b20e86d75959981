//! Objects from bytes and back: JSON and YAML, checked against a kind's type.
//!
//! Decoding is one pass over the input: it checks types, drops what the kind does not have, brings scalars
//! into their canonical form (`0.5` of a CPU becomes `500m`) and treats `null` as absent, as Go does. What
//! upstream's strict decoder objects to (unknown and repeated fields) is collected beside the result.
//! Errors use the words of Go's decoder: clients match on them.
//!
//! ```text
//! decode_json(bytes, def, FieldValidation::Strict) -> (Value, Vec<StrictError>)
//! decode_yaml(bytes, def, ..)                      -> the same
//! decode_value(value, def, ..)                     -> the same, after a patch
//! normalize(&mut value, def)                       -> what Go would write: zero structs in, empty values out
//! ```

mod decode;
mod normal;
mod path;
pub(crate) mod scalar;
mod syntax;
mod untyped;
mod yaml;

use serde::de::DeserializeSeed;
use serde_json::Value;

use crate::schema::TypeDef;
use decode::{Context, Object};
use path::Path;

pub(crate) use normal::absent_value;
pub use normal::normalize;
pub use untyped::decode_untyped;
pub use yaml::{decode_yaml, to_yaml, yaml_to_value};

/// The request parameter `fieldValidation` (KEP-2885).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Unknown and duplicate fields are dropped without a word.
    Ignore,
    /// They are dropped, and the answer carries a warning for each.
    #[default]
    Warn,
    /// They make the request fail.
    Strict,
}

impl FieldValidation {
    /// Reads the request parameter.
    pub fn parse(text: &str) -> Option<FieldValidation> {
        match text {
            "Ignore" => Some(FieldValidation::Ignore),
            "" | "Warn" => Some(FieldValidation::Warn),
            "Strict" => Some(FieldValidation::Strict),
            _ => None,
        }
    }
}

/// What strict decoding objects to, such as `unknown field "spec.foo"`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StrictError(pub String);

/// Upstream's one line for all objections; the API server answers 400 with it.
pub fn strict_message(errors: &[StrictError]) -> String {
    let all: Vec<&str> = errors.iter().map(|error| &*error.0).collect();
    format!("strict decoding error: {}", all.join(", "))
}

/// Why bytes are no object of the wanted type, in the words of Go's decoder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// Decodes a JSON object of a known type.
///
/// Returns the object without unknown fields and without nulls, and what strict decoding objects to (always
/// empty under [`FieldValidation::Ignore`]; whether it is an error is the caller's decision).
///
/// # Errors
/// Malformed JSON, trailing bytes, a value of a wrong type, a number out of its type's range, or a scalar
/// that is no quantity, time or base64.
pub fn decode_json(
    bytes: &[u8],
    def: &TypeDef,
    validation: FieldValidation,
) -> Result<(Value, Vec<StrictError>), DecodeError> {
    let context = Context::new(validation != FieldValidation::Ignore);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let result = Object {
        context: &context,
        def,
        at: &Path::Root,
    }
    .deserialize(&mut deserializer)
    .and_then(|value| deserializer.end().map(|()| value));
    context.finish(result, |error| {
        DecodeError(format!(
            "couldn't get version/kind; json parse error: {}",
            json_error(bytes, &error)
        ))
    })
}

/// Checks a tree as [`decode_json`] checks bytes: the result of a patch is decoded anew.
///
/// # Errors
/// As [`decode_json`], except for malformed input.
pub fn decode_value(
    value: Value,
    def: &TypeDef,
    validation: FieldValidation,
) -> Result<(Value, Vec<StrictError>), DecodeError> {
    let context = Context::new(validation != FieldValidation::Ignore);
    let result = Object {
        context: &context,
        def,
        at: &Path::Root,
    }
    .deserialize(value);
    context.finish(result, |error: serde_json::Error| DecodeError(error.to_string()))
}

/// Decodes JSON of no known type: what a custom resource or a patch arrives as.
///
/// # Errors
/// Malformed JSON or trailing bytes.
pub fn decode_any(bytes: &[u8]) -> Result<Value, DecodeError> {
    serde_json::from_slice(bytes).map_err(|error| DecodeError(json_error(bytes, &error)))
}

/// `apiVersion` and `kind` of an object, empty where it has none.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TypeMeta {
    pub api_version: String,
    pub kind: String,
}

/// Reads only `apiVersion` and `kind` of a JSON object; the rest is skipped, not checked.
///
/// # Errors
/// Malformed JSON, or values that are no strings.
pub fn type_meta(bytes: &[u8]) -> Result<TypeMeta, DecodeError> {
    // Serde would take a list for the fields in their order.
    let is_list = bytes.trim_ascii_start().starts_with(b"[");
    let read = serde_json::from_slice::<TypeMeta>(bytes);
    let read = read.and_then(|meta| match is_list {
        true => Err(serde::de::Error::custom("a list")),
        false => Ok(meta),
    });
    read.or_else(|error| {
        let why = match serde_json::from_slice::<Value>(bytes) {
            Ok(Value::Null) => return Ok(TypeMeta::default()),
            Ok(value) => misfit(&value),
            Err(_) => json_error(bytes, &error),
        };
        Err(DecodeError(format!(
            "couldn't get version/kind; json parse error: {why}"
        )))
    })
}

/// What Go says of a value that has no `apiVersion` and `kind` as strings.
fn misfit(value: &Value) -> String {
    let strings = ["apiVersion", "kind"];
    let wrong = strings
        .iter()
        .find(|key| !matches!(value[**key], Value::Null | Value::String(_)));
    match (value, wrong) {
        (Value::Object(map), Some(key)) => format!(
            "json: cannot unmarshal {} into Go struct field .{key} of type string",
            json_type(&map[*key])
        ),
        _ => format!(
            "json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \
             \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
            json_type(value)
        ),
    }
}

/// Go's name of a value's type.
#[must_use]
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A time in RFC 3339, with whole seconds in UTC; `None` for Go's zero time.
///
/// # Errors
/// Go's complaint about what is none.
pub fn time(text: &str) -> Result<Option<String>, String> {
    scalar::time(text)
}

/// A tree as Go's `%v` prints it: `map[a:1 b:[x y]]`.
#[must_use]
pub fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_value).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let mut members: Vec<(&String, &Value)> = map.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            let members = members
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_value(value)));
            format!("map[{}]", members.collect::<Vec<_>>().join(" "))
        }
    }
}

/// Serde's complaint about syntax in Go's words; serde's own where Go has none (invalid UTF-8, depth).
#[must_use]
pub fn json_error(bytes: &[u8], error: &serde_json::Error) -> String {
    syntax::complaint(bytes).unwrap_or_else(|| error.to_string())
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod typed_tests;
