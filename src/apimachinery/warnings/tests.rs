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

#[test]
fn names_that_make_bad_host_names() {
    let of = |group: &str, kind: &str, name: &str| {
        of_new(&Gvk::new(group, "v1", kind), &json!({"metadata": {"name": name}}))
    };
    assert!(of("apps", "Deployment", "web").is_empty());
    assert!(of("", "ConfigMap", "a.b").is_empty());
    assert_eq!(
        of("apps", "Deployment", "a.b"),
        [
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]"
        ]
    );
}

#[test]
fn key_pairs() {
    let of = |certificate: &str, key: &str| {
        let data =
            json!({"tls.crt": BASE64_STANDARD.encode(certificate), "tls.key": BASE64_STANDARD.encode(key)});
        of_object(
            &Gvk::new("", "v1", "Secret"),
            &json!({"type": "kubernetes.io/tls", "data": data}),
        )
    };
    let (certificate, key) = ("-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----");
    assert!(of(certificate, key).is_empty());
    assert_eq!(
        of("v", key),
        ["tls: failed to find any PEM data in certificate input"]
    );
    assert_eq!(
        of(certificate, "v"),
        ["tls: failed to find any PEM data in key input"]
    );
}
