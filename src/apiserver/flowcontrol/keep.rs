//! Keeps the mandatory and suggested objects, and says of each FlowSchema whether its level exists.
//! Upstream: `pkg/registry/flowcontrol/ensurer` and `apf_controller.go`.

use std::{sync::Arc, time::Instant};

use rkind_apimachinery::{meta, resources, status::Status};
use serde_json::{Value, json};

use super::{ADJUST, LEVELS, SCHEMAS, objects};
use crate::{
    core::Core,
    error::Result,
    machinery,
    registry::{condition, create::Write},
};

/// `true` on objects that follow the server's version of them; an administrator who sets it to
/// `false` keeps a suggested object as it is.
pub(super) const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// Makes what is missing and mends what differs.
///
/// # Errors
/// Of the first write that is refused.
pub(crate) async fn ensure(core: &Arc<Core>) -> Result<()> {
    let levels = objects::levels()
        .into_iter()
        .map(|o| ("prioritylevelconfigurations", LEVELS, o));
    let schemas = objects::schemas()
        .into_iter()
        .map(|o| ("flowschemas", SCHEMAS, o));
    let all = levels.chain(schemas);
    futures::future::try_join_all(all.map(|(resource, prefix, wanted)| one(core, resource, prefix, wanted)))
        .await
        .map(|_| ())
}

async fn one(core: &Arc<Core>, resource: &str, prefix: &str, mut wanted: Value) -> Result<()> {
    let def = resources::find(GROUP, "v1", resource).ok_or_else(Status::unknown_resource)?;
    wanted["apiVersion"] = json!(def.api_version());
    wanted["kind"] = json!(def.kind);
    let name = meta::name(&wanted).to_owned();
    let mut write = Write::internal(core, def, "");
    machinery::default(&write.gvk(), &mut wanted);
    let Some(current) = core.cached(prefix, &name) else {
        return match write.create(wanted).await {
            Err(error) if error.reason != "AlreadyExists" => Err(error),
            _ => Ok(()),
        };
    };
    let current = current.to_value();
    let follows = objects::is_mandatory(&name) || meta::annotation(&current, AUTOUPDATE) == Some("true");
    let same = if wanted["spec"]["type"] == "Exempt" {
        // How much the exempt level lends is for administrators to say.
        current["spec"]["type"] == "Exempt"
    } else {
        current["spec"] == wanted["spec"]
    };
    if !follows || same {
        return Ok(());
    }
    write.retry = true;
    let changed = write.change(&name, |old| {
        let mut new = old.clone();
        new["spec"] = wanted["spec"].clone();
        meta::metadata_mut(&mut new)
            .entry("annotations")
            .or_insert_with(|| json!({}))[AUTOUPDATE] = json!("true");
        Ok(new)
    });
    changed.await.map(|_| ())
}

/// Looks after everything until shutdown.
pub(crate) async fn run(core: Arc<Core>) {
    core.shutdown.run_until_cancelled(look_after(&core)).await;
}

async fn look_after(core: &Arc<Core>) {
    let (Some(schemas), Some(levels)) = (core.cache.cacher(SCHEMAS), core.cache.cacher(LEVELS)) else {
        return;
    };
    let (mut schemas, mut levels) = (schemas.changed(), levels.changed());
    let mut ticks = tokio::time::interval(ADJUST);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        schemas.mark_unchanged();
        levels.mark_unchanged();
        if let Err(error) = ensure(core).await {
            tracing::warn!(message = %error.message, "cannot keep flow control's objects");
        }
        dangling(core).await;
        // Until one of the objects changes, only seats are lent.
        loop {
            tokio::select! {
                told = schemas.changed() => match told {
                    Ok(()) => break,
                    Err(_) => return,
                },
                told = levels.changed() => match told {
                    Ok(()) => break,
                    Err(_) => return,
                },
                _ = ticks.tick() => {
                    if let Some(flow) = &core.flow {
                        flow.adjust(Instant::now());
                    }
                }
            }
        }
    }
}

/// Writes the condition `Dangling` where it is not what it should be.
async fn dangling(core: &Arc<Core>) {
    let Some(schemas) = core.cache.cacher(SCHEMAS) else {
        return;
    };
    for object in schemas.snapshot(0).objects.values() {
        let value = object.to_value();
        let level = value["spec"]["priorityLevelConfiguration"]["name"]
            .as_str()
            .unwrap_or_default();
        let there = core.cached(LEVELS, level).is_some();
        let told =
            format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
        let (status, reason, message) = if there {
            ("False", "Found", format!("{told} and it exists"))
        } else {
            ("True", "NotFound", format!("{told} but there is no such object"))
        };
        let condition = json!({"type": "Dangling", "status": status, "reason": reason, "message": message});
        let known = condition::find(&value["status"], "Dangling");
        if ["status", "reason", "message"]
            .iter()
            .all(|field| known[field] == condition[field])
        {
            continue;
        }
        if let Err(error) = tell(core, object.name(), &condition).await {
            tracing::debug!(name = object.name(), message = %error.message, "cannot tell of a dangling schema");
        }
    }
}

async fn tell(core: &Arc<Core>, name: &str, condition: &Value) -> Result<()> {
    let def = resources::find(GROUP, "v1", "flowschemas").ok_or_else(Status::unknown_resource)?;
    let mut write = Write::internal(core, def, "");
    write.sub = "status";
    write.retry = true;
    let changed = write.change(name, |old| {
        let mut new = old.clone();
        condition::set(&mut new["status"], condition.clone(), &meta::now());
        Ok(new)
    });
    changed.await.map(|_| ())
}
