//! `/openapi/v2` and `/openapi/v3`: each document is made when it is first asked for.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use rkind_apimachinery::{openapi::CustomDefinition, resources::ResourceDef};
use serde_json::{Value, json};

use super::{hash, tagged, with_tag};
use crate::{
    catalog::{Def, Snapshot},
    crd::openapi::{Document as Form, definitions},
    machinery,
    request::info::query_value,
};

/// One OpenAPI v3 document, such as that of `apis/apps/v1`.
pub(crate) struct Document {
    group: &'static str,
    version: &'static str,
    /// Names the content, so that clients keep it: for built-in kinds the same in every server of this
    /// build, for custom resources it follows their schemas.
    hash: String,
    bytes: OnceLock<Bytes>,
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

/// The Swagger document of everything, as the protobuf that kubectl asks for.
pub(crate) fn v2_protobuf(catalog: &Snapshot, content_type: &str, headers: &HeaderMap) -> Response<Body> {
    let bytes = catalog
        .openapi
        .v2_protobuf
        .get_or_init(|| machinery::openapi_v2_protobuf(&swagger(catalog)).into());
    with_tag(bytes.clone(), content_type, headers)
}

/// The Swagger document of everything.
pub(crate) fn v2(catalog: &Snapshot, headers: &HeaderMap) -> Response<Body> {
    let bytes = catalog.openapi.v2.get_or_init(|| bytes(&swagger(catalog)));
    with_tag(bytes.clone(), "application/json", headers)
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
    tagged(&json!({"paths": paths}), "application/json", headers)
}

/// One OpenAPI v3 document. Asked for by its hash it may be kept for ever.
pub(crate) fn v3(
    catalog: &Snapshot,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Option<Response<Body>> {
    let document = catalog.openapi.v3.get(path.trim_matches('/'))?;
    let bytes = document.bytes.get_or_init(|| {
        let (group, version) = (document.group, document.version);
        let own = |def: &&Def| def.custom().is_none() || (def.group == group && def.version == version);
        let (resources, custom) = parts(catalog.all().iter().filter(own), Form::V3);
        bytes(&machinery::openapi_v3(group, version, &resources, &custom))
    });
    let mut response = with_tag(bytes.clone(), "application/json", headers);
    if query_value(query, "hash").as_deref() == Some(&document.hash) {
        let keep = HeaderValue::from_static("public, immutable, max-age=31536000");
        response.headers_mut().insert(header::CACHE_CONTROL, keep);
    }
    Some(response)
}

fn bytes(value: &Value) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}
