//! Says of the control-plane node that it is one. A kubelet may not: it could draw work that is not
//! meant for it (NodeRestriction).

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use rkind_client::{Client, Filter, Informer, Informers, chain, patch};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::Error;

const LABEL: &str = "node-role.kubernetes.io/control-plane";

/// Keeps the label on the node `name`, whenever it registers, until shutdown.
pub(crate) async fn keep(client: Client, name: String, shutdown: CancellationToken) -> Result<(), Error> {
    let informers = Informers::new(client.clone());
    let nodes: Informer<Node> = informers.filtered(Filter::fields(format!("metadata.name={name}")));
    let mut changes = nodes.subscribe();
    loop {
        let change = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            change = changes.recv() => change,
        };
        let Some(change) = change else { return Ok(()) };
        let Some(node) = change.new else { continue };
        let labels = node.metadata.labels.as_ref();
        if labels.is_some_and(|labels| labels.contains_key(LABEL)) {
            continue;
        }
        let body = json!({"metadata": {"labels": {LABEL: ""}}});
        if let Err(error) = patch::merge(&Api::<Node>::all(client.clone()), &name, &body).await {
            // Its next report, in seconds, brings the next try.
            tracing::warn!(error = %chain(&error), "could not label the control-plane node");
        }
    }
}
