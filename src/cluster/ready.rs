//! Waiting until a cluster can be used.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::Api;
use kube::runtime::watcher;
use rkind_driver::{LogOptions, Node};

use crate::access::Admin;
use crate::{Error, Reporter};

/// How long an API server may take to answer.
const API_PATIENCE: Duration = Duration::from_secs(60);
/// Lines of a node's log that an error shows.
const LOG_TAIL: u32 = 20;

/// Fails when one of the nodes ends, else never resolves.
pub(crate) async fn none_ends(nodes: &[Arc<dyn Node>]) -> Error {
    let waits = nodes.iter().map(|node| {
        Box::pin(async move {
            let code = match node.stopped().await {
                Ok(code) => code,
                Err(e) => return Error::Driver(e),
            };
            Error::NodeEnded {
                name: node.name().to_owned(),
                code,
                log: log_tail(node.as_ref()).await,
            }
        })
    });
    futures::future::select_all(waits).await.0
}

pub(crate) async fn log_tail(node: &dyn Node) -> String {
    let stream = match node
        .logs(LogOptions {
            follow: false,
            tail: Some(LOG_TAIL),
        })
        .await
    {
        Ok(stream) => stream,
        Err(e) => return e.to_string(),
    };
    let bytes: Vec<_> = stream.try_collect().await.unwrap_or_default();
    String::from_utf8_lossy(&bytes.concat()).trim_end().to_owned()
}

/// Resolves when the API server answers `/readyz`.
///
/// A published port says nothing until its server is there, so this asks again
/// at short, growing intervals.
pub(crate) async fn api(admin: &Admin, nodes: &[Arc<dyn Node>]) -> Result<kube::Client, Error> {
    let client = admin.client().await?;
    let mut last = "no answer".to_owned();
    let ask = async {
        let mut pause = Duration::from_millis(5);
        loop {
            let request = http::Request::get("/readyz").body(Vec::new());
            let request = request.map_err(|e| Error::Client {
                server: admin.server.clone(),
                message: e.to_string(),
            })?;
            match tokio::time::timeout(Duration::from_secs(5), client.request_text(request)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(e)) => last = rkind_client::chain(&e),
                Err(_) => "it does not answer".clone_into(&mut last),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_millis(100));
        }
    };
    let outcome = tokio::select! {
        result = tokio::time::timeout(API_PATIENCE, ask) => result,
        error = none_ends(nodes) => Ok(Err(error)),
    };
    match outcome {
        Ok(result) => result.map(|()| client),
        Err(_) => Err(Error::ApiTimeout {
            server: admin.server.clone(),
            after: API_PATIENCE,
            last,
        }),
    }
}

fn is_ready(node: &ApiNode, not_before: Option<jiff::Timestamp>) -> bool {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| {
        c.type_ == "Ready"
            && c.status == "True"
            && not_before.is_none_or(|t| c.last_heartbeat_time.as_ref().is_none_or(|h| h.0 >= t))
    })
}

/// Resolves when all nodes are Ready, by a watch. With `not_before`, what a node
/// said earlier does not count.
pub(crate) async fn nodes(
    client: kube::Client,
    nodes: &[Arc<dyn Node>],
    patience: Duration,
    not_before: Option<jiff::Timestamp>,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let started = Instant::now();
    let mut waiting: BTreeSet<String> = nodes.iter().map(|n| n.name().to_owned()).collect();
    let total = waiting.len();
    let watch = async {
        let mut events = watcher(Api::<ApiNode>::all(client), watcher::Config::default()).boxed();
        while !waiting.is_empty() {
            match events.next().await {
                Some(Ok(watcher::Event::Apply(node) | watcher::Event::InitApply(node))) => {
                    let name = node.metadata.name.as_deref().unwrap_or_default();
                    if is_ready(&node, not_before) && waiting.remove(name) {
                        reporter.detail(&format!("{}/{total} ready", total - waiting.len()));
                    }
                }
                Some(Ok(_)) => {}
                // It starts the watch again by itself; do not spin meanwhile.
                Some(Err(error)) => {
                    tracing::debug!(%error, "watch of nodes");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                None => break,
            }
        }
    };
    let outcome = tokio::select! {
        result = tokio::time::timeout(patience, watch) => result.map_err(|_| None),
        error = none_ends(nodes) => Err(Some(error)),
    };
    match outcome {
        Ok(()) => Ok(()),
        Err(Some(error)) => Err(error),
        Err(None) => Err(Error::NodesTimeout {
            after: started.elapsed(),
            nodes: waiting.into_iter().collect(),
        }),
    }
}
