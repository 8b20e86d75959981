//! Watches of one path, many to an HTTP/2 connection as client-go has them.
//!
//! Frames are read as they come (RFC 9113): of an event only the number behind a mark is looked for.
//! A full HTTP/2 client would take more of the machine than the server that is measured.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;

use crate::http1::stream;
use crate::servers::Target;

const PER_CONNECTION: usize = 50;
const ROOM: usize = 256 * 1024;
/// So much may be sent to a stream or connection before it is allowed more: all that ever is.
const WINDOW: u32 = 0x7fff_ffff;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
/// END_STREAM and END_HEADERS.
const WHOLE: u8 = 5;
/// `:status: 200` in HPACK's static table.
const OK: u8 = 0x88;

type Seen = (u64, Instant);

/// The watches; dropping them ends them.
pub struct Watches {
    seen: mpsc::UnboundedReceiver<Vec<Seen>>,
    tasks: Vec<tokio::task::JoinHandle<Result<()>>>,
}

impl Drop for Watches {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Watches {
    /// Opens `count` watches; an event carries its number behind `mark`.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn open(target: &Target, count: usize, path: &str, mark: &'static str) -> Result<Watches> {
        let (report, seen) = mpsc::unbounded_channel();
        let mut tasks = Vec::new();
        for _ in 0..count.div_ceil(PER_CONNECTION) {
            let mut stream = stream(target, b"h2").await?;
            let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            // INITIAL_WINDOW_SIZE.
            let window = [&[0, 4][..], &WINDOW.to_be_bytes()].concat();
            frame(&mut out, SETTINGS, 0, 0, &window);
            frame(&mut out, WINDOW_UPDATE, 0, 0, &(WINDOW - 65_535).to_be_bytes());
            let head = head(target, path);
            for at in 0..PER_CONNECTION as u32 {
                frame(&mut out, HEADERS, WHOLE, 2 * at + 1, &head);
            }
            stream.write_all(&out).await?;
            stream.flush().await?;
            let reader = Reader {
                stream,
                mark,
                cut: HashMap::new(),
            };
            tasks.push(tokio::spawn(reader.run(report.clone())));
        }
        Ok(Watches { seen, tasks })
    }

    /// Takes the reports of `count` watchers about event `number`, sent at `sent`: how long each took.
    ///
    /// # Errors
    /// When one does not see it within half a minute, or the watches ended.
    pub async fn take(&mut self, number: u64, count: usize, sent: Instant) -> Result<Vec<Duration>> {
        let mut latencies = Vec::with_capacity(count);
        while latencies.len() < count {
            let next = tokio::time::timeout(Duration::from_secs(30), self.seen.recv()).await;
            let seen = next
                .with_context(|| format!("{} of {count} watchers saw the event", latencies.len()))?
                .context("the watches ended")?;
            let fresh = seen.into_iter().filter(|(seen, _)| *seen == number);
            latencies.extend(fresh.map(|(_, at)| at.duration_since(sent)));
        }
        Ok(latencies)
    }
}

/// Appends a frame.
fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A request's header in HPACK, without its table: each field stands there by itself.
fn head(target: &Target, path: &str) -> Vec<u8> {
    fn number(out: &mut Vec<u8>, mut left: usize, most: usize) {
        // The first byte holds up to `most`, the rest goes into bytes of seven bits.
        if left < most {
            out.push(left as u8);
            return;
        }
        out.push(most as u8);
        left -= most;
        while left >= 128 {
            out.push(left as u8 | 128);
            left -= left % 128;
            left /= 128;
        }
        out.push(left as u8);
    }
    // `:method: GET`, `:scheme: https`.
    let mut out = vec![0x82, 0x87];
    let authority = target.address.to_string();
    let bearer = target.token.as_ref().map(|token| format!("Bearer {token}"));
    let fields = [
        (4, Some(path)),
        (1, Some(authority.as_str())),
        (19, Some("application/json")),
        (58, Some("bench")),
        (23, bearer.as_deref()),
    ];
    for (name, value) in fields {
        let Some(value) = value else { continue };
        number(&mut out, name, 15);
        number(&mut out, value.len(), 127);
        out.extend_from_slice(value.as_bytes());
    }
    out
}

struct Reader {
    stream: TlsStream<TcpStream>,
    mark: &'static str,
    /// By stream, the beginning of an event whose end has not come yet.
    cut: HashMap<u32, Vec<u8>>,
}

impl Reader {
    async fn run(mut self, report: mpsc::UnboundedSender<Vec<Seen>>) -> Result<()> {
        let mut held: Vec<u8> = Vec::with_capacity(ROOM);
        loop {
            if self.stream.read_buf(&mut held).await? == 0 {
                return Ok(());
            }
            let now = Instant::now();
            let (mut at, mut seen, mut answer) = (0, Vec::new(), Vec::new());
            while let Some(head) = held[at..].first_chunk::<9>() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                let (kind, flags) = (head[3], head[4]);
                let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                let Some(payload) = held.get(at + 9..at + 9 + length) else {
                    break;
                };
                match kind {
                    DATA => seen.extend(self.data(stream, payload).map(|number| (number, now))),
                    HEADERS => ensure!(payload.first() == Some(&OK), "a watch was refused"),
                    SETTINGS if flags & ACK == 0 => frame(&mut answer, SETTINGS, ACK, 0, &[]),
                    PING if flags & ACK == 0 => frame(&mut answer, PING, ACK, 0, payload),
                    SETTINGS | PING | WINDOW_UPDATE => {}
                    other => anyhow::bail!("frame of type {other} on stream {stream}"),
                }
                at += 9 + length;
            }
            held.drain(..at);
            held.reserve(ROOM.saturating_sub(held.len()));
            if !answer.is_empty() {
                self.stream.write_all(&answer).await?;
                self.stream.flush().await?;
            }
            if !seen.is_empty() && report.send(seen).is_err() {
                return Ok(());
            }
        }
    }

    /// The numbers of the events that end in `payload`.
    fn data(&mut self, stream: u32, payload: &[u8]) -> impl Iterator<Item = u64> {
        let cut = self.cut.get(&stream).is_some_and(|held| !held.is_empty());
        let mut numbers = Vec::new();
        if !cut && payload.ends_with(b"\n") {
            numbers.extend(
                payload
                    .split(|b| *b == b'\n')
                    .filter_map(|line| numbered(line, self.mark)),
            );
        } else {
            let held = self.cut.entry(stream).or_default();
            held.extend_from_slice(payload);
            let end = held.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            numbers.extend(
                held[..end]
                    .split(|b| *b == b'\n')
                    .filter_map(|line| numbered(line, self.mark)),
            );
            held.drain(..end);
        }
        numbers.into_iter()
    }
}

/// The number behind a mark.
fn numbered(line: &[u8], mark: &str) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?;
    let rest = &line[line.find(mark)? + mark.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
