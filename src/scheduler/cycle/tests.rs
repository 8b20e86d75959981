use serde_json::json;

use crate::{
    cycle::{Failure, enough},
    plugins::{Plugin, Reject},
    testing::{choose, cluster, place, pod, requesting, zone},
};

#[test]
fn messages_are_upstreams() {
    let taint = json!({ "spec": { "taints": [{ "key": "k", "value": "v", "effect": "NoSchedule" }] } });
    let small = json!({ "status": { "allocatable": { "cpu": "1" } } });
    let mut cluster = cluster(&[("a", taint.clone()), ("b", taint), ("c", small)], &[]);
    let failure = choose(&mut cluster, &requesting("p", "2", "1Gi", json!({}))).expect_err("no node");
    assert_eq!(
        failure.message(),
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {k: v}."
    );
    let plugins = failure.plugins();
    assert!(plugins.contains(Plugin::NodeResourcesFit) && plugins.contains(Plugin::TaintToleration));
    assert!(!plugins.contains(Plugin::NodeAffinity));
}

#[test]
fn without_nodes_there_is_a_message_of_its_own() {
    let failure = choose(&mut cluster(&[], &[]), &pod("p", json!({}))).expect_err("no node");
    assert_eq!(failure.message(), "no nodes available to schedule pods");
}

#[test]
fn nodes_that_were_not_looked_at_are_counted_too() {
    let reject = Reject::unresolvable(
        Plugin::NodeResourcesFit,
        "No preemption victims found for incoming pod",
    );
    let failure = Failure {
        nodes: 3,
        rejects: vec![(0, reject)],
        absent: Some("Preemption is not helpful for scheduling"),
        ..Failure::default()
    };
    assert_eq!(
        failure.message(),
        "0/3 nodes are available: 1 No preemption victims found for incoming pod, \
         2 Preemption is not helpful for scheduling."
    );
}

#[test]
fn large_clusters_are_not_searched_to_the_end() {
    for (nodes, expected) in [
        (1, 1),
        (99, 99),
        (100, 100),
        (200, 100),
        (1000, 420),
        (5000, 500),
        (20_000, 1000),
    ] {
        assert_eq!(enough(nodes), expected, "{nodes} nodes");
    }
}

#[test]
fn pods_are_placed_until_nothing_fits() {
    let mut cluster = cluster(&[("a", json!({})), ("b", json!({}))], &[]);
    let mut placed = std::collections::BTreeMap::<String, usize>::new();
    let failure = loop {
        let count = placed.values().sum::<usize>();
        match place(
            &mut cluster,
            &requesting(&format!("p{count}"), "1", "1Gi", json!({})),
        ) {
            Ok(node) => *placed.entry(node).or_default() += 1,
            Err(failure) => break failure,
        }
    };
    assert_eq!(placed.into_values().collect::<Vec<_>>(), [4, 4]);
    assert_eq!(failure.message(), "0/2 nodes are available: 2 Insufficient cpu.");
}

#[test]
fn a_nominated_node_comes_first_and_stays_free_for_its_pod() {
    let mut cluster = cluster(&[("a", json!({})), ("b", json!({}))], &[]);
    let status = json!({ "spec": { "priority": 10 }, "status": { "nominatedNodeName": "b" } });
    let nominated = requesting("high", "3", "1Gi", status);
    cluster.nominate(&nominated, Some("b"));
    for n in 0..3 {
        let low = requesting(&format!("low{n}"), "2", "1Gi", json!({}));
        match place(&mut cluster, &low) {
            Ok(node) => assert_eq!(node, "a"),
            Err(failure) => assert_eq!(
                (n, failure.message().as_str()),
                (2, "0/2 nodes are available: 2 Insufficient cpu.")
            ),
        }
    }
    assert_eq!(place(&mut cluster, &nominated).expect("kept free"), "b");
}

#[test]
fn zones_take_turns() {
    let nodes = [
        ("a1", zone("a")),
        ("a2", zone("a")),
        ("a3", zone("a")),
        ("b1", zone("b")),
        ("c1", zone("c")),
    ];
    let mut cluster = cluster(&nodes, &[]);
    let order = cluster.order().to_vec();
    let names: Vec<_> = order.iter().map(|slot| &*cluster.node(*slot).name).collect();
    assert_eq!(names, ["a1", "b1", "c1", "a2", "a3"]);
    cluster.remove_node("b1");
    assert_eq!(cluster.order().len(), 4);
}

#[test]
fn assumed_pods_count_until_they_are_taken_back_or_confirmed() {
    let mut cluster = cluster(&[("a", json!({}))], &[]);
    let big = requesting("big", "3", "1Gi", json!({}));
    let other = requesting("other", "2", "1Gi", json!({}));
    assert_eq!(place(&mut cluster, &big).expect("empty"), "a");
    assert!(cluster.is_assumed(&big.uid) && choose(&mut cluster, &other).is_err());
    cluster.remove_pod(&big.uid);
    assert!(choose(&mut cluster, &other).is_ok());
    assert_eq!(place(&mut cluster, &big).expect("empty"), "a");
    cluster.set_pod(crate::testing::on("a", &big));
    assert!(!cluster.is_assumed(&big.uid) && cluster.has_pod(&big.uid));
    assert!(choose(&mut cluster, &other).is_err());
    // A pod whose node is gone keeps counting there when the node comes back.
    cluster.remove_node("a");
    assert_eq!(choose(&mut cluster, &other).expect_err("no node").nodes, 0);
    cluster.set_node(crate::testing::node_object("a", json!({})));
    assert!(choose(&mut cluster, &other).is_err());
}
