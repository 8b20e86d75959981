use super::*;
use serde_json::json;

fn node(name: &str, range: Option<&str>, address: Option<&str>) -> Node {
    let addresses: Vec<_> = address
        .map(|ip| json!({"type": "InternalIP", "address": ip}))
        .into_iter()
        .collect();
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"podCIDR": range, "podCIDRs": range.map(|range| vec![range])},
        "status": {"addresses": addresses},
    }))
    .expect("a Node")
}

#[test]
fn a_route_per_other_node_that_has_range_and_address() {
    let nodes = [
        node("a", Some("10.244.0.0/24"), Some("172.18.0.2")),
        node("c", Some("10.244.2.0/24"), Some("172.18.0.4")),
        node("b", Some("10.244.1.0/24"), Some("172.18.0.3")),
        node("no-range", None, Some("172.18.0.5")),
        node("no-address", Some("10.244.4.0/24"), None),
        node("other-family", Some("fd00::/64"), Some("172.18.0.6")),
    ];
    let plan = plan("a", nodes.iter());
    assert_eq!(plan.own, ["10.244.0.0/24".parse::<IpNet>().unwrap()]);
    let others: Vec<String> = plan
        .others
        .iter()
        .map(|(range, via)| format!("{range} via {via}"))
        .collect();
    assert_eq!(
        others,
        ["10.244.1.0/24 via 172.18.0.3", "10.244.2.0/24 via 172.18.0.4"]
    );
}

#[test]
fn a_node_without_a_range_yet_has_no_plan_of_its_own() {
    assert_eq!(plan("a", [node("a", None, None)].iter()), Plan::default());
}
