use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::Schema;
use crate::schema::random::Random;

fn def(name: &str) -> &'static TypeDef {
    Schema::get().type_by_name(name).unwrap()
}

const POD: &str = "io.k8s.api.core.v1.Pod";
const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";
const CRD: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition";

fn strict(text: &str, name: &str) -> (Value, Vec<String>) {
    let (value, errors) = decode_json(text.as_bytes(), def(name), FieldValidation::Strict).unwrap();
    (value, errors.into_iter().map(|error| error.0).collect())
}

fn failure(text: &str, name: &str) -> String {
    decode_json(text.as_bytes(), def(name), FieldValidation::Ignore)
        .unwrap_err()
        .to_string()
}

#[test]
fn drops_unknown_and_reports_as_upstream() {
    let text = r#"{"kind":"Pod","Spec":{},"metadata":{"labels":{"a":"1","a":"2"}},
        "spec":{"foo":{"bar":1},"containers":[{"name":"a"},{"name":"b","foo":1,"name":"c"}]}}"#;
    let (value, errors) = strict(text, POD);
    assert_eq!(
        value,
        json!({"kind":"Pod","metadata":{"labels":{"a":"2"}},"spec":{"containers":[{"name":"a"},{"name":"c"}]}})
    );
    assert_eq!(
        errors,
        [
            r#"unknown field "Spec""#,
            r#"duplicate field "metadata.labels.a""#,
            r#"unknown field "spec.foo""#,
            r#"unknown field "spec.containers[1].foo""#,
            r#"duplicate field "spec.containers[1].name""#,
        ]
    );
    let errors: Vec<StrictError> = errors.into_iter().map(StrictError).collect();
    assert!(
        strict_message(&errors[..2])
            .ends_with(r#"unknown field "Spec", duplicate field "metadata.labels.a""#)
    );
    let (_, errors) = decode_json(text.as_bytes(), def(POD), FieldValidation::Ignore).unwrap();
    assert!(errors.is_empty());
}

#[test]
fn type_errors_are_gos() {
    for (name, text, want) in [
        (
            DEPLOYMENT,
            r#"{"spec":{"replicas":"3"}}"#,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            DEPLOYMENT,
            r#"{"spec":{"replicas":99999999999}}"#,
            "json: cannot unmarshal number 99999999999 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            DEPLOYMENT,
            r#"{"spec":{"replicas":1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            POD,
            r#"{"spec":{"containers":[{"env":[{"name":"A","value":1}]}]}}"#,
            "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string",
        ),
        (
            POD,
            r#"{"metadata":{"labels":{"a":true}}}"#,
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            POD,
            r#"{"spec":{"containers":{}}}"#,
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            POD,
            r#"{"spec":[]}"#,
            "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec",
        ),
        (
            POD,
            "[]",
            "json: cannot unmarshal array into Go value of type v1.Pod",
        ),
        (
            POD,
            r#"{"spec":"#,
            "couldn't get version/kind; json parse error: unexpected end of JSON input",
        ),
        (
            POD,
            r#"{"spec":{"restartPolicy":1}}"#,
            "json: cannot unmarshal number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy",
        ),
        (
            POD,
            r#"{"spec":{"containers":[{"livenessProbe":{"httpGet":{"port":true}}}]}}"#,
            "json: cannot unmarshal bool into Go struct field HTTPGetAction.spec.containers.livenessProbe.ProbeHandler.httpGet.port of type int32",
        ),
        (
            "io.k8s.api.core.v1.Secret",
            r#"{"data":{"a":"YQ"}}"#,
            "illegal base64 data at input byte 0",
        ),
        (
            CRD,
            r#"{"spec":{"versions":[{"schema":{"openAPIV3Schema":{"items":1,"additionalProperties":{"type":1}}}}]}}"#,
            "json: cannot unmarshal number into Go struct field JSONSchemaProps.spec.versions.schema.openAPIV3Schema.additionalProperties.type of type string",
        ),
        (
            POD,
            r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"1x"}}}]}}"#,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "io.k8s.api.core.v1.Secret",
            r#"{"data":{"a":"%%"}}"#,
            "illegal base64 data at input byte 0",
        ),
    ] {
        assert_eq!(failure(text, name), want);
    }
    assert!(
        failure(r#"{"metadata":{"creationTimestamp":"today"}}"#, POD)
            .starts_with("parsing time \"today\" as")
    );
    assert!(failure(&"[".repeat(10_000), POD).contains("array"));
    let nested = r#"{"a":"#.repeat(5_000) + "1" + &"}".repeat(5_000);
    let deep = format!(r#"{{"metadata":{{"managedFields":[{{"fieldsV1":{nested}}}]}}}}"#);
    assert!(failure(&deep, POD).contains("recursion limit"));
}

#[test]
fn scalars_become_canonical_and_nulls_absent() {
    let (value, errors) = strict(
        r#"{"metadata":{"name":null,"creationTimestamp":"2024-01-02T03:04:05.678+01:00","labels":{"a":null}},
            "spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":0.5,"memory":"1024Mi"}},
            "readinessProbe":{"httpGet":{"port":"web"},"tcpSocket":{"port":80}}}, null]}}"#,
        POD,
    );
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(
        value,
        json!({"metadata":{"creationTimestamp":"2024-01-02T02:04:05Z","labels":{"a":""}},
            "spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":"500m","memory":"1Gi"}},
            "readinessProbe":{"httpGet":{"port":"web"},"tcpSocket":{"port":80}}}, {}]}})
    );
}

#[test]
fn any_json_stays_untouched() {
    let text = r#"{"spec":{"versions":[{"name":"v1","schema":{"openAPIV3Schema":{"type":"object","properties":
        {"a":{"default":{"x":null,"y":[1,null]},"items":{"type":"string","nope":1},"additionalProperties":false}}}}}]}}"#;
    let (value, errors) = strict(text, CRD);
    assert_eq!(
        errors,
        Vec::<String>::new(),
        "a notation of its own is read leniently"
    );
    let props = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["a"];
    assert_eq!(
        *props,
        json!({"default":{"x":null,"y":[1,null]},"items":{"type":"string"},"additionalProperties":false})
    );
    assert_eq!(
        failure(
            r#"{"spec":{"versions":[{"schema":{"openAPIV3Schema":{"additionalProperties":1}}}]}}"#,
            CRD
        ),
        "boolean or JSON schema expected"
    );
}

#[test]
fn yaml_is_json_with_its_own_duplicates() {
    let text = "kind: Pod\nmetadata:\n  name: a\n  name: b\n  nope: 1\nspec:\n  containers:\n  - name: c\n    command: [sh, -c]\n";
    let (value, errors) = decode_yaml(text.as_bytes(), def(POD), FieldValidation::Strict).unwrap();
    assert_eq!(value["metadata"], json!({"name":"b"}));
    assert_eq!(value["spec"]["containers"][0]["command"], json!(["sh", "-c"]));
    let errors: Vec<&str> = errors.iter().map(|error| &*error.0).collect();
    assert_eq!(
        errors,
        [
            "yaml: unmarshal errors:\n  line 4: key \"name\" already set in map",
            "unknown field \"metadata.nope\""
        ]
    );
    let error = decode_yaml(b"a: [", def(POD), FieldValidation::Ignore).unwrap_err();
    assert!(error.0.starts_with("yaml: line "), "{error}");
    let (value, _) =
        yaml_to_value(b"1: a\ntrue: b\nmode: 0644\nyes: yes\n", FieldValidation::Ignore).unwrap();
    assert_eq!(value["mode"], 0o644);
    assert_eq!(value["1"], "a");
}

#[test]
fn normal_form_is_gos() {
    let (mut value, _) = strict(
        r#"{"metadata":{"name":"a","labels":{}},"spec":{"nodeName":"","hostNetwork":false,
            "terminationGracePeriodSeconds":0,"containers":[{"name":"a","args":[]}]}}"#,
        POD,
    );
    normalize(&mut value, def(POD));
    let want = json!({"metadata":{"name":"a"},"spec":{"terminationGracePeriodSeconds":0,
        "containers":[{"name":"a","resources":{}}]},"status":{}});
    assert_eq!(value, want);
    normalize(&mut value, def(POD));
    assert_eq!(value, want);
    let mut empty = json!({});
    normalize(&mut empty, def("io.k8s.api.apps.v1.ReplicaSet"));
    assert_eq!(
        empty,
        json!({"metadata":{},"spec":{"selector":null,"template":{"metadata":{},"spec":{"containers":null}}},"status":{"replicas":0}})
            .as_object()
            .map(|o| {
                let mut o = o.clone();
                o["spec"].as_object_mut().unwrap().remove("selector");
                Value::Object(o)
            })
            .unwrap()
    );
}

#[test]
fn durations_print_as_in_go() {
    for (text, want) in [
        ("90s", "1m30s"),
        ("1.5h", "1h30m0s"),
        ("100ms", "100ms"),
        ("1500us", "1.5ms"),
        ("-2s", "-2s"),
        ("0", "0s"),
    ] {
        assert_eq!(
            scalar::format_duration(scalar::parse_duration(text).unwrap()),
            want
        );
    }
    for text in ["", "1", "1x", "s", "1.2.3s", "99999999999999999999h"] {
        assert!(scalar::parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn type_meta_reads_only_its_two_fields() {
    let meta = type_meta(br#"{"spec":{"kind":1},"kind":"Pod","apiVersion":"v1"}"#).unwrap();
    assert_eq!((&*meta.api_version, &*meta.kind), ("v1", "Pod"));
    assert!(
        type_meta(b"{")
            .unwrap_err()
            .0
            .starts_with("couldn't get version/kind; json parse error: ")
    );
}

proptest! {
    /// Damaged input gives an error or an object, never a panic; what is an object decodes to itself again.
    #[test]
    fn damaged_json(seed in any::<u64>(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut text = Random(seed).object(def(POD), 2).to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if cut {
            text.truncate(at);
        }
        if let Ok((value, _)) = decode_json(&text, def(POD), FieldValidation::Strict) {
            let (again, errors) = decode_value(value.clone(), def(POD), FieldValidation::Strict).unwrap();
            prop_assert_eq!(errors, []);
            prop_assert_eq!(again, value);
        }
        let _ = decode_yaml(&text, def(POD), FieldValidation::Strict);
    }
}

#[test]
fn syntax_errors_are_gos() {
    for (text, want) in [
        ("", "unexpected end of JSON input"),
        ("{} x", "invalid character 'x' after top-level value"),
        (
            r#"{"a":3,}"#,
            "invalid character '}' looking for beginning of object key string",
        ),
        (r#"{"a" 3}"#, "invalid character '3' after object key"),
        (
            r#"{"a":3 "b":4}"#,
            "invalid character '\"' after object key:value pair",
        ),
        ("[1 2]", "invalid character '2' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("nope", "invalid character 'o' in literal null (expecting 'u')"),
        ("-x", "invalid character 'x' in numeric literal"),
        (
            "1.x",
            "invalid character 'x' after decimal point in numeric literal",
        ),
        ("1ex", "invalid character 'x' in exponent of numeric literal"),
        ("\"a\nb\"", r"invalid character '\n' in string literal"),
        (r#""\x""#, "invalid character 'x' in string escape code"),
        (
            r#""\u12g4""#,
            r"invalid character 'g' in \u hexadecimal character escape",
        ),
        ("'a'", r"invalid character '\'' looking for beginning of value"),
    ] {
        assert_eq!(decode_any(text.as_bytes()).unwrap_err().0, want, "{text}");
    }
    assert_eq!(
        syntax::complaint(br#"{"a":[{},[],"x\u00e9",-1.5e+3,true,false,null]}"#),
        None
    );
    assert_eq!(
        syntax::complaint(&b"[".repeat(20_000)).as_deref(),
        Some("exceeded max depth")
    );
}

#[test]
fn what_is_no_object_of_any_kind() {
    let of = "Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
              Kind string \"json:\\\"kind,omitempty\\\"\" }";
    for (body, why) in [
        ("", "unexpected end of JSON input".to_owned()),
        ("[]", format!("json: cannot unmarshal array into {of}")),
        ("\"x\"", format!("json: cannot unmarshal string into {of}")),
        (
            r#"{"kind":5}"#,
            "json: cannot unmarshal number into Go struct field .kind of type string".to_owned(),
        ),
    ] {
        let error = type_meta(body.as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("couldn't get version/kind; json parse error: {why}"),
            "{body}"
        );
    }
    assert_eq!(type_meta(b"null").unwrap(), TypeMeta::default());
}
