//! What upstream's apiextensions controllers do: names are granted, conditions set, and the objects of
//! a definition that is being deleted go before it does.
//! Upstream: `apiextensions-apiserver/pkg/controller/{status,establish,apiapproval,finalizer}`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use rkind_apimachinery::{meta, resources, resources::ResourceDef, status::Status};
use rkind_store::Revision;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    DEFINITIONS,
    names::{self, Claimed},
};
use crate::{
    cacher::Obj, catalog::Def, core::Core, error::Result, registry::create::Write,
    request::options::DeleteOptions,
};

/// Keeps a definition until its objects are gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// How soon a failed step is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How many objects of a definition are deleted at once.
const DELETIONS: usize = 16;

/// Runs until the server shuts down.
pub(crate) async fn run(core: Arc<Core>) {
    let Some(cacher) = core.cache.cacher(DEFINITIONS) else {
        return;
    };
    let mut changed = cacher.changed();
    let mut control = Control {
        core: core.clone(),
        known: BTreeMap::new(),
    };
    loop {
        changed.borrow_and_update();
        core.catalog.refresh(&core).await;
        let mut emptying = Vec::new();
        let failed = match control.step(&mut emptying).await {
            Ok(()) => false,
            Err(error) => {
                tracing::warn!(message = %error.message, "custom resource definitions: a step failed");
                true
            }
        };
        let moved = async {
            let waits: Vec<_> = emptying.iter_mut().map(|r| Box::pin(r.changed())).collect();
            if waits.is_empty() {
                std::future::pending::<()>().await;
            }
            // A cache that is gone has nothing left either.
            let _ = futures::future::select_all(waits).await;
        };
        tokio::select! {
            () = core.shutdown.cancelled() => return,
            still = changed.changed() => if still.is_err() { return },
            () = moved => {}
            // A write that was refused is tried again; nothing announces that it would pass.
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
}

struct Control {
    core: Arc<Core>,
    /// Of each definition what matters here, and the revision it was read at.
    known: BTreeMap<String, (Revision, Value)>,
}

/// The parts of a definition that decide about names; schemas are large.
fn slim(object: &Obj) -> Value {
    let full = object.to_value();
    json!({
        "metadata": full["metadata"],
        "spec": {"group": full["spec"]["group"], "names": full["spec"]["names"]},
        "status": full["status"],
    })
}

fn def() -> Result<&'static ResourceDef> {
    let def = resources::find("apiextensions.k8s.io", "v1", "customresourcedefinitions");
    Ok(def.ok_or_else(Status::unknown_resource)?)
}

impl Control {
    /// Does what there is to do now. `emptying` gets the changes of resources that wait for their last
    /// objects.
    async fn step(&mut self, emptying: &mut Vec<watch::Receiver<u64>>) -> Result<()> {
        let Some(cacher) = self.core.cache.cacher(DEFINITIONS) else {
            return Ok(());
        };
        let objects = cacher.snapshot(0).objects;
        self.known.retain(|name, _| objects.contains_key(name.as_str()));
        for (name, object) in objects.iter() {
            let known = self.known.get(&**name);
            if known.is_none_or(|(revision, _)| *revision != object.revision) {
                self.known
                    .insert(name.to_string(), (object.revision, slim(object)));
            }
        }
        let mut claimed: HashMap<String, Claimed> = HashMap::new();
        for (_, definition) in self.known.values() {
            claimed.entry(group(definition)).or_default().add(definition);
        }
        let mut deleting = Vec::new();
        let mut planned = Vec::new();
        for (name, (_, definition)) in &self.known {
            if meta::is_deleting(definition) {
                if meta::finalizers(definition).any(|f| f == FINALIZER) {
                    deleting.push(name.clone());
                }
            } else if names::plan(definition, &claimed[&group(definition)], &meta::now()).is_some() {
                planned.push(name.clone());
            }
        }
        for name in planned {
            let granted = self.grant(&name, &claimed).await?;
            if let Some(granted) = granted {
                claimed.entry(group(&granted)).or_default().add(&granted);
            }
        }
        for name in deleting {
            if let Some(changes) = self.empty(&name).await? {
                emptying.push(changes);
            }
        }
        Ok(())
    }

    /// Writes the status that a definition should have; gives the definition as it then is.
    async fn grant(&self, name: &str, claimed: &HashMap<String, Claimed>) -> Result<Option<Value>> {
        let mut granted = None;
        self.status(name, |definition| {
            let nobody = Claimed::default();
            let claimed = claimed.get(&group(definition)).unwrap_or(&nobody);
            let status = names::plan(definition, claimed, &meta::now());
            if let Some(status) = &status {
                granted = Some(json!({"spec": {"group": definition["spec"]["group"]}, "status": status}));
            }
            status
        })
        .await?;
        Ok(granted)
    }

    /// Changes a definition's status; nothing happens when it is gone.
    async fn status(&self, name: &str, mut plan: impl FnMut(&Value) -> Option<Value> + Send) -> Result<()> {
        let mut write = Write::internal(&self.core, def()?, "");
        write.sub = "status";
        write.retry = true;
        let done = write.change(name, |old| {
            let mut new = old.clone();
            if let Some(status) = plan(old) {
                new["status"] = status;
            }
            Ok(new)
        });
        gone_is_fine(done.await.map(|_| ()))
    }

    /// Deletes the objects of a definition, and lets the definition go when there are none left; until
    /// then gives what tells when to look again.
    async fn empty(&self, name: &str) -> Result<Option<watch::Receiver<u64>>> {
        let Some((_, definition)) = self.known.get(name) else {
            return Ok(None);
        };
        let prefix = format!(
            "{}/{}",
            group(definition),
            definition["spec"]["names"]["plural"].as_str().unwrap_or_default()
        );
        // As what is stored, so that no conversion is asked for where its webhook is gone already.
        let own = self.core.catalog.stored(name).await;
        if let (Some(own), Some(cacher)) = (own, self.core.cache.cacher(&prefix)) {
            let mut changes = cacher.changed();
            changes.borrow_and_update();
            let complete = self.core.cache.catch_up().await?;
            let objects = cacher.snapshot(complete).objects;
            if !objects.is_empty() {
                let (reason, message) = (
                    "InstanceDeletionInProgress",
                    "CustomResource deletion is in progress",
                );
                self.terminating(name, true, reason, message).await?;
                self.delete(&own, objects.values()).await?;
                return Ok(Some(changes));
            }
        }
        self.terminating(name, false, "InstanceDeletionCompleted", "removed all instances")
            .await?;
        let mut write = Write::internal(&self.core, def()?, "");
        write.retry = true;
        let done = write.change(name, |old| {
            let mut new = old.clone();
            let left: Vec<&str> = meta::finalizers(old).filter(|f| *f != FINALIZER).collect();
            if left.is_empty() {
                meta::remove(&mut new, "finalizers");
            } else {
                meta::set(&mut new, "finalizers", json!(left));
            }
            Ok(new)
        });
        gone_is_fine(done.await.map(|_| ()))?;
        Ok(None)
    }

    async fn terminating(&self, name: &str, still: bool, reason: &str, message: &str) -> Result<()> {
        self.status(name, |definition| {
            let mut status = definition["status"].clone();
            names::set_condition(&mut status, "Terminating", still, reason, message, &meta::now());
            Some(status)
        })
        .await
    }

    async fn delete(&self, own: &Def, objects: impl Iterator<Item = &Arc<Obj>>) -> Result<()> {
        let deletions: Vec<_> = objects
            .cloned()
            .map(|object| {
                let write = Write::internal(&self.core, own.clone(), object.namespace());
                async move { write.delete(object.name(), &DeleteOptions::default()).await }
            })
            .collect();
        let mut deletions = futures::stream::iter(deletions).buffer_unordered(DELETIONS);
        while let Some(done) = deletions.next().await {
            gone_is_fine(done.map(|_| ()))?;
        }
        Ok(())
    }
}

fn group(definition: &Value) -> String {
    definition["spec"]["group"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Somebody else was faster to delete: that was the aim.
fn gone_is_fine(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if error.code == 404 => Ok(()),
        other => other,
    }
}
