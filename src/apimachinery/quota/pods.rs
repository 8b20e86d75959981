//! Pods: `pkg/quota/v1/evaluator/core/pods.go`, `k8s.io/component-helpers/resource`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Amounts, add, amounts, one};
use crate::meta;
use crate::names::is_native_resource as is_native;

const PLAIN: [&str; 10] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
/// Every container of a pod must say how much of these it wants when a quota counts them.
const MUST: [&str; 6] = [
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
];

pub(super) fn tracks(name: &str) -> bool {
    PLAIN.contains(&name)
        || name.starts_with("hugepages-")
        || name.starts_with("requests.hugepages-")
        || (name.starts_with("requests.") && !is_native(name))
}

/// Whether a pod still holds what it asked for.
fn counts(pod: &Value, now: Timestamp) -> bool {
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        return false;
    }
    let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_i64();
    match (meta::parse_time(meta::deletion_timestamp(pod)), grace) {
        (Some(at), Some(grace)) => now <= at + SignedDuration::from_secs(grace),
        _ => true,
    }
}

pub(super) fn usage(pod: &Value, now: Timestamp, used: &mut Amounts) {
    if counts(pod, now) {
        used.insert("pods".into(), one());
        add(used, &compute(&requests(pod), &limits(pod)));
    }
}

/// Requests and limits under the names that quotas use.
fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut out = Amounts::new();
    for (name, amount) in requests {
        match name.as_str() {
            "cpu" | "memory" | "ephemeral-storage" => {
                out.insert(name.clone(), *amount);
                out.insert(format!("requests.{name}"), *amount);
            }
            _ if name.starts_with("hugepages-") => {
                out.insert(name.clone(), *amount);
                out.insert(format!("requests.{name}"), *amount);
            }
            _ if !is_native(name) => {
                out.insert(format!("requests.{name}"), *amount);
            }
            _ => {}
        }
    }
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(amount) = limits.get(name) {
            out.insert(format!("limits.{name}"), *amount);
        }
    }
    out
}

fn largest(into: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let known = into.entry(name.clone()).or_insert(*amount);
        if *amount > *known {
            *known = *amount;
        }
    }
}

fn containers<'a>(pod: &'a Value, list: &str) -> &'a [Value] {
    pod["spec"][list].as_array().map_or(&[], Vec::as_slice)
}

/// What one container has or is getting while it is resized in place (KEP-1287).
fn of_container(pod: &Value, container: &Value, part: &str) -> Amounts {
    let wanted = amounts(&container["resources"][part]);
    let lists = ["containerStatuses", "initContainerStatuses"].into_iter();
    let status = lists
        .flat_map(|list| pod["status"][list].as_array().into_iter().flatten())
        .find(|status| status["name"] == container["name"]);
    let Some(status) = status.filter(|s| s["resources"].is_object()) else {
        return wanted;
    };
    let conditions = pod["status"]["conditions"].as_array();
    let infeasible = conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "PodResizePending" && c["reason"] == "Infeasible");
    let mut most = amounts(&status["resources"][part]);
    if part == "requests" {
        largest(&mut most, &amounts(&status["allocatedResources"]));
    }
    if !infeasible {
        largest(&mut most, &wanted);
    }
    most
}

pub(super) fn sum(pod: &Value, part: &str) -> Amounts {
    let mut total = Amounts::new();
    for container in containers(pod, "containers") {
        add(&mut total, &of_container(pod, container, part));
    }
    // Sidecars run beside everything that starts after them.
    let mut sidecars = Amounts::new();
    let mut init = Amounts::new();
    for container in containers(pod, "initContainers") {
        let mut own = of_container(pod, container, part);
        if container["restartPolicy"] == "Always" {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            own = sidecars.clone();
        } else {
            add(&mut own, &sidecars);
        }
        largest(&mut init, &own);
    }
    largest(&mut total, &init);
    // Resources of the pod as a whole go before its containers' (KEP-2837).
    for (name, amount) in amounts(&pod["spec"]["resources"][part]) {
        if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
            total.insert(name, amount);
        }
    }
    total
}

fn requests(pod: &Value) -> Amounts {
    let mut total = sum(pod, "requests");
    add(&mut total, &amounts(&pod["spec"]["overhead"]));
    total
}

fn limits(pod: &Value) -> Amounts {
    let mut total = sum(pod, "limits");
    for (name, amount) in amounts(&pod["spec"]["overhead"]) {
        if let Some(known) = total.get_mut(&name).filter(|known| !known.is_zero()) {
            *known += amount;
        }
    }
    total
}

/// Every container must name what the quota counts.
pub(super) fn must_specify(pod: &Value, tracked: &[&String]) -> Result<(), String> {
    let wanted: Vec<&str> = tracked
        .iter()
        .map(|name| name.as_str())
        .filter(|name| MUST.contains(name))
        .collect();
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let whole = compute(
        &amounts(&pod["spec"]["resources"]["requests"]),
        &amounts(&pod["spec"]["resources"]["limits"]),
    );
    for container in ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| containers(pod, list))
    {
        let resources = &container["resources"];
        let has = compute(&amounts(&resources["requests"]), &amounts(&resources["limits"]));
        let name = container["name"].as_str().unwrap_or_default();
        for resource in wanted
            .iter()
            .filter(|r| !has.contains_key(**r) && !whole.contains_key(**r))
        {
            missing.entry(resource).or_default().insert(name);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let parts: Vec<String> = missing
        .into_iter()
        .map(|(resource, names)| {
            format!(
                "{resource} for: {}",
                names.into_iter().collect::<Vec<_>>().join(",")
            )
        })
        .collect();
    Err(format!("must specify {}", parts.join("; ")))
}
