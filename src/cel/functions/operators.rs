//! Operators: arithmetic, order, equality, membership, indices.

use std::{cmp::Ordering, rc::Rc};

use super::{NO_OVERLOAD, Out, no_overload};
use crate::{
    types::ListKeys,
    value::{Fields, List, Map, Object, Value},
};

pub(crate) fn call<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    match (name, args) {
        ("_==_", [a, b]) => Ok(Value::Bool(equal(a, b))),
        ("_!=_", [a, b]) => Ok(Value::Bool(!equal(a, b))),
        ("_<_" | "_<=_" | "_>_" | "_>=_", [a, b]) => {
            let order = order(a, b)?;
            Ok(Value::Bool(match name {
                "_<_" => order == Some(Ordering::Less),
                "_<=_" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                "_>_" => order == Some(Ordering::Greater),
                _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            }))
        }
        ("_+_", [a, b]) => add(a, b),
        ("_-_", [a, b]) => subtract(a, b),
        ("_*_" | "_/_" | "_%_", [a, b]) => multiply(name, a, b),
        ("-_", [Value::Int(i)]) => i.checked_neg().map(Value::Int).ok_or_else(overflow),
        ("-_", [Value::Double(d)]) => Ok(Value::Double(-d)),
        ("!_", [Value::Bool(b)]) => Ok(Value::Bool(!b)),
        ("@in", [item, Value::List(list)]) => Ok(Value::Bool(list.iter().any(|v| equal(item, &v)))),
        ("@in", [item, Value::Map(map)]) => Ok(Value::Bool(map.get(item).is_some())),
        ("@in", [Value::String(name), Value::Object(object)]) => Ok(Value::Bool(object.has(name))),
        ("size", [value]) => match value {
            Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_) | Value::Object(_) => {
                Ok(Value::Int(value.cost_size() as i64))
            }
            _ => no_overload(),
        },
        _ => no_overload(),
    }
}

fn overflow() -> String {
    "integer overflow".to_owned()
}

fn unsigned_overflow() -> String {
    "unsigned integer overflow".to_owned()
}

/// Equality over all types: numbers compare by amount, what has different types differs.
pub(crate) fn equal(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
        ) => order(a, b).is_ok_and(|order| order == Some(Ordering::Equal)),
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Type(a), Value::Type(b)) => a == b,
        (Value::Quantity(a), Value::Quantity(b)) => a == b,
        (Value::Ip(a), Value::Ip(b)) => a == b,
        (Value::Cidr(a), Value::Cidr(b)) => a == b,
        (Value::Url(a), Value::Url(b)) => a == b,
        (Value::Semver(a), Value::Semver(b)) => a.cmp(b) == Ordering::Equal,
        (Value::Format(a), Value::Format(b)) => std::ptr::eq(*a, *b),
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => equal(a, b),
            _ => false,
        },
        (Value::List(a), Value::List(b)) => same_lists(a, b),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len()
                && a.keys().iter().all(|key| match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => equal(&a, &b),
                    _ => false,
                })
        }
        (Value::Object(a), Value::Object(b)) => same_objects(a, b),
        (Value::Object(object), Value::Map(map)) | (Value::Map(map), Value::Object(object)) => {
            object.names().len() == map.len()
                && object.names().iter().all(|name| {
                    let field = object.field(name).and_then(Result::ok);
                    match (field, map.get(&Value::string(name.as_str()))) {
                        (Some((a, _)), Some(b)) => equal(&a, &b),
                        _ => false,
                    }
                })
        }
        _ => false,
    }
}

fn same_objects(a: &Object<'_>, b: &Object<'_>) -> bool {
    if let (Fields::Json(a), Fields::Json(b)) = (&a.fields, &b.fields)
        && std::ptr::eq(*a, *b)
    {
        return true;
    }
    let names = a.names();
    names.len() == b.names().len()
        && names.iter().all(|name| {
            let left = a.field(name).and_then(Result::ok);
            let right = b.field(name).and_then(Result::ok);
            match (left, right) {
                (Some((a, _)), Some((b, _))) => equal(&a, &b),
                _ => false,
            }
        })
}

fn same_lists(a: &List<'_>, b: &List<'_>) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.keys().or_else(|| b.keys()).as_deref() {
        None => a.iter().zip(b.iter()).all(|(a, b)| equal(&a, &b)),
        Some(ListKeys::Set) => a.iter().all(|x| b.iter().any(|y| equal(&x, &y))),
        Some(ListKeys::Map(keys)) => a
            .iter()
            .all(|x| b.iter().any(|y| same_key(keys, &x, &y) && equal(&x, &y))),
    }
}

/// Whether two elements have the same list map keys.
fn same_key(keys: &[String], a: &Value<'_>, b: &Value<'_>) -> bool {
    keys.iter().all(|key| match (member(a, key), member(b, key)) {
        (Some(a), Some(b)) => equal(&a, &b),
        (None, None) => true,
        _ => false,
    })
}

fn member<'a>(value: &Value<'a>, json: &str) -> Option<Value<'a>> {
    match value {
        Value::Object(object) => {
            let name = crate::names::escape(json)?;
            object.field(&name)?.ok().map(|(value, _)| value)
        }
        Value::Map(map) => map.get(&Value::string(json.to_owned())),
        _ => None,
    }
}

/// Order of two values of comparable types; `None` with NaN.
pub(crate) fn order(a: &Value<'_>, b: &Value<'_>) -> Result<Option<Ordering>, String> {
    let with_double = |whole: f64, other: f64| whole.partial_cmp(&other);
    Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Double(b)) => with_double(*a as f64, *b),
        (Value::Uint(a), Value::Double(b)) => with_double(*a as f64, *b),
        (Value::Double(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Double(a), Value::Uint(b)) => a.partial_cmp(&(*b as f64)),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        _ => return Err(NO_OVERLOAD.to_owned()),
    })
}

fn add<'a>(a: &Value<'a>, b: &Value<'a>) -> Out<'a> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.checked_add(*b).map(Value::Int).ok_or_else(overflow),
        (Value::Uint(a), Value::Uint(b)) => a.checked_add(*b).map(Value::Uint).ok_or_else(unsigned_overflow),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::String(a), Value::String(b)) => Ok(Value::string(format!("{a}{b}"))),
        (Value::Bytes(a), Value::Bytes(b)) => Ok(Value::Bytes([&a[..], &b[..]].concat().into())),
        (Value::List(a), Value::List(b)) => Ok(Value::List(concat(a, b))),
        (Value::Duration(a), Value::Duration(b)) => a
            .checked_add(*b)
            .map(Value::Duration)
            .ok_or_else(|| "duration overflow".into()),
        (Value::Timestamp(t), Value::Duration(d)) | (Value::Duration(d), Value::Timestamp(t)) => t
            .checked_add(*d)
            .map(Value::Timestamp)
            .map_err(|_| "timestamp overflow".into()),
        _ => no_overload(),
    }
}

/// A set takes what it lacks; a list with keys lets the later element win.
fn concat<'a>(a: &List<'a>, b: &List<'a>) -> List<'a> {
    let keys = a.keys();
    let mut items: Vec<Value<'a>> = a.iter().collect();
    for item in b.iter() {
        let there = match keys.as_deref() {
            None => None,
            Some(ListKeys::Set) => items.iter().position(|v| equal(v, &item)),
            Some(ListKeys::Map(keys)) => items.iter().position(|v| same_key(keys, v, &item)),
        };
        match there {
            Some(i) => items[i] = item,
            None => items.push(item),
        }
    }
    List::Own(Rc::new(items), keys)
}

fn subtract<'a>(a: &Value<'a>, b: &Value<'a>) -> Out<'a> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.checked_sub(*b).map(Value::Int).ok_or_else(overflow),
        (Value::Uint(a), Value::Uint(b)) => a.checked_sub(*b).map(Value::Uint).ok_or_else(unsigned_overflow),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        (Value::Duration(a), Value::Duration(b)) => a
            .checked_sub(*b)
            .map(Value::Duration)
            .ok_or_else(|| "duration overflow".into()),
        (Value::Timestamp(t), Value::Duration(d)) => t
            .checked_sub(*d)
            .map(Value::Timestamp)
            .map_err(|_| "timestamp overflow".into()),
        (Value::Timestamp(a), Value::Timestamp(b)) => Ok(Value::Duration(a.duration_since(*b))),
        _ => no_overload(),
    }
}

fn multiply<'a>(name: &str, a: &Value<'a>, b: &Value<'a>) -> Out<'a> {
    let by_zero = || -> Out<'a> {
        Err(if name == "_%_" {
            "modulus by zero"
        } else {
            "division by zero"
        }
        .to_owned())
    };
    match (name, a, b) {
        ("_*_", Value::Int(a), Value::Int(b)) => a.checked_mul(*b).map(Value::Int).ok_or_else(overflow),
        ("_*_", Value::Uint(a), Value::Uint(b)) => {
            a.checked_mul(*b).map(Value::Uint).ok_or_else(unsigned_overflow)
        }
        ("_*_", Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        ("_/_", Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        (_, Value::Int(_), Value::Int(0)) | (_, Value::Uint(_), Value::Uint(0)) => by_zero(),
        ("_/_", Value::Int(a), Value::Int(b)) => a.checked_div(*b).map(Value::Int).ok_or_else(overflow),
        ("_%_", Value::Int(a), Value::Int(b)) => a.checked_rem(*b).map(Value::Int).ok_or_else(overflow),
        ("_/_", Value::Uint(a), Value::Uint(b)) => Ok(Value::Uint(a / b)),
        ("_%_", Value::Uint(a), Value::Uint(b)) => Ok(Value::Uint(a % b)),
        _ => no_overload(),
    }
}

fn position(index: &Value<'_>, len: usize) -> Result<Option<usize>, String> {
    let at = match index {
        Value::Int(i) => *i,
        Value::Uint(u) => i64::try_from(*u).map_err(|_| overflow())?,
        Value::Double(d) if d.fract() == 0.0 => *d as i64,
        other => {
            return Err(format!("unsupported index type '{}' in list", other.type_name()));
        }
    };
    Ok(usize::try_from(at).ok().filter(|at| *at < len))
}

/// `target[index]`.
pub(crate) fn index<'a>(target: &Value<'a>, index: &Value<'a>) -> Out<'a> {
    match target {
        Value::List(list) => match position(index, list.len())? {
            Some(at) => list.get(at).ok_or_else(|| NO_OVERLOAD.to_owned()),
            None => Err(format!("index out of bounds: {}", shown(index))),
        },
        Value::Map(map) => map
            .get(index)
            .ok_or_else(|| format!("no such key: {}", shown(index))),
        Value::Object(object) => match index {
            Value::String(name) => match object.field(name) {
                Some(Ok((value, _))) => Ok(value),
                Some(Err(error)) => Err(error.to_string()),
                None => Err(format!("no such key: {name}")),
            },
            _ => no_overload(),
        },
        Value::Optional(_) => optional_index(target, index),
        _ => no_overload(),
    }
}

fn shown(value: &Value<'_>) -> String {
    super::convert::to_text(value).unwrap_or_else(|_| value.type_name().to_owned())
}

/// `target[?index]`.
pub(crate) fn optional_index<'a>(target: &Value<'a>, key: &Value<'a>) -> Out<'a> {
    let found = match target {
        Value::Optional(None) => None,
        Value::Optional(Some(inner)) => return optional_index(inner, key),
        Value::List(list) => position(key, list.len())?.and_then(|at| list.get(at)),
        Value::Map(map @ (Map::Json(..) | Map::Own(_))) => map.get(key),
        Value::Object(object) => match key {
            Value::String(name) if object.has(name) => Some(index(target, key)?),
            _ => None,
        },
        _ => return no_overload(),
    };
    Ok(Value::optional(found))
}
