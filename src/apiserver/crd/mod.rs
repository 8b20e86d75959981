//! CustomResourceDefinitions: what they declare is served, by the same registry as everything else.
//!
//! # Flow
//! Whoever asks for a resource first brings the catalog up to the newest definitions
//! ([`crate::catalog::Catalog::refresh`]: two numbers are compared when there is nothing new). A
//! definition that is `Established` is read once into a [`Family`]; its objects get a watch cache.
//! [`control`] is upstream's controllers: it grants names, sets conditions and empties what is being
//! deleted.
//!
//! An object is stored in the definition's stored version. While a request works on it, it is in the
//! request's version, whose schema prunes, defaults and validates it ([`convert`] is between).

pub(crate) mod cel;
pub(crate) mod columns;
pub(crate) mod control;
pub(crate) mod convert;
pub(crate) mod estimate;
pub(crate) mod family;
pub(crate) mod names;
pub(crate) mod openapi;

use std::cmp::Ordering;

pub(crate) use family::{Family, Version};

/// Storage prefix of definitions.
pub(crate) const DEFINITIONS: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// The order of versions that clients prefer: stable before beta before alpha, newer before older; other
/// names after them, by the alphabet. Upstream: `apimachinery/pkg/version`, `CompareKubeAwareVersionStrings`.
pub(crate) fn order(a: &str, b: &str) -> Ordering {
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// `(stability, major, minor)` of `v1`, `v2beta1`, `v1alpha3`.
fn rank(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    for (word, stability) in [("alpha", 0), ("beta", 1)] {
        if let Some((major, minor)) = rest.split_once(word) {
            return Some((stability, number(major)?, number(minor)?));
        }
    }
    Some((2, number(rest)?, 0))
}

fn number(text: &str) -> Option<u64> {
    if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests;
