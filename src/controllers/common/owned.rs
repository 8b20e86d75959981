//! Pods that belong to a controller: how they are found, made and removed.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Resource};
use rkind_client::selector::SelectorError;
use rkind_client::{ErrorExt, EventRecorder, EventType, Informer, ObjectKey, Selector, WorkQueue, owner};

use super::expect::Expectations;
use super::{Context, controller_keys};

/// Name of the index by the uid of the controller; orphans stand under [`orphans`].
pub(crate) const BY_CONTROLLER: &str = "controller-uid";

/// Index values of a pod: its controller's uid, or its namespace's orphans.
pub(crate) fn controller_or_orphan(pod: &Pod) -> Vec<String> {
    match owner::controller_of(&pod.metadata) {
        Some(controller) => vec![controller.uid.clone()],
        None => vec![orphans(pod.metadata.namespace.as_deref().unwrap_or_default())],
    }
}

/// The index value of a namespace's pods without controller.
pub(crate) fn orphans(namespace: &str) -> String {
    format!("orphans of {namespace}")
}

/// What the server said, as upstream puts it into events.
pub(crate) fn api_message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl Context {
    /// Feeds a pod's controller of kind `kind`; for an orphan, whatever selects it and may adopt it.
    pub(crate) fn feed_owners<K>(
        &self,
        pods: &Informer<Pod>,
        queue: &WorkQueue<ObjectKey>,
        kind: &'static str,
        owners: &Informer<K>,
        selector: fn(&K) -> Result<Selector, SelectorError>,
    ) where
        K: Resource<DynamicType = ()> + Send + Sync + 'static,
    {
        let owners = owners.clone();
        self.feed(pods, queue, move |change| {
            let mut keys = controller_keys(change, kind);
            if let Some(pod) = &change.new
                && owner::controller_of(&pod.metadata).is_none()
            {
                let selects =
                    |owner: &Arc<K>| selector(owner).is_ok_and(|s| s.matches(pod.metadata.labels.as_ref()));
                let candidates = owners.list_in(change.key.namespace());
                let selecting = candidates.iter().filter(|owner| selects(owner));
                keys.extend(selecting.map(|owner| ObjectKey::of(&**owner)));
            }
            keys
        });
    }
}

/// Makes and removes pods on behalf of their owner: tells of it in events, and notes what the
/// informer is still going to show.
pub(crate) struct PodControl<'a> {
    pub(crate) api: &'a Api<Pod>,
    /// The owner's.
    pub(crate) key: &'a ObjectKey,
    pub(crate) owner: ObjectReference,
    pub(crate) recorder: &'a EventRecorder,
    pub(crate) expectations: &'a Expectations,
}

impl PodControl<'_> {
    fn tell(&self, kind: EventType, reason: &str, message: String) {
        self.recorder.event_ref(self.owner.clone(), kind, reason, message);
    }

    pub(crate) async fn create(&self, pod: &Pod) -> kube::Result<()> {
        match self.api.create(&PostParams::default(), pod).await {
            Ok(created) => {
                self.expectations.wrote(self.key, &created);
                let name = created.metadata.name.as_deref().unwrap_or_default();
                self.tell(
                    EventType::Normal,
                    "SuccessfulCreate",
                    format!("Created pod: {name}"),
                );
                Ok(())
            }
            Err(error) => {
                if !error.is_namespace_terminating() {
                    let message = format!("Error creating: {}", api_message(&error));
                    self.tell(EventType::Warning, "FailedCreate", message);
                }
                Err(error)
            }
        }
    }

    /// A pod that is gone already counts as deleted.
    pub(crate) async fn delete(&self, pod: &Pod) -> kube::Result<()> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: pod.metadata.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.api.delete(name, &parameters).await {
            Ok(_) => {
                self.expectations.deleted(self.key, pod);
                self.tell(
                    EventType::Normal,
                    "SuccessfulDelete",
                    format!("Deleted pod: {name}"),
                );
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => {
                let message = format!("Error deleting: {}", api_message(&error));
                self.tell(EventType::Warning, "FailedDelete", message);
                Err(error)
            }
        }
    }
}
