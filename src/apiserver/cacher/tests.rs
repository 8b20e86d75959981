use super::*;

fn object(value: &str) -> Obj {
    Obj::from_bytes("core/pods", "n/a", value.as_bytes().into(), 7).unwrap()
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
        value: text.into_bytes().into(),
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
    assert!(cacher.subscribe(2).is_err());
    assert!(
        cacher
            .subscribe(140)
            .is_ok_and(|mut s| s.poll(usize::MAX).unwrap().len() == 60)
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

#[test]
fn after_a_reload_nobody_goes_on_from_the_past() {
    let cacher = Arc::new(Cacher::new("core/configmaps"));
    cacher.replace(vec![entry("a", 3, 0), entry("b", 5, 0)], 5);
    cacher.put(&entry("c", 6, 0));
    let mut behind = cacher.subscribe(5).ok().unwrap();
    let (_, mut current) = cacher.snapshot_and_subscribe(6);
    let before = cacher.get("n/c").unwrap();
    // Meanwhile b went at 8, and d came at 7: at 9 all of it is there, in no order that could be told.
    cacher.replace(vec![entry("a", 3, 0), entry("c", 6, 0), entry("d", 7, 0)], 9);
    for subscription in [&mut behind, &mut current] {
        assert_eq!(subscription.poll(10).err(), Some(SubscriptionError::Lagged));
    }
    assert_eq!(cacher.subscribe(8).err(), Some(9));
    let mut next = cacher.subscribe(9).ok().unwrap();
    assert!(next.poll(10).unwrap().is_empty());
    cacher.put(&entry("e", 10, 0));
    let changes = next.poll(10).unwrap();
    assert_eq!(changes.iter().map(|c| c.revision).collect::<Vec<_>>(), [10]);
    // What stayed is the same object, with the encodings that it has.
    assert!(Arc::ptr_eq(&before, &cacher.get("n/c").unwrap()));
    assert!(cacher.get("n/b").is_none());
}

#[test]
fn every_field_that_a_selector_may_name_can_be_read() {
    use rkind_apimachinery::{resources, selector::supported_fields};
    // Upstream takes this one and has no value for it.
    const EMPTY: &str = "status.podIPs";
    let metadata = |field: &str| matches!(field, "metadata.name" | "metadata.namespace");
    for def in resources::all() {
        let named = supported_fields(def.group, def.kind).unwrap_or_default();
        let read: Vec<&str> = fields::table(def.storage_prefix).iter().map(|f| f.name).collect();
        for field in named.iter().filter(|f| !metadata(f) && **f != EMPTY) {
            assert!(read.contains(field), "{field} of {} is not read", def.kind);
        }
        for field in read {
            let kinds = resources::all()
                .iter()
                .filter(|d| d.storage_prefix == def.storage_prefix);
            let mut named = kinds.filter_map(|d| supported_fields(d.group, d.kind)).flatten();
            // A namespace's old name for its name is written by upstream's own clients.
            assert!(
                named.any(|f| *f == field) || field == "name",
                "{field} of {} cannot be named",
                def.kind
            );
        }
    }
}

#[test]
fn an_object_says_of_which_version_it_is() {
    let object = object(r#"{"apiVersion":"g.io/v1","kind":"K","metadata":{}}"#);
    assert!(object.is_of("g.io", "v1"));
    for (group, version) in [("g.io", "v1beta1"), ("g.io", "v"), ("g", "v1"), ("", "v1")] {
        assert!(!object.is_of(group, version), "{group}/{version}");
    }
}

#[test]
fn items_of_a_list_do_not_say_what_they_are() {
    for (stored, item) in [
        (
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"kind":"x"}}"#,
            r#"{"metadata":{"resourceVersion":"7","name":"p"},"spec":{"kind":"x"}}"#,
        ),
        (
            r#"{"addressType":"IPv4","apiVersion":"v1","data":{"kind":"x"},"kind":"E","metadata":{}}"#,
            r#"{"addressType":"IPv4","data":{"kind":"x"},"metadata":{"resourceVersion":"7"}}"#,
        ),
        (
            r#"{"metadata":{"name":"p"}}"#,
            r#"{"metadata":{"resourceVersion":"7","name":"p"}}"#,
        ),
    ] {
        let object = Obj::to_send("n/p", stored.as_bytes(), 7).unwrap();
        let mut out = Vec::new();
        object.write_item(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), item);
    }
}

#[test]
fn what_managers_own_is_no_objects_own() {
    let owned = r#""f:metadata":{"f:labels":{"f:a":{}}}"#;
    let manager = |fields: &str| {
        format!(r#"{{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{{{fields}}},"manager":"m"}}"#)
    };
    let pod = |fields: &str| {
        let managers = [manager(fields), manager(""), manager(fields)].join(",");
        format!(
            r#"{{"kind":"Pod","metadata":{{"managedFields":[{managers}],"name":"p"}},"spec":{{"metadata":[]}}}}"#
        )
    };
    let whole = pod(owned).into_bytes();
    let mut own = Vec::new();
    let mut rest = 0;
    for part in repeats(&whole) {
        assert!(whole[part.clone()] == *owned.as_bytes() || part.is_empty());
        own.extend_from_slice(&whole[rest..part.start]);
        rest = part.end;
    }
    own.extend_from_slice(&whole[rest..]);
    assert_eq!(String::from_utf8(own).unwrap(), pod(""));
    for other in [
        "",
        "{}",
        "k8s:enc:aescbc",
        r#"{"metadata":{"managedFields":null}}"#,
        r#"{"metadata":[{}]}"#,
    ] {
        assert!(repeats(other.as_bytes()).is_empty(), "{other}");
    }
}
