//! StatefulSets: numbered pods that keep their names and volumes.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/>

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use rkind_client::{
    Action, ErrorExt, EventRecorder, EventType, Informer, ObjectKey, Selector, WorkQueue, owner, run_workers,
};

use crate::common::claim::Claimer;
use crate::common::history::{self, History, Parent};
use crate::common::owned::{BY_CONTROLLER, api_message, controller_or_orphan, orphans};
use crate::common::{Context, Outcome, ReconcileError, WORKERS, controller_keys, pods};

mod claims;
mod identity;
mod plan;

use plan::Act;

pub(crate) async fn run(context: Context) {
    let sets = context.informers.get::<StatefulSet>();
    let pods = context.informers.get::<Pod>();
    let claims = context.informers.get::<PersistentVolumeClaim>();
    let revisions = context.informers.get::<ControllerRevision>();
    pods.index(BY_CONTROLLER, controller_or_orphan);
    revisions.index(BY_CONTROLLER, |r: &ControllerRevision| owner::controller_uid(r));
    let queue = WorkQueue::new();
    context.feed_own(&sets, &queue);
    context.feed(&revisions, &queue, |change| {
        controller_keys(change, "StatefulSet")
    });
    context.feed_owners(&pods, &queue, "StatefulSet", &sets, selector);
    sets.synced().await;
    pods.synced().await;
    claims.synced().await;
    revisions.synced().await;
    let controller = Arc::new(Controller {
        recorder: context.recorder("statefulset-controller"),
        context: context.clone(),
        sets,
        pods,
        claims,
        revisions,
    });
    run_workers(queue, WORKERS, context.shutdown.clone(), move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    })
    .await;
}

fn selector(set: &StatefulSet) -> Result<Selector, rkind_client::selector::SelectorError> {
    Selector::from_api(set.spec.as_ref().map(|s| &s.selector))
}

struct Controller {
    context: Context,
    sets: Informer<StatefulSet>,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    revisions: Informer<ControllerRevision>,
    recorder: EventRecorder,
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> Outcome {
        let Some(set) = self.sets.get(&key) else {
            return Ok(Action::Done);
        };
        let selector = selector(&set)?;
        if selector.is_everything() {
            return Ok(Action::Done);
        }
        let client = &self.context.client;
        let uid = set.uid().unwrap_or_default();
        let claimer = Claimer {
            owners: Api::<StatefulSet>::namespaced(client.clone(), key.namespace()),
            owner: &*set,
            reference: owner::controller_ref(&*set),
            selector: &selector,
        };
        let mut candidates = self.pods.by_index(BY_CONTROLLER, &uid);
        candidates.extend(self.pods.by_index(BY_CONTROLLER, &orphans(key.namespace())));
        // Only pods that could be ours by name: others are never adopted.
        candidates.retain(|pod| identity::ordinal(&key.name, &pod.name_any()).is_some());
        let pod_api: Api<Pod> = Api::namespaced(client.clone(), key.namespace());
        let claimed = claimer.claim(&pod_api, candidates).await?;

        let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), key.namespace());
        let status = set.status.clone().unwrap_or_default();
        let spec = set.spec.clone().unwrap_or_default();
        let parent = Parent {
            reference: owner::controller_ref(&*set),
            namespace: key.namespace(),
            template: &spec.template,
            collisions: status.collision_count.unwrap_or(0),
            hash_label: "controller.kubernetes.io/hash",
        };
        let history =
            history::sync(&revisions, &parent, self.revisions.by_index(BY_CONTROLLER, &uid)).await?;
        let versions = versions(&set, &history);
        let now = Timestamp::now();
        let acts = plan::plan(&set, &versions, &claimed, now);
        for act in acts {
            self.act(&key, &set, &pod_api, act).await?;
        }
        let mut new = plan::status(&set, &versions, &claimed, now);
        new.collision_count = Some(history.collisions);
        self.write_status(&key, &set, &new).await?;
        let mut live: HashSet<String> = claimed.iter().filter_map(|pod| identity::revision(pod)).collect();
        live.extend([versions.current.0.clone(), versions.update.0.clone()]);
        history::truncate(&revisions, &history, &live, spec.revision_history_limit).await?;
        let wait = claimed
            .iter()
            .filter_map(|p| pods::available_in(p, spec.min_ready_seconds.unwrap_or(0), now));
        let wait = wait.min().and_then(|wait| Duration::try_from(wait).ok());
        Ok(wait.map_or(Action::Done, |wait| {
            Action::RequeueAfter(wait.max(Duration::from_millis(100)))
        }))
    }

    async fn act(
        &self,
        key: &ObjectKey,
        set: &StatefulSet,
        api: &Api<Pod>,
        act: Act,
    ) -> Result<(), ReconcileError> {
        match act {
            Act::Create(pod) => {
                let name = pod.name_any();
                let result = match self.create_claims(key, set, &pod).await {
                    Ok(()) => api.create(&PostParams::default(), &pod).await.map(|_| ()),
                    Err(error) => Err(error),
                };
                match result {
                    Err(error) if error.is_already_exists() || error.is_namespace_terminating() => Ok(()),
                    result => self.tell(set, "create", &name, result),
                }
            }
            Act::Update(pod) => {
                let name = pod.name_any();
                let result = match self.create_claims(key, set, &pod).await {
                    Ok(()) => api.replace(&name, &PostParams::default(), &pod).await.map(|_| ()),
                    Err(error) => Err(error),
                };
                self.tell(set, "update", &name, result)
            }
            Act::Claims(pod) => Ok(self.create_claims(key, set, &pod).await?),
            Act::Delete(pod) => {
                self.release_claims(key, set, &pod).await?;
                let parameters = DeleteParams {
                    preconditions: Some(Preconditions {
                        uid: pod.uid(),
                        resource_version: None,
                    }),
                    ..DeleteParams::default()
                };
                match api.delete(&pod.name_any(), &parameters).await {
                    Err(error) if error.is_not_found() => Ok(()),
                    result => self.tell(set, "delete", &pod.name_any(), result.map(|_| ())),
                }
            }
        }
    }

    fn tell(
        &self,
        set: &StatefulSet,
        verb: &str,
        pod: &str,
        result: kube::Result<()>,
    ) -> Result<(), ReconcileError> {
        let name = set.name_any();
        let title = format!("{}{}", verb[..1].to_uppercase(), &verb[1..]);
        match result {
            Ok(()) => {
                let message = format!("{verb} Pod {pod} in StatefulSet {name} successful");
                self.recorder
                    .event(set, EventType::Normal, &format!("Successful{title}"), message);
                Ok(())
            }
            Err(error) => {
                let text = api_message(&error);
                let message = format!("{verb} Pod {pod} in StatefulSet {name} failed error: {text}");
                self.recorder
                    .event(set, EventType::Warning, &format!("Failed{title}"), message);
                Err(error.into())
            }
        }
    }

    async fn create_claims(&self, key: &ObjectKey, set: &StatefulSet, pod: &Pod) -> kube::Result<()> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.context.client.clone(), key.namespace());
        for claim in claims::claims(set, pod) {
            let name = claim.name_any();
            if self
                .claims
                .get(&ObjectKey::new(key.namespace(), &*name))
                .is_some()
            {
                continue;
            }
            let (pod, set_name) = (pod.name_any(), set.name_any());
            match api.create(&PostParams::default(), &claim).await {
                Ok(_) => {
                    let message = format!("create Claim {name} Pod {pod} in StatefulSet {set_name} success");
                    self.recorder
                        .event(set, EventType::Normal, "SuccessfulCreate", message);
                }
                Err(error) if error.is_already_exists() => {}
                Err(error) => {
                    let text = api_message(&error);
                    let message = format!(
                        "create Claim {name} for Pod {pod} in StatefulSet {set_name} failed error: {text}"
                    );
                    self.recorder
                        .event(set, EventType::Warning, "FailedCreate", message);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// With `whenScaled: Delete` a condemned pod's claims follow it.
    async fn release_claims(
        &self,
        key: &ObjectKey,
        set: &StatefulSet,
        pod: &Pod,
    ) -> Result<(), ReconcileError> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.context.client.clone(), key.namespace());
        for name in claims::to_release(set, pod) {
            let key = ObjectKey::new(key.namespace(), &*name);
            let Some(claim) = self.claims.get(&key) else {
                continue;
            };
            if let Some(owned) = claims::owned_by_pod(&claim, pod) {
                match api.replace(&name, &PostParams::default(), &owned).await {
                    Err(error) if !error.is_not_found() => return Err(error.into()),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        set: &StatefulSet,
        status: &StatefulSetStatus,
    ) -> Result<(), ReconcileError> {
        if set.status.as_ref() == Some(status) {
            return Ok(());
        }
        let mut changed = set.clone();
        changed.status = Some(status.clone());
        let api: Api<StatefulSet> = Api::namespaced(self.context.client.clone(), key.namespace());
        match api
            .replace_status(&key.name, &PostParams::default(), &changed)
            .await
        {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// The current and the update revision's names and templates.
fn versions(set: &StatefulSet, history: &History) -> plan::Versions {
    let template = set.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
    let update = history
        .update()
        .map(|r| history::name(r).to_owned())
        .unwrap_or_default();
    let current = set.status.as_ref().and_then(|s| s.current_revision.clone());
    let known = history
        .all
        .iter()
        .find(|r| Some(history::name(r)) == current.as_deref());
    let current = match known.and_then(|r| Some((history::name(r).to_owned(), history::template(r)?))) {
        Some(current) => current,
        None => (update.clone(), template.clone()),
    };
    plan::Versions {
        current,
        update: (update, template),
    }
}

#[cfg(test)]
mod tests;
