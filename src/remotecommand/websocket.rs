//! WebSocket clients of exec, attach and port-forward, over a server's SPDY connection.
//!
//! `v5.channel.k8s.io`: the first byte of a binary message is its channel (0 stdin, 1 stdout,
//! 2 stderr, 3 error, 4 resize, 255 close of another); v4 knows no closing; without a version the error
//! channel has words and not a `Status`; `base64.` forms are text.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#websocket-protocol>

use std::collections::HashMap;
use std::time::Duration;

use bytes::BytesMut;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::spdy::{self, Decoder, Encoder, Frame, SpdyError};

const ERROR: u8 = 3;
const CLOSE: u8 = 255;

/// How a client is told how a command ended.
enum Outcome {
    /// As the `Status` in JSON that the runtime gives.
    Status,
    /// Before version 4: by the message of a failure. Here is what has come of the `Status`.
    Words(Vec<u8>),
}

impl Outcome {
    /// What to pass on of the next piece of the `Status`.
    fn hear<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        match self {
            Outcome::Status => piece,
            Outcome::Words(heard) => {
                heard.extend_from_slice(piece);
                b""
            }
        }
    }

    /// What is left to say once the runtime has said all.
    fn words(self) -> Vec<u8> {
        let Outcome::Words(heard) = self else {
            return Vec::new();
        };
        match serde_json::from_slice::<serde_json::Value>(&heard) {
            Ok(status) if status["status"] == "Success" => Vec::new(),
            Ok(status) if status["message"].is_string() => {
                status["message"].as_str().unwrap_or_default().into()
            }
            // A runtime without version 4 speaks in words itself.
            _ => heard,
        }
    }
}

/// Which streams a request asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamOptions {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

impl StreamOptions {
    /// From a query in the node agent's own or the API's words.
    #[must_use]
    pub fn parse(query: &[(String, String)]) -> Self {
        let any = |names: [&str; 2]| {
            query
                .iter()
                .any(|(k, v)| names.contains(&k.as_str()) && (v == "1" || v.eq_ignore_ascii_case("true")))
        };
        let tty = any(["tty", "tty"]);
        Self {
            stdin: any(["input", "stdin"]),
            stdout: any(["output", "stdout"]),
            // A terminal mixes both into one.
            stderr: any(["error", "stderr"]) && !tty,
            tty,
        }
    }

    /// Channel number and stream type of every stream, in the order in which a client opens them.
    fn channels(self) -> Vec<(u8, &'static str)> {
        let all = [
            (3, "error", true),
            (0, "stdin", self.stdin),
            (1, "stdout", self.stdout),
            (2, "stderr", self.stderr),
            (4, "resize", self.tty),
        ];
        all.into_iter()
            .filter(|(_, _, wanted)| *wanted)
            .map(|(channel, kind, _)| (channel, kind))
            .collect()
    }
}

/// Subprotocols of remotecommand that are spoken here, best first.
pub const PROTOCOLS: [&str; 5] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
];

/// Copies between a WebSocket client that speaks `protocol`, one of [`PROTOCOLS`], and a server that speaks SPDY
/// with `v4.channel.k8s.io`, until either ends.
///
/// # Errors
/// When a connection breaks or the server's frames are none.
pub async fn remote_command<C, U>(
    socket: WebSocketStream<C>,
    upstream: U,
    options: StreamOptions,
    protocol: &str,
) -> Result<(), SpdyError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite,
{
    let text_form = protocol.contains("base64");
    let closes = protocol.starts_with("v5");
    let mut outcome = if protocol.starts_with('v') {
        Outcome::Status
    } else {
        Outcome::Words(Vec::new())
    };
    let (read, mut write) = tokio::io::split(upstream);
    let mut decoder = Decoder::new(read);
    let mut encoder = Encoder::new()?;
    let mut out = BytesMut::new();
    let mut ids: HashMap<u8, u32> = HashMap::new();
    let mut channels: HashMap<u32, u8> = HashMap::new();
    for (i, (channel, kind)) in options.channels().into_iter().enumerate() {
        let id = u32::try_from(i).unwrap_or(0) * 2 + 1;
        // Spelling of the name: Go's servers read it case-insensitively, SPDY wants lower case.
        encoder.syn_stream(id, &vec![("streamtype".to_string(), kind.to_string())], &mut out)?;
        ids.insert(channel, id);
        channels.insert(id, channel);
    }
    write.write_all(&out.split()).await?;
    let (mut sink, mut source) = socket.split();
    // An empty message on the lowest stream that is written says that the command runs.
    let first = channels
        .values()
        .copied()
        .filter(|channel| matches!(channel, 1..=3))
        .min();
    send(&mut sink, first.unwrap_or(ERROR), b"", text_form).await?;
    // Streams that the runtime writes to; the command has ended when all have.
    let mut open: Vec<u32> = channels
        .keys()
        .copied()
        .filter(|id| matches!(channels[id], 1..=3))
        .collect();
    loop {
        tokio::select! {
            frame = decoder.next() => match frame? {
                Some(Frame::Data { id, data, fin }) => {
                    let channel = channels.get(&id).copied().unwrap_or(CLOSE);
                    let said = if channel == ERROR { outcome.hear(&data) } else { &data };
                    if channel != CLOSE && !said.is_empty() {
                        send(&mut sink, channel, said, text_form).await?;
                    }
                    if fin {
                        open.retain(|o| *o != id);
                    }
                }
                Some(Frame::Reset { id, .. }) => open.retain(|o| *o != id),
                Some(Frame::Ping { id }) => {
                    spdy::ping(id, &mut out);
                    write.write_all(&out.split()).await?;
                }
                Some(Frame::GoAway) | None => break,
                Some(Frame::SynReply { .. } | Frame::SynStream { .. } | Frame::Other) => {}
            },
            message = source.next() => match message {
                Some(Ok(Message::Binary(bytes))) if !text_form => {
                    if let Some((channel, data)) = bytes.split_first() {
                        forward(&mut write, &ids, *channel, data, closes, &mut out).await?;
                    }
                }
                Some(Ok(Message::Text(text))) => {
                    let bytes = text.as_bytes();
                    if let Some((channel, data)) = bytes.split_first() {
                        use base64::Engine;
                        let decoded = if text_form {
                            base64::engine::general_purpose::STANDARD.decode(data).unwrap_or_default()
                        } else {
                            data.to_vec()
                        };
                        let channel = if channel.is_ascii_digit() { channel - b'0' } else { *channel };
                        forward(&mut write, &ids, channel, &decoded, closes, &mut out).await?;
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
        }
        if open.is_empty() {
            break;
        }
    }
    let words = outcome.words();
    if !words.is_empty() {
        send(&mut sink, ERROR, &words, text_form).await?;
    }
    farewell(sink, source).await;
    Ok(())
}

async fn forward(
    write: &mut (impl AsyncWriteExt + Unpin),
    ids: &HashMap<u8, u32>,
    channel: u8,
    data: &[u8],
    closes: bool,
    out: &mut BytesMut,
) -> Result<(), SpdyError> {
    if closes && channel == CLOSE {
        // The message names the channel that ends: stdin.
        if let Some(id) = data.first().and_then(|c| ids.get(c)) {
            spdy::data(*id, b"", true, out);
        }
    } else if let Some(id) = ids.get(&channel).filter(|_| channel == 0 || channel == 4)
        && !data.is_empty()
    {
        spdy::data(*id, data, false, out);
    }
    write.write_all(&out.split()).await?;
    Ok(())
}

async fn send<C>(
    sink: &mut SplitSink<WebSocketStream<C>, Message>,
    channel: u8,
    data: &[u8],
    text_form: bool,
) -> Result<(), SpdyError>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let message = if text_form {
        use base64::Engine;
        let body = base64::engine::general_purpose::STANDARD.encode(data);
        Message::Text(format!("{channel}{body}").into())
    } else {
        let mut bytes = Vec::with_capacity(data.len() + 1);
        bytes.push(channel);
        bytes.extend_from_slice(data);
        Message::Binary(bytes.into())
    };
    sink.send(message)
        .await
        .map_err(|e| SpdyError::Io(std::io::Error::other(e)))
}

/// Ends the conversation as clients expect it: a normal closure, answered by the client.
async fn farewell<C>(
    mut sink: SplitSink<WebSocketStream<C>, Message>,
    mut source: SplitStream<WebSocketStream<C>>,
) where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let frame = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    if sink.send(Message::Close(Some(frame))).await.is_ok() {
        let answered = async { while let Some(Ok(_)) = source.next().await {} };
        let _ = tokio::time::timeout(Duration::from_secs(5), answered).await;
    }
}

/// SPDY carried in binary messages: unwraps both ways.
///
/// # Errors
/// When a connection breaks.
pub async fn tunnel<C, U>(socket: WebSocketStream<C>, upstream: U) -> Result<(), SpdyError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite,
{
    let (mut sink, mut source) = socket.split();
    let (mut read, mut write) = tokio::io::split(upstream);
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    loop {
        tokio::select! {
            got = read.read_buf(&mut buffer) => {
                if got? == 0 {
                    break;
                }
                let message = Message::Binary(buffer.split().freeze());
                sink.send(message).await.map_err(|e| SpdyError::Io(std::io::Error::other(e)))?;
            }
            message = source.next() => match message {
                Some(Ok(Message::Binary(bytes))) => write.write_all(&bytes).await?,
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
        }
    }
    farewell(sink, source).await;
    Ok(())
}

#[cfg(test)]
mod tests;
