//! Structural schemas as types, and the sizes that they bound
//! (`k8s.io/apiserver/pkg/cel/common/schemas.go`).

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value as Json};

use crate::{
    estimate,
    names::escape,
    types::{Field, ListKeys, ObjectType, Type},
};

/// Bytes that a request may have.
const MAX_REQUEST: u64 = 3 * 1024 * 1024;

/// The type of what a structural schema node (`openAPIV3Schema` or below, as JSON) describes.
/// `Type::Dyn` for what expressions cannot look into.
#[must_use]
pub fn object_type(schema: &Json) -> Type {
    declared(schema, "selfType", false).unwrap_or(Type::Dyn)
}

/// As [`object_type`] for the root of a resource: `apiVersion`, `kind`, `metadata.name` and
/// `metadata.generateName` are there whatever the schema says.
#[must_use]
pub fn resource_type(schema: &Json) -> Type {
    declared(schema, "selfType", true).unwrap_or(Type::Dyn)
}

fn flag(schema: &Json, name: &str) -> bool {
    schema[name] == true
}

/// The schema of a map's values, when it is a map.
fn map_values(schema: &Json) -> Option<&Json> {
    schema.get("additionalProperties").filter(|s| s.is_object())
}

fn declared(schema: &Json, name: &str, root: bool) -> Option<Type> {
    if flag(schema, "x-kubernetes-int-or-string") {
        return Some(Type::Dyn);
    }
    let embedded = |schema: &Json| flag(schema, "x-kubernetes-embedded-resource");
    match schema["type"].as_str().unwrap_or_default() {
        "array" => {
            let items = schema.get("items")?;
            let element = Arc::new(declared(items, &format!("{name}.@idx"), embedded(items))?);
            let keys = match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => ListKeys::Set,
                Some("map") => ListKeys::Map(
                    schema["x-kubernetes-list-map-keys"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(|k| k.as_str().map(str::to_owned))
                        .collect(),
                ),
                _ => return Some(Type::List(element)),
            };
            Some(Type::Keyed(element, Arc::new(keys)))
        }
        "object" => {
            if let Some(values) = map_values(schema) {
                let value = declared(values, &format!("{name}.@elem"), embedded(values))?;
                return Some(Type::map(Type::String, value));
            }
            let mut fields = BTreeMap::new();
            for (json, property) in schema["properties"].as_object().into_iter().flatten() {
                let Some(ty) = declared(property, &format!("{name}.{json}"), embedded(property)) else {
                    continue;
                };
                if let Some(escaped) = escape(json) {
                    let json = json.clone();
                    fields.insert(escaped, Field { json, ty });
                }
            }
            if root || embedded(schema) {
                with_meta(&mut fields, name);
            }
            Some(Type::Object(Arc::new(ObjectType {
                name: name.to_owned(),
                fields,
            })))
        }
        "string" => Some(match schema["format"].as_str().unwrap_or_default() {
            "byte" => Type::Bytes,
            "duration" => Type::Duration,
            "date" | "date-time" => Type::Timestamp,
            _ => Type::String,
        }),
        "boolean" => Some(Type::Bool),
        "number" => Some(Type::Double),
        "integer" => Some(Type::Int),
        _ => None,
    }
}

/// Adds what every resource has.
fn with_meta(fields: &mut BTreeMap<String, Field>, name: &str) {
    for text in ["apiVersion", "kind"] {
        fields.insert(
            text.into(),
            Field {
                json: text.into(),
                ty: Type::String,
            },
        );
    }
    let complete = fields.get("metadata").is_some_and(|field| {
        matches!(&field.ty, Type::Object(meta)
            if meta.fields.contains_key("name") && meta.fields.contains_key("generateName"))
    });
    if !complete {
        let ty = Type::Object(ObjectType::new(
            &format!("{name}.metadata"),
            [("name", Type::String), ("generateName", Type::String)],
        ));
        fields.insert(
            "metadata".into(),
            Field {
                json: "metadata".into(),
                ty,
            },
        );
    }
}

/// How large values below a schema node can be: for [`crate::Program::estimated_cost`] of rules
/// whose variables `self` and `oldSelf` are of that node's type.
#[derive(Clone, Copy, Debug)]
pub struct Sizes<'s> {
    schema: &'s Json,
}

impl<'s> Sizes<'s> {
    /// Sizes below `self` and `oldSelf`.
    #[must_use]
    pub fn new(schema: &'s Json) -> Self {
        Sizes { schema }
    }
}

impl estimate::Sizes for Sizes<'_> {
    fn max_size(&self, path: &[String]) -> Option<u64> {
        let (root, rest) = path.split_first()?;
        if root != "self" && root != "oldSelf" {
            return None;
        }
        let mut node = self.schema;
        for step in rest {
            node = match step.as_str() {
                "@items" => node.get("items")?,
                "@values" => map_values(node)?,
                // Keys are as long as a request allows; a list's indices are numbers.
                "@keys" => {
                    map_values(node)?;
                    return Some(MAX_REQUEST - 2);
                }
                "@indices" => return Some(1),
                field => {
                    let properties = node["properties"].as_object()?;
                    match property(properties, field) {
                        Some(found) => found,
                        None => return is_meta(field).then_some(MAX_REQUEST - 2),
                    }
                }
            };
        }
        max_elements(node)
    }
}

fn is_meta(field: &str) -> bool {
    matches!(field, "apiVersion" | "kind" | "name" | "generateName")
}

fn property<'a>(properties: &'a Map<String, Json>, field: &str) -> Option<&'a Json> {
    let json = crate::names::unescape(field).unwrap_or_else(|| field.to_owned());
    properties.get(&json).or_else(|| properties.get(field))
}

fn bound(schema: &Json, name: &str) -> Option<u64> {
    schema
        .get(name)
        .and_then(Json::as_i64)
        .map(|n| n.max(0).unsigned_abs())
}

/// The most elements, characters or entries of a value. `None`: it has no size.
fn max_elements(schema: &Json) -> Option<u64> {
    if flag(schema, "x-kubernetes-int-or-string") {
        return Some(bound(schema, "maxLength").map_or(MAX_REQUEST - 2, |n| n.saturating_mul(4)));
    }
    match schema["type"].as_str().unwrap_or_default() {
        "array" => Some(match bound(schema, "maxItems") {
            Some(most) => most,
            None => (MAX_REQUEST - 2) / (min_bytes(schema.get("items")?) + 1),
        }),
        "object" => match (map_values(schema), bound(schema, "maxProperties")) {
            (Some(_), Some(most)) => Some(most),
            (Some(values), None) => Some((MAX_REQUEST - 2) / (min_bytes(values) + 6)),
            (None, _) => None,
        },
        "string" => Some(match (schema["format"].as_str(), bound(schema, "maxLength")) {
            (Some("duration"), _) => 32,
            (Some("date"), _) => 12,
            (Some("date-time"), _) => 37,
            (Some("byte"), Some(most)) => most,
            (_, Some(most)) => most.saturating_mul(4),
            (Some("byte"), None) => MAX_REQUEST - 2,
            (_, None) => match schema["enum"].as_array() {
                Some(values) if !values.is_empty() => values
                    .iter()
                    .filter_map(|v| v.as_str().map(|s| s.len() as u64))
                    .max()
                    .unwrap_or_default(),
                _ => MAX_REQUEST - 2,
            },
        }),
        _ => None,
    }
}

/// The fewest bytes that a value takes in a request.
fn min_bytes(schema: &Json) -> u64 {
    if flag(schema, "x-kubernetes-int-or-string") {
        return 1;
    }
    match schema["type"].as_str().unwrap_or_default() {
        "string" => match schema["format"].as_str() {
            Some("duration") => 4,
            Some("date") => 12,
            Some("date-time") => 22,
            _ => 2,
        },
        "boolean" => 4,
        "number" | "integer" => 1,
        "object" if map_values(schema).is_none() => {
            let required = schema["required"].as_array();
            let mut sum = 2;
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let needed = required.is_some_and(|r| r.iter().any(|n| n == name.as_str()));
                if needed && property.get("default").is_none() {
                    sum += name.len() as u64 + min_bytes(property) + 4;
                }
            }
            sum
        }
        _ => 2,
    }
}
