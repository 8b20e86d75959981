//! What a CronJob starts and when, and what it remembers. Pure.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rkind_client::{EventType, owner};

use super::schedule::Schedule;

const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// More missed times than this say that something is wrong.
const MOST_MISSED: usize = 100;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Next {
    /// The time a Job is due for.
    pub(super) start: Option<Timestamp>,
    /// Delete what runs first.
    pub(super) replace: bool,
    pub(super) look_again: Option<Timestamp>,
    pub(super) events: Vec<(EventType, &'static str, String)>,
}

/// `Complete` or `Failed`, once it is so.
fn finished(job: &Job) -> Option<&str> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let found = conditions
        .iter()
        .find(|c| (c.type_ == "Complete" || c.type_ == "Failed") && c.status == "True")?;
    Some(&found.type_)
}

/// Brings the list of active Jobs up to date; gives events.
pub(super) fn settle(status: &mut CronJobStatus, owned: &[Arc<Job>]) -> Vec<(&'static str, String)> {
    let mut events = Vec::new();
    let active = status.active.get_or_insert_default();
    active.retain(|reference| {
        let name = reference.name.as_deref().unwrap_or_default();
        let Some(job) = owned.iter().find(|job| job.metadata.uid == reference.uid) else {
            events.push(("MissingJob", format!("Active job went missing: {name}")));
            return false;
        };
        let Some(how) = finished(job) else { return true };
        events.push((
            "SawCompletedJob",
            format!("Saw completed job: {name}, condition: {how}"),
        ));
        false
    });
    for job in owned {
        let known = active.iter().any(|r| r.uid == job.metadata.uid);
        if finished(job).is_none() && !known {
            // Made by this controller shortly before it stopped, or adopted.
            active.push(rkind_client::object_reference(&**job));
        }
        let completed = job.status.as_ref().and_then(|s| s.completion_time.clone());
        if finished(job) == Some("Complete") && completed > status.last_successful_time {
            status.last_successful_time = completed;
        }
    }
    events
}

/// Finished Jobs beyond the history limits, oldest first.
pub(super) fn beyond_history(cron_job: &CronJob, owned: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let spec = cron_job.spec.clone().unwrap_or_default();
    let mut doomed = Vec::new();
    let limits = [
        ("Complete", spec.successful_jobs_history_limit.unwrap_or(3)),
        ("Failed", spec.failed_jobs_history_limit.unwrap_or(1)),
    ];
    for (kind, limit) in limits {
        let mut done: Vec<Arc<Job>> = owned
            .iter()
            .filter(|job| finished(job) == Some(kind))
            .cloned()
            .collect();
        done.sort_by_key(|job| {
            let start = job.status.as_ref().and_then(|s| s.start_time.clone());
            (
                start,
                job.metadata.creation_timestamp.clone(),
                job.metadata.name.clone(),
            )
        });
        done.truncate(done.len().saturating_sub(usize::try_from(limit).unwrap_or(0)));
        doomed.extend(done);
    }
    doomed.retain(|job| job.metadata.deletion_timestamp.is_none());
    doomed
}

fn in_zone(time: Timestamp, schedule: &Schedule) -> jiff::Zoned {
    time.to_zoned(schedule.zone().clone())
}

/// `status` has been settled.
pub(super) fn next(cron_job: &CronJob, status: &CronJobStatus, now: Timestamp) -> Next {
    let mut next = Next::default();
    let spec = cron_job.spec.clone().unwrap_or_default();
    if spec.suspend == Some(true) {
        return next;
    }
    let schedule = match Schedule::parse(&spec.schedule, spec.time_zone.as_deref()) {
        Ok(schedule) => schedule,
        Err(error) => {
            let message = format!("unparseable schedule: {:?} : {error}", spec.schedule);
            next.events
                .push((EventType::Warning, "UnparseableSchedule", message));
            return next;
        }
    };
    next.look_again = schedule.next(now);
    let last = status
        .last_schedule_time
        .as_ref()
        .or(cron_job.metadata.creation_timestamp.as_ref());
    let mut from = last.map_or(now, |t| t.0);
    let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    if let Some(earliest) = deadline.and_then(|d| now.checked_sub(d).ok()) {
        from = from.max(earliest);
    }
    let (mut due, mut missed) = (None, 0);
    while let Some(time) = schedule.next(due.unwrap_or(from)).filter(|time| *time <= now) {
        due = Some(time);
        missed += 1;
        if missed > MOST_MISSED {
            let message = format!(
                "too many missed start times: {missed}. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            );
            next.events
                .push((EventType::Warning, "TooManyMissedTimes", message));
            due = latest(&schedule, from, now).or(due);
            break;
        }
    }
    let Some(time) = due else { return next };
    let active = status.active.as_ref().is_some_and(|active| !active.is_empty());
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if active => {
            let message =
                "Not starting job because prior execution is running and concurrency policy is Forbid";
            next.events
                .push((EventType::Normal, "JobAlreadyActive", message.into()));
            return next;
        }
        Some("Replace") => next.replace = active,
        _ => {}
    }
    next.start = Some(time);
    next
}

/// The last time not after `now`, found without walking through all that were missed.
fn latest(schedule: &Schedule, from: Timestamp, now: Timestamp) -> Option<Timestamp> {
    for back in [60_i64, 3600, 86_400, 32 * 86_400, 367 * 86_400] {
        let start = now.checked_sub(SignedDuration::from_secs(back)).ok()?.max(from);
        let (mut found, mut cursor) = (None, start);
        while let Some(time) = schedule.next(cursor).filter(|time| *time <= now) {
            found = Some(time);
            cursor = time;
        }
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The Job for a time: its name holds the minute, so that no time is served twice.
pub(super) fn job(cron_job: &CronJob, time: Timestamp) -> Job {
    let spec = cron_job.spec.clone().unwrap_or_default();
    let template = spec.job_template.metadata.unwrap_or_default();
    let name = cron_job.metadata.name.as_deref().unwrap_or_default();
    let mut annotations = template.annotations.unwrap_or_default();
    let shown = Schedule::parse(&spec.schedule, spec.time_zone.as_deref()).map(|s| in_zone(time, &s));
    let shown = shown.unwrap_or_else(|_| time.to_zoned(jiff::tz::TimeZone::UTC));
    let offset = if shown.offset().seconds() == 0 {
        "%Y-%m-%dT%H:%M:%SZ"
    } else {
        "%Y-%m-%dT%H:%M:%S%:z"
    };
    annotations.insert(SCHEDULED_AT.into(), shown.strftime(offset).to_string());
    Job {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{}", time.as_second() / 60)),
            namespace: cron_job.metadata.namespace.clone(),
            labels: template.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![owner::controller_ref(cron_job)]),
            ..Default::default()
        },
        spec: spec.job_template.spec,
        status: None,
    }
}
