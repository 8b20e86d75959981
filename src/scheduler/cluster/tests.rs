//! What is kept up to date step by step equals what a new table, filled at once, counts.

use std::{collections::BTreeMap, sync::Arc};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use rkind_client::Selector;
use serde_json::{Value, json};

use super::Cluster;
use crate::{
    counts::{Matcher, Places},
    pod::PodInfo,
    testing::{node_object, on, pod},
};

const NODES: usize = 6;
const PODS: usize = 14;
const ZONE: &str = "topology.kubernetes.io/zone";
const RACK: &str = "rack";

/// What ought to be: labels of nodes, and pods with their nodes.
#[derive(Default)]
struct Truth {
    nodes: BTreeMap<String, Value>,
    pods: BTreeMap<String, (String, Arc<PodInfo>)>,
}

impl Truth {
    fn rebuilt(&self) -> Cluster {
        let mut cluster = Cluster::default();
        for (name, over) in &self.nodes {
            cluster.set_node(node_object(name, over.clone()));
        }
        for (node, pod) in self.pods.values() {
            cluster.set_pod(on(node, pod));
        }
        cluster
    }
}

fn random_node(random: &mut SmallRng) -> Value {
    let mut labels = json!({});
    for (key, values) in [(ZONE, 3), (RACK, 4)] {
        if random.random_ratio(4, 5) {
            labels[key] = json!(format!("v{}", random.random_range(0..values)));
        }
    }
    let images: Vec<_> = (0..random.random_range(0..3))
        .map(|n| json!({ "names": [format!("image:{n}")], "sizeBytes": 100 }))
        .collect();
    json!({ "metadata": { "labels": labels }, "status": { "images": images } })
}

fn random_pod(name: &str, random: &mut SmallRng) -> Arc<PodInfo> {
    let app = format!("app{}", random.random_range(0..3));
    let term = |random: &mut SmallRng| {
        json!({ "topologyKey": if random.random() { ZONE } else { RACK },
            "labelSelector": { "matchLabels": { "app": format!("app{}", random.random_range(0..3)) } } })
    };
    let affinity = match random.random_range(0..4) {
        0 => json!({ "podAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term(random)] } }),
        1 => {
            json!({ "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term(random)] } })
        }
        2 => json!({ "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [
            { "weight": 5, "podAffinityTerm": term(random) }] } }),
        _ => Value::Null,
    };
    let deleted = if random.random_ratio(1, 4) {
        json!("2024-01-01T00:00:00Z")
    } else {
        Value::Null
    };
    let owner = json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": app, "uid": app, "controller": true }]);
    let requests = json!({ "requests": { "cpu": format!("{}m", random.random_range(0..500)) } });
    pod(
        name,
        json!({
            "metadata": { "labels": { "app": app }, "deletionTimestamp": deleted, "ownerReferences": owner,
                "namespace": if random.random() { "default" } else { "other" } },
            "spec": { "affinity": affinity, "containers": [{ "name": "c", "resources": requests }] },
        }),
    )
}

fn matchers() -> Vec<Matcher> {
    let mut all = Vec::new();
    for app in 0..3 {
        let labels = BTreeMap::from([("app".to_owned(), format!("app{app}"))]);
        let terms = vec![(vec!["default".into()], Selector::from_map(Some(&labels)))];
        all.push(Matcher {
            terms: terms.clone(),
            owner: None,
            terminating: app == 0,
        });
        all.push(Matcher {
            terms,
            owner: Some(format!("app{app}").into()),
            terminating: true,
        });
    }
    all.push(Matcher {
        terms: vec![(vec!["default".into(), "other".into()], Selector::everything())],
        owner: None,
        terminating: true,
    });
    all
}

/// Only what is not zero: old places may linger without pods.
fn present(places: &Places) -> BTreeMap<String, i64> {
    places
        .iter()
        .filter(|(_, count)| **count != 0)
        .map(|(value, count)| (value.clone(), *count))
        .collect()
}

fn compare(cluster: &mut Cluster, truth: &Truth, step: &str) {
    let mut fresh = truth.rebuilt();
    let names = |cluster: &mut Cluster| {
        let order = cluster.order().to_vec();
        order
            .iter()
            .map(|slot| cluster.node(*slot).name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(cluster), names(&mut fresh), "{step}");
    assert_eq!(cluster.pod_count(), truth.pods.len(), "{step}");
    for name in truth.nodes.keys() {
        let (a, b) = (
            cluster.slot(name).expect("known"),
            fresh.slot(name).expect("known"),
        );
        let sums = |cluster: &Cluster, slot| {
            let node = cluster.node(slot);
            (
                node.requested.cpu,
                node.scored,
                node.pods.len(),
                node.images.clone(),
            )
        };
        assert_eq!(sums(cluster, a), sums(&fresh, b), "{step}: {name}");
        for matcher in matchers() {
            let count = |cluster: &mut Cluster, slot: usize| {
                cluster.count(matcher.clone()).get(slot).copied().unwrap_or(0)
            };
            assert_eq!(
                count(cluster, a),
                count(&mut fresh, b),
                "{step}: {matcher:?} on {name}"
            );
        }
    }
    for key in [ZONE, RACK, "kubernetes.io/hostname"] {
        assert_eq!(
            present(&cluster.places(key)),
            present(&fresh.places(key)),
            "{step}: {key}"
        );
        for matcher in matchers() {
            let (a, b) = (
                cluster.count_places(matcher.clone(), key),
                fresh.count_places(matcher.clone(), key),
            );
            assert_eq!(a, b, "{step}: {matcher:?} by {key}");
        }
    }
    let terms = |cluster: &Cluster| {
        let mut all: Vec<_> = cluster
            .terms()
            .iter()
            .map(|known| {
                format!(
                    "{:?} {:?} {:?}",
                    known.meaning,
                    known.term,
                    present(&known.places)
                )
            })
            .collect();
        all.sort();
        all
    };
    assert_eq!(terms(cluster), terms(&fresh), "{step}");
    for image in 0..3 {
        let image = format!("image:{image}");
        assert_eq!(
            cluster.nodes_with_image(&image),
            fresh.nodes_with_image(&image),
            "{step}: {image}"
        );
    }
}

#[test]
fn counts_equal_a_recount_after_any_change() {
    for seed in 0..30 {
        let mut random = SmallRng::seed_from_u64(seed);
        let (mut cluster, mut truth) = (Cluster::default(), Truth::default());
        for step in 0..60 {
            let node = format!("n{}", random.random_range(0..NODES));
            let name = format!("p{}", random.random_range(0..PODS));
            let what = match random.random_range(0..10) {
                0 | 1 => {
                    let over = random_node(&mut random);
                    cluster.set_node(node_object(&node, over.clone()));
                    truth.nodes.insert(node.clone(), over);
                    "node set"
                }
                2 => {
                    cluster.remove_node(&node);
                    truth.nodes.remove(&node);
                    "node removed"
                }
                3 | 4 => {
                    cluster.remove_pod(&format!("uid-{name}"));
                    truth.pods.remove(&name);
                    "pod removed"
                }
                choice => {
                    let pod = random_pod(&name, &mut random);
                    if choice == 5 {
                        cluster.assume(pod.clone(), &node);
                    } else {
                        cluster.set_pod(on(&node, &pod));
                    }
                    truth.pods.insert(name.clone(), (node.clone(), pod));
                    "pod set"
                }
            };
            compare(
                &mut cluster,
                &truth,
                &format!("seed {seed} step {step}: {what} {name} {node}"),
            );
        }
    }
}
