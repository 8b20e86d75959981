//! From `openAPIV3Schema` to a structural schema, with the rules it must obey.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Additional, Kind, Limits, Rule, Structural};
use crate::field::{Error, ErrorList, Path};

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];

impl Structural {
    /// Reads a schema.
    ///
    /// # Errors
    /// Everything that keeps it from being structural, under `path`.
    pub fn parse(schema: &Value, path: &Path) -> Result<Self, ErrorList> {
        let mut errs = ErrorList::new();
        let s = parse(schema, path, Part::Structure, &mut errs);
        // What says nothing of its type may be anything only where unknown fields stay.
        if s.kind != Kind::Object && !(s.kind == Kind::Any && s.preserve_unknown) {
            errs.push(Error::invalid(
                &path.child("type"),
                schema["type"].as_str().unwrap_or(""),
                "must be object at the root",
            ));
        }
        if s.nullable {
            errs.push(Error::forbidden(
                &path.child("nullable"),
                "nullable cannot be true at the root",
            ));
        }
        if errs.is_empty() { Ok(s) } else { Err(errs) }
    }

    /// Reads a schema within another one.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_part(schema: &Value, path: &Path) -> Result<Self, ErrorList> {
        let mut errs = ErrorList::new();
        let s = parse(schema, path, Part::Structure, &mut errs);
        if errs.is_empty() { Ok(s) } else { Err(errs) }
    }
}

/// Where in a schema one stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Structure,
    /// Within `allOf`, `anyOf`, `oneOf` or `not`: only validations.
    Junctor,
}

fn text(s: &Value, field: &str) -> String {
    s[field].as_str().unwrap_or("").to_owned()
}

fn texts(v: &Value) -> Vec<String> {
    v.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn size(v: &Value) -> Option<usize> {
    v.as_u64().and_then(|n| usize::try_from(n).ok())
}

fn parse(s: &Value, path: &Path, part: Part, errs: &mut ErrorList) -> Structural {
    let int_or_string = s["x-kubernetes-int-or-string"] == true;
    let preserve_unknown = s["x-kubernetes-preserve-unknown-fields"] == true;
    let kind = kind(s, path, part, int_or_string || preserve_unknown, errs);
    if part == Part::Junctor {
        for f in [
            "description",
            "default",
            "additionalProperties",
            "nullable",
            "x-kubernetes-int-or-string",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-embedded-resource",
        ] {
            // The two shapes of int-or-string name their types in anyOf.
            if !s[f].is_null() && s[f] != false {
                errs.push(Error::forbidden(&path.child(f), "must be empty to be structural"));
            }
        }
    }
    if !s["$ref"].is_null() {
        errs.push(Error::forbidden(&path.child("$ref"), "$ref is not supported"));
    }
    let properties: BTreeMap<String, Structural> = s["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), parse(v, &path.child("properties").key(k), part, errs)))
        .collect();
    let additional = match &s["additionalProperties"] {
        Value::Null | Value::Bool(false) => Additional::None,
        Value::Bool(true) => Additional::Any,
        v => Additional::Schema(Box::new(parse(
            v,
            &path.child("additionalProperties"),
            part,
            errs,
        ))),
    };
    if !properties.is_empty() && !matches!(additional, Additional::None) {
        errs.push(Error::forbidden(
            &path.child("additionalProperties"),
            "additionalProperties and properties are mutual exclusive",
        ));
    }
    let items = match &s["items"] {
        Value::Null => None,
        Value::Array(_) => {
            errs.push(Error::forbidden(
                &path.child("items"),
                "items must be a schema object and not an array",
            ));
            None
        }
        v => Some(Box::new(parse(v, &path.child("items"), part, errs))),
    };
    if kind == Kind::Array && items.is_none() && part == Part::Structure {
        errs.push(Error::required(&path.child("items"), "must be specified"));
    }
    let list_type = text(s, "x-kubernetes-list-type");
    let list_keys = texts(&s["x-kubernetes-list-map-keys"]);
    if list_type == "map" && list_keys.is_empty() {
        errs.push(Error::required(
            &path.child("x-kubernetes-list-map-keys"),
            "must not be empty if x-kubernetes-list-type is map",
        ));
    }
    if !matches!(list_type.as_str(), "" | "atomic" | "set" | "map") {
        errs.push(Error::not_supported(
            &path.child("x-kubernetes-list-type"),
            list_type.as_str(),
            &["atomic", "set", "map"],
        ));
    }
    let mut many = |field: &str| -> Vec<Structural> {
        s[field]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(i, v)| parse(v, &path.child(field).index(i), Part::Junctor, errs))
            .collect()
    };
    let (all_of, any_of, one_of) = (many("allOf"), many("anyOf"), many("oneOf"));
    let not = s["not"]
        .is_object()
        .then(|| Box::new(parse(&s["not"], &path.child("not"), Part::Junctor, errs)));
    Structural {
        kind,
        nullable: s["nullable"] == true,
        default: s.get("default").filter(|d| !d.is_null()).cloned(),
        properties,
        additional,
        items,
        int_or_string,
        preserve_unknown,
        embedded: s["x-kubernetes-embedded-resource"] == true,
        list_type,
        list_keys,
        map_type: text(s, "x-kubernetes-map-type"),
        rules: rules(s),
        limits: limits(s, path, errs),
        all_of,
        any_of,
        one_of,
        not,
    }
}

fn kind(s: &Value, path: &Path, part: Part, free: bool, errs: &mut ErrorList) -> Kind {
    match s["type"].as_str().unwrap_or("") {
        "object" => Kind::Object,
        "array" => Kind::Array,
        "string" => Kind::String,
        "integer" => Kind::Integer,
        "number" => Kind::Number,
        "boolean" => Kind::Boolean,
        "" => {
            if part == Part::Structure && !free {
                errs.push(Error::required(
                    &path.child("type"),
                    "must not be empty for specified object fields",
                ));
            }
            Kind::Any
        }
        other => {
            errs.push(Error::not_supported(&path.child("type"), other, TYPES));
            Kind::Any
        }
    }
}

fn rules(s: &Value) -> Vec<Rule> {
    s["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|r| Rule {
            rule: text(r, "rule"),
            message: text(r, "message"),
            message_expression: text(r, "messageExpression"),
            reason: text(r, "reason"),
            field_path: text(r, "fieldPath"),
            optional_old_self: r["optionalOldSelf"] == true,
        })
        .collect()
}

fn limits(s: &Value, path: &Path, errs: &mut ErrorList) -> Limits {
    let pattern =
        s["pattern"]
            .as_str()
            .filter(|p| !p.is_empty())
            .and_then(|p| match crate::re2::compile(p) {
                Ok(r) => Some(r),
                Err(e) => {
                    errs.push(Error::invalid(
                        &path.child("pattern"),
                        p,
                        format!("must be a valid regular expression, but isn't: error parsing regexp: {e}"),
                    ));
                    None
                }
            });
    if s["uniqueItems"] == true {
        errs.push(Error::forbidden(
            &path.child("uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ));
    }
    Limits {
        format: text(s, "format"),
        required: texts(&s["required"]),
        allowed: s["enum"].as_array().cloned().unwrap_or_default(),
        minimum: s["minimum"].as_f64(),
        maximum: s["maximum"].as_f64(),
        exclusive_minimum: s["exclusiveMinimum"] == true,
        exclusive_maximum: s["exclusiveMaximum"] == true,
        multiple_of: s["multipleOf"].as_f64(),
        min_length: size(&s["minLength"]),
        max_length: size(&s["maxLength"]),
        pattern,
        min_items: size(&s["minItems"]),
        max_items: size(&s["maxItems"]),
        unique_items: s["uniqueItems"] == true,
        min_properties: size(&s["minProperties"]),
        max_properties: size(&s["maxProperties"]),
    }
}
