//! Notices nodes that went silent: their conditions become Unknown, taints follow conditions, and pods
//! on them stop counting as ready. Eviction itself is the taint-eviction controller's.
//!
//! <https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller>

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use rkind_client::{
    Action, ErrorExt, EventRecorder, EventType, Filter, Informer, ObjectKey, WorkQueue, patch, run_workers,
};
use serde_json::json;
use tokio::time::Instant;

use crate::common::{Context, Outcome, ReconcileError, WORKERS, conditions, pods};

mod health;
mod taints;

/// Where nodes' leases are.
const LEASES: &str = "kube-node-lease";
/// The longest time between two looks at a node.
const PERIOD: Duration = Duration::from_secs(5);
/// Pods by node name.
pub(crate) const BY_NODE: &str = "node";

/// Index value of a pod: its node.
pub(crate) fn node_of(pod: &Pod) -> Vec<String> {
    let name = pod.spec.as_ref().and_then(|s| s.node_name.clone());
    name.filter(|n| !n.is_empty()).into_iter().collect()
}

pub(crate) async fn run(context: Context) {
    let nodes = context.informers.get::<Node>();
    let leases = context
        .informers
        .filtered::<Lease>(Filter::fields(format!("metadata.namespace={LEASES}")));
    let pods = context.informers.get::<Pod>();
    pods.index(BY_NODE, node_of);
    let queue = WorkQueue::new();
    context.feed(&nodes, &queue, |change| vec![change.key.name.clone()]);
    context.feed(&leases, &queue, |change| {
        if change.key.namespace() == LEASES {
            vec![change.key.name.clone()]
        } else {
            Vec::new()
        }
    });
    nodes.synced().await;
    leases.synced().await;
    pods.synced().await;
    let controller = Arc::new(Controller {
        recorder: context.recorder("node-controller"),
        grace: context.options.node_monitor_grace,
        context: context.clone(),
        nodes,
        leases,
        pods,
        signs: Mutex::default(),
        registered: Mutex::default(),
    });
    run_workers(queue, WORKERS, context.shutdown.clone(), move |name: String| {
        let controller = controller.clone();
        async move { controller.reconcile(name).await }
    })
    .await;
}

/// A node's newest signs of life and when, by this process's clock, they were first seen: clocks of
/// nodes need not agree.
struct Signs {
    uid: String,
    newest: health::Signs,
    at: Instant,
}

struct Controller {
    context: Context,
    grace: Duration,
    nodes: Informer<Node>,
    leases: Informer<Lease>,
    pods: Informer<Pod>,
    recorder: EventRecorder,
    signs: Mutex<HashMap<String, Signs>>,
    registered: Mutex<HashSet<String>>,
}

impl Controller {
    async fn reconcile(&self, name: String) -> Outcome {
        let Some(node) = self.nodes.get(&ObjectKey::cluster(&*name)) else {
            self.signs.lock().remove(&name);
            if self.registered.lock().remove(&name) {
                let about = k8s_openapi::api::core::v1::ObjectReference {
                    kind: Some("Node".into()),
                    api_version: Some("v1".into()),
                    name: Some(name.clone()),
                    ..Default::default()
                };
                let message = format!("Node {name} event: Removing Node {name} from Controller");
                self.recorder
                    .event_ref(about, EventType::Normal, "RemovingNode", message);
            }
            return Ok(Action::Done);
        };
        if self.registered.lock().insert(name.clone()) {
            let message = format!("Node {name} event: Registered Node {name} in Controller");
            self.recorder
                .event(&*node, EventType::Normal, "RegisteredNode", message);
        }
        let silent = self.silence(&name, &node);
        let was_ready = health::ready(&node) == "True";
        let mut node = (*node).clone();
        if silent > self.grace
            && let Some(status) = health::unknown(&node, &crate::common::now())
        {
            let mut changed = node.clone();
            changed.status = Some(status);
            let api: Api<Node> = Api::all(self.context.client.clone());
            node = match api.replace_status(&name, &PostParams::default(), &changed).await {
                Ok(node) => node,
                Err(error) if error.is_not_found() => return Ok(Action::Done),
                Err(error) => return Err(error.into()),
            };
            if was_ready {
                let message = format!("Node {name} status is now: NodeNotReady");
                self.recorder
                    .event(&node, EventType::Normal, "NodeNotReady", message);
            }
        }
        self.sync_taints(&name, &node).await?;
        // A kubelet that lives speaks for its pods itself.
        if health::ready(&node) == "Unknown" {
            self.mark_pods_not_ready(&name).await?;
        }
        // Look again when the silence would have lasted too long, and now and then.
        let left = self.grace.saturating_sub(silent) + Duration::from_millis(100);
        Ok(Action::RequeueAfter(left.min(PERIOD)))
    }

    /// How long the node has given no sign of life.
    fn silence(&self, name: &str, node: &Node) -> Duration {
        let lease = self.leases.get(&ObjectKey::new(LEASES, name));
        let newest = health::signs(node, lease.as_deref());
        let uid = node.metadata.uid.clone().unwrap_or_default();
        let mut signs = self.signs.lock();
        let known = signs
            .get(name)
            .is_some_and(|s| s.uid == uid && s.newest == newest);
        if !known {
            signs.insert(
                name.to_owned(),
                Signs {
                    uid,
                    newest,
                    at: Instant::now(),
                },
            );
        }
        signs.get(name).map_or(Duration::ZERO, |s| s.at.elapsed())
    }

    async fn sync_taints(&self, name: &str, node: &Node) -> Result<(), ReconcileError> {
        let Some(taints) = taints::plan(node, &crate::common::now()) else {
            return Ok(());
        };
        let taints = if taints.is_empty() {
            serde_json::Value::Null
        } else {
            json!(taints)
        };
        let change = json!({
            "metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
            "spec": {"taints": taints},
        });
        let api: Api<Node> = Api::all(self.context.client.clone());
        match patch::merge(&api, name, &change).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// A silent node's kubelet can't say that its pods don't answer: Services must not use them.
    async fn mark_pods_not_ready(&self, name: &str) -> Result<(), ReconcileError> {
        for pod in self.pods.by_index(BY_NODE, name) {
            if !pods::is_ready(&pod) {
                continue;
            }
            let mut changed = (*pod).clone();
            let now = crate::common::now();
            let list = changed
                .status
                .get_or_insert_default()
                .conditions
                .get_or_insert_default();
            if let Some(ready) = list.iter_mut().find(|c| c.type_ == "Ready") {
                ready.status = "False".into();
                ready.last_transition_time = Some(now);
            }
            let api: Api<Pod> =
                Api::namespaced(self.context.client.clone(), &pod.namespace().unwrap_or_default());
            match api
                .replace_status(&pod.name_any(), &PostParams::default(), &changed)
                .await
            {
                Ok(_) => self
                    .recorder
                    .event(&*pod, EventType::Warning, "NodeNotReady", "Node is not ready"),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The status of a node's condition, `""` when it has none.
pub(crate) fn condition_status<'a>(node: &'a Node, kind: &str) -> &'a str {
    node.status
        .as_ref()
        .and_then(|s| conditions::find(&s.conditions, kind))
        .map(|c| c.status.as_str())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
