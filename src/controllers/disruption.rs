//! PodDisruptionBudgets: how many pods may be evicted now.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-budgets>

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::PostParams;
use rkind_client::{
    Action, ErrorExt, EventRecorder, EventType, Informer, ObjectKey, Selector, WorkQueue, owner, run_workers,
};

use crate::common::{Context, Outcome, WORKERS};

mod plan;

pub(crate) async fn run(context: Context) {
    let budgets = context.informers.get::<PodDisruptionBudget>();
    let pods = context.informers.get::<Pod>();
    let queue = WorkQueue::new();
    context.feed_own(&budgets, &queue);
    let all = budgets.clone();
    context.feed(&pods, &queue, move |change| {
        let labels = |pod: &Option<Arc<Pod>>| pod.as_ref().map(|p| p.metadata.labels.clone());
        let (old, new) = (labels(&change.old), labels(&change.new));
        all.list_in(change.key.namespace())
            .iter()
            .filter(|budget| {
                selector(budget).is_ok_and(|s| {
                    [&old, &new]
                        .into_iter()
                        .flatten()
                        .any(|labels| s.matches(labels.as_ref()))
                })
            })
            .map(|budget| ObjectKey::of(&**budget))
            .collect()
    });
    let owners = Owners {
        sets: context.informers.get(),
        deployments: context.informers.get(),
        stateful: context.informers.get(),
        controllers: context.informers.get(),
    };
    budgets.synced().await;
    pods.synced().await;
    owners.sets.synced().await;
    owners.deployments.synced().await;
    owners.stateful.synced().await;
    owners.controllers.synced().await;
    let controller = Arc::new(Controller {
        recorder: context.recorder("controllermanager"),
        context: context.clone(),
        budgets,
        pods,
        owners,
    });
    run_workers(queue, WORKERS, context.shutdown.clone(), move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    })
    .await;
}

fn selector(budget: &PodDisruptionBudget) -> Result<Selector, rkind_client::selector::SelectorError> {
    Selector::from_api(budget.spec.as_ref().and_then(|s| s.selector.as_ref()))
}

/// Whatever can say how many pods there should be.
struct Owners {
    sets: Informer<ReplicaSet>,
    deployments: Informer<Deployment>,
    stateful: Informer<StatefulSet>,
    controllers: Informer<ReplicationController>,
}

impl Owners {
    /// The uid of what manages the pod in the end, and how many pods that wants. `None`: unmanaged.
    fn scale(&self, pod: &Pod) -> Option<(String, i32)> {
        let reference = owner::controller_of(&pod.metadata)?;
        let namespace = pod.metadata.namespace.clone()?;
        let key = ObjectKey::new(&*namespace, reference.name.clone());
        let (uid, replicas) = match reference.kind.as_str() {
            "ReplicaSet" => {
                let set = self.sets.get(&key)?;
                let parent = owner::controller_of(&set.metadata).filter(|r| r.kind == "Deployment");
                if let Some(parent) = parent {
                    let deployment = self
                        .deployments
                        .get(&ObjectKey::new(namespace, parent.name.clone()))?;
                    let replicas = deployment.spec.as_ref().and_then(|s| s.replicas);
                    return Some((parent.uid.clone(), replicas.unwrap_or(1)));
                }
                (
                    set.metadata.uid.clone(),
                    set.spec.as_ref().and_then(|s| s.replicas),
                )
            }
            "StatefulSet" => {
                let set = self.stateful.get(&key)?;
                (
                    set.metadata.uid.clone(),
                    set.spec.as_ref().and_then(|s| s.replicas),
                )
            }
            "ReplicationController" => {
                let controller = self.controllers.get(&key)?;
                (
                    controller.metadata.uid.clone(),
                    controller.spec.as_ref().and_then(|s| s.replicas),
                )
            }
            _ => return None,
        };
        (uid.as_ref() == Some(&reference.uid)).then(|| (reference.uid.clone(), replicas.unwrap_or(1)))
    }
}

struct Controller {
    context: Context,
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<Pod>,
    owners: Owners,
    recorder: EventRecorder,
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> Outcome {
        let Some(budget) = self.budgets.get(&key) else {
            return Ok(Action::Done);
        };
        let selector = selector(&budget)?;
        let mut pods = self.pods.list_in(key.namespace());
        pods.retain(|pod| selector.matches(pod.metadata.labels.as_ref()));
        let mut scales: HashMap<String, i32> = HashMap::new();
        let mut unmanaged = Vec::new();
        for pod in &pods {
            match self.owners.scale(pod) {
                Some((uid, replicas)) => {
                    scales.insert(uid, replicas);
                }
                None => unmanaged.push(pod.metadata.name.clone().unwrap_or_default()),
            }
        }
        if pods.is_empty() {
            self.recorder
                .event(&*budget, EventType::Normal, "NoPods", "No matching pods found");
        }
        let now = crate::common::now();
        let (status, wait) = plan::plan(&budget, &pods, scales.values().sum(), &now);
        if !unmanaged.is_empty() && plan::needs_scale(&budget) {
            let message = format!(
                "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value."
            );
            self.recorder
                .event(&*budget, EventType::Warning, "UnmanagedPods", message);
        }
        if budget.status.as_ref() != Some(&status) {
            let mut changed = (*budget).clone();
            changed.status = Some(status);
            let api: Api<PodDisruptionBudget> = Api::namespaced(self.context.client.clone(), key.namespace());
            match api
                .replace_status(&key.name, &PostParams::default(), &changed)
                .await
            {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        let wait = wait.and_then(|wait| Duration::try_from(wait).ok());
        Ok(wait.map_or(Action::Done, |wait| {
            Action::RequeueAfter(wait.max(Duration::from_secs(1)))
        }))
    }
}

#[cfg(test)]
mod tests;
