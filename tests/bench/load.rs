//! Clients: one connection each, closed or open loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::servers::Target;

/// A connection in HTTP/1.1: one request at a time.
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    token: Option<String>,
}

async fn stream(target: &Target, protocol: &[u8]) -> Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(target.address).await?;
    tcp.set_nodelay(true)?;
    let mut tls = target.tls.clone();
    tls.alpn_protocols = vec![protocol.to_vec()];
    let name = rustls::pki_types::ServerName::IpAddress(target.address.ip().into());
    Ok(TlsConnector::from(Arc::new(tls)).connect(name, tcp).await?)
}

fn request(
    method: &str,
    path: &str,
    body: Option<(&str, Bytes)>,
    accept: &str,
    token: Option<&str>,
) -> Result<Request<Full<Bytes>>> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("accept", accept)
        .header("user-agent", "bench");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let bytes = match body {
        Some((kind, bytes)) => {
            request = request.header("content-type", kind);
            bytes
        }
        None => Bytes::new(),
    };
    Ok(request.body(Full::new(bytes))?)
}

impl Connection {
    pub(crate) async fn open(target: &Target) -> Result<Connection> {
        let io = TokioIo::new(stream(target, b"http/1.1").await?);
        let (sender, connection) = http1::handshake(io).await?;
        tokio::spawn(connection);
        Ok(Connection {
            sender,
            token: target.token.clone(),
        })
    }

    /// Sends a request; its code and the length of its body in bytes.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Option<(&str, Bytes)>,
        accept: &str,
    ) -> Result<(u16, usize)> {
        let request = request(method, path, body, accept, self.token.as_deref())?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let code = response.status().as_u16();
        let mut body = response.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok((code, length))
    }
}

impl Connection {
    /// Gets a path; its code and body.
    pub(crate) async fn read(&mut self, path: &str, accept: &str) -> Result<(u16, Bytes)> {
        let request = request("GET", path, None, accept, self.token.as_deref())?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let code = response.status().as_u16();
        Ok((code, response.into_body().collect().await?.to_bytes()))
    }
}

/// Latencies of many requests, and how long they took together.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Bytes of the answers' bodies per second.
    pub(crate) bytes_per_second: f64,
}

fn outcome(mut latencies: Vec<Duration>, bytes: u64, took: Duration) -> Outcome {
    latencies.sort_unstable();
    Outcome {
        per_second: latencies.len() as f64 / took.as_secs_f64(),
        p50_ms: quantile(&latencies, 0.5),
        p99_ms: quantile(&latencies, 0.99),
        bytes_per_second: bytes as f64 / took.as_secs_f64(),
    }
}

/// A quantile of sorted latencies, in milliseconds.
pub(crate) fn quantile(sorted: &[Duration], q: f64) -> f64 {
    let at = ((sorted.len() as f64 * q) as usize).min(sorted.len().saturating_sub(1));
    sorted
        .get(at)
        .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
}

/// What a client sends: method, path, body and what it accepts.
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<Bytes>,
    pub(crate) accept: &'static str,
}

/// Makes the call with a number; numbers are never given twice.
pub(crate) type Script = Arc<dyn Fn(u64) -> Call + Send + Sync>;

/// When clients stop.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    Elapsed(Duration),
    Calls(u64),
}

async fn call(connection: &mut Connection, call: Call) -> Result<usize> {
    let body = call.body.map(|bytes| ("application/json", bytes));
    let (code, length) = connection
        .send(call.method, &call.path, body, call.accept)
        .await?;
    ensure!(
        (200..300).contains(&code),
        "{} {}: {code}",
        call.method,
        call.path
    );
    Ok(length)
}

/// So many clients, each sending when its last request is answered. Numbers start at `first`.
pub(crate) async fn closed(
    target: &Target,
    clients: usize,
    first: u64,
    until: Until,
    script: &Script,
) -> Result<Outcome> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(Connection::open(target).await?);
    }
    let next = Arc::new(AtomicU64::new(first));
    let began = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            let (next, script) = (next.clone(), script.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut bytes = 0;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let done = match until {
                        Until::Elapsed(length) => began.elapsed() >= length,
                        Until::Calls(count) => number - first >= count,
                    };
                    if done {
                        return Ok::<_, anyhow::Error>((latencies, bytes));
                    }
                    let made = script(number);
                    let sent = Instant::now();
                    bytes += call(&mut connection, made).await? as u64;
                    latencies.push(sent.elapsed());
                }
            })
        })
        .collect();
    let mut latencies = Vec::new();
    let mut bytes = 0;
    for task in tasks {
        let (some, length) = task.await??;
        latencies.extend(some);
        bytes += length;
    }
    Ok(outcome(latencies, bytes, began.elapsed()))
}

/// Requests due at a fixed rate over many connections; latency counts from when one was due.
pub(crate) async fn open(
    target: &Target,
    rate: f64,
    length: Duration,
    first: u64,
    script: &Script,
) -> Result<Outcome> {
    const CONNECTIONS: usize = 64;
    let count = (rate * length.as_secs_f64()) as u64;
    let next = Arc::new(AtomicU64::new(0));
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(target).await?);
    }
    let began = tokio::time::Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            let (next, script) = (next.clone(), script.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Ok::<_, anyhow::Error>(latencies);
                    }
                    let due = began + Duration::from_secs_f64(number as f64 / rate);
                    tokio::time::sleep_until(due).await;
                    call(&mut connection, script(first + number)).await?;
                    latencies.push(due.elapsed());
                }
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    Ok(outcome(latencies, 0, began.elapsed()))
}

/// Watches of one path, many to a connection as client-go has them.
pub(crate) struct Watches {
    /// When each watcher saw each event, by the event's number.
    seen: tokio::sync::mpsc::UnboundedReceiver<(u64, Instant)>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
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
    pub(crate) async fn open(
        target: &Target,
        count: usize,
        path: &str,
        mark: &'static str,
    ) -> Result<Watches> {
        const PER_CONNECTION: usize = 50;
        let (report, seen) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks = Vec::new();
        for _ in 0..count.div_ceil(PER_CONNECTION) {
            let io = TokioIo::new(stream(target, b"h2").await?);
            let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .handshake::<_, Full<Bytes>>(io)
                .await?;
            tasks.push(tokio::spawn(async move {
                let _ = connection.await;
            }));
            for _ in 0..PER_CONNECTION {
                let uri = format!("https://{}{path}", target.address);
                let mut watch = request("GET", &uri, None, "application/json", target.token.as_deref())?;
                watch.headers_mut().remove("host");
                sender.ready().await?;
                let response = sender.send_request(watch).await?;
                ensure!(response.status().is_success(), "watch: {}", response.status());
                let report = report.clone();
                tasks.push(tokio::spawn(async move {
                    let mut body = response.into_body();
                    let mut held: Vec<u8> = Vec::new();
                    while let Some(Ok(frame)) = body.frame().await {
                        let now = Instant::now();
                        let Some(data) = frame.data_ref() else { continue };
                        held.extend_from_slice(data);
                        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                            if let Some(number) = numbered(&held[..end], mark) {
                                let _ = report.send((number, now));
                            }
                            held.drain(..=end);
                        }
                    }
                }));
            }
        }
        Ok(Watches { seen, tasks })
    }

    /// Takes the reports of `count` watchers about event `number`, sent at `sent`.
    pub(crate) async fn take(&mut self, number: u64, count: usize, sent: Instant) -> Result<Vec<Duration>> {
        let mut latencies = Vec::with_capacity(count);
        while latencies.len() < count {
            let next = tokio::time::timeout(Duration::from_secs(30), self.seen.recv()).await;
            let (seen, at) = next
                .with_context(|| format!("{} of {count} watchers saw the event", latencies.len()))?
                .context("the watches ended")?;
            if seen == number {
                latencies.push(at.duration_since(sent));
            }
        }
        Ok(latencies)
    }
}

/// The number behind a mark.
fn numbered(line: &[u8], mark: &str) -> Option<u64> {
    let at = line
        .windows(mark.len())
        .position(|window| window == mark.as_bytes())?;
    let digits: Vec<u8> = line[at + mark.len()..]
        .iter()
        .copied()
        .take_while(u8::is_ascii_digit)
        .collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}
