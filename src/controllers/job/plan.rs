//! What a Job does next, and its status. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rkind_client::EventType;

use super::failure::{Verdict, judge};
use super::pod::{earlier_failures, index, is_indexed, new_pod};
use super::{has_finalizer, indexes, seconds_between};
use crate::common::pods;

/// Most pods created in one run.
const BURST: usize = 500;
/// After a failure the next pod waits 10 s, 20 s, … at most 10 min.
const FIRST_BACKOFF: i64 = 10;
const LONGEST_BACKOFF: i64 = 600;

type Event = (EventType, &'static str, String);

#[derive(Debug, Default)]
pub(super) struct Decision {
    pub(super) create: Vec<Pod>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Finished pods that are let go uncounted.
    pub(super) release: Vec<Arc<Pod>>,
    pub(super) status: JobStatus,
    pub(super) events: Vec<Event>,
    pub(super) look_again: Option<SignedDuration>,
}

fn has_condition(status: &JobStatus, kind: &str) -> bool {
    status
        .conditions
        .iter()
        .flatten()
        .any(|c| c.type_ == kind && c.status == "True")
}

/// Complete or Failed.
pub(super) fn is_finished(job: &Job) -> bool {
    job.status
        .as_ref()
        .is_some_and(|s| has_condition(s, "Complete") || has_condition(s, "Failed"))
}

/// Uids of pods that are finished but not counted.
pub(super) fn uncounted(status: Option<&JobStatus>) -> HashSet<String> {
    let lists = status.and_then(|s| s.uncounted_terminated_pods.as_ref());
    let lists = lists.into_iter().flat_map(|u| [&u.succeeded, &u.failed]);
    lists.flatten().flatten().cloned().collect()
}

fn condition(kind: &str, status: &str, reason: &str, message: &str, now: &Time) -> JobCondition {
    JobCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()).filter(|r: &String| !r.is_empty()),
        message: Some(message.into()).filter(|m: &String| !m.is_empty()),
        last_probe_time: Some(now.clone()),
        last_transition_time: Some(now.clone()),
    }
}

fn set_condition(status: &mut JobStatus, condition: JobCondition) {
    let list = status.conditions.get_or_insert_default();
    match list.iter_mut().find(|c| c.type_ == condition.type_) {
        Some(old) if old.status == condition.status && old.reason == condition.reason => {}
        Some(old) => *old = condition,
        None => list.push(condition),
    }
}

fn nonzero(n: usize) -> Option<i32> {
    i32::try_from(n).ok().filter(|n| *n != 0)
}

/// The run's material.
struct Run<'a> {
    job: &'a Job,
    spec: JobSpec,
    now: &'a Time,
    active: Vec<Arc<Pod>>,
    terminating: usize,
    decision: Decision,
    /// Why the Job can't succeed any more: reason and message.
    lost: Option<(&'static str, String)>,
    last_failure: Option<Time>,
    indexes: Indexes,
}

#[derive(Default)]
struct Indexes {
    succeeded: BTreeSet<i32>,
    failed: BTreeSet<i32>,
    /// Failures of each index, as its newest failed pod tells.
    failures: BTreeMap<i32, i32>,
}

pub(super) fn decide(job: &Job, claimed: &[Arc<Pod>], now: &Time) -> Decision {
    let spec = job.spec.clone().unwrap_or_default();
    let status = job.status.clone().unwrap_or_default();
    let is_gone = |pod: &Pod| pods::is_terminal(pod) || pod.metadata.deletion_timestamp.is_some();
    let active: Vec<Arc<Pod>> = claimed.iter().filter(|pod| !is_gone(pod)).cloned().collect();
    let terminating = claimed
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_some() && !pods::is_terminal(pod))
        .count();
    let indexes = Indexes {
        succeeded: indexes::parse(status.completed_indexes.as_deref().unwrap_or_default()),
        failed: indexes::parse(status.failed_indexes.as_deref().unwrap_or_default()),
        failures: BTreeMap::new(),
    };
    let mut run = Run {
        job,
        spec,
        now,
        active,
        terminating,
        decision: Decision {
            status,
            ..Decision::default()
        },
        lost: None,
        last_failure: None,
        indexes,
    };
    run.count(claimed);
    run.start();
    run.judge();
    run.act();
    run.report();
    run.decision
}

impl Run<'_> {
    fn suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    fn succeeded(&self) -> usize {
        if is_indexed(self.job) {
            return self.indexes.succeeded.len();
        }
        let uncounted = self.decision.status.uncounted_terminated_pods.as_ref();
        let waiting = uncounted.and_then(|u| u.succeeded.as_ref()).map_or(0, Vec::len);
        usize::try_from(self.decision.status.succeeded.unwrap_or(0)).unwrap_or(0) + waiting
    }

    fn failed(&self) -> usize {
        let uncounted = self.decision.status.uncounted_terminated_pods.as_ref();
        let waiting = uncounted.and_then(|u| u.failed.as_ref()).map_or(0, Vec::len);
        usize::try_from(self.decision.status.failed.unwrap_or(0)).unwrap_or(0) + waiting
    }

    /// Counts what was noted and let go, notes what has finished since.
    fn count(&mut self, claimed: &[Arc<Pod>]) {
        let held: HashSet<String> = claimed
            .iter()
            .filter(|pod| has_finalizer(pod))
            .filter_map(|pod| pod.metadata.uid.clone())
            .collect();
        let noted = self
            .decision
            .status
            .uncounted_terminated_pods
            .clone()
            .unwrap_or_default();
        let split = |list: Option<Vec<String>>| -> (Vec<String>, usize) {
            let (still, counted): (Vec<String>, Vec<String>) = list
                .unwrap_or_default()
                .into_iter()
                .partition(|uid| held.contains(uid));
            (still, counted.len())
        };
        let (mut succeeded, more_succeeded) = split(noted.succeeded);
        let (mut failed, more_failed) = split(noted.failed);
        let indexed = is_indexed(self.job);
        let status = &mut self.decision.status;
        if !indexed {
            let total = usize::try_from(status.succeeded.unwrap_or(0)).unwrap_or(0) + more_succeeded;
            status.succeeded = nonzero(total);
        }
        status.failed = nonzero(usize::try_from(status.failed.unwrap_or(0)).unwrap_or(0) + more_failed);
        for pod in claimed {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            let number = if indexed { index(pod) } else { None };
            if pods::phase(pod) == "Succeeded" {
                if has_finalizer(pod) && !succeeded.contains(&uid) {
                    succeeded.push(uid);
                }
                if let Some(number) = number.filter(|n| self.spec.completions.is_none_or(|c| *n < c)) {
                    self.indexes.succeeded.insert(number);
                }
                continue;
            }
            // A pod that is on its way out has failed, unless replacements must wait for its end.
            let waits = self.spec.pod_replacement_policy.as_deref() == Some("Failed")
                || self.spec.pod_failure_policy.is_some();
            let leaving = pod.metadata.deletion_timestamp.is_some() && !waits;
            if pods::phase(pod) != "Failed" && !leaving {
                continue;
            }
            self.last_failure = self.last_failure.take().max(finish_time(pod));
            let verdict = judge(self.job, pod);
            if let Some(number) = number {
                let more = i32::from(verdict != Verdict::Ignore);
                let count = earlier_failures(pod) + more;
                let known = self.indexes.failures.entry(number).or_insert(0);
                *known = (*known).max(count);
                let limit = self.spec.backoff_limit_per_index;
                if verdict == Verdict::FailIndex || limit.is_some_and(|limit| *known > limit) {
                    self.indexes.failed.insert(number);
                }
            }
            if !has_finalizer(pod) || failed.contains(&uid) {
                continue;
            }
            match verdict {
                Verdict::Ignore => {
                    // Never noted, so never counted.
                    self.decision.release.push(pod.clone());
                    continue;
                }
                Verdict::FailJob(message) => self.lost = Some(("PodFailurePolicy", message)),
                Verdict::Count | Verdict::FailIndex => {}
            }
            failed.push(uid);
        }
        let some = |list: Vec<String>| Some(list).filter(|l| !l.is_empty());
        status.uncounted_terminated_pods = Some(UncountedTerminatedPods {
            succeeded: some(succeeded),
            failed: some(failed),
        });
        self.indexes
            .failed
            .retain(|n| !self.indexes.succeeded.contains(n));
    }

    fn start(&mut self) {
        let status = &mut self.decision.status;
        let was_suspended = has_condition(status, "Suspended");
        if self.spec.suspend == Some(true) {
            if !was_suspended {
                let suspended = condition("Suspended", "True", "JobSuspended", "Job suspended", self.now);
                set_condition(status, suspended);
                self.decision
                    .events
                    .push((EventType::Normal, "Suspended", "Job suspended".into()));
            }
            status.start_time = None;
            return;
        }
        if was_suspended {
            set_condition(
                status,
                condition("Suspended", "False", "JobResumed", "Job resumed", self.now),
            );
            self.decision
                .events
                .push((EventType::Normal, "Resumed", "Job resumed".into()));
        }
        if status.start_time.is_none() {
            status.start_time = Some(self.now.clone());
        }
    }

    fn judge(&mut self) {
        let status = &self.decision.status;
        if let Some(target) = status
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == "FailureTarget")
        {
            // Decided before; reasons are a closed set.
            let reason = REASONS.iter().find(|r| target.reason.as_deref() == Some(**r));
            let message = target.message.clone().unwrap_or_default();
            self.lost = Some((reason.copied().unwrap_or("BackoffLimitExceeded"), message));
            return;
        }
        if self.lost.is_some() || self.suspended() {
            return;
        }
        let limit = usize::try_from(self.spec.backoff_limit.unwrap_or(6)).unwrap_or(0);
        let restarts = if self
            .spec
            .template
            .spec
            .as_ref()
            .and_then(|s| s.restart_policy.as_deref())
            == Some("OnFailure")
        {
            self.active.iter().map(|pod| restarts(pod)).sum()
        } else {
            0
        };
        let too_often = restarts > 0 && restarts >= limit.max(1);
        if self.failed() > limit || too_often {
            let message = "Job has reached the specified backoff limit".to_owned();
            self.lost = Some(("BackoffLimitExceeded", message));
            return;
        }
        if let (Some(deadline), Some(start)) = (self.spec.active_deadline_seconds, &status.start_time) {
            let elapsed = seconds_between(start.0, self.now.0);
            if elapsed >= deadline {
                let message = "Job was active longer than specified deadline".to_owned();
                self.lost = Some(("DeadlineExceeded", message));
                return;
            }
            self.decision.look_again = Some(SignedDuration::from_secs(deadline - elapsed));
        }
        if let Some(most) = self.spec.max_failed_indexes
            && self.indexes.failed.len() > usize::try_from(most).unwrap_or(0)
        {
            let message = "Job has exceeded the specified maximal number of failed indexes".to_owned();
            self.lost = Some(("MaxFailedIndexesExceeded", message));
            return;
        }
        let all = usize::try_from(self.spec.completions.unwrap_or(0)).unwrap_or(0);
        if self.spec.backoff_limit_per_index.is_some()
            && !self.indexes.failed.is_empty()
            && self.indexes.failed.len() + self.indexes.succeeded.len() >= all
        {
            self.lost = Some(("FailedIndexes", "Job has failed indexes".to_owned()));
        }
    }

    fn enough(&self) -> bool {
        if has_condition(&self.decision.status, "SuccessCriteriaMet") || self.policy_met().is_some() {
            return true;
        }
        match self.spec.completions {
            Some(all) => self.succeeded() >= usize::try_from(all).unwrap_or(0),
            // A work queue: one success says that it is empty; the others come to their end.
            None => self.succeeded() > 0 && self.active.is_empty(),
        }
    }

    /// The message of the success policy's rule that is met.
    fn policy_met(&self) -> Option<String> {
        let policy = self.spec.success_policy.as_ref()?;
        let rules = policy.rules.iter().enumerate();
        let met = |rule: &k8s_openapi::api::batch::v1::SuccessPolicyRule| {
            let wanted = rule.succeeded_indexes.as_deref().map(indexes::parse);
            let done = self
                .indexes
                .succeeded
                .iter()
                .filter(|n| wanted.as_ref().is_none_or(|w| w.contains(n)));
            let done = done.count();
            match (rule.succeeded_count, wanted.as_ref()) {
                (Some(count), _) => done >= usize::try_from(count).unwrap_or(0),
                (None, Some(wanted)) => done == wanted.len(),
                (None, None) => false,
            }
        };
        rules
            .into_iter()
            .find(|(_, rule)| met(rule))
            .map(|(i, _)| format!("Matched rules at index {i}"))
    }

    fn act(&mut self) {
        if self.lost.is_some() || self.suspended() || self.enough() {
            self.decision.delete.clone_from(&self.active);
            return;
        }
        let parallelism = usize::try_from(self.spec.parallelism.unwrap_or(1)).unwrap_or(0);
        let wanted = match self.spec.completions {
            Some(all) => {
                let left = usize::try_from(all)
                    .unwrap_or(0)
                    .saturating_sub(self.succeeded() + self.indexes.failed.len());
                parallelism.min(left)
            }
            None if self.succeeded() > 0 => self.active.len().min(parallelism),
            None => parallelism,
        };
        let counted = if self.spec.pod_replacement_policy.as_deref() == Some("Failed")
            || self.spec.pod_failure_policy.is_some()
        {
            self.active.len() + self.terminating
        } else {
            self.active.len()
        };
        if self.active.len() > wanted {
            let crowd = pods::crowd(self.active.iter().map(|p| &**p));
            let mut ranked = self.active.clone();
            ranked.sort_by(|a, b| pods::deletion_order(a, b, &crowd, self.now.0));
            ranked.truncate(self.active.len() - wanted);
            self.decision.delete = ranked;
            return;
        }
        let missing = wanted.saturating_sub(counted).min(BURST);
        if missing == 0 {
            return;
        }
        if let Some(wait) = self.backoff() {
            let sooner = self.decision.look_again.map_or(wait, |other| other.min(wait));
            self.decision.look_again = Some(sooner);
            return;
        }
        if is_indexed(self.job) {
            let taken: BTreeSet<i32> = self.active.iter().filter_map(|pod| index(pod)).collect();
            let free = (0..self.spec.completions.unwrap_or(0)).filter(|n| {
                !taken.contains(n) && !self.indexes.succeeded.contains(n) && !self.indexes.failed.contains(n)
            });
            self.decision.create = free
                .take(missing)
                .map(|n| {
                    new_pod(
                        self.job,
                        Some((n, self.indexes.failures.get(&n).copied().unwrap_or(0))),
                    )
                })
                .collect();
        } else {
            self.decision.create = (0..missing).map(|_| new_pod(self.job, None)).collect();
        }
    }

    /// How long to wait because of recent failures.
    fn backoff(&self) -> Option<SignedDuration> {
        let last = self.last_failure.as_ref()?;
        let failures = u32::try_from(self.failed()).unwrap_or(u32::MAX);
        if failures == 0 {
            return None;
        }
        let factor = 1_i64
            .checked_shl(failures - 1)
            .filter(|f| *f > 0)
            .unwrap_or(LONGEST_BACKOFF);
        let wait = FIRST_BACKOFF.saturating_mul(factor).min(LONGEST_BACKOFF);
        let left = wait - seconds_between(last.0, self.now.0);
        (left > 0).then(|| SignedDuration::from_secs(left))
    }

    fn report(&mut self) {
        let indexed = is_indexed(self.job);
        let (enough, policy) = (self.enough(), self.policy_met());
        let acted = !self.decision.delete.is_empty();
        let ready = self.active.iter().filter(|pod| pods::is_ready(pod)).count();
        let suspended = self.suspended();
        let status = &mut self.decision.status;
        status.active = nonzero(self.active.len());
        status.ready = i32::try_from(ready).ok();
        status.terminating = i32::try_from(self.terminating).ok();
        if indexed {
            status.succeeded = nonzero(self.indexes.succeeded.len());
            status.completed_indexes =
                Some(indexes::print(&self.indexes.succeeded)).filter(|t| !t.is_empty());
            if self.spec.backoff_limit_per_index.is_some() {
                status.failed_indexes = Some(indexes::print(&self.indexes.failed));
            }
        }
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let settled = self.active.is_empty()
            && !acted
            && self.terminating == 0
            && uncounted.succeeded.is_none()
            && uncounted.failed.is_none();
        if let Some((reason, message)) = self.lost.take() {
            set_condition(
                status,
                condition("FailureTarget", "True", reason, &message, self.now),
            );
            if settled {
                set_condition(status, condition("Failed", "True", reason, &message, self.now));
                self.decision.events.push((EventType::Warning, reason, message));
            }
        } else if enough && !suspended {
            let (reason, message) = match &policy {
                Some(message) => ("SuccessPolicy", message.as_str()),
                None => ("CompletionsReached", "Reached expected number of succeeded pods"),
            };
            set_condition(
                status,
                condition("SuccessCriteriaMet", "True", reason, message, self.now),
            );
            if settled {
                set_condition(status, condition("Complete", "True", reason, message, self.now));
                status.completion_time = Some(self.now.clone());
                self.decision
                    .events
                    .push((EventType::Normal, "Completed", "Job completed".into()));
            }
        }
    }
}

const REASONS: [&str; 5] = [
    "BackoffLimitExceeded",
    "DeadlineExceeded",
    "PodFailurePolicy",
    "MaxFailedIndexesExceeded",
    "FailedIndexes",
];

fn restarts(pod: &Pod) -> usize {
    let status = pod.status.as_ref();
    let lists = status.map(|s| [&s.init_container_statuses, &s.container_statuses]);
    let all = lists.into_iter().flatten().flatten().flatten();
    all.map(|c| usize::try_from(c.restart_count).unwrap_or(0)).sum()
}

/// When the pod's last container ended.
fn finish_time(pod: &Pod) -> Option<Time> {
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
    let ends = statuses
        .into_iter()
        .flatten()
        .filter_map(|c| c.state.as_ref()?.terminated.as_ref()?.finished_at.clone());
    ends.max()
        .or_else(|| pod.metadata.deletion_timestamp.clone())
        .or_else(|| pod.metadata.creation_timestamp.clone())
}
