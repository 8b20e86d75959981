//! What the scheduler writes to the API.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Binding, ObjectReference, PersistentVolumeClaim, Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use rkind_client::{Client, ErrorExt as _, EventRecorder, EventType};
use serde_json::{Value, json};

use crate::{plugins::volumes::SELECTED_NODE, pod::PodInfo};

/// The scheduler's hands. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) client: Client,
    pub(crate) events: EventRecorder,
    /// `spec.schedulerName` that it serves.
    pub(crate) name: Arc<str>,
}

impl Writer {
    fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Gives the pod its node.
    pub(crate) async fn bind(&self, pod: &PodInfo, node: &str) -> Result<(), kube::Error> {
        let name = pod.pod.metadata.name.clone().unwrap_or_default();
        let binding = Binding {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: pod.pod.metadata.namespace.clone(),
                uid: pod.pod.metadata.uid.clone(),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        let api = self.pods(&pod.namespace);
        let parameters = PostParams::default();
        api.create_subresource::<_, Value>("binding", &name, &parameters, &binding)
            .await?;
        self.events.event(
            &*pod.pod,
            EventType::Normal,
            "Scheduled",
            format!("Successfully assigned {} to {node}", pod.name()),
        );
        Ok(())
    }

    /// Tells by event and condition why the pod has no node. `nominated`: the node that is being cleared
    /// for it (`Some("")`: none any more, `None`: as before).
    pub(crate) async fn report(&self, pod: &PodInfo, reason: &str, message: &str, nominated: Option<&str>) {
        self.events
            .event(&*pod.pod, EventType::Warning, "FailedScheduling", message);
        let condition = PodCondition {
            type_: "PodScheduled".to_owned(),
            status: "False".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            observed_generation: pod.pod.metadata.generation,
            ..PodCondition::default()
        };
        let status = pod.pod.status.as_ref();
        let known = |c: &PodCondition| {
            c.type_ == condition.type_
                && c.status == condition.status
                && c.reason == condition.reason
                && c.message == condition.message
        };
        let told = status
            .and_then(|status| status.conditions.as_ref())
            .is_some_and(|all| all.iter().any(known));
        let current = status
            .and_then(|status| status.nominated_node_name.as_deref())
            .unwrap_or_default();
        let nominated = nominated.filter(|node| *node != current);
        if told && nominated.is_none() {
            return;
        }
        let mut patch = json!({});
        if !told {
            patch["conditions"] = json!([with_transition(condition, pod)]);
        }
        if let Some(node) = nominated {
            patch["nominatedNodeName"] = if node.is_empty() { Value::Null } else { json!(node) };
        }
        self.patch_status(pod, patch).await;
    }

    async fn patch_status(&self, pod: &PodInfo, status: Value) {
        let name = pod.pod.metadata.name.as_deref().unwrap_or_default();
        // The UID keeps the patch off a new pod of the same name.
        let patch = json!({ "metadata": { "uid": &*pod.uid }, "status": status });
        let api = self.pods(&pod.namespace);
        if let Err(error) = api
            .patch_status(name, &PatchParams::default(), &Patch::Strategic(patch))
            .await
            && !error.is_not_found()
            && !error.is_conflict()
        {
            tracing::warn!(
                pod = pod.name(),
                error = rkind_client::chain(&error),
                "cannot write the pod's status"
            );
        }
    }

    /// Takes back that a node was being cleared for the pod.
    pub(crate) async fn clear_nomination(&self, pod: &PodInfo) {
        self.patch_status(pod, json!({ "nominatedNodeName": null })).await;
    }

    /// Evicts a pod in favour of one of higher priority.
    pub(crate) async fn evict(&self, victim: &PodInfo, preemptor: &PodInfo, node: &str) {
        let condition = PodCondition {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
            reason: Some("PreemptionByScheduler".to_owned()),
            message: Some(format!(
                "{}: preempting to accommodate a higher priority pod",
                self.name
            )),
            observed_generation: victim.pod.metadata.generation,
            ..PodCondition::default()
        };
        self.patch_status(
            victim,
            json!({ "conditions": [with_transition(condition, victim)] }),
        )
        .await;
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: victim.pod.metadata.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let name = victim.pod.metadata.name.as_deref().unwrap_or_default();
        match self.pods(&victim.namespace).delete(name, &parameters).await {
            Ok(_) => {
                let message = format!("Preempted by pod {} on node {node}", preemptor.uid);
                self.events
                    .event(&*victim.pod, EventType::Normal, "Preempted", message);
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                tracing::warn!(
                    pod = victim.name(),
                    error = rkind_client::chain(&error),
                    "cannot evict the pod"
                );
            }
        }
    }

    /// Tells the provisioner of a claim which node its volume must be reachable from.
    pub(crate) async fn select_node(&self, claim: &PersistentVolumeClaim, node: &str) {
        let (Some(namespace), Some(name)) = (&claim.metadata.namespace, &claim.metadata.name) else {
            return;
        };
        let patch =
            json!({ "metadata": { "uid": claim.metadata.uid, "annotations": { SELECTED_NODE: node } } });
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), namespace);
        if let Err(error) = api
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            let error = rkind_client::chain(&error);
            tracing::warn!(
                claim = format!("{namespace}/{name}"),
                error,
                "cannot choose the claim's node"
            );
        }
    }
}

/// Sets the time of the last change, which stays when only the message differs.
fn with_transition(mut condition: PodCondition, pod: &PodInfo) -> PodCondition {
    let conditions = pod
        .pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let before = conditions
        .into_iter()
        .flatten()
        .find(|before| before.type_ == condition.type_);
    let unchanged = before.filter(|before| before.status == condition.status);
    condition.last_transition_time = unchanged
        .and_then(|before| before.last_transition_time.clone())
        .or_else(|| Some(Time(Timestamp::now())));
    condition
}
