//! A v3 document in gnostic's protobuf form. Field numbers are those of upstream's `OpenAPIv3.proto`; only the
//! members that documents of Kubernetes have are known here.

use serde_json::Value;

use super::{any, extensions, flag, items, members, named, text, texts};
use crate::protobuf::wire::Writer;

/// Encodes a document made by [`crate::openapi::v3`].
pub fn v3_to_protobuf(document: &Value) -> Vec<u8> {
    let mut out = Writer::default();
    text(&mut out, 1, document.get("openapi"));
    if let Some(info) = document.get("info") {
        out.nested(2, |out| {
            text(out, 1, info.get("title"));
            text(out, 2, info.get("description"));
            text(out, 6, info.get("version"));
        });
    }
    out.nested(4, |out| {
        for (url, item) in members(document.get("paths")) {
            named(out, 1, url, |out| path_item(out, item));
        }
    });
    if let Some(components) = document.get("components") {
        out.nested(5, |out| {
            out.nested(1, |out| {
                for (name, definition) in members(components.get("schemas")) {
                    named(out, 1, name, |out| schema_or_reference(out, definition));
                }
            });
            if let Some(schemes) = components.get("securitySchemes") {
                out.nested(7, |out| {
                    for (name, scheme) in members(Some(schemes)) {
                        named(out, 1, name, |out| {
                            out.nested(1, |out| security_scheme(out, scheme))
                        });
                    }
                });
            }
        });
    }
    out.into_bytes()
}

fn security_scheme(out: &mut Writer, scheme: &Value) {
    for (name, tag) in [("type", 1), ("description", 2), ("name", 3), ("in", 4)] {
        text(out, tag, scheme.get(name));
    }
}

fn path_item(out: &mut Writer, item: &Value) {
    for (name, value) in members(Some(item)) {
        let tag = match &**name {
            "get" => 4,
            "put" => 5,
            "post" => 6,
            "delete" => 7,
            "options" => 8,
            "head" => 9,
            "patch" => 10,
            _ => continue,
        };
        out.nested(tag, |out| operation(out, value));
    }
    parameters(out, 13, item);
}

fn parameters(out: &mut Writer, tag: u32, of: &Value) {
    for value in items(of.get("parameters")) {
        out.nested(tag, |out| out.nested(1, |out| parameter(out, value)));
    }
}

fn parameter(out: &mut Writer, value: &Value) {
    for (name, tag) in [("name", 1), ("in", 2), ("description", 3)] {
        text(out, tag, value.get(name));
    }
    flag(out, 4, value.get("required"));
    if let Some(inner) = value.get("schema") {
        out.nested(10, |out| schema_or_reference(out, inner));
    }
}

fn operation(out: &mut Writer, value: &Value) {
    texts(out, 1, value.get("tags"));
    text(out, 3, value.get("description"));
    text(out, 5, value.get("operationId"));
    parameters(out, 6, value);
    if let Some(body) = value.get("requestBody") {
        out.nested(7, |out| {
            out.nested(1, |out| {
                text(out, 1, body.get("description"));
                content(out, 2, body);
                flag(out, 3, body.get("required"));
            });
        });
    }
    out.nested(8, |out| {
        for (code, answer) in members(value.get("responses")) {
            let response = |out: &mut Writer| {
                out.nested(1, |out| {
                    text(out, 1, answer.get("description"));
                    content(out, 3, answer);
                });
            };
            match &**code {
                "default" => out.nested(1, response),
                code => named(out, 2, code, response),
            }
        }
    });
    if let Some(object) = value.as_object() {
        extensions(out, 13, object);
    }
}

/// Media types and their schemas.
fn content(out: &mut Writer, tag: u32, of: &Value) {
    let Some(content) = of.get("content") else { return };
    out.nested(tag, |out| {
        for (kind, media) in members(Some(content)) {
            named(out, 1, kind, |out| {
                if let Some(inner) = media.get("schema") {
                    out.nested(1, |out| schema_or_reference(out, inner));
                }
            });
        }
    });
}

fn schema_or_reference(out: &mut Writer, value: &Value) {
    match value.get("$ref") {
        Some(target) => out.nested(2, |out| text(out, 1, Some(target))),
        None => out.nested(1, |out| schema(out, value)),
    }
}

fn schema(out: &mut Writer, value: &Value) {
    let Some(object) = value.as_object() else { return };
    for (name, tag) in [
        ("nullable", 1),
        ("exclusiveMaximum", 12),
        ("exclusiveMinimum", 14),
        ("uniqueItems", 20),
    ] {
        flag(out, tag, object.get(name));
    }
    for (name, tag) in [
        ("title", 9),
        ("pattern", 17),
        ("type", 25),
        ("description", 34),
        ("format", 35),
    ] {
        text(out, tag, object.get(name));
    }
    for (name, tag) in [("multipleOf", 10), ("maximum", 11), ("minimum", 13)] {
        if let Some(number) = object.get(name).and_then(Value::as_f64) {
            out.double(tag, number);
        }
    }
    for (name, tag) in [
        ("maxLength", 15),
        ("minLength", 16),
        ("maxItems", 18),
        ("minItems", 19),
        ("maxProperties", 21),
        ("minProperties", 22),
    ] {
        if let Some(number) = object.get(name).and_then(Value::as_i64) {
            out.varint(tag, number);
        }
    }
    if let Some(docs) = object.get("externalDocs") {
        out.nested(6, |out| {
            text(out, 1, docs.get("description"));
            text(out, 2, docs.get("url"));
        });
    }
    if let Some(example) = object.get("example") {
        out.nested(7, |out| any(out, example));
    }
    texts(out, 23, object.get("required"));
    for value in items(object.get("enum")) {
        out.nested(24, |out| any(out, value));
    }
    for (name, tag) in [("allOf", 26), ("oneOf", 27), ("anyOf", 28)] {
        for inner in items(object.get(name)) {
            out.nested(tag, |out| schema_or_reference(out, inner));
        }
    }
    if let Some(inner) = object.get("not") {
        out.nested(29, |out| schema(out, inner));
    }
    if let Some(inner) = object.get("items") {
        out.nested(30, |out| out.nested(1, |out| schema_or_reference(out, inner)));
    }
    if object.contains_key("properties") {
        out.nested(31, |out| {
            for (name, inner) in members(object.get("properties")) {
                named(out, 1, name, |out| schema_or_reference(out, inner));
            }
        });
    }
    match object.get("additionalProperties") {
        Some(Value::Bool(allowed)) => out.nested(32, |out| out.varint(2, i64::from(*allowed))),
        Some(inner) => out.nested(32, |out| out.nested(1, |out| schema_or_reference(out, inner))),
        None => {}
    }
    if let Some(value) = object.get("default") {
        // Objects and lists have no place in a `DefaultType`.
        out.nested(33, |out| match value {
            Value::Bool(value) => out.varint(2, i64::from(*value)),
            Value::Number(number) => out.double(1, number.as_f64().unwrap_or_default()),
            Value::String(text) => out.bytes(3, text.as_bytes()),
            _ => {}
        });
    }
    extensions(out, 36, object);
}
