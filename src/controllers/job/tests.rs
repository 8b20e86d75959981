use serde_json::{Value, json};

use super::plan::{Decision, decide};
use super::*;

fn job(spec: Value, status: Value) -> Job {
    let mut object = json!({
        "metadata": {"name": "j", "namespace": "default", "uid": "u"},
        "spec": {"template": {"spec": {"containers": [], "restartPolicy": "Never"}}},
        "status": status,
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn pod(uid: &str, phase: &str, held: bool, extra: Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {"name": uid, "uid": uid, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": if held { json!([FINALIZER]) } else { json!([]) }},
        "spec": {"containers": []}, "status": {"phase": phase},
    });
    for (key, value) in extra.as_object().into_iter().flatten() {
        pod["metadata"][key] = value.clone();
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn at(job: &Job, pods: &[Arc<Pod>], time: &str) -> Decision {
    decide(
        job,
        pods,
        &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time.parse().unwrap()),
    )
}

const LATER: &str = "2026-01-01T10:00:00Z";

#[test]
fn pods_are_counted_once_in_three_steps() {
    let spec = json!({"completions": 2, "parallelism": 2});
    let done = |held| {
        [
            pod("a", "Succeeded", held, json!({})),
            pod("b", "Running", true, json!({})),
        ]
    };
    let first = at(&job(spec.clone(), json!({})), &done(true), LATER);
    assert_eq!(first.status.succeeded, None);
    assert_eq!(
        first.status.uncounted_terminated_pods.as_ref().unwrap().succeeded,
        Some(vec!["a".into()])
    );
    assert_eq!(first.create.len(), 0, "it counts for what is still needed");
    let noted = job(spec.clone(), serde_json::to_value(&first.status).unwrap());
    let again = at(&noted, &done(true), LATER);
    assert_eq!(
        again.status.uncounted_terminated_pods,
        first.status.uncounted_terminated_pods
    );
    let counted = at(&noted, &done(false), LATER);
    assert_eq!(counted.status.succeeded, Some(1));
    assert_eq!(
        counted
            .status
            .uncounted_terminated_pods
            .as_ref()
            .unwrap()
            .succeeded,
        None
    );
    let counted = job(spec, serde_json::to_value(&counted.status).unwrap());
    let third = at(&counted, &done(false), LATER);
    assert_eq!((third.status.succeeded, third.create.len()), (Some(1), 0));
}

#[test]
fn failures_delay_and_end_the_job() {
    let spec = json!({"completions": 1, "parallelism": 1, "backoffLimit": 1});
    let one = job(spec.clone(), json!({"failed": 1}));
    let ended = json!({"deletionTimestamp": null});
    let soon = at(
        &one,
        &[pod("a", "Failed", false, ended.clone())],
        "2026-01-01T00:00:04Z",
    );
    assert_eq!(
        (soon.create.len(), soon.look_again.map(|w| w.as_secs())),
        (0, Some(6))
    );
    let later = at(&one, &[pod("a", "Failed", false, ended)], "2026-01-01T00:00:10Z");
    assert_eq!(later.create.len(), 1);
    let running = [pod("c", "Running", true, json!({}))];
    let two = at(&job(spec, json!({"failed": 2})), &running, LATER);
    assert_eq!(two.delete.len(), 1);
    let kinds: Vec<&str> = two
        .status
        .conditions
        .iter()
        .flatten()
        .map(|c| c.type_.as_str())
        .collect();
    assert_eq!(kinds, ["FailureTarget"], "failed only when its pods are gone");
    let ended = at(
        &job(json!({}), serde_json::to_value(&two.status).unwrap()),
        &[],
        LATER,
    );
    assert!(
        ended
            .status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_ == "Failed" && c.status == "True")
    );
    let deadline = job(
        json!({"activeDeadlineSeconds": 60}),
        json!({"startTime": "2026-01-01T00:00:00Z"}),
    );
    let late = at(&deadline, &running, LATER);
    assert_eq!(
        late.status.conditions.unwrap()[0].reason.as_deref(),
        Some("DeadlineExceeded")
    );
}

#[test]
fn policies_judge_failed_pods() {
    let rules = |action: &str| {
        job(
            json!({"completions": 1, "podFailurePolicy": {"rules": [
                {"action": action, "onExitCodes": {"operator": "In", "values": [42]}}]}}),
            json!({}),
        )
    };
    let mut failed = (*pod("a", "Failed", true, json!({}))).clone();
    failed.status = serde_json::from_value(json!({"phase": "Failed", "containerStatuses": [{"name": "c",
        "restartCount": 0, "image": "", "imageID": "", "ready": false,
        "state": {"terminated": {"exitCode": 42}}}]}))
    .unwrap();
    let failed = [Arc::new(failed)];
    let lost = at(&rules("FailJob"), &failed, LATER);
    let condition = &lost.status.conditions.as_ref().unwrap()[0];
    assert_eq!(condition.reason.as_deref(), Some("PodFailurePolicy"));
    let message = "Container c for pod default/a failed with exit code 42 matching FailJob rule at index 0";
    assert_eq!(condition.message.as_deref(), Some(message));
    let ignored = at(&rules("Ignore"), &failed, LATER);
    assert_eq!((ignored.release.len(), ignored.status.failed), (1, None));
    assert_eq!(
        ignored.status.uncounted_terminated_pods.as_ref().unwrap().failed,
        None
    );
    assert_eq!(ignored.create.len(), 1);
}

#[test]
fn indexes_are_made_once_each() {
    let spec = json!({"completions": 4, "parallelism": 3, "completionMode": "Indexed"});
    let index = |n: i32| json!({"annotations": {"batch.kubernetes.io/job-completion-index": n.to_string()}});
    let pods = [
        pod("a", "Succeeded", true, index(1)),
        pod("b", "Running", true, index(0)),
    ];
    let decision = at(&job(spec, json!({})), &pods, LATER);
    let made: Vec<Option<i32>> = decision.create.iter().map(super::pod::index).collect();
    assert_eq!(made, [Some(2), Some(3)]);
    assert_eq!(decision.status.completed_indexes.as_deref(), Some("1"));
    assert_eq!(decision.create[0].metadata.generate_name.as_deref(), Some("j-2-"));
}

#[test]
fn a_success_policy_ends_early() {
    let spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed",
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]}});
    let index = |n: i32| json!({"annotations": {"batch.kubernetes.io/job-completion-index": n.to_string()}});
    let pods = [
        pod("a", "Succeeded", true, index(0)),
        pod("b", "Running", true, index(1)),
    ];
    let decision = at(&job(spec, json!({})), &pods, LATER);
    assert_eq!(decision.delete.len(), 1);
    let condition = &decision.status.conditions.unwrap()[0];
    assert_eq!(
        (condition.type_.as_str(), condition.reason.as_deref()),
        ("SuccessCriteriaMet", Some("SuccessPolicy"))
    );
}
