//! `/openapi/v2` and `/openapi/v3`: made once, when first asked for.

use std::{collections::BTreeMap, sync::OnceLock};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Response};
use serde_json::{Value, json};

use super::{groups, hash, tagged, versions, with_tag};

/// OpenAPI documents as bytes.
#[derive(Default)]
pub(crate) struct Documents {
    v2: OnceLock<Bytes>,
    v2_protobuf: OnceLock<Bytes>,
    v3: OnceLock<BTreeMap<String, (Bytes, String)>>,
}

impl Documents {
    /// The Swagger document of everything, as the protobuf that kubectl asks for.
    pub(crate) fn v2_protobuf(&self, content_type: &str, headers: &HeaderMap) -> Response<Body> {
        let bytes = self
            .v2_protobuf
            .get_or_init(|| crate::machinery::openapi_v2_protobuf(&crate::machinery::openapi_v2()).into());
        with_tag(bytes.clone(), content_type, headers)
    }

    /// The Swagger document of everything.
    pub(crate) fn v2(&self, headers: &HeaderMap) -> Response<Body> {
        let bytes = self.v2.get_or_init(|| bytes(&crate::machinery::openapi_v2()));
        with_tag(bytes.clone(), "application/json", headers)
    }

    /// The list of OpenAPI v3 documents.
    pub(crate) fn v3_root(&self, headers: &HeaderMap) -> Response<Body> {
        let paths: serde_json::Map<String, Value> = self
            .v3_all()
            .iter()
            .map(|(path, (_, hash))| {
                (
                    path.clone(),
                    json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}),
                )
            })
            .collect();
        tagged(&json!({"paths": paths}), "application/json", headers)
    }

    /// One OpenAPI v3 document, such as that of `apis/apps/v1`.
    pub(crate) fn v3(&self, path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
        let (bytes, _) = self.v3_all().get(path.trim_matches('/'))?;
        Some(with_tag(bytes.clone(), "application/json", headers))
    }

    fn v3_all(&self) -> &BTreeMap<String, (Bytes, String)> {
        self.v3.get_or_init(|| {
            let mut all = BTreeMap::new();
            for group in std::iter::once("").chain(groups()) {
                for version in versions(group) {
                    let path = if group.is_empty() {
                        format!("api/{version}")
                    } else {
                        format!("apis/{group}/{version}")
                    };
                    let bytes = bytes(&crate::machinery::openapi_v3(group, version));
                    let hash = hash(&bytes);
                    all.insert(path, (bytes, hash));
                }
            }
            all
        })
    }
}

fn bytes(value: &Value) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}
