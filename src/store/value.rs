//! The bytes of an entry, of which parts may be held once for many entries.

use std::{borrow::Cow, ops::Range, sync::Arc};

use bytes::Bytes;

/// What was written, unchanged. Cloning copies reference counts.
///
/// An implementation may hold parts that many values have in common once for all of them. Such a value
/// consists of its [own](Value::own) bytes and of pieces that belong between them.
#[derive(Clone)]
pub struct Value {
    own: Arc<[u8]>,
    pieces: Option<Arc<[Piece]>>,
}

/// A part that other values have as well.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// How many of the value's own bytes stand before it.
    pub(crate) at: u32,
    pub(crate) text: Arc<[u8]>,
}

impl Value {
    /// A value of its own bytes with pieces in ascending order of their places between them.
    pub(crate) fn new(own: Arc<[u8]>, pieces: Vec<Piece>) -> Self {
        let pieces = (!pieces.is_empty()).then(|| pieces.into());
        Value { own, pieces }
    }

    /// The bytes that it has for itself: all, but for what the store was told to hold once for all values
    /// that have it.
    pub fn own(&self) -> &[u8] {
        &self.own
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        let shared: usize = self.pieces().iter().map(|piece| piece.text.len()).sum();
        self.own.len() + shared
    }

    /// Whether there is not a byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that it alone takes, about.
    pub(crate) fn memory(&self) -> usize {
        self.own.len() + size_of_val(self.pieces())
    }

    fn pieces(&self) -> &[Piece] {
        self.pieces.as_deref().unwrap_or_default()
    }

    /// Its bytes in order, in as many slices as they are held in, those before its own byte `from` left out.
    pub fn slices_from(&self, from: usize) -> impl Iterator<Item = &[u8]> {
        let pieces = self
            .pieces()
            .iter()
            .filter(move |piece| piece.at as usize >= from);
        let starts = std::iter::once(from).chain(pieces.clone().map(|piece| piece.at as usize));
        let ends = pieces.clone().map(|piece| piece.at as usize);
        let ends = ends.chain(std::iter::once(self.own.len()));
        let texts = pieces.map(|piece| &*piece.text).chain(std::iter::once(&[][..]));
        let own = starts
            .zip(ends)
            .map(|(start, end)| &self.own[start.min(end)..end]);
        own.zip(texts).flat_map(|(own, text)| [own, text])
    }

    /// Where in its bytes the parts stand that it does not have for itself, in ascending order.
    pub fn shared(&self) -> impl Iterator<Item = Range<usize>> {
        let mut before = 0;
        self.pieces().iter().map(move |piece| {
            let start = piece.at as usize + before;
            before += piece.text.len();
            start..start + piece.text.len()
        })
    }

    /// Appends its bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.slices_from(0).for_each(|slice| out.extend_from_slice(slice));
    }

    /// Its bytes in one piece: those that it has when that is all, else a copy.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        if self.pieces.is_none() {
            return Cow::Borrowed(&self.own);
        }
        let mut all = Vec::with_capacity(self.len());
        self.write(&mut all);
        Cow::Owned(all)
    }
}

impl Default for Value {
    fn default() -> Self {
        Value::from(&[][..])
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Value::new(bytes.into(), Vec::new())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Value::new(bytes.into(), Vec::new())
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Value::from(&*bytes)
    }
}

impl PartialEq<[u8]> for Value {
    fn eq(&self, other: &[u8]) -> bool {
        let mut rest = Some(other);
        for slice in self.slices_from(0) {
            rest = rest.and_then(|rest| rest.strip_prefix(slice));
        }
        rest.is_some_and(<[u8]>::is_empty)
    }
}

/// However they are held.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Value {}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.bytes().escape_ascii())
    }
}
