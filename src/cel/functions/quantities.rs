//! Kubernetes' quantities.

use std::cmp::Ordering;

use rkind_apimachinery::quantity::{Format, Quantity};

use super::{Out, no_overload};
use crate::value::Value;

pub(crate) fn call<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    match (name, args) {
        ("quantity", [Value::String(s)]) => {
            Quantity::parse(s).map(Value::Quantity).map_err(|e| e.to_string())
        }
        ("isQuantity", [Value::String(s)]) => Ok(Value::Bool(Quantity::parse(s).is_ok())),
        (_, [Value::Quantity(q)]) => Ok(match name {
            "sign" => Value::Int(i64::from(q.sign())),
            "isInteger" => Value::Bool(q.is_integer()),
            "asInteger" if q.is_integer() => Value::Int(q.value()),
            "asInteger" => return Err("cannot convert value to integer".into()),
            "asApproximateFloat" => Value::Double(q.as_f64()),
            _ => return no_overload(),
        }),
        (_, [Value::Quantity(a), Value::Quantity(b)]) => two(name, *a, *b),
        ("add" | "sub", [Value::Quantity(a), Value::Int(b)]) => {
            two(name, *a, Quantity::from_units(*b, Format::DecimalExponent))
        }
        _ => no_overload(),
    }
}

fn two<'a>(name: &str, a: Quantity, b: Quantity) -> Out<'a> {
    Ok(match name {
        "add" => Value::Quantity(a + b),
        "sub" => Value::Quantity(a - b),
        "isGreaterThan" => Value::Bool(a > b),
        "isLessThan" => Value::Bool(a < b),
        "compareTo" => Value::Int(match a.cmp(&b) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }),
        _ => return no_overload(),
    })
}
