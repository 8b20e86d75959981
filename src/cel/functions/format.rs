//! `'%s is %d'.format([…])` of cel-go's strings extension.

use super::{Out, convert, no_overload};
use crate::value::{Key, Value};

/// Digits after the point that one number is given.
const MAX_PRECISION: usize = 1000;

pub(crate) fn call<'a>(_: &str, args: &[Value<'a>]) -> Out<'a> {
    let [Value::String(pattern), Value::List(list)] = args else {
        return no_overload();
    };
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    let mut used = 0;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.peek() == Some(&'%') {
            chars.next();
            out.push('%');
            continue;
        }
        let mut precision = None;
        if chars.peek() == Some(&'.') {
            chars.next();
            let mut digits = String::new();
            while let Some(d) = chars.peek().filter(|c| c.is_ascii_digit()) {
                digits.push(*d);
                chars.next();
            }
            let digits: usize = digits
                .parse()
                .map_err(|e| format!("error while trying to parse precision: {e}"))?;
            if digits > MAX_PRECISION {
                return Err(format!(
                    "precision {digits} exceeds the maximum of {MAX_PRECISION}"
                ));
            }
            precision = Some(digits);
        }
        let Some(clause) = chars.next() else {
            return Err("unexpected end of string".into());
        };
        let Some(value) = list.get(used) else {
            return Err(format!("index {used} out of range"));
        };
        used += 1;
        out.push_str(&one(clause, precision, &value)?);
    }
    Ok(Value::string(out))
}

fn one(clause: char, precision: Option<usize>, value: &Value<'_>) -> Result<String, String> {
    let wrong = |what: &str| {
        Err(format!(
            "error during formatting: {what}, was given {}",
            value.type_name()
        ))
    };
    match clause {
        's' => text(value),
        'd' => match value {
            Value::Int(i) => Ok(i.to_string()),
            Value::Uint(u) => Ok(u.to_string()),
            Value::Double(d) if d.is_nan() || d.is_infinite() => Ok(special(*d)),
            _ => wrong("decimal clause can only be used on integers"),
        },
        'f' => match number(value) {
            Some(d) if d.is_nan() || d.is_infinite() => Ok(special(d)),
            Some(d) => Ok(format!("{d:.*}", precision.unwrap_or(6))),
            None => wrong("fixed-point clause can only be used on doubles"),
        },
        'e' => match number(value) {
            Some(d) if d.is_nan() || d.is_infinite() => Ok(special(d)),
            Some(d) => {
                let text = format!("{d:.*e}", precision.unwrap_or(6));
                let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let (sign, digits) = match exponent.strip_prefix('-') {
                    Some(digits) => ('-', digits),
                    None => ('+', exponent),
                };
                Ok(format!("{mantissa}e{sign}{digits:0>2}"))
            }
            None => wrong("scientific clause can only be used on doubles"),
        },
        'b' => match value {
            Value::Int(i) if *i < 0 => Ok(format!("-{:b}", i.unsigned_abs())),
            Value::Int(i) => Ok(format!("{i:b}")),
            Value::Uint(u) => Ok(format!("{u:b}")),
            Value::Bool(b) => Ok(u8::from(*b).to_string()),
            _ => wrong("only integers and bools can be formatted as binary"),
        },
        'o' => match value {
            Value::Int(i) if *i < 0 => Ok(format!("-{:o}", i.unsigned_abs())),
            Value::Int(i) => Ok(format!("{i:o}")),
            Value::Uint(u) => Ok(format!("{u:o}")),
            _ => wrong("octal clause can only be used on integers"),
        },
        'x' | 'X' => {
            let hex = match value {
                Value::Int(i) if *i < 0 => format!("-{:x}", i.unsigned_abs()),
                Value::Int(i) => format!("{i:x}"),
                Value::Uint(u) => format!("{u:x}"),
                Value::String(s) => s.bytes().map(|b| format!("{b:02x}")).collect(),
                Value::Bytes(s) => s.iter().map(|b| format!("{b:02x}")).collect(),
                _ => {
                    return wrong("only integers, byte buffers, and strings can be formatted as hex");
                }
            };
            Ok(if clause == 'X' { hex.to_uppercase() } else { hex })
        }
        other => Err(format!("unrecognized formatting clause \"{other}\"")),
    }
}

fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(d) => Some(*d),
        Value::Int(i) => Some(*i as f64),
        Value::Uint(u) => Some(*u as f64),
        _ => None,
    }
}

fn special(d: f64) -> String {
    if d.is_nan() {
        "NaN"
    } else if d > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
    .to_owned()
}

fn text(value: &Value<'_>) -> Result<String, String> {
    Ok(match value {
        Value::Null => "null".into(),
        Value::Type(name) => name.clone(),
        Value::Double(d) if d.is_nan() || d.is_infinite() => special(*d),
        Value::List(list) => {
            let items: Vec<String> = list.iter().map(|v| text(&v)).collect::<Result<_, _>>()?;
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let mut entries = Vec::new();
            for key in map.keys() {
                let value = map.get(&key).unwrap_or(Value::Null);
                let name = Key::of(&key).map(|key| key.to_string()).unwrap_or_default();
                entries.push(format!("{name}: {}", text(&value)?));
            }
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Object(_) | Value::Optional(_) | Value::Authz(_) | Value::Format(_) | Value::Semver(_) => {
            return Err(format!(
                "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given {}",
                value.type_name()
            ));
        }
        other => convert::to_text(other)?,
    })
}
