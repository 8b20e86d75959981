use serde_json::{Value, json};

use super::sets::{self, Scale, Sets};
use super::*;

fn deployment(replicas: i32, strategy: Value) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "generation": 2},
        "spec": {"replicas": replicas, "selector": {}, "strategy": strategy, "progressDeadlineSeconds": 60,
            "template": {"spec": {"containers": [{"name": "c", "image": "new"}]}}},
    }))
    .unwrap()
}

fn rolling(replicas: i32, surge: Value, unavailable: Value) -> Deployment {
    deployment(
        replicas,
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}),
    )
}

/// Name, image, wanted, available; the number in the name is the age.
fn set(name: &str, image: &str, wanted: i32, available: i32) -> ReplicaSet {
    serde_json::from_value(json!({
        "metadata": {"name": name, "generation": 1, "creationTimestamp": format!("2026-01-01T00:00:0{}Z", &name[1..]),
            "annotations": {"deployment.kubernetes.io/revision": &name[1..],
                "deployment.kubernetes.io/desired-replicas": "10", "deployment.kubernetes.io/max-replicas": "13"}},
        "spec": {"replicas": wanted, "selector": {}, "template": {
            "metadata": {"labels": {"pod-template-hash": "x"}},
            "spec": {"containers": [{"name": "c", "image": image}]}}},
        "status": {"replicas": wanted, "availableReplicas": available, "observedGeneration": 1},
    }))
    .unwrap()
}

fn scales(list: &[(&str, i32)]) -> Vec<Scale> {
    list.iter()
        .map(|(name, replicas)| Scale {
            name: (*name).to_owned(),
            replicas: *replicas,
        })
        .collect()
}

#[test]
fn bounds_round_up_and_down_and_never_stand_still() {
    for (replicas, surge, unavailable, wanted) in [
        (10, json!("25%"), json!("25%"), (3, 2)),
        (1, json!("25%"), json!("25%"), (1, 0)),
        (4, json!(0), json!(0), (0, 1)),
        (4, json!(0), json!("10%"), (0, 1)),
        (2, json!(1), json!(5), (1, 2)),
        (0, json!(1), json!(1), (1, 0)),
    ] {
        let d = rolling(replicas, surge, unavailable);
        assert_eq!(
            (sets::max_surge(&d), sets::max_unavailable(&d)),
            wanted,
            "{replicas}"
        );
    }
    let recreate = deployment(10, json!({"type": "Recreate"}));
    assert_eq!(
        (sets::max_surge(&recreate), sets::max_unavailable(&recreate)),
        (0, 0)
    );
}

#[test]
fn the_set_with_the_same_template_is_the_new_one() {
    let d = rolling(1, json!(1), json!(0));
    let sets = Sets::sort(
        &d,
        vec![
            set("b2", "new", 0, 0),
            set("a1", "old", 1, 1),
            set("c3", "new", 0, 0),
        ],
    );
    assert_eq!(sets.new.unwrap().name(), "b2");
    assert_eq!(
        sets.old.iter().map(|s| s.name()).collect::<Vec<_>>(),
        ["a1", "c3"]
    );
}

#[test]
fn rolling_steps() {
    for (why, sets, up, down) in [
        (
            "surge first",
            [("a1", "old", 10, 10), ("b2", "new", 0, 0)],
            Some(3),
            vec![("a1", 8)],
        ),
        (
            "nothing until the new are available",
            [("a1", "old", 8, 8), ("b2", "new", 5, 0)],
            None,
            vec![],
        ),
        (
            "old go as new come",
            [("a1", "old", 8, 8), ("b2", "new", 5, 5)],
            None,
            vec![("a1", 3)],
        ),
        (
            "room for more",
            [("a1", "old", 3, 3), ("b2", "new", 5, 5)],
            Some(10),
            vec![("a1", 3)],
        ),
        (
            "broken old first",
            [("a1", "old", 8, 2), ("b2", "new", 5, 5)],
            None,
            vec![("a1", 3)],
        ),
        (
            "too many new",
            [("a1", "old", 0, 0), ("b2", "new", 12, 12)],
            Some(10),
            vec![],
        ),
        ("done", [("a1", "old", 0, 0), ("b2", "new", 10, 10)], None, vec![]),
    ] {
        let d = rolling(10, json!("25%"), json!("25%"));
        let sets = sets.map(|(name, image, wanted, available)| set(name, image, wanted, available));
        let sets = Sets::sort(&d, sets.to_vec());
        assert_eq!(
            super::rolling::scale_new(&d, &sets).map(|s| s.replicas),
            up,
            "{why}"
        );
        let down: Vec<Scale> = scales(&down)
            .into_iter()
            .filter(|s| s.replicas != sets.old[0].wanted())
            .collect();
        assert_eq!(super::rolling::scale_old(&d, &sets), down, "{why}");
    }
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_proportional() {
    let d = rolling(30, json!(3), json!(2));
    let sets = Sets::sort(&d, vec![set("a1", "old", 8, 8), set("b2", "new", 5, 0)]);
    assert!(sets.is_scaling(&d));
    assert_eq!(scale::plan(&d, &sets), scales(&[("a1", 20), ("b2", 13)]));
    let d = rolling(5, json!(3), json!(2));
    let sets = Sets::sort(&d, vec![set("a1", "old", 8, 8), set("b2", "new", 5, 0)]);
    assert_eq!(scale::plan(&d, &sets), scales(&[("a1", 5), ("b2", 3)]));
    let none = rolling(0, json!(3), json!(2));
    let sets = Sets::sort(&none, vec![set("a1", "old", 8, 8), set("b2", "new", 5, 0)]);
    assert_eq!(scale::plan(&none, &sets), scales(&[("a1", 0), ("b2", 0)]));
    // With one active set only that one is scaled.
    let sets = Sets::sort(&d, vec![set("a1", "old", 0, 0), set("b2", "new", 10, 10)]);
    assert_eq!(scale::plan(&d, &sets), scales(&[("b2", 5)]));
}

#[test]
fn history_keeps_the_newest_finished_sets() {
    let d = rolling(1, json!(1), json!(0));
    let all = vec![
        set("a1", "1", 0, 0),
        set("b2", "2", 0, 0),
        set("c3", "3", 1, 1),
        set("d4", "new", 1, 1),
    ];
    let sets = Sets::sort(&d, all);
    let names = |limit| {
        sets.beyond_history(limit)
            .iter()
            .map(|s| s.name())
            .collect::<Vec<_>>()
            .join(",")
    };
    assert_eq!(names(Some(1)), "a1,b2");
    assert_eq!(names(Some(2)), "a1");
    assert_eq!(names(Some(0)), "a1,b2", "one that runs stays");
    assert_eq!(names(None), "");
}

fn time(text: &str) -> Time {
    Time(text.parse().unwrap())
}

fn reason(status: &DeploymentStatus) -> &str {
    let conditions = status.conditions.iter().flatten();
    conditions
        .filter(|c| c.type_ == "Progressing")
        .find_map(|c| c.reason.as_deref())
        .unwrap_or_default()
}

#[test]
fn progress_is_told_until_done_or_too_late() {
    let mut d = rolling(2, json!(1), json!(0));
    let sets = Sets::sort(&d, vec![set("a1", "old", 1, 1), set("b2", "new", 2, 1)]);
    let moving = progress::rollout(&d, &sets, &time("2026-01-01T00:00:00Z"));
    assert_eq!(reason(&moving), "ReplicaSetUpdated");
    assert_eq!(
        (
            moving.replicas,
            moving.updated_replicas,
            moving.unavailable_replicas
        ),
        (Some(3), Some(2), Some(1))
    );
    let again = progress::look_again_in(&d, &moving, &time("2026-01-01T00:00:10Z"));
    assert_eq!(again.map(|d| d.as_secs()), Some(51));
    d.status = Some(moving);
    let still = progress::rollout(&d, &sets, &time("2026-01-01T00:01:00Z"));
    assert_eq!(reason(&still), "ReplicaSetUpdated");
    let late = progress::rollout(&d, &sets, &time("2026-01-01T00:01:01Z"));
    assert_eq!(reason(&late), "ProgressDeadlineExceeded");
    assert_eq!(
        progress::look_again_in(&d, &late, &time("2026-01-01T00:01:01Z")),
        None
    );
    d.status = Some(late);
    let sets = Sets::sort(&d, vec![set("a1", "old", 0, 0), set("b2", "new", 2, 2)]);
    let done = progress::rollout(&d, &sets, &time("2026-01-01T00:02:00Z"));
    assert_eq!(reason(&done), "NewReplicaSetAvailable");
    d.status = Some(done.clone());
    // A pod that fails after the rollout is no matter of progress.
    let sets = Sets::sort(&d, vec![set("a1", "old", 0, 0), set("b2", "new", 2, 1)]);
    let after = progress::rollout(&d, &sets, &time("2026-01-01T01:00:00Z"));
    assert_eq!(
        (reason(&after), after.available_replicas),
        ("NewReplicaSetAvailable", Some(1))
    );
    let available = after
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "Available")
        .unwrap();
    assert_eq!(available.reason.as_deref(), Some("MinimumReplicasUnavailable"));
}

#[test]
fn templates_are_compared_as_go_does() {
    let template = |value: Value| serde_json::from_value(value).unwrap();
    let a = template(
        json!({"metadata": {"labels": {"pod-template-hash": "x"}}, "spec": {"containers": [{"name": "c"}]}}),
    );
    let b = template(json!({"spec": {"containers": [{"name": "c", "env": []}], "volumes": []}}));
    assert_eq!(sets::without_hash(&a), sets::without_hash(&b));
    let with = |source: Value| template(json!({"spec": {"containers": [], "volumes": [source]}}));
    let empty_dir = with(json!({"name": "v", "emptyDir": {}}));
    let host_path = with(json!({"name": "v", "hostPath": {"path": "/"}}));
    assert_ne!(sets::without_hash(&empty_dir), sets::without_hash(&host_path));
}

#[test]
fn a_rolled_back_set_remembers_its_revisions() {
    let mut d = rolling(1, json!(1), json!(0));
    d.metadata.annotations = Some(
        [
            ("note".to_owned(), "n".to_owned()),
            (
                "kubectl.kubernetes.io/last-applied-configuration".to_owned(),
                "{}".to_owned(),
            ),
        ]
        .into(),
    );
    let mut set = set("a1", "new", 1, 1);
    assert!(annotations::set_revision(&mut set, &d, 3));
    assert!(annotations::set_revision(&mut set, &d, 5));
    assert!(!annotations::set_revision(&mut set, &d, 5));
    let annotations = set.metadata.annotations.unwrap();
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "5");
    assert_eq!(annotations["deployment.kubernetes.io/revision-history"], "1,3");
    assert_eq!(annotations["note"], "n");
    assert!(!annotations.contains_key("kubectl.kubernetes.io/last-applied-configuration"));
}
