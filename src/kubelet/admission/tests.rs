use serde_json::json;

use super::*;

fn pod(cpu: &str) -> Pod {
    serde_json::from_value(
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}),
    )
    .expect("a pod")
}

#[test]
fn a_full_node_refuses() {
    let (a, b) = (pod("1"), pod("500m"));
    assert!(fits(&a, &[&b], (1500, 1 << 30, 110)).is_ok());
    let refused = fits(&a, &[&b], (1400, 1 << 30, 110)).unwrap_err();
    assert_eq!(refused.reason, "OutOfcpu");
    assert_eq!(
        refused.message,
        "Node didn't have enough resource: cpu, requested: 1000, used: 500, capacity: 1400"
    );
    assert_eq!(
        fits(&a, &[&b], (9000, 1 << 30, 1)).unwrap_err().reason,
        "OutOfpods"
    );
}
