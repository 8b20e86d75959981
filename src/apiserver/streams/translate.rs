//! Commands that come over WebSocket in version 5, which knows the end of standard input: to the kubelet they
//! are SPDY, which knows it, too (KEP-4006). Older versions are the kubelet's own to speak.
//! Upstream: `apiserver/pkg/util/proxy/streamtranslator.go`.

use axum::body::Body;
use futures::SinkExt as _;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rkind_apimachinery::status::Status;
use rkind_remotecommand::{StreamOptions, remote_command};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use super::{kubelet::NodeAddress, websocket};
use crate::{core::Core, error::Result};

/// What a client offers whose requests are translated.
const PROTOCOL: &str = "v5.channel.k8s.io";
/// What the kubelet is offered.
const INNER: &str = "v4.channel.k8s.io";
/// The channel of a WebSocket that says how a command ended.
const ERROR: u8 = 3;
/// Bytes of a kubelet's refusal that are read.
const REFUSAL: usize = 64 * 1024;

/// Whether a request is for a command in version 5.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    websocket::is_wanted(headers) && websocket::offered(headers).any(|protocol| protocol == PROTOCOL)
}

/// What is asked of which kubelet.
pub(super) struct Command {
    pub address: NodeAddress,
    /// With its query.
    pub path: String,
    pub options: StreamOptions,
}

/// Accepts the WebSocket, then asks the kubelet in SPDY and carries between both. That the kubelet refuses is
/// said on the error channel.
///
/// # Errors
/// 400 for a handshake without a key.
pub(super) fn serve(
    core: &std::sync::Arc<Core>,
    command: Command,
    outer: &mut Request<Body>,
    shutdown: CancellationToken,
) -> Result<Response<Body>> {
    let key = outer.headers().get(header::SEC_WEBSOCKET_KEY);
    let key = key.ok_or_else(|| Status::bad_request("a WebSocket's handshake has a key"))?;
    let response = websocket::accepted(key, Some(PROTOCOL));
    let client = hyper::upgrade::on(outer);
    let core = core.clone();
    tokio::spawn(async move {
        let Ok(client) = client.await else { return };
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(client), Role::Server, None).await;
        let run = async {
            match ask(&core, &command).await {
                Ok(backend) => {
                    let carried =
                        remote_command(socket, TokioIo::new(backend), command.options, PROTOCOL).await;
                    if let Err(error) = carried {
                        tracing::debug!(%error, "a command's streams ended early");
                    }
                }
                Err(status) => refuse(socket, &status).await,
            }
        };
        tokio::select! {
            () = run => {}
            () = shutdown.cancelled() => {}
        }
    });
    Ok(response)
}

/// The kubelet's connection once it speaks SPDY.
async fn ask(core: &Core, command: &Command) -> Result<Upgraded> {
    let request = Request::post(&command.path)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "SPDY/3.1")
        .header("x-stream-protocol-version", INNER)
        .body(Body::empty())
        .map_err(|_| Status::bad_request("options make no valid request"))?;
    let sent = core.kubelet.send(&command.address, request).await;
    let mut answer = sent.map_err(|status| failed(&format!("error sending request: {}", status.message)))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(declined(answer).await);
    }
    let upgraded = hyper::upgrade::on(&mut answer).await;
    upgraded.map_err(|error| failed(&format!("unable to upgrade connection: {error}")))
}

fn failed(why: &str) -> Box<Status> {
    Status::internal_error(why).into()
}

/// What a kubelet says that does not upgrade: its own `Status`, or words.
async fn declined(answer: Response<hyper::body::Incoming>) -> Box<Status> {
    let body = match Limited::new(answer.into_body(), REFUSAL).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return failed(&format!("unable to upgrade connection: {error}")),
    };
    if let Ok(status) = serde_json::from_slice::<Status>(&body)
        && status.kind == "Status"
    {
        return status.into();
    }
    let said = String::from_utf8_lossy(&body);
    failed(&format!("unable to upgrade connection: {}", said.trim_end()))
}

/// Tells a client on its error channel why nothing runs.
async fn refuse(mut socket: WebSocketStream<TokioIo<Upgraded>>, status: &Status) {
    let mut message = vec![ERROR];
    message.extend(serde_json::to_vec(status).unwrap_or_default());
    let end = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    for message in [Message::Binary(message.into()), Message::Close(Some(end))] {
        if let Err(error) = socket.send(message).await {
            tracing::debug!(%error, "a client did not hear why its command does not run");
            return;
        }
    }
}
