//! OpenAPI documents of other servers beside this one's.
//! Upstream: `pkg/controllers/openapi` and `openapiv3`.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};

use super::{Backend, check};
use crate::{
    core::Core,
    discovery::{openapi, tagged, with_tag},
    machinery,
};

/// Where a backend says its OpenAPI v3 document lies: the relative URL with its hash.
pub(super) async fn fetch_v3(backend: &Backend) -> Option<String> {
    let (_, bytes) = check::get(backend, "/openapi/v3", "application/json")
        .await
        .ok()?;
    let index: Value = serde_json::from_slice(&bytes).ok()?;
    let path = format!("apis/{}/{}", backend.spec.group, backend.spec.version);
    let url = index["paths"][&path]["serverRelativeURL"].as_str()?;
    url.starts_with("/openapi/v3/").then(|| url.to_owned())
}

/// The part of a backend's Swagger document that is about its group-version.
pub(super) async fn fetch_v2(backend: &Backend) -> Option<Value> {
    let (_, bytes) = check::get(backend, "/openapi/v2", "application/json")
        .await
        .ok()?;
    let mut document: Value = serde_json::from_slice(&bytes).ok()?;
    let own = format!("/apis/{}/{}/", backend.spec.group, backend.spec.version);
    if let Some(paths) = document["paths"].as_object_mut() {
        paths.retain(|path, _| format!("{path}/").starts_with(&own));
    }
    Some(document)
}

/// Answers `/openapi/v2` and `/openapi/v3` with the other servers' parts in it.
pub(crate) async fn serve(core: &Core, path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    let none = HeaderMap::new();
    match path {
        "/openapi/v3" => {
            let own = openapi::v3_root(&core.catalog.now(), &none);
            let mut index = tree(own).await?;
            add_v3(core, index["paths"].as_object_mut()?);
            Some(openapi::index(&index, headers))
        }
        "/openapi/v2" => {
            let own = openapi::v2(&core.catalog.now(), &none);
            let mut document = tree(own).await?;
            add_v2(core, &mut document);
            Some(openapi::swagger_in(
                headers,
                |headers| tagged(&document, "application/json", headers),
                |headers| {
                    let bytes = machinery::openapi_v2_protobuf(&document);
                    with_tag(bytes.into(), machinery::OPENAPI_V2_PROTOBUF_ANSWER, headers)
                },
            ))
        }
        _ => None,
    }
}

async fn tree(response: Response<Body>) -> Option<Value> {
    let bytes = response.into_body().collect().await.ok()?.to_bytes();
    serde_json::from_slice(&bytes).ok()
}

/// Adds the other servers' documents to the index of `/openapi/v3`.
fn add_v3(core: &Core, paths: &mut Map<String, Value>) {
    for entry in &core.aggregation.routes.load().entries {
        let Some(backend) = &entry.backend else {
            continue;
        };
        let path = format!("apis/{}/{}", entry.group, entry.version);
        match &backend.documents.lock().openapi_v3 {
            Some(url) => {
                paths.insert(path, serde_json::json!({"serverRelativeURL": url}));
            }
            None => {
                paths.remove(&path);
            }
        }
    }
}

/// The backend whose OpenAPI v3 document this is: `apis/GROUP/VERSION`.
pub(crate) fn backend(core: &Core, document: &str) -> Option<Arc<Backend>> {
    core.aggregation
        .backend(&format!("/{}", document.trim_matches('/')))
}

/// Adds the other servers' parts to the Swagger document.
fn add_v2(core: &Core, document: &mut Value) {
    for entry in &core.aggregation.routes.load().entries {
        let told = entry
            .backend
            .as_ref()
            .and_then(|b| b.documents.lock().openapi_v2.clone());
        if let Some(told) = told {
            merge(document, (*told).clone());
        }
    }
}

/// Paths and definitions of `other` into `document`. A definition of a known name but another content
/// gets a name of its own.
fn merge(document: &mut Value, mut other: Value) {
    let definitions = other["definitions"].take();
    let mut renamed: Vec<(String, String)> = Vec::new();
    for (name, definition) in definitions.as_object().into_iter().flatten() {
        match document["definitions"].get(name) {
            Some(known) if known == definition => {}
            Some(_) => {
                let mut number = 2;
                while document["definitions"].get(format!("{name}_v{number}")).is_some() {
                    number += 1;
                }
                renamed.push((name.clone(), format!("{name}_v{number}")));
            }
            None => {}
        }
    }
    let target = |name: &str| -> String {
        let found = renamed.iter().find(|(old, _)| old == name);
        found.map_or_else(|| name.to_owned(), |(_, new)| new.clone())
    };
    for (name, definition) in definitions.as_object().into_iter().flatten() {
        let mut definition = definition.clone();
        refer(&mut definition, &target);
        let name = target(name);
        if document["definitions"].get(&name).is_none() {
            document["definitions"][name] = definition;
        }
    }
    let mut paths = other["paths"].take();
    refer(&mut paths, &target);
    for (path, item) in paths.as_object().into_iter().flatten() {
        document["paths"][path] = item.clone();
    }
}

/// Renames what `$ref` points at.
fn refer(value: &mut Value, target: &impl Fn(&str) -> String) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let pointed = (key == "$ref")
                    .then(|| value.as_str()?.strip_prefix("#/definitions/"))
                    .flatten();
                match pointed {
                    Some(name) => *value = Value::String(format!("#/definitions/{}", target(name))),
                    None => refer(value, target),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|v| refer(v, target)),
        _ => {}
    }
}
