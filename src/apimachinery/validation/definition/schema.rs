//! The schemas of definitions: what OpenAPI allows, what keeps one structural (KEP-95), and that their
//! defaults obey them.

use serde_json::Value;

use crate::field::{Error, ErrorList, Path};
use crate::structural::{Additional, Structural};

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
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
/// What may stand nowhere.
const UNSUPPORTED: &[&str] = &[
    "id",
    "additionalItems",
    "patternProperties",
    "definitions",
    "dependencies",
    "$ref",
];
const META: [&str; 3] = ["metadata", "kind", "apiVersion"];

/// Checks the schema of a version; `status` when that is a subresource.
pub(super) fn check(root: &Value, status: bool, path: &Path, errs: &mut ErrorList) {
    let before = errs.len();
    if status {
        let foreign = |name: &String| !ROOT_FIELDS.iter().any(|(_, field)| field == name);
        if root["type"].is_string() && root["type"] != "object" {
            let detail = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
            errs.push(Error::invalid(&path.child("type"), root["type"].clone(), detail));
        } else if root.as_object().is_some_and(|o| o.keys().any(foreign)) {
            let names: Vec<&str> = ROOT_FIELDS.iter().map(|(go, _)| *go).collect();
            let detail = format!(
                "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
                names.join(" ")
            );
            errs.push(Error::invalid(path, root.clone(), detail));
        }
    }
    if root["nullable"] == true {
        errs.push(Error::forbidden(
            &path.child("nullable"),
            "nullable cannot be true at the root",
        ));
    }
    node(root, Level::Root, Forbidden::default(), path, errs);
    if errs.len() > before {
        return;
    }
    match Structural::parse(root, path) {
        Ok(parsed) => defaults(&parsed, path, errs),
        Err(found) => errs.extend(found),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// What may not stand here because of what is above.
#[derive(Clone, Copy, Default)]
struct Forbidden<'a> {
    /// Why there are no defaults.
    defaults: Option<&'a str>,
    /// Inside the metadata of an object.
    in_meta: bool,
}

fn has(s: &Value, field: &str) -> bool {
    match &s[field] {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

fn node(s: &Value, level: Level, above: Forbidden<'_>, path: &Path, errs: &mut ErrorList) {
    plain(s, above, path, errs);
    shape(s, level, path, errs);
    lists(s, path, errs);
    let root = level == Level::Root;
    let embedded = s["x-kubernetes-embedded-resource"] == true;
    if let Some(properties) = s["properties"].as_object() {
        for (name, child) in properties {
            let mut below = above;
            let why;
            if (root || embedded) && META.contains(&name.as_str()) {
                below.in_meta = true;
                if root {
                    why = format!("in top-level {name}");
                    below.defaults = Some(&why);
                    node(
                        child,
                        Level::Field,
                        below,
                        &path.child("properties").key(name),
                        errs,
                    );
                    continue;
                }
            }
            node(
                child,
                Level::Field,
                below,
                &path.child("properties").key(name),
                errs,
            );
        }
    }
    if s["additionalProperties"].is_object() {
        let mut below = above;
        if above.in_meta {
            below.defaults = Some("inside additionalProperties applying to object metadata");
        }
        node(
            &s["additionalProperties"],
            Level::Field,
            below,
            &path.child("additionalProperties"),
            errs,
        );
    }
    if s["items"].is_object() {
        node(&s["items"], Level::Item, above, &path.child("items"), errs);
    }
    junctors(s, s, path, path, errs);
}

/// What OpenAPI has and definitions have not.
fn plain(s: &Value, above: Forbidden<'_>, path: &Path, errs: &mut ErrorList) {
    let kind = s["type"].as_str().unwrap_or_default();
    if kind == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        errs.push(Error::forbidden(&path.child("type"), detail));
    } else if !kind.is_empty() && !TYPES.contains(&kind) {
        errs.push(Error::not_supported(&path.child("type"), kind, TYPES));
    }
    if let Some(why) = above.defaults
        && !s["default"].is_null()
    {
        errs.push(Error::forbidden(
            &path.child("default"),
            format!("must not be set {why}"),
        ));
    }
    for field in UNSUPPORTED {
        if has(s, field) {
            errs.push(Error::forbidden(
                &path.child(field),
                format!("{} is not supported", field),
            ));
        }
    }
    if s["items"].is_array() {
        let detail = "items must be a schema object and not an array";
        errs.push(Error::forbidden(&path.child("items"), detail));
    }
    if above.in_meta && s["x-kubernetes-embedded-resource"] == true {
        let place = path.child("x-kubernetes-embedded-resource");
        errs.push(Error::forbidden(
            &place,
            "must not be used inside of resource meta",
        ));
    }
    if s["uniqueItems"] == true {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errs.push(Error::forbidden(&path.child("uniqueItems"), detail));
    }
    let additional = &s["additionalProperties"];
    let named = s["properties"].as_object().is_some_and(|p| !p.is_empty());
    if named && (additional == false || additional.is_object()) {
        let detail = "additionalProperties and properties are mutual exclusive";
        errs.push(Error::forbidden(&path.child("additionalProperties"), detail));
    }
    if s["x-kubernetes-preserve-unknown-fields"] == false {
        let place = path.child("x-kubernetes-preserve-unknown-fields");
        errs.push(Error::invalid(&place, false, "must be true or undefined"));
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

/// List and map types.
fn lists(s: &Value, path: &Path, errs: &mut ErrorList) {
    let kind = s["type"].as_str().unwrap_or_default();
    let typed = |wanted: &str, field: &str, errs: &mut ErrorList| {
        if kind == wanted {
            return true;
        }
        let detail = format!("must be {wanted} if {field} is specified");
        errs.push(if kind.is_empty() {
            Error::required(&path.child("type"), detail)
        } else {
            Error::invalid(&path.child("type"), kind, detail)
        });
        false
    };
    if let Some(map_type) = s["x-kubernetes-map-type"].as_str() {
        typed("object", "x-kubernetes-map-type", errs);
        if !matches!(map_type, "atomic" | "granular") {
            let place = path.child("x-kubernetes-map-type");
            errs.push(Error::not_supported(&place, map_type, &["atomic", "granular"]));
        }
    }
    let keys = s["x-kubernetes-list-map-keys"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let list_place = path.child("x-kubernetes-list-type");
    let keys_place = path.child("x-kubernetes-list-map-keys");
    let Some(list_type) = s["x-kubernetes-list-type"].as_str() else {
        if !keys.is_empty() {
            let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
            errs.push(Error::required(&list_place, detail));
        }
        return;
    };
    let items = &s["items"];
    if typed("array", "x-kubernetes-list-type", errs) && list_type == "set" {
        let (field, bad) = match items["type"].as_str() {
            Some("array") => {
                let own = items["x-kubernetes-list-type"].as_str();
                ("x-kubernetes-list-type", own.is_some_and(|t| t != "atomic"))
            }
            Some("object") => (
                "x-kubernetes-map-type",
                items["x-kubernetes-map-type"] != "atomic",
            ),
            _ => ("", false),
        };
        if bad {
            let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
            errs.push(Error::invalid(
                &path.child("items").child(field),
                items[field].clone(),
                detail,
            ));
        }
    }
    if !matches!(list_type, "atomic" | "set" | "map") {
        errs.push(Error::not_supported(
            &list_place,
            list_type,
            &["atomic", "set", "map"],
        ));
    }
    if !keys.is_empty() && list_type != "map" {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        errs.push(Error::invalid(&list_place, list_type, detail));
    }
    if matches!(list_type, "set" | "map") && items["nullable"] == true {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        errs.push(Error::forbidden(&path.child("items").child("nullable"), detail));
    }
    if list_type != "map" {
        return;
    }
    if keys.is_empty() {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        errs.push(Error::required(&keys_place, detail));
    }
    if !items.is_object() {
        let detail = "must have a schema if x-kubernetes-list-type is map";
        errs.push(Error::required(&path.child("items"), detail));
        return;
    }
    if items["type"] != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errs.push(Error::invalid(
            &path.child("items").child("type"),
            items["type"].clone(),
            detail,
        ));
        return;
    }
    let all = || s["x-kubernetes-list-map-keys"].clone();
    let required = items["required"].as_array().map_or(&[][..], Vec::as_slice);
    for (i, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        let place = path.child("items").child("properties").key(name);
        let property = &items["properties"][name];
        if !property.is_object() {
            errs.push(Error::invalid(
                &keys_place,
                all(),
                "entries must all be names of item properties",
            ));
        } else if matches!(property["type"].as_str(), Some("array" | "object")) {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errs.push(Error::invalid(
                &place.child("type"),
                property["type"].clone(),
                detail,
            ));
        }
        if keys[..i].contains(key) {
            errs.push(Error::invalid(
                &keys_place,
                all(),
                "must not contain duplicate entries",
            ));
        }
        if !property.is_object() {
            continue;
        }
        if !required.contains(key) && property["default"].is_null() {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errs.push(Error::required(&place.child("default"), detail));
        }
        if property["nullable"] == true {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errs.push(Error::forbidden(&place.child("nullable"), detail));
        }
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

/// Defaults are values that the schema would take.
fn defaults(s: &Structural, path: &Path, errs: &mut ErrorList) {
    if let Some(default) = &s.default {
        let place = path.child("default");
        let mut pruned = default.clone();
        if !s.prune(&mut pruned).is_empty() {
            errs.push(Error::invalid(
                &place,
                default.clone(),
                "must not have unknown fields",
            ));
        }
        errs.extend(s.validate_at(default, place.as_str()));
    }
    for (name, child) in &s.properties {
        defaults(child, &path.child("properties").key(name), errs);
    }
    if let Additional::Schema(child) = &s.additional {
        defaults(child, &path.child("additionalProperties"), errs);
    }
    if let Some(child) = &s.items {
        defaults(child, &path.child("items"), errs);
    }
}
