//! Custom resources on their way in and out of storage: metadata of the built-in type, everything else as
//! their schema says.
//!
//! ```text
//! custom::decode_json(bytes, &schema, validation) -> (Value, Vec<StrictError>)
//! custom::decode_yaml(..), custom::decode_value(..)   -> the same
//! custom::restore(&mut object, &schema)               -> what is stored, under the schema of today
//! custom::validate_create(&object, &schema, namespaced) -> ErrorList
//! custom::validate_update(&new, &old, &schema)          -> ErrorList
//! ```

use serde_json::{Map, Value, json};

use crate::codec::{self, DecodeError, FieldValidation, StrictError};
use crate::field::{ErrorList, Path};
use crate::schema::{Schema, TypeDef};
use crate::structural::{Additional, Structural};
use crate::{names, validation};

/// Decodes JSON: unknown fields are dropped (and reported unless ignored), defaults are not yet set.
///
/// # Errors
/// Malformed JSON, or metadata of a wrong type.
pub fn decode_json(
    bytes: &[u8],
    schema: &Structural,
    validation: FieldValidation,
) -> Result<(Value, Vec<StrictError>), DecodeError> {
    let (value, mut errors) = codec::decode_untyped(bytes, validation)?;
    let value = shape(value, schema, validation, &mut errors)?;
    Ok((value, errors))
}

/// As [`decode_json`], from YAML.
///
/// # Errors
/// As there.
pub fn decode_yaml(
    bytes: &[u8],
    schema: &Structural,
    validation: FieldValidation,
) -> Result<(Value, Vec<StrictError>), DecodeError> {
    let (value, mut errors) = codec::yaml_to_value(bytes, validation)?;
    let value = shape(value, schema, validation, &mut errors)?;
    Ok((value, errors))
}

/// As [`decode_json`], from a tree: what a patch makes is decoded anew.
///
/// # Errors
/// As there.
pub fn decode_value(
    value: Value,
    schema: &Structural,
    validation: FieldValidation,
) -> Result<(Value, Vec<StrictError>), DecodeError> {
    let mut errors = Vec::new();
    let value = shape(value, schema, validation, &mut errors)?;
    Ok((value, errors))
}

/// Brings what is stored under the schema of today: unknown fields go, new defaults come.
pub fn restore(object: &mut Value, schema: &Structural) {
    schema.prune(object);
    schema.default(object);
}

/// Checks an object about to be created; `namespaced` as its definition says.
#[must_use]
pub fn validate_create(object: &Value, schema: &Structural, namespaced: bool) -> ErrorList {
    let check = |name: &str, prefix: bool| {
        let name = if prefix {
            name.strip_suffix('-')
                .map_or(name.to_owned(), |n| format!("{n}a"))
        } else {
            name.to_owned()
        };
        names::dns1123_subdomain(&name)
    };
    let mut errors = validation::object_meta(object, namespaced, check, &Path::new("metadata"));
    errors.extend(schema.validate(object));
    errors
}

/// Checks an update. What it leaves as it was is not looked at (KEP-4008).
#[must_use]
pub fn validate_update(new: &Value, old: &Value, schema: &Structural) -> ErrorList {
    let mut errors = validation::object_meta_update(new, old, &Path::new("metadata"));
    errors.extend(schema.validate_update(new, old));
    errors
}

/// The type of what every object has: `apiVersion`, `kind`, `metadata`.
fn head() -> &'static TypeDef {
    Schema::get()
        .type_by_name("io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata")
        .expect("the schema in this binary has the types of meta.k8s.io")
}

fn shape(
    value: Value,
    schema: &Structural,
    validation: FieldValidation,
    errors: &mut Vec<StrictError>,
) -> Result<Value, DecodeError> {
    let Value::Object(mut object) = value else {
        return Err(DecodeError("couldn't get version/kind; json parse error: json: cannot unmarshal value into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }".into()));
    };
    metadata(&mut object, "", validation, errors)?;
    let mut value = Value::Object(object);
    if schema.embeds() {
        embedded(&mut value, schema, "", validation, errors)?;
    }
    for path in schema.prune(&mut value) {
        if validation != FieldValidation::Ignore {
            errors.push(StrictError(format!("unknown field {path:?}")));
        }
    }
    Ok(value)
}

/// Decodes the metadata of the object that stands at `at`.
fn metadata(
    object: &mut Map<String, Value>,
    at: &str,
    validation: FieldValidation,
    errors: &mut Vec<StrictError>,
) -> Result<(), DecodeError> {
    let Some(found) = object.remove("metadata") else {
        return Ok(());
    };
    if found.is_null() {
        return Ok(());
    }
    let (mut decoded, strict) = codec::decode_value(json!({"metadata": found}), head(), validation)?;
    for error in strict {
        let text = if at.is_empty() {
            error.0
        } else {
            error
                .0
                .replacen("field \"metadata", &format!("field \"{at}.metadata"), 1)
        };
        errors.push(StrictError(text));
    }
    if let Some(found) = decoded.as_object_mut().and_then(|o| o.remove("metadata")) {
        object.insert("metadata".into(), found);
    }
    Ok(())
}

/// Decodes the metadata of every resource within the object.
fn embedded(
    value: &mut Value,
    schema: &Structural,
    at: &str,
    validation: FieldValidation,
    errors: &mut Vec<StrictError>,
) -> Result<(), DecodeError> {
    match value {
        Value::Object(object) => {
            if schema.embedded {
                metadata(object, at, validation, errors)?;
            }
            for (name, value) in object.iter_mut() {
                let child = match (schema.properties.get(name), &schema.additional) {
                    (Some(child), _) => child,
                    (None, Additional::Schema(child)) => child,
                    _ => continue,
                };
                let at = if at.is_empty() {
                    name.clone()
                } else {
                    format!("{at}.{name}")
                };
                embedded(value, child, &at, validation, errors)?;
            }
        }
        Value::Array(items) => {
            if let Some(child) = &schema.items {
                for (i, item) in items.iter_mut().enumerate() {
                    embedded(item, child, &format!("{at}[{i}]"), validation, errors)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests;
