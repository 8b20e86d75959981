//! Hands a request on to another API server, saying by headers who asks.
//! Upstream: `pkg/apiserver/handler_proxy.go`, `apimachinery/pkg/util/proxy`.

use std::sync::{Arc, atomic::Ordering};

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header, request::Parts};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Backend;
use crate::{
    core::Core,
    impersonation,
    outbound::explain,
    streams::tunnel::{self, is_upgrade},
    user::UserInfo,
};

/// Headers that end at this hop, and credentials that were for this server.
const HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::AUTHORIZATION,
    header::UPGRADE,
];

/// What a header's name may hold (RFC 7230 `tchar`) without `%`, which escapes the rest.
const KEY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

impl Backend {
    /// Name that the backend's certificate carries.
    pub(super) fn host(&self) -> String {
        let (name, namespace) = (&self.service, &self.namespace);
        match self.port {
            443 => format!("{name}.{namespace}.svc"),
            port => format!("{name}.{namespace}.svc:{port}"),
        }
    }
}

/// Sets the headers that say who asks; what a client set there itself is dropped.
pub(super) fn identify(headers: &mut HeaderMap, user: &UserInfo) {
    impersonation::clear(headers);
    let mut put = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            headers.append(name, value);
        }
    };
    put("x-remote-user", &user.name);
    if !user.uid.is_empty() {
        put("x-remote-uid", &user.uid);
    }
    for group in &user.groups {
        put("x-remote-group", group);
    }
    for (key, values) in &user.extra {
        let name = format!("x-remote-extra-{}", utf8_percent_encode(key, KEY));
        for value in values {
            put(&name, value);
        }
    }
}

/// Passes a request on and streams the answer back, upgrades included.
pub(crate) async fn serve(
    core: &Core,
    backend: &Arc<Backend>,
    user: &UserInfo,
    parts: Parts,
    body: Body,
) -> Response<Body> {
    if !backend.available.load(Ordering::Relaxed) {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
    }
    let client = match &backend.client {
        Ok(client) => client,
        Err(why) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, why),
    };
    let upgrade = is_upgrade(&parts.headers);
    let mut outer = Request::from_parts(parts, body);
    let inner = match forwarded(&mut outer, &backend.host(), user, upgrade) {
        Ok(inner) => inner,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let mut answer = match client.request(inner).await {
        Ok(answer) => answer,
        Err(error) => {
            let why = format!("error trying to reach service: {}", explain(&error));
            return refuse(StatusCode::SERVICE_UNAVAILABLE, &why);
        }
    };
    if upgrade && answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        let ends = (hyper::upgrade::on(&mut outer), hyper::upgrade::on(&mut answer));
        tokio::spawn(tunnel::join(ends.0, ends.1, core.shutdown.clone()));
        return response;
    }
    let (mut parts, body) = answer.into_parts();
    for name in &HOP[..7] {
        parts.headers.remove(name);
    }
    Response::from_parts(parts, Body::new(body))
}

fn forwarded(
    outer: &mut Request<Body>,
    host: &str,
    user: &UserInfo,
    upgrade: bool,
) -> Result<Request<Body>, http::Error> {
    let path = outer.uri().path_and_query().map_or("/", |p| p.as_str());
    let uri: Uri = format!("https://{host}{path}").parse()?;
    let mut inner = Request::builder()
        .method(outer.method().clone())
        .uri(uri)
        .body(Body::empty())?;
    let headers = inner.headers_mut();
    for (name, value) in outer.headers() {
        if !HOP.contains(name) && name != header::HOST {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(header::HOST, HeaderValue::from_str(host)?);
    if let Some(host) = outer.headers().get(header::HOST) {
        headers.insert("x-forwarded-host", host.clone());
    }
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    if let Ok(uri) = HeaderValue::from_str(outer.uri().path()) {
        headers.insert("x-forwarded-uri", uri);
    }
    identify(headers, user);
    if upgrade {
        for name in [header::CONNECTION, header::UPGRADE] {
            if let Some(value) = outer.headers().get(&name) {
                headers.insert(name, value.clone());
            }
        }
    } else {
        *inner.body_mut() = std::mem::take(outer.body_mut());
    }
    Ok(inner)
}

/// Plain text, as upstream's proxy refuses.
fn refuse(code: StatusCode, why: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{why}\n")));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
