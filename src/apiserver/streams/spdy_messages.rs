//! Port-forwards that come as WebSockets: SPDY in messages (KEP-4006). To the kubelet it is SPDY itself.
//! Upstream: `apiserver/pkg/util/proxy/streamtunnel.go`.

use axum::body::{Body, Bytes};
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rkind_apimachinery::status::Status;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, protocol::Role},
};
use tokio_util::sync::CancellationToken;

use super::{tunnel, websocket};
use crate::error::Result;

/// What the client says of the connection within.
const PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
/// What the kubelet is told.
const INNER: &str = "portforward.k8s.io";
/// Bytes of the kubelet's that are one message, at most.
const CHUNK: usize = 32 * 1024;

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
            ended = carry(socket, TokioIo::new(backend)) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "tunnel ended");
                }
            }
            () = shutdown.cancelled() => {}
        }
    });
    Ok(response)
}

/// Messages are bytes of the connection within, wherever they are cut.
async fn carry<S, B>(socket: WebSocketStream<S>, backend: B) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite,
{
    let (mut told, mut said) = socket.split();
    let (mut from, mut to) = tokio::io::split(backend);
    let up = async {
        while let Some(message) = said.next().await {
            match message? {
                Message::Binary(bytes) => to.write_all(&bytes).await?,
                Message::Close(_) => break,
                _ => {}
            }
        }
        Ok::<(), Error>(())
    };
    let down = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return told.close().await;
            }
            let bytes = Bytes::copy_from_slice(&buffer[..read]);
            told.send(Message::Binary(bytes)).await?;
        }
    };
    tokio::select! {
        ended = up => ended,
        ended = down => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever messages are cut to, the bytes arrive; the end of one side is the end of the other.
    #[tokio::test]
    async fn bytes_are_carried_both_ways() {
        let (near, far) = tokio::io::duplex(64);
        let (backend, mut kubelet) = tokio::io::duplex(64);
        let server = WebSocketStream::from_raw_socket(near, Role::Server, None).await;
        let carried = tokio::spawn(carry(server, backend));
        let mut client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        for piece in [&b"one "[..], b"", b"two"] {
            client
                .send(Message::Binary(Bytes::copy_from_slice(piece)))
                .await
                .unwrap();
        }
        let mut seen = [0; 7];
        kubelet.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"one two");
        kubelet.write_all(b"three").await.unwrap();
        let mut answered = Vec::new();
        while answered.len() < 5 {
            match client.next().await.unwrap().unwrap() {
                Message::Binary(bytes) => answered.extend_from_slice(&bytes),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(answered, b"three");
        drop(kubelet);
        assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
        carried.await.unwrap().unwrap();
    }
}
