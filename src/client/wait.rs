//! Waiting for a state by watch, never by polling.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::{Backoff, Informer, ObjectKey};

/// The state did not come about.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WaitError {
    /// The time is up.
    #[error("{name} did not reach the awaited state within {limit:?}")]
    Timeout {
        /// The object.
        name: String,
        /// The time that was given.
        limit: Duration,
    },
    /// The informer was stopped.
    #[error("the watch for {name} was stopped")]
    Stopped {
        /// The object.
        name: String,
    },
}

/// Waits until `reached` holds for the object (`None`: there is no such object) and gives its state
/// then. Watch errors are retried until `limit`.
///
/// # Errors
/// [`WaitError::Timeout`].
pub async fn until<K>(
    api: Api<K>,
    name: &str,
    limit: Duration,
    mut reached: impl FnMut(Option<&K>) -> bool,
) -> Result<Option<K>, WaitError>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut events = std::pin::pin!(watcher::watch_object(api, name));
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    let wait = async {
        loop {
            match events.next().await {
                Some(Ok(object)) => {
                    if reached(object.as_ref()) {
                        return object;
                    }
                }
                Some(Err(_)) => tokio::time::sleep(backoff.next_delay()).await,
                None => std::future::pending().await,
            }
        }
    };
    tokio::time::timeout(limit, wait)
        .await
        .map_err(|_| WaitError::Timeout {
            name: name.to_owned(),
            limit,
        })
}

/// As [`until`], over an informer that runs anyway.
///
/// # Errors
/// [`WaitError`].
pub async fn until_cached<K>(
    informer: &Informer<K>,
    key: &ObjectKey,
    limit: Duration,
    mut reached: impl FnMut(Option<&K>) -> bool,
) -> Result<(), WaitError>
where
    K: Resource + Send + Sync + 'static,
{
    let mut changes = informer.subscribe();
    let wait = async {
        informer.synced().await;
        if reached(informer.get(key).as_deref()) {
            return Ok(());
        }
        while let Some(change) = changes.recv().await {
            if change.key == *key && reached(change.new.as_deref()) {
                return Ok(());
            }
        }
        Err(WaitError::Stopped {
            name: key.to_string(),
        })
    };
    tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| {
        Err(WaitError::Timeout {
            name: key.to_string(),
            limit,
        })
    })
}
