//! Requests by what they asked for and how they were answered: one series each, counted without a lock.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::RwLock;

use super::histogram::Histogram;
use crate::request::RequestInfo;

/// Upper bounds of `apiserver_request_duration_seconds`, in seconds.
const BUCKETS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0,
];
/// Upper bounds of `apiserver_response_sizes`, in bytes.
const SIZES: [f64; 7] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Definitions come and go: series beyond so many are not counted.
const MOST: usize = 10_000;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
}

impl Labels {
    pub(super) fn text(&self) -> String {
        format!(
            "group=\"{}\",resource=\"{}\",scope=\"{}\",subresource=\"{}\",verb=\"{}\",version=\"{}\"",
            self.group, self.resource, self.scope, self.subresource, self.verb, self.version
        )
    }

    pub(super) fn is_watch(&self) -> bool {
        self.verb == "WATCH"
    }

    /// Only of these the size is told.
    fn is_read(&self) -> bool {
        matches!(self.verb, "GET" | "LIST")
    }
}

/// What a request is counted by, borrowed.
#[derive(Hash, PartialEq, Eq)]
struct Key<'a> {
    verb: &'static str,
    group: &'a str,
    version: &'a str,
    resource: &'a str,
    subresource: &'a str,
    scope: &'static str,
    code: u16,
}

impl<'a> Key<'a> {
    fn of(info: &'a RequestInfo, code: u16) -> Key<'a> {
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
        Key {
            verb,
            group: &info.group,
            version: &info.version,
            resource: &info.resource,
            subresource: &info.subresource,
            scope,
            code,
        }
    }
}

/// One series.
struct Series {
    labels: Labels,
    code: u16,
    /// Requests by the first bucket that they fit in; the last is beyond all bounds.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    nanoseconds: AtomicU64,
    /// Answers whose length is known, as `buckets`, and the sum of their bytes.
    sizes: [AtomicU64; SIZES.len() + 1],
    bytes: AtomicU64,
}

impl Series {
    fn key(&self) -> Key<'_> {
        let Labels { verb, scope, .. } = self.labels;
        Key {
            verb,
            group: &self.labels.group,
            version: &self.labels.version,
            resource: &self.labels.resource,
            subresource: &self.labels.subresource,
            scope,
            code: self.code,
        }
    }

    fn count(&self, took: Duration, size: Option<u64>) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound);
        self.buckets[bucket.unwrap_or(BUCKETS.len())].fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(took.as_nanos() as u64, Relaxed);
        if let Some(size) = size.filter(|_| self.labels.is_read()) {
            let bucket = SIZES.iter().position(|bound| size as f64 <= *bound);
            self.sizes[bucket.unwrap_or(SIZES.len())].fetch_add(1, Relaxed);
            self.bytes.fetch_add(size, Relaxed);
        }
    }
}

/// All series, by the hash of what they count.
#[derive(Default)]
pub(super) struct Requests {
    hasher: RandomState,
    known: RwLock<HashMap<u64, Vec<Arc<Series>>>>,
}

impl Requests {
    /// A request was answered, with so many bytes where that is known. Paths are the clients' to choose:
    /// those for a resource that is not `served` are counted together, without its name.
    pub(super) fn count(
        &self,
        info: &RequestInfo,
        served: bool,
        code: u16,
        took: Duration,
        size: Option<u64>,
    ) {
        let mut key = Key::of(info, code);
        if !served {
            for part in [
                &mut key.group,
                &mut key.version,
                &mut key.resource,
                &mut key.subresource,
            ] {
                *part = "";
            }
        }
        let hash = self.hasher.hash_one(&key);
        let find = |known: &HashMap<u64, Vec<Arc<Series>>>| {
            let same = known.get(&hash)?.iter().find(|series| series.key() == key);
            same.cloned()
        };
        let found = find(&self.known.read());
        let series = found.or_else(|| {
            let mut known = self.known.write();
            if let Some(series) = find(&known) {
                return Some(series);
            }
            if known.len() >= MOST {
                return None;
            }
            let series = Arc::new(Series {
                labels: Labels {
                    verb: key.verb,
                    group: key.group.into(),
                    version: key.version.into(),
                    resource: key.resource.into(),
                    subresource: key.subresource.into(),
                    scope: key.scope,
                },
                code,
                buckets: Default::default(),
                nanoseconds: AtomicU64::new(0),
                sizes: Default::default(),
                bytes: AtomicU64::new(0),
            });
            known.entry(hash).or_default().push(series.clone());
            Some(series)
        });
        if let Some(series) = series {
            series.count(took, size);
        }
    }

    /// Numbers of requests by labels and code; how long they took by labels, watches left out; how large the
    /// answers to reads were. All sorted.
    pub(super) fn tables(&self) -> Tables {
        let mut requests = BTreeMap::new();
        let mut durations = BTreeMap::<Labels, Sum>::new();
        let mut sizes = BTreeMap::<Labels, Sum>::new();
        for series in self.known.read().values().flatten() {
            let labels = &series.labels;
            let count: u64 = series.buckets.iter().map(|n| n.load(Relaxed)).sum();
            requests.insert((labels.clone(), series.code), count);
            let seconds = series.nanoseconds.load(Relaxed) as f64 / 1e9;
            durations
                .entry(labels.clone())
                .or_default()
                .add(&series.buckets, seconds);
            let bytes = series.bytes.load(Relaxed) as f64;
            sizes.entry(labels.clone()).or_default().add(&series.sizes, bytes);
        }
        durations.retain(|labels, _| !labels.is_watch());
        Tables {
            requests,
            durations: histograms(&BUCKETS, durations),
            sizes: histograms(&SIZES, sizes),
        }
    }
}

/// What [`Requests`] has counted.
pub(super) struct Tables {
    pub requests: BTreeMap<(Labels, u16), u64>,
    /// In seconds.
    pub durations: BTreeMap<Labels, Histogram>,
    /// In bytes.
    pub sizes: BTreeMap<Labels, Histogram>,
}

/// Observations between bounds, of several series, and their sum.
#[derive(Default)]
struct Sum {
    counts: Vec<u64>,
    total: f64,
}

impl Sum {
    fn add(&mut self, counts: &[AtomicU64], total: f64) {
        self.counts.resize(counts.len(), 0);
        for (all, count) in self.counts.iter_mut().zip(counts) {
            *all += count.load(Relaxed);
        }
        self.total += total;
    }
}

/// Without those that have no observations.
fn histograms(bounds: &'static [f64], sums: BTreeMap<Labels, Sum>) -> BTreeMap<Labels, Histogram> {
    let all = sums.into_iter();
    all.filter_map(|(labels, sum)| Some((labels, Histogram::of(bounds, sum.counts, sum.total)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_serves_are_not_kept() {
        let requests = Requests::default();
        for name in ["a", "b%22%0A", "c"] {
            let path = format!("/apis/{name}/v1/namespaces/x/{name}/y/{name}");
            let info = RequestInfo::parse(&http::Method::GET, &path, None);
            requests.count(&info, false, 404, Duration::ZERO, None);
        }
        let all: Vec<_> = requests
            .tables()
            .requests
            .iter()
            .map(|((labels, _), n)| (labels.text(), *n))
            .collect();
        let text = "group=\"\",resource=\"\",scope=\"resource\",subresource=\"\",verb=\"GET\",version=\"\"";
        assert_eq!(all, [(text.to_owned(), 3)]);
    }

    #[test]
    fn buckets_hold_what_is_smaller() {
        let requests = Requests::default();
        let info = RequestInfo::parse(&http::Method::GET, "/api/v1/namespaces/a/pods/b", None);
        requests.count(&info, true, 200, Duration::from_micros(31_250), Some(1000));
        requests.count(&info, true, 404, Duration::from_micros(62_500), Some(2_000_000));
        requests.count(&info, true, 404, Duration::from_secs(100), None);
        let Tables {
            requests: counts,
            durations,
            sizes,
        } = requests.tables();
        let codes: Vec<_> = counts.into_iter().map(|((_, code), n)| (code, n)).collect();
        assert_eq!(codes, [(200, 1), (404, 2)]);
        let (labels, all) = durations.into_iter().next().unwrap();
        assert!(labels.text().contains("resource=\"pods\",scope=\"resource\""));
        let mut text = String::new();
        all.write(&mut text, "d", "", 0.09);
        for line in [
            "d_bucket{,le=\"0.1\"} 2",
            "d_bucket{,le=\"60\"} 2",
            "d_bucket{,le=\"+Inf\"} 3",
            "d_sum{} 100.09375",
            "d_count{} 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        assert!(!text.contains("0.05"), "{text}");
        let mut text = String::new();
        sizes.values().next().unwrap().write(&mut text, "s", "", 0.0);
        for line in [
            "s_bucket{,le=\"1000\"} 1",
            "s_bucket{,le=\"1e+06\"} 1",
            "s_bucket{,le=\"1e+07\"} 2",
            "s_sum{} 2001000",
            "s_count{} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }
}
