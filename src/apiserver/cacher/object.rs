//! One cached object: the store's bytes and the few parsed fields that selectors need.

use std::{ops::Range, sync::Arc};

use rkind_apimachinery::json::{self, Malformed, Place, Tape};
use rkind_store::{Entry, Revision, Value as Stored};
use serde::Deserialize;
use serde_json::Value;

use super::fields;

/// Why stored bytes are no object.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Json(#[from] Malformed),
    #[error("not UTF-8")]
    Text(#[from] std::str::Utf8Error),
    #[error("object without metadata")]
    NoMetadata,
}

/// A piece of an object's bytes: nearly every text that selectors ask for stands there as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    Span(u32, u32),
    /// It stands there with escapes. Rare, and boxed twice to keep the others small.
    Own(Box<Box<str>>),
}

impl Text {
    fn piece(start: usize, text: &str, raw: &str) -> Text {
        // The places of escapes are longer than what they stand for.
        if text.len() == raw.len() {
            return Text::Span(start as u32, raw.len() as u32);
        }
        Text::Own(Box::new(text.into()))
    }

    /// A scalar, a string without its quotes.
    pub(super) fn of(place: Place<'_>) -> Option<Text> {
        if place.is_object() || place.is_array() || place.is_null() {
            return None;
        }
        let raw = place.raw();
        Some(match place.as_str() {
            Some(text) => Text::piece(place.start() + 1, &text, &raw[1..raw.len() - 1]),
            None => Text::piece(place.start(), raw, raw),
        })
    }

    pub(super) fn get<'a>(&'a self, bytes: &'a [u8]) -> &'a str {
        match self {
            Text::Own(text) => text,
            Text::Span(start, len) => {
                let piece = bytes.get(*start as usize..(*start + *len) as usize);
                piece
                    .and_then(|piece| std::str::from_utf8(piece).ok())
                    .unwrap_or_default()
            }
        }
    }
}

/// Labels of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Labels<'a> {
    bytes: &'a [u8],
    all: &'a [(Text, Text)],
}

impl<'a> Labels<'a> {
    /// Value of a label.
    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        let found = self.all.iter().rfind(|(known, _)| known.get(self.bytes) == key);
        found.map(|(_, value)| value.get(self.bytes))
    }

    /// The keys of all labels.
    pub(crate) fn keys(self) -> impl Iterator<Item = &'a str> {
        self.all.iter().map(move |(key, _)| key.get(self.bytes))
    }
}

/// An object as stored. The bytes are the store's own (shared, not copied); `resourceVersion` is
/// not in them but written in when the object is sent.
#[derive(Debug)]
pub(crate) struct Obj {
    /// `namespace/name` or `name`.
    pub key: Arc<str>,
    /// Revision of the newest write: its `resourceVersion`.
    pub revision: Revision,
    /// Revision at which the bytes were written: older than `revision` in the last state of a deleted
    /// object.
    pub written: Revision,
    labels: Box<[(Text, Text)]>,
    /// Values of the resource's selectable fields, in the order of [`fields::table`]; `None` where
    /// the default holds.
    pub(super) fields: Box<[Option<Text>]>,
    /// What it has in common with others is not among its own bytes: see [`super::repeats`].
    value: Stored,
    /// Offset just behind the opening brace of `metadata`.
    splice_at: u32,
    /// Whether a comma must follow the spliced field.
    comma: bool,
}

/// What a key holds after one revision never changes.
impl PartialEq for Obj {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision && self.key == other.key
    }
}

impl Obj {
    /// Reads an entry of the resource with storage prefix `resource`; `key` is the part of the
    /// entry's key behind the resource.
    ///
    /// # Errors
    /// When the bytes are not a JSON object with `metadata`.
    pub(crate) fn parse(resource: &str, key: &str, entry: &Entry) -> Result<Obj, Unreadable> {
        Self::from_bytes(resource, key, entry.value.clone(), entry.mod_revision)
    }

    /// As [`Obj::parse`], from bytes and a revision.
    pub(crate) fn from_bytes(
        resource: &str,
        key: &str,
        value: Stored,
        revision: Revision,
    ) -> Result<Obj, Unreadable> {
        let mut tape = Tape::default();
        let root = tape.read(std::str::from_utf8(value.own())?)?;
        let metadata = root.get("metadata").filter(|place| place.is_object());
        let metadata = metadata.ok_or(Unreadable::NoMetadata)?;
        let labels = metadata.get("labels").into_iter().flat_map(labels).collect();
        let fields = fields::extract(resource, root);
        let splice_at = metadata.start() as u32 + 1;
        let comma = metadata.items().next().is_some();
        Ok(Obj {
            key: key.into(),
            revision,
            written: revision,
            labels,
            fields,
            splice_at,
            comma,
            value,
        })
    }

    /// An object that is only to be sent: nothing that selectors need is read.
    ///
    /// # Errors
    /// As [`Obj::parse`].
    pub(crate) fn to_send(
        key: &str,
        value: impl Into<Stored>,
        revision: Revision,
    ) -> Result<Obj, Unreadable> {
        let value = value.into();
        let own = value.own();
        let metadata = json::member(own, "metadata").ok_or(Unreadable::NoMetadata)?;
        if own.get(metadata) != Some(&b'{') {
            return Err(Unreadable::NoMetadata);
        }
        let comma = own.get(metadata + 1) != Some(&b'}');
        Ok(Obj {
            key: key.into(),
            revision,
            written: revision,
            labels: Box::default(),
            fields: Box::default(),
            splice_at: metadata as u32 + 1,
            comma,
            value,
        })
    }

    /// The same object as of another revision (a deletion's).
    pub(crate) fn at(&self, revision: Revision) -> Obj {
        Obj {
            key: self.key.clone(),
            revision,
            written: self.written,
            labels: self.labels.clone(),
            fields: self.fields.clone(),
            value: self.value.clone(),
            splice_at: self.splice_at,
            comma: self.comma,
        }
    }

    /// `metadata.labels`.
    pub(crate) fn labels(&self) -> Labels<'_> {
        Labels {
            bytes: self.stored(),
            all: &self.labels,
        }
    }

    /// Whether the stored object says that it is of this group and version.
    pub(crate) fn is_of(&self, group: &str, version: &str) -> bool {
        let own = self.stored();
        let text = json::member(own, "apiVersion").and_then(|at| own.get(at..));
        let parts = [b"\"", group.as_bytes(), b"/", version.as_bytes(), b"\""];
        parts
            .into_iter()
            .try_fold(text.unwrap_or_default(), |text, part| text.strip_prefix(part))
            .is_some()
    }

    /// The bytes as stored, without `resourceVersion` and what fields its managers own.
    pub(super) fn stored(&self) -> &[u8] {
        self.value.own()
    }

    /// Length in bytes of [`Obj::write_json`]'s output, at most.
    pub(crate) fn json_len(&self) -> usize {
        self.value.len() + 44
    }

    /// Appends the object as compact JSON with its `resourceVersion`.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head());
        self.write_rest(out);
    }

    /// As [`Obj::write_json`], without `apiVersion` and `kind`: as an item of a list that says them.
    pub(crate) fn write_item(&self, out: &mut Vec<u8>) {
        let head = self.head();
        let mut written = 0;
        for field in ["apiVersion", "kind"] {
            let Some(place) = self.member_before_metadata(field, written.max(1)) else {
                continue;
            };
            if place.start >= written {
                out.extend_from_slice(&head[written..place.start]);
                written = place.end;
            }
        }
        out.extend_from_slice(&head[written..]);
        self.write_rest(out);
    }

    /// Where a member with a plain text stands, the comma behind it included; `None` where it comes after
    /// `metadata`, which no object that was stored in order has. Most have it at `expected`.
    fn member_before_metadata(&self, field: &str, expected: usize) -> Option<std::ops::Range<usize>> {
        let head = self.head();
        let quoted = head.get(expected..)?.strip_prefix(b"\"");
        let there = quoted.and_then(|rest| rest.strip_prefix(field.as_bytes()));
        let value = match there.is_some_and(|rest| rest.starts_with(b"\":\"")) {
            true => expected + field.len() + 3,
            false => json::member(self.stored(), field).filter(|at| *at < head.len())?,
        };
        let end = value + 1 + head.get(value + 1..)?.iter().position(|byte| *byte == b'"')?;
        let start = value.checked_sub(field.len() + 3)?;
        (head.get(end + 1) == Some(&b',')).then_some(start..end + 2)
    }

    /// All before `metadata`'s first member.
    fn head(&self) -> &[u8] {
        &self.stored()[..self.splice_at as usize]
    }

    /// What follows the opening brace of `metadata`.
    fn write_rest(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(itoa::Buffer::new().format(self.revision).as_bytes());
        out.push(b'"');
        if self.comma {
            out.push(b',');
        }
        let rest = self.value.slices_from(self.splice_at as usize);
        rest.for_each(|slice| out.extend_from_slice(slice));
    }

    /// The object as compact JSON with its `resourceVersion`, in place of what `out` was.
    pub(crate) fn write(&self, out: &mut Written) {
        out.json.clear();
        self.write_json(&mut out.json);
        let spliced = out.json.len() - self.value.len();
        // The braces belong to the value.
        let whole = |inner: Range<usize>| inner.start + spliced - 1..inner.end + spliced + 1;
        out.opaque.clear();
        out.opaque.extend(self.value.shared().map(whole));
    }

    /// The object as compact JSON with its `resourceVersion`.
    pub(crate) fn json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.json_len());
        self.write_json(&mut out);
        out
    }

    /// The object as a tree with its `resourceVersion`.
    pub(crate) fn to_value(&self) -> Value {
        let mut value: Value = serde_json::from_slice(&self.value.bytes()).unwrap_or_default();
        value["metadata"]["resourceVersion"] = Value::String(self.revision.to_string());
        value
    }

    /// A scalar somewhere in the object, without a tree; `None` where there is none, and for those in a
    /// manager's `fieldsV1`.
    pub(crate) fn scalar(&self, path: &[&str]) -> Option<String> {
        let mut tape = Tape::default();
        let root = tape.read(std::str::from_utf8(self.stored()).ok()?).ok()?;
        let found = path.iter().try_fold(root, |at, step| at.get(step))?;
        Some(Text::of(found)?.get(self.stored()).to_owned())
    }

    /// Reads the object into a type. `fieldsV1` of its managers is empty there.
    ///
    /// # Errors
    /// When the bytes do not fit the type.
    pub(crate) fn typed<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.stored())
    }

    /// Namespace; empty for cluster-scoped objects.
    pub(crate) fn namespace(&self) -> &str {
        self.key.split_once('/').map_or("", |(ns, _)| ns)
    }

    /// Name.
    pub(crate) fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }
}

/// An object as it is served.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub json: Vec<u8>,
    /// Where values stand that need no look into them, in ascending order.
    pub opaque: Vec<Range<usize>>,
}

/// Keys and values of a `labels` map.
fn labels(map: Place<'_>) -> impl Iterator<Item = (Text, Text)> {
    map.items().filter_map(|value| {
        let (start, raw) = value.key_raw();
        Some((Text::piece(start, &value.key(), raw), Text::of(value)?))
    })
}
