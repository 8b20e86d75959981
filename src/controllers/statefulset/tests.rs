use serde_json::{Value, json};

use super::plan::{Act, Versions, plan, status};
use super::*;

fn set(replicas: i32, extra: Value) -> StatefulSet {
    let mut object = json!({
        "metadata": {"name": "db", "namespace": "default", "uid": "u"},
        "spec": {"replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": []}}},
        "status": {"replicas": 0, "currentRevision": "old"},
    });
    for (key, value) in extra.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn versions() -> Versions {
    Versions {
        current: ("old".into(), Default::default()),
        update: ("new".into(), Default::default()),
    }
}

/// `+` ready, `-` not ready, `~` terminating, `x` failed.
fn pod(ordinal: i32, revision: &str, state: char) -> Arc<Pod> {
    let mut pod = identity::new_pod(&set(0, json!({})), ordinal, revision, &Default::default());
    let (phase, ready) = match state {
        'x' => ("Failed", "False"),
        '-' => ("Running", "False"),
        _ => ("Running", "True"),
    };
    pod.metadata.uid = Some(ordinal.to_string());
    if state == '~' {
        pod.metadata.deletion_timestamp = Some(crate::common::now());
    }
    pod.status = serde_json::from_value(json!({"phase": phase, "conditions": [
        {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}))
    .unwrap();
    Arc::new(pod)
}

fn pods(states: &[(i32, &str, char)]) -> Vec<Arc<Pod>> {
    states
        .iter()
        .map(|(ordinal, revision, state)| pod(*ordinal, revision, *state))
        .collect()
}

fn acts(set: &StatefulSet, pods: &[Arc<Pod>]) -> Vec<String> {
    let describe = |act: Act| match act {
        Act::Create(pod) => format!("+{} {}", pod.name_any(), identity::revision(&pod).unwrap()),
        Act::Delete(pod) => format!("-{}", pod.name_any()),
        Act::Update(pod) => format!("~{}", pod.name_any()),
        Act::Claims(pod) => format!("?{}", pod.name_any()),
    };
    plan(set, &versions(), pods, Timestamp::now())
        .into_iter()
        .map(describe)
        .collect()
}

#[test]
fn ordered_steps_one_at_a_time() {
    let partition = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}});
    let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
    let none = json!({});
    for (why, replicas, extra, states, wanted) in [
        ("the first", 3, &none, vec![], vec!["+db-0 new"]),
        ("waits for the first", 3, &none, vec![(0, "new", '-')], vec![]),
        ("the second", 3, &none, vec![(0, "new", '+')], vec!["+db-1 new"]),
        (
            "a hole",
            3,
            &none,
            vec![(0, "new", '+'), (2, "new", '+')],
            vec!["+db-1 new"],
        ),
        (
            "a failed pod makes room",
            2,
            &none,
            vec![(0, "new", 'x'), (1, "new", '+')],
            vec!["-db-0"],
        ),
        (
            "scaling down from the top",
            1,
            &none,
            vec![(0, "new", '+'), (1, "new", '+'), (2, "new", '+')],
            vec!["-db-2"],
        ),
        (
            "one at a time",
            1,
            &none,
            vec![(0, "new", '+'), (1, "new", '+'), (2, "new", '~')],
            vec![],
        ),
        (
            "rolling from the top",
            2,
            &none,
            vec![(0, "old", '+'), (1, "old", '+')],
            vec!["-db-1"],
        ),
        (
            "waits for the new one",
            2,
            &none,
            vec![(0, "old", '+'), (1, "new", '-')],
            vec![],
        ),
        (
            "a broken old one is replaced",
            1,
            &none,
            vec![(0, "old", '+')],
            vec!["-db-0"],
        ),
        (
            "partition",
            3,
            &partition,
            vec![(0, "old", '+'), (1, "old", '+'), (2, "new", '+')],
            vec![],
        ),
        (
            "below the partition",
            3,
            &partition,
            vec![(0, "old", '+'), (2, "new", '+')],
            vec!["+db-1 old"],
        ),
        ("on delete", 1, &on_delete, vec![(0, "old", '+')], vec![]),
    ] {
        assert_eq!(
            acts(&set(replicas, extra.clone()), &pods(&states)),
            wanted,
            "{why}"
        );
    }
}

#[test]
fn parallel_steps_all_at_once() {
    let parallel = |replicas| {
        set(
            replicas,
            json!({"podManagementPolicy": "Parallel", "ordinals": {"start": 5}}),
        )
    };
    assert_eq!(acts(&parallel(2), &[]), ["+db-5 new", "+db-6 new"]);
    let all = pods(&[(4, "new", '+'), (5, "new", '-'), (6, "new", '+'), (7, "new", '+')]);
    assert_eq!(acts(&parallel(2), &all), ["-db-7", "-db-4"]);
}

#[test]
fn a_finished_update_becomes_the_current_revision() {
    let set = set(2, json!({}));
    let half = status(
        &set,
        &versions(),
        &pods(&[(0, "old", '+'), (1, "new", '+')]),
        Timestamp::now(),
    );
    assert_eq!(
        (
            half.current_revision.as_deref(),
            half.current_replicas,
            half.updated_replicas
        ),
        (Some("old"), Some(1), Some(1))
    );
    let done = status(
        &set,
        &versions(),
        &pods(&[(0, "new", '+'), (1, "new", '+')]),
        Timestamp::now(),
    );
    assert_eq!(
        (
            done.current_revision.as_deref(),
            done.current_replicas,
            done.ready_replicas
        ),
        (Some("new"), Some(2), Some(2))
    );
}

#[test]
fn names_hold_ordinals() {
    for (name, wanted) in [
        ("db-0", Some(0)),
        ("db-12", Some(12)),
        ("db-01", None),
        ("db-x", None),
        ("dbs-1", None),
        ("db", None),
    ] {
        assert_eq!(identity::ordinal("db", name), wanted, "{name}");
    }
}

#[test]
fn claims_follow_the_retention_policy() {
    let claim = json!([{"metadata": {"name": "data"}, "spec": {}}]);
    let plain = set(1, json!({"volumeClaimTemplates": claim.clone()}));
    let deleted = set(
        1,
        json!({"volumeClaimTemplates": claim,
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"}}),
    );
    let made = claims::claims(&plain, &pod(1, "new", '+'));
    assert_eq!(made[0].name_any(), "data-db-1");
    assert_eq!(made[0].labels()["app"], "db");
    assert_eq!(made[0].owner_references().len(), 0);
    assert_eq!(
        claims::claims(&deleted, &pod(1, "new", '+'))[0].owner_references()[0].kind,
        "StatefulSet"
    );
    assert!(claims::to_release(&plain, &pod(1, "new", '+')).is_empty());
    assert!(claims::to_release(&deleted, &pod(0, "new", '+')).is_empty());
    assert_eq!(claims::to_release(&deleted, &pod(1, "new", '+')), ["data-db-1"]);
}
