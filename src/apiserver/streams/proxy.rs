//! pods/proxy, services/proxy and nodes/proxy. Upstream: `apimachinery/pkg/util/proxy`.

mod links;

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rand::seq::IndexedRandom as _;
use rkind_apimachinery::status::Status;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{kubelet, tunnel};
use crate::{
    error::Result,
    outbound::{AnyCertificate, dial_error},
    registry::{Context, judge::admit_connect, read},
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
    let (scheme, name, port) = split(ctx.info.path_name());
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
    let backend;
    let sender = if ctx.def.resource == "nodes" {
        let address = kubelet::node_address(&ctx.core, name)?;
        let addresses = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
        let addresses =
            addresses.map_err(|e| Status::bad_request(format!("lookup {}: {e}", address.host)))?;
        for found in addresses {
            allowed(found.ip())?;
        }
        match port.parse() {
            // Another port of the node is not the kubelet's to vouch for.
            Ok(port) if port != address.port => {
                let target = Target {
                    https: scheme == "https",
                    host: address.host,
                    port,
                };
                backend = target.authority();
                connect(&target).await?
            }
            _ => {
                backend = authority(&address.host, address.port);
                ctx.core.kubelet.connect(&address).await?
            }
        }
    } else {
        let target = if ctx.def.resource == "pods" {
            pod(ctx, scheme, name, port).await?
        } else {
            service(ctx, scheme, name, port).await?
        };
        backend = target.authority();
        connect(&target).await?
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

/// `[scheme:]name[:port]`.
fn split(text: &str) -> (&str, &str, &str) {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [scheme @ ("http" | "https"), name, port] => (scheme, name, port),
        [name, port] => ("", name, port),
        _ => ("", text, ""),
    }
}

async fn pod(ctx: &Context, scheme: &str, name: &str, port: &str) -> Result<Target> {
    let pod = read::current(&ctx.core, &ctx.def, &ctx.info.namespace, name)
        .await?
        .to_value();
    let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    let ports = || {
        containers
            .iter()
            .flat_map(|c| c["ports"].as_array().into_iter().flatten())
    };
    let number = if port.is_empty() {
        ports().find_map(|p| p["containerPort"].as_u64()).unwrap_or(80)
    } else {
        match port.parse() {
            Ok(number) => number,
            Err(_) => ports()
                .find(|p| p["name"] == port)
                .and_then(|p| p["containerPort"].as_u64())
                .ok_or_else(|| {
                    Status::bad_request(format!("address not allowed: pod {name} has no port {port:?}"))
                })?,
        }
    };
    let host: IpAddr = pod["status"]["podIP"]
        .as_str()
        .and_then(|ip| ip.parse().ok())
        .ok_or_else(|| Status::bad_request("address not allowed"))?;
    allowed(host)?;
    Ok(Target {
        https: scheme == "https",
        host: host.to_string(),
        port: u16::try_from(number).unwrap_or(80),
    })
}

async fn service(ctx: &Context, scheme: &str, name: &str, port: &str) -> Result<Target> {
    let namespace = &ctx.info.namespace;
    let service = read::current(&ctx.core, &ctx.def, namespace, name)
        .await?
        .to_value();
    let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let number = port.parse().ok();
    let chosen = ports
        .iter()
        .find(|p| {
            port.is_empty() && ports.len() == 1
                || p["name"] == port
                || number.is_some() && p["port"].as_u64() == number
        })
        .or(if port.is_empty() { ports.first() } else { None })
        .ok_or_else(|| {
            Status::service_unavailable(format!("no service port {port:?} found for service {name:?}"))
        })?;
    let port_name = chosen["name"].as_str().unwrap_or_default();
    let slices = ctx
        .core
        .cache
        .cacher("discovery.k8s.io/endpointslices")
        .ok_or_else(Status::unknown_resource)?;
    let complete = ctx.core.cache.catch_up().await?;
    let snapshot = slices.snapshot(complete);
    let mut targets: Vec<(String, u16)> = Vec::new();
    for slice in snapshot.range(&format!("{namespace}/"), None) {
        if slice.labels().get("kubernetes.io/service-name") != Some(name) {
            continue;
        }
        let slice = slice.to_value();
        let wanted = |p: &&Value| p["name"].as_str().unwrap_or_default() == port_name;
        let Some(number) = slice["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .find(wanted)
            .and_then(|p| p["port"].as_u64())
        else {
            continue;
        };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            if endpoint["conditions"]["ready"] == false {
                continue;
            }
            for address in endpoint["addresses"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                targets.push((address.into(), u16::try_from(number).unwrap_or(0)));
            }
        }
    }
    let (host, port) = targets
        .choose(&mut rand::rng())
        .cloned()
        .ok_or_else(|| Status::service_unavailable(format!("no endpoints available for service {name:?}")))?;
    Ok(Target {
        https: scheme == "https",
        host,
        port,
    })
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
