//! One cached object: the store's bytes and the few parsed fields that selectors need.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use rkind_store::{Entry, Revision};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::fields;

/// Labels of an object, sorted by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    /// Value of a label.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0
            .binary_search_by(|(k, _)| (**k).cmp(key))
            .ok()
            .map(|at| &*self.0[at].1)
    }

    fn from_map(map: BTreeMap<Cow<'_, str>, Cow<'_, str>>) -> Self {
        Labels(map.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
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
    /// `metadata.labels`.
    pub labels: Labels,
    /// Values of the resource's selectable fields, in the order of [`fields::table`].
    pub fields: Box<[Box<str>]>,
    value: Bytes,
    /// Offset just behind the opening brace of `metadata`.
    splice_at: u32,
    /// Whether a comma must follow the spliced field.
    comma: bool,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default, deserialize_with = "null_default")]
    labels: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

fn null_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    d: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

impl Obj {
    /// Reads an entry of the resource with storage prefix `resource`; `key` is the part of the
    /// entry's key behind the resource.
    ///
    /// # Errors
    /// When the bytes are not a JSON object with `metadata`.
    pub(crate) fn parse(resource: &str, key: &str, entry: &Entry) -> Result<Obj, serde_json::Error> {
        Self::from_bytes(resource, key, entry.value.clone(), entry.mod_revision)
    }

    /// As [`Obj::parse`], from bytes and a revision.
    pub(crate) fn from_bytes(
        resource: &str,
        key: &str,
        value: Bytes,
        revision: Revision,
    ) -> Result<Obj, serde_json::Error> {
        let top: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(&value)?;
        let raw = top
            .get("metadata")
            .ok_or_else(|| serde::de::Error::custom("object without metadata"))?;
        let metadata: Metadata<'_> = serde_json::from_str(raw.get())?;
        let offset = raw.get().as_ptr() as usize - value.as_ptr() as usize;
        let comma = raw.get()[1..].trim_start().as_bytes().first() != Some(&b'}');
        let labels = Labels::from_map(metadata.labels);
        let fields = fields::extract(resource, key, &top);
        Ok(Obj {
            key: key.into(),
            revision,
            written: revision,
            labels,
            fields,
            splice_at: u32::try_from(offset + 1).map_err(serde::de::Error::custom)?,
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

    /// Length in bytes of [`Obj::write_json`]'s output, at most.
    pub(crate) fn json_len(&self) -> usize {
        self.value.len() + 44
    }

    /// Appends the object as compact JSON with its `resourceVersion`.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        let at = self.splice_at as usize;
        out.extend_from_slice(&self.value[..at]);
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(itoa::Buffer::new().format(self.revision).as_bytes());
        out.push(b'"');
        if self.comma {
            out.push(b',');
        }
        out.extend_from_slice(&self.value[at..]);
    }

    /// The object as compact JSON with its `resourceVersion`.
    pub(crate) fn json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.json_len());
        self.write_json(&mut out);
        out
    }

    /// The object as a tree with its `resourceVersion`.
    pub(crate) fn to_value(&self) -> Value {
        let mut value: Value = serde_json::from_slice(&self.value).unwrap_or_default();
        value["metadata"]["resourceVersion"] = Value::String(self.revision.to_string());
        value
    }

    /// Reads the object into a type.
    ///
    /// # Errors
    /// When the bytes do not fit the type.
    pub(crate) fn typed<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.value)
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
