use serde_json::json;

use super::{Change, helps};
use crate::{
    plugins::{Plugin, PluginSet},
    testing::{node, pod, requesting},
};

fn by(plugin: Plugin) -> PluginSet {
    [plugin].into_iter().collect()
}

#[test]
fn a_node_helps_if_the_pod_could_go_there() {
    let waiting = requesting(
        "p",
        "2",
        "1Gi",
        json!({ "spec": { "nodeSelector": { "disk": "ssd" } } }),
    );
    let labels = json!({ "metadata": { "labels": { "disk": "ssd" } } });
    let mut tainted = labels.clone();
    tainted["spec"] = json!({ "taints": [{ "key": "k", "effect": "NoSchedule" }] });
    let mut cordoned = labels.clone();
    cordoned["spec"] = json!({ "unschedulable": true });
    let mut small = labels.clone();
    small["status"] = json!({ "allocatable": { "cpu": "1" } });
    let cases = [
        (labels, true),
        (json!({}), false),
        (tainted, false),
        (cordoned, false),
        (small, false),
    ];
    for (over, expected) in cases {
        let change = node("n", over.clone());
        let got = helps(&Change::Node(&change), &waiting, by(Plugin::NodeAffinity));
        assert_eq!(got, expected, "{over}");
    }
}

#[test]
fn pods_that_come_and_go_help_those_that_look_at_pods() {
    let waiting = pod(
        "p",
        json!({ "spec": { "containers": [{ "name": "c", "ports": [{ "hostPort": 80, "containerPort": 80 }] }] } }),
    );
    let near = json!({ "topologyKey": "zone", "labelSelector": {} });
    let wanting = pod(
        "q",
        json!({ "spec": { "affinity": { "podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [near] } } } }),
    );
    let other = pod("other", json!({}));
    let elsewhere = pod("elsewhere", json!({ "metadata": { "namespace": "elsewhere" } }));
    let (placed, left) = (Change::PodPlaced(&other), Change::PodLeft(&other));
    assert!(!helps(&placed, &waiting, by(Plugin::NodeResourcesFit)));
    assert!(helps(&left, &waiting, by(Plugin::NodeResourcesFit)));
    assert!(helps(&placed, &wanting, by(Plugin::InterPodAffinity)));
    assert!(
        !helps(&placed, &waiting, by(Plugin::InterPodAffinity)),
        "it only keeps away from others"
    );
    assert!(helps(&left, &waiting, by(Plugin::InterPodAffinity)));
    assert!(
        !helps(&left, &waiting, by(Plugin::NodePorts)),
        "the other had no host port"
    );
    assert!(helps(&Change::PodLeft(&waiting), &waiting, by(Plugin::NodePorts)));
    assert!(helps(&placed, &waiting, by(Plugin::PodTopologySpread)));
    assert!(!helps(
        &Change::PodPlaced(&elsewhere),
        &waiting,
        by(Plugin::PodTopologySpread)
    ));
    assert!(helps(
        &Change::PodLeaving(&other),
        &waiting,
        by(Plugin::PodTopologySpread)
    ));
    assert!(
        !helps(
            &Change::PodLeaving(&other),
            &waiting,
            by(Plugin::NodeResourcesFit)
        ),
        "not free yet"
    );
    assert!(!helps(&left, &waiting, by(Plugin::TaintToleration)));
}

#[test]
fn volumes_and_namespaces_help_those_that_look_at_them() {
    let waiting = pod("p", json!({}));
    assert!(helps(&Change::Volumes, &waiting, by(Plugin::VolumeBinding)));
    assert!(!helps(&Change::Volumes, &waiting, by(Plugin::NodeResourcesFit)));
    assert!(helps(&Change::Namespace, &waiting, by(Plugin::InterPodAffinity)));
    assert!(
        helps(&Change::Volumes, &waiting, PluginSet::default()),
        "no rule stood in the way"
    );
}
