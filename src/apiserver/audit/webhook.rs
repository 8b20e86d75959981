//! Events to a webhook, many at once. Upstream: `plugin/pkg/audit/buffered` and `webhook`.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::{
    options::Audit,
    outbound::{Remote, RemoteError},
};

/// Deadline of one batch.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often a batch is tried.
const TRIES: u32 = 5;

/// What the task that sends is told.
enum Order {
    Event(Value),
    /// All before is sent, or given up, when this is dropped.
    Flush(oneshot::Sender<()>),
}

/// A webhook with its queue.
pub(super) struct Webhook {
    events: mpsc::Sender<Order>,
}

impl Webhook {
    /// As a kubeconfig names it. A batch goes when it is full or old.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub(super) fn new(kubeconfig: &str, options: &Audit) -> Result<Self, RemoteError> {
        let remote = Remote::from_kubeconfig(kubeconfig, TIMEOUT)?;
        let (events, waiting) = mpsc::channel(options.audit_webhook_batch_buffer_size.max(1));
        tokio::spawn(run(remote, waiting, options.clone()));
        Ok(Webhook { events })
    }

    /// Queues one event; a full queue drops it, as upstream's batch mode does.
    pub(super) fn write(&self, event: Value) {
        if self.events.try_send(Order::Event(event)).is_err() {
            tracing::error!("audit webhook is behind, an event is dropped");
        }
    }

    /// Waits until everything queued is sent, or given up.
    pub(super) async fn flush(&self) {
        let (done, sent) = oneshot::channel();
        if self.events.send(Order::Flush(done)).await.is_ok() {
            let _ = sent.await;
        }
    }
}

async fn run(remote: Remote, mut waiting: mpsc::Receiver<Order>, options: Audit) {
    let size = options.audit_webhook_batch_max_size.max(1);
    let mut batch = Vec::new();
    while let Some(first) = waiting.recv().await {
        let mut flush = match first {
            Order::Event(event) => {
                batch.push(event);
                None
            }
            Order::Flush(_) => continue,
        };
        let full = async {
            while batch.len() < size {
                match waiting.recv().await {
                    Some(Order::Event(event)) => batch.push(event),
                    Some(Order::Flush(done)) => {
                        flush = Some(done);
                        break;
                    }
                    None => break,
                }
            }
        };
        // An old batch goes as it is.
        let _ = tokio::time::timeout(options.audit_webhook_batch_max_wait, full).await;
        let list = json!({
            "kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {},
            "items": std::mem::take(&mut batch),
        });
        let body = list.to_string().into_bytes();
        send(&remote, body, options.audit_webhook_initial_backoff).await;
        drop(flush);
    }
}

async fn send(remote: &Remote, body: Vec<u8>, backoff: Duration) {
    for attempt in 1..=TRIES {
        match remote.post(body.clone()).await {
            // Whatever it says, it has the events.
            Ok(_) | Err(RemoteError::Malformed(_)) => return,
            Err(error) => {
                tracing::warn!(%error, attempt, "audit webhook does not take events");
                if attempt < TRIES {
                    // A back-off: the other end says nothing when it takes events again.
                    tokio::time::sleep(backoff).await;
                }
            }
        }
    }
}
