//! JSON to protobuf message.

use super::source::{Members, Source};
use super::special;
use super::wire::Writer;
use crate::schema::{Field, Type, TypeDef};

/// A value that does not fit its type; decoded and validated objects never have one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {found} does not fit {wanted}")]
pub struct EncodeError {
    pub field: String,
    pub found: String,
    pub wanted: String,
}

impl EncodeError {
    pub(super) fn new<'s>(found: impl Source<'s>, wanted: &str) -> EncodeError {
        let mut found = found.json().into_owned();
        if found.len() > 64 {
            found = found.chars().take(61).collect::<String>() + "...";
        }
        EncodeError {
            field: String::new(),
            found,
            wanted: wanted.to_owned(),
        }
    }

    fn within(mut self, name: &str) -> EncodeError {
        let dot = if self.field.is_empty() { "" } else { "." };
        self.field = format!("{name}{dot}{}", self.field);
        self
    }
}

type Result<T> = std::result::Result<T, EncodeError>;

pub(super) fn message<'s>(out: &mut Writer, value: impl Source<'s>, def: &TypeDef) -> Result<()> {
    if !value.is_object() {
        return Err(EncodeError::new(value, &def.name));
    }
    fields(out, &Members::of(value, def), def, &def.wire_order, 0)
}

/// Writes the fields at `order`, all of which sit in the same (inlined) message, `depth` levels in.
fn fields<'s, S: Source<'s>>(
    out: &mut Writer,
    values: &Members<S>,
    def: &TypeDef,
    order: &[u16],
    depth: usize,
) -> Result<()> {
    let mut rest = order;
    while let Some((&first, tail)) = rest.split_first() {
        let field = &def.fields[first as usize];
        let Some(&nested) = field.via.get(depth) else {
            write_field(out, field, values.get(first)).map_err(|error| error.within(&field.name))?;
            rest = tail;
            continue;
        };
        let same = |index: &&u16| def.fields[**index as usize].via.get(depth) == Some(&nested);
        let (inlined, others) = rest.split_at(rest.iter().take_while(same).count());
        out.try_nested(nested, |out| fields(out, values, def, inlined, depth + 1))?;
        rest = others;
    }
    Ok(())
}

fn write_field<'s, S: Source<'s>>(out: &mut Writer, field: &Field, value: Option<S>) -> Result<()> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        if !field.pointer {
            write_zero::<S>(out, field.tag, &field.ty);
        }
        return Ok(());
    };
    match &field.ty {
        Type::List(item) if value.is_array() && field.wrapped => out.try_nested(field.tag, |out| {
            value.items().try_for_each(|value| single(out, 1, item, value))
        }),
        Type::List(item) if value.is_array() => value
            .items()
            .try_for_each(|value| single(out, field.tag, item, value)),
        Type::Map(item) if value.is_object() => value
            .entries()
            .try_for_each(|(key, value)| entry(out, field.tag, item, &key, value)),
        ty => single(out, field.tag, ty, value),
    }
}

fn entry<'s, S: Source<'s>>(out: &mut Writer, tag: u32, item: &Type, key: &str, value: S) -> Result<()> {
    out.try_nested(tag, |out| {
        out.bytes(1, key.as_bytes());
        match item {
            // A list as a map's value is always a message of its own.
            Type::List(inner) if value.is_array() => out.try_nested(2, |out| {
                value.items().try_for_each(|value| single(out, 1, inner, value))
            }),
            _ if value.is_null() => {
                write_zero::<S>(out, 2, item);
                Ok(())
            }
            _ => single(out, 2, item, value),
        }
        .map_err(|error| error.within(key))
    })
}

/// What Go writes for a field that is no pointer and was never set.
fn write_zero<'s, S: Source<'s>>(out: &mut Writer, tag: u32, ty: &Type) {
    match ty {
        Type::Bool | Type::Int32 | Type::Int64 => out.varint(tag, 0),
        Type::Float => out.double(tag, 0.0),
        Type::String => out.bytes(tag, b""),
        Type::Message(id) => {
            let def = id.def();
            let written = out.try_nested(tag, |out| {
                fields::<S>(out, &Members::none(), def, &def.wire_order, 0)
            });
            debug_assert!(written.is_ok(), "nothing can be wrong with no value");
        }
        Type::Quantity => out.nested(tag, |out| out.bytes(1, b"0")),
        Type::IntOrString => special::int_or_string(out, tag, 0, 0, ""),
        Type::Time | Type::MicroTime | Type::RawExtension => out.bytes(tag, b""),
        Type::Duration => out.nested(tag, |out| out.varint(1, 0)),
        Type::Bytes | Type::List(_) | Type::Map(_) => {}
        Type::FieldsV1 | Type::Json => {}
        Type::SchemaOrBool | Type::SchemaOrArray | Type::SchemaOrStrings => {}
    }
}

/// One value, as a field or as an item of a repeated one.
pub(super) fn single<'s>(out: &mut Writer, tag: u32, ty: &Type, value: impl Source<'s>) -> Result<()> {
    match ty {
        Type::Bool => match value.as_bool() {
            Some(flag) => out.varint(tag, i64::from(flag)),
            None => return Err(EncodeError::new(value, "Bool")),
        },
        Type::Int32 | Type::Int64 => match value.as_i64() {
            Some(integer) => out.varint(tag, integer),
            None => return Err(EncodeError::new(value, "an integer")),
        },
        Type::Float if value.is_number() => out.double(tag, value.as_f64().unwrap_or_default()),
        Type::String => match value.as_str() {
            Some(text) => out.bytes(tag, text.as_bytes()),
            None => return Err(EncodeError::new(value, "String")),
        },
        Type::Message(id) => return out.try_nested(tag, |out| message(out, value, id.def())),
        _ => return special::encode(out, tag, ty, value),
    }
    Ok(())
}
