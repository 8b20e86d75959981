//! Load: so many clients, one connection each, closed or open loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use rkind_tests::http1::{Connection, Template};
use rkind_tests::servers::{Running, process_cpu};

/// Latencies of many requests, how long they took together, and what they cost.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Bytes of the answers' bodies per second.
    pub(crate) bytes_per_second: f64,
    /// CPU time of the server's processes per request, in microseconds.
    pub(crate) server_us: f64,
    /// CPU time of the clients per request, in microseconds.
    pub(crate) client_us: f64,
}

/// A quantile of sorted latencies, in milliseconds.
pub(crate) fn quantile(sorted: &[Duration], q: f64) -> f64 {
    let at = ((sorted.len() as f64 * q) as usize).min(sorted.len().saturating_sub(1));
    sorted
        .get(at)
        .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
}

/// When clients stop.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    Elapsed(Duration),
    Calls(u64),
}

/// When a call is due.
#[derive(Clone, Copy)]
enum Pace {
    /// When the client's last one is answered.
    Closed,
    /// So many per second, whatever the answers do.
    Open(f64),
}

/// So many clients, each sending when its last request is answered. Numbers start at 0.
pub(crate) async fn closed(
    running: &Running,
    clients: usize,
    until: Until,
    template: Template,
) -> Result<Outcome> {
    run(running, clients, Pace::Closed, until, template).await
}

/// Requests due at a fixed rate over many connections; latency counts from when one was due.
pub(crate) async fn open(
    running: &Running,
    rate: f64,
    length: Duration,
    template: Template,
) -> Result<Outcome> {
    const CONNECTIONS: usize = 64;
    let until = Until::Calls((rate * length.as_secs_f64()) as u64);
    run(running, CONNECTIONS, Pace::Open(rate), until, template).await
}

async fn run(
    running: &Running,
    clients: usize,
    pace: Pace,
    until: Until,
    template: Template,
) -> Result<Outcome> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(Connection::open(&running.target).await?);
    }
    let next = Arc::new(AtomicU64::new(0));
    let template = Arc::new(template);
    let (server, client) = (running.cpu(), process_cpu(std::process::id()));
    let began = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|connection| {
            let work = client_loop(connection, next.clone(), template.clone(), began, pace, until);
            tokio::spawn(work)
        })
        .collect();
    let mut latencies = Vec::new();
    let mut bytes = 0;
    for task in tasks {
        let (some, length) = task.await??;
        latencies.extend(some);
        bytes += length;
    }
    let took = began.elapsed();
    let each = |spent: Duration| spent.as_secs_f64() * 1e6 / latencies.len() as f64;
    let (server_us, client_us) = (
        each(running.cpu() - server),
        each(process_cpu(std::process::id()) - client),
    );
    latencies.sort_unstable();
    Ok(Outcome {
        per_second: latencies.len() as f64 / took.as_secs_f64(),
        p50_ms: quantile(&latencies, 0.5),
        p99_ms: quantile(&latencies, 0.99),
        bytes_per_second: bytes as f64 / took.as_secs_f64(),
        server_us,
        client_us,
    })
}

async fn client_loop(
    mut connection: Connection,
    next: Arc<AtomicU64>,
    template: Arc<Template>,
    began: Instant,
    pace: Pace,
    until: Until,
) -> Result<(Vec<Duration>, u64)> {
    let mut latencies = Vec::new();
    let mut bytes = 0;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let done = match until {
            Until::Elapsed(length) => began.elapsed() >= length,
            Until::Calls(count) => number >= count,
        };
        if done {
            return Ok((latencies, bytes));
        }
        let due = match pace {
            Pace::Closed => Instant::now(),
            Pace::Open(rate) => {
                let due = began + Duration::from_secs_f64(number as f64 / rate);
                tokio::time::sleep_until(due.into()).await;
                due
            }
        };
        let (code, length) = connection.call(&template, number).await?;
        ensure!((200..300).contains(&code), "call {number} was answered by {code}");
        latencies.push(due.elapsed());
        bytes += length as u64;
    }
}
