//! Defaults and bounds of a namespace's pods, containers and claims.
//! Upstream: `plugin/pkg/admission/limitranger`.

use std::sync::Arc;

use async_trait::async_trait;
use rkind_apimachinery::{meta, quantity::Quantity, quota};
use serde_json::{Map, Value, json};

use super::{Admit, Operation, Request, Validate};
use crate::{cacher::Obj, error::Result};

/// Where a container's defaulted resources are noted, as upstream does.
const NOTE: &str = "kubernetes.io/limit-ranger";

pub(super) struct LimitRanger;

/// Pods when they are made or resized, claims when they are made or changed; nothing that is on its way
/// out.
fn concerns(request: &Request<'_>) -> bool {
    let kind = (request.def.group, request.def.resource, request.sub);
    let judged = match request.operation {
        Operation::Create => matches!(kind, ("", "pods" | "persistentvolumeclaims", "")),
        Operation::Update => matches!(kind, ("", "pods", "resize") | ("", "persistentvolumeclaims", "")),
        _ => false,
    };
    judged && !request.old.is_some_and(meta::is_deleting)
}

/// The items of each LimitRange of the namespace.
fn ranges(request: &Request<'_>) -> Vec<Vec<Value>> {
    let Some(ranges) = request.core.cache.cacher("core/limitranges") else {
        return Vec::new();
    };
    let scope = format!("{}/", request.namespace);
    let snapshot = ranges.snapshot(0);
    let values = snapshot
        .range(&scope, None)
        .map(|range: &Arc<Obj>| range.to_value());
    values
        .map(|range| range["spec"]["limits"].as_array().cloned().unwrap_or_default())
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
        for limits in ranges(request) {
            let notes = set_defaults(request.object, &limits);
            if !notes.is_empty() {
                let annotations = meta::metadata_mut(request.object)
                    .entry("annotations")
                    .or_insert_with(|| json!({}));
                annotations[NOTE] = json!(format!("LimitRanger plugin set: {}", notes.join("; ")));
            }
        }
        Ok(())
    }
}

/// Sets what one range gives containers that say nothing; gives what it set, for the note.
fn set_defaults(pod: &mut Value, limits: &[Value]) -> Vec<String> {
    let (mut default_limits, mut default_requests) = (Map::new(), Map::new());
    for limit in limits.iter().filter(|l| l["type"] == "Container") {
        default_limits.extend(limit["default"].as_object().cloned().unwrap_or_default());
        default_requests.extend(limit["defaultRequest"].as_object().cloned().unwrap_or_default());
    }
    let mut notes = Vec::new();
    for (list, word) in [("containers", "container"), ("initContainers", "init container")] {
        let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            for (part, defaults, verb) in [
                ("requests", &default_requests, "request"),
                ("limits", &default_limits, "limit"),
            ] {
                let set = fill(container, part, defaults);
                if !set.is_empty() {
                    notes.push(format!("{} {verb} for {word} {name}", set.join(", ")));
                }
            }
        }
    }
    notes
}

/// Sets what a container leaves out; gives the names set.
fn fill(container: &mut Value, part: &str, defaults: &Map<String, Value>) -> Vec<String> {
    let mut set = Vec::new();
    for (resource, amount) in defaults {
        if container["resources"][part].get(resource).is_some() {
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
        for limit in ranges(request).into_iter().flatten() {
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
                ("pods", "Pod") => check(&limit, word, &total(request.object), &mut broken),
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

/// What a pod takes as a whole.
fn total(pod: &Value) -> Value {
    json!({
        "limits": quota::to_value(&quota::pod_total(pod, "limits")),
        "requests": quota::to_value(&quota::pod_total(pod, "requests")),
    })
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
            (_, None) if claim => {
                broken.push(format!(
                    "maximum {resource} usage per {word} is {text}.  No request is specified"
                ));
            }
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
        let given = |list: &Value| list.get(resource).and_then(amount).filter(|a| !a.is_zero());
        let mut lacking = |what: &str| {
            broken.push(format!(
                "{resource} max limit to request ratio per {word} is {}, but no {what} is specified or {what} is 0",
                shown(bound)
            ));
        };
        let Some(r) = given(requests) else {
            lacking("request");
            continue;
        };
        let Some(l) = given(limits) else {
            lacking("limit");
            continue;
        };
        let ratio = l.as_f64() / r.as_f64();
        if amount(bound).is_some_and(|most| ratio > most.as_f64()) {
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
    fn defaults_fill_gaps_and_leave_a_note() {
        let limits = [
            json!({"type": "Container", "defaultRequest": {"cpu": "100m", "memory": "1Gi"},
            "default": {"cpu": "1"}}),
        ];
        let mut pod = json!({"spec": {
            "containers": [{"name": "c", "resources": {"requests": {"memory": "64Mi"}}}],
            "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1", "memory": "1"}, "limits": {"cpu": "2"}}}]}});
        let notes = set_defaults(&mut pod, &limits);
        assert_eq!(
            notes,
            ["cpu request for container c", "cpu limit for container c"]
        );
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1"}})
        );
        assert!(set_defaults(&mut pod, &limits).is_empty());
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
    fn a_ratio_needs_both_sides() {
        let limit = json!({"maxLimitRequestRatio": {"cpu": "2"}});
        let cases = [
            (
                json!({}),
                "cpu max limit to request ratio per Pod is 2, but no request is specified or request is 0",
            ),
            (
                json!({"requests": {"cpu": "1"}}),
                "cpu max limit to request ratio per Pod is 2, but no limit is specified or limit is 0",
            ),
            (
                json!({"requests": {"cpu": "1"}, "limits": {"cpu": "3"}}),
                "cpu max limit to request ratio per Pod is 2, but provided ratio is 3.000000",
            ),
        ];
        for (resources, why) in cases {
            let mut broken = Vec::new();
            check(&limit, "Pod", &resources, &mut broken);
            assert_eq!(broken, [why]);
        }
    }

    #[test]
    fn a_pod_is_the_sum_of_its_containers() {
        let pod = json!({"spec": {"containers": [
            {"resources": {"requests": {"cpu": "100m"}}}, {"resources": {"requests": {"cpu": "1"}}}]}});
        assert_eq!(total(&pod), json!({"limits": {}, "requests": {"cpu": "1100m"}}));
    }
}
