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

fn entry(name: &str, revision: u64, bytes: usize) -> Entry {
    let text = format!(
        r#"{{"metadata":{{"name":"{name}"}},"data":"{}"}}"#,
        "x".repeat(bytes)
    );
    Entry {
        key: format!("/registry/core/configmaps/n/{name}").into(),
        value: text.into(),
        create_revision: 1,
        mod_revision: revision,
    }
}

/// However large its objects, a resource's past takes a bounded memory.
#[test]
fn the_ring_is_bounded_in_bytes() {
    let cacher = Arc::new(Cacher::new("core/configmaps"));
    cacher.put(&entry("small", 1, 0));
    let snapshot = cacher.snapshot(0);
    cacher.keep(&snapshot);
    assert!(cacher.kept(1).is_some());
    for revision in 2..=200 {
        cacher.put(&entry("large", revision, 1 << 20));
    }
    assert!(cacher.subscribe(2).is_none());
    assert!(
        cacher
            .subscribe(140)
            .is_some_and(|mut s| s.poll(usize::MAX).unwrap().len() == 60)
    );
    // Nor are old states kept for pages that nobody asks for.
    assert!(cacher.kept(1).is_none());
}

#[test]
fn a_resource_with_an_unreadable_object_says_so() {
    let cacher = Cacher::new("core/configmaps");
    cacher.put(&entry("a", 1, 0));
    let mut broken = entry("b", 2, 0);
    broken.value = Default::default();
    cacher.put(&broken);
    assert_eq!(
        cacher.unreadable().as_deref(),
        Some("/registry/core/configmaps/n/b")
    );
    cacher.put(&entry("b", 3, 0));
    assert_eq!(cacher.unreadable(), None);
    cacher.put(&Entry {
        mod_revision: 4,
        ..broken
    });
    cacher.remove("/registry/core/configmaps/n/b", 5);
    assert_eq!((cacher.unreadable(), cacher.len()), (None, 1));
}
