//! APIServices of what this server serves itself. Upstream: `pkg/controllers/autoregister` and
//! `pkg/controlplane/controller/crdregistration`.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use rkind_apimachinery::{meta, resources, status::Status};
use serde_json::{Value, json};

use super::{ApiService, RESOURCE, check};
use crate::{core::Core, error::Result, machinery, registry::create::Write};

/// Marks an APIService that this server made: `onstart` for what is built in, `true` for what is kept
/// in step with CustomResourceDefinitions.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Priority of groups of custom resources, and of their versions.
const CUSTOM: (i32, i32) = (1000, 100);

fn name(group: &str, version: &str) -> String {
    format!("{version}.{group}")
}

/// Upstream's priority of a built-in version within its group.
fn version_priority(group: &str, version: &str) -> i32 {
    match (group, version) {
        ("", _) => 1,
        ("autoscaling", "v2") => 30,
        ("flowcontrol.apiserver.k8s.io" | "resource.k8s.io", "v1") => 21,
        ("resource.k8s.io", "v1beta2") => 15,
        ("coordination.k8s.io", "v1beta1") => 13,
        ("admissionregistration.k8s.io", "v1beta1") | ("coordination.k8s.io", "v1alpha2") => 12,
        ("admissionregistration.k8s.io" | "internal.apiserver.k8s.io", "v1alpha1") => 9,
        (_, "v1") => 15,
        (_, v) if v.contains("beta") => 9,
        _ => 1,
    }
}

fn object(group: &str, version: &str, managed: &str, priorities: (i32, i32)) -> Value {
    json!({
        "metadata": {"name": name(group, version), "labels": {MANAGED: managed}},
        "spec": {"group": group, "version": version, "groupPriorityMinimum": priorities.0,
            "versionPriority": priorities.1},
    })
}

/// Makes the APIServices of all built-in group-versions that are missing, and removes those of what
/// an earlier start served.
///
/// # Errors
/// Of the first write that is refused.
pub(crate) async fn register(core: &Arc<Core>) -> Result<()> {
    let builtin = core.catalog.builtin();
    if let Some(services) = core.cache.cacher(RESOURCE) {
        for object in services.snapshot(0).objects.values() {
            let served = |(version, group): (&str, &str)| builtin.versions(group).contains(&version);
            if object.labels().get(MANAGED) == Some("onstart")
                && !object.name().split_once('.').is_some_and(served)
            {
                remove(core, object.name()).await;
            }
        }
    }
    let missing = builtin.groups().iter().flat_map(|group| {
        let versions = group.versions.iter();
        versions
            .filter(|v| {
                // The aggregator's own group has none, as upstream.
                group.name != "apiregistration.k8s.io"
                    && core.cached(RESOURCE, &name(group.name, v)).is_none()
            })
            .map(|v| {
                let priorities = (group.priority.cast_signed(), version_priority(group.name, v));
                object(group.name, v, "onstart", priorities)
            })
    });
    futures::future::try_join_all(missing.map(|object| create(core, object))).await?;
    core.aggregation.registered.store(true, Ordering::Relaxed);
    Ok(())
}

async fn create(core: &Arc<Core>, mut object: Value) -> Result<()> {
    let def = resources::find("apiregistration.k8s.io", "v1", "apiservices")
        .ok_or_else(Status::unknown_resource)?;
    object["apiVersion"] = json!(def.api_version());
    object["kind"] = json!(def.kind);
    let write = Write::internal(core, def, "");
    machinery::default(&write.gvk(), &mut object);
    match write.create(object).await {
        Err(error) if error.reason != "AlreadyExists" => Err(error),
        _ => Ok(()),
    }
}

/// Keeps the APIServices of custom resources in step with the catalog, and says of every local one
/// that it is available.
pub(super) async fn sync(core: &Arc<Core>) {
    let Some(services) = core.cache.cacher(RESOURCE) else {
        return;
    };
    core.catalog.refresh(core).await;
    let wanted: BTreeSet<(&str, &str)> = {
        let catalog = core.catalog.now();
        let custom = catalog.all().iter().filter(|d| d.custom().is_some());
        custom.map(|d| (d.group, d.version)).collect()
    };
    for (group, version) in &wanted {
        if services.get(&name(group, version)).is_none()
            && let Err(error) = create(core, object(group, version, "true", CUSTOM)).await
        {
            tracing::warn!(group, version, message = %error.message, "cannot register an API");
        }
    }
    for object in services.snapshot(0).objects.values() {
        let Ok(service) = object.typed::<ApiService>() else {
            continue;
        };
        if service.spec.service.is_some() {
            continue;
        }
        let gone = object.labels().get(MANAGED) == Some("true")
            && !wanted.contains(&(service.spec.group.as_str(), service.spec.version.as_str()));
        if gone {
            remove(core, object.name()).await;
        } else {
            check::report(core, object.name(), &check::local()).await;
        }
    }
}

async fn remove(core: &Arc<Core>, name: &str) {
    let Some(object) = core.cached(RESOURCE, name) else {
        return;
    };
    let key = format!("{}{RESOURCE}/{name}", crate::cacher::ROOT);
    if meta::is_deleting(&object.to_value()) {
        return;
    }
    if let Err(error) = core.store.delete(&key, object.revision).await {
        tracing::debug!(name, %error, "cannot remove an API that is served no longer");
    }
}
