//! Counters in Prometheus' text form, under upstream's names.

pub(crate) mod layers;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rkind_apimachinery::resources::ResourceDef;

use crate::request::RequestInfo;

/// Upper bounds of `apiserver_request_duration_seconds`, in seconds.
const BUCKETS: [f64; 14] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
];

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
}

#[derive(Default)]
struct Durations {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    seconds: f64,
}

#[derive(Default)]
struct Tables {
    requests: BTreeMap<(Labels, u16), u64>,
    durations: BTreeMap<Labels, Durations>,
    watchers: BTreeMap<(String, String, String), Arc<AtomicI64>>,
}

/// How authentication and authorization ended.
#[derive(Default)]
pub(crate) struct Verdicts {
    /// Requests by who was believed, and those that were not.
    pub authenticated: AtomicI64,
    pub unauthenticated: AtomicI64,
    pub allowed: AtomicI64,
    pub denied: AtomicI64,
}

impl Verdicts {
    /// Counts one authentication.
    pub(crate) fn authentication(&self, believed: bool) {
        let count = if believed {
            &self.authenticated
        } else {
            &self.unauthenticated
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one authorization.
    pub(crate) fn authorization(&self, allowed: bool) {
        let count = if allowed { &self.allowed } else { &self.denied };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// All metrics of the server.
#[derive(Default)]
pub(crate) struct Metrics {
    pub verdicts: Verdicts,
    tables: Mutex<Tables>,
    inflight: AtomicI64,
}

/// Counts one watch while it lives.
pub(crate) struct Watching(Arc<AtomicI64>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts one request while it lives.
pub(crate) struct Inflight<'a>(&'a Metrics);

impl Drop for Inflight<'_> {
    fn drop(&mut self) {
        self.0.inflight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// A request has come.
    pub(crate) fn begin(&self) -> Inflight<'_> {
        self.inflight.fetch_add(1, Ordering::Relaxed);
        Inflight(self)
    }

    /// A request was answered.
    pub(crate) fn finish(&self, info: &RequestInfo, code: u16, took: Duration) {
        let verb = match info.verb.as_str() {
            "list" => "LIST",
            "watch" => "WATCH",
            "create" => "POST",
            "update" => "PUT",
            "patch" => "PATCH",
            "delete" => "DELETE",
            "deletecollection" => "DELETECOLLECTION",
            _ => "GET",
        };
        let scope = if !info.is_resource {
            ""
        } else if !info.path_name().is_empty() {
            "resource"
        } else if info.namespace.is_empty() {
            "cluster"
        } else {
            "namespace"
        };
        let labels = Labels {
            verb: verb.into(),
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
            scope,
        };
        let mut tables = self.tables.lock();
        *tables.requests.entry((labels.clone(), code)).or_default() += 1;
        if verb == "WATCH" {
            return;
        }
        let durations = tables.durations.entry(labels).or_default();
        let seconds = took.as_secs_f64();
        for (bucket, bound) in durations.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= bound);
        }
        durations.count += 1;
        durations.seconds += seconds;
    }

    /// A watch has begun.
    pub(crate) fn watcher(&self, def: &ResourceDef) -> Watching {
        let key = (def.group.to_owned(), def.version.to_owned(), def.kind.to_owned());
        let count = self.tables.lock().watchers.entry(key).or_default().clone();
        count.fetch_add(1, Ordering::Relaxed);
        Watching(count)
    }

    /// Everything in text form. `objects` are the stored objects by resource.
    pub(crate) fn render(&self, objects: &[(String, usize)]) -> String {
        let mut out = String::with_capacity(16 * 1024);
        let tables = self.tables.lock();
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        head(
            &mut out,
            "apiserver_request_total",
            "counter",
            "Requests by verb, resource, scope and HTTP code.",
        );
        for ((l, code), n) in &tables.requests {
            let _ = writeln!(
                out,
                "apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"\",{}}} {n}",
                l.text()
            );
        }
        head(
            &mut out,
            "apiserver_request_duration_seconds",
            "histogram",
            "Response latency in seconds, watches left out.",
        );
        for (l, d) in &tables.durations {
            let text = l.text();
            for (n, bound) in d.buckets.iter().zip(BUCKETS) {
                let _ = writeln!(
                    out,
                    "apiserver_request_duration_seconds_bucket{{{text},le=\"{bound}\"}} {n}"
                );
            }
            let _ = writeln!(
                out,
                "apiserver_request_duration_seconds_bucket{{{text},le=\"+Inf\"}} {}",
                d.count
            );
            let _ = writeln!(
                out,
                "apiserver_request_duration_seconds_sum{{{text}}} {}",
                d.seconds
            );
            let _ = writeln!(
                out,
                "apiserver_request_duration_seconds_count{{{text}}} {}",
                d.count
            );
        }
        head(
            &mut out,
            "apiserver_longrunning_requests",
            "gauge",
            "Watches being served.",
        );
        for ((group, version, kind), n) in &tables.watchers {
            let _ = writeln!(
                out,
                "apiserver_longrunning_requests{{group=\"{group}\",version=\"{version}\",kind=\"{kind}\",verb=\"WATCH\"}} {}",
                n.load(Ordering::Relaxed)
            );
        }
        head(
            &mut out,
            "apiserver_current_inflight_requests",
            "gauge",
            "Requests being served.",
        );
        let _ = writeln!(
            out,
            "apiserver_current_inflight_requests {}",
            self.inflight.load(Ordering::Relaxed)
        );
        head(
            &mut out,
            "apiserver_storage_objects",
            "gauge",
            "Stored objects by resource.",
        );
        for (resource, n) in objects {
            let _ = writeln!(out, "apiserver_storage_objects{{resource=\"{resource}\"}} {n}");
        }
        if let Some(kib) = resident_kib() {
            head(
                &mut out,
                "process_resident_memory_bytes",
                "gauge",
                "Resident memory size in bytes.",
            );
            let _ = writeln!(out, "process_resident_memory_bytes {}", kib * 1024);
        }
        out
    }
}

impl Labels {
    fn text(&self) -> String {
        format!(
            "group=\"{}\",resource=\"{}\",scope=\"{}\",subresource=\"{}\",verb=\"{}\",version=\"{}\"",
            self.group, self.resource, self.scope, self.subresource, self.verb, self.version
        )
    }
}

fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
}
