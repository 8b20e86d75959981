//! Removes pods that nobody else will: on nodes that are gone, deleted before they had a node, and
//! finished ones beyond the threshold.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-garbage-collection>

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use rkind_client::{ErrorExt, Informer, ObjectKey, chain, patch};
use serde_json::json;
use tokio::time::Instant;

use crate::common::{Context, pods};
use crate::nodelifecycle::node_of;

const PERIOD: Duration = Duration::from_secs(20);
/// A node must be missing for this long before its pods are removed.
const QUARANTINE: Duration = Duration::from_secs(40);

pub(crate) async fn run(context: Context) {
    let nodes = context.informers.get::<Node>();
    let pods = context.informers.get::<Pod>();
    nodes.synced().await;
    pods.synced().await;
    let mut missing: HashMap<String, Instant> = HashMap::new();
    loop {
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let all = pods.list();
        for pod in surplus(&all, context.options.terminated_pod_threshold) {
            remove(&context.client, &pod, None).await;
        }
        for pod in all.iter().filter(|pod| node_of(pod).is_empty()) {
            if pod.metadata.deletion_timestamp.is_some() {
                remove(&context.client, pod, None).await;
            }
        }
        let gone = gone_nodes(&context.client, &nodes, &all, &mut missing).await;
        for pod in all
            .iter()
            .filter(|pod| node_of(pod).iter().any(|n| gone.contains(n)))
        {
            remove(&context.client, pod, Some("PodGC: node no longer exists")).await;
        }
    }
}

/// The oldest finished pods beyond `threshold` (0: keep all).
fn surplus(all: &[Arc<Pod>], threshold: usize) -> Vec<Arc<Pod>> {
    let mut finished: Vec<Arc<Pod>> = all
        .iter()
        .filter(|pod| pods::is_terminal(pod) && pod.metadata.deletion_timestamp.is_none())
        .cloned()
        .collect();
    if threshold == 0 || finished.len() <= threshold {
        return Vec::new();
    }
    finished.sort_by(|a, b| {
        (&a.metadata.creation_timestamp, &a.metadata.name)
            .cmp(&(&b.metadata.creation_timestamp, &b.metadata.name))
    });
    finished.truncate(finished.len() - threshold);
    finished
}

/// Nodes that pods name, that have been missing for long enough, and that the server doesn't know.
async fn gone_nodes(
    client: &Client,
    nodes: &Informer<Node>,
    all: &[Arc<Pod>],
    missing: &mut HashMap<String, Instant>,
) -> Vec<String> {
    let named: std::collections::HashSet<String> = all
        .iter()
        .flat_map(|pod| node_of(pod))
        .filter(|name| nodes.get(&ObjectKey::cluster(&**name)).is_none())
        .collect();
    missing.retain(|name, _| named.contains(name));
    let mut gone = Vec::new();
    for name in named {
        let since = *missing.entry(name.clone()).or_insert_with(Instant::now);
        if since.elapsed() >= QUARANTINE
            && matches!(Api::<Node>::all(client.clone()).get_opt(&name).await, Ok(None))
        {
            gone.push(name);
        }
    }
    gone
}

/// Deletes at once: no kubelet is there to confirm. `why`: told as DisruptionTarget first.
async fn remove(client: &Client, pod: &Pod, why: Option<&str>) {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let name = pod.name_any();
    if let Some(message) = why.filter(|_| !pods::is_terminal(pod)) {
        let change = json!({
            "metadata": {"uid": pod.metadata.uid},
            "status": {"phase": "Failed", "conditions": [{
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByPodGC",
                "message": message,
                "lastTransitionTime": crate::common::now(),
            }]},
        });
        if let Err(error) = patch::strategic_status(&api, &name, &change).await {
            tracing::debug!(pod = name, error = %chain(&error), "pod not marked as failed");
        }
    }
    let parameters = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: pod.metadata.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(&name, &parameters).await {
        Err(error) if !error.is_not_found() => {
            tracing::warn!(pod = name, error = %chain(&error), "pod not removed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_finished_pods_go() {
        let pod = |name: &str, phase: &str, minute: u8| -> Arc<Pod> {
            Arc::new(
                serde_json::from_value(json!({
                    "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:{minute:02}:00Z")},
                    "status": {"phase": phase},
                }))
                .unwrap(),
            )
        };
        let all = [
            pod("c", "Succeeded", 3),
            pod("a", "Failed", 1),
            pod("r", "Running", 0),
            pod("b", "Succeeded", 2),
        ];
        let names = |n: usize| {
            surplus(&all, n)
                .iter()
                .map(|p| p.name_any())
                .collect::<Vec<_>>()
                .join(",")
        };
        assert_eq!(names(1), "a,b");
        assert_eq!(names(3), "");
        assert_eq!(names(0), "");
    }
}
