//! This machine's Node object and Lease.
//!
//! <https://kubernetes.io/docs/concepts/architecture/nodes/>

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeSpec, NodeStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use rkind_client::{Backoff, Client, ErrorExt, EventRecorder, chain};
use rkind_cri::{Runtime, v1};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::options::Options;

pub(crate) mod facts;

const LEASE_NAMESPACE: &str = "kube-node-lease";
const LEASE_SECONDS: i32 = 40;
const LEASE_PERIOD: Duration = Duration::from_secs(10);
/// An unchanged status is written this often.
const REPORT: SignedDuration = SignedDuration::from_mins(5);

/// What of the runtime matters to the node's readiness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RuntimeHealth {
    pub(crate) runtime_ready: bool,
    pub(crate) network_ready: bool,
    /// Why not, in upstream's words.
    pub(crate) message: String,
}

impl RuntimeHealth {
    /// From the runtime's answer to `Status`.
    pub(crate) fn of(answer: &rkind_cri::Result<v1::StatusResponse>) -> Self {
        let conditions = match answer {
            Ok(response) => response.status.clone().unwrap_or_default().conditions,
            Err(error) => {
                let message = format!("container runtime is down: {}", error.rpc_message());
                return Self {
                    message,
                    ..Self::default()
                };
            }
        };
        let find = |kind: &str| conditions.iter().find(|c| c.r#type == kind);
        let ready = |kind: &str| find(kind).is_some_and(|c| c.status);
        let mut messages = Vec::new();
        for (kind, words) in [
            ("RuntimeReady", "container runtime not ready"),
            ("NetworkReady", "container runtime network not ready"),
        ] {
            if !ready(kind) {
                let (reason, message) = find(kind)
                    .map(|c| (c.reason.clone(), c.message.clone()))
                    .unwrap_or_default();
                messages.push(format!("{words}: {kind}=false reason:{reason} message:{message}"));
            }
        }
        Self {
            runtime_ready: ready("RuntimeReady"),
            network_ready: ready("NetworkReady"),
            message: messages.join(", "),
        }
    }
}

/// Watches the runtime: often until it is ready, then now and then.
pub(crate) async fn watch_runtime(runtime: Arc<dyn Runtime>, sender: watch::Sender<RuntimeHealth>) {
    loop {
        let health = RuntimeHealth::of(&runtime.status().await);
        let fine = health.runtime_ready && health.network_ready;
        sender.send_if_modified(|current| {
            let changed = *current != health;
            *current = health;
            changed
        });
        tokio::time::sleep(if fine {
            Duration::from_secs(5)
        } else {
            Duration::from_millis(100)
        })
        .await;
    }
}

/// The four conditions a node agent reports. A transition time changes only with the status.
pub(crate) fn conditions(
    old: &[NodeCondition],
    health: &RuntimeHealth,
    now: Timestamp,
) -> Vec<NodeCondition> {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let ready = health.runtime_ready && health.network_ready;
    let ready_words = if ready {
        "kubelet is posting ready status"
    } else {
        health.message.as_str()
    };
    let table = [
        (
            "MemoryPressure",
            false,
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        (
            "DiskPressure",
            false,
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        (
            "PIDPressure",
            false,
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        (
            "Ready",
            ready,
            if ready { "KubeletReady" } else { "KubeletNotReady" },
            ready_words,
        ),
    ];
    table
        .into_iter()
        .map(|(kind, status, reason, message)| {
            let status = if status { "True" } else { "False" };
            let before = old.iter().find(|c| c.type_ == kind && c.status == status);
            NodeCondition {
                type_: kind.into(),
                status: status.into(),
                reason: Some(reason.into()),
                message: Some(message.into()),
                last_heartbeat_time: Some(Time(now)),
                last_transition_time: before
                    .and_then(|c| c.last_transition_time.clone())
                    .or(Some(Time(now))),
            }
        })
        .collect()
}

/// Labels every node has, with those of the options.
pub(crate) fn labels(options: &Options) -> BTreeMap<String, String> {
    let arch = facts::architecture();
    let mut labels = BTreeMap::from([
        ("kubernetes.io/hostname".to_string(), options.node_name.clone()),
        ("kubernetes.io/os".to_string(), "linux".to_string()),
        ("kubernetes.io/arch".to_string(), arch.to_string()),
        ("beta.kubernetes.io/os".to_string(), "linux".to_string()),
        ("beta.kubernetes.io/arch".to_string(), arch.to_string()),
    ]);
    labels.extend(options.labels.clone());
    labels
}

/// Keeps the Node object true.
pub(crate) struct NodeReporter {
    pub(crate) options: Options,
    pub(crate) client: Client,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) recorder: EventRecorder,
    pub(crate) health: watch::Receiver<RuntimeHealth>,
}

impl NodeReporter {
    /// Registers the node, then reports changes at once and an unchanged state every five minutes.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut node = loop {
            match self.register().await {
                Ok(node) => break node,
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "cannot register the node yet");
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = tokio::time::sleep(backoff.next_delay()) => {}
                    }
                }
            }
        };
        tracing::info!(node = self.options.node_name, "node registered");
        let lease = tokio::spawn(keep_lease(self.client.clone(), node.clone(), shutdown.clone()));
        let mut reported: Option<(NodeStatus, Timestamp)> = None;
        loop {
            let health = self.health.borrow_and_update().clone();
            match self.report(&node, &health, &mut reported).await {
                Ok(Some(fresh)) => {
                    self.tell_readiness(&node, &fresh);
                    node = fresh;
                    backoff.reset();
                }
                Ok(None) => backoff.reset(),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "cannot report the node's status");
                    if error.is_not_found()
                        && let Ok(fresh) = self.register().await
                    {
                        node = fresh;
                    }
                    reported = None;
                    tokio::select! {
                        () = shutdown.cancelled() => break,
                        () = tokio::time::sleep(backoff.next_delay()) => {}
                    }
                    continue;
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = self.health.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(Duration::from_secs(10)) => {}
            }
        }
        lease.abort();
    }

    fn tell_readiness(&self, before: &Node, after: &Node) {
        let ready = |node: &Node| {
            let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
            conditions
                .into_iter()
                .flatten()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        };
        let name = &self.options.node_name;
        match (ready(before), ready(after)) {
            (false, true) => {
                self.recorder.event(
                    after,
                    crate::events::Normal,
                    "NodeReady",
                    format!("Node {name} status is now: NodeReady"),
                );
            }
            (true, false) => self.recorder.event(
                after,
                crate::events::Normal,
                "NodeNotReady",
                format!("Node {name} status is now: NodeNotReady"),
            ),
            _ => {}
        }
    }

    /// Creates the Node, or takes over the one with our name: same object, same uid.
    async fn register(&self) -> kube::Result<Node> {
        let api: Api<Node> = Api::all(self.client.clone());
        let name = &self.options.node_name;
        let labels = labels(&self.options);
        if let Some(existing) = api.get_opt(name).await? {
            let own = existing.metadata.labels.clone().unwrap_or_default();
            if labels.iter().all(|(key, value)| own.get(key) == Some(value)) {
                return Ok(existing);
            }
            let patch = json!({"metadata": {"labels": labels}});
            return api
                .patch(name, &PatchParams::default(), &Patch::Strategic(&patch))
                .await;
        }
        let health = self.health.borrow().clone();
        let node = Node {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec {
                taints: Some(self.options.taints.clone()).filter(|t| !t.is_empty()),
                ..NodeSpec::default()
            }),
            // The status goes with it, so that the scheduler never sees a node without capacity.
            status: Some(self.status(&[], &health).await),
        };
        match api.create(&PostParams::default(), &node).await {
            Ok(node) => {
                self.tell_readiness(&Node::default(), &node);
                self.recorder
                    .event(&node, crate::events::Normal, "Starting", "Starting kubelet.");
                Ok(node)
            }
            Err(error) if error.is_already_exists() => api.get(name).await,
            Err(error) => Err(error),
        }
    }

    async fn status(&self, old: &[NodeCondition], health: &RuntimeHealth) -> NodeStatus {
        let version = self.runtime.version().await.ok();
        let images = self.runtime.list_images().await.unwrap_or_default();
        NodeStatus {
            conditions: Some(conditions(old, health, Timestamp::now())),
            ..facts::status(&self.options, version.as_ref(), &images)
        }
    }

    /// Writes what changed; `None` when nothing had to be written.
    async fn report(
        &self,
        node: &Node,
        health: &RuntimeHealth,
        reported: &mut Option<(NodeStatus, Timestamp)>,
    ) -> kube::Result<Option<Node>> {
        let known = node.status.clone().unwrap_or_default();
        let status = self
            .status(known.conditions.as_deref().unwrap_or_default(), health)
            .await;
        let now = Timestamp::now();
        let unchanged = reported.as_ref().is_some_and(|(last, at)| {
            without_heartbeat(last) == without_heartbeat(&status) && now.duration_since(*at) < REPORT
        });
        if unchanged {
            return Ok(None);
        }
        let api: Api<Node> = Api::all(self.client.clone());
        let body = json!({"status": status});
        let fresh = api
            .patch_status(
                &self.options.node_name,
                &PatchParams::default(),
                &Patch::Strategic(&body),
            )
            .await?;
        *reported = Some((status, now));
        Ok(Some(fresh))
    }
}

fn without_heartbeat(status: &NodeStatus) -> NodeStatus {
    let mut status = status.clone();
    for condition in status.conditions.iter_mut().flatten() {
        condition.last_heartbeat_time = None;
        condition.last_transition_time = None;
    }
    status
}

/// Renews the node's Lease every ten seconds.
async fn keep_lease(client: Client, node: Node, shutdown: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(client, LEASE_NAMESPACE);
    let name = node.metadata.name.clone().unwrap_or_default();
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: name.clone(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    };
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(7));
    loop {
        let spec = LeaseSpec {
            holder_identity: Some(name.clone()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        };
        let patch = json!({"metadata": {"ownerReferences": [owner]}, "spec": spec});
        let renewed = match api
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Err(error) if error.is_not_found() => {
                let metadata = ObjectMeta {
                    name: Some(name.clone()),
                    namespace: Some(LEASE_NAMESPACE.into()),
                    owner_references: Some(vec![owner.clone()]),
                    ..ObjectMeta::default()
                };
                api.create(
                    &PostParams::default(),
                    &Lease {
                        metadata,
                        spec: Some(spec),
                    },
                )
                .await
            }
            other => other,
        };
        let delay = match renewed {
            Ok(_) => {
                backoff.reset();
                LEASE_PERIOD
            }
            Err(error) => {
                tracing::debug!(error = %chain(&error), "cannot renew the node's lease");
                backoff.next_delay()
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(delay) => {}
        }
    }
}

#[cfg(test)]
mod tests;
