//! Requests, fit and the scores on them.

use super::*;
use crate::pod::Resources;

#[test]
fn requests_follow_the_rules_for_init_containers_and_sidecars() {
    let container = |cpu: &str, memory: &str| json!({ "name": "c", "resources": { "requests": { "cpu": cpu, "memory": memory } } });
    let sidecar = |cpu: &str, memory: &str| {
        let mut container = container(cpu, memory);
        container["restartPolicy"] = json!("Always");
        container
    };
    let cases = [
        (
            json!({ "containers": [container("1", "1Gi"), container("500m", "1Gi")] }),
            (1500, 2 << 30),
        ),
        // Init containers run one after the other, before the others.
        (
            json!({ "initContainers": [container("3", "1Gi"), container("2", "4Gi")],
                    "containers": [container("1", "1Gi"), container("1", "1Gi")] }),
            (3000, 4 << 30),
        ),
        // Sidecars stay; an init container after them runs beside them.
        (
            json!({ "initContainers": [sidecar("1", "1Gi"), container("3", "1Gi")],
                    "containers": [container("1", "1Gi")] }),
            (4000, 2 << 30),
        ),
        (
            json!({ "initContainers": [container("3", "1Gi"), sidecar("1", "1Gi")],
                    "containers": [container("1", "1Gi")] }),
            (3000, 2 << 30),
        ),
        (
            json!({ "containers": [container("1", "1Gi")], "overhead": { "cpu": "250m", "memory": "1Mi" } }),
            (1250, (1 << 30) + (1 << 20)),
        ),
        // What the pod as a whole requests wins.
        (
            json!({ "containers": [container("1", "1Gi")], "resources": { "requests": { "cpu": "2" } } }),
            (2000, 1 << 30),
        ),
        (json!({ "containers": [{ "name": "c" }] }), (0, 0)),
    ];
    for (spec, (cpu, memory)) in cases {
        let pod = pod("p", json!({ "spec": spec }));
        assert_eq!((pod.requests.cpu, pod.requests.memory), (cpu, memory), "{spec}");
    }
}

#[test]
fn scoring_assumes_requests_that_are_missing() {
    let scored = |spec: Value| pod("p", json!({ "spec": spec })).scored;
    assert_eq!(
        scored(json!({ "containers": [{ "name": "c" }] })),
        (100, 200 << 20)
    );
    assert_eq!(
        scored(
            json!({ "containers": [{ "name": "c" }, { "name": "d", "resources": { "requests": { "cpu": "1" } } }] })
        ),
        (1100, 400 << 20)
    );
    assert_eq!(
        scored(
            json!({ "containers": [{ "name": "c", "resources": { "requests": { "cpu": "0", "memory": "0" } } }] })
        ),
        (0, 0),
        "an explicit nothing is nothing"
    );
}

#[test]
fn everything_that_is_short_is_named() {
    let used = |pods: usize| {
        let allocatable = json!({ "cpu": "2", "memory": "4Gi", "pods": "2", "ephemeral-storage": "1Gi",
                                  "example.com/gpu": "1", "hugepages-2Mi": "4Mi" });
        let mut node = node("n", json!({ "status": { "allocatable": allocatable } }));
        for n in 0..pods {
            node.add_pod(requesting(&n.to_string(), "1", "1Gi", json!({})));
        }
        node
    };
    let wanting = |requests: Value| {
        pod(
            "p",
            json!({ "spec": { "containers": [{ "name": "c", "resources": { "requests": requests } }] } }),
        )
    };
    let cases = [
        (1, json!({}), "", true),
        (1, json!({ "cpu": "1", "memory": "3Gi" }), "", true),
        (1, json!({ "cpu": "1001m" }), "Insufficient cpu", true),
        (
            1,
            json!({ "cpu": "2", "memory": "3073Mi" }),
            "Insufficient cpu, Insufficient memory",
            true,
        ),
        (2, json!({}), "Too many pods", true),
        (2, json!({ "cpu": "1" }), "Too many pods, Insufficient cpu", true),
        (0, json!({ "cpu": "3" }), "Insufficient cpu", false),
        (
            0,
            json!({ "ephemeral-storage": "2Gi" }),
            "Insufficient ephemeral-storage",
            false,
        ),
        (0, json!({ "example.com/gpu": "1" }), "", true),
        (
            0,
            json!({ "example.com/gpu": "2" }),
            "Insufficient example.com/gpu",
            false,
        ),
        (
            0,
            json!({ "example.com/fpga": "1" }),
            "Insufficient example.com/fpga",
            false,
        ),
        (0, json!({ "hugepages-2Mi": "4Mi" }), "", true),
    ];
    for (pods, requests, expected, resolvable) in cases {
        let verdict = fit::fits(&wanting(requests.clone()), &used(pods));
        let helps = verdict.as_ref().err().is_none_or(|reject| reject.resolvable);
        assert_eq!(
            (reasons(verdict).as_str(), helps),
            (expected, resolvable),
            "{requests} beside {pods}"
        );
    }
}

#[test]
fn sums_return_to_nothing_when_pods_leave() {
    let mut node = node("n", json!({}));
    let pods: Vec<_> = (0..5)
        .map(|n| {
            let ports = json!([{ "name": "c", "ports": [{ "containerPort": 1, "hostPort": 8000 + n }],
                "resources": { "requests": { "cpu": "100m", "memory": "1Mi", "example.com/gpu": "1" } } }]);
            pod(&n.to_string(), json!({ "spec": { "containers": ports } }))
        })
        .collect();
    pods.iter().for_each(|pod| node.add_pod(pod.clone()));
    assert_eq!(
        (
            node.requested.cpu,
            node.requested.other("example.com/gpu"),
            node.ports.len()
        ),
        (500, 5, 5)
    );
    for pod in &pods {
        assert!(node.remove_pod(&pod.uid).is_some());
    }
    assert!(node.remove_pod("uid-0").is_none());
    let nothing = Resources {
        others: vec![("example.com/gpu".into(), 0)],
        ..Resources::default()
    };
    assert_eq!(
        (node.requested, node.scored, node.ports.len()),
        (nothing, (0, 0), 0)
    );
}

#[test]
fn lightly_and_evenly_used_nodes_score_higher() {
    // 4 cores, 8 GiB.
    let used = |cpu: &str, memory: &str| {
        let mut node = node("n", json!({}));
        node.add_pod(requesting("other", cpu, memory, json!({})));
        node
    };
    let wanting = requesting("p", "1", "2Gi", json!({}));
    let cases = [
        (("0", "0"), 75, 100),
        (("1", "2Gi"), 50, 100),
        (("3", "6Gi"), 0, 100),
        (("3", "0"), 37, 62),
        (("0", "4Gi"), 50, 75),
        (("4", "8Gi"), 0, 100),
    ];
    for ((cpu, memory), least, balanced) in cases {
        let node = used(cpu, memory);
        let got = (
            fit::least_allocated(&wanting, &node),
            fit::balanced(&wanting, &node),
        );
        assert_eq!(got, (least, balanced), "{cpu} {memory}");
    }
}
