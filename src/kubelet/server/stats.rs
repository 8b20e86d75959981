//! Statistics: `/stats/summary`, `/metrics`, `/metrics/resource`.
//!
//! <https://kubernetes.io/docs/reference/instrumentation/node-metrics/>

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use http::{Response, StatusCode};
use jiff::Timestamp;
use parking_lot::Mutex;
use rkind_cri::v1;
use serde_json::{Value, json};

use super::{Body, Refusal, full};
use crate::agent::Agent;
use crate::observed::keys;
use crate::pod::PodExt;

/// CPU time and memory at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sample {
    /// Nanoseconds since the epoch.
    at: i64,
    /// Core-nanoseconds since the beginning.
    cpu: u64,
    /// Core-nanoseconds per second, when it is known.
    rate: Option<u64>,
    /// Bytes.
    working_set: u64,
    usage: u64,
    rss: u64,
}

impl Sample {
    fn add(self, other: Self) -> Self {
        Self {
            at: self.at.max(other.at),
            cpu: self.cpu + other.cpu,
            rate: match (self.rate, other.rate) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b),
            },
            working_set: self.working_set + other.working_set,
            usage: self.usage + other.usage,
            rss: self.rss + other.rss,
        }
    }

    fn cpu_json(&self) -> Value {
        let mut value = json!({"time": time(self.at), "usageCoreNanoSeconds": self.cpu});
        if let Some(rate) = self.rate {
            value["usageNanoCores"] = rate.into();
        }
        value
    }

    fn memory_json(&self) -> Value {
        json!({"time": time(self.at), "usageBytes": self.usage, "workingSetBytes": self.working_set, "rssBytes": self.rss})
    }
}

fn nanoseconds() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

fn time(nanoseconds: i64) -> String {
    let seconds = Timestamp::from_second(nanoseconds / 1_000_000_000).unwrap_or_default();
    seconds.to_string()
}

struct Usage {
    namespace: String,
    pod: String,
    uid: String,
    container: String,
    sample: Sample,
    disk: u64,
    /// Nanoseconds since the epoch.
    started: i64,
}

/// Takes samples and remembers the last ones, to tell rates.
pub(super) struct Stats {
    cgroup_root: Option<PathBuf>,
    last: Mutex<HashMap<String, Sample>>,
    /// When the agent started, nanoseconds since the epoch.
    started: i64,
}

impl Stats {
    pub(super) fn new(cgroup_root: Option<PathBuf>) -> Self {
        Self {
            cgroup_root,
            last: Mutex::default(),
            started: nanoseconds(),
        }
    }

    /// Fills in the rate from the sample before.
    fn rated(&self, key: &str, mut sample: Sample) -> Sample {
        let mut last = self.last.lock();
        if let Some(before) = last.get(key) {
            let span = sample.at - before.at;
            if span > 0 && sample.cpu >= before.cpu {
                let rate = u128::from(sample.cpu - before.cpu) * 1_000_000_000 / span.unsigned_abs() as u128;
                sample.rate = sample.rate.or(u64::try_from(rate).ok());
            } else {
                sample.rate = sample.rate.or(before.rate);
            }
        }
        last.insert(key.to_string(), sample);
        sample
    }

    async fn containers(&self, agent: &Agent) -> Result<Vec<Usage>, Refusal> {
        let stats = agent
            .runtime
            .container_stats(None)
            .await
            .map_err(|e| Refusal::internal(e.rpc_message()))?;
        let listed = agent
            .runtime
            .list_containers(None)
            .await
            .map_err(|e| Refusal::internal(e.rpc_message()))?;
        let started: HashMap<String, i64> = listed.into_iter().map(|c| (c.id, c.created_at)).collect();
        let number = |value: &Option<v1::UInt64Value>| value.as_ref().map_or(0, |v| v.value);
        let mut found = Vec::new();
        for stat in stats {
            let Some(attributes) = stat.attributes else {
                continue;
            };
            let label = |key: &str| attributes.labels.get(key).cloned().unwrap_or_default();
            let (Some(cpu), Some(memory)) = (stat.cpu, stat.memory) else {
                continue;
            };
            let sample = Sample {
                at: cpu.timestamp,
                cpu: number(&cpu.usage_core_nano_seconds),
                rate: cpu.usage_nano_cores.as_ref().map(|v| v.value),
                working_set: number(&memory.working_set_bytes),
                usage: number(&memory.usage_bytes),
                rss: number(&memory.rss_bytes),
            };
            found.push(Usage {
                namespace: label(keys::POD_NAMESPACE),
                pod: label(keys::POD_NAME),
                uid: label(keys::POD_UID),
                container: label(keys::CONTAINER_NAME),
                sample: self.rated(&attributes.id, sample),
                started: started.get(&attributes.id).copied().unwrap_or(0),
                disk: stat.writable_layer.map_or(0, |l| number(&l.used_bytes)),
            });
        }
        Ok(found)
    }

    fn node(&self) -> Sample {
        let at = nanoseconds();
        let sample = self
            .cgroup_root
            .as_deref()
            .and_then(|root| read_cgroup(root, at))
            .unwrap_or_else(|| read_proc(at));
        self.rated("", sample)
    }

    pub(super) async fn summary(&self, agent: &Agent) -> Result<Response<Body>, Refusal> {
        let node = self.node();
        let mut pods: BTreeMap<String, Vec<Usage>> = BTreeMap::new();
        for usage in self.containers(agent).await? {
            pods.entry(usage.uid.clone()).or_default().push(usage);
        }
        let list: Vec<Value> = pods
            .into_values()
            .map(|containers| pod_summary(agent, &containers))
            .collect();
        let mut memory = node.memory_json();
        let total = u64::try_from(agent.machine.memory).unwrap_or(0);
        memory["availableBytes"] = total.saturating_sub(node.working_set).into();
        let body = json!({
            "node": {
                "nodeName": agent.options.node_name,
                "startTime": time(self.started),
                "cpu": node.cpu_json(),
                "memory": memory,
                "fs": file_system(&agent.options.root_dir, node.at),
            },
            "pods": list,
        });
        Ok(full(StatusCode::OK, "application/json", body.to_string()))
    }

    pub(super) async fn resource_metrics(&self, agent: &Agent) -> Result<Response<Body>, Refusal> {
        let containers = self.containers(agent).await?;
        Ok(full(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            resource_text(&containers, &self.node()),
        ))
    }

    pub(super) async fn agent_metrics(&self, agent: &Agent) -> Result<Response<Body>, Refusal> {
        let pods = agent.pods.list();
        let running = pods.iter().filter(|p| p.phase() == "Running").count();
        let mut text = String::new();
        head(
            &mut text,
            "kubelet_running_pods",
            "gauge",
            "Number of pods that have a running pod sandbox",
        );
        let _ = writeln!(text, "kubelet_running_pods {running}");
        head(
            &mut text,
            "kubelet_desired_pods",
            "gauge",
            "The number of pods the kubelet is being instructed to run",
        );
        let _ = writeln!(text, "kubelet_desired_pods {}", pods.len());
        head(
            &mut text,
            "kubelet_node_name",
            "gauge",
            "The node's name. The count is always 1.",
        );
        let _ = writeln!(
            text,
            "kubelet_node_name{{node=\"{}\"}} 1",
            agent.options.node_name
        );
        Ok(full(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            text,
        ))
    }
}

fn pod_summary(agent: &Agent, containers: &[Usage]) -> Value {
    let first = &containers[0];
    let total = containers
        .iter()
        .fold(Sample::default(), |sum, c| sum.add(c.sample));
    let pod = agent.pod(&first.uid);
    let started = pod
        .and_then(|p| p.status().start_time.as_ref().map(|t| t.0.to_string()))
        .unwrap_or_else(|| time(total.at));
    let list: Vec<Value> = containers
        .iter()
        .map(|c| {
            json!({
                "name": c.container,
                "startTime": if c.started > 0 { time(c.started) } else { started.clone() },
                "cpu": c.sample.cpu_json(),
                "memory": c.sample.memory_json(),
                "rootfs": {"time": time(c.sample.at), "usedBytes": c.disk},
            })
        })
        .collect();
    json!({
        "podRef": {"name": first.pod, "namespace": first.namespace, "uid": first.uid},
        "startTime": started,
        "containers": list,
        "cpu": total.cpu_json(),
        "memory": total.memory_json(),
    })
}

fn file_system(path: &Path, at: i64) -> Value {
    let Ok(stat) = nix::sys::statvfs::statvfs(path) else {
        return json!({});
    };
    let size = stat.fragment_size();
    let (total, free, available) = (stat.blocks(), stat.blocks_free(), stat.blocks_available());
    json!({
        "time": time(at),
        "capacityBytes": total * size,
        "availableBytes": available * size,
        "usedBytes": (total - free) * size,
        "inodes": stat.files(),
        "inodesFree": stat.files_free(),
    })
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} [STABLE] {help}\n# TYPE {name} {kind}");
}

fn resource_text(containers: &[Usage], node: &Sample) -> String {
    let mut text = String::new();
    let seconds = |s: &Sample| s.cpu as f64 / 1e9;
    let millis = |s: &Sample| s.at / 1_000_000;
    head(
        &mut text,
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the container in core-seconds",
    );
    for c in containers {
        let labels = format!(
            "container=\"{}\",namespace=\"{}\",pod=\"{}\"",
            c.container, c.namespace, c.pod
        );
        let _ = writeln!(
            text,
            "container_cpu_usage_seconds_total{{{labels}}} {} {}",
            seconds(&c.sample),
            millis(&c.sample)
        );
    }
    head(
        &mut text,
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set of the container in bytes",
    );
    for c in containers {
        let labels = format!(
            "container=\"{}\",namespace=\"{}\",pod=\"{}\"",
            c.container, c.namespace, c.pod
        );
        let _ = writeln!(
            text,
            "container_memory_working_set_bytes{{{labels}}} {} {}",
            c.sample.working_set,
            millis(&c.sample)
        );
    }
    head(
        &mut text,
        "container_start_time_seconds",
        "gauge",
        "Start time of the container since unix epoch in seconds",
    );
    for c in containers {
        let labels = format!(
            "container=\"{}\",namespace=\"{}\",pod=\"{}\"",
            c.container, c.namespace, c.pod
        );
        let _ = writeln!(
            text,
            "container_start_time_seconds{{{labels}}} {}",
            c.started as f64 / 1e9
        );
    }
    head(
        &mut text,
        "node_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the node in core-seconds",
    );
    let _ = writeln!(
        text,
        "node_cpu_usage_seconds_total {} {}",
        seconds(node),
        millis(node)
    );
    head(
        &mut text,
        "node_memory_working_set_bytes",
        "gauge",
        "Current working set of the node in bytes",
    );
    let _ = writeln!(
        text,
        "node_memory_working_set_bytes {} {}",
        node.working_set,
        millis(node)
    );
    let mut pods: BTreeMap<(&str, &str), Sample> = BTreeMap::new();
    for c in containers {
        let sum = pods.entry((&c.namespace, &c.pod)).or_default();
        *sum = sum.add(c.sample);
    }
    head(
        &mut text,
        "pod_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the pod in core-seconds",
    );
    for ((namespace, pod), sum) in &pods {
        let _ = writeln!(
            text,
            "pod_cpu_usage_seconds_total{{namespace=\"{namespace}\",pod=\"{pod}\"}} {} {}",
            seconds(sum),
            millis(sum)
        );
    }
    head(
        &mut text,
        "pod_memory_working_set_bytes",
        "gauge",
        "Current working set of the pod in bytes",
    );
    for ((namespace, pod), sum) in &pods {
        let _ = writeln!(
            text,
            "pod_memory_working_set_bytes{{namespace=\"{namespace}\",pod=\"{pod}\"}} {} {}",
            sum.working_set,
            millis(sum)
        );
    }
    head(
        &mut text,
        "resource_scrape_error",
        "gauge",
        "1 if there was an error while getting container metrics, 0 otherwise",
    );
    text.push_str("resource_scrape_error 0\n");
    text
}

fn number(path: PathBuf) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn field(path: PathBuf, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// The node's own cgroup, of either version.
fn read_cgroup(root: &Path, at: i64) -> Option<Sample> {
    if root.join("cgroup.controllers").exists() {
        // The machine's root cgroup has no memory.current: then /proc tells.
        let usage = number(root.join("memory.current"))?;
        let inactive = field(root.join("memory.stat"), "inactive_file ").unwrap_or(0);
        return Some(Sample {
            at,
            cpu: field(root.join("cpu.stat"), "usage_usec ")? * 1000,
            rate: None,
            working_set: usage.saturating_sub(inactive),
            usage,
            rss: field(root.join("memory.stat"), "anon ").unwrap_or(0),
        });
    }
    let memory = root.join("memory");
    let usage = number(memory.join("memory.usage_in_bytes"))?;
    let inactive = field(memory.join("memory.stat"), "total_inactive_file ").unwrap_or(0);
    Some(Sample {
        at,
        cpu: number(root.join("cpuacct/cpuacct.usage"))?,
        rate: None,
        working_set: usage.saturating_sub(inactive),
        usage,
        rss: field(memory.join("memory.stat"), "total_rss ").unwrap_or(0),
    })
}

/// The whole machine.
fn read_proc(at: i64) -> Sample {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: u64 = stat
        .lines()
        .next()
        .into_iter()
        .flat_map(|line| line.split_whitespace().skip(1).enumerate())
        // All but idle and waiting.
        .filter(|(i, _)| *i != 3 && *i != 4)
        .filter_map(|(_, value)| value.parse::<u64>().ok())
        .sum();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
            * 1024
    };
    let used = kib("MemTotal:").saturating_sub(kib("MemAvailable:"));
    Sample {
        at,
        cpu: ticks * 10_000_000,
        rate: None,
        working_set: used,
        usage: used,
        rss: used,
    }
}

#[cfg(test)]
mod tests;
