use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use rkind_sys::nft::{Firewall, Recording};
use serde_json::{Value, json};

use super::*;
use crate::view::view;

pub(crate) fn options() -> Options {
    Options {
        node_name: "node-a".into(),
        node_ip: "172.18.0.2".parse().unwrap(),
        pod_subnet: "10.244.0.0/16".parse().unwrap(),
        service_subnet: "10.96.0.0/16".parse().unwrap(),
        node_port_range: (30000, 32767),
        dns_ip: Some("10.96.0.10".parse().unwrap()),
    }
}

/// A Service's view; endpoints are "ip" on node-a or "ip@other".
pub(crate) fn seen(spec: Value, endpoints: &[&str]) -> ServiceView {
    let service: Service = serde_json::from_value(json!({"metadata": {"name": "x"}, "spec": spec})).unwrap();
    let ports: Vec<Value> = service
        .spec
        .as_ref()
        .unwrap()
        .ports
        .iter()
        .flatten()
        .map(
            |p| json!({"name": p.name, "protocol": p.protocol.clone().unwrap_or("TCP".into()), "port": 8080}),
        )
        .collect();
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|text| {
            let (ip, node) = text.split_once('@').unwrap_or((text, "node-a"));
            json!({"addresses": [ip], "nodeName": node})
        })
        .collect();
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": {"name": "x"}, "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
    }))
    .unwrap();
    view(&service, &[Arc::new(slice)], "node-a").unwrap()
}

/// The elements of a transaction, one per line: `+ set key : data`.
fn lines(transaction: &Transaction) -> String {
    transaction
        .elements
        .iter()
        .map(|change| {
            let one = Transaction::elements(&transaction.table, vec![change.clone()]).to_text();
            let (head, tail) = one.split_once(" { ").unwrap();
            let sign = if head.starts_with("add") { '+' } else { '-' };
            format!(
                "{sign} {:17} {}\n",
                head.rsplit(' ').next().unwrap(),
                tail.trim_end().trim_end_matches(" }")
            )
        })
        .collect()
}

#[test]
fn the_whole_table() {
    let mut planner = Planner::new(options());
    planner.set_nodes(&[IpAddr::from([172, 18, 0, 2]), IpAddr::from([172, 18, 0, 3])].into());
    planner.set_service("default", "web", Some(&seen(
        json!({"clusterIP": "10.96.0.5", "externalIPs": ["192.0.2.1"], "ports": [{"port": 80, "nodePort": 30080}]}),
        &["10.244.1.2", "10.244.2.2@node-b"],
    )));
    planner.set_service("default", "sticky", Some(&seen(
        json!({"clusterIP": "10.96.0.6", "sessionAffinity": "ClientIP", "ports": [{"port": 53, "protocol": "UDP"}]}),
        &["10.244.1.3", "10.244.2.3@node-b"],
    )));
    insta::assert_snapshot!(planner.take_everything().to_text());
}

#[test]
fn policies_choose_endpoints_and_what_happens_without() {
    let mut planner = Planner::new(options());
    for (name, spec, endpoints) in [
        (
            "a-empty",
            json!({"clusterIP": "10.96.1.1", "ports": [{"port": 80, "nodePort": 30001}]}),
            &[][..],
        ),
        (
            "b-local-elsewhere",
            json!({"clusterIP": "10.96.1.2", "internalTrafficPolicy": "Local",
            "externalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": 30002}]}),
            &["10.244.2.2@node-b"],
        ),
        (
            "c-local-here",
            json!({"clusterIP": "10.96.1.3", "type": "NodePort",
            "externalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": 30003}]}),
            &["10.244.1.2", "10.244.2.2@node-b"],
        ),
        (
            "d-dns",
            json!({"clusterIP": "10.96.0.10", "ports": [{"port": 53, "protocol": "UDP"}]}),
            &[],
        ),
    ] {
        planner.set_service("default", name, Some(&seen(spec, endpoints)));
    }
    insta::assert_snapshot!(lines(&planner.take_changes()));
}

#[test]
fn an_endpoints_change_touches_only_its_pool() {
    let mut planner = Planner::new(options());
    let web = json!({"clusterIP": "10.96.0.5", "ports": [{"port": 80}]});
    planner.set_service(
        "default",
        "web",
        Some(&seen(web.clone(), &["10.244.1.2", "10.244.2.2@b"])),
    );
    planner.set_service(
        "default",
        "other",
        Some(&seen(
            json!({"clusterIP": "10.96.0.6", "ports": [{"port": 80}]}),
            &["10.244.1.3"],
        )),
    );
    planner.take_everything();
    planner.set_service(
        "default",
        "web",
        Some(&seen(web.clone(), &["10.244.2.2@b", "10.244.2.9@b"])),
    );
    insta::assert_snapshot!(lines(&planner.take_changes()));
    planner.set_service(
        "default",
        "web",
        Some(&seen(web.clone(), &["10.244.2.2@b", "10.244.2.9@b"])),
    );
    assert!(planner.take_changes().is_empty(), "nothing changed");
    let many: Vec<String> = (2..40).map(|i| format!("10.244.2.{i}@b")).collect();
    planner.set_service(
        "default",
        "web",
        Some(&seen(web, &many.iter().map(String::as_str).collect::<Vec<_>>())),
    );
    let grown = planner.take_changes();
    assert!(
        grown.script.starts_with("add chain ip rkind pick-38\n"),
        "{}",
        grown.script
    );
}

#[test]
fn a_key_that_two_claim_passes_on_when_the_first_goes() {
    let mut planner = Planner::new(options());
    let spec = |ip: &str| json!({"clusterIP": ip, "externalIPs": ["192.0.2.1"], "ports": [{"port": 80}]});
    let front = |t: &Transaction| {
        lines(t)
            .lines()
            .filter(|l| l.contains("192.0.2.1"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    planner.set_service("default", "b", Some(&seen(spec("10.96.0.2"), &["10.244.1.2"])));
    assert_eq!(
        front(&planner.take_changes()),
        ["+ fronts            192.0.2.1 . tcp . 80 : 0x40000002"]
    );
    planner.set_service("default", "a", Some(&seen(spec("10.96.0.1"), &["10.244.1.2"])));
    assert_eq!(
        front(&planner.take_changes()),
        [
            "- fronts            192.0.2.1 . tcp . 80",
            "+ fronts            192.0.2.1 . tcp . 80 : 0x40000004"
        ]
    );
    planner.set_service("default", "a", None);
    assert_eq!(
        front(&planner.take_changes()).last().unwrap(),
        "+ fronts            192.0.2.1 . tcp . 80 : 0x40000002"
    );
    planner.set_service("default", "b", None);
    planner.take_changes();
    assert!(planner.take_everything().elements.is_empty());
}

#[test]
fn changes_always_lead_where_everything_leads() {
    let (stepwise, at_once) = (Recording::default(), Recording::default());
    let mut planner = Planner::new(options());
    let mut random = 12345_u32;
    let mut draw = |n: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % n
    };
    for _ in 0..400 {
        let name = format!("s{}", draw(6));
        let endpoints: Vec<String> = (0..draw(5))
            .map(|_| format!("10.244.1.{}", draw(6) + 2))
            .collect();
        let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
        let mut spec = json!({"clusterIP": format!("10.96.0.{}", 20 + &name[1..].parse::<u32>().unwrap()),
            "ports": [{"port": 80, "nodePort": 30000 + draw(3)}]});
        if draw(2) == 0 {
            spec["sessionAffinity"] = "ClientIP".into();
        }
        if draw(2) == 0 {
            spec["externalTrafficPolicy"] = "Local".into();
        }
        let view = (draw(4) > 0).then(|| seen(spec, &endpoints));
        planner.set_service("default", &name, view.as_ref());
        stepwise.commit(&planner.take_changes()).unwrap();
    }
    at_once.commit(&planner.take_everything()).unwrap();
    for set in [
        set::FRONTS,
        set::FRONTS_INSIDE,
        set::NODE_PORTS,
        set::NODE_PORTS_INSIDE,
        set::POOLS,
        set::ENDPOINTS,
        set::SLOTS,
        set::BY_ID,
        set::HAIRPIN,
        set::CLUSTER_IPS,
        set::UNSERVED,
        set::UNSERVED_PORTS,
    ] {
        let table = shape::table();
        assert_eq!(
            stepwise.elements(&table, set).unwrap(),
            at_once.elements(&table, set).unwrap(),
            "{set}"
        );
    }
}

#[test]
fn udp_fronts_report_what_is_gone() {
    let mut planner = Planner::new(options());
    let spec =
        json!({"clusterIP": "10.96.0.6", "ports": [{"port": 53, "protocol": "UDP", "nodePort": 30053}]});
    planner.set_service("default", "dns", Some(&seen(spec, &["10.244.1.3"])));
    let front: SocketAddr = "10.96.0.6:53".parse().unwrap();
    let udp = planner.take_udp().unwrap();
    assert_eq!(
        (udp.addresses[&front].len(), udp.node_ports[&30053].len()),
        (1, 1)
    );
    assert_eq!(planner.take_udp(), None);
    planner.set_service("default", "dns", None);
    assert!(planner.take_udp().unwrap().addresses[&front].is_empty());
    planner.set_service(
        "default",
        "tcp",
        Some(&seen(
            json!({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}),
            &[],
        )),
    );
    assert_eq!(planner.take_udp(), None);
}
