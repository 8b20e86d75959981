//! `/openapi/v2` and `/openapi/v3`: each document is made when it is first asked for.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use rkind_apimachinery::{openapi::CustomDefinition, resources::ResourceDef};
use serde_json::{Value, json};

use super::{hash, with_tag};
use crate::{
    catalog::{Def, Snapshot},
    crd::openapi::{Document as Form, definitions},
    machinery,
    registry::render,
    request::{info::query_value, media::clauses},
};

/// One OpenAPI v3 document, such as that of `apis/apps/v1`.
pub(crate) struct Document {
    group: &'static str,
    version: &'static str,
    /// Names the content, so that clients keep it: for built-in kinds the same in every server of this
    /// build, for custom resources it follows their schemas.
    hash: String,
    bytes: OnceLock<Bytes>,
    protobuf: OnceLock<Bytes>,
}

/// The OpenAPI documents of one state of the catalog, as bytes.
#[derive(Default)]
pub(crate) struct Documents {
    v2: OnceLock<Bytes>,
    v2_protobuf: OnceLock<Bytes>,
    v3: BTreeMap<String, Arc<Document>>,
}

impl Documents {
    /// Of what is served; documents that stay as they were are taken from `before`.
    pub(crate) fn new(defs: &[Def], before: Option<&Documents>) -> Self {
        let mut names: BTreeMap<String, (&Def, String)> = BTreeMap::new();
        for def in defs {
            let path = if def.group.is_empty() {
                format!("api/{}", def.version)
            } else {
                format!("apis/{}/{}", def.group, def.version)
            };
            let (_, name) = names.entry(path.clone()).or_insert_with(|| {
                let name = format!("{} {} {path}", crate::VERSION, env!("CARGO_PKG_VERSION"));
                (def, name)
            });
            if let Some(custom) = def.custom() {
                name.push_str(&format!(" {} {}", def.resource, custom.family.digest));
            }
        }
        let v3 = names
            .into_iter()
            .map(|(path, (def, name))| {
                let hash = hash(name.as_bytes());
                let known = before.and_then(|b| b.v3.get(&path)).filter(|d| d.hash == hash);
                let document = known.cloned().unwrap_or_else(|| {
                    Arc::new(Document {
                        group: def.group,
                        version: def.version,
                        hash,
                        bytes: OnceLock::new(),
                        protobuf: OnceLock::new(),
                    })
                });
                (path, document)
            })
            .collect();
        Documents {
            v2: OnceLock::new(),
            v2_protobuf: OnceLock::new(),
            v3,
        }
    }
}

/// The resources of documents and the definitions of the custom ones.
fn parts<'a>(defs: impl Iterator<Item = &'a Def>, form: Form) -> (Vec<ResourceDef>, Vec<CustomDefinition>) {
    let (mut resources, mut custom) = (Vec::new(), Vec::new());
    for def in defs {
        resources.push(ResourceDef::clone(def));
        if let Some(own) = def.custom() {
            custom.extend(definitions(own, form));
        }
    }
    (resources, custom)
}

fn swagger(catalog: &Snapshot) -> Value {
    let (resources, custom) = parts(catalog.all().iter(), Form::V2);
    machinery::openapi_v2(&resources, &custom)
}

/// The Swagger document of everything, in JSON or as the protobuf that kubectl asks for.
pub(crate) fn v2(catalog: &Snapshot, headers: &HeaderMap) -> Response<Body> {
    let documents = &catalog.openapi;
    swagger_in(
        headers,
        |headers| {
            let bytes = documents.v2.get_or_init(|| bytes(&swagger(catalog)));
            with_tag(bytes.clone(), JSON, headers)
        },
        |headers| {
            let made = || machinery::openapi_v2_protobuf(&swagger(catalog)).into();
            let bytes = documents.v2_protobuf.get_or_init(made);
            with_tag(bytes.clone(), machinery::OPENAPI_V2_PROTOBUF_ANSWER, headers)
        },
    )
}

const JSON: &str = "application/json";

/// A Swagger document in the first of its two forms that is asked for.
pub(crate) fn swagger_in(
    headers: &HeaderMap,
    json: impl FnOnce(&HeaderMap) -> Response<Body>,
    protobuf: impl FnOnce(&HeaderMap) -> Response<Body>,
) -> Response<Body> {
    let form = asked_for(headers, &machinery::OPENAPI_V2_PROTOBUF);
    let mut response = match form {
        Some(Asked::Json) => json(headers),
        Some(Asked::Protobuf) => protobuf(headers),
        None => bare(StatusCode::NOT_ACCEPTABLE),
    };
    let vary = HeaderValue::from_static("Accept-Encoding, Accept");
    response.headers_mut().insert(header::VARY, vary);
    response
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Asked {
    Json,
    Protobuf,
}

fn asked_for(headers: &HeaderMap, protobuf: &[&str]) -> Option<Asked> {
    let clauses = clauses(headers);
    if clauses.is_empty() {
        return Some(Asked::Json);
    }
    clauses.iter().find_map(|clause| match clause.kind.as_str() {
        JSON | "*/*" | "application/*" => Some(Asked::Json),
        kind if protobuf.contains(&kind) => Some(Asked::Protobuf),
        _ => None,
    })
}

/// An answer that says nothing but its code.
fn bare(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}

/// The list of OpenAPI v3 documents.
pub(crate) fn v3_root(catalog: &Snapshot, headers: &HeaderMap) -> Response<Body> {
    let paths: serde_json::Map<String, Value> = catalog
        .openapi
        .v3
        .iter()
        .map(|(path, document)| {
            let url = format!("/openapi/v3/{path}?hash={}", document.hash);
            (path.clone(), json!({"serverRelativeURL": url}))
        })
        .collect();
    index(&json!({"paths": paths}), headers)
}

/// An index of documents; upstream sends it as text.
pub(crate) fn index(index: &Value, headers: &HeaderMap) -> Response<Body> {
    let bytes = bytes(index);
    render::respond(StatusCode::OK, "text/plain; charset=utf-8", bytes, headers)
}

/// One OpenAPI v3 document. Asked for by its hash it may be kept for ever; an old hash leads to the new one.
pub(crate) fn v3(catalog: &Snapshot, path: &str, query: Option<&str>, headers: &HeaderMap) -> Response<Body> {
    let Some(document) = catalog.openapi.v3.get(path) else {
        return bare(StatusCode::NOT_FOUND);
    };
    let vary = HeaderValue::from_static("Accept");
    let Some(form) = asked_for(headers, &machinery::OPENAPI_V3_PROTOBUF) else {
        let mut response = bare(StatusCode::NOT_ACCEPTABLE);
        response.headers_mut().insert(header::VARY, vary);
        return response;
    };
    let hash = query_value(query, "hash").unwrap_or_default();
    if !hash.is_empty() && hash != document.hash {
        let mut response = bare(StatusCode::MOVED_PERMANENTLY);
        let url = format!("/openapi/v3/{path}?hash={}", document.hash);
        if let Ok(url) = HeaderValue::from_str(&url) {
            response.headers_mut().insert(header::LOCATION, url);
        }
        response.headers_mut().insert(header::VARY, vary);
        return response;
    }
    let tree = || {
        let (group, version) = (document.group, document.version);
        let own = |def: &&Def| def.custom().is_none() || (def.group == group && def.version == version);
        let (resources, custom) = parts(catalog.all().iter().filter(own), Form::V3);
        machinery::openapi_v3(group, version, &resources, &custom)
    };
    let (bytes, content_type) = match form {
        Asked::Json => (document.bytes.get_or_init(|| bytes(&tree())), JSON),
        Asked::Protobuf => (
            document
                .protobuf
                .get_or_init(|| machinery::openapi_v3_protobuf(&tree()).into()),
            machinery::OPENAPI_V3_PROTOBUF_ANSWER,
        ),
    };
    let mut response = with_tag(bytes.clone(), content_type, headers);
    if !hash.is_empty() {
        let keep = HeaderValue::from_static("public, immutable");
        let year = std::time::Duration::from_secs(365 * 24 * 60 * 60);
        let until = jiff::Timestamp::now() + year;
        let until = until.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let map = response.headers_mut();
        map.insert(header::CACHE_CONTROL, keep);
        if let Ok(until) = HeaderValue::from_str(&until) {
            map.insert(header::EXPIRES, until);
        }
    }
    response
}

fn bytes(value: &Value) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}
