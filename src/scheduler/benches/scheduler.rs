//! What placing one pod costs in a cluster of 5,000 nodes: `cargo bench -p rkind-scheduler`.

use std::sync::Arc;

use divan::{Bencher, counter::ItemsCount};
use k8s_openapi::api::core::v1::{Node, Pod};
use rand::{SeedableRng as _, rngs::SmallRng};
use rkind_scheduler::{
    cluster::Cluster,
    cycle::{Chooser, Cycle},
    pod::PodInfo,
};
use serde_json::{Value, json};

fn main() {
    divan::main();
}

const NODES: usize = 5000;
/// Pods that are there already.
const PODS: usize = 50_000;

fn pod(name: &str, kind: &str) -> Arc<PodInfo> {
    let rule = match kind {
        "anti-affinity" => json!({ "affinity": { "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": kind } } }]
        } } }),
        "affinity" => json!({ "affinity": { "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "topologyKey": "topology.kubernetes.io/zone", "labelSelector": { "matchLabels": { "app": kind } } }]
        } } }),
        "hard spread" => json!({ "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": { "matchLabels": { "app": kind } } }] }),
        _ => json!({}),
    };
    let owner = match kind {
        "plain" => json!([]),
        _ => {
            json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": kind, "uid": kind, "controller": true }])
        }
    };
    let mut object = json!({
        "metadata": { "name": name, "namespace": "default", "uid": name, "labels": { "app": kind },
            "ownerReferences": owner },
        "spec": { "containers": [{ "name": "c", "image": "web:1",
            "resources": { "requests": { "cpu": "10m", "memory": "16Mi" } } }] },
    });
    let spec = object["spec"].as_object_mut().expect("object");
    spec.extend(rule.as_object().expect("object").clone());
    let pod: Pod = serde_json::from_value(object).expect("a pod");
    Arc::new(PodInfo::new(Arc::new(pod)))
}

fn node(number: usize, taints: &Value) -> Arc<Node> {
    let name = format!("node-{number:05}");
    let labels = json!({ "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
        "topology.kubernetes.io/zone": format!("zone-{}", number % 3), "node.kubernetes.io/instance-type": "x" });
    let object = json!({
        "metadata": { "name": name, "labels": labels },
        "spec": { "taints": taints },
        "status": { "allocatable": { "cpu": "32", "memory": "256Gi", "pods": "250" },
            "images": [{ "names": ["web:1"], "sizeBytes": 50_000_000 }] },
    });
    Arc::new(serde_json::from_value(object).expect("a node"))
}

fn cluster(taints: Value) -> Cluster {
    let mut cluster = Cluster::default();
    for number in 0..NODES {
        cluster.set_node(node(number, &taints));
    }
    for number in 0..PODS {
        let pod = pod(
            &format!("old-{number}"),
            if number % 2 == 0 { "plain" } else { "other" },
        );
        cluster.assume(pod, &format!("node-{:05}", number % NODES));
    }
    cluster
}

/// One item is one pod that found its node and counts there.
#[divan::bench(args = ["plain", "replicas", "affinity", "anti-affinity", "hard spread"], sample_count = 20, sample_size = 1)]
fn place(bencher: Bencher<'_, '_>, kind: &str) {
    const BATCH: usize = 200;
    let mut cluster = cluster(json!([]));
    let mut chooser = Chooser::new(SmallRng::seed_from_u64(1));
    let mut next = 0;
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| {
            next += 1;
            (0..BATCH)
                .map(|n| pod(&format!("new-{next}-{n}"), kind))
                .collect::<Vec<_>>()
        })
        .bench_local_values(|pods| {
            for pod in pods {
                let cycle = Cycle::new(pod.clone(), &mut cluster).expect("valid");
                let slot = chooser.choose(&cycle, &mut cluster).expect("room");
                let node = cluster.node(slot).name.clone();
                drop(cycle);
                cluster.assume(pod, &node);
            }
        });
}

/// A pod that no node takes: all are looked at, and the message is made.
#[divan::bench(sample_count = 20, sample_size = 5)]
fn find_none(bencher: Bencher<'_, '_>) {
    let mut cluster = cluster(json!([{ "key": "k", "value": "v", "effect": "NoSchedule" }]));
    let mut chooser = Chooser::new(SmallRng::seed_from_u64(1));
    let pod = pod("p", "replicas");
    bencher.bench_local(|| {
        let cycle = Cycle::new(pod.clone(), &mut cluster).expect("valid");
        chooser
            .choose(&cycle, &mut cluster)
            .expect_err("all are tainted")
            .message()
    });
}
