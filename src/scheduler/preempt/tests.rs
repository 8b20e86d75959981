use std::sync::Arc;

use rand::{SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};

use super::preempt;
use crate::{
    cluster::Cluster,
    cycle::{Chooser, Cycle},
    pod::PodInfo,
    testing::{cluster, requesting},
};

fn prioritised(name: &str, cpu: &str, priority: i32, over: Value) -> Arc<PodInfo> {
    let mut over = over;
    over["spec"]["priority"] = json!(priority);
    requesting(name, cpu, "1Gi", over)
}

/// The node to be cleared and the victims, or why none.
fn run(cluster: &mut Cluster, pod: &Arc<PodInfo>) -> Result<(String, Vec<String>), String> {
    let cycle = Cycle::new(pod.clone(), cluster).expect("valid");
    let failure = Chooser::new(SmallRng::seed_from_u64(1))
        .choose(&cycle, cluster)
        .expect_err("finds no node");
    preempt(&cycle, &failure, cluster).map(|victims| {
        let names = victims
            .pods
            .iter()
            .map(|pod| pod.pod.metadata.name.clone().unwrap_or_default());
        (cluster.node(victims.slot).name.to_string(), names.collect())
    })
}

fn full() -> Cluster {
    cluster(
        &[("a", json!({})), ("b", json!({})), ("c", json!({}))],
        &[
            ("a", prioritised("a-low", "2", 1, json!({}))),
            ("a", prioritised("a-mid", "2", 5, json!({}))),
            ("b", prioritised("b-mid", "4", 5, json!({}))),
            ("c", prioritised("c-high", "4", 100, json!({}))),
        ],
    )
}

#[test]
fn the_least_important_pods_go_and_no_more_than_needed() {
    let high = |cpu| prioritised("high", cpu, 10, json!({}));
    assert_eq!(
        run(&mut full(), &high("2")),
        Ok(("a".into(), vec!["a-low".into()]))
    );
    // Of equal highest victims the node whose sum is lower: one pod rather than two.
    assert_eq!(
        run(&mut full(), &high("4")),
        Ok(("b".into(), vec!["b-mid".into()]))
    );
}

#[test]
fn reasons_are_upstreams() {
    assert_eq!(
        run(&mut full(), &prioritised("low", "2", 1, json!({}))),
        Err("0/3 nodes are available: 3 No preemption victims found for incoming pod.".into())
    );
    let mut tainted = full();
    let taint = json!({ "spec": { "taints": [{ "key": "k", "effect": "NoSchedule" }] } });
    tainted.set_node(crate::testing::node_object("c", taint));
    assert_eq!(
        run(&mut tainted, &prioritised("low", "2", 1, json!({}))),
        Err(
            "0/3 nodes are available: 1 Preemption is not helpful for scheduling, \
             2 No preemption victims found for incoming pod."
                .into()
        )
    );
    // More than any node has: no eviction helps.
    assert_eq!(
        run(&mut full(), &prioritised("huge", "5", 1000, json!({}))),
        Err("0/3 nodes are available: 3 Preemption is not helpful for scheduling.".into())
    );
    let never = prioritised(
        "high",
        "2",
        10,
        json!({ "spec": { "preemptionPolicy": "Never" } }),
    );
    assert_eq!(
        run(&mut full(), &never),
        Err("not eligible due to preemptionPolicy=Never.".into())
    );
}

#[test]
fn budgets_are_broken_last() {
    let labelled = json!({ "metadata": { "labels": { "app": "kept" } } });
    let mut cluster = cluster(
        &[("a", json!({})), ("b", json!({}))],
        &[
            ("a", prioritised("a-kept", "4", 1, labelled)),
            ("b", prioritised("b-free", "4", 5, json!({}))),
        ],
    );
    let high = prioritised("high", "4", 10, json!({}));
    assert_eq!(run(&mut cluster, &high), Ok(("a".into(), vec!["a-kept".into()])));
    let budget = |allowed: i32| {
        let object = json!({
            "spec": { "selector": { "matchLabels": { "app": "kept" } } },
            "status": { "disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1 },
        });
        Arc::new(serde_json::from_value(object).expect("budget"))
    };
    cluster
        .budgets
        .insert(("default".into(), "kept".into()), budget(0));
    assert_eq!(run(&mut cluster, &high), Ok(("b".into(), vec!["b-free".into()])));
    cluster
        .budgets
        .insert(("default".into(), "kept".into()), budget(1));
    assert_eq!(run(&mut cluster, &high), Ok(("a".into(), vec!["a-kept".into()])));
}

#[test]
fn who_evicted_waits_for_it_to_happen() {
    let going = json!({
        "metadata": { "deletionTimestamp": "2024-01-01T00:00:00Z" },
        "status": { "conditions": [
            { "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler" }
        ] },
    });
    let mut cluster = cluster(
        &[("a", json!({}))],
        &[("a", prioritised("victim", "4", 1, going))],
    );
    let high = prioritised("high", "4", 10, json!({ "status": { "nominatedNodeName": "a" } }));
    cluster.nominate(&high, Some("a"));
    assert_eq!(
        run(&mut cluster, &high),
        Err("not eligible due to a terminating pod on the nominated node.".into())
    );
}

#[test]
fn evicting_makes_room_for_affinity_and_spreading_too() {
    let refusing = json!({ "spec": { "affinity": { "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            { "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": "high" } } }
        ]
    } } } });
    let mut refused = cluster(
        &[("a", json!({}))],
        &[("a", prioritised("low", "1", 1, refusing))],
    );
    let high = prioritised(
        "high",
        "1",
        10,
        json!({ "metadata": { "labels": { "app": "high" } } }),
    );
    assert_eq!(run(&mut refused, &high), Ok(("a".into(), vec!["low".into()])));

    let spread = json!({
        "metadata": { "labels": { "app": "high" } },
        "spec": { "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": { "matchLabels": { "app": "high" } },
        }] },
    });
    let labelled = json!({ "metadata": { "labels": { "app": "high" } } });
    let mut uneven = cluster(
        &[("a", json!({})), ("b", json!({}))],
        &[
            ("a", prioritised("low", "1", 1, labelled)),
            ("b", prioritised("other", "4", 100, json!({}))),
        ],
    );
    assert_eq!(
        run(&mut uneven, &prioritised("high", "1", 10, spread)),
        Ok(("a".into(), vec!["low".into()]))
    );
}
