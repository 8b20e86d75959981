use super::*;
use rkind_apimachinery::resources::find;

fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_000_000).unwrap()
}

fn pod(node: &str, phase: &str) -> Value {
    json!({"metadata": {"name": "p", "generation": 1},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 30}, "status": {"phase": phase}})
}

fn grace(plan: &Plan) -> Option<i64> {
    match plan {
        Plan::Mark(new) | Plan::MarkAndRemove(new) => new["metadata"]["deletionGracePeriodSeconds"].as_i64(),
        _ => None,
    }
}

#[test]
fn pods_get_their_grace() {
    let pods = find("", "v1", "pods").unwrap();
    let none = DeleteOptions::default();
    let force = DeleteOptions {
        grace_period_seconds: Some(0),
        ..Default::default()
    };
    for (pod, options) in [
        (pod("", "Pending"), &none),
        (pod("n", "Succeeded"), &none),
        (pod("n", "Running"), &force),
    ] {
        let Plan::MarkAndRemove(last) = plan(pods, &pod, options, now()) else {
            panic!("{pod} waits")
        };
        let meta = &last["metadata"];
        assert_eq!(meta["deletionTimestamp"], "1970-01-12T13:46:40Z");
        assert_eq!(
            (&meta["deletionGracePeriodSeconds"], &meta["generation"]),
            (&json!(0), &json!(2))
        );
    }
    let first = plan(pods, &pod("n", "Running"), &none, now());
    assert_eq!(grace(&first), Some(30));
    let Plan::Mark(marked) = first else {
        panic!("not marked")
    };
    assert_eq!(marked["metadata"]["deletionTimestamp"], "1970-01-12T13:47:10Z");
    assert_eq!(marked["metadata"]["generation"], 2);

    let shorter = DeleteOptions {
        grace_period_seconds: Some(5),
        ..Default::default()
    };
    let longer = DeleteOptions {
        grace_period_seconds: Some(60),
        ..Default::default()
    };
    assert_eq!(grace(&plan(pods, &marked, &shorter, now())), Some(5));
    assert_eq!(plan(pods, &marked, &longer, now()), Plan::Nothing);
    let Plan::MarkAndRemove(last) = plan(pods, &marked, &force, now()) else {
        panic!("it waits")
    };
    assert_eq!(last["metadata"]["deletionTimestamp"], "1970-01-12T13:46:40Z");
    assert_eq!(last["metadata"]["generation"], 2);
    assert_eq!(plan(pods, &last, &force, now()), Plan::Remove);
}

#[test]
fn finalizers_hold() {
    let maps = find("", "v1", "configmaps").unwrap();
    let held = json!({"metadata": {"name": "c", "finalizers": ["x/y"]}});
    let Plan::Mark(marked) = plan(maps, &held, &DeleteOptions::default(), now()) else {
        panic!("not marked")
    };
    assert_eq!(marked["metadata"]["finalizers"], json!(["x/y"]));
    assert_eq!(
        plan(maps, &marked, &DeleteOptions::default(), now()),
        Plan::Nothing
    );
    assert!(!super::super::update::is_finished(&marked));

    let foreground = DeleteOptions {
        propagation: Some(Propagation::Foreground),
        ..Default::default()
    };
    let Plan::Mark(marked) = plan(maps, &json!({"metadata": {"name": "c"}}), &foreground, now()) else {
        panic!("not marked")
    };
    assert_eq!(marked["metadata"]["finalizers"], json!(["foregroundDeletion"]));
}

#[test]
fn namespaces_terminate() {
    let namespaces = find("", "v1", "namespaces").unwrap();
    let live = json!({"kind": "Namespace", "metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"}});
    let Plan::Mark(marked) = plan(namespaces, &live, &DeleteOptions::default(), now()) else {
        panic!("not marked")
    };
    assert_eq!(marked["status"]["phase"], "Terminating");
    assert!(!super::super::update::is_finished(&marked));
    let mut empty = marked.clone();
    empty["spec"]["finalizers"] = json!([]);
    assert!(super::super::update::is_finished(&empty));
    assert_eq!(
        plan(namespaces, &empty, &DeleteOptions::default(), now()),
        Plan::Remove
    );
}
