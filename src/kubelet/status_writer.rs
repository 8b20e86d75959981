//! Writes one pod's status to the API: only changes, in order, the newest only.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{Patch, PatchParams};
use rkind_client::{Backoff, Client, ErrorExt, chain};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::pod::PodExt;
use crate::status::OWNED;

/// The patch that makes `old` say what `new` says; `None` when it does already.
pub(crate) fn patch(old: &Value, new: &Value) -> Option<Value> {
    let empty = Map::new();
    let (old, new) = (
        old.as_object().unwrap_or(&empty),
        new.as_object().unwrap_or(&empty),
    );
    let mut changes = Map::new();
    for (key, value) in new {
        match key.as_str() {
            "conditions" => {
                let known = old
                    .get(key)
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default();
                let changed: Vec<Value> = value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|c| OWNED.iter().any(|own| c["type"] == **own))
                    .filter_map(|c| condition_change(&known, c))
                    .collect();
                if !changed.is_empty() {
                    changes.insert(key.clone(), Value::Array(changed));
                }
            }
            _ if old.get(key) == Some(value) => {}
            "podIPs" | "hostIPs" => {
                let mut list = value.as_array().cloned().unwrap_or_default();
                // The API merges these lists by address: one that is gone has to be said.
                let gone = |ip: &&Value| !list.contains(ip);
                if old
                    .get(key)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .any(|ip| gone(&ip))
                {
                    list.insert(0, json!({"$patch": "replace"}));
                }
                changes.insert(key.clone(), Value::Array(list));
            }
            _ => {
                changes.insert(key.clone(), value.clone());
            }
        }
    }
    for key in [
        "reason",
        "message",
        "podIP",
        "ephemeralContainerStatuses",
        "initContainerStatuses",
    ] {
        if old.contains_key(key) && !new.contains_key(key) {
            changes.insert(key.to_string(), Value::Null);
        }
    }
    (!changes.is_empty()).then_some(Value::Object(changes))
}

/// A condition as the patch says it: with nulls for what it had and has no more.
fn condition_change(known: &[Value], wanted: &Value) -> Option<Value> {
    let before = known.iter().find(|k| k["type"] == wanted["type"]);
    if before == Some(wanted) {
        return None;
    }
    let mut change = wanted.clone();
    for key in ["reason", "message"] {
        if before.is_some_and(|b| !b[key].is_null()) && wanted[key].is_null() {
            change[key] = Value::Null;
        }
    }
    Some(change)
}

/// Handle on the writer of one pod. The writer ends with it.
pub(crate) struct StatusWriter {
    sender: watch::Sender<Option<PodStatus>>,
    /// Counts statuses taken and written.
    written: watch::Receiver<Option<PodStatus>>,
    _task: DropGuard,
}

impl StatusWriter {
    pub(crate) fn new(client: Client, pod: &Pod) -> Self {
        let (sender, receiver) = watch::channel(None);
        let (done, written) = watch::channel(None);
        let stop = CancellationToken::new();
        let api: Api<Pod> = Api::namespaced(client, pod.namespace());
        let (name, uid) = (pod.name().to_string(), pod.uid().to_string());
        let known = serde_json::to_value(pod.status()).unwrap_or_default();
        let guard = stop.clone();
        tokio::spawn(async move {
            guard
                .run_until_cancelled(write_all(api, name, uid, known, receiver, done))
                .await;
        });
        Self {
            sender,
            written,
            _task: stop.drop_guard(),
        }
    }

    /// Has this status written soon.
    pub(crate) fn set(&self, status: PodStatus) {
        self.sender.send_if_modified(|current| {
            if current.as_ref() == Some(&status) {
                return false;
            }
            *current = Some(status);
            true
        });
    }

    /// Waits until the last status set is written (or the pod is gone from the API).
    pub(crate) async fn flush(&self) {
        let wanted = self.sender.borrow().clone();
        let mut written = self.written.clone();
        // The writer only goes away with us.
        let _ = written.wait_for(|status| *status == wanted).await;
    }
}

async fn write_all(
    api: Api<Pod>,
    name: String,
    uid: String,
    mut known: Value,
    mut receiver: watch::Receiver<Option<PodStatus>>,
    done: watch::Sender<Option<PodStatus>>,
) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    while receiver.changed().await.is_ok() {
        loop {
            let Some(status) = receiver.borrow_and_update().clone() else {
                break;
            };
            let wanted = serde_json::to_value(&status).unwrap_or_default();
            let Some(change) = patch(&known, &wanted) else {
                done.send_replace(Some(status));
                break;
            };
            let body = json!({"metadata": {"uid": uid}, "status": change});
            match api
                .patch_status(&name, &PatchParams::default(), &Patch::Strategic(&body))
                .await
            {
                Ok(pod) => {
                    known = serde_json::to_value(pod.status()).unwrap_or_default();
                    backoff.reset();
                    done.send_replace(Some(status));
                    break;
                }
                // Gone, or another pod has the name now: nobody is left to read it.
                Err(error) if error.is_not_found() || error.is_conflict() => {
                    tracing::debug!(pod = name, error = %chain(&error), "status not written");
                    done.send_replace(Some(status));
                    break;
                }
                Err(error) => {
                    tracing::warn!(pod = name, error = %chain(&error), "cannot write a pod's status");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
