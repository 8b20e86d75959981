//! Strategic merge patch: upstream's `strategicpatch` package, over the schema.
//!
//! Directives: `$patch: delete|replace` in a map, `$patch` elements in a list,
//! `$deleteFromPrimitiveList/f`, `$setElementOrder/f`, `$retainKeys`.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::codec;
use crate::schema::{Field, Type, TypeDef};

type Object = Map<String, Value>;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_LIST: &str = "$deleteFromPrimitiveList";
const ELEMENT_ORDER: &str = "$setElementOrder";

#[derive(Debug)]
pub(super) enum Error {
    /// The patch itself is malformed (400).
    Bad(String),
    /// The patch does not fit the object (422).
    Unfit(String),
}

type Result<T> = std::result::Result<T, Error>;

/// What is known of the value being merged.
#[derive(Clone, Copy)]
enum Ctx<'a> {
    Struct(&'a TypeDef),
    Map(&'a Type),
    Unknown,
}

impl<'a> Ctx<'a> {
    fn of(ty: &'a Type) -> Self {
        match ty {
            Type::Message(id) => Self::Struct(id.def()),
            Type::Map(value) => Self::Map(value),
            _ => Self::Unknown,
        }
    }

    fn field(self, name: &str) -> Option<&'a Field> {
        match self {
            Self::Struct(def) => def.field(name),
            _ => None,
        }
    }

    fn child(self, name: &str) -> Self {
        match self {
            Self::Struct(def) => def.field(name).map_or(Self::Unknown, |f| Self::of(&f.ty)),
            Self::Map(value) => Self::of(value),
            Self::Unknown => Self::Unknown,
        }
    }

    fn items(self, name: &str) -> Self {
        match self.field(name).map(|f| &f.ty) {
            Some(Type::List(item)) => Self::of(item),
            _ => Self::Unknown,
        }
    }
}

pub(super) fn apply(original: Value, patch: Object, def: &TypeDef) -> Result<Value> {
    let original = match original {
        Value::Object(o) => o,
        _ => Object::new(),
    };
    merge_map(original, patch, Ctx::Struct(def)).map(Value::Object)
}

fn merge_map(mut original: Object, mut patch: Object, ctx: Ctx<'_>) -> Result<Object> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Object::new()),
            _ => {
                patch.insert(DIRECTIVE.into(), directive.clone());
                Err(Error::Bad(format!(
                    "unknown patch type: {} in map: {}",
                    plain(&directive),
                    codec::go_value(&Value::Object(patch))
                )))
            }
        };
    }
    retain_keys(&mut original, &mut patch)?;
    order_lists(&mut original, &mut patch, ctx)?;
    for (key, mut value) in patch {
        let (key, deleting) = match key.strip_prefix(DELETE_LIST) {
            Some(rest) => {
                let name = rest.strip_prefix('/').unwrap_or("");
                if !value.is_array() || name.is_empty() {
                    return Err(Error::Bad("invalid patch format of primitive list".into()));
                }
                (name.to_owned(), true)
            }
            None => (key, false),
        };
        if value.is_null() {
            original.remove(&key);
            continue;
        }
        let merged = match (original.remove(&key), value) {
            (Some(Value::Object(o)), Value::Object(p)) => {
                if ctx.field(&key).is_some_and(|f| f.patch_strategy.replace) {
                    Value::Object(p)
                } else {
                    Value::Object(merge_map(o, p, ctx.child(&key))?)
                }
            }
            (Some(Value::Array(o)), Value::Array(p)) => Value::Array(merge_field(o, p, &key, ctx, deleting)?),
            (old, new) if deleting => {
                drop(new);
                match old {
                    Some(old) => old,
                    None => continue,
                }
            }
            (_, new) => {
                value = new;
                clean(&mut value);
                value
            }
        };
        original.insert(key, merged);
    }
    Ok(original)
}

/// Takes nulls and directives out of a value that is new in the object.
fn clean(v: &mut Value) {
    match v {
        Value::Object(m) => {
            m.retain(|k, v| {
                !v.is_null()
                    && k != DIRECTIVE
                    && k != RETAIN_KEYS
                    && !k.starts_with(DELETE_LIST)
                    && !k.starts_with(ELEMENT_ORDER)
            });
            m.values_mut().for_each(clean);
        }
        Value::Array(items) => {
            items.retain(|i| i.get(DIRECTIVE).is_none());
            items.iter_mut().for_each(clean);
        }
        _ => {}
    }
}

fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<()> {
    let Some(list) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let bad = || Error::Bad("invalid patch format of retainKeys".into());
    let keep: Vec<&str> = list
        .as_array()
        .ok_or_else(bad)?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for (k, v) in patch.iter() {
        let directive = k.starts_with(DELETE_LIST) || k.starts_with(ELEMENT_ORDER);
        if !v.is_null() && !directive && !keep.contains(&k.as_str()) {
            return Err(bad());
        }
    }
    original.retain(|k, _| keep.contains(&k.as_str()));
    Ok(())
}

/// Handles every `$setElementOrder/f`, and with it the list `f` of the patch.
fn order_lists(original: &mut Object, patch: &mut Object, ctx: Ctx<'_>) -> Result<()> {
    let keys: Vec<String> = patch
        .keys()
        .filter(|k| k.starts_with(ELEMENT_ORDER))
        .cloned()
        .collect();
    for key in keys {
        let Some(Value::Array(order)) = patch.remove(&key) else {
            return Err(Error::Bad("invalid patch format of setElementOrder list".into()));
        };
        let name = key[ELEMENT_ORDER.len()..].strip_prefix('/').unwrap_or("");
        if name.is_empty() {
            return Err(Error::Bad("invalid patch format of setElementOrder list".into()));
        }
        let merge_key = merge_key(ctx, name);
        let changes = match patch.remove(name) {
            None => None,
            Some(Value::Array(list)) => Some(list),
            Some(other) => {
                patch.insert(name.to_owned(), other);
                continue;
            }
        };
        if let Some(list) = &changes {
            check_order(list, &order, merge_key)?;
        }
        let server = match original.remove(name) {
            Some(Value::Array(list)) => Some(list),
            _ => None,
        };
        let merged = match (server.clone(), changes) {
            (Some(o), None) => o,
            (None, Some(p)) => {
                let mut v = Value::Array(p);
                clean(&mut v);
                match v {
                    Value::Array(p) => p,
                    _ => vec![],
                }
            }
            (Some(o), Some(p)) => merge_field(o, p, name, ctx, false)?,
            (None, None) => continue,
        };
        let (ours, theirs) = partition(merged, &order, merge_key)?;
        let list = normalize(ours, theirs, &order, server.as_deref().unwrap_or(&[]), merge_key);
        original.insert(name.to_owned(), Value::Array(list));
    }
    Ok(())
}

/// The patch's list must keep the relative order of the order list.
fn check_order(list: &[Value], order: &[Value], key: Option<&str>) -> Result<()> {
    let mut at = 0;
    for item in list.iter().filter(|i| i.get(DIRECTIVE).is_none()) {
        match order[at..]
            .iter()
            .position(|o| identity(o, key).is_some_and(|id| Some(id) == identity(item, key)))
        {
            Some(i) => at += i + 1,
            None => {
                return Err(Error::Bad(format!(
                    "The order in patch list:\n{}\n doesn't match {ELEMENT_ORDER} list:\n{}\n",
                    codec::go_value(&Value::Array(list.to_vec())),
                    codec::go_value(&Value::Array(order.to_vec()))
                )));
            }
        }
    }
    Ok(())
}

fn merge_key<'a>(ctx: Ctx<'a>, name: &str) -> Option<&'a str> {
    ctx.field(name).and_then(|f| f.patch_merge_key.as_deref())
}

fn merge_field(
    original: Vec<Value>,
    patch: Vec<Value>,
    name: &str,
    ctx: Ctx<'_>,
    deleting: bool,
) -> Result<Vec<Value>> {
    if !deleting && !ctx.field(name).is_some_and(|f| f.patch_strategy.merge) {
        let mut v = Value::Array(patch);
        strip_nulls(&mut v);
        return Ok(match v {
            Value::Array(p) => p,
            _ => vec![],
        });
    }
    merge_list(
        original,
        patch,
        name,
        merge_key(ctx, name),
        ctx.items(name),
        deleting,
    )
}

fn strip_nulls(v: &mut Value) {
    match v {
        Value::Object(m) => {
            m.retain(|_, v| !v.is_null());
            m.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

fn merge_list(
    original: Vec<Value>,
    patch: Vec<Value>,
    name: &str,
    key: Option<&str>,
    ctx: Ctx<'_>,
    deleting: bool,
) -> Result<Vec<Value>> {
    let objects = original.iter().chain(&patch).next().is_some_and(Value::is_object);
    if original.iter().chain(&patch).any(|v| v.is_object() != objects) {
        return Err(Error::Unfit(format!(
            "list element types are not identical: {name}"
        )));
    }
    let server = original.clone();
    if !objects {
        if deleting {
            let gone: HashSet<&Value> = patch.iter().collect();
            return Ok(original.into_iter().filter(|v| !gone.contains(v)).collect());
        }
        let mut seen: HashSet<&Value> = HashSet::new();
        let all = server.iter().chain(&patch).filter(|v| seen.insert(v));
        let merged: Vec<Value> = all.cloned().collect();
        let (ours, theirs) = partition(merged, &patch, None)?;
        return Ok(normalize(ours, theirs, &patch, &server, None));
    }
    let Some(key) = key else {
        return Err(Error::Unfit(format!(
            "cannot merge lists without merge key for {name}"
        )));
    };
    let (mut merged, patch) = special_elements(original, patch, key)?;
    let mut places: HashMap<Value, usize> = HashMap::new();
    for (at, item) in merged.iter().enumerate() {
        if let Some(id) = item.get(key) {
            places.entry(id.clone()).or_insert(at);
        }
    }
    for item in &patch {
        let Value::Object(item) = item else { continue };
        let wanted = item.get(key).ok_or_else(|| no_merge_key(item, key))?;
        match places.get(wanted) {
            Some(at) => {
                let slot = &mut merged[*at];
                let old = match slot.take() {
                    Value::Object(o) => o,
                    _ => Object::new(),
                };
                *slot = Value::Object(merge_map(old, item.clone(), ctx)?);
            }
            None => {
                let mut v = Value::Object(item.clone());
                clean(&mut v);
                places.insert(wanted.clone(), merged.len());
                merged.push(v);
            }
        }
    }
    let (ours, theirs) = partition(merged, &patch, Some(key))?;
    Ok(normalize(ours, theirs, &patch, &server, Some(key)))
}

fn no_merge_key(item: &Object, key: &str) -> Error {
    Error::Bad(format!(
        "map: {} does not contain declared merge key: {key}",
        codec::go_value(&Value::Object(item.clone()))
    ))
}

/// Carries out `$patch` elements of a list; returns what to merge into and
/// what is left to merge.
fn special_elements(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>)> {
    let mut rest = vec![];
    let mut gone = HashSet::new();
    let mut replace = false;
    for item in patch {
        let Some(directive) = item.get(DIRECTIVE) else {
            rest.push(item);
            continue;
        };
        match directive.as_str() {
            Some("delete") => match item.get(key) {
                Some(k) => {
                    gone.insert(k.clone());
                }
                None => return Err(no_merge_key(item.as_object().unwrap_or(&Object::new()), key)),
            },
            Some("replace") => replace = true,
            Some("merge") => {
                return Err(Error::Bad(
                    "merging lists cannot yet be specified in the patch".into(),
                ));
            }
            _ => {
                return Err(Error::Bad(format!(
                    "unknown patch type: {} in map: {}",
                    plain(directive),
                    codec::go_value(&item)
                )));
            }
        }
    }
    original.retain(|o| o.get(key).is_none_or(|k| !gone.contains(k)));
    if replace {
        let mut v = Value::Array(rest);
        clean(&mut v);
        return Ok((if let Value::Array(a) = v { a } else { vec![] }, vec![]));
    }
    Ok((original, rest))
}

fn plain(v: &Value) -> String {
    v.as_str().map_or_else(|| v.to_string(), str::to_owned)
}

/// By what an item of a list is known: its merge key, or itself.
fn identity<'a>(v: &'a Value, key: Option<&str>) -> Option<&'a Value> {
    match key {
        Some(k) => v.get(k),
        None => Some(v),
    }
}

/// (items that stand in `list`, the others)
fn partition(items: Vec<Value>, list: &[Value], key: Option<&str>) -> Result<(Vec<Value>, Vec<Value>)> {
    if let Some(k) = key
        && let Some(bad) = list.iter().find(|v| v.get(k).is_none())
    {
        return Err(no_merge_key(bad.as_object().unwrap_or(&Object::new()), k));
    }
    let listed: HashSet<&Value> = list.iter().filter_map(|l| identity(l, key)).collect();
    Ok(items
        .into_iter()
        .partition(|i| identity(i, key).is_some_and(|id| listed.contains(id))))
}

/// Upstream's order: the patch's items in the patch's order, the server's own
/// in the server's, woven together by the server's order where it knows both.
fn normalize(
    ours: Vec<Value>,
    theirs: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let (by_patch, by_server) = (places(patch_order, key), places(server_order, key));
    let place =
        |places: &HashMap<&Value, usize>, v: &Value| identity(v, key).and_then(|id| places.get(id)).copied();
    let sorted = |list: Vec<Value>, places: &HashMap<&Value, usize>| {
        let mut list: Vec<_> = list
            .into_iter()
            .map(|v| (place(places, &v).unwrap_or(usize::MAX), place(&by_server, &v), v))
            .collect();
        list.sort_by_key(|(at, ..)| *at);
        list
    };
    let (ours, theirs) = (sorted(ours, &by_patch), sorted(theirs, &by_server));
    let mut out = Vec::with_capacity(ours.len() + theirs.len());
    let mut ours = ours.into_iter().peekable();
    for (_, theirs_at, their) in theirs {
        while let Some((_, ours_at, _)) = ours.peek() {
            match (theirs_at, ours_at) {
                (Some(t), Some(o)) if t < *o => break,
                _ => out.extend(ours.next().map(|(.., our)| our)),
            }
        }
        out.push(their);
    }
    out.extend(ours.map(|(.., our)| our));
    out
}

/// Where each item stands first.
fn places<'a>(list: &'a [Value], key: Option<&str>) -> HashMap<&'a Value, usize> {
    let mut places = HashMap::new();
    for (at, v) in list.iter().enumerate() {
        if let Some(id) = identity(v, key) {
            places.entry(id).or_insert(at);
        }
    }
    places
}
