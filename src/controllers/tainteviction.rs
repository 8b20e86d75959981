//! Pods that don't tolerate their node's NoExecute taints are deleted, at once or when the time they
//! tolerate them for is over.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions>

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use kube::Api;
use kube::api::DeleteParams;
use rkind_client::{
    Action, ErrorExt, EventRecorder, EventType, Informer, ObjectKey, WorkQueue, patch, run_workers,
};
use serde_json::json;

use crate::common::{Context, Outcome};
use crate::nodelifecycle::{BY_NODE, node_of};

const WORKERS: usize = 8;

pub(crate) async fn run(context: Context) {
    let nodes = context.informers.get::<Node>();
    let pods = context.informers.get::<Pod>();
    pods.index(BY_NODE, node_of);
    let queue = WorkQueue::new();
    let known = nodes.clone();
    context.feed(&pods, &queue, move |change| {
        let Some(pod) = &change.new else { return Vec::new() };
        let node = node_of(pod)
            .pop()
            .and_then(|name| known.get(&ObjectKey::cluster(name)));
        let tainted = node.is_some_and(|node| !no_execute(&node).is_empty());
        tainted.then(|| change.key.clone()).into_iter().collect()
    });
    let by_node = pods.clone();
    context.feed(&nodes, &queue, move |change| {
        let taints = |node: &Option<Arc<Node>>| node.as_ref().map(|n| no_execute(n)).unwrap_or_default();
        if taints(&change.old) == taints(&change.new) {
            return Vec::new();
        }
        by_node
            .by_index(BY_NODE, &change.key.name)
            .iter()
            .map(|pod| ObjectKey::of(&**pod))
            .collect()
    });
    nodes.synced().await;
    pods.synced().await;
    let controller = Arc::new(Controller {
        recorder: context.recorder("taint-eviction-controller"),
        context: context.clone(),
        nodes,
        pods,
    });
    run_workers(queue, WORKERS, context.shutdown.clone(), move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    })
    .await;
}

fn no_execute(node: &Node) -> Vec<Taint> {
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_ref());
    taints
        .into_iter()
        .flatten()
        .filter(|t| t.effect == "NoExecute")
        .cloned()
        .collect()
}

pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" => true,
        "" | "Equal" if !key.is_empty() => {
            toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        _ => false,
    }
}

/// When the pod must go. `None`: never; a time in the past: now.
fn eviction_time(pod: &Pod, taints: &[Taint], now: Timestamp) -> Option<Timestamp> {
    if taints.is_empty() {
        return None;
    }
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|s| s.tolerations.clone())
        .unwrap_or_default();
    let mut earliest: Option<Timestamp> = None;
    for taint in taints {
        let used: Vec<&Toleration> = tolerations.iter().filter(|t| tolerates(t, taint)).collect();
        if used.is_empty() {
            return Some(now);
        }
        let Some(seconds) = used.iter().filter_map(|t| t.toleration_seconds).min() else {
            continue;
        };
        let since = taint.time_added.as_ref().map_or(now, |t| t.0);
        let wait = SignedDuration::from_secs(seconds.clamp(0, 1 << 32));
        let at = since.checked_add(wait).unwrap_or(Timestamp::MAX);
        earliest = Some(earliest.map_or(at, |e| e.min(at)));
    }
    earliest
}

struct Controller {
    context: Context,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    recorder: EventRecorder,
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> Outcome {
        let Some(pod) = self.pods.get(&key) else {
            return Ok(Action::Done);
        };
        if pod.metadata.deletion_timestamp.is_some() {
            return Ok(Action::Done);
        }
        let node = node_of(&pod)
            .pop()
            .and_then(|name| self.nodes.get(&ObjectKey::cluster(name)));
        let Some(node) = node else { return Ok(Action::Done) };
        let now = Timestamp::now();
        let Some(at) = eviction_time(&pod, &no_execute(&node), now) else {
            return Ok(Action::Done);
        };
        if at > now {
            // Looked at again then: the taint may be gone.
            let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
            return Ok(Action::RequeueAfter(wait));
        }
        let message = format!("Marking for deletion Pod {key}");
        self.recorder
            .event(&*pod, EventType::Normal, "TaintManagerEviction", message);
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), key.namespace());
        let time = crate::common::now();
        let change = json!({
            "metadata": {"uid": pod.metadata.uid},
            "status": {"conditions": [{
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByTaintManager",
                "message": "Taint manager: deleting due to NoExecute taint",
                "lastTransitionTime": time,
            }]},
        });
        match patch::strategic_status(&api, &key.name, &change).await {
            Err(error) if error.is_not_found() => return Ok(Action::Done),
            Err(error) => tracing::debug!(pod = %key, error = %rkind_client::chain(&error), "pod not marked"),
            Ok(_) => {}
        }
        match api.delete(&key.name, &DeleteParams::default()).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(Action::Done),
        }
    }
}

#[cfg(test)]
mod tests;
