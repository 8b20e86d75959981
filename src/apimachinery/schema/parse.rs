//! The table's text form, one fact per line, made to be read in a diff.
//!
//! ```text
//! version v1.35.0
//! package io.k8s.api.core.v1
//! type Volume
//!  name 1 string r
//!  emptyDir 2/2 EmptyDirVolumeSource o p
//! ```
//!
//! A `type` line belongs to the `package` above it and may end in `atomic`. A field line is
//! `<json name> [<via>/]...<tag> <type> <attribute>...` after one space. Types are the words of [`word`],
//! `[]T`, `{}T` (a map), a bare name for a type of the same package, or a full name.
//!
//! Attributes: `r` required, `o` omitempty, `z` omitzero, `p` pointer, `w` wrapped in protobuf, `atomic`, `granular`,
//! `list=atomic|set|map:<key>,...`, `patch=<merge|replace|retainKeys>,...`, `key=<merge key>`,
//! `enum=<value>,...` (an empty value is `''`), `default=<JSON>`; a space is written as `\u0020`. `as=` is what
//! Go calls a scalar's type, `in=` what it calls the inlined structs around a field: Go's errors name them.
//! Lines that begin with `#` and empty lines are skipped.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::{Field, ListType, PatchStrategy, Schema, Type, TypeDef, TypeId};

/// Why a table can't be read.
#[derive(Debug, thiserror::Error)]
#[error("schema table, line {line}: {problem}")]
pub struct ParseError {
    pub line: usize,
    pub problem: String,
}

type Result<T> = std::result::Result<T, ParseError>;

fn err<T>(line: usize, problem: impl Into<String>) -> Result<T> {
    Err(ParseError {
        line: line + 1,
        problem: problem.into(),
    })
}

pub(super) fn parse(text: &str) -> Result<Schema> {
    let names = collect_names(text)?;
    let ids: HashMap<&str, TypeId> = names
        .iter()
        .enumerate()
        .map(|(index, name)| (name.as_str(), TypeId(index as u32)))
        .collect();
    let mut version = "";
    let mut package = "";
    let mut types: Vec<TypeDef> = Vec::with_capacity(names.len());
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split(' ');
        match words.next().unwrap_or_default() {
            "#" => {}
            "version" => version = words.next().unwrap_or_default(),
            "package" => package = words.next().unwrap_or_default(),
            "type" => {
                let id = TypeId(types.len() as u32);
                types.push(TypeDef {
                    id,
                    name: names[types.len()].as_str().into(),
                    fields: Vec::new(),
                    prefixes: Vec::new(),
                    atomic: words.nth(1) == Some("atomic"),
                    wire_order: Vec::new(),
                    skeleton: OnceLock::new(),
                    written_unset: OnceLock::new(),
                });
            }
            "" => {
                let Some(name) = words.next() else { continue };
                let Some(def) = types.last_mut() else {
                    return err(number, "a field stands before the first type");
                };
                def.fields.push(field(number, name, words, package, &ids)?);
            }
            word => return err(number, format!("no fact begins with {word:?}")),
        }
    }
    for def in &mut types {
        finish(def)?;
    }
    if version.is_empty() {
        return err(0, "no version line");
    }
    Ok(Schema::new(version.into(), types))
}

/// The full names of all types, in the file's order: a field may refer to a later type.
fn collect_names(text: &str) -> Result<Vec<String>> {
    let mut package = None;
    let mut names = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix("package ") {
            package = Some(name);
        } else if let Some(rest) = line.strip_prefix("type ") {
            let name = rest.split(' ').next().unwrap_or_default();
            let Some(package) = package else {
                return err(number, "a type stands before the first package");
            };
            names.push(format!("{package}.{name}"));
        }
    }
    Ok(names)
}

fn finish(def: &mut TypeDef) -> Result<()> {
    def.fields.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = def.fields.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return err(0, format!("{} has two fields {}", def.name, pair[0].name));
    }
    def.prefixes = def
        .fields
        .iter()
        .map(|field| super::prefix(&field.name))
        .collect();
    let mut order: Vec<u16> = (0..def.fields.len() as u16)
        .filter(|index| def.fields[*index as usize].tag != 0)
        .collect();
    order.sort_by_key(|index| {
        let field = &def.fields[*index as usize];
        field.via.iter().copied().chain([field.tag]).collect::<Vec<u32>>()
    });
    def.wire_order = order;
    Ok(())
}

fn field<'a>(
    line: usize,
    name: &str,
    mut words: impl Iterator<Item = &'a str>,
    package: &str,
    ids: &HashMap<&str, TypeId>,
) -> Result<Field> {
    let (Some(tag), Some(ty)) = (words.next(), words.next()) else {
        return err(line, "a field needs a name, a tag and a type");
    };
    let numbers: std::result::Result<Vec<u32>, _> = tag.split('/').map(str::parse).collect();
    let Some((tag, via)) = numbers.ok().and_then(|mut via| via.pop().map(|tag| (tag, via))) else {
        return err(line, format!("{tag:?} is not a tag"));
    };
    let Some(ty) = type_ref(ty, package, ids) else {
        return err(line, format!("no type {ty:?}"));
    };
    let mut field = Field {
        name: name.into(),
        tag,
        via,
        ty,
        required: false,
        omitempty: false,
        omitzero: false,
        pointer: false,
        wrapped: false,
        list_type: ListType::Atomic,
        list_type_marked: false,
        list_keys: Vec::new(),
        atomic: false,
        granular: false,
        patch_strategy: PatchStrategy::default(),
        patch_merge_key: None,
        enum_values: Vec::new(),
        default: None,
        go_type: None,
        go_embedded: None,
    };
    for word in words {
        attribute(&mut field, word).or_else(|problem| err(line, problem))?;
    }
    Ok(field)
}

fn attribute(field: &mut Field, word: &str) -> std::result::Result<(), String> {
    match word.split_once('=') {
        None => match word {
            "r" => field.required = true,
            "o" => field.omitempty = true,
            "z" => field.omitzero = true,
            "p" => field.pointer = true,
            "w" => field.wrapped = true,
            "atomic" => field.atomic = true,
            "granular" => field.granular = true,
            _ => return Err(format!("no attribute {word:?}")),
        },
        Some(("list", value)) => {
            let (kind, keys) = value.split_once(':').unwrap_or((value, ""));
            field.list_type_marked = true;
            field.list_type = match kind {
                "atomic" => ListType::Atomic,
                "set" => ListType::Set,
                "map" => ListType::Map,
                _ => return Err(format!("no list type {kind:?}")),
            };
            field.list_keys = comma_list(keys);
        }
        Some(("patch", value)) => {
            for part in value.split(',') {
                match part {
                    "merge" => field.patch_strategy.merge = true,
                    "replace" => field.patch_strategy.replace = true,
                    "retainKeys" => field.patch_strategy.retain_keys = true,
                    _ => return Err(format!("no patch strategy {part:?}")),
                }
            }
        }
        Some(("as", value)) => field.go_type = Some(value.into()),
        Some(("in", value)) => field.go_embedded = Some(value.into()),
        Some(("key", value)) => field.patch_merge_key = Some(value.into()),
        Some(("enum", value)) => field.enum_values = comma_list(value),
        Some(("default", value)) => {
            field.default =
                Some(serde_json::from_str(value).map_err(|error| format!("default {value}: {error}"))?);
        }
        Some((name, _)) => return Err(format!("no attribute {name:?}")),
    }
    Ok(())
}

fn comma_list(text: &str) -> Vec<Box<str>> {
    let unquote = |part: &str| {
        if part == "''" {
            "".into()
        } else {
            part.replace("\\u0020", " ").into()
        }
    };
    if text.is_empty() {
        Vec::new()
    } else {
        text.split(',').map(unquote).collect()
    }
}

fn type_ref(text: &str, package: &str, ids: &HashMap<&str, TypeId>) -> Option<Type> {
    if let Some(item) = text.strip_prefix("[]") {
        return Some(Type::List(Box::new(type_ref(item, package, ids)?)));
    }
    if let Some(item) = text.strip_prefix("{}") {
        return Some(Type::Map(Box::new(type_ref(item, package, ids)?)));
    }
    if let Some(simple) = word(text) {
        return Some(simple);
    }
    let id = if text.contains('.') {
        ids.get(text)
    } else {
        ids.get(format!("{package}.{text}").as_str())
    };
    id.map(|id| Type::Message(*id))
}

/// The types that are no objects with known fields.
fn word(text: &str) -> Option<Type> {
    Some(match text {
        "bool" => Type::Bool,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "float" => Type::Float,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "quantity" => Type::Quantity,
        "int-or-string" => Type::IntOrString,
        "time" => Type::Time,
        "micro-time" => Type::MicroTime,
        "duration" => Type::Duration,
        "raw" => Type::RawExtension,
        "fields" => Type::FieldsV1,
        "json" => Type::Json,
        "schema-or-bool" => Type::SchemaOrBool,
        "schema-or-array" => Type::SchemaOrArray,
        "schema-or-strings" => Type::SchemaOrStrings,
        _ => return None,
    })
}
