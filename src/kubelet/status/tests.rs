use serde_json::{Value, json};

use super::*;
use crate::observed::{RunState, Sandbox};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn instance(name: &str, state: RunState, exit_code: i32, restarts: i32) -> Instance {
    Instance {
        id: format!("{name}{restarts}"),
        name: name.into(),
        sandbox_id: "s".into(),
        state,
        created_at: Some(at(0)),
        started_at: Some(at(1)),
        finished_at: (state == RunState::Exited).then(|| at(2)),
        exit_code,
        reason: String::new(),
        message: String::new(),
        hash: String::new(),
        restart_count: restarts,
        image: "docker.io/library/web:1".into(),
        image_id: "sha256:1".into(),
        log_path: String::new(),
    }
}

fn observed(containers: Vec<Instance>) -> Observed {
    let sandbox = Sandbox {
        id: "s".into(),
        attempt: 0,
        ready: true,
        host_network: false,
        ips: vec!["10.244.0.2".into()],
    };
    Observed {
        sandboxes: vec![sandbox],
        containers,
    }
}

struct Case {
    pod: Value,
    observed: Observed,
    errors: HashMap<String, StartError>,
    verdict: Verdict,
    finished: bool,
}

fn case(spec: Value, containers: Vec<Instance>) -> Case {
    let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 2}, "spec": spec});
    Case {
        pod,
        observed: observed(containers),
        errors: HashMap::new(),
        verdict: Verdict::FINE,
        finished: false,
    }
}

impl Case {
    fn status(&self) -> Value {
        let pod: Pod = serde_json::from_value(self.pod.clone()).expect("a pod");
        let inputs = Inputs {
            observed: &self.observed,
            start_errors: &self.errors,
            verdict: &|_| self.verdict,
            host_ips: &["192.0.2.1".to_string()],
            finished: self.finished,
            now: at(9),
        };
        serde_json::to_value(compute(&pod, &inputs, None)).expect("a status")
    }

    fn phase(&self) -> String {
        self.status()["phase"].as_str().expect("a phase").to_string()
    }
}

fn condition(status: &Value, kind: &str) -> Value {
    let list = status["conditions"].as_array().expect("conditions");
    list.iter()
        .find(|c| c["type"] == kind)
        .cloned()
        .expect("the condition")
}

#[test]
fn phases() {
    use RunState::{Created, Exited, Running};
    let two = |policy: &str| json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]});
    let i = instance;
    let table = [
        ("Always", vec![], "Pending"),
        ("Always", vec![i("a", Running, 0, 0)], "Pending"),
        (
            "Always",
            vec![i("a", Running, 0, 0), i("b", Created, 0, 0)],
            "Pending",
        ),
        (
            "Always",
            vec![i("a", Running, 0, 0), i("b", Running, 0, 0)],
            "Running",
        ),
        (
            "Always",
            vec![i("a", Exited, 1, 0), i("b", Running, 0, 0)],
            "Running",
        ),
        (
            "Always",
            vec![i("a", Exited, 0, 0), i("b", Exited, 0, 0)],
            "Running",
        ),
        (
            "OnFailure",
            vec![i("a", Exited, 0, 0), i("b", Exited, 0, 0)],
            "Succeeded",
        ),
        (
            "OnFailure",
            vec![i("a", Exited, 1, 0), i("b", Exited, 0, 0)],
            "Running",
        ),
        (
            "Never",
            vec![i("a", Exited, 1, 0), i("b", Exited, 0, 0)],
            "Failed",
        ),
        (
            "Never",
            vec![i("a", Exited, 0, 0), i("b", Exited, 0, 0)],
            "Succeeded",
        ),
    ];
    for (policy, containers, want) in table {
        assert_eq!(
            case(two(policy), containers.clone()).phase(),
            want,
            "{policy} {containers:?}"
        );
    }
}

#[test]
fn phases_with_init_containers() {
    use RunState::{Exited, Running};
    let spec = |policy: &str| json!({"restartPolicy": policy, "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    let table = [
        ("Always", vec![], "Pending"),
        ("Always", vec![instance("i", Running, 0, 0)], "Pending"),
        ("Always", vec![instance("i", Exited, 1, 0)], "Pending"),
        ("Never", vec![instance("i", Exited, 1, 0)], "Failed"),
        (
            "Always",
            vec![instance("i", Exited, 0, 0), instance("a", Running, 0, 0)],
            "Running",
        ),
    ];
    for (policy, containers, want) in table {
        assert_eq!(
            case(spec(policy), containers.clone()).phase(),
            want,
            "{policy} {containers:?}"
        );
    }
    let waiting = case(spec("Always"), vec![]).status();
    assert_eq!(
        waiting["containerStatuses"][0]["state"]["waiting"]["reason"],
        "PodInitializing"
    );
    assert_eq!(
        condition(&waiting, "Initialized")["message"],
        "containers with incomplete status: [i]"
    );
    assert_eq!(
        condition(&waiting, "Initialized")["reason"],
        "ContainersNotInitialized"
    );
}

#[test]
fn a_finished_pod_has_a_final_phase() {
    let mut none = case(json!({"containers": [{"name": "a"}]}), vec![]);
    none.finished = true;
    let status = none.status();
    assert_eq!(status["phase"], "Failed");
    assert_eq!(
        status["containerStatuses"][0]["state"]["terminated"]["exitCode"],
        137
    );
    let mut good = case(
        json!({"containers": [{"name": "a"}]}),
        vec![instance("a", RunState::Exited, 0, 0)],
    );
    good.finished = true;
    assert_eq!(good.phase(), "Succeeded");
}

#[test]
fn waiting_reasons_cover_what_ended() {
    let mut case = case(
        json!({"containers": [{"name": "a"}]}),
        vec![instance("a", RunState::Exited, 1, 4)],
    );
    let error = StartError {
        reason: "CrashLoopBackOff".into(),
        message: "back-off".into(),
    };
    case.errors.insert("a".into(), error);
    let status = case.status();
    let a = &status["containerStatuses"][0];
    assert_eq!(
        a["state"],
        json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}})
    );
    assert_eq!(a["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(a["lastState"]["terminated"]["reason"], "Error");
    assert_eq!(
        (&a["restartCount"], &a["ready"], &a["started"]),
        (&json!(4), &json!(false), &json!(false))
    );
    assert_eq!(a["containerID"], "containerd://a4");
}

#[test]
fn readiness_follows_probes_and_gates() {
    let spec =
        json!({"containers": [{"name": "a"}], "readinessGates": [{"conditionType": "example.com/ok"}]});
    let mut case = case(spec, vec![instance("a", RunState::Running, 0, 0)]);
    let gated = case.status();
    assert_eq!(condition(&gated, "ContainersReady")["status"], "True");
    assert_eq!(condition(&gated, "Ready")["reason"], "ReadinessGatesNotReady");
    case.pod["status"] = json!({"conditions": [{"type": "example.com/ok", "status": "True"}]});
    let open = case.status();
    assert_eq!(condition(&open, "Ready")["status"], "True");
    assert_eq!(
        condition(&open, "example.com/ok")["status"],
        "True",
        "others' conditions stay"
    );
    case.verdict.ready = false;
    let unready = condition(&case.status(), "Ready");
    assert_eq!(
        (&unready["reason"], &unready["message"]),
        (
            &json!("ContainersNotReady"),
            &json!("containers with unready status: [a]")
        )
    );
}

#[test]
fn transition_times_change_with_the_status_only() {
    let mut case = case(
        json!({"containers": [{"name": "a"}]}),
        vec![instance("a", RunState::Running, 0, 0)],
    );
    let old = "2020-01-01T00:00:00Z";
    case.pod["status"] = json!({"startTime": old, "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": old},
        {"type": "Initialized", "status": "False", "lastTransitionTime": old}]});
    let status = case.status();
    assert_eq!(status["startTime"], old);
    assert_eq!(condition(&status, "Ready")["lastTransitionTime"], old);
    assert_eq!(
        condition(&status, "Initialized")["lastTransitionTime"],
        "2023-11-14T22:13:29Z"
    );
    assert_eq!(condition(&status, "Ready")["observedGeneration"], 2);
    assert_eq!(status["observedGeneration"], 2);
}

#[test]
fn a_terminal_phase_never_changes() {
    let mut case = case(
        json!({"restartPolicy": "Never", "containers": [{"name": "a"}]}),
        vec![],
    );
    case.pod["status"] = json!({"phase": "Failed", "reason": "Evicted", "containerStatuses": [{"name": "a",
        "image": "i", "imageID": "", "ready": false, "restartCount": 0, "containerID": "containerd://x",
        "state": {"terminated": {"exitCode": 3}}}]});
    let status = case.status();
    assert_eq!(
        (&status["phase"], &status["reason"]),
        (&json!("Failed"), &json!("Evicted"))
    );
    assert_eq!(
        status["containerStatuses"][0]["state"]["terminated"]["exitCode"],
        3
    );
}
