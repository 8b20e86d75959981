//! Deployments: ReplicaSets old and new, rolled from one to the other.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/>

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Resource};
use rkind_client::{
    Action, ErrorExt, EventRecorder, EventType, Informer, ObjectKey, Selector, WorkQueue, owner, run_workers,
};
use serde_json::json;

use crate::common::claim::Claimer;
use crate::common::owned::{BY_CONTROLLER, controller_or_orphan};
use crate::common::{Context, Outcome, ReconcileError, WORKERS, controller_keys};

mod annotations;
mod newset;
mod progress;
mod rolling;
mod scale;
mod sets;

use sets::{Replicas, Scale, Sets};

pub(crate) async fn run(context: Context) {
    let deployments = context.informers.get::<Deployment>();
    let sets = context.informers.get::<ReplicaSet>();
    let pods = context.informers.get::<Pod>();
    sets.index(BY_CONTROLLER, |set: &ReplicaSet| owner::controller_uid(set));
    pods.index(BY_CONTROLLER, controller_or_orphan);

    let queue = WorkQueue::new();
    context.feed_own(&deployments, &queue);
    let all = deployments.clone();
    context.feed(&sets, &queue, move |change| {
        let mut keys = controller_keys(change, "Deployment");
        if let Some(set) = &change.new
            && owner::controller_of(&set.metadata).is_none()
        {
            for deployment in all.list_in(change.key.namespace()) {
                if selector(&deployment).is_ok_and(|s| s.matches(set.metadata.labels.as_ref())) {
                    keys.push(ObjectKey::of(&*deployment));
                }
            }
        }
        keys
    });
    // A Recreate rollout waits for the last old pod to go.
    let owners = sets.clone();
    context.feed(&pods, &queue, move |change| {
        if change.new.is_some() {
            return Vec::new();
        }
        controller_keys(change, "ReplicaSet")
            .iter()
            .filter_map(|key| owners.get(key))
            .filter_map(|set| {
                let controller = owner::controller_of(&set.metadata).filter(|r| r.kind == "Deployment")?;
                Some(ObjectKey::new(change.key.namespace(), controller.name.clone()))
            })
            .collect()
    });
    deployments.synced().await;
    sets.synced().await;
    pods.synced().await;
    let controller = Arc::new(Controller {
        recorder: context.recorder("deployment-controller"),
        context: context.clone(),
        deployments,
        sets,
        pods,
    });
    run_workers(queue, WORKERS, context.shutdown.clone(), move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    })
    .await;
}

fn selector(deployment: &Deployment) -> Result<Selector, rkind_client::selector::SelectorError> {
    Selector::from_api(deployment.spec.as_ref().map(|s| &s.selector))
}

struct Controller {
    context: Context,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    recorder: EventRecorder,
}

/// One run's view of one Deployment.
struct Run<'a> {
    controller: &'a Controller,
    key: &'a ObjectKey,
    deployment: Deployment,
    now: Time,
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> Outcome {
        let Some(deployment) = self.deployments.get(&key) else {
            return Ok(Action::Done);
        };
        let mut run = Run {
            controller: self,
            key: &key,
            deployment: (*deployment).clone(),
            now: crate::common::now(),
        };
        let selector = selector(&deployment)?;
        if selector.is_everything() {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.recorder
                .event(&*deployment, EventType::Warning, "SelectingAll", message);
            let mut status = run.status();
            if status.observed_generation < deployment.metadata.generation {
                status.observed_generation = deployment.metadata.generation;
                run.write_status(status).await?;
            }
            return Ok(Action::Done);
        }
        let sets = self.claim(&key, &deployment, &selector).await?;
        run.reconcile(sets).await
    }

    async fn claim(
        &self,
        key: &ObjectKey,
        deployment: &Deployment,
        selector: &Selector,
    ) -> Result<Vec<Arc<ReplicaSet>>, ReconcileError> {
        let claimer = Claimer {
            owners: Api::<Deployment>::namespaced(self.context.client.clone(), key.namespace()),
            owner: deployment,
            reference: owner::controller_ref(deployment),
            selector,
        };
        claimer
            .claim(&self.replica_sets(key), self.sets.list_in(key.namespace()))
            .await
    }

    fn replica_sets(&self, key: &ObjectKey) -> Api<ReplicaSet> {
        Api::namespaced(self.context.client.clone(), key.namespace())
    }
}

impl Run<'_> {
    async fn reconcile(&mut self, all: Vec<Arc<ReplicaSet>>) -> Outcome {
        let all: Vec<ReplicaSet> = all.iter().map(|set| (**set).clone()).collect();
        if self.deployment.metadata.deletion_timestamp.is_some() {
            let sets = Sets::sort(&self.deployment, all);
            return self.sync_status(&sets).await;
        }
        self.pause_conditions().await?;
        let mut sets = Sets::sort(&self.deployment, all);
        if sets::spec(&self.deployment).paused == Some(true) || sets.is_scaling(&self.deployment) {
            return self.sync_scale(&mut sets).await;
        }
        if sets::is_recreate(&self.deployment) {
            self.recreate(&mut sets).await
        } else {
            self.roll(&mut sets).await
        }
    }

    /// Paused, or its size has changed: only scale, never roll.
    async fn sync_scale(&mut self, sets: &mut Sets) -> Outcome {
        self.sync_new_set(sets, false).await?;
        for scale in scale::plan(&self.deployment, sets) {
            self.scale(sets, scale).await?;
        }
        if sets::spec(&self.deployment).paused == Some(true) {
            self.clean_up(sets).await?;
        }
        self.sync_status(sets).await
    }

    async fn roll(&mut self, sets: &mut Sets) -> Outcome {
        self.sync_new_set(sets, true).await?;
        if let Some(scale) = rolling::scale_new(&self.deployment, sets) {
            self.scale(sets, scale).await?;
            return self.sync_rollout_status(sets).await;
        }
        let down = rolling::scale_old(&self.deployment, sets);
        let scaled = !down.is_empty();
        for scale in down {
            self.scale(sets, scale).await?;
        }
        if !scaled && progress::is_complete(&self.deployment, &self.status()) {
            self.clean_up(sets).await?;
        }
        self.sync_rollout_status(sets).await
    }

    async fn recreate(&mut self, sets: &mut Sets) -> Outcome {
        self.sync_new_set(sets, false).await?;
        let down = rolling::scale_all_old_to_zero(sets);
        if !down.is_empty() {
            for scale in down {
                self.scale(sets, scale).await?;
            }
            return self.sync_rollout_status(sets).await;
        }
        if self.old_pods_run(sets) {
            return self.sync_rollout_status(sets).await;
        }
        if sets.new.is_none() {
            self.sync_new_set(sets, true).await?;
        }
        let wanted = sets::replicas(&self.deployment);
        if let Some(new) = sets.new.as_ref().filter(|new| new.wanted() != wanted) {
            let scale = Scale::to(new, wanted);
            self.scale(sets, scale).await?;
        }
        if progress::is_complete(&self.deployment, &self.status()) {
            self.clean_up(sets).await?;
        }
        self.sync_rollout_status(sets).await
    }

    /// Whether any pod of an old ReplicaSet may still run.
    fn old_pods_run(&self, sets: &Sets) -> bool {
        sets.old.iter().any(|set| {
            set.actual() > 0
                || self
                    .controller
                    .pods
                    .by_index(BY_CONTROLLER, set.metadata.uid.as_deref().unwrap_or_default())
                    .iter()
                    .any(|pod| !crate::common::pods::is_terminal(pod))
        })
    }

    fn status(&self) -> DeploymentStatus {
        self.deployment.status.clone().unwrap_or_default()
    }

    /// Sets one ReplicaSet's size, records it in `sets`, tells by event.
    async fn scale(&self, sets: &mut Sets, scale: Scale) -> Result<(), ReconcileError> {
        let Some(set) = sets.get_mut(&scale.name) else {
            return Ok(());
        };
        let before = set.wanted();
        let mut changed = set.clone();
        let resized = before != scale.replicas;
        let annotated = annotations::set_sizes(&mut changed, &self.deployment);
        if !resized && !annotated {
            return Ok(());
        }
        changed.spec.get_or_insert_default().replicas = Some(scale.replicas);
        let api = self.controller.replica_sets(self.key);
        *set = api.replace(&scale.name, &PostParams::default(), &changed).await?;
        if resized {
            self.tell_scaled(&scale.name, before, scale.replicas);
        }
        Ok(())
    }

    fn tell_scaled(&self, set: &str, from: i32, to: i32) {
        let way = if to > from { "up" } else { "down" };
        let message = format!("Scaled {way} replica set {set} from {from} to {to}");
        self.controller
            .recorder
            .event(&self.deployment, EventType::Normal, "ScalingReplicaSet", message);
    }

    /// Removes the oldest finished ReplicaSets beyond the history limit.
    async fn clean_up(&self, sets: &Sets) -> Result<(), ReconcileError> {
        let api = self.controller.replica_sets(self.key);
        for set in sets.beyond_history(sets::spec(&self.deployment).revision_history_limit) {
            let parameters = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: set.metadata.uid.clone(),
                    resource_version: None,
                }),
                ..DeleteParams::default()
            };
            match api
                .delete(set.meta().name.as_deref().unwrap_or_default(), &parameters)
                .await
            {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    async fn pause_conditions(&mut self) -> Result<(), ReconcileError> {
        match progress::pause_condition(&self.deployment, &self.now) {
            Some(status) => self.write_status(status).await,
            None => Ok(()),
        }
    }

    /// Reports what is there, without judging the rollout's progress.
    async fn sync_status(&mut self, sets: &Sets) -> Outcome {
        let status = progress::count(&self.deployment, sets, &self.now);
        self.write_status(status).await?;
        Ok(Action::Done)
    }

    async fn sync_rollout_status(&mut self, sets: &Sets) -> Outcome {
        let status = progress::rollout(&self.deployment, sets, &self.now);
        let again = progress::look_again_in(&self.deployment, &status, &self.now);
        self.write_status(status).await?;
        Ok(again.map_or(Action::Done, |wait| {
            Action::RequeueAfter(wait.max(Duration::from_secs(1)))
        }))
    }

    async fn write_status(&mut self, status: DeploymentStatus) -> Result<(), ReconcileError> {
        if self.status() == status {
            return Ok(());
        }
        let mut changed = self.deployment.clone();
        changed.status = Some(status);
        let api: Api<Deployment> =
            Api::namespaced(self.controller.context.client.clone(), self.key.namespace());
        match api
            .replace_status(&self.key.name, &PostParams::default(), &changed)
            .await
        {
            Ok(written) => self.deployment = written,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The revision stands in the Deployment's own annotations too.
    async fn write_revision(&mut self, revision: &str) -> Result<(), ReconcileError> {
        if annotations::get(&self.deployment.metadata, annotations::REVISION) == Some(revision) {
            return Ok(());
        }
        let api: Api<Deployment> =
            Api::namespaced(self.controller.context.client.clone(), self.key.namespace());
        let change = json!({"metadata": {
            "uid": self.deployment.metadata.uid,
            "annotations": {annotations::REVISION: revision},
        }});
        self.deployment = rkind_client::patch::merge(&api, &self.key.name, &change).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
