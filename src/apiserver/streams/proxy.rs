//! pods/proxy, services/proxy and nodes/proxy. Upstream: `apimachinery/pkg/util/proxy`.

mod links;
mod targets;

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rkind_apimachinery::status::Status;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{kubelet, tunnel};
use crate::{
    error::Result,
    outbound::{AnyCertificate, dial_error},
    registry::{Context, judge::admit_connect},
};

/// Headers that end at this hop, and credentials that were for this server.
const HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "authorization",
    "host",
];

/// What a backend allows pages of other origins is about the backend's origin, not this server's.
const CORS: [&str; 4] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
];

struct Target {
    https: bool,
    host: String,
    port: u16,
}

impl Target {
    fn authority(&self) -> String {
        authority(&self.host, self.port)
    }
}

pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Passes a request on to a pod, a Service's endpoint or a kubelet.
///
/// # Errors
/// 400, 403, 404, 503, or that the backend cannot be reached.
pub(crate) async fn serve(ctx: &Context, mut request: Request<Body>) -> Result<Response<Body>> {
    admit_connect(ctx).await?;
    let goal = goal(ctx).await?;
    let raw = request.uri().path();
    let prefix = raw
        .match_indices('/')
        .nth(proxy_depth(ctx))
        .map_or(raw.len(), |(at, _)| at);
    let mut path = raw[prefix..].to_owned();
    let upgrade = tunnel::is_upgrade(request.headers());
    if path.is_empty() {
        // A page without the slash would resolve its relative links against the wrong place.
        if !upgrade && matches!(*request.method(), Method::GET | Method::HEAD) {
            return moved(request.uri());
        }
        path.push('/');
    }
    if let Some(query) = request.uri().query() {
        path.push('?');
        path.push_str(query);
    }
    let inner = forwarded(&request, &path)?;
    let (backend, sender) = match &goal {
        Goal::Kubelet(address) => (
            authority(&address.host, address.port),
            ctx.core.kubelet.connect(address).await?,
        ),
        Goal::Other(target) => (target.authority(), connect(target).await?),
    };
    if upgrade {
        let mut upgrade = tunnel::upgrade_request(request.method().clone(), &path, request.headers())?;
        for (name, value) in inner.headers() {
            if !upgrade.headers().contains_key(name) {
                upgrade.headers_mut().insert(name, value.clone());
            }
        }
        return tunnel::tunnel(sender, upgrade, &mut request, ctx.core.shutdown.clone()).await;
    }
    let mut sender = sender;
    let (parts, _) = inner.into_parts();
    let (asked, uri) = (request.method().clone(), request.uri().clone());
    let host = request.headers().get(header::HOST).cloned();
    let body = std::mem::take(request.body_mut());
    let response = sender
        .send_request(Request::from_parts(parts, body))
        .await
        .map_err(|e| Status::service_unavailable(format!("error trying to reach service: {e}")))?;
    let (mut parts, body) = response.into_parts();
    for name in HOP[..7].iter().chain(&CORS) {
        parts.headers.remove(*name);
    }
    let response = Response::from_parts(parts, Body::new(body));
    if asked == Method::HEAD {
        return Ok(response);
    }
    let host = host.as_ref().and_then(|v| v.to_str().ok()).unwrap_or_default();
    let place = links::Place {
        prefix: &uri.path()[..prefix],
        backend: &backend,
        host,
    };
    Ok(links::rewritten(response, &place).await)
}

/// What a proxied request is for.
enum Goal {
    /// With this server's own certificate.
    Kubelet(kubelet::NodeAddress),
    Other(Target),
}

async fn goal(ctx: &Context) -> Result<Goal> {
    let kind = ctx.def.singular;
    let asked = targets::split(ctx.info.path_name(), kind)?;
    let (scheme, name, port) = asked;
    Ok(Goal::Other(match kind {
        "pod" => targets::pod(ctx, asked).await?,
        "service" => targets::service(ctx, asked).await?,
        _ => {
            let mut address = kubelet::node_address(&ctx.core, name)?;
            let found = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
            let found = found.map_err(|e| Status::bad_request(format!("lookup {}: {e}", address.host)))?;
            let found: Vec<IpAddr> = found.map(|found| found.ip()).collect();
            for found in &found {
                allowed(*found)?;
            }
            match port.parse() {
                // Another port of the node is not the kubelet's to vouch for. What was looked at is what is
                // dialled: a name may lead elsewhere a moment later.
                Ok(port) if port != address.port => Target {
                    https: scheme == "https",
                    host: found.first().map_or(address.host, ToString::to_string),
                    port,
                },
                _ => {
                    address.at = found.first().copied();
                    return Ok(Goal::Kubelet(address));
                }
            }
        }
    }))
}

/// To the same place with a slash at the end.
fn moved(uri: &Uri) -> Result<Response<Body>> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = HeaderValue::from_str(&format!("{}/{query}", uri.path()))
        .map_err(|_| Status::bad_request("the proxied path is not valid"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// Number of slashes before the proxied path: `/api/v1/namespaces/n/pods/p/proxy/…`.
fn proxy_depth(ctx: &Context) -> usize {
    if ctx.def.namespaced { 7 } else { 5 }
}

fn forwarded(request: &Request<Body>, path: &str) -> Result<Request<Body>> {
    let mut inner = Request::new(Body::empty());
    *inner.method_mut() = request.method().clone();
    *inner.uri_mut() = path
        .parse()
        .map_err(|_| Status::bad_request("the proxied path is not valid"))?;
    for (name, value) in request.headers() {
        if !HOP.contains(&name.as_str()) && name != header::UPGRADE {
            inner.headers_mut().append(name.clone(), value.clone());
        }
    }
    if let Some(host) = request.headers().get(header::HOST) {
        inner.headers_mut().insert("x-forwarded-host", host.clone());
        inner.headers_mut().insert(header::HOST, host.clone());
    } else {
        inner
            .headers_mut()
            .insert(header::HOST, HeaderValue::from_static("localhost"));
    }
    inner
        .headers_mut()
        .insert("x-forwarded-proto", HeaderValue::from_static("https"));
    if let Ok(uri) = HeaderValue::from_str(request.uri().path()) {
        inner.headers_mut().insert("x-forwarded-uri", uri);
    }
    Ok(inner)
}

/// Whether requests may be passed on to an address: what only this machine or its link knows is not
/// for those who may write a pod's or a node's status. Go's `IsGlobalUnicast`.
fn allowed(address: IpAddr) -> Result<()> {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if local || address.is_unspecified() || address.is_loopback() || address.is_multicast() {
        return Err(Status::bad_request("address not allowed").into());
    }
    Ok(())
}

async fn connect(target: &Target) -> Result<hyper::client::conn::http1::SendRequest<Body>> {
    let at = target.authority();
    let failed = |why: &str| -> Box<Status> {
        Status::service_unavailable(format!("error trying to reach service: dial tcp {at}: {why}")).into()
    };
    let dial = TcpStream::connect((target.host.as_str(), target.port));
    let stream = match tokio::time::timeout(Duration::from_secs(10), dial).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(&dial_error(&error))),
        Err(_) => return Err(failed("i/o timeout")),
    };
    if !target.https {
        return kubelet::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| failed(&e.to_string()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| failed(&e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let name = ServerName::try_from(target.host.clone()).map_err(|e| failed(&e.to_string()))?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|e| failed(&e.to_string()))?;
    kubelet::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| failed(&e.to_string()))
}
