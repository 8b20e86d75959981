//! Parts that many values have in common, each held once.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    ops::Range,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use crate::value::{Piece, Value};

/// Names the parts of a value that others are likely to have as well, in ascending order, none within
/// another. The rest of the bytes is what [`Value::own`] gives.
pub type Repeats = fn(&[u8]) -> Vec<Range<usize>>;

/// A shorter part takes less memory where it is.
const WORTH_SHARING: usize = 128;
/// Texts before which nothing is cleared away.
const FEW: usize = 256;

/// The texts that values of one store share.
pub(super) struct Texts {
    repeats: Repeats,
    hasher: RandomState,
    known: Mutex<Known>,
}

struct Known {
    by_hash: HashMap<u64, Weak<[u8]>>,
    /// Number of texts at which those that no value has any more are cleared away.
    clear_at: usize,
}

impl Texts {
    pub(super) fn new(repeats: Repeats) -> Self {
        Texts {
            repeats,
            hasher: RandomState::new(),
            known: Mutex::new(Known {
                by_hash: HashMap::new(),
                clear_at: FEW,
            }),
        }
    }

    /// A value as it is to be held.
    pub(super) fn hold(&self, bytes: &[u8]) -> Value {
        let mut own = Vec::new();
        let mut pieces = Vec::new();
        let mut rest = 0;
        for part in (self.repeats)(bytes) {
            let Some(text) = bytes.get(part.clone()).filter(|text| text.len() >= WORTH_SHARING) else {
                continue;
            };
            own.extend_from_slice(&bytes[rest..part.start]);
            rest = part.end;
            pieces.push(Piece {
                at: own.len() as u32,
                text: self.shared(text),
            });
        }
        if pieces.is_empty() {
            return Value::from(bytes);
        }
        own.extend_from_slice(&bytes[rest..]);
        Value::new(own.into(), pieces)
    }

    fn shared(&self, text: &[u8]) -> Arc<[u8]> {
        let hash = self.hasher.hash_one(text);
        let mut known = self.known.lock();
        let same = known.by_hash.get(&hash).and_then(Weak::upgrade);
        if let Some(same) = same.filter(|same| **same == *text) {
            return same;
        }
        let new: Arc<[u8]> = text.into();
        known.by_hash.insert(hash, Arc::downgrade(&new));
        if known.by_hash.len() >= known.clear_at {
            known.by_hash.retain(|_, text| text.strong_count() > 0);
            known.clear_at = FEW.max(known.by_hash.len() * 2);
        }
        new
    }

    /// Number of texts, those included that no value has any more.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.lock().by_hash.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the first to the last `x`.
    fn crosses(bytes: &[u8]) -> Vec<Range<usize>> {
        let at = |found: Option<usize>| found.unwrap_or(bytes.len());
        let start = at(bytes.iter().position(|byte| *byte == b'x'));
        let end = bytes
            .iter()
            .rposition(|byte| *byte == b'x')
            .map_or(start, |last| last + 1);
        std::iter::once(start..end).collect()
    }

    fn value(head: &str, crosses: usize, tail: &str) -> Vec<u8> {
        format!("{head}{}{tail}", "x".repeat(crosses)).into_bytes()
    }

    #[test]
    fn what_values_share_is_there_once() {
        let texts = Texts::new(crosses);
        let (first, second) = (value("a", 500, "b"), value("", 500, "cd"));
        let (held, other) = (texts.hold(&first), texts.hold(&second));
        assert_eq!((held.own(), other.own()), (&b"ab"[..], &b"cd"[..]));
        assert_eq!((&*held.bytes(), &*other.bytes()), (&first[..], &second[..]));
        assert_eq!((held.len(), texts.len()), (502, 1));
        let shared = |value: &Value| value.slices_from(0).nth(1).map(<[u8]>::as_ptr);
        assert_eq!(shared(&held), shared(&other));
        assert!(held == *first && held != *second && held != first[..501]);
    }

    #[test]
    fn short_parts_and_parts_of_nothing_stay_where_they_are() {
        let texts = Texts::new(|_| std::iter::once(3..900).collect());
        for bytes in [value("", 40, ""), value("", 600, ""), Vec::new()] {
            assert_eq!(texts.hold(&bytes).own(), bytes);
        }
        assert_eq!(texts.len(), 0);
    }

    #[test]
    fn texts_go_with_the_values_that_had_them() {
        let texts = Texts::new(crosses);
        let stays = texts.hold(&value("", 200, ""));
        for n in 0..10 * FEW {
            texts.hold(&value("", 201 + n, ""));
        }
        assert!(texts.len() <= FEW, "{}", texts.len());
        let again = texts.hold(&value("y", 200, ""));
        assert_eq!(
            stays.slices_from(0).nth(1).map(<[u8]>::as_ptr),
            again.slices_from(0).nth(1).map(<[u8]>::as_ptr)
        );
    }
}
