//! A `default` ServiceAccount in every namespace.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use rkind_client::{Action, ErrorExt, ObjectKey, WorkQueue, run_workers};

use crate::common::Context;

const DEFAULT: &str = "default";

/// Whether new objects can be made in the namespace.
pub(crate) fn is_active(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_none()
        && namespace.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Terminating")
}

pub(crate) async fn run(context: Context) {
    let namespaces = context.informers.get::<Namespace>();
    let accounts = context.informers.get::<ServiceAccount>();
    let queue = WorkQueue::new();
    context.feed(&namespaces, &queue, |change| vec![change.key.name.clone()]);
    context.feed(&accounts, &queue, |change| {
        let gone = change.new.is_none() && change.key.name == DEFAULT;
        gone.then(|| change.key.namespace().to_owned())
            .into_iter()
            .collect()
    });
    namespaces.synced().await;
    accounts.synced().await;
    let client = context.client.clone();
    let world = Arc::new((client, namespaces, accounts));
    run_workers(queue, 1, context.shutdown.clone(), move |name: String| {
        let world = world.clone();
        async move {
            let (client, namespaces, accounts) = &*world;
            let active = namespaces
                .get(&ObjectKey::cluster(&*name))
                .is_some_and(|n| is_active(&n));
            if !active || accounts.get(&ObjectKey::new(&*name, DEFAULT)).is_some() {
                return Ok(Action::Done);
            }
            let account = ServiceAccount {
                metadata: ObjectMeta {
                    name: Some(DEFAULT.into()),
                    ..Default::default()
                },
                ..Default::default()
            };
            let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &name);
            match api.create(&PostParams::default(), &account).await {
                Err(error) if !error.is_already_exists() && !error.is_namespace_terminating() => Err(error),
                _ => Ok(Action::Done),
            }
        }
    })
    .await;
}
