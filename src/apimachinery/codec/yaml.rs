//! YAML in, as upstream takes it (converted to JSON first), and out.

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Error, Options};

use super::{DecodeError, FieldValidation, StrictError, decode_value};
use crate::schema::TypeDef;

/// Decodes one YAML document as [`super::decode_json`] decodes JSON.
///
/// # Errors
/// As there; malformed YAML is reported as upstream reports its conversion to JSON.
pub fn decode_yaml(
    bytes: &[u8],
    def: &TypeDef,
    validation: FieldValidation,
) -> Result<(Value, Vec<StrictError>), DecodeError> {
    let (value, mut errors) = yaml_to_value(bytes, validation)?;
    let (value, more) = decode_value(value, def, validation)?;
    errors.extend(more);
    Ok((value, errors))
}

/// Reads one YAML document of no known type; keys given twice are strict errors, the last one counts.
///
/// # Errors
/// Malformed YAML, or more than one document.
pub fn yaml_to_value(
    bytes: &[u8],
    validation: FieldValidation,
) -> Result<(Value, Vec<StrictError>), DecodeError> {
    let value: Value = serde_saphyr::from_slice_with_options(bytes, options(DuplicateKeyPolicy::LastWins))
        .map_err(|error| DecodeError(describe(&error)))?;
    if validation == FieldValidation::Ignore {
        return Ok((value, Vec::new()));
    }
    // Only the first duplicate is found so; upstream lists them all on lines of one error.
    let again: Result<Value, Error> =
        serde_saphyr::from_slice_with_options(bytes, options(DuplicateKeyPolicy::Error));
    let errors = again.err().map(|error| StrictError(describe(&error)));
    Ok((value, errors.into_iter().collect()))
}

/// Writes a value as YAML, keys sorted, as upstream does.
pub fn to_yaml(value: &Value) -> String {
    let options = serde_saphyr::ser_options! { compact_list_indent: true };
    serde_saphyr::to_string_with_options(value, options).unwrap_or_default()
}

fn options(duplicate_keys: DuplicateKeyPolicy) -> Options {
    serde_saphyr::options! {
        duplicate_keys: duplicate_keys,
        legacy_octal_numbers: true,
    }
}

fn describe(error: &Error) -> String {
    let line = error.location().map_or(0, |location| location.line());
    match error.without_snippet() {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or_default();
            format!("yaml: unmarshal errors:\n  line {line}: key {key:?} already set in map")
        }
        error if line > 0 => {
            let text = error.to_string();
            // The place stands in front already.
            let text = text.split_once(" at line ").map_or(&*text, |(text, _)| text);
            format!("yaml: line {line}: {text}")
        }
        error => format!("yaml: {error}"),
    }
}
