use serde_json::json;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn cron_job(extra: serde_json::Value, last: Option<&str>) -> CronJob {
    let mut object = json!({
        "metadata": {"name": "tick", "namespace": "default", "uid": "u", "creationTimestamp": "2026-01-01T00:00:30Z"},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {}}}},
        "status": {"lastScheduleTime": last},
    });
    for (key, value) in extra.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn next(cron_job: &CronJob, now: &str) -> Next {
    plan::next(cron_job, &cron_job.status.clone().unwrap_or_default(), at(now))
}

#[test]
fn starts_what_is_due_once() {
    let fresh = cron_job(json!({}), None);
    assert_eq!(next(&fresh, "2026-01-01T00:00:45Z").start, None);
    let due = next(&fresh, "2026-01-01T00:01:00Z");
    assert_eq!(
        (due.start, due.look_again),
        (Some(at("2026-01-01T00:01:00Z")), Some(at("2026-01-01T00:02:00Z")))
    );
    let served = cron_job(json!({}), Some("2026-01-01T00:01:00Z"));
    assert_eq!(next(&served, "2026-01-01T00:01:30Z").start, None);
    // Of several missed times only the last is made up for.
    assert_eq!(
        next(&served, "2026-01-01T00:05:30Z").start,
        Some(at("2026-01-01T00:05:00Z"))
    );
    assert_eq!(
        next(&cron_job(json!({"suspend": true}), None), "2026-01-01T01:00:00Z"),
        Next::default()
    );
    let late = cron_job(
        json!({"startingDeadlineSeconds": 10}),
        Some("2026-01-01T00:01:00Z"),
    );
    assert_eq!(next(&late, "2026-01-01T00:05:30Z").start, None);
}

#[test]
fn too_many_missed_times_are_told() {
    let old = cron_job(json!({}), Some("2026-01-01T00:00:00Z"));
    let next = next(&old, "2026-01-03T12:00:10Z");
    assert_eq!(next.start, Some(at("2026-01-03T12:00:00Z")));
    assert_eq!(next.events[0].1, "TooManyMissedTimes");
}

#[test]
fn concurrency_is_as_asked() {
    for (policy, start, replace) in [
        ("Allow", true, false),
        ("Forbid", false, false),
        ("Replace", true, true),
    ] {
        let busy = cron_job(json!({"concurrencyPolicy": policy}), None);
        let status = serde_json::from_value(json!({"active": [{"name": "tick-1"}]})).unwrap();
        let next = plan::next(&busy, &status, at("2026-01-01T00:01:00Z"));
        assert_eq!((next.start.is_some(), next.replace), (start, replace), "{policy}");
    }
}

#[test]
fn jobs_are_named_by_minute() {
    let job = plan::job(
        &cron_job(json!({"timeZone": "Etc/GMT-2"}), None),
        at("2026-01-01T00:01:00Z"),
    );
    assert_eq!(job.metadata.name.as_deref(), Some("tick-29453761"));
    let annotations = job.metadata.annotations.unwrap();
    assert_eq!(
        annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"],
        "2026-01-01T02:01:00+02:00"
    );
}

#[test]
fn finished_jobs_leave_the_active_list_and_then_history() {
    let job = |n: i32, kind: &str| -> Arc<Job> {
        let conditions = if kind.is_empty() {
            json!([])
        } else {
            json!([{"type": kind, "status": "True"}])
        };
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": format!("j{n}"), "uid": format!("u{n}")},
                "status": {"conditions": conditions, "startTime": format!("2026-01-01T00:00:{n:02}Z"),
                    "completionTime": format!("2026-01-01T00:01:{n:02}Z")},
            }))
            .unwrap(),
        )
    };
    let owned = [
        job(1, "Complete"),
        job(2, "Complete"),
        job(3, "Failed"),
        job(4, "Failed"),
        job(5, ""),
    ];
    let mut status: CronJobStatus = serde_json::from_value(
        json!({"active": [{"name": "j1", "uid": "u1"}, {"name": "lost", "uid": "u9"}]}),
    )
    .unwrap();
    let events = plan::settle(&mut status, &owned);
    assert_eq!(events[0].1, "Saw completed job: j1, condition: Complete");
    assert_eq!(events[1].1, "Active job went missing: lost");
    assert_eq!(status.active.unwrap()[0].name.as_deref(), Some("j5"));
    assert_eq!(status.last_successful_time.unwrap().0, at("2026-01-01T00:01:02Z"));
    let limited = cron_job(json!({"successfulJobsHistoryLimit": 1}), None);
    let names: Vec<String> = plan::beyond_history(&limited, &owned)
        .iter()
        .map(|j| j.name_any())
        .collect();
    assert_eq!(names, ["j1", "j3"]);
}
