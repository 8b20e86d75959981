//! Resource quantities as numbers: what limits and requests mean in bytes and milli-CPUs.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Named resources, as in requests, limits, capacity.
pub(crate) type ResourceList = BTreeMap<String, Quantity>;

const NANO: i128 = 1_000_000_000;

/// A quantity in billionths of its unit; `None` when it is malformed. The API server has
/// validated quantities already, so a malformed one only comes from configuration.
pub(crate) fn nano(text: &str) -> Option<i128> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (number, exponent) = match suffix {
        s if s.len() > 1 && (s.starts_with('e') || s.starts_with('E')) => {
            (number, s[1..].parse::<i32>().ok()?)
        }
        _ => (number, 0),
    };
    let negative = number.starts_with('-');
    let number = number.trim_start_matches(['+', '-']);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    value = value.checked_mul(NANO)?;
    let mut scale = NANO;
    for digit in fraction.chars() {
        scale /= 10;
        value += i128::from(digit.to_digit(10)?) * scale;
    }
    let multiplied = match suffix {
        "n" => ceil_div(value, NANO),
        "u" => ceil_div(value, 1_000_000),
        "m" => ceil_div(value, 1000),
        "" => value,
        "k" => value.checked_mul(1000)?,
        "M" => value.checked_mul(1_000_000)?,
        "G" => value.checked_mul(1_000_000_000)?,
        "T" => value.checked_mul(1_000_000_000_000)?,
        "P" => value.checked_mul(1_000_000_000_000_000)?,
        "E" => value.checked_mul(1_000_000_000_000_000_000)?,
        "Ki" => value.checked_mul(1 << 10)?,
        "Mi" => value.checked_mul(1 << 20)?,
        "Gi" => value.checked_mul(1 << 30)?,
        "Ti" => value.checked_mul(1 << 40)?,
        "Pi" => value.checked_mul(1 << 50)?,
        "Ei" => value.checked_mul(1 << 60)?,
        _ if exponent > 0 => value.checked_mul(10i128.checked_pow(exponent.unsigned_abs())?)?,
        _ if exponent < 0 => ceil_div(value, 10i128.checked_pow(exponent.unsigned_abs())?),
        _ => return None,
    };
    Some(if negative { -multiplied } else { multiplied })
}

fn ceil_div(value: i128, by: i128) -> i128 {
    (value + by - 1).div_euclid(by)
}

/// Whole units, rounded up.
pub(crate) fn value(quantity: &Quantity) -> i64 {
    nano(&quantity.0).map_or(0, |n| i64::try_from(ceil_div(n, NANO)).unwrap_or(i64::MAX))
}

/// Thousandths, rounded up.
pub(crate) fn milli(quantity: &Quantity) -> i64 {
    nano(&quantity.0).map_or(0, |n| i64::try_from(ceil_div(n, 1_000_000)).unwrap_or(i64::MAX))
}

/// Whole units of one named resource, 0 when absent.
pub(crate) fn value_of(list: Option<&ResourceList>, name: &str) -> i64 {
    list.and_then(|l| l.get(name)).map_or(0, value)
}

/// Thousandths of one named resource, 0 when absent.
pub(crate) fn milli_of(list: Option<&ResourceList>, name: &str) -> i64 {
    list.and_then(|l| l.get(name)).map_or(0, milli)
}

#[cfg(test)]
mod tests;
