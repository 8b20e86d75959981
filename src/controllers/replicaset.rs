//! ReplicaSets and ReplicationControllers: as many pods of a template as asked for.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/>

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec, ReplicationController};
use kube::api::PostParams;
use kube::{Api, Resource};
use rkind_client::selector::SelectorError;
use rkind_client::{
    Action, ErrorExt, EventRecorder, Informer, ObjectKey, Selector, WorkQueue, object_reference, owner,
    run_workers,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::common::claim::Claimer;
use crate::common::expect::Expectations;
use crate::common::owned::{BY_CONTROLLER, PodControl, controller_or_orphan, orphans};
use crate::common::{Context, Outcome, ReconcileError, WORKERS, pods, slowstart};

mod kinds;
mod plan;

use plan::Plan;

/// What the two kinds have in common.
pub(crate) trait Replicator:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// `source.component` of its events.
    const COMPONENT: &'static str;
    const KIND: &'static str;
    fn replicas(&self) -> i32;
    fn min_ready_seconds(&self) -> i32;
    fn selector(&self) -> Result<Selector, SelectorError>;
    fn template(&self) -> PodTemplateSpec;
    fn status(&self) -> ReplicaSetStatus;
    fn set_status(&mut self, status: ReplicaSetStatus);
}

pub(crate) async fn run(context: Context) {
    run_kind::<ReplicaSet>(context).await;
}

pub(crate) async fn run_replication_controllers(context: Context) {
    run_kind::<ReplicationController>(context).await;
}

struct Controller<R> {
    context: Context,
    owners: Informer<R>,
    pods: Informer<Pod>,
    expectations: Expectations,
    recorder: EventRecorder,
}

async fn run_kind<R: Replicator>(context: Context) {
    let owners = context.informers.get::<R>();
    let pods = context.informers.get::<Pod>();
    pods.index(BY_CONTROLLER, controller_or_orphan);
    owners.index(BY_CONTROLLER, |o: &R| owner::controller_uid(o));

    let queue = WorkQueue::new();
    context.feed_own(&owners, &queue);
    context.feed_owners(&pods, &queue, R::KIND, &owners, R::selector);
    owners.synced().await;
    pods.synced().await;
    let controller = Arc::new(Controller {
        recorder: context.recorder(R::COMPONENT),
        context: context.clone(),
        owners,
        pods,
        expectations: Expectations::default(),
    });
    run_workers(queue, WORKERS, context.shutdown.clone(), move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    })
    .await;
}

impl<R: Replicator> Controller<R> {
    async fn reconcile(&self, key: ObjectKey) -> Outcome {
        let Some(object) = self.owners.get(&key) else {
            self.expectations.forget(&key);
            return Ok(Action::Done);
        };
        let may_act = self.expectations.satisfied(&key, &self.pods);
        let selector = object.selector()?;
        let uid = object.meta().uid.clone().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), key.namespace());
        let claimer = Claimer {
            owners: Api::namespaced(self.context.client.clone(), key.namespace()),
            owner: &*object,
            reference: owner::controller_ref(&*object),
            selector: &selector,
        };
        let mut candidates = self.pods.by_index(BY_CONTROLLER, &uid);
        candidates.extend(self.pods.by_index(BY_CONTROLLER, &orphans(key.namespace())));
        candidates.retain(|pod| !pods::is_terminal(pod));
        let claimed = claimer.claim(&api, candidates).await?;
        let (active, terminating): (Vec<_>, Vec<_>) = claimed
            .into_iter()
            .partition(|pod| pod.metadata.deletion_timestamp.is_none());

        let mut failure = None;
        if may_act && object.meta().deletion_timestamp.is_none() {
            failure = self.manage(&key, &object, &api, &active).await;
        }
        let now = Timestamp::now();
        let status = plan::status(
            &object.status(),
            plan::Observed {
                min_ready_seconds: object.min_ready_seconds(),
                template_labels: object.template().metadata.and_then(|m| m.labels),
                generation: object.meta().generation,
                active: &active,
                terminating: terminating.len(),
                failure: failure
                    .as_ref()
                    .map(|f| (f.reason, rkind_client::chain(&f.error))),
            },
            now,
        );
        self.write_status(&key, &object, &status).await?;
        if let Some(failure) = failure {
            return Err(failure.error);
        }
        let soonest = active
            .iter()
            .filter_map(|pod| pods::available_in(pod, object.min_ready_seconds(), now))
            .min()
            .and_then(|wait| Duration::try_from(wait).ok());
        Ok(soonest.map_or(Action::Done, |wait| {
            Action::RequeueAfter(wait.max(Duration::from_millis(100)))
        }))
    }

    /// Creates or deletes pods.
    async fn manage(
        &self,
        key: &ObjectKey,
        object: &R,
        api: &Api<Pod>,
        active: &[Arc<Pod>],
    ) -> Option<Failure> {
        let control = PodControl {
            api,
            key,
            owner: object_reference(object),
            recorder: &self.recorder,
            expectations: &self.expectations,
        };
        match plan::plan(
            active,
            object.replicas(),
            &self.crowd(object, active),
            Timestamp::now(),
        ) {
            Plan::Nothing => None,
            Plan::Create(count) => {
                let template = object.template();
                let pod = pods::from_template(
                    &template,
                    key.namespace(),
                    &key.name,
                    owner::controller_ref(object),
                );
                let (_, error) = slowstart::batches(count, |_| control.create(&pod)).await;
                // Nothing can be made in a namespace that goes away: no use in trying again.
                let error = error.filter(|error| !error.is_namespace_terminating())?;
                Some(Failure {
                    reason: "FailedCreate",
                    error: error.into(),
                })
            }
            Plan::Delete(doomed) => {
                let deletions = doomed.iter().map(|pod| control.delete(pod));
                let results = futures::future::join_all(deletions).await;
                let error = results.into_iter().find_map(Result::err)?;
                Some(Failure {
                    reason: "FailedDelete",
                    error: error.into(),
                })
            }
        }
    }

    /// How many pods of this object and of its siblings (same controller) run on each node.
    fn crowd(&self, object: &R, active: &[Arc<Pod>]) -> std::collections::HashMap<String, usize> {
        let Some(parent) = owner::controller_of(object.meta()) else {
            return pods::crowd(active.iter().map(|p| &**p));
        };
        let related: Vec<Arc<Pod>> = self
            .owners
            .by_index(BY_CONTROLLER, &parent.uid)
            .iter()
            .flat_map(|sibling| {
                self.pods
                    .by_index(BY_CONTROLLER, sibling.meta().uid.as_deref().unwrap_or_default())
            })
            .collect();
        pods::crowd(related.iter().map(|p| &**p))
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        object: &R,
        status: &ReplicaSetStatus,
    ) -> Result<(), ReconcileError> {
        let mut changed = object.clone();
        changed.set_status(status.clone());
        if object.status() == changed.status() {
            return Ok(());
        }
        let api: Api<R> = Api::namespaced(self.context.client.clone(), key.namespace());
        match api
            .replace_status(&key.name, &PostParams::default(), &changed)
            .await
        {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(|_| ()).map_err(Into::into),
        }
    }
}

struct Failure {
    reason: &'static str,
    error: ReconcileError,
}

#[cfg(test)]
mod tests;
