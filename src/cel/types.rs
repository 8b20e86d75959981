//! Types of expressions.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// The type of an expression or a variable. Prints as upstream's messages do: `list(string)`.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Not known before it is run.
    Dyn,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Null,
    Timestamp,
    Duration,
    /// Elements of one type.
    List(Arc<Type>),
    /// As `List`; equality and `+` heed what makes elements the same (`x-kubernetes-list-type`).
    Keyed(Arc<Type>, Arc<ListKeys>),
    /// Key, value.
    Map(Arc<Type>, Arc<Type>),
    /// Fields by name.
    Object(Arc<ObjectType>),
    /// `optional_type(T)`.
    Optional(Arc<Type>),
    /// A library's type, by upstream's name: `kubernetes.Quantity`.
    Opaque(&'static str),
    /// The type of types.
    Type(Arc<Type>),
    /// A function's type parameter: `A`.
    Param(char),
    /// Not yet known to the checker.
    #[doc(hidden)]
    Var(u32),
}

/// What makes two elements of a list the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKeys {
    /// `x-kubernetes-list-type: set`.
    Set,
    /// `x-kubernetes-list-type: map`, by these fields.
    Map(Vec<String>),
}

/// An object with known fields.
#[derive(Debug, Default)]
pub struct ObjectType {
    /// Shown in messages; two object types with one name are one type.
    pub name: String,
    /// By the name that expressions use (escaped, see [`crate::names`]).
    pub fields: BTreeMap<String, Field>,
}

impl PartialEq for ObjectType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// A field of an object.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its key in JSON.
    pub json: String,
    pub ty: Type,
}

impl ObjectType {
    /// A type from its fields' names, which expressions use as they are: admission's own variables
    /// escape nothing (`request.namespace`).
    #[must_use]
    pub fn new<'a>(name: &str, fields: impl IntoIterator<Item = (&'a str, Type)>) -> Arc<Self> {
        let field = |(json, ty): (&str, Type)| {
            let json = json.to_owned();
            (json.clone(), Field { json, ty })
        };
        let fields = fields.into_iter().map(field).collect();
        Arc::new(ObjectType {
            name: name.to_owned(),
            fields,
        })
    }
}

impl Type {
    /// `list(element)`.
    #[must_use]
    pub fn list(element: Type) -> Type {
        Type::List(Arc::new(element))
    }

    /// `map(key, value)`.
    #[must_use]
    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Arc::new(key), Arc::new(value))
    }

    /// `optional_type(inner)`.
    #[must_use]
    pub fn optional(inner: Type) -> Type {
        Type::Optional(Arc::new(inner))
    }

    /// The element type of a list.
    #[must_use]
    pub fn element(&self) -> Option<&Type> {
        match self {
            Type::List(element) | Type::Keyed(element, _) => Some(element),
            _ => None,
        }
    }

    /// Whether null may stand for a value of this type.
    pub(crate) fn nullable(&self) -> bool {
        matches!(
            self,
            Type::Object(_) | Type::Opaque(_) | Type::Optional(_) | Type::Timestamp | Type::Duration
        )
    }

    /// Whether every value has one size.
    pub(crate) fn scalar(&self) -> bool {
        match self {
            Type::Bool | Type::Int | Type::Uint | Type::Double | Type::Timestamp | Type::Duration => true,
            Type::Optional(inner) => inner.scalar(),
            _ => false,
        }
    }

    /// Parses a signature's type: `list(A)`, `map(string, dyn)`, `Quantity`.
    pub(crate) fn parse(text: &str) -> Option<Type> {
        let text = text.trim();
        if let Some((head, rest)) = text.split_once('(') {
            let args: Vec<Type> = split(rest.strip_suffix(')')?)
                .into_iter()
                .map(Type::parse)
                .collect::<Option<_>>()?;
            let mut args = args.into_iter();
            return Some(match head {
                "list" => Type::list(args.next()?),
                "map" => Type::map(args.next()?, args.next()?),
                "optional" => Type::optional(args.next()?),
                "type" => Type::Type(Arc::new(args.next()?)),
                _ => return None,
            });
        }
        Some(match text {
            "dyn" => Type::Dyn,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "null" => Type::Null,
            "timestamp" => Type::Timestamp,
            "duration" => Type::Duration,
            "Quantity" => Type::Opaque(QUANTITY),
            "URL" => Type::Opaque(URL),
            "IP" => Type::Opaque(IP),
            "CIDR" => Type::Opaque(CIDR),
            "Format" => Type::Opaque(FORMAT),
            "Semver" => Type::Opaque(SEMVER),
            "Authorizer" => Type::Opaque(AUTHORIZER),
            "PathCheck" => Type::Opaque(PATH_CHECK),
            "GroupCheck" => Type::Opaque(GROUP_CHECK),
            "ResourceCheck" => Type::Opaque(RESOURCE_CHECK),
            "Decision" => Type::Opaque(DECISION),
            "JSONPatch" => Type::Opaque(JSON_PATCH),
            one if one.len() == 1 => Type::Param(one.chars().next()?),
            _ => return None,
        })
    }
}

pub(crate) const QUANTITY: &str = "kubernetes.Quantity";
pub(crate) const URL: &str = "kubernetes.URL";
pub(crate) const IP: &str = "net.IP";
pub(crate) const CIDR: &str = "net.CIDR";
pub(crate) const FORMAT: &str = "kubernetes.NamedFormat";
pub(crate) const SEMVER: &str = "kubernetes.Semver";
pub(crate) const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
pub(crate) const PATH_CHECK: &str = "kubernetes.authorization.PathCheck";
pub(crate) const GROUP_CHECK: &str = "kubernetes.authorization.GroupCheck";
pub(crate) const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";
pub(crate) const DECISION: &str = "kubernetes.authorization.Decision";
pub(crate) const JSON_PATCH: &str = "JSONPatch";

/// The type of the variable `authorizer`.
#[must_use]
pub fn authorizer() -> Type {
    Type::Opaque(AUTHORIZER)
}

/// The type of the variable `authorizer.requestResource`.
#[must_use]
pub fn resource_check() -> Type {
    Type::Opaque(RESOURCE_CHECK)
}

/// The type of a `JSONPatch{…}` expression (environments with [`crate::EnvBuilder::mutations`]).
#[must_use]
pub fn json_patch() -> Type {
    Type::Opaque(JSON_PATCH)
}

/// Splits at commas outside parentheses.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut out) = (0, 0, Vec::new());
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                out.push(text[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        out.push(text[start..].trim());
    }
    out
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dyn => f.write_str("dyn"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::String => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Null => f.write_str("null"),
            Type::Timestamp => f.write_str("timestamp"),
            Type::Duration => f.write_str("duration"),
            Type::List(element) | Type::Keyed(element, _) => write!(f, "list({element})"),
            Type::Map(key, value) => write!(f, "map({key}, {value})"),
            Type::Object(object) => f.write_str(&object.name),
            Type::Optional(inner) => write!(f, "optional_type({inner})"),
            Type::Opaque(name) => f.write_str(name),
            Type::Type(inner) => write!(f, "type({inner})"),
            Type::Param(name) => write!(f, "{name}"),
            Type::Var(n) => write!(f, "_var{n}"),
        }
    }
}

/// The library type of this name.
pub(crate) fn opaque_by_name(name: &str) -> Option<&'static str> {
    [
        QUANTITY,
        URL,
        IP,
        CIDR,
        FORMAT,
        SEMVER,
        AUTHORIZER,
        PATH_CHECK,
        GROUP_CHECK,
        RESOURCE_CHECK,
        DECISION,
    ]
    .into_iter()
    .find(|known| *known == name)
}
