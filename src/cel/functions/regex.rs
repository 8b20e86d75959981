//! Regular expressions. The syntax of the `regex` crate is RE2's but for rarities.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use regex::Regex;

use super::{Out, no_overload};
use crate::value::Value;

/// Compiled expressions that are kept; beyond that all are forgotten.
const KEPT: usize = 512;

static CACHE: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);

/// A compiled expression.
///
/// # Errors
/// Upstream's beginning of the message.
pub(crate) fn compiled(pattern: &str) -> Result<Regex, String> {
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = cache.get(pattern) {
        return Ok(regex.clone());
    }
    let regex = Regex::new(pattern).map_err(|e| {
        let why = e.to_string();
        let why = why.lines().last().unwrap_or_default().to_owned();
        format!("error parsing regexp: {}", why.trim_start_matches("error: "))
    })?;
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
