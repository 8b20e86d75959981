use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

#[derive(Default)]
struct Given {
    map: Option<ConfigMap>,
    secret: Option<Secret>,
}

impl Sources for Given {
    fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>> {
        (name == "m").then(|| self.map.clone().map(Arc::new)).flatten()
    }
    fn secret(&self, name: &str) -> Option<Arc<Secret>> {
        (name == "s").then(|| self.secret.clone().map(Arc::new)).flatten()
    }
}

fn given() -> Given {
    Given {
        map: serde_json::from_value(json!({"data": {"k": "v", "other": "w"}})).ok(),
        secret: serde_json::from_value(json!({"data": {"password": "aHVudGVy"}})).ok(),
    }
}

fn env(container: Value) -> Result<Vec<(String, String)>, String> {
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u",
        "labels": {"app": "web"}}, "spec": {"enableServiceLinks": false, "containers": [container]}}))
    .expect("a pod");
    let facts = Facts {
        pod_ips: vec!["10.0.0.1".into()],
        node_name: "node".into(),
        ..Facts::default()
    };
    container_env(&pod, &pod.spec().containers[0].clone(), &[], &given(), &facts)
}

fn get<'a>(env: &'a [(String, String)], name: &str) -> &'a str {
    env.iter().find(|(n, _)| n == name).map_or("(none)", |(_, v)| v)
}

#[test]
fn expansion() {
    let lookup = |name: &str| (name == "A").then(|| "1".to_string());
    for (text, want) in [
        ("$(A)", "1"),
        ("x$(A)y$(A)", "x1y1"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(B)", "$(B)"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("a$", "a$"),
        ("$$", "$"),
        ("$()", "$()"),
    ] {
        assert_eq!(expand(text, &lookup), want, "{text}");
    }
}

#[test]
fn values_and_references() {
    let found = env(
        json!({"name": "c", "image": "i", "resources": {"limits": {"cpu": "2"}}, "env": [
        {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(C)"}, {"name": "C", "value": "late"},
        {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
        {"name": "MAYBE", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y", "optional": true}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}),
    )
    .expect("an environment");
    for (name, want) in [
        ("B", "1-$(C)"),
        ("KEY", "v"),
        ("SECRET", "hunter"),
        ("MAYBE", "(none)"),
        ("IP", "10.0.0.1"),
        ("NODE", "node"),
        ("APP", "web"),
        ("CPU", "2"),
    ] {
        assert_eq!(get(&found, name), want, "{name}");
    }
}

#[test]
fn whole_maps_with_prefix() {
    let found = env(
        json!({"name": "c", "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}},
        {"secretRef": {"name": "s"}}, {"secretRef": {"name": "none", "optional": true}}],
        "env": [{"name": "P_k", "value": "own"}]}),
    )
    .expect("an environment");
    assert_eq!(
        (
            get(&found, "P_k"),
            get(&found, "P_other"),
            get(&found, "password")
        ),
        ("own", "w", "hunter")
    );
}

#[test]
fn what_is_missing_is_named() {
    let reference =
        |source: Value| env(json!({"name": "c", "env": [{"name": "A", "valueFrom": source}]})).unwrap_err();
    assert_eq!(
        reference(json!({"configMapKeyRef": {"name": "x", "key": "k"}})),
        "configmap \"x\" not found"
    );
    assert_eq!(
        reference(json!({"configMapKeyRef": {"name": "m", "key": "z"}})),
        "couldn't find key z in ConfigMap n/m"
    );
    assert_eq!(
        reference(json!({"secretKeyRef": {"name": "s", "key": "z"}})),
        "couldn't find key z in Secret n/s"
    );
    assert!(env(json!({"name": "c", "envFrom": [{"configMapRef": {"name": "x"}}]})).is_err());
}

#[test]
fn services() {
    let service = |namespace: &str, name: &str, ports: Value| -> Arc<Service> {
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace},
                "spec": {"clusterIP": "10.96.0.7", "ports": ports}}))
            .expect("a service"),
        )
    };
    let all = [
        service("default", "kubernetes", json!([{"name": "https", "port": 443}])),
        service(
            "n",
            "my-web",
            json!([{"name": "http", "port": 80}, {"port": 53, "protocol": "UDP"}]),
        ),
        service("other", "db", json!([{"port": 5432}])),
    ];
    let env = service_variables(&all, "n", true);
    let has = |name: &str, want: &str| assert_eq!(env.get(name).map(String::as_str), Some(want), "{name}");
    has("KUBERNETES_SERVICE_HOST", "10.96.0.7");
    has("KUBERNETES_SERVICE_PORT_HTTPS", "443");
    has("KUBERNETES_PORT_443_TCP", "tcp://10.96.0.7:443");
    has("MY_WEB_SERVICE_HOST", "10.96.0.7");
    has("MY_WEB_PORT_53_UDP_PROTO", "udp");
    has("MY_WEB_PORT", "tcp://10.96.0.7:80");
    assert!(!env.keys().any(|k| k.starts_with("DB_")));
    assert!(!service_variables(&all, "n", false).contains_key("MY_WEB_SERVICE_HOST"));
}
