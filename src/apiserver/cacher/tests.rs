use super::*;

fn object(value: &str) -> Obj {
    Obj::from_bytes("core/pods", "n/a", value.to_owned().into(), 7).unwrap()
}

#[test]
fn the_version_is_spliced_in() {
    let object =
        object(r#"{"kind":"Pod","metadata":{"labels":{"a":"b"},"name":"a"},"spec":{"nodeName":"n1"}}"#);
    let text = String::from_utf8(object.json()).unwrap();
    assert_eq!(
        text,
        r#"{"kind":"Pod","metadata":{"resourceVersion":"7","labels":{"a":"b"},"name":"a"},"spec":{"nodeName":"n1"}}"#
    );
    assert_eq!(object.labels().get("a"), Some("b"));
    assert_eq!(fields::value("core/pods", &object, "spec.nodeName"), Some("n1"));
    assert_eq!(
        fields::value("core/pods", &object, "spec.hostNetwork"),
        Some("false")
    );
    assert_eq!((object.namespace(), object.name()), ("n", "a"));
}

#[test]
fn an_empty_metadata_gets_no_comma() {
    let object = object(r#"{"metadata":{}}"#);
    assert_eq!(
        String::from_utf8(object.json()).unwrap(),
        r#"{"metadata":{"resourceVersion":"7"}}"#
    );
}

#[test]
fn keys_name_resources() {
    assert_eq!(
        resource_of("/registry/apps/deployments/default/web"),
        Some("apps/deployments")
    );
    assert_eq!(resource_of("/registry/core/nodes/n"), Some("core/nodes"));
    assert_eq!(resource_of("/other"), None);
}
