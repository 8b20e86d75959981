use std::net::TcpListener;

use serde_json::{Value, json};

use super::*;

fn pod(labels: Value, containers: Value) -> Pod {
    let pod =
        json!({"metadata": {"namespace": "default", "labels": labels}, "spec": {"containers": containers}});
    serde_json::from_value(pod).expect("a pod")
}

fn service(namespace: &str, selector: Value, ports: Value) -> Arc<Service> {
    let service =
        json!({"metadata": {"namespace": namespace}, "spec": {"selector": selector, "ports": ports}});
    Arc::new(serde_json::from_value(service).expect("a service"))
}

#[test]
fn ports_are_those_that_services_lead_to() {
    let containers = json!([
        {"name": "web", "ports": [{"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]},
    ]);
    let pod = pod(json!({"app": "web", "tier": "front"}), containers);
    let cases = [
        (
            "same number",
            service("default", json!({"app": "web"}), json!([{"port": 80}])),
            vec![80],
        ),
        (
            "by number",
            service(
                "default",
                json!({"app": "web"}),
                json!([{"port": 80, "targetPort": 81}]),
            ),
            vec![81],
        ),
        (
            "by name",
            service(
                "default",
                json!({"app": "web"}),
                json!([{"port": 80, "targetPort": "http"}]),
            ),
            vec![8080],
        ),
        (
            "unknown name",
            service(
                "default",
                json!({"app": "web"}),
                json!([{"port": 80, "targetPort": "x"}]),
            ),
            vec![],
        ),
        (
            "UDP",
            service(
                "default",
                json!({"app": "web"}),
                json!([{"port": 53, "protocol": "UDP"}]),
            ),
            vec![],
        ),
        (
            "other label",
            service("default", json!({"app": "db"}), json!([{"port": 80}])),
            vec![],
        ),
        (
            "other namespace",
            service("kube-system", json!({"app": "web"}), json!([{"port": 80}])),
            vec![],
        ),
        (
            "no selector",
            service("default", json!({}), json!([{"port": 80}])),
            vec![],
        ),
    ];
    for (name, service, expected) in &cases {
        assert_eq!(ports(&pod, std::slice::from_ref(service)), *expected, "{name}");
    }
    let all: Vec<Arc<Service>> = cases.iter().map(|(_, service, _)| service.clone()).collect();
    assert_eq!(ports(&pod, &all), [80, 81, 8080]);
    assert!(serves(&pod, &all[4..5]), "a UDP service is served too");
    assert!(!serves(&pod, &all[5..]));
}

#[test]
fn the_table_tells_who_listens() {
    let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
                 \x20  0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n\
                 \x20  1: 0100007F:1F90 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0\n";
    assert_eq!(parse(table), [0x50]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let open = listening(std::process::id()).expect("this process");
    assert!(open.contains(&port), "{port} in {open:?}");
}
