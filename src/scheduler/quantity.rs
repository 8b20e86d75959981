//! Resource quantities as whole numbers.
//!
//! Only what placing needs: a count of units (bytes, pieces), or of thousandths for CPU, rounded up.
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Whole units, rounded up; `None` when it is no quantity. Beyond `i64` it is capped.
pub(crate) fn units(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 0)
}

/// Thousandths, rounded up; `None` when it is no quantity. Beyond `i64` it is capped.
pub(crate) fn milli(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 3)
}

/// `text` times ten to the power of `shift`.
fn scaled(text: &str, shift: i32) -> Option<i64> {
    let text = text.trim();
    let (negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let number_end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (binary, decimal) = exponents(suffix)?;
    // digits * 10^(decimal - fraction's length + shift) * 2^binary
    let mut value: i128 = 0;
    let mut exponent = decimal + shift;
    let mut inexact = false;
    for digit in whole.bytes().chain(fraction.bytes()) {
        match value
            .checked_mul(10)
            .and_then(|v| v.checked_add(i128::from(digit - b'0')))
        {
            Some(next) if next < 1 << 96 => value = next,
            // More digits than any machine has bytes: their place counts, their value rounds up.
            _ => {
                inexact |= digit != b'0';
                exponent += 1;
            }
        }
    }
    exponent -= i32::try_from(fraction.len()).ok()?;
    value = value.saturating_mul(1 << binary);
    for _ in 0..exponent {
        value = value.saturating_mul(10);
        if value == 0 {
            break;
        }
    }
    for _ in 0..exponent.min(0).unsigned_abs() {
        inexact |= value % 10 != 0;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    if inexact && !negative {
        value = value.saturating_add(1);
    }
    let value = if negative { -value } else { value };
    Some(i64::try_from(value).unwrap_or(if negative { i64::MIN } else { i64::MAX }))
}

/// Powers of two and of ten that a suffix stands for.
fn exponents(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            (
                0,
                exponent.parse::<i32>().ok().filter(|e| (-60..=60).contains(e))?,
            )
        }
    })
}

#[cfg(test)]
mod tests;
