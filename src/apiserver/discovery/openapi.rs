//! `/openapi/v2` and `/openapi/v3`: each document is made when it is first asked for.

use std::{collections::BTreeMap, sync::OnceLock};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::{Value, json};

use super::{hash, tagged, with_tag};
use crate::{catalog::Snapshot, machinery, request::info::query_value};

/// One OpenAPI v3 document, such as that of `apis/apps/v1`.
struct Document {
    group: &'static str,
    version: &'static str,
    /// Names the content: the same in every server of this build, so that clients keep it.
    hash: String,
    bytes: OnceLock<Bytes>,
}

/// OpenAPI documents as bytes.
pub(crate) struct Documents {
    v2: OnceLock<Bytes>,
    v2_protobuf: OnceLock<Bytes>,
    v3: BTreeMap<String, Document>,
}

impl Default for Documents {
    fn default() -> Self {
        let catalog = Snapshot::builtin();
        let all = catalog.groups().iter();
        let v3 = all
            .flat_map(|group| group.versions.iter().map(|version| (group.name, *version)))
            .map(|(group, version)| {
                let path = if group.is_empty() {
                    format!("api/{version}")
                } else {
                    format!("apis/{group}/{version}")
                };
                let name = format!("{} {} {path}", crate::VERSION, env!("CARGO_PKG_VERSION"));
                let document = Document {
                    group,
                    version,
                    hash: hash(name.as_bytes()),
                    bytes: OnceLock::new(),
                };
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

impl Documents {
    /// The Swagger document of everything, as the protobuf that kubectl asks for.
    pub(crate) fn v2_protobuf(&self, content_type: &str, headers: &HeaderMap) -> Response<Body> {
        let bytes = self
            .v2_protobuf
            .get_or_init(|| machinery::openapi_v2_protobuf(&machinery::openapi_v2()).into());
        with_tag(bytes.clone(), content_type, headers)
    }

    /// The Swagger document of everything.
    pub(crate) fn v2(&self, headers: &HeaderMap) -> Response<Body> {
        let bytes = self.v2.get_or_init(|| bytes(&machinery::openapi_v2()));
        with_tag(bytes.clone(), "application/json", headers)
    }

    /// The list of OpenAPI v3 documents.
    pub(crate) fn v3_root(&self, headers: &HeaderMap) -> Response<Body> {
        let paths: serde_json::Map<String, Value> = self
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
    pub(crate) fn v3(&self, path: &str, query: Option<&str>, headers: &HeaderMap) -> Option<Response<Body>> {
        let document = self.v3.get(path.trim_matches('/'))?;
        let bytes = document
            .bytes
            .get_or_init(|| bytes(&machinery::openapi_v3(document.group, document.version)));
        let mut response = with_tag(bytes.clone(), "application/json", headers);
        if query_value(query, "hash").as_deref() == Some(&document.hash) {
            let keep = HeaderValue::from_static("public, immutable, max-age=31536000");
            response.headers_mut().insert(header::CACHE_CONTROL, keep);
        }
        Some(response)
    }
}

fn bytes(value: &Value) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}
