//! Types as OpenAPI definitions: only those that some path leads to.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::{CustomDefinition, Descriptions, Dialect};
use crate::resources::ResourceDef;
use crate::schema::{Field, ListType, Schema, Type, TypeDef};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const APIEXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";

/// Definitions that are asked for by name, and all that those need.
pub(super) struct Definitions<'a> {
    dialect: Dialect,
    custom: HashMap<&'a str, &'a CustomDefinition>,
    texts: &'a dyn Descriptions,
    /// Group and version by a type's package.
    packages: BTreeMap<&'a str, (&'a str, &'a str)>,
    done: BTreeMap<String, Value>,
    queued: HashSet<String>,
    queue: Vec<String>,
}

impl<'a> Definitions<'a> {
    pub(super) fn new(
        dialect: Dialect,
        resources: &'a [ResourceDef],
        custom: &'a [CustomDefinition],
        texts: &'a dyn Descriptions,
    ) -> Definitions<'a> {
        let mut packages = BTreeMap::new();
        for def in resources {
            packages.insert(package(def.type_name), (def.group, def.version));
        }
        Definitions {
            dialect,
            custom: custom
                .iter()
                .map(|definition| (&*definition.name, definition))
                .collect(),
            texts,
            packages,
            done: BTreeMap::new(),
            queued: HashSet::new(),
            queue: Vec::new(),
        }
    }

    /// A reference to a type, which then will be defined.
    pub(super) fn reference(&mut self, name: &str) -> Value {
        if self.queued.insert(name.to_owned()) {
            self.queue.push(name.to_owned());
        }
        self.dialect.reference(name)
    }

    /// Defines everything that was referred to.
    pub(super) fn finish(mut self) -> Value {
        while let Some(name) = self.queue.pop() {
            let definition = self.define(&name);
            self.done.insert(name, definition);
        }
        Value::Object(self.done.into_iter().collect())
    }

    fn define(&mut self, name: &str) -> Value {
        if let Some(custom) = self.custom.get(name) {
            let mut schema = custom.schema.clone();
            self.adopt(&mut schema);
            return schema;
        }
        let mut out = match Schema::get().type_by_name(name) {
            Some(def) => self.object(def),
            None => special(name, self.dialect),
        };
        if let Some(text) = self.texts.of_type(name) {
            out.insert("description".into(), text.into());
        }
        Value::Object(out)
    }

    /// Queues what a custom definition refers to and rewrites the references into this dialect.
    fn adopt(&mut self, schema: &mut Value) {
        match schema {
            Value::Object(object) => {
                let target = object.get("$ref").and_then(Value::as_str).map(str::to_owned);
                if let Some((_, name)) = target.as_deref().and_then(|target| target.rsplit_once('/')) {
                    let reference = self.reference(name);
                    object.insert("$ref".into(), reference["$ref"].clone());
                }
                object.values_mut().for_each(|value| self.adopt(value));
            }
            Value::Array(items) => items.iter_mut().for_each(|value| self.adopt(value)),
            _ => {}
        }
    }

    fn object(&mut self, def: &TypeDef) -> Map<String, Value> {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in &def.fields {
            let mut schema = self.property(field);
            if let Some(text) = self.texts.of_field(&def.name, &field.name) {
                schema = self.beside(schema, "description", text.into());
            }
            properties.insert(field.name.to_string(), schema);
            if field.required {
                required.push(Value::from(&*field.name));
            }
        }
        let mut out = Map::new();
        out.insert("type".into(), "object".into());
        if !properties.is_empty() {
            out.insert("properties".into(), properties.into());
        }
        if !required.is_empty() {
            out.insert("required".into(), required.into());
        }
        if def.atomic {
            out.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
        let kinds = self.kinds(def);
        if !kinds.is_empty() {
            out.insert("x-kubernetes-group-version-kind".into(), kinds.into());
        }
        out
    }

    /// The groups, versions and kinds that objects of a type can say of themselves.
    fn kinds(&self, def: &TypeDef) -> Vec<Value> {
        let kind = def.go_name();
        let gvk = |group: &str, version: &str| json!({ "group": group, "version": version, "kind": kind });
        match package(&def.name) {
            META if matches!(kind, "DeleteOptions" | "WatchEvent") => {
                let mut all: Vec<(&str, &str)> = self.packages.values().copied().collect();
                all.sort_unstable();
                all.into_iter()
                    .map(|(group, version)| gvk(group, version))
                    .collect()
            }
            META if def.field("kind").is_some() && def.field("apiVersion").is_some() => vec![gvk("", "v1")],
            package => match self.packages.get(package) {
                Some((group, version)) if def.field("apiVersion").is_some_and(|field| field.tag == 0) => {
                    vec![gvk(group, version)]
                }
                _ => Vec::new(),
            },
        }
    }

    fn property(&mut self, field: &Field) -> Value {
        let mut schema = self.schema(&field.ty, &field.enum_values);
        let default = field.default.clone().or_else(|| declared_zero(field));
        if let (Some(default), Dialect::V3) = (default, self.dialect) {
            schema = self.beside(schema, "default", default);
        }
        let mut extension = |name: &str, value: Value| {
            schema = self.beside(schema.take(), name, value);
        };
        if field.list_type_marked {
            let name = match field.list_type {
                ListType::Atomic => "atomic",
                ListType::Set => "set",
                ListType::Map => "map",
            };
            extension("x-kubernetes-list-type", name.into());
        }
        if !field.list_keys.is_empty() {
            let keys: Vec<Value> = field.list_keys.iter().map(|key| Value::from(&**key)).collect();
            extension("x-kubernetes-list-map-keys", keys.into());
        }
        if field.atomic {
            extension("x-kubernetes-map-type", "atomic".into());
        }
        if field.granular {
            extension("x-kubernetes-map-type", "granular".into());
        }
        let strategies: Vec<&str> = [
            (field.patch_strategy.merge, "merge"),
            (field.patch_strategy.replace, "replace"),
            (field.patch_strategy.retain_keys, "retainKeys"),
        ]
        .into_iter()
        .filter_map(|(set, name)| set.then_some(name))
        .collect();
        if !strategies.is_empty() {
            extension("x-kubernetes-patch-strategy", strategies.join(",").into());
        }
        if let Some(key) = &field.patch_merge_key {
            extension("x-kubernetes-patch-merge-key", Value::from(&**key));
        }
        schema
    }

    /// Adds a member to a schema; v3 allows none beside a bare reference, which then goes into `allOf`.
    fn beside(&self, schema: Value, name: &str, value: Value) -> Value {
        let mut object = match schema {
            Value::Object(object) => object,
            _ => Map::new(),
        };
        if self.dialect == Dialect::V3
            && let Some(target) = object.remove("$ref")
        {
            object.insert("allOf".into(), json!([{ "$ref": target }]));
        }
        object.insert(name.to_owned(), value);
        Value::Object(object)
    }

    fn schema(&mut self, ty: &Type, enum_values: &[Box<str>]) -> Value {
        match ty {
            Type::Bool => json!({ "type": "boolean" }),
            Type::Int32 => json!({ "type": "integer", "format": "int32" }),
            Type::Int64 => json!({ "type": "integer", "format": "int64" }),
            Type::Float => json!({ "type": "number", "format": "double" }),
            Type::Bytes => json!({ "type": "string", "format": "byte" }),
            Type::String if enum_values.is_empty() => json!({ "type": "string" }),
            Type::String => {
                let values: Vec<Value> = enum_values.iter().map(|value| Value::from(&**value)).collect();
                json!({ "type": "string", "enum": values })
            }
            Type::Message(id) => self.reference(&id.def().name),
            Type::List(item) => {
                let items = self.item(item, enum_values);
                json!({ "type": "array", "items": items })
            }
            Type::Map(item) => {
                let items = self.item(item, enum_values);
                json!({ "type": "object", "additionalProperties": items })
            }
            Type::Quantity => self.reference("io.k8s.apimachinery.pkg.api.resource.Quantity"),
            Type::IntOrString => self.reference("io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
            Type::RawExtension => self.reference("io.k8s.apimachinery.pkg.runtime.RawExtension"),
            Type::Time => self.reference(&format!("{META}.Time")),
            Type::MicroTime => self.reference(&format!("{META}.MicroTime")),
            Type::Duration => self.reference(&format!("{META}.Duration")),
            Type::FieldsV1 => self.reference(&format!("{META}.FieldsV1")),
            Type::Json => self.reference(&format!("{APIEXTENSIONS}.JSON")),
            Type::SchemaOrBool => self.reference(&format!("{APIEXTENSIONS}.JSONSchemaPropsOrBool")),
            Type::SchemaOrArray => self.reference(&format!("{APIEXTENSIONS}.JSONSchemaPropsOrArray")),
            Type::SchemaOrStrings => self.reference(&format!("{APIEXTENSIONS}.JSONSchemaPropsOrStringArray")),
        }
    }

    /// A list's item or a map's value: v3 declares its zero as default.
    fn item(&mut self, ty: &Type, enum_values: &[Box<str>]) -> Value {
        let schema = self.schema(ty, enum_values);
        match (zero_of(ty), self.dialect) {
            (Some(zero), Dialect::V3) => self.beside(schema, "default", zero),
            _ => schema,
        }
    }
}

fn package(type_name: &str) -> &str {
    type_name.rsplit_once('.').map_or("", |(package, _)| package)
}

/// What upstream declares as default of a field that Go always writes.
fn declared_zero(field: &Field) -> Option<Value> {
    if field.pointer {
        return None;
    }
    match field.ty {
        Type::Message(_) => Some(json!({})),
        Type::Bool | Type::Int32 | Type::Int64 | Type::Float | Type::String if !field.omitempty => {
            zero_of(&field.ty)
        }
        _ => None,
    }
}

fn zero_of(ty: &Type) -> Option<Value> {
    match ty {
        Type::Bool => Some(false.into()),
        Type::Int32 | Type::Int64 | Type::Float => Some(0.into()),
        Type::String => Some("".into()),
        Type::Message(_) => Some(json!({})),
        _ => None,
    }
}

/// Types that are no objects with known fields.
fn special(name: &str, dialect: Dialect) -> Map<String, Value> {
    let schema = match (name.rsplit_once('.').map_or("", |(_, name)| name), dialect) {
        ("Quantity", Dialect::V3) => json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
        ("IntOrString", Dialect::V3) => {
            json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] })
        }
        ("IntOrString", Dialect::V2) => json!({ "type": "string", "format": "int-or-string" }),
        ("Time" | "MicroTime", _) => json!({ "type": "string", "format": "date-time" }),
        ("Duration" | "Quantity", _) => json!({ "type": "string" }),
        ("RawExtension" | "FieldsV1" | "Patch", _) => json!({ "type": "object" }),
        _ => json!({}),
    };
    match schema {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
