//! What the server sends, as WebSocket messages: logs and watches. Messages of the client are ignored.
//! Upstream: `apimachinery/pkg/util/httpstream/wsstream/stream.go`, `apiserver/pkg/endpoints/handlers/watch.go`.

use axum::body::{Body, Bytes};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use super::tunnel;

/// Subprotocols, and whether their messages are text in base64. Without one messages are binary.
const PROTOCOLS: [(&str, bool); 2] = [("binary.k8s.io", false), ("base64.binary.k8s.io", true)];

/// Whether a request wants to become a WebSocket.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|v| v.to_str().ok());
    upgrade.is_some_and(|v| v.eq_ignore_ascii_case("websocket")) && tunnel::is_upgrade(headers)
}

/// The subprotocols that a client offers, but for its token.
pub(super) fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    offered
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .filter(|p| !p.is_empty() && !p.starts_with(tunnel::BEARER))
}

/// The answer that makes a connection a WebSocket.
pub(super) fn accepted(key: &HeaderValue, protocol: Option<&str>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) {
        answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(name) = protocol.and_then(|name| HeaderValue::try_from(name).ok()) {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    response
}

/// Accepts a WebSocket and sends a log over it; 403 for subprotocols that are not known.
pub(crate) fn send(request: &mut Request<Body>, body: Body, shutdown: CancellationToken) -> Response<Body> {
    let offered: Vec<&str> = offered(request.headers()).collect();
    let chosen = offered
        .iter()
        .find_map(|p| PROTOCOLS.iter().find(|(known, _)| known == p));
    if chosen.is_none() && !offered.is_empty() {
        return refuse(StatusCode::FORBIDDEN);
    }
    let text = chosen.is_some_and(|(_, text)| *text);
    let message = move |bytes: Bytes| match text {
        true => Message::Text(STANDARD.encode(&bytes).into()),
        false => Message::Binary(bytes),
    };
    // An empty message says that the stream begins.
    let begin = Some(message(Bytes::new()));
    let protocol = chosen.map(|(name, _)| *name);
    accept(request, protocol, shutdown, Messages { begin, body, message })
        .unwrap_or_else(|| refuse(StatusCode::FORBIDDEN))
}

/// How long the length is that stands before each frame of a protobuf watch, in bytes.
const LENGTH: usize = 4;

/// Accepts a WebSocket and sends a watch over it: each event, a piece of `body`, as a message of its own, in
/// protobuf a binary one. The one subprotocol that is offered is taken; 400 for several.
pub(crate) fn watch(
    request: &mut Request<Body>,
    body: Body,
    protobuf: bool,
    shutdown: CancellationToken,
) -> Response<Body> {
    let offered: Vec<&str> = offered(request.headers()).collect();
    let protocol = match offered[..] {
        [] => None,
        [one] => Some(one.to_owned()),
        _ => return refuse(StatusCode::BAD_REQUEST),
    };
    let message = move |mut event: Bytes| match protobuf {
        // A message says itself how long it is.
        true => Message::Binary(event.split_off(LENGTH.min(event.len()))),
        false => Message::Text(String::from_utf8_lossy(&event).into_owned().into()),
    };
    let messages = Messages {
        begin: None,
        body,
        message,
    };
    accept(request, protocol.as_deref(), shutdown, messages)
        .unwrap_or_else(|| refuse(StatusCode::BAD_REQUEST))
}

fn refuse(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}

/// What is sent over a socket.
struct Messages<M> {
    /// Before all else.
    begin: Option<Message>,
    body: Body,
    /// A piece of the body as a message.
    message: M,
}

/// Answers the handshake, then sends until the body, the client or the server ends; `None` when the client
/// sent no key.
fn accept<M>(
    request: &mut Request<Body>,
    protocol: Option<&str>,
    shutdown: CancellationToken,
    messages: Messages<M>,
) -> Option<Response<Body>>
where
    M: Fn(Bytes) -> Message + Send + Sync + 'static,
{
    let response = accepted(request.headers().get(header::SEC_WEBSOCKET_KEY)?, protocol);
    let client = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(client) = client.await else { return };
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(client), Role::Server, None).await;
        tokio::select! {
            sent = copy(socket, messages) => {
                if let Err(error) = sent {
                    tracing::debug!(%error, "a stream ended early");
                }
            }
            () = shutdown.cancelled() => {}
        }
    });
    Some(response)
}

async fn copy<S, M>(mut socket: WebSocketStream<S>, messages: Messages<M>) -> Result<(), tungstenite::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    M: Fn(Bytes) -> Message,
{
    let Messages { begin, body, message } = messages;
    if let Some(begin) = begin {
        socket.send(begin).await?;
    }
    let mut body = body.into_data_stream();
    loop {
        tokio::select! {
            chunk = body.next() => match chunk {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => socket.send(message(bytes)).await?,
                Some(Err(_)) | None => break,
            },
            said = socket.next() => match said {
                Some(Ok(Message::Close(_))) | None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
            },
        }
    }
    let frame = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    socket.close(Some(frame)).await?;
    // The client's answer to the closing; what it says before that is nobody's.
    while let Some(Ok(_)) = socket.next().await {}
    Ok(())
}
