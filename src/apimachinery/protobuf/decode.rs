//! Protobuf message to JSON tree.

use serde_json::{Map, Value};

use super::special;
use super::wire::{Reader, WireType};
use crate::schema::{Field, Type, TypeDef};

/// Deeper nested input is refused; only JSON schemas nest at will.
const MAX_DEPTH: u32 = 128;

/// Why bytes are no object of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoEnvelope,
    #[error("unexpected EOF")]
    Truncated,
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: illegal tag")]
    IllegalTag,
    #[error("proto: wrong wireType = {found}")]
    WireType { found: u32 },
    #[error("proto: nested deeper than {MAX_DEPTH} messages")]
    TooDeep,
    #[error("{what}: {problem}")]
    Value { what: &'static str, problem: String },
}

type Result<T> = std::result::Result<T, DecodeError>;

pub(super) fn message(bytes: &[u8], def: &TypeDef) -> Result<Value> {
    nested_message(bytes, def, 0)
}

pub(super) fn nested_message(bytes: &[u8], def: &TypeDef, depth: u32) -> Result<Value> {
    let mut object = Map::new();
    fields(bytes, def, &def.wire_order, 0, depth, &mut object)?;
    Ok(Value::Object(object))
}

/// Reads the message that holds the fields at `order`, `inlined` structs in.
fn fields(
    bytes: &[u8],
    def: &TypeDef,
    order: &[u16],
    inlined: usize,
    depth: u32,
    object: &mut Map<String, Value>,
) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::TooDeep);
    }
    let mut reader = Reader::new(bytes);
    let mut cursor = 0;
    while let Some((tag, wire)) = reader.tag()? {
        let number = |index: u16| {
            let field = &def.fields[index as usize];
            field.via.get(inlined).copied().unwrap_or(field.tag)
        };
        // Fields mostly come in order: look on from the last one first.
        let found = order[cursor..]
            .iter()
            .position(|index| number(*index) == tag)
            .map(|at| at + cursor);
        let Some(at) = found.or_else(|| order.iter().position(|index| number(*index) == tag)) else {
            reader.skip(wire)?;
            continue;
        };
        cursor = at;
        let field = &def.fields[order[at] as usize];
        if field.via.len() > inlined {
            let end = order[at..]
                .iter()
                .take_while(|index| number(**index) == tag)
                .count()
                + at;
            fields(
                reader.bytes(wire)?,
                def,
                &order[at..end],
                inlined + 1,
                depth,
                object,
            )?;
        } else {
            read_field(&mut reader, wire, field, depth, object)?;
        }
    }
    Ok(())
}

fn read_field(
    reader: &mut Reader<'_>,
    wire: WireType,
    field: &Field,
    depth: u32,
    object: &mut Map<String, Value>,
) -> Result<()> {
    let name = &*field.name;
    match &field.ty {
        Type::List(item) if field.wrapped => {
            let items = wrapped_list(reader.bytes(wire)?, item, depth)?;
            object.insert(name.to_owned(), items);
        }
        Type::List(item) => {
            let list = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(list) = list else { return Ok(()) };
            if matches!(**item, Type::Int32 | Type::Int64) {
                list.extend(
                    reader
                        .integers(wire)?
                        .into_iter()
                        .map(|value| integer(item, value)),
                );
            } else {
                list.push(single(reader, wire, item, depth)?.unwrap_or_else(|| special::zero(item)));
            }
        }
        Type::Map(item) => {
            let (key, value) = entry(reader.bytes(wire)?, item, depth)?;
            let map = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(map) = map {
                map.insert(key, value);
            }
        }
        ty => {
            if let Some(value) = single(reader, wire, ty, depth)? {
                object.insert(name.to_owned(), value);
            }
        }
    }
    Ok(())
}

fn wrapped_list(bytes: &[u8], item: &Type, depth: u32) -> Result<Value> {
    let mut reader = Reader::new(bytes);
    let mut items = Vec::new();
    while let Some((tag, wire)) = reader.tag()? {
        if tag == 1 {
            items.push(single(&mut reader, wire, item, depth)?.unwrap_or_else(|| special::zero(item)));
        } else {
            reader.skip(wire)?;
        }
    }
    Ok(Value::Array(items))
}

fn entry(bytes: &[u8], item: &Type, depth: u32) -> Result<(String, Value)> {
    let mut reader = Reader::new(bytes);
    let mut key = String::new();
    let mut value = None;
    while let Some((tag, wire)) = reader.tag()? {
        match (tag, item) {
            (1, _) => key = reader.text(wire)?,
            (2, Type::List(inner)) => value = Some(wrapped_list(reader.bytes(wire)?, inner, depth)?),
            (2, item) => value = single(&mut reader, wire, item, depth)?,
            _ => reader.skip(wire)?,
        }
    }
    Ok((key, value.unwrap_or_else(|| special::zero(item))))
}

fn integer(ty: &Type, value: i64) -> Value {
    // An int32 takes the low half of what was sent, as in Go.
    if *ty == Type::Int32 {
        (value as i32).into()
    } else {
        value.into()
    }
}

/// One value; `None` for what Go would write as null.
fn single(reader: &mut Reader<'_>, wire: WireType, ty: &Type, depth: u32) -> Result<Option<Value>> {
    Ok(Some(match ty {
        Type::Bool => Value::Bool(reader.varint(wire)? != 0),
        Type::Int32 | Type::Int64 => integer(ty, reader.varint(wire)?),
        Type::Float => reader.double(wire)?.into(),
        Type::String => Value::String(reader.text(wire)?),
        Type::Message(id) => nested_message(reader.bytes(wire)?, id.def(), depth + 1)?,
        _ => return special::decode(ty, reader.bytes(wire)?, depth),
    }))
}
