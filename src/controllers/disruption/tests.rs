use serde_json::json;

use super::*;

fn pod(name: &str, ready: bool) -> Arc<Pod> {
    let status = if ready { "True" } else { "False" };
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]},
        }))
        .unwrap(),
    )
}

#[test]
fn budgets_allow_what_is_above_the_desired() {
    let pods = [pod("a", true), pod("b", true), pod("c", false)];
    for (spec, scale, expected, desired, allowed) in [
        (json!({"minAvailable": 1}), 0, 3, 1, 1),
        (json!({"minAvailable": 3}), 0, 3, 3, 0),
        (json!({"minAvailable": "50%"}), 4, 4, 2, 0),
        (json!({"minAvailable": "30%"}), 3, 3, 1, 1),
        (json!({"maxUnavailable": 2}), 3, 3, 1, 1),
        (json!({"maxUnavailable": "50%"}), 3, 3, 1, 1),
        (json!({"maxUnavailable": 0}), 3, 3, 3, 0),
        (json!({"maxUnavailable": 1}), 0, 0, 0, 0),
    ] {
        let budget: PodDisruptionBudget =
            serde_json::from_value(json!({"metadata": {"generation": 2}, "spec": spec})).unwrap();
        let (status, _) = plan::plan(&budget, &pods, scale, &crate::common::now());
        let got = (
            status.expected_pods,
            status.desired_healthy,
            status.disruptions_allowed,
        );
        assert_eq!(got, (expected, desired, allowed), "{spec}");
        assert_eq!(status.current_healthy, 2);
    }
}

#[test]
fn a_granted_eviction_counts_until_it_is_seen_or_forgotten() {
    let at = |text: &str| k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(text.parse().unwrap());
    let budget: PodDisruptionBudget = serde_json::from_value(json!({
        "metadata": {}, "spec": {"minAvailable": 1},
        "status": {"disruptedPods": {"a": "2026-01-01T00:00:00Z", "gone": "2026-01-01T00:00:00Z"},
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0},
    }))
    .unwrap();
    let pods = [pod("a", true), pod("b", true)];
    let (status, wait) = plan::plan(&budget, &pods, 0, &at("2026-01-01T00:00:30Z"));
    assert_eq!(
        (status.disruptions_allowed, status.disrupted_pods.unwrap().len()),
        (0, 1)
    );
    assert_eq!(wait.map(|w| w.as_secs()), Some(90));
    let (status, wait) = plan::plan(&budget, &pods, 0, &at("2026-01-01T00:03:00Z"));
    assert_eq!(
        (status.disruptions_allowed, status.disrupted_pods, wait),
        (1, None, None)
    );
}
