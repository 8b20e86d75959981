//! CronJobs: a Job at each time of a schedule.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/>

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use rkind_client::{
    Action, ErrorExt, EventRecorder, EventType, Informer, ObjectKey, WorkQueue, object_reference, owner,
    run_workers,
};

use crate::common::expect::Expectations;
use crate::common::owned::{BY_CONTROLLER, api_message};
use crate::common::{Context, Outcome, ReconcileError, WORKERS, controller_keys};

mod plan;
mod schedule;

use plan::Next;

pub(crate) async fn run(context: Context) {
    let cron_jobs = context.informers.get::<CronJob>();
    let jobs = context.informers.get::<Job>();
    jobs.index(BY_CONTROLLER, |job: &Job| owner::controller_uid(job));
    let queue = WorkQueue::new();
    context.feed_own(&cron_jobs, &queue);
    context.feed(&jobs, &queue, |change| controller_keys(change, "CronJob"));
    cron_jobs.synced().await;
    jobs.synced().await;
    let controller = Arc::new(Controller {
        recorder: context.recorder("cronjob-controller"),
        context: context.clone(),
        cron_jobs,
        jobs,
        own: Expectations::default(),
        made: Expectations::default(),
    });
    run_workers(queue, WORKERS, context.shutdown.clone(), move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    })
    .await;
}

struct Controller {
    context: Context,
    cron_jobs: Informer<CronJob>,
    jobs: Informer<Job>,
    /// Own status writes.
    own: Expectations,
    /// Own Jobs.
    made: Expectations,
    recorder: EventRecorder,
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> Outcome {
        let Some(cron_job) = self.cron_jobs.get(&key) else {
            self.own.forget(&key);
            self.made.forget(&key);
            return Ok(Action::Done);
        };
        if !self.own.satisfied(&key, &self.cron_jobs) || !self.made.satisfied(&key, &self.jobs) {
            return Ok(Action::Done);
        }
        let owned = self
            .jobs
            .by_index(BY_CONTROLLER, &cron_job.uid().unwrap_or_default());
        let api: Api<Job> = Api::namespaced(self.context.client.clone(), key.namespace());
        let mut status = cron_job.status.clone().unwrap_or_default();
        for (reason, message) in plan::settle(&mut status, &owned) {
            self.recorder
                .event(&*cron_job, EventType::Normal, reason, message);
        }
        for job in plan::beyond_history(&cron_job, &owned) {
            self.delete(&key, &cron_job, &api, &job.name_any()).await?;
        }
        let mut wait = None;
        if cron_job.metadata.deletion_timestamp.is_none() {
            let now = Timestamp::now();
            let next = plan::next(&cron_job, &status, now);
            wait = self.schedule(&key, &cron_job, &api, &mut status, next).await?;
        }
        self.write_status(&key, &cron_job, status).await?;
        let wait = wait.and_then(|at| Duration::try_from(at.duration_since(Timestamp::now())).ok());
        // A little late is on time; early would find nothing to do.
        let wait = wait.map(|wait| wait + Duration::from_millis(100));
        Ok(wait.map_or(Action::Done, Action::RequeueAfter))
    }

    /// Starts what is due; gives the time to look again.
    async fn schedule(
        &self,
        key: &ObjectKey,
        cron_job: &CronJob,
        api: &Api<Job>,
        status: &mut CronJobStatus,
        next: Next,
    ) -> Result<Option<Timestamp>, ReconcileError> {
        for (kind, reason, message) in &next.events {
            self.recorder.event(cron_job, *kind, reason, message.clone());
        }
        let Some(time) = next.start else {
            return Ok(next.look_again);
        };
        if next.replace {
            for active in status.active.take().into_iter().flatten() {
                let name = active.name.unwrap_or_default();
                self.delete(key, cron_job, api, &name).await?;
            }
        }
        let job = plan::job(cron_job, time);
        match api.create(&PostParams::default(), &job).await {
            Ok(created) => {
                self.made.wrote(key, &created);
                let message = format!("Created job {}", created.name_any());
                self.recorder
                    .event(cron_job, EventType::Normal, "SuccessfulCreate", message);
                status
                    .active
                    .get_or_insert_default()
                    .push(object_reference(&created));
            }
            Err(error) if error.is_already_exists() => {
                // Made before this process knew of it; it will be seen as ours, or it is not.
                tracing::debug!(cron_job = %key, job = job.name_any(), "the job exists already");
            }
            Err(error) if error.is_namespace_terminating() => return Ok(None),
            Err(error) => {
                let message = format!("Error creating job: {}", api_message(&error));
                self.recorder
                    .event(cron_job, EventType::Warning, "FailedCreate", message);
                return Err(error.into());
            }
        }
        status.last_schedule_time = Some(time.into());
        Ok(next.look_again)
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        cron_job: &CronJob,
        api: &Api<Job>,
        name: &str,
    ) -> Result<(), ReconcileError> {
        match api.delete(name, &DeleteParams::background()).await {
            Ok(_) => {
                if let Some(job) = self.jobs.get(&ObjectKey::new(key.namespace(), name)) {
                    self.made.deleted(key, &*job);
                }
                let message = format!("Deleted job {name}");
                self.recorder
                    .event(cron_job, EventType::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => {
                let message = format!("Deleted job: {}", api_message(&error));
                self.recorder
                    .event(cron_job, EventType::Warning, "FailedDelete", message);
                Err(error.into())
            }
        }
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        cron_job: &CronJob,
        mut status: CronJobStatus,
    ) -> Result<(), ReconcileError> {
        status.active = status.active.filter(|active| !active.is_empty());
        if cron_job.status.clone().unwrap_or_default() == status {
            return Ok(());
        }
        let mut changed = cron_job.clone();
        changed.status = Some(status);
        let api: Api<CronJob> = Api::namespaced(self.context.client.clone(), key.namespace());
        match api
            .replace_status(&key.name, &PostParams::default(), &changed)
            .await
        {
            Ok(written) => {
                self.own.wrote(key, &written);
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
