//! What is encoded: a tree, or JSON text in place.

use std::borrow::Cow;

use serde_json::Value;
use smallvec::SmallVec;

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
}

/// The members of an object by the index of their field. Types have many fields and objects few members.
pub(super) struct Members<S> {
    /// By field: one more than the place in `values`; 0: not there.
    places: SmallVec<[u16; 64]>,
    values: SmallVec<[S; 12]>,
}

impl<'s, S: Source<'s>> Members<S> {
    /// Of an object that has none.
    pub(super) fn none() -> Self {
        Members {
            places: SmallVec::new(),
            values: SmallVec::new(),
        }
    }

    /// Those of an object; what the type does not have is left out.
    pub(super) fn of(object: S, def: &TypeDef) -> Self {
        let mut members = Self::none();
        members.places.resize(def.fields.len(), 0);
        for (key, value) in object.entries() {
            if let Some(index) = def.field_index(&key) {
                // One that stands there twice counts as its last, and there are no more than fields then.
                match members.places[index] {
                    0 => {
                        members.values.push(value);
                        members.places[index] = members.values.len() as u16;
                    }
                    known => members.values[usize::from(known) - 1] = value,
                }
            }
        }
        members
    }

    /// The value of a field.
    pub(super) fn get(&self, field: u16) -> Option<S> {
        let place = usize::from(*self.places.get(usize::from(field))?);
        self.values.get(place.checked_sub(1)?).copied()
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
