//! Counters in Prometheus' text form, under upstream's names.

pub(crate) mod admission;
pub(crate) mod histogram;
pub(crate) mod layers;
mod process;
mod series;
mod timings;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rkind_apimachinery::resources::ResourceDef;

use self::layers::{head, line};
use crate::{reload::Reloads, request::RequestInfo};

/// The least bound of `apiserver_request_sli_duration_seconds`, in seconds.
const LEAST_SLI: f64 = 0.05;

/// Watches of one resource.
#[derive(Default)]
struct Watched {
    now: AtomicI64,
    events: AtomicU64,
}

/// Watches by group, version and resource.
type Watches = BTreeMap<(&'static str, &'static str, &'static str), Arc<Watched>>;

/// A resource of a version on its way out: group, version, resource, subresource.
type Deprecated = (&'static str, &'static str, &'static str, &'static str);

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
    pub reloads: Reloads,
    pub webhooks: admission::Webhooks,
    requests: series::Requests,
    deprecated: Mutex<BTreeSet<Deprecated>>,
    watches: Mutex<Watches>,
    reads: AtomicI64,
    writes: AtomicI64,
}

/// Counts one watch while it lives.
pub(crate) struct Watching(Arc<Watched>);

impl Watching {
    /// An event was sent.
    pub(crate) fn sent(&self) {
        self.0.events.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts one request while it lives.
pub(crate) struct Inflight<'a>(&'a AtomicI64);

impl Drop for Inflight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// A request has come.
    pub(crate) fn begin(&self, info: &RequestInfo) -> Inflight<'_> {
        let count = match info.verb.as_str() {
            "create" | "update" | "patch" | "delete" | "deletecollection" => &self.writes,
            _ => &self.reads,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Inflight(count)
    }

    /// A request was answered, with `size` bytes where that is known; `served` says whether what it is for
    /// is served here.
    pub(crate) fn finish(
        &self,
        info: &RequestInfo,
        served: bool,
        code: u16,
        took: Duration,
        size: Option<u64>,
    ) {
        self.requests.count(info, served, code, took, size);
    }

    /// Somebody asked for what is on its way out.
    pub(crate) fn deprecated(&self, def: &ResourceDef, sub: &'static str) {
        let key = (def.group, def.version, def.resource, sub);
        self.deprecated.lock().insert(key);
    }

    /// A watch has begun.
    pub(crate) fn watcher(&self, def: &ResourceDef) -> Watching {
        let key = (def.group, def.version, def.resource);
        let count = self.watches.lock().entry(key).or_default().clone();
        count.now.fetch_add(1, Ordering::Relaxed);
        Watching(count)
    }

    /// Everything in text form. `objects` are the stored objects by resource.
    pub(crate) fn render(&self, objects: &[(String, usize)]) -> String {
        let mut out = String::with_capacity(16 * 1024);
        let series::Tables {
            requests,
            durations,
            sizes,
        } = self.requests.tables();
        let watches = self.watches.lock().clone();
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
        for (name, dry_run, least) in [
            ("apiserver_request_duration_seconds", ",dry_run=\"\"", 0.0),
            ("apiserver_request_sli_duration_seconds", "", LEAST_SLI),
        ] {
            let help = "Response latency in seconds, watches left out.";
            head(&mut out, name, "histogram", help);
            for (labels, durations) in &durations {
                let labels = format!("component=\"apiserver\"{dry_run},{}", labels.text());
                durations.write(&mut out, name, &labels, least);
            }
        }
        let name = "apiserver_response_sizes";
        head(&mut out, name, "histogram", "Response sizes in bytes, of reads.");
        for (labels, sizes) in &sizes {
            let labels = format!("component=\"apiserver\",{}", labels.text());
            sizes.write(&mut out, name, &labels, 0.0);
        }
        let name = "apiserver_requested_deprecated_apis";
        head(
            &mut out,
            name,
            "gauge",
            "Deprecated APIs that have been requested.",
        );
        for (group, version, resource, sub) in &*self.deprecated.lock() {
            let labels = format!(
                "group=\"{group}\",removed_release=\"\",resource=\"{resource}\",subresource=\"{sub}\",version=\"{version}\""
            );
            line(&mut out, name, &labels, 1);
        }
        let name = "apiserver_longrunning_requests";
        head(&mut out, name, "gauge", "Watches being served.");
        for ((group, version, resource), watched) in &watches {
            let labels = format!(
                "component=\"apiserver\",group=\"{group}\",resource=\"{resource}\",scope=\"\",subresource=\"\",verb=\"WATCH\",version=\"{version}\""
            );
            line(&mut out, name, &labels, watched.now.load(Ordering::Relaxed));
        }
        let name = "apiserver_watch_events_total";
        head(&mut out, name, "counter", "Events sent in watches, by resource.");
        for ((group, version, resource), watched) in &watches {
            let labels = format!("group=\"{group}\",resource=\"{resource}\",version=\"{version}\"");
            line(&mut out, name, &labels, watched.events.load(Ordering::Relaxed));
        }
        let name = "apiserver_current_inflight_requests";
        head(&mut out, name, "gauge", "Requests being served, by kind.");
        for (kind, count) in [("mutating", &self.writes), ("readOnly", &self.reads)] {
            let labels = format!("request_kind=\"{kind}\"");
            line(&mut out, name, &labels, count.load(Ordering::Relaxed));
        }
        head(
            &mut out,
            "apiserver_storage_objects",
            "gauge",
            "Stored objects by resource.",
        );
        for (resource, n) in objects {
            line(
                &mut out,
                "apiserver_storage_objects",
                &format!("resource=\"{resource}\""),
                n,
            );
        }
        let name = "apiserver_resource_objects";
        head(&mut out, name, "gauge", "Stored objects by group and resource.");
        for (resource, n) in objects {
            let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
            let labels = format!("group=\"{group}\",resource=\"{resource}\"");
            line(&mut out, name, &labels, n);
        }
        let name = "kubernetes_build_info";
        head(&mut out, name, "gauge", "Version of Kubernetes that is served.");
        let labels = format!("git_version=\"{0}\",major=\"1\",minor=\"35\"", crate::VERSION);
        line(&mut out, name, &labels, 1);
        self.webhooks.render(&mut out);
        process::render(&mut out);
        out
    }
}
