//! The older Endpoints object of each Service with a selector.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use rkind_client::{
    Action, ErrorExt, EventRecorder, EventType, Informer, ObjectKey, Selector, WorkQueue, run_workers,
};

use crate::common::owned::api_message;
use crate::common::{Context, Outcome, WORKERS};
use crate::endpointslice::services_of;

mod plan;

pub(crate) async fn run(context: Context) {
    let services = context.informers.get::<Service>();
    let pods = context.informers.get::<Pod>();
    let endpoints = context.informers.get::<Endpoints>();
    let queue = WorkQueue::new();
    context.feed_own(&services, &queue);
    context.feed_own(&endpoints, &queue);
    let all = services.clone();
    context.feed(&pods, &queue, move |change| services_of(&all, change));
    services.synced().await;
    pods.synced().await;
    endpoints.synced().await;
    let controller = Arc::new(Controller {
        recorder: context.recorder("endpoint-controller"),
        context: context.clone(),
        services,
        pods,
        endpoints,
    });
    run_workers(queue, WORKERS, context.shutdown.clone(), move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    })
    .await;
}

struct Controller {
    context: Context,
    services: Informer<Service>,
    pods: Informer<Pod>,
    endpoints: Informer<Endpoints>,
    recorder: EventRecorder,
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> Outcome {
        let api: Api<Endpoints> = Api::namespaced(self.context.client.clone(), key.namespace());
        let Some(service) = self.services.get(&key) else {
            // Only what this controller made: users may keep Endpoints of their own.
            if self.endpoints.get(&key).is_some_and(|e| plan::is_ours(&e)) {
                match api.delete(&key.name, &DeleteParams::default()).await {
                    Err(error) if !error.is_not_found() => return Err(error.into()),
                    _ => {}
                }
            }
            return Ok(Action::Done);
        };
        let spec = service.spec.clone().unwrap_or_default();
        let Some(labels) = spec.selector.as_ref().filter(|s| !s.is_empty()) else {
            return Ok(Action::Done);
        };
        if spec.type_.as_deref() == Some("ExternalName") {
            return Ok(Action::Done);
        }
        let selector = Selector::from_map(Some(labels));
        let mut pods = self.pods.list_in(key.namespace());
        pods.retain(|pod| selector.matches(pod.metadata.labels.as_ref()));
        let current = self.endpoints.get(&key);
        let Some(wanted) = plan::plan(&service, &pods, current.as_deref()) else {
            return Ok(Action::Done);
        };
        let result = if current.is_some() {
            api.replace(&key.name, &PostParams::default(), &wanted).await
        } else {
            api.create(&PostParams::default(), &wanted).await
        };
        match result {
            Ok(_) => Ok(Action::Done),
            Err(error) if error.is_namespace_terminating() => Ok(Action::Done),
            Err(error) => {
                let (reason, verb) = match current {
                    Some(_) => ("FailedToUpdateEndpoint", "update"),
                    None => ("FailedToCreateEndpoint", "create"),
                };
                if !error.is_conflict() && !error.is_already_exists() {
                    let text = api_message(&error);
                    let message = format!("Failed to {verb} endpoint {key}: {text}");
                    self.recorder.event(&wanted, EventType::Warning, reason, message);
                }
                Err(error.into())
            }
        }
    }
}

#[cfg(test)]
mod tests;
