//! One server, from start to 100,000 objects.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rkind_tests::http1::{Connection, NAME, Template, VALUE};
use rkind_tests::servers::{self, Peer, Running, Target};
use rkind_tests::watches::Watches;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Options;
use crate::kernel;
use crate::load::{self, Outcome, Until, quantile};

/// Bytes of a pod as a client sends it.
const POD_BYTES: usize = 2048;
/// Pods that are listed.
const LISTED: u64 = 10_000;
const CLIENTS: [usize; 3] = [1, 16, 256];
const WATCHERS: usize = 1000;
const DEFINITIONS: usize = 30;
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Everything measured of one server.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) name: &'static str,
    pub(crate) ready_ms: f64,
    /// From the creation of a CustomResourceDefinition to its first good list.
    pub(crate) definition_p50_ms: f64,
    pub(crate) definition_max_ms: f64,
    /// Resident KiB by number of objects.
    pub(crate) memory: Vec<(u64, u64)>,
    /// By number of clients.
    pub(crate) creates: Vec<(usize, Outcome)>,
    pub(crate) updates: Vec<(usize, Outcome)>,
    /// Creates at half of what 16 clients reached.
    pub(crate) half_load: Outcome,
    /// Creates at [`STEADY`].
    pub(crate) steady: Outcome,
    pub(crate) gets: Outcome,
    pub(crate) list_json: Outcome,
    pub(crate) list_protobuf: Outcome,
    pub(crate) fan_out_p50_ms: f64,
    pub(crate) fan_out_p99_ms: f64,
    /// CPU time of the server's processes for one write seen by all watchers, in milliseconds.
    pub(crate) fan_out_cpu_ms: f64,
    /// What of it is the kernel's for an event of that length, whoever sends it.
    pub(crate) fan_out_kernel_ms: f64,
}

/// Creates per second that any of the servers answers with ease.
pub(crate) const STEADY: f64 = 150.0;

fn note(text: &str) {
    eprintln!("    {text}");
}

/// A pod of [`POD_BYTES`] with a name and a value that changes.
fn pod() -> String {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("pod-{NAME}"),
        "labels": {"app": "bench", "shard": "7"},
        "annotations": {"value": VALUE, "padding": ""}},
        "spec": {"containers": [
            {"name": "main", "image": "registry.example/bench/main:1.2.3", "ports": [{"name": "http", "containerPort": 8080}],
             "env": [{"name": "MODE", "value": "bench"}, {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
             "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
             "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5}},
            {"name": "side", "image": "registry.example/bench/side:4.5.6", "args": ["--listen", ":9090"]}],
          "volumes": [{"name": "scratch", "emptyDir": {}}]}});
    let length = pod.to_string().len();
    pod["metadata"]["annotations"]["padding"] = "x".repeat(POD_BYTES.saturating_sub(length)).into();
    pod.to_string()
}

fn pods(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

fn create(target: &Target, namespace: &str) -> Template {
    Template::new(target, "POST", &pods(namespace), JSON, Some(&pod()))
}

/// Overwrites pods 0 to `count`, in turns. `spec` is what the server made of a pod's: a pod's spec
/// may hardly change.
fn update(target: &Target, namespace: &str, count: u64, spec: &Value) -> Template {
    let name = format!("pod-{NAME}");
    let body = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec, "metadata": {"name": name,
        "labels": {"app": "bench"}, "annotations": {"value": VALUE, "padding": "x".repeat(512)}}});
    let path = format!("{}/{name}", pods(namespace));
    let mut template = Template::new(target, "PUT", &path, JSON, Some(&body.to_string()));
    template.count = count;
    template
}

fn read(target: &Target, path: &str, accept: &str) -> Template {
    Template::new(target, "GET", path, accept, None)
}

async fn namespace(target: &Target, name: &str) -> Result<()> {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string();
    let made = Template::new(target, "POST", "/api/v1/namespaces", JSON, Some(&body));
    let (code, _) = Connection::open(target).await?.read(&made).await?;
    ensure!(code == 201, "namespace {name}: {code}");
    Ok(())
}

/// How long custom resources take from the creation of their definition to their first list, sorted.
async fn definitions(target: &Target) -> Result<Vec<Duration>> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let mut connection = Connection::open(target).await?;
    let mut took = Vec::new();
    for at in 0..DEFINITIONS {
        let plural = format!("things{at}");
        let body = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.bench.example")},
            "spec": {"group": "bench.example", "scope": "Namespaced",
                "names": {"plural": plural, "singular": format!("thing{at}"), "kind": format!("Thing{at}")},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": {"type": "object", "properties": {
                        "size": {"type": "integer"}, "text": {"type": "string"}}}}}}}]}});
        let made = Template::new(target, "POST", path, JSON, Some(&body.to_string()));
        let list = read(target, &format!("/apis/bench.example/v1/{plural}"), JSON);
        let began = Instant::now();
        let (code, _) = connection.read(&made).await?;
        ensure!(code == 201, "definition {plural}: {code}");
        while connection.read(&list).await?.0 != 200 {
            ensure!(began.elapsed() < PATIENCE, "{plural} is not served");
        }
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok(took)
}

/// Latencies from a write to its sight by every watcher, the server's CPU time per write, and the object's
/// length.
async fn fan_out(running: &Running) -> Result<(Vec<Duration>, f64, usize)> {
    const WRITES: u64 = 200;
    let target = &running.target;
    namespace(target, "fan").await?;
    let path = "/api/v1/namespaces/fan/configmaps";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen"},
            "data": {"number": format!("is-{VALUE}"), "padding": "x".repeat(1024)}})
    .to_string();
    let mut writer = Connection::open(target).await?;
    let made = Template::new(target, "POST", path, JSON, Some(&map));
    ensure!(writer.read(&made).await?.0 == 201, "no map to watch");
    let watch = format!("{path}?watch=1&resourceVersion=0");
    let mut watches = Watches::open(target, WATCHERS, &watch, "\"number\":\"is-").await?;
    watches.take(0, WATCHERS, Instant::now()).await?;
    let change = Template::new(target, "PUT", &format!("{path}/seen"), JSON, Some(&map));
    let mut latencies = Vec::new();
    let cpu = running.cpu();
    for number in 1..=WRITES {
        let sent = Instant::now();
        let (code, _) = writer.call(&change, number).await?;
        ensure!(code == 200, "write {number}: {code}");
        latencies.extend(watches.take(number, WATCHERS, sent).await?);
    }
    let cpu = running.cpu() - cpu;
    latencies.sort_unstable();
    let (_, seen) = writer.read(&read(target, &format!("{path}/seen"), JSON)).await?;
    Ok((latencies, cpu.as_secs_f64() * 1e3 / WRITES as f64, seen.len()))
}

/// Measures one server.
pub(crate) async fn all(options: &Options, peer: Option<&Peer>) -> Result<Report> {
    let running = match peer {
        Some(peer) => servers::upstream(&options.folder, peer, &[]).await?,
        None => servers::rkind(&options.folder, &options.rkind, &[]).await?,
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
    load::closed(&running, 32, Until::Calls(LISTED), create(target, "listed")).await?;
    total += LISTED;
    memory.push((total, running.resident_kib()));
    note("gets and lists");
    let one = format!("{}/pod-0000007", pods("listed"));
    let gets = load::closed(&running, 16, elapsed, read(target, &one, JSON)).await?;
    let many = pods("listed");
    let list_json = load::closed(&running, 1, elapsed, read(target, &many, JSON)).await?;
    let list_protobuf = load::closed(&running, 1, elapsed, read(target, &many, PROTOBUF)).await?;

    note("watches");
    let (seen, fan_out_cpu_ms, length) = fan_out(&running).await?;
    let fan_out_kernel_ms = kernel::fan_out(WATCHERS, length)?.as_secs_f64() * 1e3;

    let (mut creates, mut updates) = (Vec::new(), Vec::new());
    for clients in CLIENTS {
        note(&format!("creates and updates by {clients} clients"));
        let name = format!("by-{clients}");
        namespace(target, &name).await?;
        let made = load::closed(&running, clients, elapsed, create(target, &name)).await?;
        let count = (made.per_second * options.length.as_secs_f64() * 0.9) as u64;
        total += count;
        creates.push((clients, made));
        let first = read(target, &format!("{}/pod-0000000", pods(&name)), JSON);
        let (_, made) = Connection::open(target).await?.read(&first).await?;
        let made: Value = serde_json::from_slice(&made)?;
        let change = update(target, &name, count.clamp(1, 1000), &made["spec"]);
        updates.push((clients, load::closed(&running, clients, elapsed, change).await?));
    }
    note("definitions");
    let defined = definitions(target).await?;
    note("half load");
    namespace(target, "half").await?;
    let rate = creates
        .iter()
        .find(|(clients, _)| *clients == 16)
        .map_or(100.0, |(_, o)| o.per_second);
    let half_load = load::open(&running, rate / 2.0, options.length, create(target, "half")).await?;
    note("steady load");
    namespace(target, "steady").await?;
    let steady = load::open(&running, STEADY, options.length, create(target, "steady")).await?;
    total += ((half_load.per_second + steady.per_second) * options.length.as_secs_f64()) as u64;
    if total < options.large {
        note(&format!("{} pods", options.large));
        namespace(target, "many").await?;
        let rest = Until::Calls(options.large - total);
        load::closed(&running, 32, rest, create(target, "many")).await?;
        total = options.large;
    }
    memory.push((total, running.resident_kib()));
    Ok(Report {
        name: running.name,
        ready_ms: running.ready.as_secs_f64() * 1e3,
        definition_p50_ms: quantile(&defined, 0.5),
        definition_max_ms: quantile(&defined, 1.0),
        memory,
        creates,
        updates,
        half_load,
        steady,
        gets,
        list_json,
        list_protobuf,
        fan_out_p50_ms: quantile(&seen, 0.5),
        fan_out_p99_ms: quantile(&seen, 0.99),
        fan_out_cpu_ms,
        fan_out_kernel_ms,
    })
}
