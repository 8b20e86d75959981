use serde_json::{Value, json};
use std::sync::Arc;

use super::*;

fn service(spec: Value) -> Service {
    serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec}))
        .unwrap()
}

fn slice(ports: Value, endpoints: Value) -> Arc<EndpointSlice> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
        }))
        .unwrap(),
    )
}

fn endpoint(ip: &str, node: &str, conditions: Value) -> Value {
    json!({"addresses": [ip], "nodeName": node, "conditions": conditions})
}

fn texts(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn ports_take_endpoints_by_name_and_protocol() {
    let service = service(
        json!({"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5", "fd00::5"], "ports": [
            {"name": "web", "port": 80, "targetPort": 8080, "nodePort": 30080},
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "none", "port": 99},
        ]}),
    );
    let slices = [
        slice(
            json!([{"name": "web", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 5353, "protocol": "UDP"}]),
            json!([
                endpoint("10.244.1.2", "a", json!({})),
                endpoint("10.244.2.2", "b", json!({"ready": true}))
            ]),
        ),
        slice(
            json!([{"name": "web", "port": 9090, "protocol": "TCP"}]),
            json!([endpoint("10.244.1.9", "a", json!({}))]),
        ),
    ];
    let view = view(&service, &slices, "a").unwrap();
    assert_eq!(view.cluster_ips, [IpAddr::from([10, 96, 0, 5])]);
    let [web, dns, none] = &view.ports[..] else {
        panic!()
    };
    assert_eq!(
        texts(&web.endpoints),
        ["10.244.1.2:8080", "10.244.1.9:9090", "10.244.2.2:8080"]
    );
    assert_eq!(
        texts(&web.local_endpoints),
        ["10.244.1.2:8080", "10.244.1.9:9090"]
    );
    assert_eq!((web.protocol, web.port, web.node_port), (6, 80, Some(30080)));
    assert_eq!((dns.protocol, texts(&dns.endpoints).len()), (17, 2));
    assert!(none.endpoints.is_empty());
}

#[test]
fn endpoints_on_their_way_out_serve_only_when_nobody_else_does() {
    let service = service(json!({"clusterIP": "10.96.0.5", "ports": [{"port": 80}]}));
    let dying = json!({"ready": false, "serving": true, "terminating": true});
    let dead = json!({"ready": false, "serving": false, "terminating": true});
    let starting = json!({"ready": false, "serving": false});
    let port = json!([{"port": 80}]);
    for (endpoints, all, local) in [
        (
            json!([
                endpoint("10.0.0.1", "a", dying.clone()),
                endpoint("10.0.0.2", "b", json!({"ready": true}))
            ]),
            vec!["10.0.0.2:80"],
            vec!["10.0.0.1:80"],
        ),
        (
            json!([
                endpoint("10.0.0.1", "a", dying.clone()),
                endpoint("10.0.0.2", "a", dead)
            ]),
            vec!["10.0.0.1:80"],
            vec!["10.0.0.1:80"],
        ),
        (json!([endpoint("10.0.0.1", "a", starting)]), vec![], vec![]),
    ] {
        let view = view(&service, &[slice(port.clone(), endpoints)], "a").unwrap();
        assert_eq!(
            (
                texts(&view.ports[0].endpoints),
                texts(&view.ports[0].local_endpoints)
            ),
            (
                all.iter().map(ToString::to_string).collect(),
                local.iter().map(ToString::to_string).collect()
            )
        );
    }
}

#[test]
fn services_that_are_not_ours() {
    let none: [Arc<EndpointSlice>; 0] = [];
    for spec in [
        json!({"clusterIP": "None"}),
        json!({"clusterIP": ""}),
        json!({"type": "ExternalName", "externalName": "example.com"}),
        json!({"clusterIP": "fd00::5"}),
    ] {
        assert_eq!(view(&service(spec.clone()), &none, "a"), None, "{spec}");
    }
    let mut other = service(json!({"clusterIP": "10.96.0.5"}));
    other.metadata.labels = Some([(PROXY_NAME.to_owned(), "x".to_owned())].into());
    assert_eq!(view(&other, &none, "a"), None);
}

#[test]
fn policies_affinity_and_outside_addresses() {
    let mut service = service(
        json!({"clusterIP": "10.96.0.5", "type": "LoadBalancer", "externalIPs": ["192.0.2.7", "bad"],
        "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local", "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 30}}, "ports": [{"port": 80}]}),
    );
    service.status = serde_json::from_value(json!({"loadBalancer": {"ingress": [
        {"ip": "192.0.2.1"}, {"ip": "192.0.2.2", "ipMode": "Proxy"}, {"hostname": "x"}]}}))
    .unwrap();
    let none: [Arc<EndpointSlice>; 0] = [];
    let seen = view(&service, &none, "a").unwrap();
    assert!(seen.internal_local && seen.external_local);
    assert_eq!((seen.affinity, seen.external_ips.len()), (Some(30), 2));
    assert!(seen.guarded_ips.is_empty(), "no ranges, no guard");
    let ranges = ["10.0.0.0/8", " 192.0.2.9/24 ", "10.1.0.0/16", "fd00::/8"].map(String::from);
    service.spec.as_mut().unwrap().load_balancer_source_ranges = Some(ranges.into());
    let guarded = view(&service, &none, "a").unwrap();
    assert_eq!(guarded.guarded_ips, [IpAddr::from([192, 0, 2, 1])]);
    let ranges: Vec<String> = guarded.source_ranges.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, ["10.0.0.0/8", "192.0.2.0/24"]);
    service.spec.as_mut().unwrap().session_affinity_config = None;
    assert_eq!(view(&service, &none, "a").unwrap().affinity, Some(10_800));
    service.spec.as_mut().unwrap().type_ = Some("NodePort".into());
    assert_eq!(
        view(&service, &none, "a").unwrap().external_ips,
        [IpAddr::from([192, 0, 2, 7])]
    );
}
