use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;

fn node(conditions: Value, taints: Value, unschedulable: bool) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": "n"},
        "spec": {"taints": taints, "unschedulable": unschedulable},
        "status": {"conditions": conditions},
    }))
    .unwrap()
}

fn now() -> Time {
    Time(Timestamp::from_second(100).unwrap())
}

#[test]
fn taints_follow_conditions() {
    let not_ready = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]);
    for (why, conditions, taints, unschedulable, wanted) in [
        (
            "ready",
            json!([{"type": "Ready", "status": "True"}]),
            not_ready.clone(),
            false,
            Some(vec![]),
        ),
        (
            "nothing to do",
            json!([{"type": "Ready", "status": "True"}]),
            json!([]),
            false,
            None,
        ),
        ("not reported yet", json!([]), not_ready.clone(), false, None),
        (
            "not ready",
            json!([{"type": "Ready", "status": "False"}]),
            json!([]),
            false,
            Some(vec![
                "node.kubernetes.io/not-ready:NoSchedule",
                "node.kubernetes.io/not-ready:NoExecute",
            ]),
        ),
        (
            "silent",
            json!([{"type": "Ready", "status": "Unknown"}]),
            not_ready,
            false,
            Some(vec![
                "node.kubernetes.io/unreachable:NoSchedule",
                "node.kubernetes.io/unreachable:NoExecute",
            ]),
        ),
        (
            "cordoned, short of memory, with a taint of the user's",
            json!([{"type": "Ready", "status": "True"}, {"type": "MemoryPressure", "status": "True"}]),
            json!([{"key": "mine", "effect": "NoExecute"}]),
            true,
            Some(vec![
                "mine:NoExecute",
                "node.kubernetes.io/memory-pressure:NoSchedule",
                "node.kubernetes.io/unschedulable:NoSchedule",
            ]),
        ),
    ] {
        let plan = taints::plan(&node(conditions, taints, unschedulable), &now());
        let plan = plan.map(|p| {
            p.iter()
                .map(|t| format!("{}:{}", t.key, t.effect))
                .collect::<Vec<_>>()
        });
        assert_eq!(
            plan,
            wanted.map(|w| w.into_iter().map(String::from).collect()),
            "{why}"
        );
    }
}

#[test]
fn a_silent_node_is_unknown_once() {
    let silent = node(
        json!([{"type": "Ready", "status": "True", "reason": "KubeletReady"}]),
        json!([]),
        false,
    );
    let status = health::unknown(&silent, &now()).unwrap();
    let conditions = status.conditions.clone().unwrap();
    assert_eq!(conditions.len(), 4);
    assert!(
        conditions
            .iter()
            .all(|c| c.status == "Unknown" && c.last_transition_time == Some(now()))
    );
    assert_eq!(conditions[0].reason.as_deref(), Some("NodeStatusUnknown"));
    assert_eq!(conditions[1].reason.as_deref(), Some("NodeStatusNeverUpdated"));
    let told = Node {
        status: Some(status),
        ..silent
    };
    assert_eq!(health::unknown(&told, &now()), None);
}

#[test]
fn leases_and_heartbeats_are_signs_of_life() {
    let heartbeat = |time: &str| {
        node(
            json!([{"type": "Ready", "status": "True", "lastHeartbeatTime": time}]),
            json!([]),
            false,
        )
    };
    let lease = |time: &str| -> Lease {
        serde_json::from_value(json!({"metadata": {}, "spec": {"renewTime": time}})).unwrap()
    };
    let (a, b) = (
        heartbeat("2026-01-01T00:00:00Z"),
        heartbeat("2026-01-01T00:00:10Z"),
    );
    assert_ne!(health::signs(&a, None), health::signs(&b, None));
    let (x, y) = (
        lease("2026-01-01T00:00:00.000000Z"),
        lease("2026-01-01T00:00:01.000000Z"),
    );
    assert_ne!(health::signs(&a, Some(&x)), health::signs(&a, Some(&y)));
    let unknown = node(json!([{"type": "Ready", "status": "Unknown"}]), json!([]), false);
    assert_eq!(
        health::signs(&unknown, None),
        health::signs(&node(json!([]), json!([]), false), None)
    );
}
