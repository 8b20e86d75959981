//! The schemas of definitions: what OpenAPI allows, what keeps one structural (KEP-95), and that their
//! defaults obey them.

use serde_json::Value;

use super::open_api;
use crate::field::{Error, ErrorList, Path};
use crate::names;
use crate::structural::Structural;

/// What a root may have when its `status` is looked at alone; the Go names stand in the message.
const ROOT_FIELDS: &[(&str, &str)] = &[
    ("Description", "description"),
    ("Type", "type"),
    ("Format", "format"),
    ("Title", "title"),
    ("Maximum", "maximum"),
    ("ExclusiveMaximum", "exclusiveMaximum"),
    ("Minimum", "minimum"),
    ("ExclusiveMinimum", "exclusiveMinimum"),
    ("MaxLength", "maxLength"),
    ("MinLength", "minLength"),
    ("Pattern", "pattern"),
    ("MaxItems", "maxItems"),
    ("MinItems", "minItems"),
    ("UniqueItems", "uniqueItems"),
    ("MultipleOf", "multipleOf"),
    ("Required", "required"),
    ("Items", "items"),
    ("Properties", "properties"),
    ("ExternalDocs", "externalDocs"),
    ("Example", "example"),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields"),
    ("XValidations", "x-kubernetes-validations"),
];
/// Fields that upstream's structural schemas have no place for, and what it calls them.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("id", "id"),
    ("$schema", "schema"),
    ("$ref", "$ref"),
    ("patternProperties", "patternProperties"),
    ("dependencies", "dependencies"),
    ("additionalItems", "additionalItems"),
    ("definitions", "definitions"),
];

/// Checks the schema of a version; `status` when that is a subresource.
pub(super) fn check(root: &Value, status: bool, path: &Path, errs: &mut ErrorList) {
    let before = errs.len();
    if status {
        status_root(root, path, errs);
    }
    if root["nullable"] == true {
        errs.push(Error::forbidden(
            &path.child("nullable"),
            "nullable cannot be true at the root",
        ));
    }
    let unsupported = unsupported(root);
    if unsupported.is_none() {
        let before = errs.len();
        shape(root, Level::Root, path, errs);
        if errs.len() == before {
            defaults(root, true, None, path, errs);
        }
    }
    open_api::node(root, true, open_api::Forbidden::default(), path, errs);
    // What cannot be read as a structural schema is mostly said already.
    if errs.len() == before
        && let Some(why) = unsupported
    {
        errs.push(Error::invalid(path, "", why));
    }
    if errs.len() == before
        && let Err(found) = Structural::parse(root, path)
    {
        errs.extend(found);
    }
}

/// A root whose `status` is looked at alone has nothing that would be lost by that.
fn status_root(root: &Value, path: &Path, errs: &mut ErrorList) {
    let kind = root["type"].as_str().unwrap_or_default();
    let foreign = |(name, v): (&String, &Value)| {
        !(v.is_null() || *v == false || *v == "" || ROOT_FIELDS.iter().any(|(_, field)| field == name))
    };
    if !kind.is_empty() && kind != "object" {
        let detail = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errs.push(Error::invalid(&path.child("type"), kind, detail));
    } else if root.as_object().is_some_and(|o| o.iter().any(foreign)) {
        let names: Vec<&str> = ROOT_FIELDS.iter().map(|(go, _)| *go).collect();
        let detail = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            names.join(" ")
        );
        errs.push(Error::invalid(path, root.clone(), detail));
    }
}

/// Why a schema cannot be read as a structural one.
fn unsupported(s: &Value) -> Option<String> {
    if let Some((_, name)) = UNSUPPORTED.iter().find(|(field, _)| has(s, field)) {
        return Some(format!("OpenAPIV3Schema '{name}' is not supported"));
    }
    if s["x-kubernetes-preserve-unknown-fields"] == false {
        return Some(
            "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined".into(),
        );
    }
    if !s["items"].as_array().is_none_or(Vec::is_empty) {
        return Some("OpenAPIV3Schema 'items' must be a schema, but is an array".into());
    }
    children(s).find_map(unsupported)
}

/// The schemas directly within a schema.
fn children(s: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["allOf", "anyOf", "oneOf"]
        .into_iter()
        .flat_map(|f| s[f].as_array());
    let maps = ["properties", "patternProperties", "definitions"]
        .into_iter()
        .flat_map(|f| s[f].as_object());
    let ones = ["items", "not", "additionalProperties"]
        .into_iter()
        .map(|f| &s[f]);
    lists
        .flatten()
        .chain(maps.flat_map(|map| map.values()))
        .chain(ones)
        .filter(|child| child.is_object())
}

/// Whether a schema or one within it is as asked.
pub(super) fn any(s: &Value, is: &impl Fn(&Value) -> bool) -> bool {
    is(s) || children(s).any(|child| any(child, is))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

pub(super) fn has(s: &Value, field: &str) -> bool {
    match &s[field] {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

/// What keeps a schema structural.
fn shape(s: &Value, level: Level, path: &Path, errs: &mut ErrorList) {
    let kind = s["type"].as_str().unwrap_or_default();
    let flag = |name: &str| s[format!("x-kubernetes-{name}").as_str()] == true;
    let (embedded, either, free) = (
        flag("embedded-resource"),
        flag("int-or-string"),
        flag("preserve-unknown-fields"),
    );
    let place = path.child("type");
    for (name, child) in s["properties"].as_object().into_iter().flatten() {
        shape(child, Level::Field, &path.child("properties").key(name), errs);
    }
    for (field, below) in [("items", Level::Item), ("additionalProperties", Level::Field)] {
        if s[field].is_object() {
            shape(&s[field], below, &path.child(field), errs);
        }
    }
    junctors(s, s, path, path, errs);
    pattern(s, path, errs);
    if kind == "array" && !s["items"].is_object() {
        errs.push(Error::required(&path.child("items"), "must be specified"));
    }
    if level == Level::Root && has(s, "additionalProperties") {
        let place = path.child("additionalProperties");
        errs.push(Error::forbidden(&place, "must not be used at the root"));
    }
    if embedded && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        errs.push(if kind.is_empty() {
            Error::required(&place, detail)
        } else {
            Error::invalid(&place, kind, detail)
        });
    } else if kind.is_empty() && !either && !free {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errs.push(Error::required(&place, detail));
    }
    if embedded && has(s, "additionalProperties") {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        errs.push(Error::forbidden(&path.child("additionalProperties"), detail));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errs.push(Error::invalid(&place, kind, "must be object at the root"));
    }
    if embedded && !free && s["properties"].as_object().is_none_or(serde_json::Map::is_empty) {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errs.push(Error::required(&path.child("properties"), detail));
    }
    for (other, name) in [(free, "preserve-unknown-fields"), (embedded, "embedded-resource")] {
        if either && other {
            let place = path.child(&format!("x-kubernetes-{name}"));
            errs.push(Error::invalid(
                &place,
                true,
                "must be false if x-kubernetes-int-or-string is true",
            ));
        }
    }
    if level == Level::Root || embedded {
        for name in ["kind", "apiVersion"] {
            let child = &s["properties"][name];
            if child.is_object() && child["type"] != "string" {
                let place = path.child("properties").key(name).child("type");
                errs.push(Error::invalid(&place, child["type"].clone(), "must be string"));
            }
        }
        metadata(s, level, path, errs);
    }
}

/// Metadata is every object's own; a root may only narrow its names.
fn metadata(s: &Value, level: Level, path: &Path, errs: &mut ErrorList) {
    let child = &s["properties"]["metadata"];
    if !child.is_object() {
        return;
    }
    let place = path.child("properties").key("metadata");
    if child["type"] != "object" {
        errs.push(Error::invalid(
            &place.child("type"),
            child["type"].clone(),
            "must be object",
        ));
    }
    let names_only = child["properties"]
        .as_object()
        .is_none_or(|p| p.keys().all(|name| name == "name" || name == "generateName"));
    let foreign = |name: &String| !matches!(name.as_str(), "type" | "properties" | "description" | "default");
    if level == Level::Root && (!names_only || child.as_object().is_some_and(|o| o.keys().any(foreign))) {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errs.push(Error::forbidden(&place, detail));
    }
}

fn pattern(s: &Value, path: &Path, errs: &mut ErrorList) {
    if let Some(pattern) = s["pattern"].as_str().filter(|p| !p.is_empty())
        && let Err(why) = crate::re2::compile(pattern)
    {
        let detail = format!("must be a valid regular expression, but isn't: error parsing regexp: {why}");
        errs.push(Error::invalid(&path.child("pattern"), pattern, detail));
    }
}

/// Whether `anyOf` is one of the two shapes that int-or-string may have.
fn either(any_of: &Value) -> bool {
    *any_of == serde_json::json!([{"type": "integer"}, {"type": "string"}])
}

/// Alternatives and conjunctions below `s` only validate what `spine` declares.
fn junctors(s: &Value, spine: &Value, spine_path: &Path, path: &Path, errs: &mut ErrorList) {
    let free = spine["x-kubernetes-int-or-string"] == true;
    for field in ["allOf", "anyOf", "oneOf"] {
        if free && field == "anyOf" && either(&s[field]) {
            continue;
        }
        for (i, part) in s[field].as_array().into_iter().flatten().enumerate() {
            if free && field == "allOf" && i == 0 && either(&part["anyOf"]) {
                continue;
            }
            nested(part, spine, spine_path, &path.child(field).index(i), errs);
        }
    }
    if s["not"].is_object() {
        nested(&s["not"], spine, spine_path, &path.child("not"), errs);
    }
}

fn nested(s: &Value, spine: &Value, spine_path: &Path, path: &Path, errs: &mut ErrorList) {
    pattern(s, path, errs);
    for (field, must) in [
        ("type", "empty"),
        ("additionalProperties", "undefined"),
        ("default", "undefined"),
        ("title", "empty"),
        ("description", "empty"),
        ("nullable", "false"),
        ("externalDocs", "undefined"),
        ("x-kubernetes-preserve-unknown-fields", "false"),
        ("x-kubernetes-embedded-resource", "false"),
        ("x-kubernetes-int-or-string", "false"),
        ("x-kubernetes-list-map-keys", "empty"),
        ("x-kubernetes-list-type", "undefined"),
        ("x-kubernetes-map-type", "undefined"),
        ("x-kubernetes-validations", "empty"),
    ] {
        if has(s, field) {
            let detail = format!("must be {must} to be structural");
            errs.push(Error::forbidden(&path.child(field), detail));
        }
    }
    for (name, child) in s["properties"].as_object().into_iter().flatten() {
        let place = path.child("properties").key(name);
        if name == "metadata" {
            errs.push(Error::forbidden(
                &place,
                "must not be specified in a nested context",
            ));
        }
        let at = spine_path.child("properties").key(name);
        match spine["properties"].get(name) {
            Some(own) => nested(child, own, &at, &place, errs),
            None if spine["x-kubernetes-preserve-unknown-fields"] == true
                && spine["properties"].is_null() => {}
            None => errs.push(Error::required(&at, format!("because it is defined in {place}"))),
        }
    }
    if s["items"].is_object() {
        let (at, place) = (spine_path.child("items"), path.child("items"));
        if spine["items"].is_object() {
            nested(&s["items"], &spine["items"], &at, &place, errs);
        } else {
            errs.push(Error::required(&at, format!("because it is defined in {place}")));
        }
    }
    junctors(s, spine, spine_path, path, errs);
}

/// Defaults are values that the schema would take; `inside`: within the metadata of which resource.
fn defaults(s: &Value, is_root: bool, inside: Option<&Value>, path: &Path, errs: &mut ErrorList) {
    let embedded = is_root || s["x-kubernetes-embedded-resource"] == true;
    let inside = inside.filter(|_| !embedded);
    if !s["default"].is_null() {
        default(s, embedded, inside.is_some(), &path.child("default"), errs);
    }
    if s["items"].is_object() {
        defaults(&s["items"], false, inside, &path.child("items"), errs);
    }
    for (name, child) in s["properties"].as_object().into_iter().flatten() {
        let own = embedded && matches!(name.as_str(), "metadata" | "apiVersion" | "kind");
        let inside = if own { Some(s) } else { inside };
        defaults(child, false, inside, &path.child("properties").key(name), errs);
    }
}

fn default(s: &Value, embedded: bool, inside: bool, path: &Path, errs: &mut ErrorList) {
    let value = &s["default"];
    let Ok(schema) = Structural::parse_part(s, path) else {
        return;
    };
    if !inside {
        let mut pruned = value.clone();
        let removed = if embedded {
            schema.prune(&mut pruned)
        } else {
            schema.prune_part(&mut pruned)
        };
        if !removed.is_empty() {
            let detail = "must not have unknown fields";
            errs.push(Error::invalid(path, value.clone(), detail));
        }
        let before = errs.len();
        if embedded && value.is_object() {
            type_meta(value, path, errs);
        }
        if errs.len() > before {
            return;
        }
    }
    errs.extend(schema.validate_at(value, path.as_str()));
}

/// A resource says what it is.
fn type_meta(value: &Value, path: &Path, errs: &mut ErrorList) {
    for field in ["apiVersion", "kind"] {
        let place = path.child(field);
        match &value[field] {
            Value::Null => errs.push(Error::required(&place, "")),
            Value::String(said) if said.is_empty() => {
                errs.push(Error::invalid(&place, "", "must not be empty"));
            }
            Value::String(kind) if field == "kind" => {
                let messages = names::dns1035_label(&kind.to_lowercase());
                if !messages.is_empty() {
                    let detail = format!(
                        "may have mixed case, but should otherwise match: {}",
                        messages.join(",")
                    );
                    errs.push(Error::invalid(&place, kind.as_str(), detail));
                }
            }
            Value::String(version) if version.matches('/').count() > 1 => {
                let detail = format!("unexpected GroupVersion string: {version}");
                errs.push(Error::invalid(&place, version.as_str(), detail));
            }
            Value::String(_) => {}
            other => errs.push(Error::invalid(&place, other.clone(), "must be a string")),
        }
    }
}
