//! Texts: the standard functions and cel-go's strings extension, version 2. Positions count
//! characters.

use super::{Out, no_overload};
use crate::value::Value;

pub(crate) fn call<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    match (name, args) {
        ("join", [Value::List(list)]) => join(list, ""),
        ("join", [Value::List(list), Value::String(separator)]) => join(list, separator),
        ("strings.quote", [Value::String(s)]) => Ok(Value::string(quote(s))),
        ("jsonpatch.escapeKey", [Value::String(s)]) => {
            Ok(Value::string(s.replace('~', "~0").replace('/', "~1")))
        }
        (_, [Value::String(s), rest @ ..]) => on_text(name, s, rest),
        _ => no_overload(),
    }
}

fn join<'a>(list: &crate::value::List<'a>, separator: &str) -> Out<'a> {
    let mut out = String::new();
    for (i, item) in list.iter().enumerate() {
        let Value::String(s) = item else {
            return no_overload();
        };
        if i > 0 {
            out.push_str(separator);
        }
        out.push_str(&s);
    }
    Ok(Value::string(out))
}

fn on_text<'a>(name: &str, s: &str, rest: &[Value<'a>]) -> Out<'a> {
    match (name, rest) {
        ("contains", [Value::String(t)]) => Ok(Value::Bool(s.contains(&**t))),
        ("startsWith", [Value::String(t)]) => Ok(Value::Bool(s.starts_with(&**t))),
        ("endsWith", [Value::String(t)]) => Ok(Value::Bool(s.ends_with(&**t))),
        ("lowerAscii", []) => Ok(Value::string(s.to_ascii_lowercase())),
        ("upperAscii", []) => Ok(Value::string(s.to_ascii_uppercase())),
        ("trim", []) => Ok(Value::string(s.trim().to_owned())),
        ("charAt", [Value::Int(i)]) => {
            let count = s.chars().count() as i64;
            if *i == count {
                return Ok(Value::string(""));
            }
            usize::try_from(*i)
                .ok()
                .and_then(|i| s.chars().nth(i))
                .map(|c| Value::string(c.to_string()))
                .ok_or_else(|| format!("index out of range: {i}"))
        }
        ("substring", [Value::Int(from)]) => substring(s, *from, None),
        ("substring", [Value::Int(from), Value::Int(to)]) => substring(s, *from, Some(*to)),
        ("replace", [Value::String(from), Value::String(to)]) => Ok(Value::string(s.replace(&**from, to))),
        ("replace", [Value::String(from), Value::String(to), Value::Int(most)]) => {
            Ok(Value::string(match usize::try_from(*most) {
                Ok(most) => s.replacen(&**from, to, most),
                Err(_) => s.replace(&**from, to),
            }))
        }
        ("split", [Value::String(separator)]) => Ok(split(s, separator, -1)),
        ("split", [Value::String(separator), Value::Int(most)]) => Ok(split(s, separator, *most)),
        ("indexOf" | "lastIndexOf", [Value::String(t)]) => Ok(index_of(name, s, t, None)?),
        ("indexOf" | "lastIndexOf", [Value::String(t), Value::Int(from)]) => {
            index_of(name, s, t, Some(*from))
        }
        _ => no_overload(),
    }
}

fn substring<'a>(s: &str, from: i64, to: Option<i64>) -> Out<'a> {
    let chars: Vec<char> = s.chars().collect();
    let count = chars.len() as i64;
    if from < 0 || from > count {
        return Err(format!("index out of range: {from}"));
    }
    let to = to.unwrap_or(count);
    if to < 0 || to > count {
        return Err(format!("index out of range: {to}"));
    }
    if from > to {
        return Err(format!("invalid substring range. start: {from}, end: {to}"));
    }
    Ok(Value::string(
        chars[from as usize..to as usize].iter().collect::<String>(),
    ))
}

fn split<'a>(s: &str, separator: &str, most: i64) -> Value<'a> {
    let part = |t: &str| Value::string(t.to_owned());
    if most == 0 {
        return Value::list(Vec::new());
    }
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    if separator.is_empty() {
        let mut parts = Vec::new();
        let mut rest = s;
        while let Some(c) = rest.chars().next() {
            if parts.len() + 1 == limit {
                parts.push(part(rest));
                break;
            }
            parts.push(part(&rest[..c.len_utf8()]));
            rest = &rest[c.len_utf8()..];
        }
        return Value::list(parts);
    }
    Value::list(s.splitn(limit, separator).map(part).collect())
}

fn index_of<'a>(name: &str, s: &str, t: &str, from: Option<i64>) -> Out<'a> {
    let (text, wanted): (Vec<char>, Vec<char>) = (s.chars().collect(), t.chars().collect());
    let count = text.len() as i64;
    let last = name == "lastIndexOf";
    let from = from.unwrap_or(if last { count } else { 0 });
    if wanted.is_empty() {
        return Ok(Value::Int(from));
    }
    if from < 0 || from > count {
        return Err(format!("index out of range: {from}"));
    }
    let found = |at: &i64| text[*at as usize..].starts_with(&wanted);
    let last_start = count - wanted.len() as i64;
    let at = if last {
        (0..=from.min(last_start)).rev().find(found)
    } else {
        (from..=last_start).find(found)
    };
    Ok(Value::Int(at.unwrap_or(-1)))
}

/// A text in quotes, its special characters escaped.
fn quote(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
