//! Removes the token Secrets of ServiceAccounts that are gone.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use rkind_client::{Action, ErrorExt, Filter, ObjectKey, WorkQueue, run_workers};

use crate::common::Context;

const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";
const TYPE: &str = "kubernetes.io/service-account-token";

/// The name, and the uid where it is known, of the account that a Secret belongs to.
fn account(secret: &Secret) -> Option<(String, Option<String>)> {
    let annotations = secret.metadata.annotations.as_ref()?;
    Some((annotations.get(NAME)?.clone(), annotations.get(UID).cloned()))
}

pub(crate) async fn run(context: Context) {
    let secrets = context
        .informers
        .filtered::<Secret>(Filter::fields(format!("type={TYPE}")));
    let accounts = context.informers.get::<ServiceAccount>();
    let queue = WorkQueue::new();
    context.feed_own(&secrets, &queue);
    let all = secrets.clone();
    context.feed(&accounts, &queue, move |change| {
        if change.new.is_some() && change.old.is_none() {
            return Vec::new();
        }
        let theirs = |s: &Arc<Secret>| account(s).is_some_and(|(name, _)| name == change.key.name);
        let secrets = all.list_in(change.key.namespace());
        secrets
            .iter()
            .filter(|s| theirs(s))
            .map(|s| ObjectKey::of(&**s))
            .collect()
    });
    secrets.synced().await;
    accounts.synced().await;
    let world = Arc::new((context.client.clone(), secrets));
    run_workers(queue, 1, context.shutdown.clone(), move |key: ObjectKey| {
        let world = world.clone();
        async move {
            let (client, secrets) = &*world;
            let Some(secret) = secrets.get(&key) else {
                return Ok(Action::Done);
            };
            let Some((name, uid)) = account(&secret) else {
                return Ok(Action::Done);
            };
            let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), key.namespace());
            let living = accounts.get_opt(&name).await?;
            if living.is_some_and(|a| uid.is_none() || uid == a.metadata.uid) {
                return Ok(Action::Done);
            }
            let api: Api<Secret> = Api::namespaced(client.clone(), key.namespace());
            let parameters = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: secret.metadata.uid.clone(),
                    resource_version: None,
                }),
                ..DeleteParams::default()
            };
            match api.delete(&key.name, &parameters).await {
                Err(error) if !error.is_not_found() => Err(error),
                _ => Ok(Action::Done),
            }
        }
    })
    .await;
}
