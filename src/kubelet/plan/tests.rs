use serde_json::{Value, json};

use super::*;
use crate::observed::Sandbox;

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec})).expect("a pod")
}

fn sandbox(attempt: u32, ready: bool) -> Sandbox {
    Sandbox {
        id: format!("s{attempt}"),
        attempt,
        ready,
        host_network: false,
        ips: vec!["10.244.0.2".into()],
    }
}

fn instance(name: &str, sandbox: &str, state: RunState, exit_code: i32) -> Instance {
    Instance {
        id: format!("{name}-id"),
        name: name.into(),
        sandbox_id: sandbox.into(),
        state,
        created_at: None,
        started_at: None,
        finished_at: None,
        exit_code,
        reason: String::new(),
        message: String::new(),
        hash: String::new(),
        restart_count: 0,
        image: String::new(),
        image_id: String::new(),
        log_path: String::new(),
    }
}

fn with(sandboxes: Vec<Sandbox>, containers: Vec<Instance>) -> Observed {
    Observed {
        sandboxes,
        containers,
    }
}

fn fine(_: &Instance) -> Verdict {
    Verdict::FINE
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.start.iter().map(|s| s.name.as_str()).collect()
}

#[test]
fn a_new_pod_gets_a_sandbox_and_its_containers() {
    let pod = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    let plan = plan(&pod, &Observed::default(), &fine);
    assert_eq!(plan.create_sandbox, Some(0));
    assert!(!plan.kill_pod);
    assert_eq!(names(&plan), ["a", "b"]);
}

#[test]
fn a_running_pod_needs_nothing() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let seen = with(
        vec![sandbox(0, true)],
        vec![instance("a", "s0", RunState::Running, 0)],
    );
    assert!(plan(&pod, &seen, &fine).is_empty());
}

#[test]
fn a_dead_sandbox_is_replaced_with_everything_in_it() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let seen = with(
        vec![sandbox(3, false)],
        vec![instance("a", "s3", RunState::Running, 0)],
    );
    let plan = plan(&pod, &seen, &fine);
    assert!(plan.kill_pod);
    assert_eq!((plan.create_sandbox, names(&plan)), (Some(4), vec!["a"]));
}

#[test]
fn restart_policies() {
    for (policy, code, restarted) in [
        ("Always", 0, true),
        ("Always", 1, true),
        ("OnFailure", 0, false),
        ("OnFailure", 1, true),
        ("Never", 1, false),
    ] {
        let pod = pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}]}));
        let seen = with(
            vec![sandbox(0, true)],
            vec![instance("a", "s0", RunState::Exited, code)],
        );
        let plan = plan(&pod, &seen, &fine);
        assert_eq!(!plan.start.is_empty(), restarted, "{policy} {code}");
        assert_eq!(
            plan.kill_pod, !restarted,
            "a finished pod frees its sandbox: {policy} {code}"
        );
        let gone = with(
            vec![sandbox(0, false)],
            vec![instance("a", "s0", RunState::Exited, code)],
        );
        assert_eq!(
            super::plan(&pod, &gone, &fine).create_sandbox.is_some(),
            restarted,
            "{policy} {code}"
        );
    }
}

#[test]
fn a_containers_own_rules_win() {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "a", "restartPolicy": "Never",
        "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}]});
    for (code, restarted) in [(42, true), (1, false)] {
        let seen = with(
            vec![sandbox(0, true)],
            vec![instance("a", "s0", RunState::Exited, code)],
        );
        assert_eq!(
            !plan(&pod(spec.clone()), &seen, &fine).start.is_empty(),
            restarted,
            "{code}"
        );
    }
}

#[test]
fn init_containers_run_one_after_the_other() {
    let pod = pod(json!({"initContainers": [{"name": "i1"}, {"name": "i2"}], "containers": [{"name": "a"}]}));
    let fresh = plan(&pod, &Observed::default(), &fine);
    assert_eq!(names(&fresh), ["i1"]);
    let steps = [
        (vec![], vec!["i1"]),
        (vec![instance("i1", "s0", RunState::Running, 0)], vec![]),
        (vec![instance("i1", "s0", RunState::Exited, 1)], vec!["i1"]),
        (vec![instance("i1", "s0", RunState::Exited, 0)], vec!["i2"]),
        (
            vec![
                instance("i2", "s0", RunState::Exited, 0),
                instance("i1", "s0", RunState::Exited, 0),
            ],
            vec!["a"],
        ),
    ];
    for (containers, want) in steps {
        let seen = with(vec![sandbox(0, true)], containers.clone());
        assert_eq!(names(&plan(&pod, &seen, &fine)), want, "{containers:?}");
    }
}

#[test]
fn a_failed_init_container_ends_a_pod_that_never_restarts() {
    let pod = pod(
        json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}),
    );
    let seen = with(
        vec![sandbox(0, true)],
        vec![instance("i", "s0", RunState::Exited, 1)],
    );
    let plan = plan(&pod, &seen, &fine);
    assert!(plan.kill_pod && plan.start.is_empty());
    let stopped = with(
        vec![sandbox(0, false)],
        vec![instance("i", "s0", RunState::Exited, 1)],
    );
    assert!(super::plan(&pod, &stopped, &fine).is_empty());
}

#[test]
fn a_sidecar_starts_first_and_is_restarted_beside_the_others() {
    let pod = pod(json!({"restartPolicy": "Never",
        "initContainers": [{"name": "side", "restartPolicy": "Always"}], "containers": [{"name": "a"}]}));
    let running = with(
        vec![sandbox(0, true)],
        vec![instance("side", "s0", RunState::Running, 0)],
    );
    assert_eq!(names(&plan(&pod, &running, &fine)), ["a"]);
    let slow = |_: &Instance| Verdict {
        started: false,
        ..Verdict::FINE
    };
    assert!(
        plan(&pod, &running, &slow).start.is_empty(),
        "waits for the startup probe"
    );
    let died = with(
        vec![sandbox(0, true)],
        vec![
            instance("a", "s0", RunState::Running, 0),
            instance("side", "s0", RunState::Exited, 0),
        ],
    );
    assert_eq!(names(&plan(&pod, &died, &fine)), ["side"]);
    let done = with(
        vec![sandbox(0, true)],
        vec![
            instance("a", "s0", RunState::Exited, 0),
            instance("side", "s0", RunState::Running, 0),
        ],
    );
    assert!(
        plan(&pod, &done, &fine).kill_pod,
        "sidecars don't keep a pod alive"
    );
}

#[test]
fn probes_and_changes_restart() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "new"}]}));
    let dead = |_: &Instance| Verdict {
        liveness_failed: true,
        ..Verdict::FINE
    };
    let seen = with(
        vec![sandbox(0, true)],
        vec![instance("a", "s0", RunState::Running, 0)],
    );
    let killed = plan(&pod, &seen, &dead);
    assert_eq!(
        killed.kill[0].message,
        "Container a failed liveness probe, will be restarted"
    );
    assert_eq!(names(&killed), ["a"]);
    let mut old = instance("a", "s0", RunState::Running, 0);
    old.hash = "other".into();
    let changed = plan(&pod, &with(vec![sandbox(0, true)], vec![old]), &fine);
    assert_eq!(
        changed.kill[0].message,
        "Container a definition changed, will be restarted"
    );
}

#[test]
fn an_ephemeral_container_starts_once() {
    let pod = pod(json!({"containers": [{"name": "a"}], "ephemeralContainers": [{"name": "debug"}]}));
    let seen = with(
        vec![sandbox(0, true)],
        vec![instance("a", "s0", RunState::Running, 0)],
    );
    assert_eq!(names(&plan(&pod, &seen, &fine)), ["debug"]);
    let after = with(
        vec![sandbox(0, true)],
        vec![
            instance("debug", "s0", RunState::Exited, 0),
            instance("a", "s0", RunState::Running, 0),
        ],
    );
    assert!(plan(&pod, &after, &fine).is_empty());
}
