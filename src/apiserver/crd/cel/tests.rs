use super::*;
use serde_json::json;

fn told(schema: Value, new: Value, old: Option<Value>) -> Vec<String> {
    let rules = Rules::compile(&schema).unwrap();
    rules
        .validate(&new, old.as_ref())
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn spec(rules: Value) -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}, "name": {"type": "string"}},
        "x-kubernetes-validations": rules}}})
}

#[test]
fn rules_tell_what_they_were_told_to() {
    for (rule, wanted) in [
        (
            json!({"rule": "self.a <= self.b"}),
            "spec: Invalid value: failed rule: self.a <= self.b",
        ),
        (
            json!({"rule": "self.a <= self.b", "message": "a is too large"}),
            "spec: Invalid value: a is too large",
        ),
        (
            json!({"rule": "self.a <= self.b", "messageExpression": "'a is ' + string(self.a)"}),
            "spec: Invalid value: a is 5",
        ),
        (
            json!({"rule": "self.a <= self.b", "message": "no", "reason": "FieldValueForbidden", "fieldPath": ".a"}),
            "spec.a: Forbidden: no",
        ),
        (
            json!({"rule": "self.name == 'x'"}),
            "spec: Invalid value: \"object\": no such key: name evaluating rule: self.name == 'x'",
        ),
    ] {
        let new = json!({"spec": {"a": 5, "b": 1}});
        assert_eq!(told(spec(json!([rule])), new, None), [wanted], "{rule}");
    }
}

#[test]
fn transitions_need_something_old() {
    let schema = spec(json!([{"rule": "self.a >= oldSelf.a", "message": "a may only grow"}]));
    let (new, old) = (json!({"spec": {"a": 1}}), json!({"spec": {"a": 2}}));
    assert!(told(schema.clone(), new.clone(), None).is_empty());
    assert!(told(schema.clone(), new.clone(), Some(json!({}))).is_empty());
    assert_eq!(
        told(schema, new.clone(), Some(old.clone())),
        ["spec: Invalid value: a may only grow"]
    );
    let optional = spec(
        json!([{"rule": "oldSelf.hasValue() || self.a == 0", "message": "begins at 0", "optionalOldSelf": true}]),
    );
    assert_eq!(
        told(optional.clone(), new.clone(), None),
        ["spec: Invalid value: begins at 0"]
    );
    assert!(told(optional, new, Some(old)).is_empty());
}

#[test]
fn what_stays_as_it_was_may_be_wrong() {
    let schema = spec(json!([{"rule": "self.a <= self.b"}]));
    let wrong = json!({"spec": {"a": 5, "b": 1}, "status": 1});
    assert!(
        told(
            schema.clone(),
            json!({"spec": {"a": 5, "b": 1}}),
            Some(wrong.clone())
        )
        .is_empty()
    );
    assert_eq!(
        told(schema, json!({"spec": {"a": 6, "b": 1}}), Some(wrong)).len(),
        1
    );
}

#[test]
fn costs_are_estimated() {
    let definition = |schema: Value| json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}});
    let list = |limit: Value| {
        let mut list = json!({"type": "array", "items": {"type": "string"},
            "x-kubernetes-validations": [{"rule": "self.all(x, self.all(y, x == y || x != y))"}]});
        if !limit.is_null() {
            list["maxItems"] = limit;
            list["items"]["maxLength"] = json!(10);
        }
        definition(json!({"type": "object", "properties": {"l": list}}))
    };
    let errors = super::super::estimate::check(&list(Value::Null)).to_string();
    assert!(
        errors.contains("spec.validation.openAPIV3Schema.properties[l].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x"),
        "{errors}"
    );
    assert!(super::super::estimate::check(&list(json!(10))).is_empty());
    let bad = definition(spec(json!([{"rule": "self.nope == 1"}])));
    let errors = super::super::estimate::check(&bad).to_string();
    assert!(
        errors.contains("compilation failed: ERROR: <input>:1:5: undefined field 'nope'"),
        "{errors}"
    );
}
