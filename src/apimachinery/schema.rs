//! Every built-in kind as data: fields, JSON and protobuf types, list and patch semantics.
//!
//! The facts stand in `schema/v1.35.txt`, which `cargo xtask generate` writes from upstream's Go types
//! (see `schema/parse.rs` for the file's form). They are read once per process and never change, so a
//! [`TypeId`] is resolved without a table at hand.

mod parse;
#[cfg(test)]
pub(crate) mod random;

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use serde_json::Value;

pub use parse::ParseError;

const TABLE: &str = include_str!("schema/v1.35.txt");

static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::parse(TABLE).expect("the generated table in this binary is well formed"));

/// All types of one Kubernetes version.
#[derive(Debug)]
pub struct Schema {
    version: Box<str>,
    types: Vec<TypeDef>,
    by_name: HashMap<Box<str>, TypeId>,
}

impl Schema {
    /// The table of the served version, parsed on first use.
    pub fn get() -> &'static Schema {
        &SCHEMA
    }

    /// Reads a table in the form described in `schema/parse.rs`.
    ///
    /// Its [`TypeId`]s mean something only to the table that [`Schema::get`] returns; other tables exist
    /// for the parser's tests and the generator.
    pub fn parse(text: &str) -> Result<Schema, ParseError> {
        parse::parse(text)
    }

    fn new(version: Box<str>, types: Vec<TypeDef>) -> Schema {
        let by_name = types.iter().map(|def| (def.name.clone(), def.id)).collect();
        Schema {
            version,
            types,
            by_name,
        }
    }

    /// The Kubernetes version whose types these are, such as `v1.35.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The type called so in OpenAPI v2, such as `io.k8s.api.core.v1.Pod`.
    pub fn type_by_name(&self, name: &str) -> Option<&TypeDef> {
        self.by_name.get(name).map(|id| self.def(*id))
    }

    /// The type behind an id of this table.
    pub fn def(&self, id: TypeId) -> &TypeDef {
        &self.types[id.0 as usize]
    }

    /// The type of a CustomResourceDefinition's schemas, which some [`Type`]s hold by their own notation.
    pub(crate) fn json_schema_props() -> &'static TypeDef {
        static DEF: LazyLock<&'static TypeDef> = LazyLock::new(|| {
            let name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
            Schema::get()
                .type_by_name(name)
                .expect("the generated table has JSON schemas")
        });
        &DEF
    }

    /// All types, sorted by name within their package.
    pub fn types(&self) -> &[TypeDef] {
        &self.types
    }
}

/// A type of the table that [`Schema::get`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub(crate) u32);

impl TypeId {
    /// What the type is made of.
    pub fn def(self) -> &'static TypeDef {
        Schema::get().def(self)
    }
}

/// A JSON object type with known fields.
#[derive(Debug)]
pub struct TypeDef {
    pub id: TypeId,
    /// OpenAPI v2 name, such as `io.k8s.api.core.v1.Pod`.
    pub name: Box<str>,
    /// Sorted by JSON name. Go's inlined structs are flattened into it.
    pub fields: Vec<Field>,
    /// How the names of `fields` begin, in their order: most names are told apart by a comparison of numbers.
    pub(crate) prefixes: Vec<u64>,
    /// Server-side apply owns the object as a whole (`+structType=atomic`, `+mapType=atomic` on the type).
    pub atomic: bool,
    /// Indexes into `fields` in protobuf's order, nested messages standing where their own number puts them.
    pub(crate) wire_order: Vec<u16>,
    /// What [`crate::apply`] takes an object of this type to be before anything is set.
    pub(crate) skeleton: OnceLock<serde_json::Value>,
    /// Indexes of the fields that Go writes although they were never set.
    pub(crate) written_unset: OnceLock<Box<[u16]>>,
}

impl TypeDef {
    /// The field with this JSON name; names are case-sensitive.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.field_index(name).map(|index| &self.fields[index])
    }

    /// The position in `fields` of the field with this JSON name.
    pub fn field_index(&self, name: &str) -> Option<usize> {
        let wanted = prefix(name);
        let first = self.prefixes.partition_point(|prefix| *prefix < wanted);
        let alike = self.prefixes[first..]
            .iter()
            .take_while(|prefix| **prefix == wanted);
        let mut alike = (first..).zip(alike).map(|(index, _)| index);
        alike.find(|index| *self.fields[*index].name == *name)
    }

    pub(crate) fn written_unset(&self) -> &[u16] {
        self.written_unset.get_or_init(|| {
            let fields = self.fields.iter().zip(0..);
            let written = fields.filter(|(field, _)| crate::codec::absent_value(field).is_some());
            written.map(|(_, index)| index).collect()
        })
    }

    /// The last part of the name: what Go calls the type, such as `Pod`.
    pub fn go_name(&self) -> &str {
        self.name.rsplit_once('.').map_or(&*self.name, |(_, name)| name)
    }

    /// The fields in protobuf order, by `via` and `tag`, without those protobuf does not carry.
    pub fn wire_fields(&self) -> impl Iterator<Item = &Field> {
        self.wire_order.iter().map(|index| &self.fields[*index as usize])
    }
}

/// The first eight bytes of a name, ordered as names are.
pub(crate) fn prefix(name: &str) -> u64 {
    let name = name.as_bytes();
    match name.first_chunk() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let bytes = name.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
            bytes.checked_shl(8 * (8 - name.len() as u32)).unwrap_or_default()
        }
    }
}

/// One JSON property.
#[derive(Debug, Clone)]
pub struct Field {
    /// JSON name.
    pub name: Box<str>,
    /// Protobuf field number; 0 when protobuf does not carry the field (`apiVersion`, `kind`).
    pub tag: u32,
    /// Protobuf numbers of the nested messages, outermost first, that carry the field where Go inlines a
    /// struct into JSON (a volume's `emptyDir` sits in message 2, `volumeSource`); mostly empty.
    pub via: Vec<u32>,
    pub ty: Type,
    /// Listed in OpenAPI's `required`.
    pub required: bool,
    /// Go's `omitempty`: an empty value is left out of JSON.
    pub omitempty: bool,
    /// Go's `omitzero`: a zero struct is left out of JSON.
    pub omitzero: bool,
    /// Go holds a pointer: absent and empty are different things.
    pub pointer: bool,
    /// A list that protobuf carries as a message of its own with the items as field 1 (Go's
    /// `metav1.Verbs`). A list that is a map's value always is.
    pub wrapped: bool,
    /// How server-side apply merges a list; [`ListType::Atomic`] where upstream has no marker.
    pub list_type: ListType,
    /// Whether upstream's source has a `+listType` marker (OpenAPI repeats only these).
    pub list_type_marked: bool,
    /// The keys of a [`ListType::Map`], in upstream's order.
    pub list_keys: Vec<Box<str>>,
    /// Server-side apply owns this map or object as a whole (`+mapType=atomic`, `+structType=atomic`).
    pub atomic: bool,
    /// Server-side apply owns each of its parts, whatever its type says (`+structType=granular`).
    pub granular: bool,
    pub patch_strategy: PatchStrategy,
    /// The key by which strategic merge patch matches a list's items.
    pub patch_merge_key: Option<Box<str>>,
    /// The allowed values upstream declares, sorted; empty for an open set.
    pub enum_values: Vec<Box<str>>,
    /// The default that upstream's OpenAPI declares (`+default`).
    pub default: Option<Value>,
    /// What Go calls the scalar's type where it has a name of its own, such as `v1.PullPolicy`.
    pub(crate) go_type: Option<Box<str>>,
    /// Go's names of the inlined structs that hold the field, such as `ProbeHandler`.
    pub(crate) go_embedded: Option<Box<str>>,
}

/// What a JSON value must look like, and how protobuf carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int32,
    Int64,
    /// A 64-bit float.
    Float,
    String,
    /// Base64 in JSON.
    Bytes,
    /// `resource.Quantity`: a string, or a number on input.
    Quantity,
    /// A 32-bit integer or a string.
    IntOrString,
    /// RFC 3339 with seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// Go's duration notation, such as `1m30s`.
    Duration,
    /// Any object (`runtime.RawExtension`).
    RawExtension,
    /// A field set of `managedFields`.
    FieldsV1,
    /// Anything (`apiextensions.JSON`, `interface{}`).
    Json,
    /// A JSON schema or a boolean (`apiextensions.JSONSchemaPropsOrBool`).
    SchemaOrBool,
    /// A JSON schema or a list of them (`apiextensions.JSONSchemaPropsOrArray`).
    SchemaOrArray,
    /// A JSON schema or a list of strings (`apiextensions.JSONSchemaPropsOrStringArray`).
    SchemaOrStrings,
    Message(TypeId),
    List(Box<Type>),
    /// An object with any keys.
    Map(Box<Type>),
}

impl Type {
    /// The object type that this is, or that this is a list or map of.
    pub fn message(&self) -> Option<&'static TypeDef> {
        match self {
            Type::Message(id) => Some(id.def()),
            Type::List(item) | Type::Map(item) => item.message(),
            _ => None,
        }
    }
}

/// Server-side apply's view of a list: KEP-555 and "Merge strategy" in upstream's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListType {
    /// Owned and replaced as a whole.
    #[default]
    Atomic,
    /// Scalars, each owned on its own.
    Set,
    /// Objects, each identified by its key fields.
    Map,
}

/// Strategic merge patch's directives, the Go tag `patchStrategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PatchStrategy {
    pub merge: bool,
    pub replace: bool,
    pub retain_keys: bool,
}

#[cfg(test)]
mod tests;
