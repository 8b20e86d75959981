//! What this server serves: discovery and OpenAPI documents.

pub(crate) mod openapi;

#[cfg(test)]
mod tests;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use rkind_apimachinery::{
    resources::{ResourceDef, Subresource},
    status::Status,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

use crate::{
    catalog::{Group, Snapshot},
    core::Core,
    error::Result,
    health,
    registry::{self, render},
    request::{
        media::{self, clauses},
        route,
    },
};

pub(crate) use openapi::Documents;

/// Media type of the aggregated form, without its encoding.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Answers a discovery path; `None` when it is none.
pub(crate) fn serve(core: &Core, parts: &Parts) -> Option<Result<Response<Body>>> {
    let catalog = core.catalog.now();
    let headers = &parts.headers;
    let path = parts.uri.path().trim_matches('/');
    let segments: Vec<&str> = path.split('/').collect();
    // `/apis` and its groups are answered to every method.
    let routed = !matches!(segments.as_slice(), ["apis"] | ["apis", _]);
    let body = match segments.as_slice() {
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
    if routed && parts.method != Method::GET {
        return Some(Err(Status::method_not_allowed().into()));
    }
    if matches!(path, "api" | "apis") && wants_aggregated(headers) {
        return Some(Ok(aggregated(&catalog, path == "api", headers)));
    }
    Some(document(&body, parts, routed))
}

/// A discovery document in the form that is asked for.
///
/// # Errors
/// 406.
pub(crate) fn document(body: &Value, parts: &Parts, routed: bool) -> Result<Response<Body>> {
    let headers = &parts.headers;
    if routed {
        route::accepts(headers, route::OBJECT)?;
    }
    let pretty = media::pretty(headers, parts.uri.query());
    let media = media::negotiate(headers, false, pretty, true).ok_or_else(registry::not_acceptable)?;
    let bytes = render::encode(body, media)?;
    let content_type = media.encoding.content_type();
    let mut response = render::respond(StatusCode::OK, content_type, bytes.into(), headers);
    // Upstream says so of the aggregated form only; a cache must not take one for the other.
    if matches!(parts.uri.path().trim_matches('/'), "api" | "apis") {
        let vary = HeaderValue::from_static("Accept");
        response.headers_mut().insert(header::VARY, vary);
    }
    Ok(response)
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
        // A kind that is only looked at, as ComponentStatus, is stored nowhere.
        if def.has_verb("create") && def.has_verb("list") {
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
    // Upstream stores definitions as v1beta1, which nothing serves any more.
    let version = match def.storage_group {
        "apiextensions.k8s.io" => "v1beta1",
        _ => def.storage_version,
    };
    let digest = Sha256::digest(format!("{}/{version}/{}", def.storage_group, def.kind));
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
    public(with_tag(aggregated_bytes(catalog, core), AGGREGATED, headers))
}

/// Marks what every cache may keep.
fn public(mut response: Response<Body>) -> Response<Body> {
    let value = HeaderValue::from_static("public");
    response.headers_mut().insert(header::CACHE_CONTROL, value);
    response
}

/// The aggregated form of `/api` (`core`) or `/apis`.
pub(crate) fn aggregated_bytes(catalog: &Snapshot, core: bool) -> bytes::Bytes {
    catalog.documents[usize::from(core)]
        .get_or_init(|| aggregated_list(catalog, core))
        .clone()
}

/// A list in the aggregated form.
pub(crate) fn aggregated_response(list: &Value, headers: &HeaderMap) -> Response<Body> {
    public(tagged(list, AGGREGATED, headers))
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
                        .map(|def| aggregated_resource(def, def.custom().is_some()))
                        .collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let mut metadata = json!({});
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

fn aggregated_resource(def: &ResourceDef, custom: bool) -> Value {
    let scope = if def.namespaced { "Namespaced" } else { "Cluster" };
    // Upstream leaves out what built-in kinds share with the document they stand in.
    let kind = |group: &str, version: &str, kind: &str| {
        if !custom && (group, version) == (def.group, def.version) {
            json!({"group": "", "version": "", "kind": kind})
        } else {
            json!({"group": group, "version": version, "kind": kind})
        }
    };
    let mut entry = json!({
        "resource": def.resource, "scope": scope, "singularResource": def.singular, "verbs": def.verbs,
        "responseKind": kind(def.group, def.version, def.kind),
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
                "responseKind": kind(s.group, s.version, s.kind),
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

/// Upper-case hexadecimal SHA-512, as upstream's entity tags.
fn hash(bytes: &[u8]) -> String {
    Sha512::digest(bytes).iter().map(|b| format!("{b:02X}")).collect()
}

/// Every path that `GET /` lists.
pub(crate) async fn root_paths(core: &Core) -> Value {
    let fixed = [
        "/.well-known/openid-configuration",
        "/api",
        "/api/v1",
        "/apis",
        "/apis/",
        "/metrics",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/openid/v1/jwks",
        "/version",
    ];
    let mut paths: Vec<String> = fixed.map(str::to_owned).into();
    for Group { name, versions, .. } in named(&core.catalog.now()) {
        paths.push(format!("/apis/{name}"));
        paths.extend(versions.iter().map(|v| format!("/apis/{name}/{v}")));
    }
    paths.extend(health::paths(core).await);
    paths.sort();
    json!({"paths": paths})
}
