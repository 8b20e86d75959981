//! Deletes Jobs `ttlSecondsAfterFinished` after they finished.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/>

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use rkind_client::{Action, ErrorExt, WorkQueue, run_workers};

use crate::common::Context;

/// When the Job is to be deleted.
fn expiry(job: &Job) -> Option<Timestamp> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let finished = conditions
        .iter()
        .find(|c| (c.type_ == "Complete" || c.type_ == "Failed") && c.status == "True")?
        .last_transition_time
        .as_ref()?;
    finished.0.checked_add(SignedDuration::from_secs(ttl.into())).ok()
}

pub(crate) async fn run(context: Context) {
    let jobs = context.informers.get::<Job>();
    let queue = WorkQueue::new();
    context.feed(&jobs, &queue, |change| {
        let new = change
            .new
            .as_ref()
            .filter(|job| job.metadata.deletion_timestamp.is_none());
        new.and_then(|job| expiry(job))
            .map(|_| change.key.clone())
            .into_iter()
            .collect()
    });
    jobs.synced().await;
    let client = context.client.clone();
    let jobs = Arc::new(jobs);
    run_workers(
        queue,
        2,
        context.shutdown.clone(),
        move |key: rkind_client::ObjectKey| {
            let (client, jobs) = (client.clone(), jobs.clone());
            async move {
                let Some(at) = jobs.get(&key).and_then(|job| expiry(&job)) else {
                    return Ok(Action::Done);
                };
                let left = at.duration_since(Timestamp::now());
                if left.is_positive() {
                    return Ok(Action::RequeueAfter(Duration::try_from(left).unwrap_or_default()));
                }
                let api: Api<Job> = Api::namespaced(client, key.namespace());
                // The cache may be old: what is deleted is what the server says has expired.
                let Some(job) = api.get_opt(&key.name).await? else {
                    return Ok(Action::Done);
                };
                if expiry(&job).is_none_or(|at| at > Timestamp::now()) {
                    return Ok(Action::Done);
                }
                let parameters = DeleteParams {
                    propagation_policy: Some(PropagationPolicy::Foreground),
                    preconditions: Some(Preconditions {
                        uid: job.metadata.uid,
                        resource_version: None,
                    }),
                    ..DeleteParams::default()
                };
                match api.delete(&key.name, &parameters).await {
                    Err(error) if !error.is_not_found() => Err(error),
                    _ => Ok(Action::Done),
                }
            }
        },
    )
    .await;
}
