//! Each rule by tables.

use serde_json::{Value, json};

use super::{basic, fit, normalize};
use crate::{
    cluster::Cluster,
    cycle::{Cycle, scores},
    testing::{choose, cluster, node, on, pod, reasons, requesting, zone},
};

mod places;
mod resources;

#[test]
fn unschedulable_nodes_take_only_pods_that_tolerate_it() {
    let cordoned = node("n", json!({ "spec": { "unschedulable": true } }));
    let tolerant = json!({ "spec": { "tolerations": [
        { "key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule" }
    ] } });
    assert_eq!(
        reasons(basic::node_unschedulable(&pod("p", json!({})), &cordoned)),
        "node(s) were unschedulable"
    );
    assert_eq!(basic::node_unschedulable(&pod("p", tolerant), &cordoned), Ok(()));
    assert_eq!(
        basic::node_unschedulable(&pod("p", json!({})), &node("n", json!({}))),
        Ok(())
    );
}

#[test]
fn a_named_node_is_the_only_one() {
    let named = on("a", &pod("p", json!({})));
    assert_eq!(basic::node_name(&named, &node("a", json!({}))), Ok(()));
    assert_eq!(
        reasons(basic::node_name(&named, &node("b", json!({})))),
        "node(s) didn't match the requested node name"
    );
}

#[test]
fn tolerations_cover_taints() {
    let taint = |effect: &str| json!({ "key": "k", "value": "v", "effect": effect });
    let cases = [
        (json!([]), "NoSchedule", false),
        (json!([]), "NoExecute", false),
        (json!([]), "PreferNoSchedule", true),
        (
            json!([{ "key": "k", "value": "v", "effect": "NoSchedule" }]),
            "NoSchedule",
            true,
        ),
        (
            json!([{ "key": "k", "operator": "Equal", "value": "v" }]),
            "NoSchedule",
            true,
        ),
        (
            json!([{ "key": "k", "operator": "Equal", "value": "w" }]),
            "NoSchedule",
            false,
        ),
        (json!([{ "key": "k", "operator": "Exists" }]), "NoSchedule", true),
        (
            json!([{ "key": "other", "operator": "Exists" }]),
            "NoSchedule",
            false,
        ),
        (
            json!([{ "key": "k", "operator": "Exists", "effect": "NoExecute" }]),
            "NoSchedule",
            false,
        ),
        (json!([{ "operator": "Exists" }]), "NoExecute", true),
        (
            json!([{ "operator": "Exists", "effect": "NoSchedule" }]),
            "NoExecute",
            false,
        ),
        (json!([{ "value": "v" }]), "NoSchedule", false),
        (
            json!([{ "key": "k", "operator": "Sometimes", "value": "v" }]),
            "NoSchedule",
            false,
        ),
    ];
    for (tolerations, effect, passes) in cases {
        let tainted = node("n", json!({ "spec": { "taints": [taint(effect)] } }));
        let pod = pod("p", json!({ "spec": { "tolerations": tolerations } }));
        let expected = if passes {
            ""
        } else {
            "node(s) had untolerated taint {k: v}"
        };
        assert_eq!(
            reasons(basic::taint_toleration(&pod, &tainted)),
            expected,
            "{tolerations} on {effect}"
        );
    }
    let empty = node(
        "n",
        json!({ "spec": { "taints": [{ "key": "k", "effect": "NoSchedule" }] } }),
    );
    assert_eq!(
        reasons(basic::taint_toleration(&pod("p", json!({})), &empty)),
        "node(s) had untolerated taint {k: }"
    );
}

#[test]
fn soft_taints_only_lower_the_score() {
    let soft = |n: usize| {
        let taints: Vec<_> = (0..n)
            .map(|n| json!({ "key": format!("k{n}"), "effect": "PreferNoSchedule" }))
            .collect();
        node("n", json!({ "spec": { "taints": taints } }))
    };
    let tolerant = pod(
        "p",
        json!({ "spec": { "tolerations": [{ "key": "k0", "operator": "Exists" }] } }),
    );
    let mut scores: Vec<_> = (0..3).map(|n| basic::taint_score(&tolerant, &soft(n))).collect();
    assert_eq!(scores, [0, 0, 1]);
    normalize(&mut scores, true);
    assert_eq!(scores, [100, 100, 0]);
}

#[test]
fn node_selectors_and_affinity() {
    let terms = |terms: Value| {
        json!({ "spec": { "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms }
        } } } })
    };
    let label = |key: &str, operator: &str, values: Value| {
        terms(json!([{ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] }]))
    };
    let cases = [
        (json!({}), true),
        (json!({ "spec": { "nodeSelector": { "disk": "ssd" } } }), true),
        (
            json!({ "spec": { "nodeSelector": { "disk": "ssd", "gpu": "yes" } } }),
            false,
        ),
        (label("disk", "In", json!(["hdd", "ssd"])), true),
        (label("disk", "In", json!(["hdd"])), false),
        (label("disk", "NotIn", json!(["hdd"])), true),
        (label("gpu", "NotIn", json!(["yes"])), true),
        (label("disk", "Exists", json!([])), true),
        (label("gpu", "Exists", json!([])), false),
        (label("gpu", "DoesNotExist", json!([])), true),
        (label("cores", "Gt", json!(["7"])), true),
        (label("cores", "Gt", json!(["8"])), false),
        (label("cores", "Lt", json!(["9"])), true),
        (label("disk", "Lt", json!(["9"])), false),
        (terms(json!([])), false),
        (terms(json!([{}])), false),
        // Terms are alternatives; expressions of one term must all hold.
        (
            terms(json!([
                { "matchExpressions": [{ "key": "gpu", "operator": "Exists" }] },
                { "matchExpressions": [{ "key": "disk", "operator": "Exists" }] },
            ])),
            true,
        ),
        (
            terms(json!([{ "matchExpressions": [
                { "key": "gpu", "operator": "Exists" }, { "key": "disk", "operator": "Exists" },
            ] }])),
            false,
        ),
        (
            terms(
                json!([{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["n"] }] }]),
            ),
            true,
        ),
        (
            terms(
                json!([{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["m"] }] }]),
            ),
            false,
        ),
    ];
    let labelled = node(
        "n",
        json!({ "metadata": { "labels": { "disk": "ssd", "cores": "8" } } }),
    );
    for (over, passes) in cases {
        let expected = if passes {
            ""
        } else {
            "node(s) didn't match Pod's node affinity/selector"
        };
        assert_eq!(
            reasons(basic::node_affinity(&pod("p", over.clone()), &labelled)),
            expected,
            "{over}"
        );
    }
}

#[test]
fn preferred_node_affinity_adds_weights() {
    let preferring = pod(
        "p",
        json!({ "spec": { "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [
            { "weight": 30, "preference": { "matchExpressions": [{ "key": "a", "operator": "Exists" }] } },
            { "weight": 12, "preference": { "matchExpressions": [{ "key": "b", "operator": "Exists" }] } },
        ] } } } }),
    );
    let with = |labels: Value| node("n", json!({ "metadata": { "labels": labels } }));
    let scored = [json!({}), json!({ "a": "" }), json!({ "a": "", "b": "" })]
        .map(|labels| preferring.node_affinity.preference(&with(labels)));
    assert_eq!(scored, [0, 30, 42]);
    let mut scored = scored;
    normalize(&mut scored, false);
    assert_eq!(scored, [0, 71, 100]);
}

#[test]
fn a_pod_bound_to_a_node_by_field_looks_nowhere_else() {
    let mut cluster = cluster(&[("a", json!({})), ("b", json!({})), ("c", json!({}))], &[]);
    let daemon = |name: &str| {
        requesting(
            "d",
            "5",
            "1Gi",
            json!({ "spec": { "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                { "matchFields": [{ "key": "metadata.name", "operator": "In", "values": [name] }] }
            ] }
        } } } }),
        )
    };
    let failure = choose(&mut cluster, &daemon("b")).expect_err("5 cores");
    assert_eq!(
        failure.message(),
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    );
    cluster.set_node(crate::testing::node_object(
        "b",
        json!({ "status": { "allocatable": { "cpu": "6" } } }),
    ));
    assert_eq!(choose(&mut cluster, &daemon("b")).expect("room"), "b");
}

#[test]
fn host_ports_are_taken_once() {
    let wanting = |ports: Value| {
        pod(
            "p",
            json!({ "spec": { "containers": [{ "name": "c", "ports": ports }] } }),
        )
    };
    let taken = |ports: Value| {
        let mut node = node("n", json!({}));
        node.add_pod(wanting(ports));
        node
    };
    let cases = [
        (
            json!([{ "containerPort": 1, "hostPort": 80 }]),
            json!([{ "containerPort": 1, "hostPort": 80 }]),
            false,
        ),
        (
            json!([{ "containerPort": 80 }]),
            json!([{ "containerPort": 80 }]),
            true,
        ),
        (
            json!([{ "containerPort": 1, "hostPort": 80 }]),
            json!([{ "containerPort": 1, "hostPort": 81 }]),
            true,
        ),
        (
            json!([{ "containerPort": 1, "hostPort": 80, "protocol": "UDP" }]),
            json!([{ "containerPort": 1, "hostPort": 80 }]),
            true,
        ),
        (
            json!([{ "containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.1" }]),
            json!([{ "containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.2" }]),
            true,
        ),
        (
            json!([{ "containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.1" }]),
            json!([{ "containerPort": 1, "hostPort": 80, "hostIP": "0.0.0.0" }]),
            false,
        ),
    ];
    for (wanted, used, passes) in cases {
        let expected = if passes {
            ""
        } else {
            "node(s) didn't have free ports for the requested pod ports"
        };
        let verdict = basic::node_ports(&wanting(wanted.clone()), &taken(used.clone()));
        assert_eq!(reasons(verdict), expected, "{wanted} beside {used}");
    }
}

#[test]
fn images_count_by_size_and_spread() {
    let images = |size: i64| json!({ "status": { "images": [{ "names": ["docker.io/library/web:1", "web:1"], "sizeBytes": size }] } });
    let mut cluster = cluster(
        &[
            ("a", images(1000 << 20)),
            ("b", images(1000 << 20)),
            ("c", json!({})),
        ],
        &[],
    );
    let order = cluster.order().len();
    let score = |cluster: &Cluster, name: &str, image: &str| {
        let pod = pod(
            "p",
            json!({ "spec": { "containers": [{ "name": "c", "image": image }] } }),
        );
        basic::Images::new(&pod, cluster, order).score(cluster.node(cluster.slot(name).expect("node")))
    };
    // Two of three nodes have it: (1000 * 2/3 - 23) / (1000 - 23).
    assert_eq!(score(&cluster, "a", "web:1"), 65);
    assert_eq!(score(&cluster, "c", "web:1"), 0);
    assert_eq!(score(&cluster, "a", "web"), 0, "another tag");
    cluster.remove_node("b");
    assert_eq!(cluster.nodes_with_image("web:1"), 1);
}

#[test]
fn volumes_must_be_there_and_reachable() {
    let claiming = pod(
        "p",
        json!({ "spec": { "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "data" } }] } }),
    );
    let mut cluster = cluster(&[("a", json!({})), ("b", json!({}))], &[]);
    let message = |cluster: &mut Cluster| choose(cluster, &claiming).expect_err("no volume").message();
    assert_eq!(
        message(&mut cluster),
        "0/2 nodes are available: persistentvolumeclaim \"data\" not found."
    );
    let key = || ("default".to_owned(), "data".to_owned());
    let claim = |object: Value| std::sync::Arc::new(serde_json::from_value(object).expect("a claim"));
    cluster
        .volumes
        .claims
        .insert(key(), claim(json!({ "spec": { "storageClassName": "fast" } })));
    assert_eq!(
        message(&mut cluster),
        "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    );
    let class = json!({ "provisioner": "x", "volumeBindingMode": "WaitForFirstConsumer" });
    let class = serde_json::from_value(class).expect("a class");
    cluster
        .volumes
        .classes
        .insert("fast".to_owned(), std::sync::Arc::new(class));
    let cycle = Cycle::new(claiming.clone(), &mut cluster).expect("may wait");
    assert_eq!(cycle.claims.waiting.len(), 1);
    let chosen = json!({
        "metadata": { "annotations": { "volume.kubernetes.io/selected-node": "b" } },
        "spec": { "storageClassName": "fast" },
    });
    cluster.volumes.claims.insert(key(), claim(chosen));
    assert_eq!(choose(&mut cluster, &claiming).expect("where it was chosen"), "b");
    let bound = json!({ "spec": { "volumeName": "pv" }, "status": { "phase": "Bound" } });
    cluster.volumes.claims.insert(key(), claim(bound));
    assert_eq!(
        message(&mut cluster),
        "0/2 nodes are available: persistentvolume \"pv\" not found."
    );
    let volume = |host: &str| {
        let object = json!({ "spec": { "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [
            { "key": "kubernetes.io/hostname", "operator": "In", "values": [host] }
        ] }] } } } });
        std::sync::Arc::new(serde_json::from_value(object).expect("a volume"))
    };
    cluster.volumes.volumes.insert("pv".to_owned(), volume("a"));
    assert_eq!(choose(&mut cluster, &claiming).expect("where the volume is"), "a");
    cluster
        .volumes
        .volumes
        .insert("pv".to_owned(), volume("elsewhere"));
    assert_eq!(
        message(&mut cluster),
        "0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity."
    );
}

#[test]
fn a_rule_that_cannot_be_understood_is_told() {
    let wrong = json!({ "spec": { "topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": { "matchExpressions": [{ "key": "a", "operator": "Like", "values": ["b"] }] },
    }] } });
    let failure =
        choose(&mut cluster(&[("a", json!({}))], &[]), &pod("p", wrong)).expect_err("no operator Like");
    assert_eq!(
        failure.message(),
        "0/1 nodes are available: \"Like\" is not a valid label selector operator."
    );
}
