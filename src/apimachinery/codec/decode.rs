//! The decoder: serde seeds that carry the schema's type along.

use std::cell::RefCell;
use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize as _;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::path::Path;
use super::{DecodeError, StrictError, scalar};
use crate::quantity;
use crate::schema::{Schema, Type, TypeDef};

/// Upstream stops collecting strict errors here.
pub(super) const MAX_STRICT_ERRORS: usize = 100;

/// What types with a notation of their own contain.
static SCHEMA_PROPS: LazyLock<Type> = LazyLock::new(|| Type::Message(Schema::json_schema_props().id));

/// What one decoding collects.
pub(super) struct Context {
    strict: bool,
    errors: RefCell<Vec<StrictError>>,
    /// The error to report; serde only carries a placeholder for it.
    failure: RefCell<Option<String>>,
}

impl Context {
    pub(super) fn new(strict: bool) -> Context {
        Context {
            strict,
            errors: RefCell::default(),
            failure: RefCell::default(),
        }
    }

    pub(super) fn finish<E>(
        self,
        result: Result<Value, E>,
        syntax: impl Fn(E) -> DecodeError,
    ) -> Result<(Value, Vec<StrictError>), DecodeError> {
        match (self.failure.into_inner(), result) {
            (Some(message), _) => Err(DecodeError(message)),
            (None, Err(error)) => Err(syntax(error)),
            (None, Ok(value)) => Ok((value, self.errors.into_inner())),
        }
    }

    fn strict(&self, what: &str, at: &Path<'_>, name: &str) {
        if !self.strict {
            return;
        }
        let error = StrictError(format!("{what} field {:?}", at.strict(name)));
        let mut errors = self.errors.borrow_mut();
        if errors.len() < MAX_STRICT_ERRORS && !errors.contains(&error) {
            errors.push(error);
        }
    }

    fn fail<E: Error>(&self, message: String) -> E {
        self.failure.borrow_mut().get_or_insert(message);
        E::custom("reported")
    }

    fn mismatch<E: Error>(&self, found: &str, at: &Path<'_>, wanted: &str) -> E {
        self.fail(match at.go_field() {
            Some(field) => {
                format!("json: cannot unmarshal {found} into Go struct field {field} of type {wanted}")
            }
            None => format!("json: cannot unmarshal {found} into Go value of type {wanted}"),
        })
    }
}

/// What Go calls a type.
fn go_type(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::Int32 | Type::IntOrString => "int32".to_owned(),
        Type::Int64 => "int64".to_owned(),
        Type::Float => "float64".to_owned(),
        Type::Bytes => "[]uint8".to_owned(),
        Type::FieldsV1 => "v1.FieldsV1".to_owned(),
        Type::Message(id) => go_struct(id.def()),
        Type::List(item) => format!("[]{}", go_type(item)),
        Type::Map(item) if **item == Type::Quantity => "v1.ResourceList".to_owned(),
        Type::Map(item) => {
            let item = go_type(item);
            let key = match item.as_str() {
                "v1.DeviceAttribute" | "v1.DeviceCapacity" => "v1.QualifiedName",
                _ => "string",
            };
            format!("map[{key}]{item}")
        }
        _ => "string".to_owned(),
    }
}

fn go_struct(def: &TypeDef) -> String {
    let mut parts = def.name.rsplit('.');
    let name = parts.next().unwrap_or_default();
    format!("{}.{name}", parts.next().unwrap_or_default())
}

/// A whole object, the root of a decoding; anything else is a type error.
pub(super) struct Object<'a> {
    pub(super) context: &'a Context,
    pub(super) def: &'a TypeDef,
    pub(super) at: &'a Path<'a>,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Object<'_> {
    fn mismatch<E: Error>(&self, found: &str) -> E {
        self.context.mismatch(found, self.at, &go_struct(self.def))
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.def.name)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value, E> {
        Err(self.mismatch("bool"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value, E> {
        Err(self.mismatch("number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Value, E> {
        Err(self.mismatch("number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Err(self.mismatch("number"))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Value, E> {
        Err(self.mismatch("string"))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Object(Map::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(self.mismatch("array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let Object { context, def, at } = self;
        let mut out = Map::new();
        let mut seen = 0_u128;
        while let Some(key) = map.next_key_seed(KeySeed(def))? {
            let index = match key {
                Key::Known(index) => index,
                Key::Unknown(name) => {
                    context.strict("unknown", at, &name);
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let field = &def.fields[index];
            let bit = 1_u128.checked_shl(index as u32).unwrap_or_default();
            if seen & bit != 0 {
                context.strict("duplicate", at, &field.name);
            }
            seen |= bit;
            let here = Path::Field {
                parent: at,
                owner: def.go_name(),
                field,
            };
            if let Some(value) = map.next_value_seed(Typed {
                context,
                ty: &field.ty,
                at: &here,
            })? {
                out.insert(String::from(&*field.name), value);
            }
        }
        Ok(Value::Object(out))
    }
}

enum Key {
    Known(usize),
    Unknown(String),
}

/// Finds a key among a type's fields without keeping the key.
struct KeySeed<'a>(&'a TypeDef);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
        Ok(match self.0.field_index(name) {
            Some(index) => Key::Known(index),
            None => Key::Unknown(name.to_owned()),
        })
    }
}

/// A value of a known type; `None` where Go would leave the field unset.
struct Typed<'a> {
    context: &'a Context,
    ty: &'a Type,
    at: &'a Path<'a>,
}

impl<'de> DeserializeSeed<'de> for Typed<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Typed<'_> {
    fn mismatch<E: Error>(&self, found: &str) -> E {
        match self.ty {
            Type::Quantity => self.context.fail(quantity::ParseError::Format.to_string()),
            Type::SchemaOrBool => self.context.fail("boolean or JSON schema expected".to_owned()),
            ty => {
                let is_scalar = |ty: &Type| matches!(ty, Type::String | Type::Int32 | Type::Int64);
                let wanted = match (self.at.go_type(), ty) {
                    (Some(name), ty) if is_scalar(ty) => name.to_owned(),
                    (Some(name), Type::List(item)) if is_scalar(item) => format!("[]{name}"),
                    (_, ty) => go_type(ty),
                };
                self.context.mismatch(found, self.at, &wanted)
            }
        }
    }

    fn number<E: Error>(self, number: Number) -> Result<Option<Value>, E> {
        let fits = match self.ty {
            Type::Int32 | Type::IntOrString => number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            Type::Int64 => number.is_i64(),
            Type::Float | Type::Json | Type::RawExtension => true,
            Type::Quantity => return self.quantity(&Value::Number(number)),
            Type::SchemaOrArray | Type::SchemaOrStrings => return Ok(None),
            _ => return Err(self.mismatch("number")),
        };
        if fits {
            return Ok(Some(Value::Number(number)));
        }
        Err(self.mismatch(&format!("number {number}")))
    }

    fn quantity<E: Error>(self, value: &Value) -> Result<Option<Value>, E> {
        match quantity::canonical(value) {
            Ok(text) => Ok(Some(Value::String(text))),
            Err(error) => Err(self.context.fail(error.to_string())),
        }
    }

    fn string<E: Error>(self, text: String) -> Result<Option<Value>, E> {
        let canonical = match self.ty {
            Type::String | Type::IntOrString | Type::Json | Type::RawExtension => Ok(Some(text)),
            Type::Quantity => return self.quantity(&Value::String(text)),
            Type::SchemaOrArray | Type::SchemaOrStrings => return Ok(None),
            Type::Bytes => scalar::bytes(&text).map(Some),
            Type::Time => scalar::time(&text),
            Type::MicroTime => scalar::micro_time(&text),
            Type::Duration => scalar::parse_duration(&text).map(|nanos| Some(scalar::format_duration(nanos))),
            _ => return Err(self.mismatch("string")),
        };
        canonical
            .map(|text| text.map(Value::String))
            .map_err(|message| self.context.fail(message))
    }

    /// What Go puts into a list or map for a null.
    fn zero(ty: &Type) -> Option<Value> {
        Some(match ty {
            Type::Bool => Value::Bool(false),
            Type::Int32 | Type::Int64 | Type::Float | Type::IntOrString => 0.into(),
            Type::String | Type::Bytes => "".into(),
            Type::Quantity => "0".into(),
            Type::Message(_) => Value::Object(Map::new()),
            Type::Json | Type::Time | Type::MicroTime => Value::Null,
            Type::List(_) => Value::Array(Vec::new()),
            _ => return None,
        })
    }

    fn list<'de, A: SeqAccess<'de>>(self, item: &Type, mut seq: A) -> Result<Option<Value>, A::Error> {
        let mut out = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(64));
        loop {
            let here = Path::Index {
                parent: self.at,
                index: out.len(),
            };
            match seq.next_element_seed(Typed {
                context: self.context,
                ty: item,
                at: &here,
            })? {
                Some(Some(value)) => out.push(value),
                Some(None) => out.extend(Typed::zero(item)),
                None => return Ok(Some(Value::Array(out))),
            }
        }
    }

    fn map<'de, A: MapAccess<'de>>(self, item: &Type, mut map: A) -> Result<Option<Value>, A::Error> {
        let mut out = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if out.contains_key(&key) {
                self.context.strict("duplicate", self.at, &key);
            }
            let here = Path::Key {
                parent: self.at,
                key: &key,
            };
            let value = map.next_value_seed(Typed {
                context: self.context,
                ty: item,
                at: &here,
            })?;
            if let Some(value) = value.or_else(|| Typed::zero(item)) {
                out.insert(key, value);
            }
        }
        Ok(Some(Value::Object(out)))
    }

    /// Upstream decodes what has a notation of its own by itself, and leniently.
    fn alone<'de, D: Deserializer<'de>>(self, ty: &Type, deserializer: D) -> Result<Option<Value>, D::Error> {
        let context = Context::new(false);
        let result = Typed {
            context: &context,
            ty,
            at: self.at,
        }
        .deserialize(deserializer);
        match context.failure.into_inner() {
            Some(message) => Err(self.context.fail(message)),
            None => result,
        }
    }
}

impl<'de> Visitor<'de> for Typed<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&go_type(self.ty))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Option<Value>, E> {
        match self.ty {
            Type::Bool | Type::Json | Type::RawExtension | Type::SchemaOrBool => Ok(Some(Value::Bool(value))),
            // Go reads no scalar here, and says nothing.
            Type::SchemaOrArray | Type::SchemaOrStrings => Ok(None),
            _ => Err(self.mismatch("bool")),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Option<Value>, E> {
        self.number(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<Value>, E> {
        self.number(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<Value>, E> {
        match Number::from_f64(value) {
            Some(number) => self.number(number),
            None => Err(self.mismatch("number")),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<Value>, E> {
        self.string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Option<Value>, E> {
        self.string(text)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Option<Value>, A::Error> {
        match self.ty {
            Type::List(item) => self.list(item, seq),
            Type::Json | Type::RawExtension => Value::deserialize(SeqAccessDeserializer::new(seq)).map(Some),
            Type::SchemaOrArray => {
                let list = Type::List(Box::new(SCHEMA_PROPS.clone()));
                self.alone(&list, SeqAccessDeserializer::new(seq))
            }
            Type::SchemaOrStrings => {
                let list = Type::List(Box::new(Type::String));
                self.alone(&list, SeqAccessDeserializer::new(seq))
            }
            _ => Err(self.mismatch("array")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<Value>, A::Error> {
        match self.ty {
            Type::Message(id) => Object {
                context: self.context,
                def: id.def(),
                at: self.at,
            }
            .visit_map(map)
            .map(Some),
            Type::Map(item) => self.map(item, map),
            Type::Json | Type::RawExtension | Type::FieldsV1 => {
                Value::deserialize(MapAccessDeserializer::new(map)).map(Some)
            }
            Type::SchemaOrBool | Type::SchemaOrArray | Type::SchemaOrStrings => {
                self.alone(&SCHEMA_PROPS, MapAccessDeserializer::new(map))
            }
            _ => Err(self.mismatch("object")),
        }
    }
}
