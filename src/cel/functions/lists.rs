//! Lists: Kubernetes' list functions and cel-go's sets extension.

pub(crate) mod ext;

use std::{cmp::Ordering, rc::Rc};

use super::{Out, no_overload, operators};
use crate::value::{Key, List, Map, Value};

pub(crate) fn call<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    match (name, args) {
        ("cel.@mapInsert", [Value::Map(map), rest @ ..]) => insert(map, rest),
        ("sets.contains", [Value::List(a), Value::List(b)]) => Ok(Value::Bool(contains_all(a, b))),
        ("sets.equivalent", [Value::List(a), Value::List(b)]) => {
            Ok(Value::Bool(contains_all(a, b) && contains_all(b, a)))
        }
        ("sets.intersects", [Value::List(a), Value::List(b)]) => {
            Ok(Value::Bool(b.iter().any(|item| has(a, &item))))
        }
        ("isSorted", [Value::List(list)]) => {
            let mut before: Option<Value<'a>> = None;
            for item in list.iter() {
                if let Some(before) = &before
                    && operators::order(before, &item)? == Some(Ordering::Greater)
                {
                    return Ok(Value::Bool(false));
                }
                before = Some(item);
            }
            Ok(Value::Bool(true))
        }
        ("sum", [Value::List(list)]) => {
            let mut items = list.iter();
            let Some(first) = items.next() else {
                return Ok(Value::Int(0));
            };
            let mut sum = first;
            for item in items {
                sum = operators::call("_+_", &[sum, item])?;
            }
            Ok(sum)
        }
        ("max" | "min", [Value::List(list)]) => {
            let wanted = if name == "max" {
                Ordering::Greater
            } else {
                Ordering::Less
            };
            let mut best: Option<Value<'a>> = None;
            for item in list.iter() {
                let better = match &best {
                    None => true,
                    Some(best) => operators::order(&item, best)? == Some(wanted),
                };
                if better {
                    best = Some(item);
                }
            }
            best.ok_or_else(|| format!("{name} called on empty list"))
        }
        ("indexOf", [Value::List(list), wanted]) => Ok(place(
            list.iter().position(|item| operators::equal(&item, wanted)),
        )),
        ("lastIndexOf", [Value::List(list), wanted]) => {
            let at = (0..list.len())
                .rev()
                .find(|i| list.get(*i).is_some_and(|item| operators::equal(&item, wanted)));
            Ok(place(at))
        }
        _ => no_overload(),
    }
}

fn place<'a>(at: Option<usize>) -> Value<'a> {
    Value::Int(at.map_or(-1, |at| at as i64))
}

fn has(list: &List<'_>, wanted: &Value<'_>) -> bool {
    list.iter().any(|item| operators::equal(&item, wanted))
}

fn contains_all(a: &List<'_>, b: &List<'_>) -> bool {
    b.iter().all(|item| has(a, &item))
}

fn insert<'a>(map: &Map<'a>, rest: &[Value<'a>]) -> Out<'a> {
    let mut entries = std::collections::BTreeMap::new();
    let mut put = |key: &Value<'a>, value: Value<'a>| -> Result<(), String> {
        let Some(name) = Key::of(key) else {
            return Err(format!("unsupported key type: {}", key.type_name()));
        };
        match entries.insert(name.clone(), value) {
            None => Ok(()),
            Some(_) => Err(format!("insert failed: key {name} already exists")),
        }
    };
    let mut all = |map: &Map<'a>| -> Result<(), String> {
        for key in map.keys() {
            if let Some(value) = map.get(&key) {
                put(&key, value)?;
            }
        }
        Ok(())
    };
    all(map)?;
    match rest {
        [Value::Map(more)] => all(more)?,
        [key, value] => put(key, value.clone())?,
        _ => return no_overload(),
    }
    Ok(Value::Map(Map::Own(Rc::new(entries))))
}
