//! EndpointSlices of Services with a selector.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/>

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use rkind_client::{
    Action, Change, Client, ErrorExt, EventRecorder, EventType, Informer, ObjectKey, Selector, WorkQueue,
    run_workers,
};

use crate::common::expect::Expectations;
use crate::common::owned::api_message;
use crate::common::{Context, Outcome, ReconcileError, WORKERS};

pub(crate) mod desired;
mod diff;
pub(crate) mod mirror;

pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(crate) const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Slices by namespace/service.
const BY_SERVICE: &str = "service";

pub(crate) async fn run(context: Context) {
    let services = context.informers.get::<Service>();
    let pods = context.informers.get::<Pod>();
    let nodes = context.informers.get::<Node>();
    let slices = context.informers.get::<EndpointSlice>();
    slices.index(BY_SERVICE, |slice: &EndpointSlice| {
        service_of(slice).map(|k| k.to_string()).into_iter().collect()
    });

    let queue = WorkQueue::new();
    context.feed_own(&services, &queue);
    let all = services.clone();
    context.feed(&pods, &queue, move |change| services_of(&all, change));
    context.feed(&slices, &queue, |change| {
        change
            .latest()
            .and_then(|slice| service_of(slice))
            .into_iter()
            .collect()
    });
    // A node's zone is copied into the endpoints on it.
    let all = services.clone();
    context.feed(&nodes, &queue, move |change| {
        let zone = |node: &Option<Arc<Node>>| {
            node.as_ref()
                .and_then(|n| n.metadata.labels.as_ref()?.get(desired::ZONE).cloned())
        };
        if zone(&change.old) == zone(&change.new) {
            return Vec::new();
        }
        all.list()
            .iter()
            .map(|service| ObjectKey::of(&**service))
            .collect()
    });
    services.synced().await;
    pods.synced().await;
    nodes.synced().await;
    slices.synced().await;
    let writer = Writer {
        client: context.client.clone(),
        expectations: Expectations::default(),
    };
    let controller = Arc::new(Controller {
        recorder: context.recorder("endpoint-slice-controller"),
        services,
        pods,
        nodes,
        slices,
        writer,
    });
    run_workers(queue, WORKERS, context.shutdown.clone(), move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    })
    .await;
}

/// The service whose slice of ours this is.
fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let labels = slice.metadata.labels.as_ref()?;
    if labels.get(MANAGED_BY).map(String::as_str) != Some(MANAGER) {
        return None;
    }
    Some(ObjectKey::new(
        slice.metadata.namespace.as_deref()?,
        labels.get(SERVICE_NAME)?,
    ))
}

/// The services that select the pod, before or after the change.
pub(crate) fn services_of(services: &Informer<Service>, change: &Change<Pod>) -> Vec<ObjectKey> {
    if let (Some(old), Some(new)) = (&change.old, &change.new)
        && desired::same_for_services(old, new)
    {
        return Vec::new();
    }
    services
        .list_in(change.key.namespace())
        .iter()
        .filter(|service| {
            let selector = service.spec.as_ref().and_then(|s| s.selector.as_ref());
            selector.filter(|s| !s.is_empty()).is_some_and(|labels| {
                let selector = Selector::from_map(Some(labels));
                let selects = |pod: &Arc<Pod>| selector.matches(pod.metadata.labels.as_ref());
                change.old.iter().chain(&change.new).any(selects)
            })
        })
        .map(|service| ObjectKey::of(&**service))
        .collect()
}

struct Controller {
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    writer: Writer,
    recorder: EventRecorder,
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> Outcome {
        let Some(service) = self.services.get(&key) else {
            // The garbage collector removes its slices.
            self.writer.expectations.forget(&key);
            return Ok(Action::Done);
        };
        let spec = service.spec.clone().unwrap_or_default();
        if spec.type_.as_deref() == Some("ExternalName") {
            return Ok(Action::Done);
        }
        let Some(labels) = spec.selector.as_ref().filter(|s| !s.is_empty()) else {
            return Ok(Action::Done);
        };
        if !self.writer.expectations.satisfied(&key, &self.slices) {
            // Its own writes arrive as changes, and queue the service again.
            return Ok(Action::Done);
        }
        let selector = Selector::from_map(Some(labels));
        let mut pods = self.pods.list_in(key.namespace());
        pods.retain(|pod| selector.matches(pod.metadata.labels.as_ref()));
        let zone = |node: &str| {
            self.nodes
                .get(&ObjectKey::cluster(node))?
                .metadata
                .labels
                .as_ref()?
                .get(desired::ZONE)
                .cloned()
        };
        let wanted = desired::slices(&service, &pods, &zone);
        let existing = self.slices.by_index(BY_SERVICE, &key.to_string());
        let mut changes = diff::diff(&diff::Parent::service(&service), wanted, &existing);
        if service.metadata.deletion_timestamp.is_some() {
            changes.create.clear();
        }
        if let Err(error) = self.writer.write(&key, changes).await {
            let message = match &error {
                ReconcileError::Api(error) => api_message(error),
                other => other.to_string(),
            };
            let message = format!("Error updating Endpoint Slices for Service {key}: {message}");
            self.recorder.event(
                &*service,
                EventType::Warning,
                "FailedToUpdateEndpointSlices",
                message,
            );
            return Err(error);
        }
        Ok(Action::Done)
    }
}

/// Carries out changes and remembers what the cache must show before the next ones.
struct Writer {
    client: Client,
    expectations: Expectations,
}

impl Writer {
    async fn write(&self, key: &ObjectKey, changes: diff::Changes) -> Result<(), ReconcileError> {
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), key.namespace());
        let parameters = PostParams::default();
        for slice in &changes.create {
            match api.create(&parameters, slice).await {
                Ok(created) => self.expectations.wrote(key, &created),
                Err(error) if error.is_namespace_terminating() => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        for slice in &changes.update {
            let name = slice.metadata.name.as_deref().unwrap_or_default();
            let updated = api.replace(name, &parameters, slice).await?;
            self.expectations.wrote(key, &updated);
        }
        for slice in &changes.delete {
            let name = slice.metadata.name.as_deref().unwrap_or_default();
            match api.delete(name, &DeleteParams::default()).await {
                Ok(_) => self.expectations.deleted(key, &**slice),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
