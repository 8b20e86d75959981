//! Regular expressions, in Go's syntax.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use rkind_apimachinery::re2::{self, Pattern};

use super::{Out, no_overload};
use crate::value::Value;

/// Compiled expressions that are kept, each of two megabytes at most; beyond that all are forgotten.
const KEPT: usize = 128;

static CACHE: LazyLock<Mutex<HashMap<String, Pattern>>> = LazyLock::new(Mutex::default);

/// A compiled expression.
///
/// # Errors
/// Upstream's beginning of the message.
pub(crate) fn compiled(pattern: &str) -> Result<Pattern, String> {
    let cache = || CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = cache().get(pattern) {
        return Ok(regex.clone());
    }
    // Not under the lock: a pattern may take long, and be anybody's.
    let regex = re2::compile(pattern).map_err(|why| format!("error parsing regexp: {why}"))?;
    let mut cache = cache();
    if cache.len() >= KEPT {
        cache.clear();
    }
    cache.insert(pattern.to_owned(), regex.clone());
    Ok(regex)
}

pub(crate) fn call<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    let [Value::String(text), Value::String(pattern), rest @ ..] = args else {
        return no_overload();
    };
    let regex = compiled(pattern).map_err(|e| {
        if name == "matches" {
            e
        } else {
            format!("Illegal regex: {e}")
        }
    })?;
    let owned = |m: regex::Match<'_>| Value::string(m.as_str().to_owned());
    match (name, rest) {
        ("matches", []) => Ok(Value::Bool(regex.is_match(text))),
        ("find", []) => Ok(regex.find(text).map_or(Value::string(""), owned)),
        ("findAll", []) => Ok(Value::list(regex.find_iter(text).map(owned).collect())),
        ("findAll", [Value::Int(most)]) => {
            let most = usize::try_from(*most).unwrap_or(usize::MAX);
            Ok(Value::list(regex.find_iter(text).take(most).map(owned).collect()))
        }
        _ => no_overload(),
    }
}
