//! Emptying and finalizing namespaces that are being deleted.
//!
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/>; pods go before all
//! else (KEP-5080).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use rkind_client::{Action, ErrorExt, Informer, ObjectKey, WorkQueue, chain, run_workers};

use crate::common::discover::{Discovered, discover};
use crate::common::owned::api_message;
use crate::common::{Context, Outcome, ReconcileError};

mod status;

use status::Progress;

/// The finalizer in `spec.finalizers` that this controller answers for.
const FINALIZER: &str = "kubernetes";
const WORKERS: usize = 10;
/// The longest time between two looks at a namespace that still holds something.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

pub(crate) async fn run(context: Context) {
    let namespaces = context.informers.get::<Namespace>();
    let queue = WorkQueue::new();
    context.feed(&namespaces, &queue, |change| {
        let going = change
            .new
            .as_ref()
            .is_some_and(|n| n.metadata.deletion_timestamp.is_some());
        going.then(|| change.key.name.clone()).into_iter().collect()
    });
    namespaces.synced().await;
    let controller = Arc::new(Controller {
        context: context.clone(),
        namespaces,
    });
    run_workers(queue, WORKERS, context.shutdown.clone(), move |name: String| {
        let controller = controller.clone();
        async move { controller.reconcile(name).await }
    })
    .await;
}

struct Controller {
    context: Context,
    namespaces: Informer<Namespace>,
}

impl Controller {
    async fn reconcile(&self, name: String) -> Outcome {
        let api: Api<Namespace> = Api::all(self.context.client.clone());
        if self.namespaces.get(&ObjectKey::cluster(&*name)).is_none() {
            return Ok(Action::Done);
        }
        let Some(namespace) = api.get_opt(&name).await? else {
            return Ok(Action::Done);
        };
        if namespace.metadata.deletion_timestamp.is_none() {
            return Ok(Action::Done);
        }
        if finalizers(&namespace).is_empty() {
            return remove(&api, &namespace).await;
        }
        let progress = self.empty(&name).await?;
        let namespace = write_status(&api, namespace, &progress).await?;
        if progress.errors.is_empty() && progress.remaining.is_empty() {
            return finalize(&api, namespace).await;
        }
        if let Some(error) = progress
            .errors
            .values()
            .next()
            .filter(|_| progress.remaining.is_empty())
        {
            return Err(ReconcileError::Other(format!(
                "content of namespace {name} not deleted: {error}"
            )));
        }
        // Graceful pods take their time; everything else is nearly gone.
        let wait =
            Duration::from_secs(progress.longest_grace / 2).clamp(Duration::from_millis(300), LONGEST_WAIT);
        Ok(Action::RequeueAfter(wait.min(Duration::from_secs(1))))
    }

    /// Deletes what is in the namespace and tells what is still there.
    async fn empty(&self, name: &str) -> Result<Progress, ReconcileError> {
        let discovery = discover(&self.context.client).await?;
        let mut progress = Progress {
            undiscovered: discovery.failed,
            ..Progress::default()
        };
        let (pods, others): (Vec<_>, Vec<_>) = discovery
            .resources
            .into_iter()
            .filter(|d| d.namespaced && d.can("delete") && d.can("list"))
            .partition(|d| d.resource.group.is_empty() && d.resource.plural == "pods");
        for resource in &pods {
            self.empty_resource(name, resource, &mut progress).await;
        }
        if !progress.remaining.is_empty() {
            progress.longest_grace = self.longest_grace(name).await.unwrap_or(0);
            return Ok(progress);
        }
        for resource in &others {
            self.empty_resource(name, resource, &mut progress).await;
        }
        Ok(progress)
    }

    async fn empty_resource(&self, name: &str, resource: &Discovered, progress: &mut Progress) {
        let label = format!("{}.{}", resource.resource.plural, resource.resource.group);
        if let Err(error) = self.try_empty(name, resource, &label, progress).await
            && !error.is_not_found()
        {
            tracing::debug!(namespace = name, resource = label, error = %chain(&error), "content not deleted");
            progress.errors.insert(label, api_message(&error));
        }
    }

    async fn try_empty(
        &self,
        name: &str,
        resource: &Discovered,
        label: &str,
        progress: &mut Progress,
    ) -> kube::Result<()> {
        let api = resource.api(self.context.client.clone(), Some(name));
        let everything = ListParams::default();
        let present = api.list_metadata(&everything).await?;
        if present.items.is_empty() {
            return Ok(());
        }
        if resource.can("deletecollection") {
            api.delete_collection(&DeleteParams::background(), &everything)
                .await?;
        } else {
            for object in &present.items {
                let name = object.metadata.name.as_deref().unwrap_or_default();
                match api.delete(name, &DeleteParams::background()).await {
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => {}
                }
            }
        }
        let left = api.list_metadata(&everything).await?;
        if !left.items.is_empty() {
            progress.remaining.insert(label.to_owned(), left.items.len());
        }
        for finalizer in left
            .items
            .iter()
            .flat_map(|o| o.metadata.finalizers.iter().flatten())
        {
            *progress.finalizers.entry(finalizer.clone()).or_insert(0) += 1;
        }
        Ok(())
    }

    /// Seconds that the namespace's slowest pod may take.
    async fn longest_grace(&self, name: &str) -> kube::Result<u64> {
        let pods: Api<Pod> = Api::namespaced(self.context.client.clone(), name);
        let pods = pods.list(&ListParams::default()).await?;
        Ok(pods
            .items
            .iter()
            .filter_map(|pod| pod.metadata.deletion_grace_period_seconds)
            .filter_map(|seconds| u64::try_from(seconds).ok())
            .max()
            .unwrap_or(0))
    }
}

fn finalizers(namespace: &Namespace) -> Vec<String> {
    namespace
        .spec
        .as_ref()
        .and_then(|s| s.finalizers.clone())
        .unwrap_or_default()
}

async fn write_status(
    api: &Api<Namespace>,
    namespace: Namespace,
    progress: &Progress,
) -> Result<Namespace, ReconcileError> {
    let old = namespace.status.clone().unwrap_or_default();
    let new = status::status(&old, progress, &crate::common::now());
    if new == old {
        return Ok(namespace);
    }
    let mut changed = namespace;
    changed.status = Some(new);
    let name = changed.metadata.name.clone().unwrap_or_default();
    Ok(api
        .replace_status(&name, &PostParams::default(), &changed)
        .await?)
}

/// Takes our finalizer off; the server then removes the namespace.
async fn finalize(api: &Api<Namespace>, mut namespace: Namespace) -> Outcome {
    let name = namespace.metadata.name.clone().unwrap_or_default();
    let mut left = finalizers(&namespace);
    left.retain(|f| f != FINALIZER);
    namespace.spec.get_or_insert_default().finalizers = Some(left);
    match api
        .replace_subresource("finalize", &name, &PostParams::default(), &namespace)
        .await
    {
        Ok(finalized) => remove(api, &finalized).await,
        Err(error) if error.is_not_found() => Ok(Action::Done),
        Err(error) => Err(error.into()),
    }
}

/// Nothing holds it any more: usually the server has removed it by now.
async fn remove(api: &Api<Namespace>, namespace: &Namespace) -> Outcome {
    if !finalizers(namespace).is_empty() {
        return Ok(Action::Done);
    }
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: namespace.metadata.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api
        .delete(
            namespace.metadata.name.as_deref().unwrap_or_default(),
            &parameters,
        )
        .await
    {
        Err(error) if !error.is_not_found() && error.code() != Some(409) => Err(error.into()),
        _ => Ok(Action::Done),
    }
}

/// A count per name.
pub(crate) type Counts = BTreeMap<String, usize>;

#[cfg(test)]
mod tests;
