//! What definitions allow of OpenAPI, in every schema and all that are within it.

use serde_json::Value;

use super::schema::has;
use crate::field::{Error, ErrorList, Path};

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
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

/// What may not stand here because of what is above.
#[derive(Clone, Copy, Default)]
pub(super) struct Forbidden<'a> {
    /// Why there are no defaults.
    defaults: Option<&'a str>,
    /// Inside the metadata of an object.
    in_meta: bool,
}

/// Checks a schema and those within it.
pub(super) fn node(s: &Value, is_root: bool, above: Forbidden<'_>, path: &Path, errs: &mut ErrorList) {
    plain(s, above, path, errs);
    lists(s, path, errs);
    let embedded = s["x-kubernetes-embedded-resource"] == true;
    for (name, child) in s["properties"].as_object().into_iter().flatten() {
        let mut below = above;
        let why = format!("in top-level {name}");
        if (is_root || embedded) && META.contains(&name.as_str()) {
            below.in_meta = true;
            if is_root {
                below.defaults = Some(&why);
            }
        }
        node(child, false, below, &path.child("properties").key(name), errs);
    }
    let mut below = above;
    if above.in_meta {
        below.defaults = Some("inside additionalProperties applying to object metadata");
    }
    for (field, above) in [("additionalProperties", below), ("items", above), ("not", above)] {
        if s[field].is_object() {
            node(&s[field], false, above, &path.child(field), errs);
        }
    }
    for field in ["allOf", "oneOf", "anyOf", "items"] {
        for (i, child) in s[field].as_array().into_iter().flatten().enumerate() {
            node(child, false, above, &path.child(field).index(i), errs);
        }
    }
    for field in ["definitions", "dependencies"] {
        for (name, child) in s[field].as_object().into_iter().flatten() {
            if child.is_object() {
                node(child, false, above, &path.child(field).key(name), errs);
            }
        }
    }
}

/// What OpenAPI has and definitions have not.
fn plain(s: &Value, above: Forbidden<'_>, path: &Path, errs: &mut ErrorList) {
    let kind = s["type"].as_str().unwrap_or_default();
    if !kind.is_empty() && !TYPES.contains(&kind) {
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
        let stands = match *field {
            "id" | "patternProperties" | "definitions" => {
                has(s, field) && s[*field].as_object().is_none_or(|map| !map.is_empty())
            }
            _ => !s[*field].is_null(),
        };
        if stands {
            errs.push(Error::forbidden(
                &path.child(field),
                format!("{field} is not supported"),
            ));
        }
    }
    if kind == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        errs.push(Error::forbidden(&path.child("type"), detail));
    }
    if has(s, "items") && s["items"].is_array() {
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
    if named && (*additional == false || additional.is_object()) {
        let detail = "additionalProperties and properties are mutual exclusive";
        errs.push(Error::forbidden(&path.child("additionalProperties"), detail));
    }
    if s["x-kubernetes-preserve-unknown-fields"] == false {
        let place = path.child("x-kubernetes-preserve-unknown-fields");
        errs.push(Error::invalid(&place, false, "must be true or undefined"));
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
            // As upstream shows it, whichever of the two is wrong.
            errs.push(Error::invalid(
                &path.child("items").child(field),
                items["x-kubernetes-list-type"].clone(),
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
                items["type"].clone(),
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
