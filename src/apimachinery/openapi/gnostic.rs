//! Documents in gnostic's protobuf form: v2, which client-go asks for, and [`v3`].
//!
//! Only the members that our documents have are known here: field numbers are those of upstream's
//! `OpenAPIv2.proto`.

pub(super) mod v3;

use serde_json::{Map, Value};

use crate::protobuf::wire::Writer;

/// Encodes a document made by [`super::v2`].
pub fn v2_to_protobuf(document: &Value) -> Vec<u8> {
    let mut out = Writer::default();
    text(&mut out, 1, document.get("swagger"));
    if let Some(info) = document.get("info") {
        out.nested(2, |out| {
            text(out, 1, info.get("title"));
            text(out, 2, info.get("version"));
        });
    }
    out.nested(8, |out| {
        for (url, item) in members(document.get("paths")) {
            named(out, 2, url, |out| path_item(out, item));
        }
    });
    out.nested(9, |out| {
        for (name, definition) in members(document.get("definitions")) {
            named(out, 1, name, |out| schema(out, definition));
        }
    });
    for requirement in items(document.get("security")) {
        out.nested(12, |out| {
            for (name, scopes) in members(Some(requirement)) {
                named(out, 1, name, |out| texts(out, 1, Some(scopes)));
            }
        });
    }
    out.nested(13, |out| {
        for (name, scheme) in members(document.get("securityDefinitions")) {
            named(out, 1, name, |out| {
                // An API key, the only kind of scheme that is declared.
                out.nested(2, |out| {
                    text(out, 1, scheme.get("type"));
                    text(out, 2, scheme.get("name"));
                    text(out, 3, scheme.get("in"));
                    text(out, 4, scheme.get("description"));
                });
            });
        }
    });
    out.into_bytes()
}

fn members(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn text(out: &mut Writer, tag: u32, value: Option<&Value>) {
    if let Some(text) = value.and_then(Value::as_str).filter(|text| !text.is_empty()) {
        out.bytes(tag, text.as_bytes());
    }
}

fn texts(out: &mut Writer, tag: u32, values: Option<&Value>) {
    for text in items(values).filter_map(Value::as_str) {
        out.bytes(tag, text.as_bytes());
    }
}

fn flag(out: &mut Writer, tag: u32, value: Option<&Value>) {
    if value.and_then(Value::as_bool) == Some(true) {
        out.varint(tag, 1);
    }
}

/// gnostic's `Named...` messages: a name in field 1, a message in field 2.
fn named(out: &mut Writer, tag: u32, name: &str, value: impl FnOnce(&mut Writer)) {
    out.nested(tag, |out| {
        out.bytes(1, name.as_bytes());
        out.nested(2, value);
    });
}

/// gnostic's `Any`: only its YAML text is ever read, and JSON is YAML.
fn any(out: &mut Writer, value: &Value) {
    out.bytes(2, format!("{value}\n").as_bytes());
}

fn extensions(out: &mut Writer, tag: u32, object: &Map<String, Value>) {
    for (name, value) in object.iter().filter(|(name, _)| name.starts_with("x-")) {
        named(out, tag, name, |out| any(out, value));
    }
}

fn path_item(out: &mut Writer, item: &Value) {
    for (name, method) in members(Some(item)) {
        let tag = match &**name {
            "get" => 2,
            "put" => 3,
            "post" => 4,
            "delete" => 5,
            "patch" => 8,
            _ => continue,
        };
        out.nested(tag, |out| operation(out, method));
    }
    for item in items(item.get("parameters")) {
        out.nested(9, |out| parameter(out, item));
    }
}

fn operation(out: &mut Writer, operation: &Value) {
    texts(out, 1, operation.get("tags"));
    text(out, 3, operation.get("description"));
    text(out, 5, operation.get("operationId"));
    texts(out, 6, operation.get("produces"));
    texts(out, 7, operation.get("consumes"));
    for item in items(operation.get("parameters")) {
        out.nested(8, |out| parameter(out, item));
    }
    out.nested(9, |out| {
        for (code, response) in members(operation.get("responses")) {
            named(out, 1, code, |out| {
                out.nested(1, |out| {
                    text(out, 1, response.get("description"));
                    if let Some(body) = response.get("schema") {
                        out.nested(2, |out| out.nested(1, |out| schema(out, body)));
                    }
                });
            });
        }
    });
    texts(out, 10, operation.get("schemes"));
    if let Some(object) = operation.as_object() {
        extensions(out, 13, object);
    }
}

/// A `ParametersItem`.
fn parameter(out: &mut Writer, parameter: &Value) {
    let place = parameter.get("in").and_then(Value::as_str).unwrap_or_default();
    out.nested(1, |out| match place {
        "body" => out.nested(1, |out| {
            text(out, 1, parameter.get("description"));
            text(out, 2, parameter.get("name"));
            text(out, 3, parameter.get("in"));
            flag(out, 4, parameter.get("required"));
            if let Some(body) = parameter.get("schema") {
                out.nested(5, |out| schema(out, body));
            }
        }),
        _ => out.nested(2, |out| {
            // Query and path parameters differ in one number: only the former may be empty.
            let (kind, shift) = if place == "path" { (4, 0) } else { (3, 1) };
            out.nested(kind, |out| {
                flag(out, 1, parameter.get("required"));
                text(out, 2, parameter.get("in"));
                text(out, 3, parameter.get("description"));
                text(out, 4, parameter.get("name"));
                text(out, 5 + shift, parameter.get("type"));
                flag(out, 19 + shift, parameter.get("uniqueItems"));
            });
        }),
    });
}

fn schema(out: &mut Writer, schema_value: &Value) {
    let Some(object) = schema_value.as_object() else {
        return;
    };
    text(out, 1, object.get("$ref"));
    text(out, 2, object.get("format"));
    text(out, 3, object.get("title"));
    text(out, 4, object.get("description"));
    if let Some(default) = object.get("default") {
        out.nested(5, |out| any(out, default));
    }
    for (name, tag) in [("multipleOf", 6), ("maximum", 7), ("minimum", 9)] {
        if let Some(number) = object.get(name).and_then(Value::as_f64) {
            out.double(tag, number);
        }
    }
    flag(out, 8, object.get("exclusiveMaximum"));
    flag(out, 10, object.get("exclusiveMinimum"));
    for (name, tag) in [
        ("maxLength", 11),
        ("minLength", 12),
        ("maxItems", 14),
        ("minItems", 15),
    ] {
        if let Some(number) = object.get(name).and_then(Value::as_i64) {
            out.varint(tag, number);
        }
    }
    text(out, 13, object.get("pattern"));
    flag(out, 16, object.get("uniqueItems"));
    texts(out, 19, object.get("required"));
    for value in items(object.get("enum")) {
        out.nested(20, |out| any(out, value));
    }
    match object.get("additionalProperties") {
        Some(Value::Bool(allowed)) => out.nested(21, |out| out.varint(2, i64::from(*allowed))),
        Some(inner) => out.nested(21, |out| out.nested(1, |out| schema(out, inner))),
        None => {}
    }
    match object.get("type") {
        Some(Value::String(name)) => out.nested(22, |out| out.bytes(1, name.as_bytes())),
        Some(names) => out.nested(22, |out| texts(out, 1, Some(names))),
        None => {}
    }
    if let Some(inner) = object.get("items") {
        out.nested(23, |out| out.nested(1, |out| schema(out, inner)));
    }
    for inner in items(object.get("allOf")) {
        out.nested(24, |out| schema(out, inner));
    }
    if object.contains_key("properties") {
        out.nested(25, |out| {
            for (name, inner) in members(object.get("properties")) {
                named(out, 1, name, |out| schema(out, inner));
            }
        });
    }
    extensions(out, 31, object);
}
