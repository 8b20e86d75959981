//! JSON of no known type, with what strict decoding objects to: repeated keys.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::path::Path;
use super::{DecodeError, FieldValidation, StrictError, decode_any, json_error};

/// Decodes JSON of no known type, as a custom resource arrives. A repeated key is a strict error, the last
/// one counts.
///
/// # Errors
/// Malformed JSON or trailing bytes.
pub fn decode_untyped(
    bytes: &[u8],
    validation: FieldValidation,
) -> Result<(Value, Vec<StrictError>), DecodeError> {
    if validation == FieldValidation::Ignore {
        return decode_any(bytes).map(|value| (value, Vec::new()));
    }
    let errors = RefCell::default();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let seed = Untyped {
        errors: &errors,
        at: &Path::Root,
    };
    let value = seed
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| DecodeError(json_error(bytes, &error)))?;
    Ok((value, errors.into_inner()))
}

struct Untyped<'a> {
    errors: &'a RefCell<Vec<StrictError>>,
    at: &'a Path<'a>,
}

impl<'de> DeserializeSeed<'de> for Untyped<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Untyped<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        loop {
            let here = Path::Index {
                parent: self.at,
                index: out.len(),
            };
            let item = Untyped {
                errors: self.errors,
                at: &here,
            };
            match seq.next_element_seed(item)? {
                Some(value) => out.push(value),
                None => return Ok(Value::Array(out)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if out.contains_key(&key) {
                let error = StrictError(format!("duplicate field {:?}", self.at.strict(&key)));
                let mut errors = self.errors.borrow_mut();
                if errors.len() < super::decode::MAX_STRICT_ERRORS && !errors.contains(&error) {
                    errors.push(error);
                }
            }
            let here = Path::Key {
                parent: self.at,
                key: &key,
            };
            let value = map.next_value_seed(Untyped {
                errors: self.errors,
                at: &here,
            })?;
            out.insert(key, value);
        }
        Ok(Value::Object(out))
    }
}
