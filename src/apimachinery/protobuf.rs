//! Kubernetes' protobuf form of built-in kinds, to and from the JSON tree, by the schema's field numbers.
//!
//! An object travels in an envelope: the bytes `k8s\0`, then upstream's `runtime.Unknown` with its apiVersion
//! and kind and the object's own message. As Go's marshaller does, scalars and structs that are no pointers
//! are always written; on the way back, what Go would leave out of JSON is left out
//! ([`crate::codec::normalize`]), so a normal object survives the way there and back unchanged.
//!
//! ```text
//! encode(&value, def) -> bytes      decode(bytes, def) -> value       peek(bytes) -> apiVersion, kind
//! list(..), watch_frame(..): assembled from items that are encoded already
//! ```

mod decode;
mod encode;
mod source;
mod special;
pub(crate) mod wire;

use serde_json::Value;

use crate::codec::{self, TypeMeta};
use crate::json::Place;
use crate::schema::TypeDef;
use wire::{Reader, Writer};

pub use decode::DecodeError;
pub use encode::EncodeError;

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What every enveloped object begins with.
pub const MAGIC: [u8; 4] = *b"k8s\0";

/// Encodes an object with its envelope; apiVersion and kind are the object's own.
///
/// # Errors
/// A value that does not fit the type.
pub fn encode(value: &Value, def: &TypeDef) -> Result<Vec<u8>, EncodeError> {
    let body = encode_body(value, def)?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    Ok(envelope(text("apiVersion"), text("kind"), &body))
}

/// Encodes an object's message without an envelope: an item of a list.
///
/// # Errors
/// A value that does not fit the type.
pub fn encode_body(value: &Value, def: &TypeDef) -> Result<Vec<u8>, EncodeError> {
    let mut out = Writer::default();
    encode::message(&mut out, value, def)?;
    Ok(out.into_bytes())
}

/// [`encode`] from JSON text in place, which is compact: what is stored, without a tree.
///
/// # Errors
/// As [`encode`].
pub fn encode_text(object: Place<'_>, def: &TypeDef) -> Result<Vec<u8>, EncodeError> {
    let mut body = Writer::with_capacity(object.raw().len());
    encode::message(&mut body, object, def)?;
    let text = |name: &str| object.get(name).and_then(Place::as_str).unwrap_or_default();
    Ok(envelope(&text("apiVersion"), &text("kind"), &body.into_bytes()))
}

/// Puts a message into an envelope.
pub fn envelope(api_version: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Writer::with_capacity(body.len() + api_version.len() + kind.len() + 32);
    open_envelope(&mut out, api_version, kind);
    out.bytes(2, body);
    close_envelope(&mut out);
    out.into_bytes()
}

fn open_envelope(out: &mut Writer, api_version: &str, kind: &str) {
    out.raw(&MAGIC);
    out.nested(1, |meta| {
        meta.bytes(1, api_version.as_bytes());
        meta.bytes(2, kind.as_bytes());
    });
}

/// contentEncoding and contentType: empty, but Go writes them.
fn close_envelope(out: &mut Writer) {
    out.bytes(3, b"");
    out.bytes(4, b"");
}

/// A list in its envelope, from its `metadata` and items made by [`encode_body`].
///
/// # Errors
/// `metadata` that is no `ListMeta`.
pub fn list<'a>(
    api_version: &str,
    list_kind: &str,
    metadata: &Value,
    items: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, EncodeError> {
    let mut body = Writer::default();
    let list_meta = special::list_meta();
    let meta = encode_body(metadata, list_meta)?;
    body.bytes(1, &meta);
    for item in items {
        body.bytes(2, item);
    }
    Ok(envelope(api_version, list_kind, &body.into_bytes()))
}

/// A list that grows item by item: of what is encoded, no tree has to be kept.
#[derive(Debug)]
pub struct ListEncoder {
    body: Writer,
}

impl ListEncoder {
    /// An empty list with its `metadata`; `size` is about how many bytes it will have.
    ///
    /// # Errors
    /// `metadata` that is no `ListMeta`.
    pub fn new(metadata: &Value, size: usize) -> Result<ListEncoder, EncodeError> {
        let mut body = Writer::with_capacity(size);
        body.bytes(1, &encode_body(metadata, special::list_meta())?);
        Ok(ListEncoder { body })
    }

    /// Adds an item.
    ///
    /// # Errors
    /// A value that does not fit the type.
    pub fn push(&mut self, item: &Value, def: &TypeDef) -> Result<(), EncodeError> {
        self.body.try_nested(2, |out| encode::message(out, item, def))
    }

    /// Adds an item from JSON text in place, which is compact.
    ///
    /// # Errors
    /// As [`ListEncoder::push`].
    pub fn push_text(&mut self, item: Place<'_>, def: &TypeDef) -> Result<(), EncodeError> {
        self.body.try_nested(2, |out| encode::message(out, item, def))
    }

    /// The list in its envelope, in three pieces that follow each other: it may be large, and is not
    /// moved.
    #[must_use]
    pub fn finish(self, api_version: &str, list_kind: &str) -> [Vec<u8>; 3] {
        let body = self.body.into_bytes();
        let mut before = Writer::default();
        open_envelope(&mut before, api_version, list_kind);
        before.length(2, body.len());
        let mut after = Writer::default();
        close_envelope(&mut after);
        [before.into_bytes(), body, after.into_bytes()]
    }
}

/// One event of a watch stream: a 4-byte big-endian length, then a `WatchEvent` round an enveloped object.
pub fn watch_frame(event_type: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.raw(&[0; 4]);
    out.bytes(1, event_type.as_bytes());
    out.nested(2, |raw| raw.bytes(1, object));
    let mut bytes = out.into_bytes();
    let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// Decodes an enveloped object; apiVersion and kind come from the envelope.
///
/// # Errors
/// A missing envelope, truncated bytes, wire types that don't fit, too deep nesting.
pub fn decode(bytes: &[u8], def: &TypeDef) -> Result<Value, DecodeError> {
    let (meta, body) = open(bytes)?;
    let mut value = decode_body(body, def)?;
    if let Value::Object(object) = &mut value {
        for (name, text) in [("apiVersion", meta.api_version), ("kind", meta.kind)] {
            if !text.is_empty() {
                object.insert(name.to_owned(), Value::String(text));
            }
        }
    }
    Ok(value)
}

/// Decodes a message without an envelope.
///
/// # Errors
/// As [`decode`].
pub fn decode_body(body: &[u8], def: &TypeDef) -> Result<Value, DecodeError> {
    let mut value = decode::message(body, def)?;
    codec::normalize(&mut value, def);
    Ok(value)
}

/// Reads only the apiVersion and kind of an enveloped object.
///
/// # Errors
/// A missing or truncated envelope.
pub fn peek(bytes: &[u8]) -> Result<TypeMeta, DecodeError> {
    open(bytes).map(|(meta, _)| meta)
}

/// The envelope's apiVersion and kind, and the message in it.
fn open(bytes: &[u8]) -> Result<(TypeMeta, &[u8]), DecodeError> {
    let Some(rest) = bytes.strip_prefix(&MAGIC) else {
        return Err(DecodeError::NoEnvelope);
    };
    let mut meta = TypeMeta::default();
    let mut body: &[u8] = &[];
    let mut reader = Reader::new(rest);
    while let Some((tag, wire)) = reader.tag()? {
        match tag {
            1 => {
                let mut inner = Reader::new(reader.bytes(wire)?);
                while let Some((tag, wire)) = inner.tag()? {
                    match tag {
                        1 => meta.api_version = inner.text(wire)?,
                        2 => meta.kind = inner.text(wire)?,
                        _ => inner.skip(wire)?,
                    }
                }
            }
            2 => body = reader.bytes(wire)?,
            _ => reader.skip(wire)?,
        }
    }
    Ok((meta, body))
}

#[cfg(test)]
mod tests;
