//! Port-forwards that come as WebSockets: SPDY in messages (KEP-4006). To the kubelet it is SPDY itself.
//! Upstream: `apiserver/pkg/util/proxy/streamtunnel.go`.

use axum::body::Body;
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rkind_apimachinery::status::Status;
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use tokio_util::sync::CancellationToken;

use super::{tunnel, websocket};
use crate::error::Result;

/// What the client says of the connection within.
const PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
/// What the kubelet is told.
const INNER: &str = "portforward.k8s.io";

/// Whether a request asks for SPDY in messages.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    websocket::is_wanted(headers) && websocket::offered(headers).any(|protocol| protocol == PROTOCOL)
}

/// Asks the kubelet for `path` in SPDY; when it agrees, carries bytes between both ends until one closes.
///
/// # Errors
/// 400 for a handshake without a key, 500 when the kubelet cannot be asked.
pub(super) async fn serve(
    mut sender: SendRequest<Body>,
    path: &str,
    outer: &mut Request<Body>,
    shutdown: CancellationToken,
) -> Result<Response<Body>> {
    let key = outer.headers().get(header::SEC_WEBSOCKET_KEY).cloned();
    let key = key.ok_or_else(|| Status::bad_request("a WebSocket's handshake has a key"))?;
    let inner = Request::post(path)
        .header(header::HOST, "kubelet")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "SPDY/3.1")
        .header("x-stream-protocol-version", INNER)
        .body(Body::empty())
        .map_err(|_| Status::bad_request("options make no valid request"))?;
    let mut answer = sender
        .send_request(inner)
        .await
        .map_err(|e| Status::internal_error(&format!("unable to upgrade connection: {e}")))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(tunnel::declined(answer));
    }
    let response = websocket::accepted(&key, Some(PROTOCOL));
    let client = hyper::upgrade::on(outer);
    let backend = hyper::upgrade::on(&mut answer);
    tokio::spawn(async move {
        let (client, backend) = match tokio::try_join!(client, backend) {
            Ok(both) => both,
            Err(error) => {
                tracing::debug!(%error, "upgrade failed");
                return;
            }
        };
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(client), Role::Server, None).await;
        tokio::select! {
            ended = rkind_remotecommand::tunnel(socket, TokioIo::new(backend)) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "tunnel ended");
                }
            }
            () = shutdown.cancelled() => {}
        }
    });
    Ok(response)
}
