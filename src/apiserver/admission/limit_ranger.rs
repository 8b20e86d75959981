//! Defaults and bounds of a namespace's pods, containers and claims.
//! Upstream: `plugin/pkg/admission/limitranger`.

use std::sync::Arc;

use async_trait::async_trait;
use rkind_apimachinery::{meta, quantity::Quantity};
use serde_json::{Map, Value, json};

use super::{Admit, Operation, Request, Validate};
use crate::{cacher::Obj, error::Result};

/// Where a container's defaulted resources are noted, as upstream does.
const NOTE: &str = "kubernetes.io/limit-ranger";

pub(super) struct LimitRanger;

fn concerns(request: &Request<'_>) -> bool {
    request.is("", "pods", Operation::Create) || request.is("", "persistentvolumeclaims", Operation::Create)
}

/// The items of every LimitRange of the namespace.
fn limits(request: &Request<'_>) -> Vec<Value> {
    let Some(ranges) = request.core.cache.cacher("core/limitranges") else {
        return Vec::new();
    };
    let scope = format!("{}/", request.namespace);
    let snapshot = ranges.snapshot(0);
    let values = snapshot
        .range(&scope, None)
        .map(|range: &Arc<Obj>| range.to_value());
    values
        .flat_map(|range| range["spec"]["limits"].as_array().cloned().unwrap_or_default())
        .collect()
}

#[async_trait]
impl Admit for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        if !request.is("", "pods", Operation::Create) {
            return Ok(());
        }
        let limits = limits(request);
        if limits.is_empty() {
            return Ok(());
        }
        let (mut default_limits, mut default_requests) = (Map::new(), Map::new());
        for limit in limits.iter().filter(|l| l["type"] == "Container") {
            default_limits.extend(limit["default"].as_object().cloned().unwrap_or_default());
            default_requests.extend(limit["defaultRequest"].as_object().cloned().unwrap_or_default());
        }
        let mut notes = Vec::new();
        for (list, word) in [("containers", "container"), ("initContainers", "init container")] {
            let containers = request.object["spec"].get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                let name = container["name"].as_str().unwrap_or_default().to_owned();
                for (part, defaults, verb) in [
                    ("limits", &default_limits, "limit"),
                    ("requests", &default_requests, "request"),
                ] {
                    let set = fill(container, part, defaults);
                    if !set.is_empty() {
                        notes.push(format!("{} {verb} for {word} {name}", set.join(", ")));
                    }
                }
            }
        }
        if !notes.is_empty() {
            let annotations = meta::metadata_mut(request.object)
                .entry("annotations")
                .or_insert_with(|| json!({}));
            annotations[NOTE] = json!(format!("LimitRanger plugin set: {}", notes.join("; ")));
        }
        Ok(())
    }
}

/// Sets what a container leaves out; gives the names set. A request that would exceed the
/// container's own limit is left to be defaulted from that limit.
fn fill(container: &mut Value, part: &str, defaults: &Map<String, Value>) -> Vec<String> {
    let mut set = Vec::new();
    for (resource, amount) in defaults {
        let known = container["resources"][part].get(resource).is_some();
        let limited = part == "requests" && container["resources"]["limits"].get(resource).is_some();
        if known || (limited && exceeds(amount, &container["resources"]["limits"][resource])) {
            continue;
        }
        let resources = meta::child_object(container, "resources");
        let list = resources.entry(part).or_insert_with(|| json!({}));
        list[resource] = amount.clone();
        set.push(resource.clone());
    }
    set
}

fn amount(value: &Value) -> Option<Quantity> {
    Quantity::from_value(value).ok()
}

fn exceeds(value: &Value, bound: &Value) -> bool {
    matches!((amount(value), amount(bound)), (Some(v), Some(b)) if v > b)
}

#[async_trait]
impl Validate for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        if !concerns(request) {
            return Ok(());
        }
        let mut broken = Vec::new();
        for limit in limits(request) {
            let word = limit["type"].as_str().unwrap_or_default();
            let spec = &request.object["spec"];
            match (request.def.resource, word) {
                ("pods", "Container") => {
                    for list in ["containers", "initContainers"] {
                        for container in spec[list].as_array().into_iter().flatten() {
                            check(&limit, word, &container["resources"], &mut broken);
                        }
                    }
                }
                ("pods", "Pod") => check(&limit, word, &total(spec), &mut broken),
                ("persistentvolumeclaims", "PersistentVolumeClaim") => {
                    check(&limit, word, &spec["resources"], &mut broken);
                }
                _ => {}
            }
        }
        match broken.as_slice() {
            [] => Ok(()),
            [one] => Err(request.forbidden(one)),
            many => Err(request.forbidden(&format!("[{}]", many.join(", ")))),
        }
    }
}

/// Sums of a pod's containers, by `limits` and `requests`.
fn total(spec: &Value) -> Value {
    let mut sums = json!({"limits": {}, "requests": {}});
    for part in ["limits", "requests"] {
        let mut milli: std::collections::BTreeMap<String, i64> = Default::default();
        for container in spec["containers"].as_array().into_iter().flatten() {
            for (resource, value) in container["resources"][part].as_object().into_iter().flatten() {
                if let Some(value) = amount(value) {
                    let sum = milli.entry(resource.clone()).or_default();
                    *sum = sum.saturating_add(value.milli());
                }
            }
        }
        for (resource, sum) in milli {
            sums[part][resource] = json!(Quantity::from_milli(sum).to_string());
        }
    }
    sums
}

/// Checks minimum, maximum and ratio of one item, in upstream's words.
fn check(limit: &Value, word: &str, resources: &Value, broken: &mut Vec<String>) {
    let (requests, limits) = (&resources["requests"], &resources["limits"]);
    for (resource, bound) in limit["min"].as_object().into_iter().flatten() {
        let text = shown(bound);
        match (requests.get(resource), limits.get(resource)) {
            (None, _) => broken.push(format!(
                "minimum {resource} usage per {word} is {text}.  No request is specified"
            )),
            (Some(value), _) if exceeds(bound, value) => broken.push(format!(
                "minimum {resource} usage per {word} is {text}, but request is {}",
                shown(value)
            )),
            (_, Some(value)) if exceeds(bound, value) => {
                broken.push(format!(
                    "minimum {resource} usage per {word} is {text}, but limit is {}",
                    shown(value)
                ));
            }
            _ => {}
        }
    }
    for (resource, bound) in limit["max"].as_object().into_iter().flatten() {
        let text = shown(bound);
        // Claims have requests only.
        let claim = word == "PersistentVolumeClaim";
        match (limits.get(resource), requests.get(resource)) {
            (None, _) if !claim => {
                broken.push(format!(
                    "maximum {resource} usage per {word} is {text}.  No limit is specified"
                ));
            }
            (Some(value), _) if exceeds(value, bound) => {
                broken.push(format!(
                    "maximum {resource} usage per {word} is {text}, but limit is {}",
                    shown(value)
                ));
            }
            (_, Some(value)) if exceeds(value, bound) => {
                broken.push(format!(
                    "maximum {resource} usage per {word} is {text}, but request is {}",
                    shown(value)
                ));
            }
            _ => {}
        }
    }
    for (resource, bound) in limit["maxLimitRequestRatio"].as_object().into_iter().flatten() {
        let (Some(most), Some(l), Some(r)) = (
            amount(bound),
            limits.get(resource).and_then(amount),
            requests.get(resource).and_then(amount),
        ) else {
            continue;
        };
        let ratio = if r.is_zero() {
            f64::INFINITY
        } else {
            l.as_f64() / r.as_f64()
        };
        if ratio > most.as_f64() {
            broken.push(format!(
                "{resource} max limit to request ratio per {word} is {}, but provided ratio is {ratio:.6}",
                shown(bound)
            ));
        }
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fill_gaps_only() {
        let defaults = json!({"cpu": "100m", "memory": "1Gi"});
        let mut container = json!({"name": "c", "resources": {"limits": {"memory": "64Mi"}}});
        let set = fill(&mut container, "requests", defaults.as_object().unwrap());
        assert_eq!(set, ["cpu"]);
        assert_eq!(container["resources"]["requests"], json!({"cpu": "100m"}));
    }

    #[test]
    fn bounds() {
        let limit =
            json!({"min": {"cpu": "100m"}, "max": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "2"}});
        let mut broken = Vec::new();
        check(
            &limit,
            "Container",
            &json!({"requests": {"cpu": "50m"}, "limits": {"cpu": "2"}}),
            &mut broken,
        );
        assert_eq!(broken.len(), 3, "{broken:?}");
        assert_eq!(
            broken[0],
            "minimum cpu usage per Container is 100m, but request is 50m"
        );
        broken.clear();
        check(
            &limit,
            "Container",
            &json!({"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}),
            &mut broken,
        );
        assert!(broken.is_empty(), "{broken:?}");
    }

    #[test]
    fn a_pod_is_the_sum_of_its_containers() {
        let spec = json!({"containers": [
            {"resources": {"requests": {"cpu": "100m"}}}, {"resources": {"requests": {"cpu": "1"}}}]});
        assert_eq!(amount(&total(&spec)["requests"]["cpu"]).unwrap().milli(), 1100);
    }
}
