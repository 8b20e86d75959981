//! Jobs: pods until enough have succeeded.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/job/>. Pods carry a finalizer until they
//! are counted, so none is counted twice or never: a finished pod is first noted in the status as
//! uncounted, then loses its finalizer, then is counted.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use rkind_client::{
    Action, ErrorExt, EventRecorder, Informer, ObjectKey, Selector, WorkQueue, object_reference, owner,
    patch, run_workers,
};
use serde_json::json;

use crate::common::claim::Claimer;
use crate::common::expect::Expectations;
use crate::common::owned::{BY_CONTROLLER, PodControl, controller_or_orphan, orphans};
use crate::common::{Context, Outcome, ReconcileError, WORKERS, controller_keys, slowstart};

mod failure;
mod indexes;
mod plan;
mod pod;

/// Held by pods that are not counted yet.
const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Pods by namespace/name of their Job.
const BY_JOB: &str = "job";

pub(crate) async fn run(context: Context) {
    let jobs = context.informers.get::<Job>();
    let pods = context.informers.get::<Pod>();
    pods.index(BY_CONTROLLER, controller_or_orphan);
    pods.index(BY_JOB, job_of);
    let queue = WorkQueue::new();
    context.feed_own(&jobs, &queue);
    context.feed(&pods, &queue, |change| controller_keys(change, "Job"));
    jobs.synced().await;
    pods.synced().await;
    let controller = Arc::new(Controller {
        recorder: context.recorder("job-controller"),
        context: context.clone(),
        jobs,
        pods,
        expectations: Expectations::default(),
        own: Expectations::default(),
    });
    run_workers(queue, WORKERS, context.shutdown.clone(), move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    })
    .await;
}

struct Controller {
    context: Context,
    jobs: Informer<Job>,
    pods: Informer<Pod>,
    expectations: Expectations,
    /// Own status writes: acting on a Job older than they are would make pods that are counted already.
    own: Expectations,
    recorder: EventRecorder,
}

/// Index values of a pod: the namespace and name of its Job, whichever Job of that name it is.
fn job_of(pod: &Pod) -> Vec<String> {
    let job = owner::controller_of(&pod.metadata).filter(|r| r.kind == "Job");
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    job.map(|r| ObjectKey::new(namespace, r.name.clone()).to_string())
        .into_iter()
        .collect()
}

fn has_finalizer(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER)
}

impl Controller {
    fn pod_api(&self, key: &ObjectKey) -> Api<Pod> {
        Api::namespaced(self.context.client.clone(), key.namespace())
    }

    async fn reconcile(&self, key: ObjectKey) -> Outcome {
        let Some(job) = self.jobs.get(&key) else {
            self.expectations.forget(&key);
            self.own.forget(&key);
            return self.release_all(&key, None).await;
        };
        if !self.own.satisfied(&key, &self.jobs) {
            // The write arrives as a change and queues the Job again.
            return Ok(Action::Done);
        }
        if job
            .spec
            .as_ref()
            .and_then(|s| s.managed_by.as_deref())
            .is_some_and(|m| m != "kubernetes.io/job-controller")
        {
            return Ok(Action::Done);
        }
        let uid = job.uid().unwrap_or_default();
        if job.metadata.deletion_timestamp.is_some() || plan::is_finished(&job) {
            return self.release_all(&key, None).await;
        }
        self.release_all(&key, Some(&uid)).await?;
        let may_act = self.expectations.satisfied(&key, &self.pods);
        let claimed = self.claim(&key, &job, &uid).await?;
        let now = crate::common::now();
        let decision = plan::decide(&job, &claimed, &now);
        if may_act {
            self.carry_out(&key, &job, &decision).await?;
        }
        for (kind, reason, message) in &decision.events {
            self.recorder.event(&*job, *kind, reason, message.clone());
        }
        let job = self.write_status(&key, &job, decision.status).await?;
        self.remove_finalizers(&key, &job, &claimed).await?;
        for pod in &decision.release {
            self.release(&key, pod).await?;
        }
        let wait = decision.look_again.and_then(|wait| Duration::try_from(wait).ok());
        Ok(wait.map_or(Action::Done, |wait| {
            Action::RequeueAfter(wait.max(Duration::from_millis(100)))
        }))
    }

    async fn claim(&self, key: &ObjectKey, job: &Job, uid: &str) -> Result<Vec<Arc<Pod>>, ReconcileError> {
        let mut candidates = self.pods.by_index(BY_CONTROLLER, uid);
        let Some(selector) = job.spec.as_ref().and_then(|s| s.selector.as_ref()) else {
            return Ok(candidates);
        };
        let selector = Selector::from_api(Some(selector))?;
        candidates.extend(self.pods.by_index(BY_CONTROLLER, &orphans(key.namespace())));
        let claimer = Claimer {
            owners: Api::<Job>::namespaced(self.context.client.clone(), key.namespace()),
            owner: job,
            reference: owner::controller_ref(job),
            selector: &selector,
        };
        claimer.claim(&self.pod_api(key), candidates).await
    }

    async fn carry_out(
        &self,
        key: &ObjectKey,
        job: &Job,
        decision: &plan::Decision,
    ) -> Result<(), ReconcileError> {
        let api = self.pod_api(key);
        let control = PodControl {
            api: &api,
            key,
            owner: object_reference(job),
            recorder: &self.recorder,
            expectations: &self.expectations,
        };
        let deletions = decision.delete.iter().map(|pod| control.delete(pod));
        let failed = futures::future::join_all(deletions)
            .await
            .into_iter()
            .find_map(Result::err);
        let create = |i: usize| control.create(&decision.create[i]);
        let (_, error) = slowstart::batches(decision.create.len(), create).await;
        match error.filter(|error| !error.is_namespace_terminating()).or(failed) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Lets go of pods that are noted as uncounted.
    async fn remove_finalizers(
        &self,
        key: &ObjectKey,
        job: &Job,
        pods: &[Arc<Pod>],
    ) -> Result<(), ReconcileError> {
        let finished = plan::is_finished(job);
        let noted = plan::uncounted(job.status.as_ref());
        for pod in pods.iter().filter(|pod| has_finalizer(pod)) {
            if finished || noted.contains(&pod.uid().unwrap_or_default()) {
                self.release(key, pod).await?;
            }
        }
        Ok(())
    }

    /// Nothing more is counted of these pods: their Job is gone, going or finished, or is another of the
    /// same name. `keep`: the uid of the Job whose pods are still counted.
    async fn release_all(&self, key: &ObjectKey, keep: Option<&str>) -> Outcome {
        for pod in self.pods.by_index(BY_JOB, &key.to_string()) {
            let counted = keep.is_some_and(|uid| owner::is_controlled_by(&pod.metadata, uid));
            if !counted && has_finalizer(&pod) {
                self.release(key, &pod).await?;
            }
        }
        Ok(Action::Done)
    }

    async fn release(&self, key: &ObjectKey, pod: &Pod) -> Result<(), ReconcileError> {
        let mut left = pod.metadata.finalizers.clone().unwrap_or_default();
        left.retain(|f| f != FINALIZER);
        let left = if left.is_empty() {
            serde_json::Value::Null
        } else {
            json!(left)
        };
        let change = json!({"metadata": {
            "uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version, "finalizers": left,
        }});
        match patch::merge(&self.pod_api(key), &pod.name_any(), &change).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        job: &Job,
        status: JobStatus,
    ) -> Result<Job, ReconcileError> {
        let mut changed = job.clone();
        changed.status = Some(status);
        if job.status == changed.status
            || (job.status.is_none() && changed.status == Some(JobStatus::default()))
        {
            return Ok(changed);
        }
        let api: Api<Job> = Api::namespaced(self.context.client.clone(), key.namespace());
        let written = api
            .replace_status(&key.name, &PostParams::default(), &changed)
            .await?;
        self.own.wrote(key, &written);
        Ok(written)
    }
}

/// How long ago in whole seconds, never negative.
fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs().max(0)
}

#[cfg(test)]
mod tests;
