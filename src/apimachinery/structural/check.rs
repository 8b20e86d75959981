//! Validation of a value, worded as upstream's OpenAPI validator words it.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Additional, Kind, Structural};
use crate::field::{Error, ErrorList, Path};

fn path(at: &str) -> Path {
    if at.is_empty() {
        Path::new("<nil>")
    } else {
        Path::new(at)
    }
}

fn child(at: &str, name: &str) -> String {
    if at.is_empty() {
        name.to_owned()
    } else {
        format!("{at}.{name}")
    }
}

fn type_name(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn whole(v: &Value) -> bool {
    v.as_f64().is_some_and(|f| f.fract() == 0.0)
}

/// Checks a value. What is as it was before (`old`) is not looked at: an update may leave it so.
pub(super) fn value(s: &Structural, v: &Value, old: Option<&Value>, at: &str, errs: &mut ErrorList) {
    if old == Some(v) {
        return;
    }
    if v.is_null() {
        if !s.nullable && s.kind != Kind::Any {
            wrong_type(s, v, at, errs);
        }
        return;
    }
    if !fits(s, v) {
        wrong_type(s, v, at, errs);
        return;
    }
    common(s, v, at, errs);
    match v {
        Value::String(t) => string(s, t, at, errs),
        Value::Number(_) => number(s, v, at, errs),
        Value::Array(items) => array(s, items, old, at, errs),
        Value::Object(_) => object(s, v, old, at, errs),
        _ => {}
    }
    junctors(s, v, at, errs);
}

/// The items of a keyed list by their keys; items of other lists have no past of their own.
fn items_before<'a>(s: &Structural, old: Option<&'a Value>) -> HashMap<Value, &'a Value> {
    let mut before = HashMap::new();
    if s.list_type == "map" {
        for item in old.and_then(Value::as_array).into_iter().flatten() {
            before.entry(Value::Object(s.item_key(item))).or_insert(item);
        }
    }
    before
}

fn fits(s: &Structural, v: &Value) -> bool {
    if s.int_or_string {
        return v.is_string() || whole(v);
    }
    match s.kind {
        Kind::Object => v.is_object(),
        Kind::Array => v.is_array(),
        Kind::String => v.is_string(),
        Kind::Boolean => v.is_boolean(),
        Kind::Number => v.is_number(),
        Kind::Integer => v.is_number() && whole(v),
        Kind::Any => true,
    }
}

fn wrong_type(s: &Structural, v: &Value, at: &str, errs: &mut ErrorList) {
    let wanted = match s.kind {
        _ if s.int_or_string => "integer,string",
        Kind::Object => "object",
        Kind::Array => "array",
        Kind::String => "string",
        Kind::Integer => "integer",
        Kind::Number => "number",
        Kind::Boolean => "boolean",
        Kind::Any => return,
    };
    let found = type_name(v);
    errs.push(Error::type_invalid(
        &path(at),
        found,
        format!("{at} in body must be of type {wanted}: \"{found}\""),
    ));
}

fn common(s: &Structural, v: &Value, at: &str, errs: &mut ErrorList) {
    let allowed = &s.limits.allowed;
    if !allowed.is_empty() && !allowed.contains(v) {
        let names: Vec<String> = allowed
            .iter()
            .map(|a| a.as_str().map_or_else(|| a.to_string(), str::to_owned))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        errs.push(Error::not_supported(&path(at), v.clone(), &names));
    }
}

fn invalid(v: &Value, at: &str, why: String, errs: &mut ErrorList) {
    errs.push(Error::invalid(
        &path(at),
        v.clone(),
        format!("{at} in body {why}"),
    ));
}

fn string(s: &Structural, t: &str, at: &str, errs: &mut ErrorList) {
    let l = &s.limits;
    let v = Value::from(t);
    let chars = t.chars().count();
    if let Some(max) = l.max_length.filter(|m| chars > *m) {
        errs.push(Error::too_long(&path(at), max));
    }
    if let Some(min) = l.min_length.filter(|m| chars < *m) {
        invalid(&v, at, format!("should be at least {min} chars long"), errs);
    }
    if let Some(p) = l.pattern.as_ref().filter(|p| !p.is_match(t)) {
        invalid(&v, at, format!("should match '{p}'"), errs);
    }
    if !format_ok(&l.format, t) {
        misformed(s, &v, at, &crate::field::quote(t), errs);
    }
}

/// A format is as good as a type.
fn misformed(s: &Structural, v: &Value, at: &str, shown: &str, errs: &mut ErrorList) {
    let detail = format!("{at} in body must be of type {}: {shown}", s.limits.format);
    errs.push(Error::type_invalid(&path(at), v.clone(), detail));
}

/// The formats upstream knows; others are not checked.
fn format_ok(format: &str, t: &str) -> bool {
    match format {
        "date-time" | "datetime" => crate::meta::parse_time(t).is_some(),
        "date" => t.parse::<jiff::civil::Date>().is_ok(),
        "ipv4" => t.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => t.parse::<std::net::Ipv6Addr>().is_ok(),
        "cidr" => t.parse::<ipnet::IpNet>().is_ok(),
        "uuid" | "uuid4" => uuid::Uuid::parse_str(t).is_ok(),
        "byte" => {
            use base64::Engine as _;
            base64::prelude::BASE64_STANDARD.decode(t).is_ok()
        }
        "hostname" => crate::names::dns1123_subdomain(&t.to_lowercase()).is_empty(),
        _ => true,
    }
}

fn number(s: &Structural, v: &Value, at: &str, errs: &mut ErrorList) {
    let l = &s.limits;
    let n = v.as_f64().unwrap_or(0.0);
    match l.minimum {
        Some(m) if l.exclusive_minimum && n <= m => {
            invalid(v, at, format!("should be greater than {m}"), errs)
        }
        Some(m) if n < m => invalid(v, at, format!("should be greater than or equal to {m}"), errs),
        _ => {}
    }
    match l.maximum {
        Some(m) if l.exclusive_maximum && n >= m => invalid(v, at, format!("should be less than {m}"), errs),
        Some(m) if n > m => invalid(v, at, format!("should be less than or equal to {m}"), errs),
        _ => {}
    }
    if let Some(m) = l.multiple_of.filter(|m| *m > 0.0)
        && (n / m).fract() != 0.0
    {
        invalid(v, at, format!("should be a multiple of {m}"), errs);
    }
    let range = match l.format.as_str() {
        "int32" => Some((f64::from(i32::MIN), f64::from(i32::MAX))),
        _ => None,
    };
    if let Some((lo, hi)) = range
        && !(lo..=hi).contains(&n)
    {
        misformed(s, v, at, &format!("\"{v}\""), errs);
    }
}

fn array(s: &Structural, items: &[Value], old: Option<&Value>, at: &str, errs: &mut ErrorList) {
    let l = &s.limits;
    if let Some(max) = l.max_items.filter(|m| items.len() > *m) {
        errs.push(Error::too_many(&path(at), items.len(), max));
    }
    if let Some(min) = l.min_items.filter(|m| items.len() < *m) {
        let v = Value::from(items.len());
        invalid(&v, at, format!("should have at least {min} items"), errs);
    }
    let mut seen = HashSet::new();
    if l.unique_items && !items.iter().all(|item| seen.insert(item)) {
        invalid(
            &Value::from(items.to_vec()),
            at,
            "shouldn't contain duplicates".into(),
            errs,
        );
    }
    duplicates(s, items, at, errs);
    if let Some(item) = &s.items {
        let before = items_before(s, old);
        for (i, v) in items.iter().enumerate() {
            let past = if before.is_empty() {
                None
            } else {
                before.get(&Value::Object(s.item_key(v))).copied()
            };
            value(item, v, past, &format!("{at}[{i}]"), errs);
        }
    }
}

/// Sets and keyed lists hold every item once.
fn duplicates(s: &Structural, items: &[Value], at: &str, errs: &mut ErrorList) {
    let mut seen: HashSet<Value> = HashSet::new();
    for (i, v) in items.iter().enumerate() {
        let key = match s.list_type.as_str() {
            "set" => v.clone(),
            "map" => Value::Object(s.item_key(v)),
            _ => return,
        };
        if seen.contains(&key) {
            errs.push(Error::duplicate(&path(&format!("{at}[{i}]")), key));
        } else {
            seen.insert(key);
        }
    }
}

fn object(s: &Structural, v: &Value, old: Option<&Value>, at: &str, errs: &mut ErrorList) {
    let Some(o) = v.as_object() else { return };
    let l = &s.limits;
    for r in &l.required {
        if o.get(r).is_none() {
            errs.push(Error::required(&path(&child(at, r)), ""));
        }
    }
    if let Some(max) = l.max_properties.filter(|m| o.len() > *m) {
        errs.push(Error::too_many(&path(at), o.len(), max));
    }
    if let Some(min) = l.min_properties.filter(|m| o.len() < *m) {
        invalid(v, at, format!("should have at least {min} properties"), errs);
    }
    if s.embedded {
        embedded(o, at, errs);
    }
    for (k, v) in o {
        let before = old.and_then(|old| old.get(k));
        match (s.properties.get(k), &s.additional) {
            (Some(p), _) => value(p, v, before, &child(at, k), errs),
            (None, Additional::Schema(p)) => value(p, v, before, &child(at, k), errs),
            _ => {}
        }
    }
}

/// A resource within the object says what it is, and its metadata is as every object's.
fn embedded(o: &serde_json::Map<String, Value>, at: &str, errs: &mut ErrorList) {
    for field in ["apiVersion", "kind"] {
        let place = path(&child(at, field));
        match o.get(field) {
            None => errs.push(Error::required(&place, "")),
            Some(Value::String(text)) if text.is_empty() => {
                errs.push(Error::invalid(&place, "", "must not be empty"));
            }
            Some(Value::String(text)) if field == "kind" => {
                let messages = crate::names::dns1035_label(&text.to_lowercase());
                if !messages.is_empty() {
                    let detail = format!(
                        "may have mixed case, but should otherwise match: {}",
                        messages.join(",")
                    );
                    errs.push(Error::invalid(&place, text.as_str(), detail));
                }
            }
            Some(Value::String(text)) if text.matches('/').count() > 1 => {
                let detail = format!("unexpected GroupVersion string: {text}");
                errs.push(Error::invalid(&place, text.as_str(), detail));
            }
            Some(Value::String(_)) => {}
            Some(other) => errs.push(Error::invalid(&place, other.clone(), "must be a string")),
        }
    }
    if let Some(metadata) = o.get("metadata").filter(|m| m.is_object()) {
        let mut object = serde_json::json!({"metadata": metadata});
        if crate::meta::name(&object).is_empty() {
            // A name may be missing here.
            crate::meta::set(&mut object, "name", "fakename");
        }
        let namespaced = !crate::meta::namespace(&object).is_empty();
        let check = |name: &str, _: bool| crate::names::path_segment(name);
        let place = path(&child(at, "metadata"));
        errs.extend(crate::validation::object_meta(&object, namespaced, check, &place));
    }
}

fn faults(s: &Structural, v: &Value, at: &str) -> ErrorList {
    let mut errs = ErrorList::new();
    value(s, v, None, at, &mut errs);
    errs
}

fn passes(s: &Structural, v: &Value, at: &str) -> bool {
    faults(s, v, at).is_empty()
}

/// What is wrong by the alternative that came closest.
fn closest(all: &[Structural], v: &Value, at: &str) -> ErrorList {
    all.iter()
        .map(|s| faults(s, v, at))
        .min_by_key(ErrorList::len)
        .unwrap_or_default()
}

fn junctors(s: &Structural, v: &Value, at: &str, errs: &mut ErrorList) {
    for a in &s.all_of {
        value(a, v, None, at, errs);
    }
    // Upstream names no field in these, only the place in the text.
    let bad = |why: &str| {
        Error::invalid(
            &Path::new("<nil>"),
            "",
            format!("{} {why}", crate::field::quote(at)),
        )
    };
    if !s.any_of.is_empty() && !s.any_of.iter().any(|a| passes(a, v, at)) {
        errs.push(bad("must validate at least one schema (anyOf)"));
        errs.extend(closest(&s.any_of, v, at));
    }
    if !s.one_of.is_empty() {
        match s.one_of.iter().filter(|a| passes(a, v, at)).count() {
            1 => {}
            0 => {
                errs.push(bad(
                    "must validate one and only one schema (oneOf). Found none valid",
                ));
                errs.extend(closest(&s.one_of, v, at));
            }
            n => errs.push(bad(&format!(
                "must validate one and only one schema (oneOf). Found {n} valid alternatives"
            ))),
        }
    }
    if !s.all_of.is_empty() && !s.all_of.iter().all(|a| passes(a, v, at)) {
        errs.push(bad("must validate all the schemas (allOf)"));
    }
    if s.not.as_ref().is_some_and(|n| passes(n, v, at)) {
        errs.push(bad("must not validate the schema (not)"));
    }
}
