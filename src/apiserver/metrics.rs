//! Counters in Prometheus' text form, under upstream's names.

pub(crate) mod layers;
mod series;

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

use series::BUCKETS;

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
    requests: series::Requests,
    /// By group, version and kind.
    watchers: Mutex<BTreeMap<(String, String, String), Arc<AtomicI64>>>,
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
        self.requests.count(info, code, took);
    }

    /// A watch has begun.
    pub(crate) fn watcher(&self, def: &ResourceDef) -> Watching {
        let key = (def.group.to_owned(), def.version.to_owned(), def.kind.to_owned());
        let count = self.watchers.lock().entry(key).or_default().clone();
        count.fetch_add(1, Ordering::Relaxed);
        Watching(count)
    }

    /// Everything in text form. `objects` are the stored objects by resource.
    pub(crate) fn render(&self, objects: &[(String, usize)]) -> String {
        let mut out = String::with_capacity(16 * 1024);
        let (requests, durations) = self.requests.tables();
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
        for ((l, code), n) in &requests {
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
        for (l, d) in &durations {
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
        for ((group, version, kind), n) in self.watchers.lock().iter() {
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

fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
}
