//! The runtime's streaming server: one SPDY/3.1 connection per exec, attach or port-forward.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Most bytes of the answer's head.
const MAX_HEAD: usize = 16 * 1024;

/// An upgraded connection and the head of the answer that upgraded it.
pub(super) struct Upstream {
    pub(super) stream: TcpStream,
    /// Header names (as sent) and values.
    pub(super) headers: Vec<(String, String)>,
}

/// Asks the server at `url` to speak SPDY/3.1 with one of the given stream protocols.
pub(super) async fn connect(url: &str, method: &str, protocols: &[String]) -> io::Result<Upstream> {
    let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let uri: http::Uri = url
        .parse()
        .map_err(|e| bad(format!("the runtime's streaming URL {url:?}: {e}")))?;
    let authority = uri
        .authority()
        .map(ToString::to_string)
        .ok_or_else(|| bad(format!("no host in {url:?}")))?;
    let mut stream = TcpStream::connect(&authority).await?;
    stream.set_nodelay(true)?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n"
    );
    for protocol in protocols {
        head.push_str(&format!("X-Stream-Protocol-Version: {protocol}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    // Byte by byte up to the empty line: what follows belongs to SPDY.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
        if answer.len() > MAX_HEAD {
            return Err(bad(
                "the runtime's streaming server answers with too long a head".into()
            ));
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    let mut lines = text.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("101") {
        return Err(bad(format!("the runtime's streaming server refuses: {status}")));
    }
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_string(), value.trim().to_string()))
        .collect();
    Ok(Upstream { stream, headers })
}
