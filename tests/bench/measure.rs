//! One server, from start to 100,000 objects.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Options;
use crate::load::{self, Call, Connection, Outcome, Script, Until, Watches, quantile};
use crate::servers::{self, Running, Target};

/// Bytes of a pod as a client sends it.
const POD_BYTES: usize = 2048;
/// Pods that are listed.
const LISTED: u64 = 10_000;
const CLIENTS: [usize; 3] = [1, 16, 256];
const WATCHERS: usize = 1000;
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Everything measured of one server.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) name: &'static str,
    pub(crate) ready_ms: f64,
    /// Resident KiB by number of objects.
    pub(crate) memory: Vec<(u64, u64)>,
    /// By number of clients.
    pub(crate) creates: Vec<(usize, Outcome)>,
    pub(crate) updates: Vec<(usize, Outcome)>,
    /// Creates at half of what 16 clients reached.
    pub(crate) half_load: Outcome,
    pub(crate) gets: Outcome,
    pub(crate) list_json: Outcome,
    pub(crate) list_protobuf: Outcome,
    pub(crate) fan_out_p50_ms: f64,
    pub(crate) fan_out_p99_ms: f64,
    /// CPU time of the server's processes for one write seen by all watchers, in milliseconds.
    pub(crate) fan_out_cpu_ms: f64,
}

fn note(text: &str) {
    eprintln!("    {text}");
}

/// A pod of [`POD_BYTES`] with a name and a value that changes.
fn pod(name: &str, value: u64) -> Bytes {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name,
        "labels": {"app": "bench", "shard": (value % 16).to_string()},
        "annotations": {"value": value.to_string(), "padding": ""}},
        "spec": {"containers": [
            {"name": "main", "image": "registry.example/bench/main:1.2.3", "ports": [{"name": "http", "containerPort": 8080}],
             "env": [{"name": "MODE", "value": "bench"}, {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
             "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
             "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5}},
            {"name": "side", "image": "registry.example/bench/side:4.5.6", "args": ["--listen", ":9090"]}],
          "volumes": [{"name": "scratch", "emptyDir": {}}]}});
    let length = pod.to_string().len();
    pod["metadata"]["annotations"]["padding"] = "x".repeat(POD_BYTES.saturating_sub(length)).into();
    pod.to_string().into()
}

fn pods(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

fn create(namespace: &str) -> Script {
    let path = pods(namespace);
    Arc::new(move |number| Call {
        method: "POST",
        path: path.clone(),
        body: Some(pod(&format!("pod-{number:07}"), number)),
        accept: JSON,
    })
}

/// Overwrites pods 0 to `count`, in turns. `spec` is what the server made of a pod's: a pod's spec
/// may hardly change.
fn update(namespace: &str, count: u64, spec: &Value) -> Script {
    let path = pods(namespace);
    let spec = spec.clone();
    Arc::new(move |number| {
        let name = format!("pod-{:07}", number % count);
        let body = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec, "metadata": {"name": name,
            "labels": {"app": "bench"}, "annotations": {"value": number.to_string(), "padding": "x".repeat(512)}}});
        Call {
            method: "PUT",
            path: format!("{path}/{name}"),
            body: Some(body.to_string().into()),
            accept: JSON,
        }
    })
}

fn read(path: String, accept: &'static str) -> Script {
    Arc::new(move |_| Call {
        method: "GET",
        path: path.clone(),
        body: None,
        accept,
    })
}

async fn namespace(target: &Target, name: &str) -> Result<()> {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string();
    let mut connection = Connection::open(target).await?;
    let (code, _) = connection
        .send("POST", "/api/v1/namespaces", Some((JSON, body.into())), JSON)
        .await?;
    ensure!(code == 201, "namespace {name}: {code}");
    Ok(())
}

/// Latencies from a write to its sight by every watcher, and the server's CPU time per write.
async fn fan_out(running: &Running) -> Result<(Vec<Duration>, f64)> {
    const WRITES: u64 = 100;
    let target = &running.target;
    namespace(target, "fan").await?;
    let path = "/api/v1/namespaces/fan/configmaps";
    let map = |number: u64| -> Bytes {
        let padding = "x".repeat(1024);
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen"},
            "data": {"number": format!("is-{number}"), "padding": padding}})
        .to_string()
        .into()
    };
    let mut writer = Connection::open(target).await?;
    writer.send("POST", path, Some((JSON, map(0))), JSON).await?;
    let watch = format!("{path}?watch=1&resourceVersion=0");
    let mut watches = Watches::open(target, WATCHERS, &watch, "\"number\":\"is-").await?;
    watches.take(0, WATCHERS, Instant::now()).await?;
    let mut latencies = Vec::new();
    let cpu = running.cpu();
    for number in 1..=WRITES {
        let sent = Instant::now();
        let path = format!("{path}/seen");
        let (code, _) = writer.send("PUT", &path, Some((JSON, map(number))), JSON).await?;
        ensure!(code == 200, "write {number}: {code}");
        latencies.extend(watches.take(number, WATCHERS, sent).await?);
    }
    let cpu = running.cpu() - cpu;
    latencies.sort_unstable();
    Ok((latencies, cpu.as_secs_f64() * 1e3 / WRITES as f64))
}

/// Measures one server.
pub(crate) async fn all(options: &Options, upstream: bool) -> Result<Report> {
    let running = if upstream {
        servers::upstream(options).await?
    } else {
        servers::rkind(options).await?
    };
    let target = &running.target;
    eprintln!("==> {}", running.name);
    note(&format!(
        "ready after {:.0} ms",
        running.ready.as_secs_f64() * 1e3
    ));
    let mut memory = vec![(0, running.resident_kib())];
    let mut total = 0;
    let elapsed = Until::Elapsed(options.length);

    namespace(target, "listed").await?;
    note(&format!("{LISTED} pods"));
    load::closed(target, 32, 0, Until::Calls(LISTED), &create("listed")).await?;
    total += LISTED;
    memory.push((total, running.resident_kib()));
    note("gets and lists");
    let one = format!("{}/pod-0000007", pods("listed"));
    let gets = load::closed(target, 16, 0, elapsed, &read(one, JSON)).await?;
    let list_json = load::closed(target, 1, 0, elapsed, &read(pods("listed"), JSON)).await?;
    let list_protobuf = load::closed(target, 1, 0, elapsed, &read(pods("listed"), PROTOBUF)).await?;

    note("watches");
    let (seen, fan_out_cpu_ms) = fan_out(&running).await?;

    let (mut creates, mut updates) = (Vec::new(), Vec::new());
    for clients in CLIENTS {
        note(&format!("creates and updates by {clients} clients"));
        let name = format!("by-{clients}");
        namespace(target, &name).await?;
        let made = load::closed(target, clients, 0, elapsed, &create(&name)).await?;
        let count = (made.per_second * options.length.as_secs_f64() * 0.9) as u64;
        total += count;
        creates.push((clients, made));
        let (_, made) = Connection::open(target)
            .await?
            .read(&format!("{}/pod-0000000", pods(&name)), JSON)
            .await?;
        let made: Value = serde_json::from_slice(&made)?;
        let script = update(&name, count.clamp(1, 1000), &made["spec"]);
        let changed = load::closed(target, clients, 0, elapsed, &script).await?;
        updates.push((clients, changed));
    }
    note("half load");
    namespace(target, "half").await?;
    let rate = creates
        .iter()
        .find(|(clients, _)| *clients == 16)
        .map_or(100.0, |(_, o)| o.per_second);
    let half_load = load::open(target, rate / 2.0, options.length, 0, &create("half")).await?;
    total += (half_load.per_second * options.length.as_secs_f64()) as u64;
    if total < options.large {
        note(&format!("{} pods", options.large));
        namespace(target, "many").await?;
        load::closed(
            target,
            32,
            0,
            Until::Calls(options.large - total),
            &create("many"),
        )
        .await?;
        total = options.large;
    }
    memory.push((total, running.resident_kib()));
    Ok(Report {
        name: running.name,
        ready_ms: running.ready.as_secs_f64() * 1e3,
        memory,
        creates,
        updates,
        half_load,
        gets,
        list_json,
        list_protobuf,
        fan_out_p50_ms: quantile(&seen, 0.5),
        fan_out_p99_ms: quantile(&seen, 0.99),
        fan_out_cpu_ms,
    })
}
