//! The owner of a new object's fields, written as text.
//!
//! Nearly all writes of objects that live for a short time are creates. Whoever creates owns everything that
//! is set, so that the set has as many members as the object; it is written once and only read again by
//! those who change the object later.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::managers::{self, Id};
use super::set::{Element, Set};
use super::typed::{self, Shape};
use super::{Request, UNOWNED};
use crate::schema::TypeDef;

/// `metadata.managedFields` of a new object, as compact JSON in the order of what is stored; `None` when it
/// sets nothing that anybody owns.
///
/// What the object itself carries there is not looked at.
pub(super) fn owners(r: &Request<'_>, new: &Value, shape: Shape<'_>) -> Option<String> {
    let skip = Skip {
        only: Some(&UNOWNED),
        whole: Some(r.ignored),
    };
    let mut text = String::with_capacity(1024);
    text.push_str("[{\"apiVersion\":");
    string(&mut text, r.api_version);
    text.push_str(",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{");
    let empty = text.len();
    let old = match r.def {
        Some(def) => def.skeleton.get_or_init(|| skeleton(def)),
        None => &UNTYPED,
    };
    fields(Some(old), new, shape, skip, &mut text);
    if text.len() == empty {
        return None;
    }
    text.push_str("},");
    let id = Id::new(r.manager, false, r.api_version, r.subresource);
    // The rest of the entry stands behind the fields.
    let rest = managers::updater(&id, Value::Null, r.now);
    let rest = rest.as_object().into_iter().flatten();
    for (key, value) in rest.filter(|(key, _)| key.as_str() > "fieldsV1") {
        string(&mut text, key);
        text.push(':');
        text.push_str(&value.to_string());
        text.push(',');
    }
    text.pop();
    text.push_str("}]");
    Some(text)
}

/// What is left out of a field set: members of `only` by themselves, members of `whole` with all that is below
/// them.
#[derive(Clone, Copy)]
struct Skip<'a> {
    only: Option<&'a Set>,
    whole: Option<&'a Set>,
}

impl<'a> Skip<'a> {
    /// What is left out below `name`, and whether `name` itself is; `None` when everything is.
    fn below(self, name: &str) -> Option<(bool, Skip<'a>)> {
        if self.only.is_none() && self.whole.is_none() {
            return Some((false, self));
        }
        let e = Element::Field(name.to_owned());
        if self.whole.is_some_and(|set| set.has(&e)) {
            return None;
        }
        let below = |set: Option<&'a Set>| set.and_then(|set| set.below(&e));
        let skip = Skip {
            only: below(self.only),
            whole: below(self.whole),
        };
        Some((self.only.is_some_and(|set| set.has(&e)), skip))
    }
}

/// Appends the members of what `new` has beyond `old` (its type's skeleton), each with a comma before it
/// unless it is the first of its object: what [`typed::compare`] finds added or modified.
fn fields(old: Option<&Value>, new: &Value, shape: Shape<'_>, skip: Skip<'_>, out: &mut String) {
    if shape.is_list() {
        // A skeleton's lists are empty.
        let mut items: Vec<(String, &Value)> = typed::keyed(shape, Some(new))
            .into_iter()
            .map(|(e, item)| (e.encode(), item))
            .collect();
        // The first of those with one key counts.
        items.sort_by(|a, b| a.0.cmp(&b.0));
        items.dedup_by(|later, first| later.0 == first.0);
        for (key, item) in items {
            let key = |out: &mut String| string(out, &key);
            part(key, None, item, shape.item(), skip, false, out);
        }
        return;
    }
    let old = typed::object(old);
    for (name, child) in typed::object(Some(new)).into_iter().flatten() {
        if let Some((unnamed, skip)) = skip.below(name) {
            let before = old.and_then(|old| old.get(name));
            let key = |out: &mut String| {
                let from = out.len();
                string(out, name);
                out.insert_str(from + 1, "f:");
            };
            part(key, before, child, shape.child(name), skip, unnamed, out);
        }
    }
}

fn part(
    key: impl FnOnce(&mut String),
    old: Option<&Value>,
    new: &Value,
    shape: Shape<'_>,
    skip: Skip<'_>,
    unnamed: bool,
    out: &mut String,
) {
    if old == Some(new) {
        return;
    }
    let start = out.len();
    if !out.ends_with('{') {
        out.push(',');
    }
    key(out);
    out.push_str(":{");
    let whole = typed::is_leaf(old, Some(new), shape);
    let member = !unnamed && (whole || old.is_none());
    if !whole {
        let inside = out.len();
        if member {
            out.push_str("\".\":{}");
        }
        let named = out.len();
        fields(old, new, shape, skip, out);
        match (out.len() > named, member) {
            (true, _) => {}
            // A member without parts needs no word that it is one.
            (false, true) => out.truncate(inside),
            (false, false) => return out.truncate(start),
        }
    } else if !member {
        return out.truncate(start);
    }
    out.push('}');
}

/// Appends a JSON string.
fn string(out: &mut String, text: &str) {
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&Value::from(text).to_string());
    }
}

/// An object of no known type before anything is set.
static UNTYPED: LazyLock<Value> = LazyLock::new(|| serde_json::json!({"metadata": {}}));

/// What an object of a type has before anything is set: structs, texts and numbers that Go writes
/// empty. Fields that are there already are not "added" by a create.
pub(super) fn skeleton(def: &TypeDef) -> Value {
    let mut out = Value::Object(Map::new());
    crate::codec::normalize(&mut out, def);
    out
}
