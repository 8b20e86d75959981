use serde_json::{Value, json};

use super::plan::{View, plan, status};
use super::*;

fn set(extra: Value) -> DaemonSet {
    let mut object = json!({
        "metadata": {"name": "agent", "namespace": "default"},
        "spec": {"selector": {}, "template": {"spec": {"containers": []}}},
    });
    for (key, value) in extra.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn node(name: &str, taints: Value) -> Arc<Node> {
    let node = json!({"metadata": {"name": name, "labels": {"n": name}}, "spec": {"taints": taints}});
    Arc::new(serde_json::from_value(node).unwrap())
}

/// Node, hash, `+` ready, `-` not ready, `x` failed.
fn pod(name: &str, node: &str, hash: &str, state: char) -> Arc<Pod> {
    let (phase, ready) = match state {
        'x' => ("Failed", "False"),
        '-' => ("Running", "False"),
        _ => ("Running", "True"),
    };
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"controller-revision-hash": hash}},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": phase, "conditions": [
                {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap(),
    )
}

fn work(set: &DaemonSet, nodes: &[Arc<Node>], pods: &[Arc<Pod>]) -> (Vec<String>, Vec<String>) {
    let view = View {
        set,
        nodes,
        pods,
        update: "new",
        now: Timestamp::now(),
    };
    let work = plan(&view);
    let mut deleted: Vec<String> = work.delete.iter().map(|p| p.name_any()).collect();
    deleted.sort();
    (work.create, deleted)
}

fn lists(create: &[&str], delete: &[&str]) -> (Vec<String>, Vec<String>) {
    let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    (own(create), own(delete))
}

#[test]
fn every_fitting_node_has_one() {
    let nodes = [
        node("n1", json!([])),
        node(
            "n2",
            json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]),
        ),
        node("n3", json!([{"key": "k", "effect": "NoSchedule"}])),
        node("n4", json!([{"key": "k", "effect": "NoExecute"}])),
    ];
    let plain = set(json!({}));
    assert_eq!(work(&plain, &nodes, &[]), lists(&["n1", "n2"], &[]));
    let everywhere = [
        pod("a", "n1", "new", '+'),
        pod("c", "n3", "new", '+'),
        pod("d", "n4", "new", '+'),
    ];
    assert_eq!(work(&plain, &nodes, &everywhere), lists(&["n2"], &["d"]));
    let pinned = set(json!({"template": {"spec": {"nodeSelector": {"n": "n1"}, "containers": []}}}));
    assert_eq!(work(&pinned, &nodes, &[]), lists(&["n1"], &[]));
    let failed = [
        pod("a", "n1", "new", 'x'),
        pod("b", "n2", "new", '+'),
        pod("twin", "n2", "new", '-'),
    ];
    assert_eq!(work(&plain, &nodes, &failed), lists(&[], &["a", "twin"]));
}

#[test]
fn updates_keep_within_their_limits() {
    let nodes: Vec<Arc<Node>> = ["n1", "n2", "n3"].iter().map(|n| node(n, json!([]))).collect();
    let old = |states: [char; 3]| -> Vec<Arc<Pod>> {
        let place = |i: usize| format!("n{}", i + 1);
        states
            .iter()
            .enumerate()
            .map(|(i, s)| pod(&format!("p{}", i + 1), &place(i), "old", *s))
            .collect()
    };
    let rolling =
        |rolling: Value| set(json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}));
    let one = rolling(json!({}));
    assert_eq!(work(&one, &nodes, &old(['+', '+', '+'])), lists(&[], &["p1"]));
    assert_eq!(
        work(&one, &nodes, &old(['+', '-', '+'])),
        lists(&[], &["p2"]),
        "the broken one first"
    );
    let two = rolling(json!({"maxUnavailable": 2}));
    assert_eq!(
        work(&two, &nodes, &old(['+', '+', '+'])),
        lists(&[], &["p1", "p2"])
    );
    let on_delete = set(json!({"updateStrategy": {"type": "OnDelete"}}));
    assert_eq!(work(&on_delete, &nodes, &old(['+', '+', '+'])), lists(&[], &[]));

    let surge = rolling(json!({"maxSurge": 1, "maxUnavailable": 0}));
    let mut pods = old(['+', '+', '+']);
    assert_eq!(work(&surge, &nodes, &pods), lists(&["n1"], &[]));
    pods.push(pod("q1", "n1", "new", '-'));
    assert_eq!(
        work(&surge, &nodes, &pods),
        lists(&[], &[]),
        "both until the new one is available"
    );
    pods.pop();
    pods.push(pod("q1", "n1", "new", '+'));
    assert_eq!(work(&surge, &nodes, &pods), lists(&[], &["p1"]));
}

#[test]
fn status_counts_by_node() {
    let nodes = [
        node("n1", json!([])),
        node("n2", json!([])),
        node("n3", json!([{"key": "k", "effect": "NoSchedule"}])),
    ];
    let pods = [
        pod("a", "n1", "new", '+'),
        pod("b", "n2", "old", '-'),
        pod("c", "n3", "old", '+'),
    ];
    let set = set(json!({}));
    let status = status(&View {
        set: &set,
        nodes: &nodes,
        pods: &pods,
        update: "new",
        now: Timestamp::now(),
    });
    let counts = (
        status.desired_number_scheduled,
        status.current_number_scheduled,
        status.number_misscheduled,
    );
    assert_eq!(counts, (2, 2, 1));
    assert_eq!(
        (
            status.number_ready,
            status.number_available,
            status.number_unavailable
        ),
        (1, Some(1), Some(1))
    );
    assert_eq!(status.updated_number_scheduled, Some(1));
}

#[test]
fn pods_are_bound_by_affinity_to_their_node() {
    let mut pod = Pod::default();
    fit::bind(&mut pod, "n7");
    assert_eq!(fit::target_node(&pod).as_deref(), Some("n7"));
    let mut with_terms: Pod =
        serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [], "affinity": {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}}}}))
        .unwrap();
    fit::bind(&mut with_terms, "n7");
    assert_eq!(fit::target_node(&with_terms).as_deref(), Some("n7"));
}
