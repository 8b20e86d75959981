//! Load: so many clients, one connection each, closed or open loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::sync::{Mutex, mpsc};

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

/// When calls are due, one after the other.
type Turns = Arc<Mutex<mpsc::UnboundedReceiver<Instant>>>;

/// Gives out turns at a fixed rate for as long as somebody takes them.
fn turns(rate: f64) -> Turns {
    let (give, turns) = mpsc::unbounded_channel();
    // The runtime's timer ticks in milliseconds, which is as long as an answer takes.
    std::thread::spawn(move || {
        let began = Instant::now();
        for number in 0_u64.. {
            let due = began + Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if give.send(due).is_err() {
                return;
            }
        }
    });
    Arc::new(Mutex::new(turns))
}

/// So many clients, each sending when its last request is answered. Numbers start at 0.
pub(crate) async fn closed(
    running: &Running,
    clients: usize,
    until: Until,
    template: Template,
) -> Result<Outcome> {
    run(running, clients, None, until, template).await
}

/// Requests due at a fixed rate over many connections; latency counts from when one was due.
pub(crate) async fn open(
    running: &Running,
    rate: f64,
    length: Duration,
    template: Template,
) -> Result<Outcome> {
    const CONNECTIONS: usize = 64;
    let count = (rate * length.as_secs_f64()) as u64;
    run(running, CONNECTIONS, Some(rate), Until::Calls(count), template).await
}

/// `rate`: how many calls are due per second; without it a client's next one is due when its last one
/// is answered.
async fn run(
    running: &Running,
    clients: usize,
    rate: Option<f64>,
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
    let turns = rate.map(turns);
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|connection| {
            let work = client_loop(
                connection,
                next.clone(),
                template.clone(),
                began,
                turns.clone(),
                until,
            );
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
    turns: Option<Turns>,
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
        let due = match &turns {
            None => Instant::now(),
            Some(turns) => {
                let due = turns.lock().await.recv().await;
                due.context("the turns ended early")?
            }
        };
        let (code, length) = connection.call(&template, number).await?;
        ensure!((200..300).contains(&code), "call {number} was answered by {code}");
        latencies.push(due.elapsed());
        bytes += length as u64;
    }
}
