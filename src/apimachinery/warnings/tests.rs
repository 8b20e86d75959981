use serde_json::json;

use super::*;

fn of(group: &str, kind: &str, o: Value) -> Vec<String> {
    of_object(&Gvk::new(group, "v1", kind), &o)
}

#[test]
fn pods() {
    let spec = json!({
        "nodeSelector": {"beta.kubernetes.io/os": "linux"},
        "volumes": [{"name": "v", "gitRepo": {}}],
        "containers": [{
            "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "A", "value": "$(A)3"}],
            "ports": [{"containerPort": 80, "protocol": "TCP", "name": "x"}, {"containerPort": 80, "protocol": "TCP", "name": "y"},
                {"containerPort": 80, "protocol": "UDP", "name": "x"}],
            "resources": {"requests": {"memory": "100m", "cpu": "100m"}},
        }],
    });
    let want = |path: &str| {
        [
            format!(
                "{path}.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead"
            ),
            format!("{path}.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+"),
            format!(
                "{path}.containers[0].resources.requests[memory]: fractional byte value \"100m\" is invalid, must be an integer"
            ),
            format!(
                "{path}.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply"
            ),
            format!(
                "{path}.containers[0].ports[1]: duplicate port definition with {path}.containers[0].ports[0]"
            ),
            format!(
                "{path}.containers[0].ports[2].name: duplicate port name \"x\" with {path}.containers[0].ports[0], services and probes that select ports by name will use {path}.containers[0].ports[0]"
            ),
        ]
    };
    assert_eq!(of("", "Pod", json!({"spec": spec})), want("spec"));
    assert_eq!(
        of(
            "apps",
            "Deployment",
            json!({"spec": {"template": {"spec": spec}}})
        ),
        want("spec.template.spec")
    );
}

#[test]
fn other_kinds() {
    assert_eq!(
        of(
            "",
            "Service",
            json!({"spec": {"type": "ClusterIP", "clusterIP": "None", "sessionAffinity": "ClientIP"}})
        ),
        ["spec.SessionAffinity is ignored for headless services"]
    );
    assert_eq!(
        of(
            "",
            "ConfigMap",
            json!({"metadata": {"finalizers": ["mine", "a/b"]}})
        )
        .len(),
        1
    );
    assert!(deprecated(&Gvk::new("", "v1", "Endpoints")).is_some());
    assert!(deprecated(&Gvk::new("", "v1", "Pod")).is_none());
    assert!(of("", "Pod", json!({"spec": {"containers": [{"name": "a"}]}})).is_empty());
}
