//! Conversions between types.

use super::{Out, no_overload, time};
use crate::value::Value;

pub(crate) fn call<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    let [value] = args else { return no_overload() };
    match name {
        "type" => Ok(Value::Type(value.type_name().to_owned())),
        "string" => to_text(value).map(Value::string),
        "bool" => match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::String(s) => match &**s {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
                other => Err(format!("type conversion error from '{other}' to 'bool'")),
            },
            _ => no_overload(),
        },
        "bytes" => match value {
            Value::Bytes(_) => Ok(value.clone()),
            Value::String(s) => Ok(Value::Bytes(s.as_bytes().into())),
            _ => no_overload(),
        },
        "double" => match value {
            Value::Double(_) => Ok(value.clone()),
            Value::Int(i) => Ok(Value::Double(*i as f64)),
            Value::Uint(u) => Ok(Value::Double(*u as f64)),
            Value::String(s) => s
                .trim()
                .parse()
                .ok()
                .filter(|_| **s == *s.trim())
                .map(Value::Double)
                .ok_or_else(|| format!("strconv.ParseFloat: parsing {s:?}: invalid syntax")),
            _ => no_overload(),
        },
        "int" => to_int(value),
        "uint" => to_uint(value),
        "timestamp" => match value {
            Value::Timestamp(_) => Ok(value.clone()),
            Value::Int(seconds) => jiff::Timestamp::from_second(*seconds)
                .map(Value::Timestamp)
                .map_err(|_| "timestamp overflow".into()),
            Value::String(s) => time::parse_timestamp(s).map(Value::Timestamp).ok_or_else(|| {
                format!("parsing time {s:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {s:?} as \"2006\"")
            }),
            _ => no_overload(),
        },
        "duration" => match value {
            Value::Duration(_) => Ok(value.clone()),
            Value::Int(nanos) => Ok(Value::Duration(jiff::SignedDuration::from_nanos(*nanos))),
            Value::String(s) => time::parse_duration(s)
                .map(Value::Duration)
                .ok_or_else(|| format!("time: invalid duration {s:?}")),
            _ => no_overload(),
        },
        _ => no_overload(),
    }
}

fn to_int<'a>(value: &Value<'a>) -> Out<'a> {
    match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Uint(u) => i64::try_from(*u)
            .map(Value::Int)
            .map_err(|_| "integer overflow".into()),
        // Both ends of the range round to what is outside it.
        Value::Double(d) if *d > -9_223_372_036_854_775_808.0 && *d < 9_223_372_036_854_775_808.0 => {
            Ok(Value::Int(*d as i64))
        }
        Value::Double(_) => Err("integer overflow".into()),
        Value::Timestamp(t) => Ok(Value::Int(t.as_second())),
        Value::Duration(d) => i64::try_from(d.as_nanos())
            .map(Value::Int)
            .map_err(|_| "integer overflow".into()),
        Value::String(s) => s
            .parse()
            .map(Value::Int)
            .map_err(|_| format!("strconv.ParseInt: parsing {s:?}: invalid syntax")),
        _ => no_overload(),
    }
}

fn to_uint<'a>(value: &Value<'a>) -> Out<'a> {
    match value {
        Value::Uint(_) => Ok(value.clone()),
        Value::Int(i) => u64::try_from(*i)
            .map(Value::Uint)
            .map_err(|_| "unsigned integer overflow".into()),
        Value::Double(d) if *d > -1.0 && *d < 18_446_744_073_709_551_616.0 => Ok(Value::Uint(*d as u64)),
        Value::Double(_) => Err("unsigned integer overflow".into()),
        Value::String(s) => s
            .parse()
            .map(Value::Uint)
            .map_err(|_| format!("strconv.ParseUint: parsing {s:?}: invalid syntax")),
        _ => no_overload(),
    }
}

/// `string(value)`.
pub(crate) fn to_text(value: &Value<'_>) -> Result<String, String> {
    Ok(match value {
        Value::String(s) => s.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Uint(u) => u.to_string(),
        Value::Double(d) => double(*d),
        Value::Bytes(b) => String::from_utf8(b.to_vec())
            .map_err(|_| "invalid UTF-8 in bytes, cannot convert to string".to_owned())?,
        Value::Timestamp(t) => t.to_string(),
        Value::Duration(d) => time::duration_text(*d),
        Value::Ip(ip) => ip.to_string(),
        Value::Cidr(net) => net.to_string(),
        Value::Quantity(q) => q.to_string(),
        Value::Url(url) => url.to_string(),
        _ => return Err(super::NO_OVERLOAD.to_owned()),
    })
}

/// The shortest text that reads back as the same number, as Go's `%g`.
pub(crate) fn double(d: f64) -> String {
    if d.is_nan() {
        return "NaN".into();
    }
    if d.is_infinite() {
        return if d > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let exponent = if d == 0.0 {
        0
    } else {
        d.abs().log10().floor() as i32
    };
    if (-5..21).contains(&exponent) {
        return d.to_string();
    }
    let text = format!("{d:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}
