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

fn of(spec: serde_json::Value) -> Pod {
    let mut spec = spec;
    if spec["containers"].is_null() {
        spec["containers"] = json!([]);
    }
    serde_json::from_value(json!({"spec": spec})).expect("a pod")
}

#[test]
fn selectors_and_affinity() {
    let labels = BTreeMap::from([
        ("disk".to_string(), "ssd".to_string()),
        ("cores".to_string(), "8".to_string()),
    ]);
    let affine = |term: serde_json::Value| {
        of(
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}}),
        )
    };
    let expression = |key: &str, operator: &str, values: serde_json::Value| {
        affine(json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}))
    };
    for (pod, want) in [
        (of(json!({})), true),
        (of(json!({"nodeSelector": {"disk": "ssd"}})), true),
        (of(json!({"nodeSelector": {"disk": "hdd"}})), false),
        (expression("disk", "In", json!(["ssd", "x"])), true),
        (expression("disk", "NotIn", json!(["ssd"])), false),
        (expression("none", "NotIn", json!(["ssd"])), true),
        (expression("none", "DoesNotExist", json!([])), true),
        (expression("cores", "Gt", json!(["4"])), true),
        (expression("cores", "Lt", json!(["4"])), false),
        (
            affine(json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]})),
            true,
        ),
        (
            affine(json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]})),
            false,
        ),
        (affine(json!({})), false),
    ] {
        assert_eq!(fits_node(&pod, "n1", &labels), want, "{:?}", pod.spec);
    }
}

#[test]
fn host_ports_clash() {
    let with = |port: i32, ip: &str, protocol: &str| {
        of(
            json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": port, "hostIP": ip, "protocol": protocol}]}]}),
        )
    };
    let taken = with(80, "", "TCP");
    assert!(has_port_conflict(&with(80, "127.0.0.1", "TCP"), &[&taken]));
    assert!(!has_port_conflict(&with(80, "", "UDP"), &[&taken]));
    assert!(!has_port_conflict(&with(81, "", "TCP"), &[&taken]));
    let local = with(80, "127.0.0.1", "TCP");
    assert!(!has_port_conflict(&with(80, "127.0.0.2", "TCP"), &[&local]));
    assert!(!has_port_conflict(&of(json!({})), &[&taken]));
}

#[test]
fn only_safe_sysctls() {
    let with = |name: &str, host: bool| {
        forbidden_sysctl(&of(
            json!({"hostNetwork": host, "securityContext": {"sysctls": [{"name": name, "value": "1"}]}}),
        ))
    };
    assert_eq!(with("kernel.shm_rmid_forced", false), None);
    assert_eq!(with("net/ipv4/tcp_syncookies", false), None);
    assert_eq!(
        with("net.ipv4.tcp_syncookies", true),
        Some("net.ipv4.tcp_syncookies".into())
    );
    assert_eq!(with("kernel.msgmax", false), Some("kernel.msgmax".into()));
    assert_eq!(forbidden_sysctl(&of(json!({}))), None);
}
