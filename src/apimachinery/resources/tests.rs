use std::collections::HashSet;

use super::*;

#[test]
fn every_resource_has_its_types() {
    let schema = Schema::get();
    for def in all() {
        let def_type = schema
            .type_by_name(def.type_name)
            .unwrap_or_else(|| panic!("no type {}", def.type_name));
        assert!(def_type.field("metadata").is_some(), "{}", def.type_name);
        if def.has_verb("list") {
            let list = schema.type_by_name(def.list_type_name);
            let items = list
                .and_then(|list| list.field("items"))
                .and_then(|items| items.ty.message());
            assert_eq!(
                items.map(|item| &*item.name),
                Some(def.type_name),
                "{}",
                def.list_type_name
            );
        }
        for sub in &def.subresources {
            assert!(
                schema.type_by_name(sub.type_name).is_some(),
                "no type {}",
                sub.type_name
            );
        }
    }
}

#[test]
fn names_are_unique_and_sorted() {
    let mut seen = HashSet::new();
    for def in all() {
        assert!(
            seen.insert((def.group, def.version, def.resource)),
            "{} twice",
            def.resource
        );
        assert!(def.verbs.is_sorted(), "{}", def.resource);
        assert!(
            def.subresources.is_sorted_by_key(|sub| sub.name),
            "{}",
            def.resource
        );
    }
    for pair in all().windows(2) {
        if (pair[0].group, pair[0].version) == (pair[1].group, pair[1].version) {
            assert!(
                pair[0].resource < pair[1].resource,
                "{} after {}",
                pair[1].resource,
                pair[0].resource
            );
        }
    }
}

#[test]
fn shared_storage_and_preference() {
    let events = find("events.k8s.io", "v1", "events").unwrap();
    assert_eq!(
        (events.storage_prefix, events.storage_version),
        ("core/events", "v1")
    );
    let hpa = find("autoscaling", "v1", "horizontalpodautoscalers").unwrap();
    assert_eq!(
        (hpa.storage_prefix, hpa.storage_version),
        ("autoscaling/horizontalpodautoscalers", "v2")
    );
    assert!(find("resource.k8s.io", "v1beta1", "resourceclaims").is_none());
    assert!(by_kind("resource.k8s.io", "v1beta1", "ResourceClaim").is_some_and(|def| def.off_by_default));
    let groups: Vec<&str> = builtin().iter().map(|def| def.group).collect();
    assert_eq!(groups[0], "");
    let position = |name| groups.iter().position(|group| *group == name);
    assert!(position("apiregistration.k8s.io") < position("apps"));
    assert!(position("admissionregistration.k8s.io") < position("apiextensions.k8s.io"));
    assert_eq!(
        find("", "v1", "pods")
            .unwrap()
            .subresource("eviction")
            .unwrap()
            .type_name,
        "io.k8s.api.policy.v1.Eviction"
    );
}

#[test]
fn hashes_are_upstreams() {
    for (group, resource, want) in [
        ("", "pods", Some("xPOwRZ+Yhw8=")),
        ("", "services", Some("0/CO1lhkEBI=")),
        ("networking.k8s.io", "ingresses", Some("39NQlfNR+bo=")),
        ("events.k8s.io", "events", Some("r2yiGXH7wu8=")),
        ("", "bindings", None),
    ] {
        assert_eq!(
            find(group, "v1", resource)
                .unwrap()
                .storage_version_hash()
                .as_deref(),
            want
        );
    }
}

#[test]
fn types_by_kind() {
    let name = |group, version, kind| type_of(group, version, kind).map(|def| &*def.name);
    assert_eq!(
        name("apps", "v1", "DeploymentList"),
        Some("io.k8s.api.apps.v1.DeploymentList")
    );
    assert_eq!(
        name("autoscaling", "v1", "Scale"),
        Some("io.k8s.api.autoscaling.v1.Scale")
    );
    assert_eq!(
        name("policy", "v1", "Eviction"),
        Some("io.k8s.api.policy.v1.Eviction")
    );
    assert_eq!(
        name("", "v1", "Status"),
        Some("io.k8s.apimachinery.pkg.apis.meta.v1.Status")
    );
    assert_eq!(
        name("apps", "v1", "DeleteOptions"),
        Some("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
    );
    assert_eq!(
        name("meta.k8s.io", "v1", "Table"),
        Some("io.k8s.apimachinery.pkg.apis.meta.v1.Table")
    );
    assert_eq!(name("apps", "v1", "DeploymentSpec"), None);
    assert_eq!(name("example.com", "v1", "Widget"), None);
}
