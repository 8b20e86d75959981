//! `resource.Quantity`: an exact decimal of nano precision with its printing
//! format (`k8s.io/apimachinery/pkg/api/resource`).
//!
//! ```text
//! Quantity::parse("1500m")?.to_string()   "1500m"
//! Quantity::parse("1024Mi")?.to_string()  "1Gi"
//! Quantity::parse("0.5")?.to_string()     "500m"
//! q.value()  rounded up to whole units;  q.milli()  rounded up to thousandths
//! ```

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use serde_json::Value;

const NANO: i128 = 1_000_000_000;
/// Larger amounts are held at the largest 64-bit integer, as upstream does.
const MAX: i128 = i64::MAX as i128 * NANO;

/// How a quantity prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// `1e3`
    DecimalExponent,
    /// `1Ki`
    BinarySi,
    /// `1k`, `100m`
    #[default]
    DecimalSi,
}

/// Why a text is no quantity; prints upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// An amount. Equality and order compare amounts, not formats.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

impl Quantity {
    /// Zero.
    pub const ZERO: Self = Self {
        nano: 0,
        format: Format::DecimalSi,
    };

    /// Parses upstream's text form. More than nano precision rounds away from zero.
    ///
    /// # Errors
    /// Upstream's three parse errors.
    pub fn parse(s: &str) -> Result<Self, ParseError> {
        if s.is_empty() {
            return Err(ParseError::Format);
        }
        let (negative, rest) = match s.as_bytes()[0] {
            b'-' => (true, &s[1..]),
            b'+' => (false, &s[1..]),
            _ => (false, s),
        };
        let end = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        if number.is_empty() {
            return Err(ParseError::Format);
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') {
            return Err(ParseError::Numeric);
        }
        if whole.is_empty() && fraction.is_empty() {
            return Err(ParseError::Format);
        }
        let (multiplier, exponent, format) = scale(suffix)?;
        let nano = nano_of(whole, fraction, multiplier, exponent);
        Ok(Self {
            nano: if negative { -nano } else { nano },
            format,
        })
    }

    /// From a JSON value: a string or a number.
    ///
    /// # Errors
    /// As `parse`; anything that is neither is a format error.
    pub fn from_value(v: &Value) -> Result<Self, ParseError> {
        match v {
            Value::String(s) => Self::parse(s),
            Value::Number(n) => Self::parse(&n.to_string()),
            _ => Err(ParseError::Format),
        }
    }

    /// `n` whole units.
    #[must_use]
    pub fn from_units(n: i64, format: Format) -> Self {
        Self {
            nano: i128::from(n) * NANO,
            format,
        }
    }

    /// `n` thousandths.
    #[must_use]
    pub fn from_milli(n: i64) -> Self {
        Self {
            nano: i128::from(n) * (NANO / 1000),
            format: Format::DecimalSi,
        }
    }

    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whole units, rounded up (away from zero).
    #[must_use]
    pub fn value(&self) -> i64 {
        self.scaled(NANO)
    }

    /// Thousandths, rounded up (away from zero).
    #[must_use]
    pub fn milli(&self) -> i64 {
        self.scaled(NANO / 1000)
    }

    fn scaled(&self, unit: i128) -> i64 {
        let n = div_away(self.nano, unit);
        i64::try_from(n).unwrap_or(if n > 0 { i64::MAX } else { i64::MIN })
    }

    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }

    /// -1, 0 or 1.
    #[must_use]
    pub fn sign(&self) -> i32 {
        self.nano.signum() as i32
    }

    /// Whether it is a whole number of units.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        self.nano % NANO == 0
    }

    /// The amount as a float, for ratios only.
    #[must_use]
    pub fn as_f64(&self) -> f64 {
        self.nano as f64 / NANO as f64
    }
}

/// The canonical text of a quantity's text or number: what the API stores.
///
/// # Errors
/// As [`Quantity::parse`].
pub fn canonical(v: &Value) -> Result<String, ParseError> {
    Quantity::from_value(v).map(|q| q.to_string())
}

fn div_away(n: i128, d: i128) -> i128 {
    let q = n / d;
    if n % d == 0 { q } else { q + n.signum() }
}

/// (multiplier, power of ten, format) of a suffix.
fn scale(suffix: &str) -> Result<(i128, i32, Format), ParseError> {
    let binary = |p: u32| Ok((1i128 << (10 * p), 0, Format::BinarySi));
    let decimal = |e: i32| Ok((1, e, Format::DecimalSi));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let Some(e) = suffix.strip_prefix(['e', 'E']) else {
                let known = suffix.bytes().all(|b| b"eEinumkKMGTP+-0123456789".contains(&b));
                return Err(if known {
                    ParseError::Suffix
                } else {
                    ParseError::Format
                });
            };
            let digits = e.strip_prefix(['+', '-']).unwrap_or(e);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(ParseError::Suffix);
            }
            let n: i32 = e.parse().map_err(|_| ParseError::Suffix)?;
            Ok((1, n, Format::DecimalExponent))
        }
    }
}

fn nano_of(whole: &str, fraction: &str, multiplier: i128, exponent: i32) -> i128 {
    let digits: String = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return 0;
    }
    // The value is digits * 10^(power - 9) units = digits * 10^power nano.
    let power = i64::from(exponent) - fraction.len() as i64 + 9;
    if digits.len() as i64 + power > 29 {
        return MAX;
    }
    // Beyond 28 digits only "is there more" matters, as the result is rounded up.
    let cut = digits.len().min(28);
    let dropped = digits[cut..].bytes().any(|b| b != b'0');
    let mut n: i128 = digits[..cut].parse().unwrap_or(i128::MAX >> 64);
    let power = power + (digits.len() - cut) as i64;
    n = n.saturating_mul(multiplier);
    let mut n = if power >= 0 {
        n.saturating_mul(10i128.saturating_pow(power as u32))
    } else if power < -37 {
        1
    } else {
        div_away(n, 10i128.pow((-power) as u32))
    };
    if dropped {
        n += 1;
    }
    n.min(MAX)
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        Self::parse(s)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let small = self.nano.abs() < 1024 * NANO;
        if self.format == Format::BinarySi && !small && self.is_integer() {
            let mut n = self.nano / NANO;
            let mut p = 0;
            while n % 1024 == 0 && p < 6 {
                n /= 1024;
                p += 1;
            }
            return write!(f, "{n}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][p]);
        }
        let (mut n, mut e) = (self.nano, -9);
        while n % 1000 == 0 && e < 18 {
            n /= 1000;
            e += 3;
        }
        if self.format == Format::DecimalExponent {
            return if e == 0 {
                write!(f, "{n}")
            } else {
                write!(f, "{n}e{e}")
            };
        }
        let suffix = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][((e + 9) / 3) as usize];
        write!(f, "{n}{suffix}")
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        if self.nano == 0 {
            self.format = other.format;
        }
        self.nano = self.nano.saturating_add(other.nano);
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        if self.nano == 0 {
            self.format = other.format;
        }
        self.nano = self.nano.saturating_sub(other.nano);
    }
}

impl Add for Quantity {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(mut self, other: Self) -> Self {
        self -= other;
        self
    }
}

impl Neg for Quantity {
    type Output = Self;

    fn neg(mut self) -> Self {
        self.nano = -self.nano;
        self
    }
}

#[cfg(test)]
mod tests;
