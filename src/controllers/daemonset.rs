//! DaemonSets: one pod of a template on every node that fits.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/>

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use rkind_client::{
    Action, ErrorExt, EventRecorder, EventType, Informer, ObjectKey, Selector, WorkQueue, object_reference,
    owner, run_workers,
};

use crate::common::claim::Claimer;
use crate::common::expect::Expectations;
use crate::common::history::{self, Parent};
use crate::common::owned::{BY_CONTROLLER, PodControl, controller_or_orphan, orphans};
use crate::common::{Context, Outcome, ReconcileError, WORKERS, controller_keys, pods, slowstart};

mod fit;
mod plan;

/// The label with the revision's hash, on revisions and pods.
const HASH_LABEL: &str = "controller-revision-hash";
/// Most pods created or deleted in one run.
const BURST: usize = 250;

pub(crate) async fn run(context: Context) {
    let sets = context.informers.get::<DaemonSet>();
    let pods = context.informers.get::<Pod>();
    let nodes = context.informers.get::<Node>();
    let revisions = context.informers.get::<ControllerRevision>();
    pods.index(BY_CONTROLLER, controller_or_orphan);
    revisions.index(BY_CONTROLLER, |r: &ControllerRevision| owner::controller_uid(r));
    let queue = WorkQueue::new();
    context.feed_own(&sets, &queue);
    context.feed(&revisions, &queue, |change| controller_keys(change, "DaemonSet"));
    context.feed_owners(&pods, &queue, "DaemonSet", &sets, selector);
    let all = sets.clone();
    context.feed(&nodes, &queue, move |change| {
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && !fit::matters(old, new)
        {
            return Vec::new();
        }
        all.list().iter().map(|set| ObjectKey::of(&**set)).collect()
    });
    sets.synced().await;
    pods.synced().await;
    nodes.synced().await;
    revisions.synced().await;
    let controller = Arc::new(Controller {
        recorder: context.recorder("daemonset-controller"),
        context: context.clone(),
        sets,
        pods,
        nodes,
        revisions,
        expectations: Expectations::default(),
    });
    run_workers(queue, WORKERS, context.shutdown.clone(), move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    })
    .await;
}

fn selector(set: &DaemonSet) -> Result<Selector, rkind_client::selector::SelectorError> {
    Selector::from_api(set.spec.as_ref().map(|s| &s.selector))
}

struct Controller {
    context: Context,
    sets: Informer<DaemonSet>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    revisions: Informer<ControllerRevision>,
    expectations: Expectations,
    recorder: EventRecorder,
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> Outcome {
        let Some(set) = self.sets.get(&key) else {
            self.expectations.forget(&key);
            return Ok(Action::Done);
        };
        let selector = selector(&set)?;
        if selector.is_everything() {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.recorder
                .event(&*set, EventType::Warning, "SelectingAll", message);
            return Ok(Action::Done);
        }
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(Action::Done);
        }
        let client = &self.context.client;
        let uid = set.uid().unwrap_or_default();
        let spec = set.spec.clone().unwrap_or_default();
        let status = set.status.clone().unwrap_or_default();
        let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), key.namespace());
        let parent = Parent {
            reference: owner::controller_ref(&*set),
            namespace: key.namespace(),
            template: &spec.template,
            collisions: status.collision_count.unwrap_or(0),
            hash_label: HASH_LABEL,
        };
        let history =
            history::sync(&revisions, &parent, self.revisions.by_index(BY_CONTROLLER, &uid)).await?;
        let hash = |r: &ControllerRevision| {
            r.metadata
                .labels
                .as_ref()
                .and_then(|l| l.get(HASH_LABEL).cloned())
        };
        let update = history.update().and_then(hash).unwrap_or_default();

        let may_act = self.expectations.satisfied(&key, &self.pods);
        let claimer = Claimer {
            owners: Api::<DaemonSet>::namespaced(client.clone(), key.namespace()),
            owner: &*set,
            reference: owner::controller_ref(&*set),
            selector: &selector,
        };
        let pod_api: Api<Pod> = Api::namespaced(client.clone(), key.namespace());
        let mut candidates = self.pods.by_index(BY_CONTROLLER, &uid);
        candidates.extend(self.pods.by_index(BY_CONTROLLER, &orphans(key.namespace())));
        let claimed = claimer.claim(&pod_api, candidates).await?;
        let nodes = self.nodes.list();
        let now = Timestamp::now();
        let view = plan::View {
            set: &set,
            nodes: &nodes,
            pods: &claimed,
            update: &update,
            now,
        };
        if may_act {
            let work = plan::plan(&view);
            for pod in &work.failed {
                let node = fit::target_node(pod).unwrap_or_default();
                let message = format!(
                    "Found failed daemon pod {}/{} on node {node}, will try to kill it",
                    key.namespace(),
                    pod.name_any()
                );
                self.recorder
                    .event(&*set, EventType::Warning, "FailedDaemonPod", message);
            }
            self.carry_out(&key, &set, &pod_api, work, &update).await?;
        }
        let mut new = plan::status(&view);
        new.collision_count = Some(history.collisions)
            .filter(|c| *c != 0)
            .or(status.collision_count);
        self.write_status(&key, &set, &new).await?;
        let live: HashSet<String> = history
            .all
            .iter()
            .filter(|r| {
                let hash = hash(r);
                hash.as_ref() == Some(&update) || claimed.iter().any(|pod| plan::hash(pod) == hash)
            })
            .map(|r| history::name(r).to_owned())
            .collect();
        history::truncate(&revisions, &history, &live, spec.revision_history_limit).await?;
        let wait = claimed
            .iter()
            .filter_map(|p| pods::available_in(p, spec.min_ready_seconds.unwrap_or(0), now));
        let wait = wait.min().and_then(|wait| Duration::try_from(wait).ok());
        Ok(wait.map_or(Action::Done, |wait| {
            Action::RequeueAfter(wait.max(Duration::from_millis(100)))
        }))
    }

    async fn carry_out(
        &self,
        key: &ObjectKey,
        set: &DaemonSet,
        api: &Api<Pod>,
        work: plan::Work,
        update: &str,
    ) -> Result<(), ReconcileError> {
        let control = &PodControl {
            api,
            key,
            owner: object_reference(set),
            recorder: &self.recorder,
            expectations: &self.expectations,
        };
        let template = fit::template(set, update);
        let targets: Vec<&String> = work.create.iter().take(BURST).collect();
        let create = |i: usize| {
            let mut pod =
                pods::from_template(&template, key.namespace(), &key.name, owner::controller_ref(set));
            fit::bind(&mut pod, targets[i]);
            async move { control.create(&pod).await }
        };
        let (_, error) = slowstart::batches(targets.len(), create).await;
        let deletions = work.delete.iter().take(BURST).map(|pod| control.delete(pod));
        let failed = futures::future::join_all(deletions)
            .await
            .into_iter()
            .find_map(Result::err);
        match error.filter(|error| !error.is_namespace_terminating()).or(failed) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        set: &DaemonSet,
        status: &DaemonSetStatus,
    ) -> Result<(), ReconcileError> {
        if set.status.as_ref() == Some(status) {
            return Ok(());
        }
        let mut changed = set.clone();
        changed.status = Some(status.clone());
        let api: Api<DaemonSet> = Api::namespaced(self.context.client.clone(), key.namespace());
        match api
            .replace_status(&key.name, &PostParams::default(), &changed)
            .await
        {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
