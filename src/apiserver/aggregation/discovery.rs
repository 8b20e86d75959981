//! Discovery documents of this server and of the others, as one.
//! Upstream: `pkg/apiserver/handler_apis.go` and `handler_discovery.go`.

use std::collections::BTreeMap;

use axum::body::Body;
use http::{Response, request::Parts};
use serde_json::{Value, json};

use super::{Backend, Entry, check};
use crate::{core::Core, discovery as own, error::Result};

const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// Answers `/apis` and `/apis/GROUP` when some of it is served elsewhere; `None` when this server
/// can answer alone.
pub(crate) fn serve(core: &Core, request: &Parts) -> Option<Result<Response<Body>>> {
    let headers = &request.headers;
    let parts: Vec<&str> = request.uri.path().trim_matches('/').split('/').collect();
    let routes = core.aggregation.routes.load();
    let entries = &routes.entries;
    match parts.as_slice() {
        ["apis"] if own::wants_aggregated(headers) => {
            let list = aggregated(core, entries);
            Some(Ok(own::aggregated_response(&list, headers)))
        }
        ["apis"] => {
            let catalog = core.catalog.now();
            let mut list = own::group_list(&catalog);
            let groups = list["groups"].as_array().cloned().unwrap_or_default();
            list["groups"] = json!(merged(groups, entries, group));
            Some(own::document(&list, request, false))
        }
        ["apis", name] if entries.iter().any(|e| e.group == *name && e.backend.is_some()) => {
            let mut versions: Vec<&Entry> = entries.iter().filter(|e| e.group == *name).collect();
            versions.sort_by(|a, b| preference(a, b));
            let mut value = group(name, &versions);
            value["kind"] = json!("APIGroup");
            value["apiVersion"] = json!("v1");
            Some(own::document(&value, request, false))
        }
        _ => None,
    }
}

/// Preferred versions first.
fn preference(a: &Entry, b: &Entry) -> std::cmp::Ordering {
    b.version_priority
        .cmp(&a.version_priority)
        .then_with(|| rank(&b.version).cmp(&rank(&a.version)))
        .then_with(|| a.version.cmp(&b.version))
}

/// Stability (released, beta, alpha, other), major and minor number: greater is preferred.
fn rank(version: &str) -> (u8, u32, u32) {
    let parsed = (|| {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major: u32 = rest[..digits].parse().ok()?;
        let (stability, minor) = match &rest[digits..] {
            "" => (3, ""),
            tail => match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
                (Some(minor), _) => (2, minor),
                (_, Some(minor)) => (1, minor),
                _ => return None,
            },
        };
        let minor = if minor.is_empty() { 0 } else { minor.parse().ok()? };
        Some((stability, major, minor))
    })();
    parsed.unwrap_or((0, 0, 0))
}

fn group(name: &str, versions: &[&Entry]) -> Value {
    let all: Vec<Value> = versions
        .iter()
        .map(|e| json!({"groupVersion": format!("{name}/{}", e.version), "version": e.version}))
        .collect();
    json!({"name": name, "versions": all, "preferredVersion": all.first()})
}

/// The groups of `own`, and those with remote versions made by `make`, in discovery's order.
fn merged(own: Vec<Value>, entries: &[Entry], make: impl Fn(&str, &[&Entry]) -> Value) -> Vec<Value> {
    let mut by_group: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        by_group.entry(&entry.group).or_default().push(entry);
    }
    let name_of = |value: &Value| -> String {
        let name = value["name"].as_str().or(value["metadata"]["name"].as_str());
        name.unwrap_or_default().to_owned()
    };
    let priority = |name: &str| match name {
        // It has no APIService of its own and always leads.
        "apiregistration.k8s.io" => i32::MAX,
        _ => by_group
            .get(name)
            .and_then(|list| list.iter().map(|e| e.group_priority).max())
            .unwrap_or(0),
    };
    let mut all: Vec<(i32, String, Value)> = own
        .into_iter()
        .map(|value| (priority(&name_of(&value)), name_of(&value), value))
        .collect();
    for (name, list) in &by_group {
        if !list.iter().any(|e| e.backend.is_some()) {
            continue;
        }
        let mut versions = list.clone();
        versions.sort_by(|a, b| preference(a, b));
        let value = make(name, &versions);
        all.retain(|(_, known, _)| known != name);
        all.push((priority(name), (*name).to_owned(), value));
    }
    all.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    all.into_iter().map(|(_, _, value)| value).collect()
}

fn aggregated(core: &Core, entries: &[Entry]) -> Value {
    let catalog = core.catalog.now();
    let mut list: Value = serde_json::from_slice(&own::aggregated_bytes(&catalog, false)).unwrap_or_default();
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let make = |name: &str, versions: &[&Entry]| {
        let known = items.iter().find(|i| i["metadata"]["name"] == name);
        let versions: Vec<Value> = versions
            .iter()
            .filter_map(|entry| {
                let Some(backend) = &entry.backend else {
                    let versions = known?["versions"].as_array()?;
                    return versions
                        .iter()
                        .find(|v| v["version"] == entry.version.as_str())
                        .cloned();
                };
                let told = backend.documents.lock().discovery.clone();
                let available = backend.available.load(std::sync::atomic::Ordering::Relaxed);
                let mut value =
                    told.unwrap_or_else(|| json!({"version": entry.version, "freshness": "Stale"}));
                if !available {
                    value["freshness"] = json!("Stale");
                }
                Some(value)
            })
            .collect();
        json!({"metadata": {"name": name, "creationTimestamp": null}, "versions": versions})
    };
    list["items"] = json!(merged(items.clone(), entries, make));
    list
}

/// A backend's version as an entry of aggregated discovery, from whichever form it speaks.
pub(super) async fn fetch(backend: &Backend) -> Option<Value> {
    let (group, version) = (&backend.spec.group, &backend.spec.version);
    if let Ok((kind, bytes)) = check::get(backend, "/apis", AGGREGATED).await
        && kind.contains("as=APIGroupDiscoveryList")
        && let Ok(list) = serde_json::from_slice::<Value>(&bytes)
    {
        let mut groups = list["items"].as_array()?.iter();
        let versions = groups.find(|g| g["metadata"]["name"] == group.as_str())?["versions"].as_array()?;
        let mut found = versions
            .iter()
            .find(|v| v["version"] == version.as_str())?
            .clone();
        found["freshness"] = json!("Current");
        return Some(found);
    }
    let (_, bytes) = check::get(backend, &check::version_path(backend), "application/json")
        .await
        .ok()?;
    let list: Value = serde_json::from_slice(&bytes).ok()?;
    Some(from_legacy(&list, group, version))
}

/// `APIResourceList` -> an entry of aggregated discovery.
fn from_legacy(list: &Value, group: &str, version: &str) -> Value {
    let mut resources: Vec<Value> = Vec::new();
    for resource in list["resources"].as_array().into_iter().flatten() {
        let name = resource["name"].as_str().unwrap_or_default();
        let or = |key: &str, default: &str| {
            let text = resource[key].as_str().filter(|t| !t.is_empty());
            text.unwrap_or(default).to_owned()
        };
        let kind = json!({"group": or("group", group), "version": or("version", version),
            "kind": resource["kind"]});
        if let Some((parent, sub)) = name.split_once('/') {
            let entry = json!({"subresource": sub, "responseKind": kind, "verbs": resource["verbs"]});
            if let Some(at) = resources.iter().position(|r| r["resource"] == parent) {
                match resources[at]["subresources"].as_array_mut() {
                    Some(list) => list.push(entry),
                    None => resources[at]["subresources"] = json!([entry]),
                }
            }
            continue;
        }
        let scope = if resource["namespaced"] == true {
            "Namespaced"
        } else {
            "Cluster"
        };
        let mut entry = json!({"resource": name, "responseKind": kind, "scope": scope,
            "singularResource": resource["singularName"], "verbs": resource["verbs"]});
        for key in ["shortNames", "categories"] {
            if resource[key].as_array().is_some_and(|l| !l.is_empty()) {
                entry[key] = resource[key].clone();
            }
        }
        resources.push(entry);
    }
    json!({"version": version, "resources": resources, "freshness": "Current"})
}
