//! Affinity between pods, and spreading.

use std::sync::Arc;

use super::*;
use crate::{pod::PodInfo, testing::place};

/// Required or preferred terms: `kind` is podAffinity or podAntiAffinity.
fn near(kind: &str, app: &str, topology: &str) -> Value {
    let term = json!({ "topologyKey": topology, "labelSelector": { "matchLabels": { "app": app } } });
    json!({ "spec": { "affinity": { kind: { "requiredDuringSchedulingIgnoredDuringExecution": [term] } } } })
}

fn app(name: &str, app: &str, mut over: Value) -> Arc<PodInfo> {
    over["metadata"]["labels"]["app"] = json!(app);
    pod(name, over)
}

const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";

fn zones() -> [(&'static str, Value); 4] {
    [
        ("a1", zone("a")),
        ("a2", zone("a")),
        ("b1", zone("b")),
        ("none", json!({})),
    ]
}

/// What each node of [`zones`] says to a pod.
fn verdicts(pod: &Arc<PodInfo>, placed: &[(&str, Arc<PodInfo>)]) -> Vec<String> {
    let mut cluster = cluster(&zones(), placed);
    let cycle = Cycle::new(pod.clone(), &mut cluster).expect("valid");
    zones()
        .iter()
        .map(|(name, _)| reasons(cycle.filter(cluster.node(cluster.slot(name).expect("node")))))
        .collect()
}

const NEAR: &str = "node(s) didn't match pod affinity rules";
const FAR: &str = "node(s) didn't match pod anti-affinity rules";
const REFUSED: &str = "node(s) didn't satisfy existing pods anti-affinity rules";
const SKEW: &str = "node(s) didn't match pod topology spread constraints";
const LABEL: &str = "node(s) didn't match pod topology spread constraints (missing required label)";

#[test]
fn affinity_keeps_to_the_places_of_others() {
    let db = || app("db", "db", json!({}));
    let wanting = app("web", "web", near("podAffinity", "db", ZONE));
    assert_eq!(verdicts(&wanting, &[("a1", db())]), ["", "", NEAR, NEAR]);
    assert_eq!(
        verdicts(
            &app("web", "web", near("podAffinity", "db", HOST)),
            &[("a1", db())]
        ),
        ["", NEAR, NEAR, NEAR]
    );
    assert_eq!(
        verdicts(&wanting, &[]),
        [NEAR, NEAR, NEAR, NEAR],
        "nobody to be near to"
    );
    let elsewhere = app("db", "db", json!({ "metadata": { "namespace": "other" } }));
    assert_eq!(
        verdicts(&wanting, &[("a1", elsewhere)]),
        [NEAR, NEAR, NEAR, NEAR],
        "other namespace"
    );
}

#[test]
fn the_first_of_a_group_may_go_anywhere_with_the_label() {
    let first = app("web", "web", near("podAffinity", "web", ZONE));
    assert_eq!(verdicts(&first, &[]), ["", "", "", NEAR]);
    assert_eq!(
        verdicts(&first, &[("b1", app("web-0", "web", json!({})))]),
        [NEAR, NEAR, "", NEAR]
    );
}

#[test]
fn anti_affinity_works_both_ways() {
    let refusing = || app("db", "db", near("podAntiAffinity", "web", ZONE));
    let web = app("web", "web", json!({}));
    assert_eq!(verdicts(&web, &[("a1", refusing())]), [REFUSED, REFUSED, "", ""]);
    assert_eq!(verdicts(&refusing(), &[("a1", web)]), [FAR, FAR, "", ""]);
}

#[test]
fn namespaces_of_terms() {
    let mut over = near("podAntiAffinity", "db", HOST);
    let term =
        over.pointer_mut("/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/0");
    let term = term.expect("term");
    let cases = [
        (json!({}), false),
        (json!({ "namespaces": ["other"] }), true),
        (json!({ "namespaceSelector": {} }), true),
        (
            json!({ "namespaceSelector": { "matchLabels": { "team": "x" } } }),
            true,
        ),
        (
            json!({ "namespaceSelector": { "matchLabels": { "team": "y" } } }),
            false,
        ),
        (
            json!({ "namespaces": ["other"], "namespaceSelector": { "matchLabels": { "team": "y" } } }),
            true,
        ),
    ];
    let original = term.clone();
    for (extra, refused) in cases {
        let mut changed = original.clone();
        changed
            .as_object_mut()
            .expect("object")
            .extend(extra.as_object().expect("object").clone());
        let mut over = over.clone();
        over["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!([changed]);
        let db = app("db", "db", json!({ "metadata": { "namespace": "other" } }));
        let mut cluster = cluster(&[("a", json!({}))], &[("a", db)]);
        let namespace = json!({ "metadata": { "name": "other", "labels": { "team": "x" } } });
        cluster.set_namespace(
            "other",
            Some(Arc::new(serde_json::from_value(namespace).expect("namespace"))),
        );
        let result = choose(&mut cluster, &app("web", "web", over));
        assert_eq!(result.is_err(), refused, "{extra}");
    }
}

#[test]
fn several_terms_must_hold_of_one_pod() {
    let mut over = near("podAffinity", "db", ZONE);
    let terms = json!([
        { "topologyKey": ZONE, "labelSelector": { "matchLabels": { "app": "db" } } },
        { "topologyKey": HOST, "labelSelector": { "matchLabels": { "tier": "one" } } },
    ]);
    over["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = terms;
    let wanting = app("web", "web", over);
    let half = app("half", "db", json!({}));
    let other_half = app(
        "other",
        "x",
        json!({ "metadata": { "labels": { "tier": "one" } } }),
    );
    assert_eq!(
        verdicts(&wanting, &[("a1", half.clone()), ("a1", other_half)]),
        [NEAR; 4]
    );
    let whole = app(
        "whole",
        "db",
        json!({ "metadata": { "labels": { "tier": "one" } } }),
    );
    assert_eq!(
        verdicts(&wanting, &[("a1", half), ("a2", whole)]),
        [NEAR, "", NEAR, NEAR]
    );
}

#[test]
fn preferences_between_pods_score_by_weight() {
    let preferring = |weight: i64, kind: &str| {
        let term = json!({ "topologyKey": ZONE, "labelSelector": { "matchLabels": { "app": "db" } } });
        let list = json!([{ "weight": weight, "podAffinityTerm": term }]);
        json!({ "spec": { "affinity": { kind: { "preferredDuringSchedulingIgnoredDuringExecution": list } } } })
    };
    let score = |over: Value, placed: Arc<PodInfo>| {
        let mut cluster = cluster(&[("a", zone("a")), ("b", zone("b"))], &[("a", placed)]);
        let inter = super::super::inter_pod::InterPodScore::new(&app("web", "web", over), &mut cluster);
        let mut scores: Vec<_> = ["a", "b"]
            .iter()
            .map(|n| inter.score(cluster.node(cluster.slot(n).expect("node"))))
            .collect();
        let raw = scores.clone();
        super::super::inter_pod::InterPodScore::normalize(&mut scores);
        (raw, scores)
    };
    let db = || app("db", "db", json!({}));
    assert_eq!(
        score(preferring(7, "podAffinity"), db()),
        (vec![7, 0], vec![100, 0])
    );
    assert_eq!(
        score(preferring(7, "podAntiAffinity"), db()),
        (vec![-7, 0], vec![0, 100])
    );
    assert_eq!(score(json!({}), db()), (vec![0, 0], vec![0, 0]));
    // What the others prefer or require counts too.
    let liking = app("db", "db", near("podAffinity", "web", ZONE));
    assert_eq!(score(json!({}), liking), (vec![1, 0], vec![100, 0]));
}

fn spread(max_skew: i64, topology: &str, when: &str, extra: Value) -> Value {
    let mut constraint = json!({
        "maxSkew": max_skew, "topologyKey": topology, "whenUnsatisfiable": when,
        "labelSelector": { "matchLabels": { "app": "web" } },
    });
    constraint
        .as_object_mut()
        .expect("object")
        .extend(extra.as_object().expect("object").clone());
    json!({ "spec": { "topologySpreadConstraints": [constraint] } })
}

#[test]
fn hard_spreading_keeps_places_even() {
    let web = |n: usize| app(&format!("web-{n}"), "web", json!({}));
    let hard = |max_skew, extra| app("p", "web", spread(max_skew, ZONE, "DoNotSchedule", extra));
    assert_eq!(verdicts(&hard(1, json!({})), &[]), ["", "", "", LABEL]);
    assert_eq!(
        verdicts(&hard(1, json!({})), &[("a1", web(1))]),
        [SKEW, SKEW, "", LABEL]
    );
    assert_eq!(
        verdicts(&hard(2, json!({})), &[("a1", web(1))]),
        ["", "", "", LABEL]
    );
    assert_eq!(
        verdicts(&hard(1, json!({})), &[("a1", web(1)), ("b1", web(2))]),
        ["", "", "", LABEL]
    );
    // With fewer zones than demanded the emptiest counts as having none.
    let demanding = hard(1, json!({ "minDomains": 3 }));
    assert_eq!(
        verdicts(&demanding, &[("a1", web(1)), ("b1", web(2))]),
        [SKEW, SKEW, SKEW, LABEL]
    );
    // Pods that are about to go don't count, nor do those of other namespaces.
    let going = app(
        "web-1",
        "web",
        json!({ "metadata": { "deletionTimestamp": "2024-01-01T00:00:00Z" } }),
    );
    assert_eq!(
        verdicts(&hard(1, json!({})), &[("a1", going)]),
        ["", "", "", LABEL]
    );
    let other = app("web-1", "web", json!({ "metadata": { "namespace": "other" } }));
    assert_eq!(
        verdicts(&hard(1, json!({})), &[("a1", other)]),
        ["", "", "", LABEL]
    );
}

#[test]
fn nodes_that_are_out_anyway_do_not_count_for_spreading() {
    let nodes = [("a", zone("a")), ("b", zone("b"))];
    let web = |n: usize| app(&format!("web-{n}"), "web", json!({}));
    let mut over = spread(1, ZONE, "DoNotSchedule", json!({}));
    over["spec"]["nodeSelector"] = json!({ "kubernetes.io/hostname": "a" });
    let mut all = cluster(&nodes, &[("a", web(1)), ("a", web(2))]);
    assert_eq!(
        choose(&mut all, &app("p", "web", over.clone())).expect("b is out"),
        "a"
    );
    over["spec"]["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = json!("Ignore");
    assert!(
        choose(&mut all, &app("p", "web", over)).is_err(),
        "b counts as the emptiest"
    );
}

#[test]
fn match_label_keys_narrow_who_counts() {
    let over = spread(1, ZONE, "DoNotSchedule", json!({ "matchLabelKeys": ["hash"] }));
    let with = |name: &str, hash: &str, mut over: Value| {
        over["metadata"]["labels"]["hash"] = json!(hash);
        app(name, "web", over)
    };
    let old = with("web-1", "old", json!({}));
    assert_eq!(
        verdicts(&with("p", "new", over.clone()), &[("a1", old.clone())]),
        ["", "", "", LABEL]
    );
    assert_eq!(
        verdicts(&with("p", "old", over), &[("a1", old)]),
        [SKEW, SKEW, "", LABEL]
    );
}

#[test]
fn soft_spreading_prefers_the_emptier_place() {
    let web = |n: usize| app(&format!("web-{n}"), "web", json!({}));
    let nodes = [("a", zone("a")), ("b", zone("b"))];
    let soft = app("p", "web", spread(1, ZONE, "ScheduleAnyway", json!({})));
    let mut cluster = cluster(&nodes, &[("a", web(1)), ("a", web(2)), ("b", web(3))]);
    assert_eq!(choose(&mut cluster, &soft).expect("both may"), "b");
}

/// What makes replicas of a Deployment go to different nodes without being told.
#[test]
fn replicas_are_spread_by_default() {
    let owner = json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "rs", "controller": true }]);
    let mut by_owner = cluster(&[("a", json!({})), ("b", json!({})), ("c", json!({}))], &[]);
    let mut by_service = cluster(&[("a", json!({})), ("b", json!({})), ("c", json!({}))], &[]);
    let service = json!({ "spec": { "selector": { "app": "web" } } });
    by_service.set_service(
        "default",
        "web",
        Some(&serde_json::from_value(service).expect("service")),
    );
    for (cluster, over) in [
        (&mut by_owner, json!({ "metadata": { "ownerReferences": owner } })),
        (&mut by_service, json!({})),
    ] {
        let mut used = std::collections::BTreeMap::<String, usize>::new();
        for n in 0..6 {
            let node = place(cluster, &app(&format!("web-{n}"), "web", over.clone())).expect("room");
            *used.entry(node).or_default() += 1;
        }
        assert_eq!(used.into_values().collect::<Vec<_>>(), [2, 2, 2], "{over}");
    }
}

#[test]
fn weights_are_upstreams() {
    // Only the soft taint differs: 3 * 100; all else is equal.
    let taint = json!({ "spec": { "taints": [{ "key": "k", "effect": "PreferNoSchedule" }] } });
    let mut cluster = cluster(&[("a", json!({})), ("b", taint)], &[]);
    let nodes = cluster.order().to_vec();
    let scores = scores(&pod("p", json!({})), &mut cluster, &nodes);
    let of = |name: &str| {
        let slot = cluster.slot(name).expect("node");
        scores[nodes.iter().position(|s| *s == slot).expect("scored")]
    };
    assert_eq!(of("a") - of("b"), 300);
    // Least allocated: (97 + 97) / 2, no balance for a pod that requests nothing, no image.
    assert_eq!(of("b"), 97);
}
