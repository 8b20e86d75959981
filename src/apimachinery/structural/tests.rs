use serde_json::json;

use super::*;
use crate::field::Path;

fn schema(spec: Value) -> Structural {
    let s = json!({"type": "object", "properties": {"spec": spec}});
    Structural::parse(&s, &Path::new("schema")).unwrap_or_else(|e| panic!("{e}"))
}

fn messages(spec_schema: Value, spec: Value) -> Vec<String> {
    schema(spec_schema)
        .validate(&json!({"spec": spec}))
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn pruning_keeps_what_is_known() {
    let s = schema(json!({"type": "object", "properties": {
        "a": {"type": "string"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"in": {"type": "object"}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"k": {"type": "string"}}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}}},
    }}));
    let mut o = json!({
        "apiVersion": "x/v1", "kind": "X", "metadata": {"name": "n"}, "other": 1,
        "spec": {"a": "1", "b": 2, "free": {"x": 1, "in": {"y": 1}}, "map": {"m": {"k": "v", "z": 1}}, "list": [{"k": "v", "z": 1}]},
    });
    let removed = s.prune(&mut o);
    assert_eq!(
        removed,
        [
            "other",
            "spec.b",
            "spec.free.in.y",
            "spec.list[0].z",
            "spec.map.m.z"
        ]
    );
    assert_eq!(
        o["spec"],
        json!({"a": "1", "free": {"x": 1, "in": {}}, "map": {"m": {"k": "v"}}, "list": [{"k": "v"}]})
    );
    assert_eq!(o["metadata"]["name"], "n");
}

#[test]
fn defaults_fill_what_is_absent() {
    let s = schema(json!({"type": "object", "default": {}, "properties": {
        "n": {"type": "integer", "default": 1},
        "o": {"type": "object", "default": {}, "properties": {"x": {"type": "string", "default": "y"}}},
        "nullable": {"type": "string", "nullable": true, "default": "d"},
        "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}},
    }}));
    let mut o = json!({});
    s.default(&mut o);
    assert_eq!(o["spec"], json!({"n": 1, "o": {"x": "y"}, "nullable": "d"}));
    let mut o = json!({"spec": {"n": null, "nullable": null, "list": [{}, {"p": "UDP"}]}});
    s.default(&mut o);
    assert_eq!(
        o["spec"],
        json!({"n": 1, "o": {"x": "y"}, "nullable": null, "list": [{"p": "TCP"}, {"p": "UDP"}]})
    );
}

#[test]
fn messages_are_upstreams() {
    let one = |s: Value| json!({"type": "object", "properties": {"x": s}});
    let table = [
        (
            one(json!({"type": "integer"})),
            json!({"x": "a"}),
            "spec.x: Invalid value: \"string\": spec.x in body must be of type integer: \"string\"",
        ),
        (
            one(json!({"type": "integer", "minimum": 1})),
            json!({"x": 0}),
            "spec.x: Invalid value: 0: spec.x in body should be greater than or equal to 1",
        ),
        (
            one(json!({"type": "integer", "maximum": 3})),
            json!({"x": 4}),
            "spec.x: Invalid value: 4: spec.x in body should be less than or equal to 3",
        ),
        (
            one(json!({"type": "string", "pattern": "^a+$"})),
            json!({"x": "b"}),
            "spec.x: Invalid value: \"b\": spec.x in body should match '^a+$'",
        ),
        (
            one(json!({"type": "string", "enum": ["a", "b"]})),
            json!({"x": "c"}),
            "spec.x: Unsupported value: \"c\": supported values: \"a\", \"b\"",
        ),
        (
            one(json!({"type": "string", "maxLength": 2})),
            json!({"x": "abc"}),
            "spec.x: Too long: may not be more than 2 bytes",
        ),
        (
            one(json!({"type": "array", "maxItems": 1, "items": {"type": "string"}})),
            json!({"x": ["a", "b"]}),
            "spec.x: Too many: 2: must have at most 1 items",
        ),
        (
            one(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}})),
            json!({"x": ["a", "a"]}),
            "spec.x[1]: Duplicate value: \"a\"",
        ),
        (
            json!({"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}}}),
            json!({}),
            "spec.x: Required value",
        ),
        (
            one(json!({"x-kubernetes-int-or-string": true})),
            json!({"x": true}),
            "spec.x: Invalid value: \"boolean\": spec.x in body must be of type integer,string: \"boolean\"",
        ),
    ];
    for (s, v, want) in table {
        assert_eq!(messages(s, v), [want]);
    }
    // Of alternatives, what is wrong with the closest one is told too.
    let either = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
    assert_eq!(
        messages(either, json!({})),
        [
            "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found none valid",
            "spec.a: Required value"
        ]
    );
    assert!(messages(one(json!({"x-kubernetes-int-or-string": true})), json!({"x": 3})).is_empty());
    assert!(
        messages(
            one(json!({"type": "string", "nullable": true})),
            json!({"x": null})
        )
        .is_empty()
    );
}

#[test]
fn what_is_not_structural() {
    let errs = |s: Value| {
        let e = Structural::parse(&s, &Path::new("s")).unwrap_err();
        e.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        errs(json!({"type": "string"})),
        ["s.type: Invalid value: \"string\": must be object at the root"]
    );
    assert_eq!(
        errs(json!({"type": "object", "properties": {"a": {}}})),
        ["s.properties[a].type: Required value: must not be empty for specified object fields"]
    );
    assert_eq!(
        errs(json!({"type": "object", "properties": {"a": {"type": "array"}}})),
        ["s.properties[a].items: Required value: must be specified"]
    );
    assert_eq!(
        errs(json!({"type": "object", "anyOf": [{"default": 1}]})),
        ["s.anyOf[0].default: Forbidden: must be empty to be structural"]
    );
}

#[test]
fn rules_are_found_with_their_paths() {
    let s = schema(json!({"type": "object", "properties": {
        "list": {"type": "array", "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0", "message": "no"}]}},
    }}));
    let rules = s.validations();
    assert_eq!(rules.len(), 1);
    assert_eq!(
        (rules[0].0.as_str(), rules[0].1.rule.as_str()),
        ("spec.list[*]", "self > 0")
    );
}
