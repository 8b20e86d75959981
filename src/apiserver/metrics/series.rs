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

    fn count(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound);
        self.buckets[bucket.unwrap_or(BUCKETS.len())].fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(took.as_nanos() as u64, Relaxed);
    }
}

/// All series, by the hash of what they count.
#[derive(Default)]
pub(super) struct Requests {
    hasher: RandomState,
    known: RwLock<HashMap<u64, Vec<Arc<Series>>>>,
}

impl Requests {
    /// A request was answered. Paths are the clients' to choose: those for a resource that is not `served`
    /// are counted together, without its name.
    pub(super) fn count(&self, info: &RequestInfo, served: bool, code: u16, took: Duration) {
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
            });
            known.entry(hash).or_default().push(series.clone());
            Some(series)
        });
        if let Some(series) = series {
            series.count(took);
        }
    }

    /// Numbers of requests by labels and code, and how long they took by labels, watches left out; both
    /// sorted.
    #[allow(clippy::type_complexity, reason = "two tables, named by the line above")]
    pub(super) fn tables(&self) -> (BTreeMap<(Labels, u16), u64>, BTreeMap<Labels, Histogram>) {
        let mut requests = BTreeMap::new();
        let mut sums = BTreeMap::<Labels, (Vec<u64>, f64)>::new();
        for series in self.known.read().values().flatten() {
            let counts: Vec<u64> = series.buckets.iter().map(|n| n.load(Relaxed)).collect();
            requests.insert((series.labels.clone(), series.code), counts.iter().sum());
            let (all, seconds) = sums
                .entry(series.labels.clone())
                .or_insert_with(|| (vec![0; counts.len()], 0.0));
            for (all, count) in all.iter_mut().zip(counts) {
                *all += count;
            }
            *seconds += series.nanoseconds.load(Relaxed) as f64 / 1e9;
        }
        let durations = sums
            .into_iter()
            .filter(|(labels, _)| !labels.is_watch())
            .filter_map(|(labels, (counts, seconds))| {
                Some((labels, Histogram::of(&BUCKETS, counts, seconds)?))
            });
        (requests, durations.collect())
    }
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
            requests.count(&info, false, 404, Duration::ZERO);
        }
        let (counts, _) = requests.tables();
        let all: Vec<_> = counts
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
        requests.count(&info, true, 200, Duration::from_micros(31_250));
        requests.count(&info, true, 404, Duration::from_micros(62_500));
        requests.count(&info, true, 404, Duration::from_secs(100));
        let (counts, durations) = requests.tables();
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
    }
}
