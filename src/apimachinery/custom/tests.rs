use super::*;

fn schema(value: Value) -> Structural {
    Structural::parse(&value, &Path::new("schema")).unwrap()
}

fn widget() -> Structural {
    schema(json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1},
            "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
            "note": {"type": "string", "nullable": true},
            "plain": {"type": "string"},
            "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"}, "count": {"type": "integer", "maximum": 5}}}},
            "template": {"type": "object", "x-kubernetes-embedded-resource": true,
                "x-kubernetes-preserve-unknown-fields": true},
        }},
    }}))
}

fn decode(text: &str) -> (Value, Vec<String>) {
    let (value, strict) = decode_json(text.as_bytes(), &widget(), FieldValidation::Strict).unwrap();
    (value, strict.into_iter().map(|e| e.0).collect())
}

#[test]
fn what_is_unknown_or_said_twice_is_reported_with_its_place() {
    let (value, strict) = decode(
        r#"{"kind":"W","metadata":{"name":"a","bogus":1},"spec":{"size":1,"size":2,"extra":true,
            "template":{"metadata":{"odd":1,"name":"t"},"kept":1}}}"#,
    );
    assert_eq!(
        strict,
        [
            r#"duplicate field "spec.size""#,
            r#"unknown field "metadata.bogus""#,
            r#"unknown field "spec.template.metadata.odd""#,
            r#"unknown field "spec.extra""#,
        ]
    );
    assert_eq!(
        value,
        json!({"kind": "W", "metadata": {"name": "a"}, "spec": {"size": 2,
            "template": {"metadata": {"name": "t"}, "kept": 1}}})
    );
}

#[test]
fn nulls_go_where_they_may_not_be() {
    let mut object = json!({"spec": {"size": 1, "color": null, "note": null, "plain": null}});
    restore(&mut object, &widget());
    assert_eq!(object, json!({"spec": {"size": 1, "color": "red", "note": null}}));
}

#[test]
fn faults_are_told_as_upstream_tells_them() {
    let base = json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"size": 1}});
    let with = |spec: Value| {
        let mut object = base.clone();
        object["spec"] = spec;
        validate_create(&object, &widget(), true).to_string()
    };
    assert_eq!(
        with(json!({"size": "big"})),
        r#"spec.size: Invalid value: "string": spec.size in body must be of type integer: "string""#
    );
    assert_eq!(
        with(json!({"size": 0})),
        "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"
    );
    assert_eq!(with(json!({})), "spec.size: Required value");
    assert_eq!(
        with(json!({"size": 1, "color": "pink"})),
        r#"spec.color: Unsupported value: "pink": supported values: "red", "blue""#
    );
    assert_eq!(
        with(json!({"size": 1, "parts": [{"name": "a"}, {"name": "a"}]})),
        r#"spec.parts[1]: Duplicate value: {"name":"a"}"#
    );
    assert_eq!(
        with(json!({"size": 1, "template": {"kind": "T"}})),
        "spec.template.apiVersion: Required value"
    );
}

#[test]
fn an_update_may_leave_what_was_wrong_before() {
    let old = json!({"metadata": {"name": "a", "namespace": "n"},
        "spec": {"size": 0, "parts": [{"name": "a", "count": 9}, {"name": "b"}]}});
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"a": "b"});
    new["spec"]["parts"] = json!([{"name": "c"}, {"name": "a", "count": 9}]);
    assert!(validate_update(&new, &old, &widget()).is_empty());
    new["spec"]["parts"][1]["count"] = json!(8);
    assert_eq!(
        validate_update(&new, &old, &widget()).to_string(),
        "spec.parts[1].count: Invalid value: 8: spec.parts[1].count in body should be less than or equal to 5"
    );
}
