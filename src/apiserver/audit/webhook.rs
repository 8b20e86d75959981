//! Events to a webhook, many at once. Upstream: `plugin/pkg/audit/buffered` and `webhook`.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::outbound::{Remote, RemoteError};

/// Events that may wait, upstream's `--audit-webhook-batch-buffer-size`.
const BUFFER: usize = 10_000;
/// Deadline of one batch.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often a batch is tried, and how long between.
const TRIES: u32 = 5;
const BACKOFF: Duration = Duration::from_secs(10);

/// A webhook with its queue.
pub(super) struct Webhook {
    events: mpsc::Sender<Value>,
}

impl Webhook {
    /// As a kubeconfig names it. A batch goes when it has `size` events or is `wait` old.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub(super) fn new(kubeconfig: &str, size: usize, wait: Duration) -> Result<Self, RemoteError> {
        let remote = Remote::from_kubeconfig(kubeconfig, TIMEOUT)?;
        let (events, waiting) = mpsc::channel(BUFFER);
        tokio::spawn(run(remote, waiting, size, wait));
        Ok(Webhook { events })
    }

    /// Queues one event; a full queue drops it, as upstream's batch mode does.
    pub(super) fn write(&self, event: Value) {
        if self.events.try_send(event).is_err() {
            tracing::error!("audit webhook is behind, an event is dropped");
        }
    }
}

async fn run(remote: Remote, mut waiting: mpsc::Receiver<Value>, size: usize, wait: Duration) {
    let mut batch = Vec::new();
    while let Some(first) = waiting.recv().await {
        batch.push(first);
        let full = async {
            while batch.len() < size {
                match waiting.recv().await {
                    Some(event) => batch.push(event),
                    None => break,
                }
            }
        };
        // An old batch goes as it is.
        let _ = tokio::time::timeout(wait, full).await;
        let list = json!({
            "kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {},
            "items": std::mem::take(&mut batch),
        });
        send(&remote, list.to_string().into_bytes()).await;
    }
}

async fn send(remote: &Remote, body: Vec<u8>) {
    for attempt in 1..=TRIES {
        match remote.post(body.clone()).await {
            // Whatever it says, it has the events.
            Ok(_) | Err(RemoteError::Malformed(_)) => return,
            Err(error) => {
                tracing::warn!(%error, attempt, "audit webhook does not take events");
                if attempt < TRIES {
                    // A back-off: the other end says nothing when it takes events again.
                    tokio::time::sleep(BACKOFF).await;
                }
            }
        }
    }
}
