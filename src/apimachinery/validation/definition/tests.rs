use super::*;
use serde_json::json;

fn definition(schema: Value) -> Value {
    json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]},
        "status": {"storedVersions": ["v1"]}})
}

fn told(o: &Value) -> Vec<String> {
    let mut errs = ErrorList::new();
    create(o, &mut errs);
    errs.iter().map(ToString::to_string).collect()
}

fn schema_told(schema: Value) -> Vec<String> {
    told(&definition(schema))
        .into_iter()
        .map(|m| m.replace("spec.validation.openAPIV3Schema", "S"))
        .collect()
}

#[test]
fn a_good_definition_passes() {
    let good = definition(json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "any": {"x-kubernetes-preserve-unknown-fields": true},
            "one": {"type": "string", "default": "a", "enum": ["a", "b"]},
            "two": {"type": "string"}},
            "oneOf": [{"required": ["one"]}, {"required": ["two"]}]},
        "metadata": {"type": "object", "properties": {"name": {"type": "string", "pattern": "^a"}}},
    }}));
    assert_eq!(told(&good), Vec::<String>::new());
}

#[test]
fn names_and_versions() {
    let base = definition(json!({"type": "object"}));
    for (pointer, value, wanted) in [
        (
            "/spec/group",
            json!("example"),
            "spec.group: Invalid value: \"example\": should be a domain with at least one dot",
        ),
        (
            "/spec/scope",
            json!("World"),
            "spec.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        (
            "/spec/names/listKind",
            json!("Widget"),
            "spec.names.listKind: Invalid value: \"Widget\": kind and listKind may not be the same",
        ),
        (
            "/metadata/name",
            json!("x.example.com"),
            "metadata.name: Invalid value: \"x.example.com\": must be spec.names.plural+\".\"+spec.group",
        ),
        (
            "/spec/versions/0/schema",
            json!(null),
            "spec.versions[0].schema.openAPIV3Schema: Required value",
        ),
    ] {
        let mut o = base.clone();
        *o.pointer_mut(pointer).unwrap() = value;
        assert!(told(&o).iter().any(|m| m == wanted), "{pointer}: {:?}", told(&o));
    }
    let mut o = base.clone();
    o["spec"]["group"] = json!("x.k8s.io");
    o["metadata"]["name"] = json!("widgets.x.k8s.io");
    assert_eq!(
        told(&o),
        [
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111"
        ]
    );
    let mut o = base;
    o["spec"]["versions"][0]["subresources"] =
        json!({"scale": {"specReplicasPath": ".status.x", "statusReplicasPath": ".status.replicas"}});
    o["spec"]["versions"][0]["additionalPrinterColumns"] =
        json!([{"name": "A", "type": "time", "jsonPath": ".spec.a"}]);
    assert_eq!(
        told(&o),
        [
            "spec.subresources.scale.specReplicasPath: Invalid value: \".status.x\": should be a json path under .spec",
            "spec.additionalPrinterColumns[0].type: Invalid value: \"time\": must be one of boolean,date,integer,number,string",
        ]
    );
}

#[test]
fn schemas() {
    let field = |f: Value| json!({"type": "object", "properties": {"f": f}});
    for (schema, wanted) in [
        (json!({}), "S.type: Required value: must not be empty at the root"),
        (
            json!({"type": "string"}),
            "S.type: Invalid value: \"string\": must be object at the root",
        ),
        (
            field(json!({})),
            "S.properties[f].type: Required value: must not be empty for specified object fields",
        ),
        (
            field(json!({"type": "array"})),
            "S.properties[f].items: Required value: must be specified",
        ),
        (
            field(json!({"type": "foo"})),
            "S.properties[f].type: Unsupported value: \"foo\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ),
        (
            json!({"type": "object", "anyOf": [{"properties": {"g": {"minimum": 1}}}]}),
            "S.properties[g]: Required value: because it is defined in S.anyOf[0].properties[g]",
        ),
        (
            json!({"type": "object", "anyOf": [{"type": "object"}]}),
            "S.anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            field(json!({"type": "integer", "default": "x"})),
            "S.properties[f].default: Invalid value: \"string\": S.properties[f].default in body must be of type integer: \"string\"",
        ),
        (
            field(
                json!({"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}},
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}),
            ),
            "S.properties[f].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            "S.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
        ),
    ] {
        assert_eq!(schema_told(schema.clone()), [wanted], "{schema}");
    }
}

#[test]
fn stored_versions_stay_known() {
    let mut old = definition(json!({"type": "object"}));
    old["status"] = json!({"storedVersions": ["v0", "v1"]});
    let mut errs = ErrorList::new();
    update(&old, &old, &mut errs);
    assert!(
        errs.to_string().starts_with("status.storedVersions[0]: Invalid value: \"v0\": missing from spec.versions; v0 was previously a storage version"),
        "{errs}"
    );
}

#[test]
fn schemas_that_differ_are_named_with_their_versions() {
    let mut o = definition(json!({}));
    let mut other = o["spec"]["versions"][0].clone();
    other["name"] = json!("v2");
    other["storage"] = json!(false);
    o["spec"]["versions"].as_array_mut().unwrap().push(other);
    let why = "type: Required value: must not be empty at the root";
    assert_eq!(told(&o), [format!("spec.validation.openAPIV3Schema.{why}")]);
    o["spec"]["versions"][1]["schema"]["openAPIV3Schema"] = json!({"type": "object"});
    assert_eq!(
        told(&o),
        [format!("spec.versions[0].schema.openAPIV3Schema.{why}")]
    );
}

#[test]
fn paths_to_fields() {
    let schema = json!({"properties": {"a": {"properties": {"b.c": {"type": "string"}}}}});
    for (path, wanted) in [
        (".a", Ok("a")),
        (".a['b.c']", Ok("a/b.c")),
        ("a", Err("expected [ or . but got: a")),
        (".", Err("unexpected end of JSON path")),
        (".x", Err("does not refer to a valid field")),
        (".a[b]", Err("expected single quoted string but got b")),
    ] {
        let found = paths::follow(path, &schema, true).map(|(steps, _)| steps.join("/"));
        assert_eq!(found.as_deref().map_err(String::as_str), wanted, "{path}");
    }
    assert_eq!(
        paths::follow(".a['b.c']", &schema, false).map(|_| ()),
        Err("array notation is not allowed".to_owned())
    );
}
