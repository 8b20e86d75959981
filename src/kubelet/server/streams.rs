//! Exec, attach, port-forward: SPDY clients are tunnelled to the runtime, WebSocket clients translated.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use rkind_cri::v1;
use rkind_remotecommand::StreamOptions;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::upstream::{self, Upstream};
use super::{Body, Refusal};
use crate::agent::Agent;
use crate::observed::Observed;
use crate::pod::PodExt;

const PORT_FORWARD: &str = "portforward.k8s.io";
const PORT_FORWARD_TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// Stream protocols of remotecommand over SPDY, best first.
const SPDY_PROTOCOLS: [&str; 4] = [
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
];

enum Client {
    /// With the stream protocols it offers.
    Spdy(Vec<String>),
    /// With its handshake key and the subprotocols it offers.
    WebSocket { key: String, protocols: Vec<String> },
}

fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
    values
        .flat_map(|v| v.split(','))
        .map(|v| v.trim().to_string())
        .filter(|v| !v.is_empty())
        .collect()
}

fn client(headers: &HeaderMap) -> Result<Client, Refusal> {
    let upgrade = headers
        .get(header::UPGRADE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
        .to_lowercase();
    if upgrade.contains("websocket") {
        let key = headers
            .get(header::SEC_WEBSOCKET_KEY)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        let protocols = list(headers, "sec-websocket-protocol");
        return Ok(Client::WebSocket {
            key: key.to_string(),
            protocols,
        });
    }
    if upgrade.contains("spdy/3.1") {
        return Ok(Client::Spdy(list(headers, "x-stream-protocol-version")));
    }
    let message = "unable to upgrade: missing upgrade headers in request: want SPDY/3.1 or websocket";
    Err(Refusal::new(StatusCode::BAD_REQUEST, message))
}

/// The running container that a stream is for.
async fn running(agent: &Agent, pod: &Pod, container: &str) -> Result<String, Refusal> {
    let observed = Observed::of_pod(agent.runtime.as_ref(), pod.uid())
        .await
        .map_err(Refusal::internal)?;
    let found = observed
        .instance(container)
        .filter(|i| i.is_running())
        .map(|i| i.id.clone());
    found.ok_or_else(|| Refusal::not_found(format!("container not found (\"{container}\")")))
}

pub(super) async fn exec(
    agent: &Arc<Agent>,
    pod: &Pod,
    container: &str,
    query: &[(String, String)],
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let options = streams_wanted(query)?;
    let cmd = query
        .iter()
        .filter(|(k, _)| k == "command")
        .map(|(_, v)| v.clone())
        .collect();
    let container_id = running(agent, pod, container).await?;
    let call = v1::ExecRequest {
        container_id,
        cmd,
        tty: options.tty,
        stdin: options.stdin,
        stdout: options.stdout,
        stderr: options.stderr,
    };
    let url = agent
        .runtime
        .exec_url(call)
        .await
        .map_err(|e| Refusal::internal(e.rpc_message()))?;
    remote_command(&url, options, request).await
}

pub(super) async fn attach(
    agent: &Arc<Agent>,
    pod: &Pod,
    container: &str,
    query: &[(String, String)],
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let mut options = streams_wanted(query)?;
    let container_id = running(agent, pod, container).await?;
    // Whether there is a terminal is the container's to say.
    if let Some((_, spec)) = pod.container(container) {
        options.tty = spec.tty.unwrap_or(false);
        options.stderr &= !options.tty;
    }
    let call = v1::AttachRequest {
        container_id,
        tty: options.tty,
        stdin: options.stdin,
        stdout: options.stdout,
        stderr: options.stderr,
    };
    let url = agent
        .runtime
        .attach_url(call)
        .await
        .map_err(|e| Refusal::internal(e.rpc_message()))?;
    remote_command(&url, options, request).await
}

fn streams_wanted(query: &[(String, String)]) -> Result<StreamOptions, Refusal> {
    let options = StreamOptions::parse(query);
    if options.stdin || options.stdout || options.stderr {
        Ok(options)
    } else {
        Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "you must specify at least 1 of stdin, stdout, stderr",
        ))
    }
}

async fn remote_command(
    url: &str,
    options: StreamOptions,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    match client(request.headers())? {
        Client::Spdy(mut protocols) => {
            if protocols.is_empty() {
                protocols.push("channel.k8s.io".into());
            }
            tunnel_spdy(url, &protocols, request).await
        }
        Client::WebSocket { key, protocols } => {
            // A client without subprotocols speaks the oldest form.
            let chosen = if protocols.is_empty() {
                Some("channel.k8s.io")
            } else {
                rkind_remotecommand::PROTOCOLS
                    .into_iter()
                    .find(|p| protocols.iter().any(|offered| offered == p))
            };
            let Some(chosen) = chosen else {
                let message = format!("unable to upgrade: unsupported subprotocols {protocols:?}");
                return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
            };
            let offered = SPDY_PROTOCOLS.map(str::to_string);
            let upstream = upstream::connect(url, "POST", &offered)
                .await
                .map_err(Refusal::internal)?;
            let response = switch_to_websocket(&key, (!protocols.is_empty()).then_some(chosen));
            tokio::spawn(async move {
                let Ok(upgraded) = hyper::upgrade::on(request).await else {
                    return;
                };
                let socket =
                    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
                if let Err(error) =
                    rkind_remotecommand::remote_command(socket, upstream.stream, options, chosen).await
                {
                    tracing::debug!(%error, "a stream ended early");
                }
            });
            Ok(response)
        }
    }
}

pub(super) async fn port_forward(
    agent: &Arc<Agent>,
    pod: &Pod,
    query: &[(String, String)],
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let observed = Observed::of_pod(agent.runtime.as_ref(), pod.uid())
        .await
        .map_err(Refusal::internal)?;
    let Some(sandbox) = observed.sandbox().filter(|s| s.ready) else {
        return Err(Refusal::not_found(format!("not running ({})", pod.described())));
    };
    let ports: Vec<u16> = query
        .iter()
        .filter(|(k, _)| k == "port" || k == "ports")
        .flat_map(|(_, v)| v.split(','))
        .filter_map(|v| v.parse().ok())
        .collect();
    let url = agent
        .runtime
        .port_forward_url(&sandbox.id, &ports)
        .await
        .map_err(|e| Refusal::internal(e.rpc_message()))?;
    match client(request.headers())? {
        Client::Spdy(mut protocols) => {
            if protocols.is_empty() {
                protocols.push(PORT_FORWARD.into());
            }
            tunnel_spdy(&url, &protocols, request).await
        }
        Client::WebSocket { key, protocols } => {
            if !protocols.iter().any(|p| p == PORT_FORWARD_TUNNEL) {
                let message = format!("unable to upgrade: want subprotocol {PORT_FORWARD_TUNNEL}");
                return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
            }
            let upstream = upstream::connect(&url, "POST", &[PORT_FORWARD.to_string()])
                .await
                .map_err(Refusal::internal)?;
            let response = switch_to_websocket(&key, Some(PORT_FORWARD_TUNNEL));
            tokio::spawn(async move {
                let Ok(upgraded) = hyper::upgrade::on(request).await else {
                    return;
                };
                let socket =
                    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
                if let Err(error) = rkind_remotecommand::tunnel(socket, upstream.stream).await {
                    tracing::debug!(%error, "a port-forward ended early");
                }
            });
            Ok(response)
        }
    }
}

/// Hands the client's connection through to the runtime, byte by byte.
async fn tunnel_spdy(
    url: &str,
    protocols: &[String],
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let Upstream { mut stream, headers } = upstream::connect(url, "POST", protocols)
        .await
        .map_err(Refusal::internal)?;
    let mut response = switching();
    let out = response.headers_mut();
    out.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    for (name, value) in headers
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case("x-stream-protocol-version"))
    {
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::try_from(name.as_str()),
            HeaderValue::from_str(value),
        ) {
            out.append(name, value);
        }
    }
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else {
            return;
        };
        let mut client = TokioIo::new(upgraded);
        if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut stream).await {
            tracing::debug!(%error, "a stream ended early");
        }
    });
    Ok(response)
}

fn switching() -> Response<Body> {
    let body = Empty::<Bytes>::new()
        .map_err(|never: std::convert::Infallible| match never {})
        .boxed();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response
}

fn switch_to_websocket(key: &str, protocol: Option<&str>) -> Response<Body> {
    let mut response = switching();
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(Ok(value)) = protocol.map(HeaderValue::from_str) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    response
}
