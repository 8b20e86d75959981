//! Custom resources in OpenAPI documents.
//! Upstream: `apiextensions-apiserver/pkg/controller/openapi/builder`.

use rkind_apimachinery::openapi::CustomDefinition;
use serde_json::{Map, Value, json};

use crate::catalog::Custom;

const META: &str = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1";

/// Which document a definition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    /// Swagger: what its clients stumble over is left out.
    V2,
    V3,
}

/// The definitions of a custom resource and of its list.
pub(crate) fn definitions(custom: &Custom, document: Document) -> [CustomDefinition; 2] {
    let def = &custom.resource;
    let source = &custom.version().source;
    let kind = |kind: &str| json!([{"group": def.group, "version": def.version, "kind": kind}]);
    let free = source["x-kubernetes-preserve-unknown-fields"] == true;
    let mut schema = if document == Document::V2 && free {
        // Clients would object to every field beside those that are named.
        json!({"type": "object"})
    } else {
        let mut schema = Value::clone(source);
        if document == Document::V2 {
            plain(&mut schema);
        }
        embed(&mut schema, document);
        head(&mut schema, document, OBJECT_META);
        schema
    };
    schema["x-kubernetes-group-version-kind"] = kind(def.kind);
    let reference = json!({"$ref": format!("#/components/schemas/{}", def.type_name)});
    let mut list = json!({
        "type": "object",
        "description": format!("{} is a list of {}", def.list_kind, def.kind),
        "required": ["items"],
        "properties": {
            "items": {
                "type": "array",
                "description": format!(
                    "List of {}. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md",
                    def.resource
                ),
                "items": reference,
            },
        },
        "x-kubernetes-group-version-kind": kind(def.list_kind),
    });
    head(&mut list, document, LIST_META);
    [
        CustomDefinition {
            name: def.type_name.to_owned(),
            schema,
        },
        CustomDefinition {
            name: def.list_type_name.to_owned(),
            schema: list,
        },
    ]
}

/// Type and description of `metadata`.
type Metadata = (&'static str, &'static str);

const OBJECT_META: Metadata = (
    "ObjectMeta",
    "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
);
const LIST_META: Metadata = (
    "ListMeta",
    "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
);

/// Adds what every object has.
fn head(schema: &mut Value, document: Document, metadata: Metadata) {
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    let (name, description) = metadata;
    let target = format!("{META}.{name}");
    let properties = &mut schema["properties"];
    properties["apiVersion"] = json!({"type": "string", "description": "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"});
    properties["kind"] = json!({"type": "string", "description": "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"});
    properties["metadata"] = match document {
        Document::V2 => json!({"$ref": target, "description": description}),
        Document::V3 => json!({"allOf": [{"$ref": target}], "description": description}),
    };
}

/// Adds to resources within the object what every object has.
fn embed(schema: &mut Value, document: Document) {
    if schema["x-kubernetes-embedded-resource"] == true {
        head(schema, document, OBJECT_META);
        let mut required: Vec<Value> = schema["required"].as_array().cloned().unwrap_or_default();
        for field in ["apiVersion", "kind"] {
            if !required.iter().any(|r| r == field) {
                required.push(field.into());
            }
        }
        schema["required"] = required.into();
    }
    each_child(schema, |child| embed(child, document));
}

fn each_child(schema: &mut Value, mut with: impl FnMut(&mut Value)) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(&mut with);
    }
    for field in ["items", "additionalProperties"] {
        if let Some(child) = object.get_mut(field).filter(|child| child.is_object()) {
            with(child);
        }
    }
}

/// Leaves out what clients of the second version do not understand.
fn plain(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut() {
        for field in ["allOf", "anyOf", "oneOf", "not"] {
            object.remove(field);
        }
        let drop = |object: &mut Map<String, Value>, fields: &[&str]| {
            for field in fields {
                object.remove(*field);
            }
        };
        if object.remove("nullable") == Some(Value::Bool(true)) {
            drop(
                object,
                &["type", "items", "properties", "additionalProperties", "required"],
            );
        }
        if object.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
            drop(object, &["type"]);
        }
        if object.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
            drop(
                object,
                &["type", "items", "properties", "additionalProperties", "required"],
            );
        }
    }
    each_child(schema, plain);
}
