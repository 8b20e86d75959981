//! The cluster's CA as ConfigMap `kube-root-ca.crt` in every namespace, mounted into every pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::PostParams;
use rkind_client::{Action, ErrorExt, Filter, ObjectKey, WorkQueue, run_workers};

use crate::common::Context;
use crate::serviceaccount::is_active;

const NAME: &str = "kube-root-ca.crt";
const FILE: &str = "ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
const DESCRIPTION_TEXT: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using \
    internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed \
    across distributions of Kubernetes clusters.";

/// The ConfigMap as it should be, if `current` isn't.
fn plan(current: Option<&ConfigMap>, pem: &str) -> Option<ConfigMap> {
    let annotations = BTreeMap::from([(DESCRIPTION.to_owned(), DESCRIPTION_TEXT.to_owned())]);
    let data = BTreeMap::from([(FILE.to_owned(), pem.to_owned())]);
    let mut wanted = current.cloned().unwrap_or_default();
    wanted.metadata.name = Some(NAME.into());
    wanted.data = Some(data);
    wanted
        .metadata
        .annotations
        .get_or_insert_default()
        .extend(annotations);
    let same = current
        .is_some_and(|c| c.data == wanted.data && c.metadata.annotations == wanted.metadata.annotations);
    (!same).then_some(wanted)
}

pub(crate) async fn run(context: Context) {
    if context.options.root_ca_pem.is_empty() {
        tracing::warn!("no root CA is given: kube-root-ca.crt is not published");
        context.shutdown.cancelled().await;
        return;
    }
    let namespaces = context.informers.get::<Namespace>();
    let maps = context
        .informers
        .filtered::<ConfigMap>(Filter::fields(format!("metadata.name={NAME}")));
    let queue = WorkQueue::new();
    context.feed(&namespaces, &queue, |change| vec![change.key.name.clone()]);
    context.feed(&maps, &queue, |change| vec![change.key.namespace().to_owned()]);
    namespaces.synced().await;
    maps.synced().await;
    let world = Arc::new((context.client.clone(), namespaces, maps, context.options.clone()));
    run_workers(queue, 1, context.shutdown.clone(), move |name: String| {
        let world = world.clone();
        async move {
            let (client, namespaces, maps, options) = &*world;
            if !namespaces
                .get(&ObjectKey::cluster(&*name))
                .is_some_and(|n| is_active(&n))
            {
                return Ok(Action::Done);
            }
            let current = maps.get(&ObjectKey::new(&*name, NAME));
            let Some(wanted) = plan(current.as_deref(), &options.root_ca_pem) else {
                return Ok(Action::Done);
            };
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), &name);
            let parameters = PostParams::default();
            let result = match current {
                Some(_) => api.replace(NAME, &parameters, &wanted).await,
                None => api.create(&parameters, &wanted).await,
            };
            match result {
                Err(error) if !error.is_already_exists() && !error.is_namespace_terminating() => Err(error),
                _ => Ok(Action::Done),
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    #[test]
    fn writes_only_what_differs() {
        let made = plan(None, "PEM").unwrap();
        assert_eq!(made.metadata.name.as_deref(), Some(NAME));
        assert!(plan(Some(&made), "PEM").is_none());
        assert!(plan(Some(&made), "OTHER").is_some());
        let plain = ConfigMap {
            metadata: ObjectMeta::default(),
            ..made
        };
        assert!(plan(Some(&plain), "PEM").is_some());
    }
}
