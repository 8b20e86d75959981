//! Objects -> response bytes in the form that was asked for.

use std::{io::Write as _, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use rkind_apimachinery::{meta::Gvk, resources::ResourceDef, status::Status};
use serde_json::Value;

use super::{Context, convert, table};
use crate::{
    cacher::Obj,
    error::Result,
    machinery,
    request::{Encoding, Media, Shape},
};

/// Responses from this size in bytes on are compressed when the client accepts it, as upstream's.
const GZIP_FROM: usize = 128 * 1024;

/// One object on its way out.
pub(crate) enum Payload {
    /// As stored.
    Stored(Arc<Obj>),
    /// A tree in the served version.
    Tree(Value),
}

/// Answers with one object of the context's resource.
///
/// # Errors
/// 406 when the form asked for does not exist for it.
pub(crate) async fn object(
    ctx: &Context,
    code: StatusCode,
    payload: Payload,
    warnings: &[String],
) -> Result<Response<Body>> {
    let bytes = match (&payload, ctx.media) {
        (
            Payload::Stored(object),
            Media {
                encoding: Encoding::Json,
                shape: Shape::Object,
                pretty: false,
            },
        ) if convert::is_plain(&ctx.def, object) => {
            let mut bytes = object.json();
            bytes.push(b'\n');
            bytes
        }
        (
            Payload::Stored(object),
            Media {
                encoding: Encoding::Protobuf,
                shape: Shape::Object,
                ..
            },
        ) if ctx.def.custom().is_none() && convert::is_plain(&ctx.def, object) => {
            machinery::protobuf_of(&ctx.def, object)?
        }
        _ => {
            let value = match payload {
                Payload::Stored(object) => {
                    let mut served = convert::served(&ctx.core, &ctx.def, vec![object.to_value()]).await?;
                    served.pop().unwrap_or_default()
                }
                Payload::Tree(value) => value,
            };
            let shaped = match ctx.media.shape {
                Shape::Object => value,
                Shape::Table => table::single(ctx, value),
                Shape::PartialMetadata => table::partial_metadata(&value),
            };
            encode(&shaped, ctx.media)?
        }
    };
    let mut response = respond(
        code,
        ctx.media.encoding.content_type(),
        bytes.into(),
        &ctx.headers,
    );
    warn(&mut response, warnings);
    Ok(response)
}

/// Encodes a tree whose `apiVersion` and `kind` say what it is.
///
/// # Errors
/// 406 when there is no protobuf form.
pub(crate) fn encode(value: &Value, media: Media) -> Result<Vec<u8>> {
    let mut bytes = match media.encoding {
        Encoding::Json if media.pretty => serde_json::to_vec_pretty(value).unwrap_or_default(),
        Encoding::Json => serde_json::to_vec(value).unwrap_or_default(),
        Encoding::Yaml => return machinery::to_yaml(value),
        Encoding::Protobuf => return machinery::to_protobuf(value),
    };
    bytes.push(b'\n');
    Ok(bytes)
}

/// A response with a body, compressed when large and accepted.
pub(crate) fn respond(
    code: StatusCode,
    content_type: &str,
    bytes: Bytes,
    request: &HeaderMap,
) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    if bytes.len() >= GZIP_FROM && accepts_gzip(request) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        let mut gzip =
            flate2::write::GzEncoder::new(Vec::with_capacity(bytes.len() / 8), flate2::Compression::new(1));
        // Writing to memory does not fail.
        let packed = gzip
            .write_all(&bytes)
            .and_then(|()| gzip.finish())
            .unwrap_or_default();
        *response.body_mut() = Body::from(packed);
    } else {
        *response.body_mut() = Body::from(bytes);
    }
    response
}

/// A response that is sent while it is made.
pub(crate) fn stream(ctx: &Context, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Response<Body> {
    let content_type = ctx.media.encoding.content_type();
    let mut response = respond(StatusCode::OK, content_type, Bytes::new(), &ctx.headers);
    let pieces = pieces.map(Ok::<_, std::convert::Infallible>);
    *response.body_mut() = Body::from_stream(futures::stream::iter(pieces));
    response
}

pub(crate) fn accepts_gzip(request: &HeaderMap) -> bool {
    request
        .get(header::ACCEPT_ENCODING)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.split(',').any(|e| e.trim().split(';').next() == Some("gzip")))
}

/// Adds `Warning` headers (RFC 7234 code 299), as upstream's `warning` package.
pub(crate) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings {
        let escaped = warning
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace(['\n', '\r'], " ");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// A `Status` as a response.
pub(crate) fn status(status: &Status, media: Media) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = || {
        let made = if media.pretty {
            serde_json::to_vec_pretty(status)
        } else {
            serde_json::to_vec(status)
        };
        let mut bytes = made.unwrap_or_default();
        bytes.push(b'\n');
        (bytes, Encoding::Json.content_type())
    };
    let (bytes, content_type) = match media.encoding {
        Encoding::Json => json(),
        other => encode(&status.to_value(), media).map_or_else(|_| json(), |b| (b, other.content_type())),
    };
    let mut response = respond(code, content_type, bytes.into(), &HeaderMap::new());
    let retry = status.details.as_ref().map_or(0, |d| d.retry_after_seconds);
    if retry > 0 {
        response.headers_mut().insert(header::RETRY_AFTER, retry.into());
    }
    response
}

/// A JSON tree for a request that is for no resource.
pub(crate) fn json(value: &Value, request: &HeaderMap) -> Response<Body> {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    respond(StatusCode::OK, "application/json", bytes.into(), request)
}

/// Group, version and kind in which the resource is served.
pub(crate) fn served_gvk(def: &ResourceDef) -> Gvk {
    Gvk::new(def.group, def.version, def.kind)
}
