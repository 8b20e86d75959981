//! JSON text read in place: where its values begin and end, without a tree.
//!
//! What is stored is canonical JSON already; most readers of it want a few fields, or all of them once, in
//! another form. A [`Tape`] is one pass over the text and one buffer, used again for the next text.
//!
//! ```text
//! let mut tape = Tape::default();
//! let root = tape.read(text)?;            // Place: a value in the text
//! root.get("metadata")?.get("name")?.as_str()
//! ```
//!
//! Why not a crate that is kept: none says where a value stands in the text, which is what lets its bytes be
//! copied and members be cut out. Measured on a pod of 2.5 kB (best of 40 rounds on a shared core of 2.6 GHz;
//! crates sonic-rs 0.5.10, simd-json 0.17.3):
//!
//! | | here | sonic-rs, lazy | sonic-rs, tree | simd-json, tape |
//! |---|---:|---:|---:|---:|
//! | take apart | 2.0 us | - | 1.7 us | 2.4 us, with the copy that it changes |
//! | three fields | 3.1 us | 4.4 us (1.1 us unchecked) | 3.0 us | |
//! | one member at the top | 0.05 us | 1.0 us | | |
//! | every value once | 3.4 us | 15.9 us | 5.7 us | 3.4 us |
//!
//! And sonic-rs ends the process by a stack overflow where arrays nest 100,000 deep, this says where the
//! limit of 256 is left; simd-json refuses long integers that JSON allows. What is stored was checked when it
//! came in: repeated names are taken as the last one says, escapes and numbers are not looked at again.

use std::{borrow::Cow, ops::Range};

/// Values nest no deeper.
const MAX_DEPTH: usize = 256;

/// How deep an object may nest to be stored. Parsers stop at 128, the one that reads it back for the next
/// write and those of clients, and lists, watch events and reviews wrap it.
pub const MAX_NESTING: usize = 120;

/// Whether a value nests at most `levels` deep: a scalar does so by none, an object by one more than its
/// deepest member.
#[must_use]
pub fn is_within(value: &serde_json::Value, levels: usize) -> bool {
    use serde_json::Value;
    match value {
        Value::Array(_) | Value::Object(_) if levels == 0 => false,
        Value::Array(items) => items.iter().all(|item| is_within(item, levels - 1)),
        Value::Object(members) => members.values().all(|member| is_within(member, levels - 1)),
        _ => true,
    }
}

/// Text that is no JSON, or nests too deep; at a byte offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no JSON at byte {0}")]
pub struct Malformed(pub usize);

/// One value of a text. Offsets are in bytes.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// Begin and length of the member's name, between its quotes; no name: 0, 0.
    key: u32,
    key_len: u32,
    start: u32,
    end: u32,
    /// Index of the node behind this one and all that is in it.
    next: u32,
}

/// The values of a text in reading order.
#[derive(Debug, Default)]
pub struct Tape {
    nodes: Vec<Node>,
}

impl Tape {
    /// Takes a text apart; gives its root.
    ///
    /// # Errors
    /// When the text is no JSON. Escapes and numbers are checked no further than their end.
    pub fn read<'t>(&'t mut self, text: &'t str) -> Result<Place<'t>, Malformed> {
        self.read_around(text, &[])
    }

    /// As [`Tape::read`], without a look into the values that stand at `opaque`, in ascending order: they are
    /// known to be sound, and nothing is found in them.
    ///
    /// # Errors
    /// As [`Tape::read`].
    pub fn read_around<'t>(
        &'t mut self,
        text: &'t str,
        opaque: &[Range<usize>],
    ) -> Result<Place<'t>, Malformed> {
        self.nodes.reserve(text.len() / 24);
        let (root, end) = self.read_some(text, opaque)?;
        match text[end..].trim_ascii_start() {
            "" => Ok(root),
            rest => Err(Malformed(text.len() - rest.len())),
        }
    }

    /// As [`Tape::read`], of text that goes on behind the value; gives the offset where the value ends.
    ///
    /// # Errors
    /// As [`Tape::read`].
    pub fn read_first<'t>(&'t mut self, text: &'t str) -> Result<(Place<'t>, usize), Malformed> {
        self.read_some(text, &[])
    }

    fn read_some<'t>(
        &'t mut self,
        text: &'t str,
        opaque: &[Range<usize>],
    ) -> Result<(Place<'t>, usize), Malformed> {
        self.nodes.clear();
        if u32::try_from(text.len()).is_err() {
            return Err(Malformed(u32::MAX as usize));
        }
        let mut scan = Scan {
            text: text.as_bytes(),
            nodes: &mut self.nodes,
            opaque,
        };
        let start = scan.space(0);
        let end = scan.value(start, (0, 0), 0)?;
        let root = Place {
            text,
            nodes: &self.nodes,
            at: 0,
        };
        Ok((root, end))
    }
}

/// Where the value of a member of the object in `text` begins, in bytes; found without a look at what
/// stands behind it.
pub fn member(text: &[u8], name: &str) -> Option<usize> {
    let mut nodes = Vec::new();
    let mut scan = Scan {
        text,
        nodes: &mut nodes,
        opaque: &[],
    };
    let mut at = scan.space(0);
    if scan.byte(at).ok()? != b'{' {
        return None;
    }
    at = scan.space(at + 1);
    while scan.byte(at).ok()? == b'"' {
        let end = scan.string(at).ok()?;
        let found = text[at + 1..end - 1] == *name.as_bytes();
        at = scan.space(end);
        if scan.byte(at).ok()? != b':' {
            return None;
        }
        at = scan.space(at + 1);
        if found {
            return Some(at);
        }
        at = scan.value(at, (0, 0), 0).ok()?;
        at = scan.space(at);
        if scan.byte(at).ok()? != b',' {
            return None;
        }
        at = scan.space(at + 1);
    }
    None
}

struct Scan<'t, 'n> {
    text: &'t [u8],
    nodes: &'n mut Vec<Node>,
    /// Values to pass over, those that are behind it already left out.
    opaque: &'t [Range<usize>],
}

impl Scan<'_, '_> {
    fn space(&self, mut at: usize) -> usize {
        while matches!(self.text.get(at), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            at += 1;
        }
        at
    }

    fn byte(&self, at: usize) -> Result<u8, Malformed> {
        self.text.get(at).copied().ok_or(Malformed(at))
    }

    /// The value at `start`; gives the offset behind it.
    fn value(&mut self, start: usize, key: (usize, usize), depth: usize) -> Result<usize, Malformed> {
        let index = self.nodes.len();
        self.nodes.push(Node {
            key: key.0 as u32,
            key_len: key.1 as u32,
            start: start as u32,
            end: 0,
            next: 0,
        });
        let end = match self.byte(start)? {
            _ if self.opaque.first().is_some_and(|value| value.start == start) => self.pass()?,
            open @ (b'{' | b'[') if depth < MAX_DEPTH => self.members(start, open == b'{', depth)?,
            b'"' => self.string(start)?,
            b't' => self.literal(start, b"true")?,
            b'f' => self.literal(start, b"false")?,
            b'n' => self.literal(start, b"null")?,
            b'-' | b'0'..=b'9' => {
                let number = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                start + self.text[start..].iter().take_while(|b| number(b)).count()
            }
            _ => return Err(Malformed(start)),
        };
        self.nodes[index].end = end as u32;
        self.nodes[index].next = self.nodes.len() as u32;
        Ok(end)
    }

    /// Passes over the next opaque value.
    fn pass(&mut self) -> Result<usize, Malformed> {
        let (value, rest) = self.opaque.split_first().ok_or(Malformed(self.text.len()))?;
        self.opaque = rest;
        match value.end {
            end if end > value.start && end <= self.text.len() => Ok(end),
            _ => Err(Malformed(value.start)),
        }
    }

    fn members(&mut self, start: usize, named: bool, depth: usize) -> Result<usize, Malformed> {
        let close = if named { b'}' } else { b']' };
        let mut at = self.space(start + 1);
        if self.byte(at)? == close {
            return Ok(at + 1);
        }
        loop {
            let mut key = (0, 0);
            if named {
                if self.byte(at)? != b'"' {
                    return Err(Malformed(at));
                }
                let end = self.string(at)?;
                key = (at + 1, end - at - 2);
                at = self.space(end);
                if self.byte(at)? != b':' {
                    return Err(Malformed(at));
                }
                at = self.space(at + 1);
            }
            at = self.value(at, key, depth + 1)?;
            at = self.space(at);
            match self.byte(at)? {
                b',' => at = self.space(at + 1),
                byte if byte == close => return Ok(at + 1),
                _ => return Err(Malformed(at)),
            }
        }
    }

    fn string(&self, start: usize) -> Result<usize, Malformed> {
        let mut at = start + 1;
        loop {
            let rest = self.text.get(at..).unwrap_or_default();
            at += memchr::memchr2(b'"', b'\\', rest).ok_or(Malformed(start))?;
            if self.text[at] == b'"' {
                return Ok(at + 1);
            }
            at += 2;
        }
    }

    fn literal(&self, start: usize, word: &[u8]) -> Result<usize, Malformed> {
        if self.text[start..].starts_with(word) {
            return Ok(start + word.len());
        }
        Err(Malformed(start))
    }
}

/// A value in a text.
#[derive(Debug, Clone, Copy)]
pub struct Place<'t> {
    text: &'t str,
    nodes: &'t [Node],
    at: usize,
}

/// What stands between two quotes, without its escapes.
fn unescaped(quoted: &str) -> Cow<'_, str> {
    let inner = &quoted[1..quoted.len() - 1];
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    // Only escapes of halves of characters can be wrong here.
    Cow::Owned(serde_json::from_str(quoted).unwrap_or_default())
}

impl<'t> Place<'t> {
    fn node(self) -> &'t Node {
        &self.nodes[self.at]
    }

    /// The value as it is written.
    pub fn raw(self) -> &'t str {
        &self.text[self.start()..self.node().end as usize]
    }

    /// Where it begins in the text, in bytes.
    pub fn start(self) -> usize {
        self.node().start as usize
    }

    fn first(self) -> u8 {
        self.text.as_bytes()[self.start()]
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.first() == b'{'
    }

    /// Whether it is a list.
    pub fn is_array(self) -> bool {
        self.first() == b'['
    }

    /// Whether it is null.
    pub fn is_null(self) -> bool {
        self.first() == b'n'
    }

    /// Whether it is a number.
    pub fn is_number(self) -> bool {
        matches!(self.first(), b'-' | b'0'..=b'9')
    }

    /// A boolean.
    pub fn as_bool(self) -> Option<bool> {
        match self.first() {
            b't' => Some(true),
            b'f' => Some(false),
            _ => None,
        }
    }

    /// A string.
    pub fn as_str(self) -> Option<Cow<'t, str>> {
        (self.first() == b'"').then(|| unescaped(self.raw()))
    }

    /// An object's member; the last of those with the same name, as in a tree.
    pub fn get(self, name: &str) -> Option<Place<'t>> {
        let found = self.entries().filter(|(key, _)| key == name);
        found.last().map(|(_, value)| value)
    }

    /// The items of a list, or the values of an object's members.
    pub fn items(self) -> impl Iterator<Item = Place<'t>> {
        let end = self.node().next as usize;
        let mut at = self.at + 1;
        std::iter::from_fn(move || {
            let place = (at < end).then_some(Place { at, ..self })?;
            at = place.node().next as usize;
            Some(place)
        })
    }

    /// Names and values of an object's members, in the text's order.
    pub fn entries(self) -> impl Iterator<Item = (Cow<'t, str>, Place<'t>)> {
        self.items().map(|place| (place.key(), place))
    }

    /// Where the name of this member begins and how it is written, without its quotes.
    pub fn key_raw(self) -> (usize, &'t str) {
        let (start, len) = (self.node().key as usize, self.node().key_len as usize);
        (start, &self.text[start..start + len])
    }

    /// The name of the member that this is the value of.
    pub fn key(self) -> Cow<'t, str> {
        let (start, key) = self.key_raw();
        if key.contains('\\') {
            unescaped(&self.text[start - 1..start + key.len() + 1])
        } else {
            Cow::Borrowed(key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// The tree that a place stands for.
    fn tree(place: Place<'_>) -> Value {
        if place.is_object() {
            let entries = place
                .entries()
                .map(|(key, value)| (key.into_owned(), tree(value)));
            return Value::Object(entries.collect());
        }
        if place.is_array() {
            return place.items().map(tree).collect();
        }
        match (place.as_str(), place.as_bool()) {
            (Some(text), _) => text.into(),
            (_, Some(flag)) => flag.into(),
            _ if place.is_null() => Value::Null,
            _ => serde_json::from_str(place.raw()).unwrap(),
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            // Fractions that every reader of decimals reads alike.
            any::<i16>().prop_map(|n| json!(f64::from(n) / 4.0)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..8)
                    .prop_map(|m| m.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        /// What a text says is what its tree says, however it is written.
        #[test]
        fn reads_what_the_tree_reader_reads(value in any_value(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.unwrap();
            let mut tape = Tape::default();
            prop_assert_eq!(tree(tape.read(&text).unwrap()), value);
        }

        /// Text that is cut or wrong gives an error or a value, never a panic.
        #[test]
        fn survives_what_is_no_json(text in r#"[\[\]{}",:\\a1 tn-]{0,40}"#) {
            let mut tape = Tape::default();
            if let Ok(root) = tape.read(&text) {
                let _ = (root.get("a"), root.items().count(), root.as_str());
            }
        }
    }

    #[test]
    fn depth_ends_somewhere() {
        let text = "[".repeat(100_000);
        assert_eq!(Tape::default().read(&text).unwrap_err(), Malformed(MAX_DEPTH));
    }

    #[test]
    fn members_are_found_behind_others() {
        let text = r#"{"data": {"metadata": [1, "}"]}, "metadata" : {}, "x"#;
        assert_eq!(
            member(text.as_bytes(), "metadata"),
            Some(text.rfind("{}").unwrap())
        );
        assert_eq!(member(text.as_bytes(), "spec"), None);
        assert_eq!(member(b"[]", "spec"), None);
    }

    #[test]
    fn what_is_opaque_is_one_value() {
        let text = r#"{"a":[1,{"b":[2,3]}],"c":{"d":{"e":4}},"f":"g"}"#;
        let (list, inner) = (r#"[1,{"b":[2,3]}]"#, r#"{"e":4}"#);
        let at = |part: &str| text.find(part).map(|start| start..start + part.len()).unwrap();
        let mut tape = Tape::default();
        let root = tape.read_around(text, &[at(list), at(inner)]).unwrap();
        assert_eq!(
            root.items().map(Place::raw).collect::<Vec<_>>(),
            [list, r#"{"d":{"e":4}}"#, "\"g\""]
        );
        assert_eq!(root.get("a").unwrap().items().count(), 0);
        assert_eq!(root.get("c").unwrap().get("d").unwrap().raw(), inner);
        assert_eq!(root.get("f").unwrap().as_str().unwrap(), "g");
        // A place that cannot be is told, not believed.
        for wrong in [5..text.len() + 1, 5..5] {
            let read = tape.read_around(text, std::slice::from_ref(&wrong));
            assert!(read.is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_last_of_a_name_counts() {
        let mut tape = Tape::default();
        let root = tape.read(r#"{"a": 1, "a": 2}"#).unwrap();
        assert_eq!(root.get("a").unwrap().raw(), "2");
    }
}
