use serde_json::json;

use super::*;

fn pod(containers: serde_json::Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": containers}}))
        .expect("a pod")
}

fn one(resources: serde_json::Value) -> Pod {
    pod(json!([{"name": "c", "resources": resources}]))
}

#[test]
fn classes() {
    let table = [
        (json!({}), QosClass::BestEffort),
        (json!({"requests": {"cpu": "1"}}), QosClass::Burstable),
        (json!({"limits": {"cpu": "1"}}), QosClass::Burstable),
        (
            json!({"limits": {"cpu": "1", "memory": "1Gi"}}),
            QosClass::Guaranteed,
        ),
        (
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}),
            QosClass::Burstable,
        ),
        (
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}}),
            QosClass::Guaranteed,
        ),
    ];
    for (resources, want) in table {
        assert_eq!(QosClass::of(&one(resources.clone())), want, "{resources}");
    }
}

#[test]
fn kernel_values() {
    assert_eq!(
        (shares(0), shares(1), shares(1000), shares(250)),
        (2, 2, 1024, 256)
    );
    assert_eq!((quota(0), quota(1), quota(500)), (0, 1000, 50_000));
    assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 39, 10_000));
    let burstable = one(json!({"requests": {"memory": "1Gi"}}));
    assert_eq!(
        oom_score_adj(&burstable, &burstable.spec().containers[0], 4 << 30),
        750
    );
    let limits = container_resources(&burstable, &burstable.spec().containers[0], 4 << 30);
    assert_eq!(
        (limits.cpu_shares, limits.cpu_quota, limits.memory_limit_in_bytes),
        (2, 0, 0)
    );
}

#[test]
fn a_pod_is_the_sum_or_the_largest_init_container() {
    let pod: Pod = serde_json::from_value(json!({"spec": {
        "initContainers": [
            {"name": "big", "resources": {"requests": {"cpu": "3"}}},
            {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}}],
        "containers": [
            {"name": "a", "resources": {"requests": {"cpu": "1"}}},
            {"name": "b", "resources": {"requests": {"cpu": "500m", "memory": "1Mi"}}}]}}))
    .expect("a pod");
    let found = pod_resources(&pod);
    assert_eq!(found.cpu_request, 3000);
    assert_eq!(found.memory_request, 1 << 20);
    assert_eq!((found.cpu_limit, found.memory_limit), (0, 0));
}
