//! The form in which Go would write an object it has read: what upstream stores and answers.

use serde_json::{Map, Value};

use crate::schema::{Field, Schema, Type, TypeDef};

/// Brings a decoded object into Go's form.
///
/// Empty values of `omitempty` fields go; structs that Go holds by value and scalars without `omitempty`
/// appear (`"resources": {}`, `"status": {}`, a container's `"name": ""`). It is what upstream's clients see
/// on read, and what survives protobuf. Idempotent.
pub fn normalize(value: &mut Value, def: &TypeDef) {
    let Value::Object(object) = value else { return };
    // Types have many more fields than objects have members.
    let mut gone: Vec<&Field> = Vec::new();
    let mut unset: Vec<&Field> = Vec::new();
    for (name, present) in object.iter_mut() {
        let Some(field) = def.field(name) else { continue };
        if present.is_null() {
            unset.push(field);
            continue;
        }
        normalize_typed(present, &field.ty);
        if drops(present, field) {
            gone.push(field);
        }
    }
    for field in unset.iter().chain(&gone) {
        object.remove(&*field.name);
    }
    for index in def.written_unset() {
        let field = &def.fields[usize::from(*index)];
        let is_gone = || gone.iter().any(|gone| std::ptr::eq(*gone, field));
        if !object.contains_key(&*field.name) && !is_gone() {
            fill(object, field);
        }
    }
}

fn normalize_typed(value: &mut Value, ty: &Type) {
    match (ty, value) {
        (Type::Message(id), value) => normalize(value, id.def()),
        (Type::List(item), Value::Array(items)) if item.message().is_some() => {
            items.iter_mut().for_each(|value| normalize_typed(value, item));
        }
        (Type::Map(item), Value::Object(entries)) if item.message().is_some() => {
            entries
                .values_mut()
                .for_each(|value| normalize_typed(value, item));
        }
        (Type::SchemaOrBool | Type::SchemaOrArray | Type::SchemaOrStrings, value @ Value::Object(_)) => {
            normalize(value, Schema::json_schema_props());
        }
        (Type::SchemaOrArray, Value::Array(items)) => {
            items
                .iter_mut()
                .for_each(|value| normalize(value, Schema::json_schema_props()));
        }
        _ => {}
    }
}

/// Whether Go's encoder leaves the present value out.
fn drops(value: &Value, field: &Field) -> bool {
    if field.pointer {
        return false;
    }
    match (value, &field.ty) {
        (Value::Object(map), Type::Message(_)) => field.omitzero && map.is_empty(),
        (_, Type::RawExtension | Type::Json | Type::FieldsV1) => false,
        (_, Type::SchemaOrBool | Type::SchemaOrArray | Type::SchemaOrStrings) => false,
        (_, Type::IntOrString | Type::Quantity | Type::Duration) => false,
        (Value::Object(map), _) => field.omitempty && map.is_empty(),
        (Value::Array(list), _) => field.omitempty && list.is_empty(),
        (Value::String(text), _) => field.omitempty && text.is_empty(),
        (Value::Bool(flag), _) => field.omitempty && !flag,
        (Value::Number(number), _) => field.omitempty && number.as_f64() == Some(0.0),
        (Value::Null, _) => true,
    }
}

/// What Go's encoder writes for an absent field, if anything.
fn fill(object: &mut Map<String, Value>, field: &Field) {
    if let Some(value) = absent_value(field) {
        object.insert(String::from(&*field.name), value);
    }
}

/// The value that Go writes where the field was never set, if it writes any.
pub(crate) fn absent_value(field: &Field) -> Option<Value> {
    if field.pointer || field.omitzero {
        return None;
    }
    Some(match &field.ty {
        Type::Message(id) => {
            let mut empty = Value::Object(Map::new());
            normalize(&mut empty, id.def());
            empty
        }
        // Structs to Go, which omitempty does not concern.
        Type::IntOrString => 0.into(),
        Type::Quantity => "0".into(),
        Type::Time | Type::MicroTime => Value::Null,
        _ if field.omitempty => return None,
        Type::String => "".into(),
        Type::Int32 | Type::Int64 => 0.into(),
        Type::Bool => false.into(),
        Type::List(_) | Type::Map(_) | Type::Bytes => Value::Null,
        _ => return None,
    })
}
