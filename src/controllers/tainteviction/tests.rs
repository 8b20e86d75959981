use serde_json::json;

use super::*;

fn pod(tolerations: serde_json::Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p"},
        "spec": {"containers": [], "tolerations": tolerations},
    }))
    .unwrap()
}

#[test]
fn tolerations_decide_when_a_pod_goes() {
    let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
    let taint = |key: &str| -> Taint {
        serde_json::from_value(
            json!({"key": key, "effect": "NoExecute", "timeAdded": "2026-01-01T00:09:00Z"}),
        )
        .unwrap()
    };
    let taints = [taint("node.kubernetes.io/unreachable")];
    let at = |seconds: i64| {
        Some("2026-01-01T00:09:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds))
    };
    assert_eq!(eviction_time(&pod(json!([])), &[], now), None);
    assert_eq!(eviction_time(&pod(json!([])), &taints, now), Some(now));
    let default = json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists",
        "effect": "NoExecute", "tolerationSeconds": 300}]);
    assert_eq!(eviction_time(&pod(default), &taints, now), at(300));
    let for_ever = json!([{"operator": "Exists"}]);
    assert_eq!(eviction_time(&pod(for_ever), &taints, now), None);
    let other_key = json!([{"key": "x", "operator": "Exists"}]);
    assert_eq!(eviction_time(&pod(other_key), &taints, now), Some(now));
    let other_value = json!([{"key": "node.kubernetes.io/unreachable", "value": "v"}]);
    assert_eq!(eviction_time(&pod(other_value), &taints, now), Some(now));
}
