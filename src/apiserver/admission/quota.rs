//! Resource quotas are held. Upstream: `k8s.io/apiserver/pkg/admission/plugin/resourcequota`.
//!
//! # Flow
//! The writes of a namespace that has quotas come together: one task takes all that wait, checks them
//! in turn against the quotas as stored, and commits what they use in one write per quota. A quota
//! that changed meanwhile is read again. Counting is [`rkind_apimachinery::quota`]'s.
//!
//! # Guarantees
//! No write passes whose use is not committed before; what was committed for a write that failed
//! later is set right by the quota controller.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use rkind_apimachinery::{
    quota::{self, Charge, Evaluator},
    status::Status,
};
use rkind_store::{Revision, Store};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{Operation, Request, Validate};
use crate::{
    cacher::{Cache, ROOT},
    error::Result,
};

/// Storage prefix of quotas.
const QUOTAS: &str = "core/resourcequotas";
/// How long a write waits for its turn.
const WAIT: Duration = Duration::from_secs(10);
/// How often a moving quota is read again.
const TRIES: usize = 100;

/// `ResourceQuota`.
#[derive(Default)]
pub(super) struct ResourceQuota {
    gate: Arc<Gate>,
}

#[async_trait]
impl Validate for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        let written = matches!(request.operation, Operation::Create | Operation::Update);
        if !written || request.namespace.is_empty() {
            return Ok(());
        }
        let (group, resource) = (request.def.group, request.def.resource);
        if quota::is_ignored(group, resource) || !has_quotas(&request.core.cache, request.namespace) {
            return Ok(());
        }
        let evaluator = Evaluator::of(group, resource);
        let verb = request.operation.as_str();
        if !evaluator.handles(verb, request.sub, request.object, request.old) {
            return Ok(());
        }
        let now = jiff::Timestamp::now();
        let charge = evaluator.charge(request.object, request.old, request.sub, now);
        let (done, verdict) = oneshot::channel();
        let asked = Asked {
            evaluator,
            charge,
            dry_run: request.dry_run,
            done,
        };
        let core = request.core;
        self.gate
            .enter(&core.store, &core.cache, request.namespace, asked);
        match tokio::time::timeout(WAIT, verdict).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(Refusal::Forbidden(why)))) => Err(request.forbidden(&why)),
            Ok(Ok(Err(Refusal::Store(why)))) => Err(Status::internal_error(&why).into()),
            Ok(Err(_)) | Err(_) => Err(Status::internal_error("resource quota evaluation timed out").into()),
        }
    }
}

fn has_quotas(cache: &Cache, namespace: &str) -> bool {
    cache.cacher(QUOTAS).is_some_and(|cacher| {
        let snapshot = cacher.snapshot(0);
        snapshot.range(&format!("{namespace}/"), None).next().is_some()
    })
}

/// Why a write may not pass.
enum Refusal {
    Forbidden(String),
    Store(String),
}

/// A write that waits for its turn.
struct Asked {
    evaluator: Evaluator,
    charge: Charge,
    dry_run: bool,
    done: oneshot::Sender<Result<(), Refusal>>,
}

/// Who waits, by namespace; a namespace is in here as long as a task works for it.
#[derive(Default)]
struct Gate {
    waiting: Mutex<HashMap<String, Vec<Asked>>>,
}

impl Gate {
    /// Puts a write in line; begins the namespace's task when there is none.
    fn enter(self: &Arc<Self>, store: &Arc<dyn Store>, cache: &Arc<Cache>, namespace: &str, asked: Asked) {
        let mut waiting = self.waiting.lock();
        if let Some(line) = waiting.get_mut(namespace) {
            line.push(asked);
            return;
        }
        waiting.insert(namespace.to_owned(), vec![asked]);
        drop(waiting);
        let (gate, store, cache) = (self.clone(), store.clone(), cache.clone());
        let namespace = namespace.to_owned();
        tokio::spawn(async move {
            let turn = Turn {
                gate: &gate,
                namespace: &namespace,
            };
            while let Some(batch) = gate.take(&namespace) {
                serve(&*store, &cache, &namespace, batch).await;
            }
            // The line is empty and given up; it may be the next one's already.
            std::mem::forget(turn);
        });
    }

    /// All that wait; `None` ends the namespace's task.
    fn take(&self, namespace: &str) -> Option<Vec<Asked>> {
        let mut waiting = self.waiting.lock();
        let batch = std::mem::take(waiting.get_mut(namespace)?);
        if batch.is_empty() {
            waiting.remove(namespace);
            return None;
        }
        Some(batch)
    }
}

/// A namespace's task while it works. One that meets a fault leaves the namespace to the next write's, and
/// tells those who wait in line by dropping them.
struct Turn<'a> {
    gate: &'a Gate,
    namespace: &'a str,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.gate.waiting.lock().remove(self.namespace);
    }
}

/// A quota as stored.
struct Stored {
    key: String,
    revision: Revision,
    object: Value,
    changed: bool,
}

async fn read(store: &dyn Store, key: &str) -> Result<Option<Stored>, Refusal> {
    let (entry, _) = store
        .get(key, None)
        .await
        .map_err(|e| Refusal::Store(e.to_string()))?;
    let Some(entry) = entry else { return Ok(None) };
    let object = serde_json::from_slice(&entry.value.bytes()).map_err(|e| Refusal::Store(e.to_string()))?;
    Ok(Some(Stored {
        key: key.to_owned(),
        revision: entry.mod_revision,
        object,
        changed: false,
    }))
}

/// Decides a batch of writes and tells each.
async fn serve(store: &dyn Store, cache: &Cache, namespace: &str, batch: Vec<Asked>) {
    let keys: Vec<String> = match cache.cacher(QUOTAS) {
        Some(cacher) => cacher
            .snapshot(0)
            .range(&format!("{namespace}/"), None)
            .map(|quota| format!("{ROOT}{QUOTAS}/{}", quota.key))
            .collect(),
        None => Vec::new(),
    };
    let mut quotas = Vec::new();
    for key in &keys {
        match read(store, key).await {
            Ok(Some(quota)) => quotas.push(quota),
            Ok(None) => {}
            Err(Refusal::Store(why) | Refusal::Forbidden(why)) => {
                for asked in batch {
                    let _ = asked.done.send(Err(Refusal::Store(why.clone())));
                }
                return;
            }
        }
    }
    // Each write is checked against what those before it leave.
    let mut passing = Vec::new();
    for asked in batch {
        match check(&mut quotas, &asked) {
            Err(why) => {
                let _ = asked.done.send(Err(Refusal::Forbidden(why)));
            }
            Ok(false) => {
                let _ = asked.done.send(Ok(()));
            }
            Ok(true) => passing.push(asked),
        }
    }
    for quota in quotas.into_iter().filter(|quota| quota.changed) {
        passing = commit(store, quota, passing).await;
    }
    for asked in passing {
        let _ = asked.done.send(Ok(()));
    }
}

/// Checks one write against all quotas and adds what it uses; gives whether it uses any.
fn check(quotas: &mut [Stored], asked: &Asked) -> Result<bool, String> {
    let mut uses = Vec::new();
    for quota in quotas.iter() {
        uses.push(asked.evaluator.check(&quota.object, &asked.charge)?);
    }
    if asked.dry_run {
        return Ok(false);
    }
    let mut any = false;
    for (quota, used) in quotas.iter_mut().zip(uses) {
        if let Some(used) = used {
            quota.object["status"]["used"] = quota::to_value(&used);
            quota.changed = true;
            any = true;
        }
    }
    Ok(any)
}

/// Stores what the passing writes use of one quota; gives those that still pass.
async fn commit(store: &dyn Store, mut quota: Stored, mut passing: Vec<Asked>) -> Vec<Asked> {
    for _ in 0..TRIES {
        let bytes = serde_json::to_vec(&quota.object).unwrap_or_default();
        match store.update(&quota.key, quota.revision, bytes.into()).await {
            Ok(_) => return passing,
            Err(rkind_store::Error::NotFound { .. }) => return passing,
            Err(rkind_store::Error::Conflict { .. }) => {}
            Err(error) => return refuse(passing, &error.to_string()),
        }
        let current = match read(store, &quota.key).await {
            Ok(Some(current)) => current,
            Ok(None) => return passing,
            Err(Refusal::Store(why) | Refusal::Forbidden(why)) => return refuse(passing, &why),
        };
        let mut current = [current];
        let mut left = Vec::new();
        for asked in passing {
            match check(&mut current, &asked) {
                Ok(_) => left.push(asked),
                Err(why) => {
                    let _ = asked.done.send(Err(Refusal::Forbidden(why)));
                }
            }
        }
        passing = left;
        let [current] = current;
        if !current.changed {
            return passing;
        }
        quota = current;
    }
    refuse(passing, "the quota's status changes too fast")
}

fn refuse(passing: Vec<Asked>, why: &str) -> Vec<Asked> {
    for asked in passing {
        let _ = asked.done.send(Err(Refusal::Store(why.to_owned())));
    }
    Vec::new()
}
