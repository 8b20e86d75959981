//! Semantic versions (semver.org 2.0.0), strict or, with a second argument, normalized first.

use std::cmp::Ordering;

use super::{Out, no_overload};
use crate::value::Value;

/// A version; order ignores the build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Semver {
    /// Major, minor, patch.
    pub core: [u64; 3],
    /// Identifiers after `-`.
    pub pre: Vec<String>,
    /// Identifiers after `+`.
    pub build: Vec<String>,
}

impl Semver {
    /// Reads a version.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Semver, String> {
        if text.is_empty() {
            return Err("Version string empty".into());
        }
        let (rest, build) = match text.split_once('+') {
            Some((rest, build)) => (rest, identifiers(build, false)?),
            None => (text, Vec::new()),
        };
        let (rest, pre) = match rest.split_once('-') {
            Some((rest, pre)) => (rest, identifiers(pre, true)?),
            None => (rest, Vec::new()),
        };
        let parts: Vec<&str> = rest.split('.').collect();
        let [major, minor, patch] = parts.as_slice() else {
            return Err("No Major.Minor.Patch elements found".into());
        };
        let number = |part: &str, what: &str| -> Result<u64, String> {
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(format!("Invalid character(s) found in {what} number {part:?}"));
            }
            if part.len() > 1 && part.starts_with('0') {
                return Err(format!(
                    "{} number must not contain leading zeroes {part:?}",
                    title(what)
                ));
            }
            part.parse()
                .map_err(|_| format!("{} number out of range {part:?}", title(what)))
        };
        Ok(Semver {
            core: [
                number(major, "major")?,
                number(minor, "minor")?,
                number(patch, "patch")?,
            ],
            pre,
            build,
        })
    }

    /// Order by precedence.
    #[must_use]
    pub fn cmp(&self, other: &Semver) -> Ordering {
        self.core
            .cmp(&other.core)
            .then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => self
                    .pre
                    .iter()
                    .zip(&other.pre)
                    .map(|(a, b)| identifier_order(a, b))
                    .find(|order| order.is_ne())
                    .unwrap_or_else(|| self.pre.len().cmp(&other.pre.len())),
            })
    }
}

fn title(what: &str) -> String {
    let mut chars = what.chars();
    chars
        .next()
        .map(|c| c.to_ascii_uppercase().to_string() + chars.as_str())
        .unwrap_or_default()
}

fn identifiers(text: &str, pre: bool) -> Result<Vec<String>, String> {
    text.split('.')
        .map(|part| {
            let numeric = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            if part.is_empty() {
                Err(if pre {
                    "Prerelease is empty"
                } else {
                    "Build meta data is empty"
                }
                .to_owned())
            } else if !part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                Err(format!("Invalid character(s) found in prerelease {part:?}"))
            } else if pre && numeric && part.len() > 1 && part.starts_with('0') {
                Err(format!(
                    "Numeric PreRelease version must not contain leading zeroes {part:?}"
                ))
            } else {
                Ok(part.to_owned())
            }
        })
        .collect()
}

fn identifier_order(a: &str, b: &str) -> Ordering {
    let number = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    match (number(a), number(b)) {
        (true, true) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.cmp(b),
    }
}

/// Without `v`, leading zeros; missing minor and patch are 0.
fn normalized(text: &str) -> String {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(end);
    let mut parts: Vec<String> = core
        .split('.')
        .map(|part| {
            let trimmed = part.trim_start_matches('0');
            if trimmed.is_empty() && !part.is_empty() {
                "0".to_owned()
            } else {
                trimmed.to_owned()
            }
        })
        .collect();
    while parts.len() < 3 {
        parts.push("0".into());
    }
    parts.join(".") + rest
}

pub(crate) fn call<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    let version = |text: &str, normalize: bool| {
        if normalize {
            Semver::parse(&normalized(text))
        } else {
            Semver::parse(text)
        }
    };
    Ok(match (name, args) {
        ("semver", [Value::String(s)]) => Value::Semver(version(s, false)?.into()),
        ("semver", [Value::String(s), Value::Bool(n)]) => Value::Semver(version(s, *n)?.into()),
        ("isSemver", [Value::String(s)]) => Value::Bool(version(s, false).is_ok()),
        ("isSemver", [Value::String(s), Value::Bool(n)]) => Value::Bool(version(s, *n).is_ok()),
        ("major", [Value::Semver(v)]) => Value::Int(v.core[0] as i64),
        ("minor", [Value::Semver(v)]) => Value::Int(v.core[1] as i64),
        ("patch", [Value::Semver(v)]) => Value::Int(v.core[2] as i64),
        ("isGreaterThan", [Value::Semver(a), Value::Semver(b)]) => Value::Bool(a.cmp(b) == Ordering::Greater),
        ("isLessThan", [Value::Semver(a), Value::Semver(b)]) => Value::Bool(a.cmp(b) == Ordering::Less),
        ("compareTo", [Value::Semver(a), Value::Semver(b)]) => Value::Int(a.cmp(b) as i64),
        _ => return no_overload(),
    })
}
