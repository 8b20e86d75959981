use serde_json::{Value, json};

use super::*;
use crate::observed::RunState;

fn pod(limit: &str, actual: &str, policy: Value) -> Pod {
    serde_json::from_value(json!({
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"memory": limit}}, "resizePolicy": policy}]},
        "status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "containerID": "containerd://1", "state": {"running": {}}, "resources": {"limits": {"memory": actual}}}]}}))
    .expect("a pod")
}

fn observed() -> Observed {
    let instance = Instance {
        id: "1".into(),
        name: "c".into(),
        sandbox_id: String::new(),
        state: RunState::Running,
        created_at: None,
        started_at: None,
        finished_at: None,
        exit_code: 0,
        reason: String::new(),
        message: String::new(),
        hash: String::new(),
        restart_count: 0,
        image: String::new(),
        image_id: String::new(),
        log_path: String::new(),
    };
    Observed {
        sandboxes: Vec::new(),
        containers: vec![instance],
    }
}

#[test]
fn changes_in_place_unless_the_policy_wants_a_restart() {
    let seen = observed();
    let restart = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    let other = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
    for (limit, actual, policy, in_place, restarts) in [
        ("1Gi", "1Gi", json!([]), 0, false),
        ("2Gi", "1Gi", json!([]), 1, false),
        ("2Gi", "1Gi", other, 1, false),
        ("2Gi", "1Gi", restart, 0, true),
    ] {
        let pod = pod(limit, actual, policy.clone());
        assert_eq!(pending(&pod, &seen).len(), in_place, "{policy}");
        assert_eq!(
            needs_restart(&pod, &pod.spec().containers[0].clone(), &seen.containers[0]),
            restarts,
            "{policy}"
        );
    }
}
