//! Running a reconcile function over a queue.

use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::WorkQueue;

/// What becomes of a key after a successful run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing until something changes.
    Done,
    /// Look again after this time, even if nothing changes.
    RequeueAfter(Duration),
}

/// Works on the queue's keys with `workers` tasks until `shutdown`, then waits for the running ones.
///
/// An error (or a panic, which is caught) puts the key back with growing delay; the error is logged
/// with its whole chain. Conflicts of an optimistic write are ordinary and logged at debug level.
pub async fn run_workers<T, E, F, R>(
    queue: WorkQueue<T>,
    workers: usize,
    shutdown: CancellationToken,
    reconcile: F,
) where
    T: Hash + Eq + Clone + Display + Send + Sync + 'static,
    E: std::error::Error + Send + Sync + 'static,
    F: Fn(T) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Action, E>> + Send + 'static,
{
    let reconcile = Arc::new(reconcile);
    let mut tasks = JoinSet::new();
    for _ in 0..workers.max(1) {
        tasks.spawn(work(queue.clone(), reconcile.clone()));
    }
    shutdown.cancelled().await;
    queue.shut_down();
    while tasks.join_next().await.is_some() {}
}

async fn work<T, E, F, R>(queue: WorkQueue<T>, reconcile: Arc<F>)
where
    T: Hash + Eq + Clone + Display + Send + Sync + 'static,
    E: std::error::Error + Send + Sync + 'static,
    F: Fn(T) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Action, E>> + Send + 'static,
{
    while let Some(key) = queue.get().await {
        match AssertUnwindSafe(reconcile(key.clone())).catch_unwind().await {
            Ok(Ok(action)) => {
                queue.forget(&key);
                if let Action::RequeueAfter(delay) = action {
                    queue.add_after(key.clone(), delay);
                }
            }
            Ok(Err(error)) => {
                let text = crate::chain(&error);
                if is_ordinary(&text) || queue.failures(&key) < 2 {
                    tracing::debug!(%key, error = %text, "reconcile failed, trying again");
                } else {
                    tracing::warn!(%key, error = %text, "reconcile failed, trying again");
                }
                queue.add_rate_limited(key.clone());
            }
            Err(_panic) => {
                tracing::error!(%key, "reconcile panicked, trying again");
                queue.add_rate_limited(key.clone());
            }
        }
        queue.done(&key);
    }
}

/// Answers that come with every busy cluster: somebody else wrote first, or the namespace is going.
fn is_ordinary(text: &str) -> bool {
    text.contains("the object has been modified") || text.contains("because it is being terminated")
}
