//! What is encoded: a tree, or JSON text in place.

use std::borrow::Cow;

use serde_json::Value;

use crate::json::Place;
use crate::schema::TypeDef;

/// A JSON value, wherever it stands.
pub(super) trait Source<'s>: Copy + 's {
    fn is_null(self) -> bool;
    fn is_object(self) -> bool;
    fn is_array(self) -> bool;
    fn is_number(self) -> bool;
    fn as_bool(self) -> Option<bool>;
    fn as_i64(self) -> Option<i64>;
    fn as_f64(self) -> Option<f64>;
    fn as_str(self) -> Option<Cow<'s, str>>;
    /// The items of a list; of anything else nothing that means anything.
    fn items(self) -> impl Iterator<Item = Self>;
    fn entries(self) -> impl Iterator<Item = (Cow<'s, str>, Self)>;
    /// As compact JSON.
    fn json(self) -> Cow<'s, str>;

    /// The members of an object by the index of their field; what the type does not have is left out.
    fn by_field(self, def: &TypeDef) -> Vec<Option<Self>> {
        let mut found = vec![None; def.fields.len()];
        for (key, value) in self.entries() {
            if let Some(index) = def.field_index(&key) {
                found[index] = Some(value);
            }
        }
        found
    }
}

impl<'s> Source<'s> for &'s Value {
    fn is_null(self) -> bool {
        Value::is_null(self)
    }

    fn is_object(self) -> bool {
        Value::is_object(self)
    }

    fn is_array(self) -> bool {
        Value::is_array(self)
    }

    fn is_number(self) -> bool {
        Value::is_number(self)
    }

    fn as_bool(self) -> Option<bool> {
        Value::as_bool(self)
    }

    fn as_i64(self) -> Option<i64> {
        Value::as_i64(self)
    }

    fn as_f64(self) -> Option<f64> {
        Value::as_f64(self)
    }

    fn as_str(self) -> Option<Cow<'s, str>> {
        Value::as_str(self).map(Cow::Borrowed)
    }

    fn items(self) -> impl Iterator<Item = Self> {
        self.as_array().into_iter().flatten()
    }

    fn entries(self) -> impl Iterator<Item = (Cow<'s, str>, Self)> {
        let entries = self.as_object().into_iter().flatten();
        entries.map(|(key, value)| (Cow::Borrowed(key.as_str()), value))
    }

    fn json(self) -> Cow<'s, str> {
        Cow::Owned(self.to_string())
    }
}

impl<'s> Source<'s> for Place<'s> {
    fn is_null(self) -> bool {
        Place::is_null(self)
    }

    fn is_object(self) -> bool {
        Place::is_object(self)
    }

    fn is_array(self) -> bool {
        Place::is_array(self)
    }

    fn is_number(self) -> bool {
        Place::is_number(self)
    }

    fn as_bool(self) -> Option<bool> {
        Place::as_bool(self)
    }

    fn as_i64(self) -> Option<i64> {
        self.raw().parse().ok()
    }

    fn as_f64(self) -> Option<f64> {
        self.raw().parse().ok()
    }

    fn as_str(self) -> Option<Cow<'s, str>> {
        Place::as_str(self)
    }

    fn items(self) -> impl Iterator<Item = Self> {
        Place::items(self)
    }

    fn entries(self) -> impl Iterator<Item = (Cow<'s, str>, Self)> {
        Place::entries(self)
    }

    /// What is stored is compact already.
    fn json(self) -> Cow<'s, str> {
        Cow::Borrowed(self.raw())
    }
}
