//! Types whose JSON and protobuf forms have nothing in common.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::decode::{DecodeError, nested_message};
use super::encode::{EncodeError, message, single};
use super::source::Source;
use super::wire::{Reader, Writer};
use crate::codec::scalar;
use crate::schema::{Schema, Type, TypeDef};

pub(super) fn list_meta() -> &'static TypeDef {
    static DEF: LazyLock<&'static TypeDef> = LazyLock::new(|| {
        let name = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
        Schema::get()
            .type_by_name(name)
            .expect("the generated table has list metadata")
    });
    &DEF
}

pub(super) fn encode<'s>(
    out: &mut Writer,
    tag: u32,
    ty: &Type,
    value: impl Source<'s>,
) -> Result<(), EncodeError> {
    let unfit = |wanted: &str| Err(EncodeError::new(value, wanted));
    let text = value.as_str();
    match (ty, text.as_deref()) {
        (Type::Bytes, Some(text)) => match STANDARD.decode(text) {
            Ok(bytes) => out.bytes(tag, &bytes),
            Err(_) => return unfit("base64"),
        },
        (Type::Quantity, Some(text)) => out.nested(tag, |out| out.bytes(1, text.as_bytes())),
        (Type::Quantity, None) if value.is_number() => {
            out.nested(tag, |out| out.bytes(1, value.json().as_bytes()));
        }
        (Type::IntOrString, Some(text)) => int_or_string(out, tag, 1, 0, text),
        (Type::IntOrString, None) if value.is_number() => match value.as_i64() {
            Some(integer) => int_or_string(out, tag, 0, integer, ""),
            None => return unfit("an integer or a string"),
        },
        (Type::Time, Some(text)) => match text.parse::<Timestamp>() {
            Ok(at) => timestamp(out, tag, at.as_second(), 0),
            Err(_) => return unfit("a time"),
        },
        (Type::MicroTime, Some(text)) => match text.parse::<Timestamp>() {
            Ok(at) => {
                let micros = at.as_microsecond();
                timestamp(
                    out,
                    tag,
                    micros.div_euclid(1_000_000),
                    micros.rem_euclid(1_000_000) * 1_000,
                );
            }
            Err(_) => return unfit("a time"),
        },
        (Type::Duration, Some(text)) => match scalar::parse_duration(text) {
            Ok(nanos) => out.nested(tag, |out| out.varint(1, nanos)),
            Err(_) => return unfit("a duration"),
        },
        (Type::RawExtension | Type::FieldsV1 | Type::Json, _) => {
            out.nested(tag, |out| out.bytes(1, value.json().as_bytes()));
        }
        (Type::SchemaOrBool, None) if value.is_object() => {
            return out.try_nested(tag, |out| {
                out.varint(1, 1);
                out.try_nested(2, |out| message(out, value, Schema::json_schema_props()))
            });
        }
        (Type::SchemaOrBool, None) => match value.as_bool() {
            Some(allows) => out.nested(tag, |out| out.varint(1, i64::from(allows))),
            None => return unfit(&format!("{ty:?}")),
        },
        (Type::SchemaOrArray | Type::SchemaOrStrings, None) if value.is_object() => {
            return out.try_nested(tag, |out| {
                out.try_nested(1, |out| message(out, value, Schema::json_schema_props()))
            });
        }
        (Type::SchemaOrArray, None) if value.is_array() => {
            return out.try_nested(tag, |out| {
                value.items().try_for_each(|item| {
                    out.try_nested(2, |out| message(out, item, Schema::json_schema_props()))
                })
            });
        }
        (Type::SchemaOrStrings, None) if value.is_array() => {
            return out.try_nested(tag, |out| {
                value
                    .items()
                    .try_for_each(|item| single(out, 2, &Type::String, item))
            });
        }
        _ => return unfit(&format!("{ty:?}")),
    }
    Ok(())
}

fn timestamp(out: &mut Writer, tag: u32, seconds: i64, nanos: i64) {
    out.nested(tag, |out| {
        out.varint(1, seconds);
        out.varint(2, nanos);
    });
}

pub(super) fn int_or_string(out: &mut Writer, tag: u32, kind: i64, integer: i64, text: &str) {
    out.nested(tag, |out| {
        out.varint(1, kind);
        out.varint(2, integer);
        out.bytes(3, text.as_bytes());
    });
}

/// What a map's value is when its entry carries none.
pub(super) fn zero(ty: &Type) -> Value {
    match ty {
        Type::Bool => false.into(),
        Type::Int32 | Type::Int64 | Type::Float | Type::IntOrString => 0.into(),
        Type::Quantity => "0".into(),
        Type::Message(_) | Type::Map(_) => Value::Object(Default::default()),
        Type::List(_) => Value::Array(Vec::new()),
        Type::String | Type::Bytes => "".into(),
        _ => Value::Null,
    }
}

pub(super) fn decode(ty: &Type, bytes: &[u8], depth: u32) -> Result<Option<Value>, DecodeError> {
    Ok(match ty {
        Type::Bytes => Some(STANDARD.encode(bytes).into()),
        Type::Quantity => Some(quantity(bytes)?),
        Type::IntOrString => Some(read_int_or_string(bytes)?),
        Type::Time | Type::MicroTime => time(ty, bytes)?,
        Type::Duration => Some(scalar::format_duration(numbers(bytes)?.0).into()),
        Type::RawExtension | Type::FieldsV1 | Type::Json => raw(bytes)?,
        Type::SchemaOrBool => Some(schema_or_bool(bytes, depth)?),
        Type::SchemaOrArray | Type::SchemaOrStrings => schema_or_list(ty, bytes, depth)?,
        _ => None,
    })
}

fn quantity(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut text = "0".to_owned();
    while let Some((tag, wire)) = reader.tag()? {
        match tag {
            1 => text = reader.text(wire)?,
            _ => reader.skip(wire)?,
        }
    }
    crate::quantity::canonical(&Value::String(text))
        .map(Value::String)
        .map_err(|error| DecodeError::Value {
            what: "quantity",
            problem: error.to_string(),
        })
}

fn read_int_or_string(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut reader = Reader::new(bytes);
    let (mut kind, mut integer, mut text) = (0, 0, String::new());
    while let Some((tag, wire)) = reader.tag()? {
        match tag {
            1 => kind = reader.varint(wire)?,
            2 => integer = reader.varint(wire)? as i32,
            3 => text = reader.text(wire)?,
            _ => reader.skip(wire)?,
        }
    }
    Ok(if kind == 0 { integer.into() } else { text.into() })
}

/// The numbers in fields 1 and 2.
fn numbers(bytes: &[u8]) -> Result<(i64, i64), DecodeError> {
    let mut reader = Reader::new(bytes);
    let (mut first, mut second) = (0, 0);
    while let Some((tag, wire)) = reader.tag()? {
        match tag {
            1 => first = reader.varint(wire)?,
            2 => second = reader.varint(wire)?,
            _ => reader.skip(wire)?,
        }
    }
    Ok((first, second))
}

fn time(ty: &Type, bytes: &[u8]) -> Result<Option<Value>, DecodeError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (seconds, nanos) = numbers(bytes)?;
    let nanos = if *ty == Type::MicroTime { nanos } else { 0 };
    let at = i32::try_from(nanos)
        .ok()
        .and_then(|nanos| Timestamp::new(seconds, nanos).ok());
    let at = at.ok_or_else(|| DecodeError::Value {
        what: "time",
        problem: format!("{seconds} s is out of range"),
    })?;
    Ok(Some(Value::String(match ty {
        Type::MicroTime => scalar::format_micro(at),
        _ => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })))
}

/// JSON in bytes; an object that came in its own envelope (a watch event's) stays unread.
fn raw(bytes: &[u8]) -> Result<Option<Value>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut value = None;
    while let Some((tag, wire)) = reader.tag()? {
        if tag != 1 {
            reader.skip(wire)?;
            continue;
        }
        let json = reader.bytes(wire)?;
        if json.is_empty() {
            continue;
        }
        let parsed = serde_json::from_slice(json);
        value = parsed.map_err(|error| DecodeError::Value {
            what: "raw JSON",
            problem: error.to_string(),
        })?;
    }
    Ok(value.filter(|value: &Value| !value.is_null()))
}

fn schema_or_bool(bytes: &[u8], depth: u32) -> Result<Value, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut value = Value::Bool(false);
    while let Some((tag, wire)) = reader.tag()? {
        match tag {
            1 if !value.is_object() => value = Value::Bool(reader.varint(wire)? != 0),
            2 => value = nested_message(reader.bytes(wire)?, Schema::json_schema_props(), depth + 1)?,
            _ => reader.skip(wire)?,
        }
    }
    Ok(value)
}

fn schema_or_list(ty: &Type, bytes: &[u8], depth: u32) -> Result<Option<Value>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut schema = None;
    let mut items = Vec::new();
    while let Some((tag, wire)) = reader.tag()? {
        match (tag, ty) {
            (1, _) => {
                schema = Some(nested_message(
                    reader.bytes(wire)?,
                    Schema::json_schema_props(),
                    depth + 1,
                )?)
            }
            (2, Type::SchemaOrArray) => {
                items.push(nested_message(
                    reader.bytes(wire)?,
                    Schema::json_schema_props(),
                    depth + 1,
                )?);
            }
            (2, _) => items.push(Value::String(reader.text(wire)?)),
            _ => reader.skip(wire)?,
        }
    }
    Ok(schema.or_else(|| (!items.is_empty()).then_some(Value::Array(items))))
}
