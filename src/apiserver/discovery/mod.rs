//! What this server serves: discovery and OpenAPI documents.

pub(crate) mod openapi;

#[cfg(test)]
mod tests;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use rkind_apimachinery::resources::{ResourceDef, Subresource};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    catalog::{Group, Snapshot},
    core::Core,
    registry::render,
    request::media::clauses,
};

pub(crate) use openapi::Documents;

/// Media type of the aggregated form, without its encoding.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Answers a discovery path; `None` when it is none.
pub(crate) fn serve(core: &Core, path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    let catalog = core.catalog.now();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let body = match parts.as_slice() {
        ["api"] if wants_aggregated(headers) => return Some(aggregated(&catalog, true, headers)),
        ["apis"] if wants_aggregated(headers) => return Some(aggregated(&catalog, false, headers)),
        ["api"] => json!({
            "kind": "APIVersions",
            "versions": catalog.versions(""),
            "serverAddressByClientCIDRs": [{
                "clientCIDR": "0.0.0.0/0",
                "serverAddress": format!("{}:{}", core.settings.advertise_address, core.settings.advertise_port),
            }],
        }),
        ["apis"] => group_list(&catalog),
        ["api", version] if catalog.versions("").contains(version) => resource_list(&catalog, "", version),
        ["apis", group] => api_group(named(&catalog).find(|g| g.name == *group)?, true),
        ["apis", group, version] if !group.is_empty() && catalog.versions(group).contains(version) => {
            resource_list(&catalog, group, version)
        }
        _ => return None,
    };
    Some(tagged(&body, "application/json", headers))
}

/// What `/apis` answers.
pub(crate) fn group_list(catalog: &Snapshot) -> Value {
    json!({
        "kind": "APIGroupList", "apiVersion": "v1",
        "groups": named(catalog).map(|g| api_group(g, false)).collect::<Vec<_>>(),
    })
}

/// Groups beside core, in discovery's order.
fn named(catalog: &Snapshot) -> impl Iterator<Item = &Group> {
    catalog.groups().iter().filter(|group| !group.name.is_empty())
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn api_group(group: &Group, alone: bool) -> Value {
    let all: Vec<Value> = group
        .versions
        .iter()
        .map(|v| json!({"groupVersion": group_version(group.name, v), "version": v}))
        .collect();
    let mut value = json!({"name": group.name, "versions": all, "preferredVersion": all[0]});
    if alone {
        value["kind"] = json!("APIGroup");
        value["apiVersion"] = json!("v1");
    }
    value
}

fn resource_list(catalog: &Snapshot, group: &str, version: &str) -> Value {
    let mut list = Vec::new();
    for def in catalog.of(group, version) {
        let mut entry = json!({
            "name": def.resource, "singularName": def.singular, "namespaced": def.namespaced,
            "kind": def.kind, "verbs": def.verbs,
        });
        if !def.short_names.is_empty() {
            entry["shortNames"] = json!(def.short_names);
        }
        if !def.categories.is_empty() {
            entry["categories"] = json!(def.categories);
        }
        if def.has_verb("list") {
            entry["storageVersionHash"] = json!(storage_hash(def));
        }
        list.push(entry);
        for sub in &def.subresources {
            let mut entry = json!({
                "name": format!("{}/{}", def.resource, sub.name), "singularName": "",
                "namespaced": def.namespaced, "kind": sub.kind, "verbs": sub.verbs,
            });
            if (sub.group, sub.version) != (def.group, def.version) {
                entry["group"] = json!(sub.group);
                entry["version"] = json!(sub.version);
            }
            list.push(entry);
        }
    }
    let mut value =
        json!({"kind": "APIResourceList", "groupVersion": group_version(group, version), "resources": list});
    if !group.is_empty() {
        value["apiVersion"] = json!("v1");
    }
    value
}

/// Changes when the stored form does; upstream hashes group, version and kind alike.
fn storage_hash(def: &ResourceDef) -> String {
    use base64::Engine as _;
    let digest = Sha256::digest(format!(
        "{}/{}/{}",
        def.storage_group, def.storage_version, def.kind
    ));
    base64::engine::general_purpose::STANDARD.encode(&digest[..8])
}

/// Whether the aggregated form is asked for.
pub(crate) fn wants_aggregated(headers: &HeaderMap) -> bool {
    let Some(first) = clauses(headers)
        .into_iter()
        .find(|c| matches!(c.kind.as_str(), "application/json" | "*/*"))
    else {
        return false;
    };
    let param = |key: &str| {
        first
            .params
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    };
    param("as") == Some("APIGroupDiscoveryList")
        && param("g") == Some("apidiscovery.k8s.io")
        && param("v") == Some("v2")
}

fn aggregated(catalog: &Snapshot, core: bool, headers: &HeaderMap) -> Response<Body> {
    with_tag(aggregated_bytes(catalog, core), AGGREGATED, headers)
}

/// The aggregated form of `/api` (`core`) or `/apis`.
pub(crate) fn aggregated_bytes(catalog: &Snapshot, core: bool) -> bytes::Bytes {
    catalog.documents[usize::from(core)]
        .get_or_init(|| aggregated_list(catalog, core))
        .clone()
}

/// A list in the aggregated form.
pub(crate) fn aggregated_response(list: &Value, headers: &HeaderMap) -> Response<Body> {
    tagged(list, AGGREGATED, headers)
}

fn aggregated_list(catalog: &Snapshot, core: bool) -> bytes::Bytes {
    let items: Vec<Value> = catalog
        .groups()
        .iter()
        .filter(|group| group.name.is_empty() == core)
        .map(|group| {
            let versions: Vec<Value> = group
                .versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> = catalog
                        .of(group.name, version)
                        .map(|def| aggregated_resource(def))
                        .collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let mut metadata = json!({"creationTimestamp": null});
            if !group.name.is_empty() {
                metadata["name"] = json!(group.name);
            }
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    });
    let mut bytes = serde_json::to_vec(&body).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

fn aggregated_resource(def: &ResourceDef) -> Value {
    let scope = if def.namespaced { "Namespaced" } else { "Cluster" };
    let mut entry = json!({
        "resource": def.resource, "scope": scope, "singularResource": def.singular, "verbs": def.verbs,
        "responseKind": {"group": def.group, "version": def.version, "kind": def.kind},
    });
    if !def.short_names.is_empty() {
        entry["shortNames"] = json!(def.short_names);
    }
    if !def.categories.is_empty() {
        entry["categories"] = json!(def.categories);
    }
    let subs: Vec<Value> = def
        .subresources
        .iter()
        .map(|s: &Subresource| {
            json!({
                "subresource": s.name, "verbs": s.verbs,
                "responseKind": {"group": s.group, "version": s.version, "kind": s.kind},
            })
        })
        .collect();
    if !subs.is_empty() {
        entry["subresources"] = json!(subs);
    }
    entry
}

/// A document with an entity tag, or 304 when the client has it.
pub(crate) fn tagged(body: &Value, content_type: &str, headers: &HeaderMap) -> Response<Body> {
    let mut bytes = serde_json::to_vec(body).unwrap_or_default();
    bytes.push(b'\n');
    with_tag(bytes.into(), content_type, headers)
}

/// As [`tagged`], for bytes.
pub(crate) fn with_tag(bytes: bytes::Bytes, content_type: &str, headers: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{}\"", hash(&bytes));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let mut response = if known == Some(tag.as_str()) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        render::respond(StatusCode::OK, content_type, bytes, headers)
    };
    let map = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&tag) {
        map.insert(header::ETAG, value);
    }
    map.insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// Upper-case hexadecimal SHA-256, as upstream's entity tags.
fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02X}")).collect()
}

/// Every path that `GET /` lists.
pub(crate) fn root_paths(catalog: &Snapshot) -> Value {
    let mut paths = vec![
        "/.well-known/openid-configuration".to_owned(),
        "/api".into(),
        "/api/v1".into(),
        "/apis".into(),
    ];
    for Group { name, versions, .. } in named(catalog) {
        paths.push(format!("/apis/{name}"));
        paths.extend(versions.iter().map(|v| format!("/apis/{name}/{v}")));
    }
    for path in [
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ] {
        paths.push(path.into());
    }
    paths.sort();
    let mut map = Map::new();
    map.insert("paths".into(), json!(paths));
    Value::Object(map)
}
