use std::collections::HashMap;

use serde_json::json;

use super::plan::{Observed, Plan, plan, status};
use super::*;

fn pod(name: &str, ready: bool) -> Arc<Pod> {
    let status = if ready { "True" } else { "False" };
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name, "labels": {"app": "a", "tier": name}},
            "spec": {"nodeName": "n", "containers": []},
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap(),
    )
}

fn now() -> Timestamp {
    "2026-01-01T00:00:05Z".parse().unwrap()
}

#[test]
fn makes_up_the_difference() {
    let pods = [pod("a", true), pod("b", false), pod("c", true)];
    let plan = |replicas| plan(&pods, replicas, &HashMap::new(), now());
    assert_eq!(plan(5), Plan::Create(2));
    assert_eq!(plan(3), Plan::Nothing);
    assert_eq!(plan(2), Plan::Delete(vec![pods[1].clone()]));
    assert_eq!(plan(5000), Plan::Create(500));
    let Plan::Delete(all) = plan(0) else {
        panic!("deletes")
    };
    assert_eq!(all.len(), 3);
}

#[test]
fn status_counts_and_tells_of_failure() {
    let pods = [pod("a", true), pod("b", false)];
    let seen = |failure| Observed {
        min_ready_seconds: 60,
        template_labels: Some([("tier".to_owned(), "a".to_owned())].into()),
        generation: Some(4),
        active: &pods,
        terminating: 1,
        failure,
    };
    let failed = status(
        &ReplicaSetStatus::default(),
        seen(Some(("FailedCreate", "quota".into()))),
        now(),
    );
    assert_eq!(
        (
            failed.replicas,
            failed.fully_labeled_replicas,
            failed.ready_replicas,
            failed.available_replicas
        ),
        (2, Some(1), Some(1), None)
    );
    assert_eq!(
        (failed.terminating_replicas, failed.observed_generation),
        (Some(1), Some(4))
    );
    let condition = &failed.conditions.as_ref().unwrap()[0];
    assert_eq!(
        (condition.type_.as_str(), condition.reason.as_deref()),
        ("ReplicaFailure", Some("FailedCreate"))
    );
    assert_eq!(status(&failed, seen(None), now()).conditions, None);
}
