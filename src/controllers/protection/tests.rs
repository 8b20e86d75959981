use serde_json::{Value, json};

use super::*;

fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_finalizer_goes_when_nobody_uses_the_object() {
    let claim = |deleted: bool, finalizers: Value| -> PersistentVolumeClaim {
        let at = deleted.then_some("2026-01-01T00:00:00Z");
        object(json!({"metadata": {"name": "c", "deletionTimestamp": at, "finalizers": finalizers}}))
    };
    let cases = [
        (false, json!([]), true, Step::Add),
        (false, json!([CLAIM]), false, Step::Keep),
        (true, json!([CLAIM]), true, Step::Keep),
        (true, json!([CLAIM]), false, Step::Remove),
        (true, json!([]), false, Step::Keep),
    ];
    for (deleted, finalizers, used, expected) in cases {
        assert_eq!(step(&claim(deleted, finalizers), CLAIM, || used), expected);
    }
}

#[test]
fn a_claim_is_used_by_a_pod_on_a_node_until_it_ends() {
    let pod = |node: &str, phase: &str| -> Arc<Pod> {
        Arc::new(object(
            json!({"metadata": {"name": "p"}, "status": {"phase": phase}, "spec": {
            "containers": [], "nodeName": node, "volumes": [
                {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "e", "ephemeral": {}}]}}),
        ))
    };
    assert!(is_claim_used(&[pod("n", "Running")], "c"));
    assert!(is_claim_used(&[pod("n", "Running")], "p-e"));
    assert!(!is_claim_used(&[pod("n", "Running")], "d"));
    assert!(!is_claim_used(&[pod("n", "Succeeded")], "c"));
    assert!(!is_claim_used(&[pod("", "Pending")], "c"));
}

#[test]
fn a_claim_has_up_to_three_classes() {
    let claim: PersistentVolumeClaim = object(json!({"spec": {"volumeAttributesClassName": "a"}, "status": {
        "currentVolumeAttributesClassName": "b",
        "modifyVolumeStatus": {"status": "Pending", "targetVolumeAttributesClassName": "c"}}}));
    assert_eq!(classes(&claim), ["a", "b", "c"]);
}
