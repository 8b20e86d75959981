//! Small checks many kinds share.

use std::collections::BTreeSet;

use serde_json::Value;

use super::meta::labels;
use crate::field::{Error, ErrorList, Path};
use crate::names;
use crate::quantity::Quantity;

/// A list's items; none when it is absent.
pub(super) fn list(v: &Value) -> &[Value] {
    v.as_array().map_or(&[], Vec::as_slice)
}

/// A text; empty when it is absent.
pub(super) fn text<'a>(v: &'a Value, field: &str) -> &'a str {
    v[field].as_str().unwrap_or("")
}

/// Absent and empty are the same to a comparison.
fn bare(v: &Value) -> bool {
    match v {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}

/// Equal, where absent equals empty.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    a == b || (bare(a) && bare(b))
}

pub(super) fn immutable(new: &Value, old: &Value, path: &Path, errs: &mut ErrorList) {
    if !same(new, old) {
        errs.push(Error::invalid(path, new.clone(), "field is immutable"));
    }
}

/// A number that must not be below zero.
pub(super) fn nonnegative(v: &Value, path: &Path, errs: &mut ErrorList) {
    if let Some(n) = v.as_i64().filter(|n| *n < 0) {
        errs.push(Error::invalid(path, n, "must be greater than or equal to 0"));
    }
}

/// An enumerated text that must be given.
pub(super) fn required_one_of(v: &Value, allowed: &[&str], path: &Path, errs: &mut ErrorList) {
    match v.as_str().unwrap_or("") {
        "" => errs.push(Error::required(path, "")),
        s if allowed.contains(&s) => {}
        s => errs.push(Error::not_supported(path, s, allowed)),
    }
}

/// An enumerated text that may be absent; empty it is wrong.
pub(super) fn one_if_given(v: &Value, allowed: &[&str], path: &Path, errs: &mut ErrorList) {
    if let Some(s) = v.as_str().filter(|s| !allowed.contains(s)) {
        errs.push(Error::not_supported(path, s, allowed));
    }
}

/// An enumerated text that may be absent or empty.
pub(super) fn one_of(v: &Value, allowed: &[&str], path: &Path, errs: &mut ErrorList) {
    match v.as_str().unwrap_or("") {
        "" => {}
        s if allowed.contains(&s) => {}
        s => errs.push(Error::not_supported(path, s, allowed)),
    }
}

pub(super) fn required(v: &Value, path: &Path, errs: &mut ErrorList) -> bool {
    let missing = bare(v);
    if missing {
        errs.push(Error::required(path, ""));
    }
    !missing
}

/// `metav1.LabelSelector`.
pub(super) fn label_selector(v: &Value, path: &Path, errs: &mut ErrorList) {
    labels(&v["matchLabels"], &path.child("matchLabels"), errs);
    for (i, e) in list(&v["matchExpressions"]).iter().enumerate() {
        let p = path.child("matchExpressions").index(i);
        let values = list(&e["values"]);
        match text(e, "operator") {
            "In" | "NotIn" if values.is_empty() => errs.push(Error::required(
                &p.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errs.push(Error::forbidden(
                &p.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                errs.push(Error::invalid(
                    &p.child("operator"),
                    other,
                    "not a valid selector operator",
                ));
            }
        }
        errs.invalid_each(
            &p.child("key"),
            text(e, "key"),
            names::qualified_name(text(e, "key")),
        );
        for (j, v) in values.iter().enumerate() {
            let v = v.as_str().unwrap_or("");
            errs.invalid_each(&p.child("values").index(j), v, names::label_value(v));
        }
    }
}

/// A count or a percentage; the number it stands for, when it is one.
pub(super) fn int_or_percent(v: &Value, path: &Path, errs: &mut ErrorList) {
    match v {
        Value::Null => {}
        Value::String(s) => {
            if !names::percent(s).is_empty() {
                errs.push(Error::invalid(path, s.as_str(), names::percent(s).join("; ")));
            }
        }
        Value::Number(_) => nonnegative(v, path, errs),
        other => errs.push(Error::invalid(
            path,
            other.clone(),
            "must be an integer or percentage (e.g '5%%')",
        )),
    }
}

/// The percentage of an `int_or_percent`, when it is one.
pub(super) fn percentage(v: &Value) -> Option<i64> {
    v.as_str()?.strip_suffix('%')?.parse().ok()
}

pub(super) fn not_over_100_percent(v: &Value, path: &Path, errs: &mut ErrorList) {
    if percentage(v).is_some_and(|p| p > 100) {
        errs.push(Error::invalid(path, v.clone(), "must not be greater than 100%"));
    }
}

/// A quantity that must not be below zero.
pub(super) fn nonnegative_quantity(v: &Value, path: &Path, errs: &mut ErrorList) {
    match Quantity::from_value(v) {
        Ok(q) if q.sign() < 0 => {
            errs.push(Error::invalid(
                path,
                q.to_string(),
                "must be greater than or equal to 0",
            ));
        }
        Ok(_) => {}
        Err(e) => errs.push(Error::invalid(path, v.clone(), e.to_string())),
    }
}

/// The fields in which two values differ, as lines of `- old` and `+ new`;
/// empty when they don't.
pub(super) fn differences(root: &str, old: &Value, new: &Value) -> String {
    let mut lines = vec![];
    difference(root, old, new, &mut lines);
    lines.join("\n")
}

fn difference(at: &str, old: &Value, new: &Value, out: &mut Vec<String>) {
    // An empty struct is there, an empty list is not.
    if old == new || (same(old, new) && !old.is_object() && !new.is_object()) {
        return;
    }
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for k in keys {
                let part = |m: &'_ serde_json::Map<String, Value>| m.get(k).cloned().unwrap_or_default();
                difference(&format!("{at}.{k}"), &part(a), &part(b), out);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (x, y)) in a.iter().zip(b).enumerate() {
                difference(&format!("{at}[{i}]"), x, y, out);
            }
        }
        _ => {
            if !old.is_null() {
                out.push(format!("- {at}: {old}"));
            }
            if !new.is_null() {
                out.push(format!("+ {at}: {new}"));
            }
        }
    }
}

/// Longest reason and message of a condition, in bytes.
const MAX_REASON: usize = 1024;
const MAX_MESSAGE: usize = 32 * 1024;

/// A list of `metav1.Condition`, each type once.
pub(super) fn conditions(v: &Value, path: &Path, errs: &mut ErrorList) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (i, c) in list(v).iter().enumerate() {
        let p = path.index(i);
        let (kind, reason) = (text(c, "type"), text(c, "reason"));
        if !seen.insert(kind) {
            errs.push(Error::duplicate(&p.child("type"), kind));
        }
        errs.invalid_each(&p.child("type"), kind, names::qualified_name(kind));
        let statuses = &["False", "True", "Unknown"];
        if !statuses.contains(&text(c, "status")) {
            errs.push(Error::not_supported(
                &p.child("status"),
                text(c, "status"),
                statuses,
            ));
        }
        if let Some(n) = c["observedGeneration"].as_i64().filter(|n| *n < 0) {
            let why = "must be greater than or equal to zero";
            errs.push(Error::invalid(&p.child("observedGeneration"), n, why));
        }
        if c["lastTransitionTime"].is_null() {
            errs.push(Error::required(&p.child("lastTransitionTime"), ""));
        }
        if required(&c["reason"], &p.child("reason"), errs) {
            errs.invalid_each(&p.child("reason"), reason, names::condition_reason(reason));
            if reason.len() > MAX_REASON {
                errs.push(Error::too_long(&p.child("reason"), MAX_REASON));
            }
        }
        if text(c, "message").len() > MAX_MESSAGE {
            errs.push(Error::too_long(&p.child("message"), MAX_MESSAGE));
        }
    }
}
