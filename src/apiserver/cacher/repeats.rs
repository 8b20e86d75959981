//! What stored objects have in common.

use std::ops::Range;

use rkind_apimachinery::json::{self, Tape};

/// The fields that managers own, without the braces around them: as objects of one kind are mostly written
/// by the same programs, a text of their length stands in most of them. For
/// [`rkind_store::embedded::Options::repeats`].
///
/// What is left of an object is an object, too, whose `metadata.managedFields[].fieldsV1` are empty; nothing
/// is missing before `metadata`'s first member.
pub(crate) fn repeats(object: &[u8]) -> Vec<Range<usize>> {
    managers(object).unwrap_or_default()
}

fn managers(object: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut at = 0;
    for field in ["metadata", "managedFields"] {
        at += json::member(object.get(at..)?, field)?;
    }
    let mut tape = Tape::default();
    let (managers, _) = tape.read_first(std::str::from_utf8(&object[at..]).ok()?).ok()?;
    if !managers.is_array() {
        return None;
    }
    let fields = managers.items().filter_map(|manager| manager.get("fieldsV1"));
    let inner = |start: usize, length: usize| at + start + 1..at + start + length - 1;
    Some(
        fields
            .filter(|fields| fields.is_object())
            .map(|fields| inner(fields.start(), fields.raw().len()))
            .collect(),
    )
}
