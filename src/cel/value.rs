//! Values of expressions. What comes from JSON is borrowed, never copied. A value stays on the
//! thread that made it: runs are short and never wait.

use std::{borrow::Cow, cell::Cell, collections::BTreeMap, fmt, net::IpAddr, rc::Rc, sync::Arc};

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use rkind_apimachinery::quantity::Quantity;
use serde_json::{Map as JsonMap, Value as Json};

use crate::{
    RunError,
    authz::Authz,
    functions::{formats::Format, semver::Semver, urls::Url},
    types::{self, ObjectType, Type},
};

/// A value. `'a` is the life of the JSON it was read from.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Cow<'a, str>),
    Bytes(Arc<[u8]>),
    Timestamp(Timestamp),
    Duration(SignedDuration),
    List(List<'a>),
    Map(Map<'a>),
    Object(Object<'a>),
    Optional(Option<Rc<Value<'a>>>),
    /// A type, by name.
    Type(String),
    Quantity(Quantity),
    Ip(IpAddr),
    /// Address (host bits kept) with prefix length.
    Cidr(IpNet),
    Url(Arc<Url>),
    Format(&'static Format),
    Semver(Arc<Semver>),
    /// The authorizer, or a question put together for it, or its answer.
    Authz(Rc<Authz<'a>>),
}

/// A list: a JSON array read as `element`, or computed.
#[derive(Clone, Debug)]
pub enum List<'a> {
    Json(&'a [Json], Type),
    Own(Rc<Vec<Value<'a>>>, Option<Arc<types::ListKeys>>),
}

/// A map: a JSON object with values read as one type, or computed.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    Json(&'a JsonMap<String, Json>, Type),
    Own(Rc<BTreeMap<Key, Value<'a>>>),
}

/// A key of a computed map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Bool(bool),
    Int(i64),
    Uint(u64),
    String(String),
}

/// An object with typed fields.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    pub ty: Arc<ObjectType>,
    pub fields: Fields<'a>,
}

/// Where an object's fields are.
#[derive(Clone)]
pub enum Fields<'a> {
    Json(&'a JsonMap<String, Json>),
    Own(Rc<BTreeMap<String, Value<'a>>>),
    /// Fields that were computed at a cost (a policy's `variables`).
    Made(Rc<BTreeMap<String, Made<'a>>>),
}

/// A computed field, or why it could not be computed. Whoever reads it first bears its cost, which
/// all copies share.
#[derive(Clone, Debug)]
pub struct Made<'a> {
    pub value: Result<Value<'a>, RunError>,
    pub cost: Rc<Cell<u64>>,
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fields::Json(map) => map.fmt(f),
            Fields::Own(map) => map.fmt(f),
            Fields::Made(map) => map.fmt(f),
        }
    }
}

impl<'a> Value<'a> {
    /// A text.
    pub fn string(text: impl Into<Cow<'a, str>>) -> Self {
        Value::String(text.into())
    }

    /// A computed list.
    #[must_use]
    pub fn list(items: Vec<Value<'a>>) -> Self {
        Value::List(List::Own(Rc::new(items), None))
    }

    /// A computed map with texts as keys.
    pub fn map(entries: impl IntoIterator<Item = (String, Value<'a>)>) -> Self {
        let entries = entries.into_iter().map(|(k, v)| (Key::String(k), v)).collect();
        Value::Map(Map::Own(Rc::new(entries)))
    }

    /// An optional value.
    #[must_use]
    pub fn optional(inner: Option<Value<'a>>) -> Self {
        Value::Optional(inner.map(Rc::new))
    }

    /// JSON read as a type. What does not fit the type is read as it looks.
    #[must_use]
    pub fn from_json(json: &'a Json, ty: &Type) -> Self {
        match (json, ty) {
            (Json::Null, _) => Value::Null,
            (Json::Bool(b), _) => Value::Bool(*b),
            (Json::Number(n), Type::Double) => Value::Double(n.as_f64().unwrap_or_default()),
            (Json::Number(n), Type::Uint) if n.is_u64() => Value::Uint(n.as_u64().unwrap_or_default()),
            (Json::Number(n), _) => match n.as_i64() {
                Some(i) => Value::Int(i),
                None => Value::Double(n.as_f64().unwrap_or_default()),
            },
            (Json::String(s), Type::Timestamp) => match crate::functions::time::parse_json_time(s) {
                Some(time) => Value::Timestamp(time),
                None => Value::String(Cow::Borrowed(s)),
            },
            (Json::String(s), Type::Duration) => match crate::functions::time::parse_duration(s) {
                Some(duration) => Value::Duration(duration),
                None => Value::String(Cow::Borrowed(s)),
            },
            (Json::String(s), Type::Bytes) => {
                use base64::Engine as _;
                match base64::engine::general_purpose::STANDARD.decode(s) {
                    Ok(bytes) => Value::Bytes(bytes.into()),
                    Err(_) => Value::String(Cow::Borrowed(s)),
                }
            }
            (Json::String(s), _) => Value::String(Cow::Borrowed(s)),
            (Json::Array(items), Type::List(_) | Type::Keyed(..)) => {
                Value::List(List::Json(items, ty.clone()))
            }
            (Json::Array(items), _) => Value::List(List::Json(items, Type::list(Type::Dyn))),
            (Json::Object(map), Type::Object(object)) => Value::Object(Object {
                ty: object.clone(),
                fields: Fields::Json(map),
            }),
            (Json::Object(map), Type::Map(_, value)) => Value::Map(Map::Json(map, (**value).clone())),
            (Json::Object(map), _) => Value::Map(Map::Json(map, Type::Dyn)),
        }
    }

    /// As JSON; bytes become base64, times RFC 3339, durations seconds.
    /// `None` for what has no JSON form (types, authorizers …).
    #[must_use]
    pub fn to_json(&self) -> Option<Json> {
        Some(match self {
            Value::Null | Value::Optional(None) => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int(i) => (*i).into(),
            Value::Uint(u) => (*u).into(),
            Value::Double(d) => {
                // A whole number stays one, as in an encoder that writes the shortest form.
                if d.fract() == 0.0 && d.abs() < 9e15 {
                    (*d as i64).into()
                } else {
                    serde_json::Number::from_f64(*d)?.into()
                }
            }
            Value::String(s) => Json::String(s.to_string()),
            Value::Bytes(bytes) => {
                use base64::Engine as _;
                Json::String(base64::engine::general_purpose::STANDARD.encode(bytes))
            }
            Value::Timestamp(_) | Value::Duration(_) => {
                Json::String(crate::functions::convert::to_text(self).ok()?)
            }
            Value::List(list) => Json::Array(list.iter().map(|v| v.to_json()).collect::<Option<_>>()?),
            Value::Map(Map::Json(map, _)) => Json::Object((*map).clone()),
            Value::Map(Map::Own(map)) => Json::Object(
                map.iter()
                    .map(|(k, v)| Some((k.to_string(), v.to_json()?)))
                    .collect::<Option<_>>()?,
            ),
            Value::Object(object) => match &object.fields {
                Fields::Json(map) => Json::Object((*map).clone()),
                Fields::Own(map) => Json::Object(
                    map.iter()
                        .map(|(k, v)| Some((k.clone(), v.to_json()?)))
                        .collect::<Option<_>>()?,
                ),
                Fields::Made(_) => return None,
            },
            Value::Optional(Some(inner)) => inner.to_json()?,
            Value::Quantity(q) => Json::String(q.to_string()),
            Value::Ip(ip) => Json::String(ip.to_string()),
            Value::Cidr(net) => Json::String(net.to_string()),
            Value::Url(url) => Json::String(url.to_string()),
            Value::Type(_) | Value::Format(_) | Value::Semver(_) | Value::Authz(_) => return None,
        })
    }

    /// The name of its type, as messages show it.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Object(object) => &object.ty.name,
            Value::Optional(_) => "optional_type",
            Value::Type(_) => "type",
            Value::Quantity(_) => types::QUANTITY,
            Value::Ip(_) => types::IP,
            Value::Cidr(_) => types::CIDR,
            Value::Url(_) => types::URL,
            Value::Format(_) => types::FORMAT,
            Value::Semver(_) => types::SEMVER,
            Value::Authz(authz) => authz.type_name(),
        }
    }

    /// Upstream's `size()` of it for cost: 1 for what has none.
    pub(crate) fn cost_size(&self) -> u64 {
        match self {
            Value::String(s) => s.chars().count() as u64,
            Value::Bytes(b) => b.len() as u64,
            Value::List(list) => list.len() as u64,
            Value::Map(map) => map.len() as u64,
            Value::Object(object) => match &object.fields {
                Fields::Json(map) => map.len() as u64,
                Fields::Own(map) => map.len() as u64,
                Fields::Made(map) => map.len() as u64,
            },
            Value::Ip(ip) => {
                if ip.is_ipv4() {
                    4
                } else {
                    16
                }
            }
            Value::Cidr(net) => {
                if matches!(net, IpNet::V4(_)) {
                    4
                } else {
                    16
                }
            }
            _ => 1,
        }
    }
}

impl<'a> List<'a> {
    /// How many elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            List::Json(items, _) => items.len(),
            List::Own(items, _) => items.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at an index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            List::Json(items, ty) => {
                let element = ty.element().unwrap_or(&Type::Dyn);
                items.get(index).map(|json| Value::from_json(json, element))
            }
            List::Own(items, _) => items.get(index).cloned(),
        }
    }

    /// All elements.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|i| self.get(i))
    }

    /// What makes its elements the same.
    pub(crate) fn keys(&self) -> Option<Arc<types::ListKeys>> {
        match self {
            List::Json(_, Type::Keyed(_, keys)) => Some(keys.clone()),
            List::Json(..) => None,
            List::Own(_, keys) => keys.clone(),
        }
    }
}

impl<'a> Map<'a> {
    /// How many entries.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Map::Json(map, _) => map.len(),
            Map::Own(map) => map.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key; numbers of different types are the same key when they are equal.
    #[must_use]
    pub fn get(&self, key: &Value<'_>) -> Option<Value<'a>> {
        match self {
            Map::Json(map, ty) => match key {
                Value::String(key) => map.get(&**key).map(|json| Value::from_json(json, ty)),
                _ => None,
            },
            Map::Own(map) => {
                let key = Key::of(key)?;
                map.get(&key).or_else(|| map.get(&key.other_number()?)).cloned()
            }
        }
    }

    /// All keys, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Map::Json(map, _) => {
                let mut keys: Vec<&'a str> = map.keys().map(String::as_str).collect();
                keys.sort_unstable();
                keys.into_iter().map(Value::string).collect()
            }
            Map::Own(map) => map.keys().map(Key::value).collect(),
        }
    }
}

impl Key {
    /// A value as a key.
    #[must_use]
    pub fn of(value: &Value<'_>) -> Option<Key> {
        Some(match value {
            Value::Bool(b) => Key::Bool(*b),
            Value::Int(i) => Key::Int(*i),
            Value::Uint(u) => Key::Uint(*u),
            Value::Double(d) if d.fract() == 0.0 && d.abs() < 9e15 => Key::Int(*d as i64),
            Value::String(s) => Key::String(s.to_string()),
            _ => return None,
        })
    }

    fn other_number(&self) -> Option<Key> {
        match self {
            Key::Int(i) => u64::try_from(*i).ok().map(Key::Uint),
            Key::Uint(u) => i64::try_from(*u).ok().map(Key::Int),
            _ => None,
        }
    }

    /// As a value.
    #[must_use]
    pub fn value<'a>(&self) -> Value<'a> {
        match self {
            Key::Bool(b) => Value::Bool(*b),
            Key::Int(i) => Value::Int(*i),
            Key::Uint(u) => Value::Uint(*u),
            Key::String(s) => Value::String(Cow::Owned(s.clone())),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Bool(b) => b.fmt(f),
            Key::Int(i) => i.fmt(f),
            Key::Uint(u) => u.fmt(f),
            Key::String(s) => f.write_str(s),
        }
    }
}

impl<'a> Object<'a> {
    /// A field by the name that expressions use. `Some(Err)`: making it failed. The number is what
    /// making it cost.
    pub(crate) fn field(&self, name: &str) -> Option<Result<(Value<'a>, u64), RunError>> {
        match &self.fields {
            Fields::Json(map) => {
                let (json, ty) = match self.ty.fields.get(name) {
                    Some(field) => (map.get(&field.json)?, &field.ty),
                    None => (map.get(name)?, &Type::Dyn),
                };
                Some(Ok((Value::from_json(json, ty), 0)))
            }
            Fields::Own(map) => map.get(name).cloned().map(|v| Ok((v, 0))),
            Fields::Made(map) => map
                .get(name)
                .map(|made| made.value.clone().map(|v| (v, made.cost.take()))),
        }
    }

    /// Whether a field is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        match &self.fields {
            Fields::Json(map) => {
                let json = self.ty.fields.get(name).map_or(name, |field| &field.json);
                map.contains_key(json)
            }
            Fields::Own(map) => map.contains_key(name),
            Fields::Made(map) => map.contains_key(name),
        }
    }

    /// Its fields' names, as expressions use them.
    pub(crate) fn names(&self) -> Vec<String> {
        match &self.fields {
            Fields::Json(map) => map
                .keys()
                .map(|k| crate::names::escape(k).unwrap_or_else(|| k.clone()))
                .collect(),
            Fields::Own(map) => map.keys().cloned().collect(),
            Fields::Made(map) => map.keys().cloned().collect(),
        }
    }
}
