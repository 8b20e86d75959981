//! cel-go's lists extension, version 3.

use std::cmp::Ordering;

use super::super::{Out, no_overload, operators};
use crate::value::{List, Value};

/// Elements that `lists.range` makes at most.
const MAX_RANGE: i64 = 1_000_000;

pub(crate) fn call<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    let optional = |value: Option<Value<'a>>| Ok(Value::optional(value));
    match (name, args) {
        ("lists.range", [Value::Int(n)]) if *n > MAX_RANGE => Err(format!(
            "lists.range() size exceeds max allowed list size ({MAX_RANGE})"
        )),
        ("lists.range", [Value::Int(n)]) => Ok(Value::list((0..*n).map(Value::Int).collect())),
        ("slice", [Value::List(list), Value::Int(from), Value::Int(to)]) => slice(list, *from, *to),
        ("first", [Value::List(list)]) => optional(list.get(0)),
        ("last", [Value::List(list)]) => optional(list.len().checked_sub(1).and_then(|at| list.get(at))),
        ("reverse", [Value::List(list)]) => {
            let mut items: Vec<Value<'a>> = list.iter().collect();
            items.reverse();
            Ok(Value::list(items))
        }
        ("distinct", [Value::List(list)]) => {
            let mut items: Vec<Value<'a>> = Vec::new();
            for item in list.iter() {
                if !items.iter().any(|known| operators::equal(known, &item)) {
                    items.push(item);
                }
            }
            Ok(Value::list(items))
        }
        ("flatten", [Value::List(list)]) => Ok(Value::list(flatten(list, 1))),
        ("flatten", [Value::List(_), Value::Int(depth)]) if *depth < 0 => {
            Err("level must be non-negative".into())
        }
        ("flatten", [Value::List(list), Value::Int(depth)]) => Ok(Value::list(flatten(list, *depth))),
        ("sort", [Value::List(list)]) => {
            let items: Vec<Value<'a>> = list.iter().collect();
            sorted(items.clone(), &items)
        }
        ("@sortByAssociatedKeys", [Value::List(list), Value::List(keys)]) => {
            let keys: Vec<Value<'a>> = keys.iter().collect();
            sorted(list.iter().collect(), &keys)
        }
        _ => no_overload(),
    }
}

fn slice<'a>(list: &List<'a>, from: i64, to: i64) -> Out<'a> {
    let why = if from < 0 || to < 0 {
        "negative indexes not supported".to_owned()
    } else if from > to {
        "start index must be less than or equal to end index".to_owned()
    } else if to > list.len() as i64 {
        format!("list is length {}", list.len())
    } else {
        let items = (from as usize..to as usize).filter_map(|at| list.get(at));
        return Ok(Value::list(items.collect()));
    };
    Err(format!("cannot slice({from}, {to}), {why}"))
}

fn flatten<'a>(list: &List<'a>, depth: i64) -> Vec<Value<'a>> {
    let mut out = Vec::new();
    for item in list.iter() {
        match item {
            Value::List(inner) if depth > 0 => out.extend(flatten(&inner, depth - 1)),
            other => out.push(other),
        }
    }
    out
}

/// Items in the order of their keys; items with equal keys stay as they are.
fn sorted<'a>(items: Vec<Value<'a>>, keys: &[Value<'a>]) -> Out<'a> {
    if let Some(first) = keys.first() {
        for key in keys {
            if std::mem::discriminant(first) != std::mem::discriminant(key) {
                return Err("list elements must have the same type".into());
            }
            operators::order(first, key).map_err(|_| "list elements must be comparable".to_owned())?;
        }
    }
    let mut all: Vec<(Value<'a>, &Value<'a>)> = items.into_iter().zip(keys).collect();
    all.sort_by(|(_, a), (_, b)| operators::order(a, b).ok().flatten().unwrap_or(Ordering::Equal));
    Ok(Value::list(all.into_iter().map(|(item, _)| item).collect()))
}
