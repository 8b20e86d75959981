//! HTTP upgrades passed through as bytes.

use axum::body::Body;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rkind_apimachinery::status::Status;
use tokio_util::sync::CancellationToken;

use crate::error::Result;

/// Headers of an upgrade that concern both ends.
const PASSED: [&str; 9] = [
    "connection",
    "upgrade",
    "x-stream-protocol-version",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "origin",
    "user-agent",
];

/// Begin of the subprotocol that carries a bearer token.
pub(super) const BEARER: &str = "base64url.bearer.authorization.";

/// Whether a request asks for an upgrade.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
        && headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .any(|v| v.split(',').any(|t| t.trim().eq_ignore_ascii_case("upgrade")))
}

/// The request to send on, with the headers of the upgrade only: credentials stay here.
pub(super) fn upgrade_request(method: Method, path: &str, headers: &HeaderMap) -> Result<Request<Body>> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = path
        .parse()
        .map_err(|_| Status::bad_request("options make no valid request"))?;
    for name in PASSED {
        for value in headers.get_all(name) {
            let value = if name == "sec-websocket-protocol" {
                // A bearer token may travel as a subprotocol; it is not for the kubelet.
                let text = value.to_str().unwrap_or_default();
                let kept: Vec<&str> = text
                    .split(',')
                    .map(str::trim)
                    .filter(|p| !p.starts_with(BEARER))
                    .collect();
                match http::HeaderValue::from_str(&kept.join(", ")) {
                    Ok(value) if !kept.is_empty() => value,
                    _ => continue,
                }
            } else {
                value.clone()
            };
            request
                .headers_mut()
                .append(header::HeaderName::from_static(name), value);
        }
    }
    Ok(request)
}

/// Sends `inner`; when it is answered with 101, joins both ends until one closes.
pub(super) async fn tunnel(
    mut sender: SendRequest<Body>,
    mut inner: Request<Body>,
    outer: &mut Request<Body>,
    shutdown: CancellationToken,
) -> Result<Response<Body>> {
    if !inner.headers().contains_key(header::HOST) {
        inner
            .headers_mut()
            .insert(header::HOST, http::HeaderValue::from_static("kubelet"));
    }
    let client = hyper::upgrade::on(outer);
    let mut answer = sender
        .send_request(inner)
        .await
        .map_err(|e| Status::internal_error(&format!("unable to upgrade connection: {e}")))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(declined(answer));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = answer.headers().clone();
    let backend = hyper::upgrade::on(&mut answer);
    tokio::spawn(join(client, backend, shutdown));
    Ok(response)
}

/// What a backend answers that does not upgrade.
pub(super) fn declined(answer: Response<hyper::body::Incoming>) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = parts.status;
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        if let Some(value) = parts.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

/// Carries bytes between two upgraded connections until one ends.
pub(crate) async fn join(
    client: hyper::upgrade::OnUpgrade,
    backend: hyper::upgrade::OnUpgrade,
    shutdown: CancellationToken,
) {
    let (client, backend) = match tokio::try_join!(client, backend) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "upgrade failed");
            return;
        }
    };
    let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
    tokio::select! {
        ended = tokio::io::copy_bidirectional(&mut client, &mut backend) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "tunnel ended");
            }
        }
        () = shutdown.cancelled() => {}
    }
}
