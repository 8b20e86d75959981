use serde_json::json;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn pod(name: &str, change: serde_json::Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": "n1", "containers": []},
        "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z"}]},
    });
    for (pointer, value) in change.as_object().into_iter().flatten() {
        *pod.pointer_mut(pointer).unwrap() = value.clone();
    }
    serde_json::from_value(pod).unwrap()
}

/// Each is deleted before a plain, ready, old pod on an uncrowded node.
#[test]
fn the_least_useful_pod_goes_first() {
    let now = at("2026-01-02T00:00:00Z");
    let plain = pod("plain", json!({}));
    let crowd = HashMap::from([("n1".to_owned(), 1), ("n2".to_owned(), 3)]);
    for (why, change) in [
        ("no node", json!({"/spec": {"containers": []}})),
        ("pending", json!({"/status/phase": "Pending"})),
        ("unknown", json!({"/status/phase": "Unknown"})),
        ("not ready", json!({"/status/conditions/0/status": "False"})),
        ("crowded node", json!({"/spec/nodeName": "n2"})),
        (
            "ready since just now",
            json!({"/status/conditions/0/lastTransitionTime": "2026-01-01T23:59:00Z"}),
        ),
        (
            "restarts",
            json!({"/status": {"phase": "Running",
            "containerStatuses": [{"name": "c", "restartCount": 5, "image": "", "imageID": "", "ready": true}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z"}]}}),
        ),
        (
            "young",
            json!({"/metadata/creationTimestamp": "2026-01-01T23:59:00Z"}),
        ),
        (
            "cheap",
            json!({"/metadata": {"name": "z", "uid": "z", "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1"}}}),
        ),
    ] {
        let worse = pod("worse", change);
        assert_eq!(
            deletion_order(&worse, &plain, &crowd, now),
            Ordering::Less,
            "{why}"
        );
        assert_eq!(
            deletion_order(&plain, &worse, &crowd, now),
            Ordering::Greater,
            "{why}"
        );
    }
}

#[test]
fn availability_waits_for_min_ready_seconds() {
    let ready = pod("p", json!({}));
    assert!(is_available(&ready, 0, at("2026-01-01T00:00:10Z")));
    assert!(!is_available(&ready, 30, at("2026-01-01T00:00:39Z")));
    assert!(is_available(&ready, 30, at("2026-01-01T00:00:40Z")));
    let left = available_in(&ready, 30, at("2026-01-01T00:00:15Z"));
    assert_eq!(left.map(|l| l.as_secs()), Some(25));
    assert_eq!(available_in(&ready, 30, at("2026-01-01T00:01:00Z")), None);
    let not_ready = pod("p", json!({"/status/conditions/0/status": "False"}));
    assert_eq!(available_in(&not_ready, 30, at("2026-01-01T00:00:15Z")), None);
}
