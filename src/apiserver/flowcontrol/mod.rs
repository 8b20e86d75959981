//! API priority and fairness: who is served when not everybody can be.
//! Upstream: `k8s.io/apiserver/pkg/util/flowcontrol`, KEP-1040.
//!
//! # Flow
//! A request is matched to the first FlowSchema that fits ([`schema`]), whose priority level has a
//! number of seats ([`limits`]). With a seat free it goes on at once: one look at the
//! configuration, one short lock. Otherwise it waits in one of the level's queues ([`level`]), or is
//! told to come again.
//!
//! # Guarantees
//! - A flow that asks too much waits behind itself: queues are served in turn, by seats and time.
//! - Levels lend seats that they do not use, every ten seconds anew; what is theirs at the least
//!   they keep.
//! - A request whose client went away leaves its queue.

mod debug;
pub(crate) mod keep;
mod level;
mod limits;
mod objects;
mod schema;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::HeaderValue;
use parking_lot::Mutex;
use rkind_apimachinery::status::Status;

use crate::{
    cacher::{Cache, Cacher},
    error::Result,
    metrics::histogram::Histogram,
    options,
    request::{RequestInfo, info::query_value},
    user::UserInfo,
};

pub(crate) use debug::{dump, metrics};
use level::{Level, Ticket};
use schema::Schema;

/// Storage prefixes of the two kinds.
const SCHEMAS: &str = "flowcontrol.apiserver.k8s.io/flowschemas";
const LEVELS: &str = "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations";
/// How often seats are lent anew.
const ADJUST: Duration = Duration::from_secs(10);
/// Objects that a list may show per seat that it takes, and the most seats it takes.
const OBJECTS_PER_SEAT: usize = 100;
const MAX_SEATS: usize = 10;

/// Names the configuration that a request was treated by.
#[derive(Clone)]
pub(crate) struct Flow {
    pub schema: HeaderValue,
    pub level: HeaderValue,
}

/// What is counted of a FlowSchema's requests; outlives a change of the schema.
struct Counters {
    dispatched: AtomicU64,
    /// By [`level::Refusal`].
    refused: [AtomicU64; 4],
    waiting: AtomicI64,
    executing: AtomicI64,
    seats: AtomicI64,
    /// How long who waited did: those that were refused then, and those that were served.
    waits: Mutex<[Histogram; 2]>,
}

/// Upper bounds of `apiserver_flowcontrol_request_wait_duration_seconds`.
const WAITS: &[f64] = &[
    0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0,
];

impl Default for Counters {
    fn default() -> Self {
        Counters {
            dispatched: AtomicU64::default(),
            refused: Default::default(),
            waiting: AtomicI64::default(),
            executing: AtomicI64::default(),
            seats: AtomicI64::default(),
            waits: Mutex::new([Histogram::new(WAITS), Histogram::new(WAITS)]),
        }
    }
}

/// The configuration at one moment.
#[derive(Default)]
struct Config {
    generations: [u64; 2],
    /// By matching precedence, then name; without those whose level does not exist.
    schemas: Vec<Schema>,
    levels: HashMap<String, Arc<Level>>,
}

/// Priority and fairness.
pub(crate) struct FlowControl {
    cachers: Option<[Arc<Cacher>; 2]>,
    config: ArcSwap<Config>,
    building: Mutex<()>,
    seats: usize,
    /// How long a request may wait.
    patience: Duration,
}

/// A request's place; dropped when it is served.
pub(crate) struct Place {
    _ticket: Ticket,
    counters: Arc<Counters>,
    width: i64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counters.executing.fetch_sub(1, Ordering::Relaxed);
        self.counters.seats.fetch_sub(self.width, Ordering::Relaxed);
    }
}

/// Counts one waiting request while it lives.
struct Waiting<'a>(&'a Counters);

impl<'a> Waiting<'a> {
    fn new(counters: &'a Counters) -> Self {
        counters.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(counters)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl FlowControl {
    /// By options; `None` when it is switched off.
    pub(crate) fn new(cache: &Cache, options: &options::FlowControl, deadline: Duration) -> Option<Self> {
        let cachers = (|| Some([cache.cacher(SCHEMAS)?, cache.cacher(LEVELS)?]))();
        options.enable_priority_and_fairness.then(|| FlowControl {
            cachers,
            config: ArcSwap::default(),
            building: Mutex::new(()),
            seats: options.max_requests_inflight + options.max_mutating_requests_inflight,
            patience: deadline / 4,
        })
    }

    /// A place for a request, held while it is served; and by which configuration, told through
    /// `flow` also when there is no place.
    ///
    /// # Errors
    /// 429, to be tried again after a second.
    pub(crate) async fn admit(
        &self,
        cache: &Cache,
        info: &RequestInfo,
        query: Option<&str>,
        user: &UserInfo,
        flow: &std::sync::OnceLock<Flow>,
    ) -> Result<Option<Place>> {
        let config = self.config();
        let Some(schema) = config.schemas.iter().find(|s| s.matches(user, info)) else {
            // Only before the mandatory objects are there.
            return Ok(None);
        };
        let level = &schema.level;
        let _ = flow.set(Flow {
            schema: schema.uid.clone(),
            level: level.uid.clone(),
        });
        let counters = &schema.counters;
        let width = if level.is_exempt() {
            1
        } else {
            self.width(cache, info, query, level)
        };
        let ticket = match level.try_enter(width) {
            Some(ticket) => Ok(ticket),
            None => {
                let _waiting = Waiting::new(counters);
                let flow = schema.distinguisher(user, info);
                let began = Instant::now();
                let entered = level
                    .enter(width, schema.hash(flow), (&schema.name, flow), self.patience)
                    .await;
                // Who is refused at once has not waited.
                if matches!(entered, Ok(_) | Err(level::Refusal::TimeOut)) {
                    counters.waits.lock()[usize::from(entered.is_ok())].observe(began.elapsed());
                }
                entered
            }
        };
        match ticket {
            Ok(ticket) => {
                counters.dispatched.fetch_add(1, Ordering::Relaxed);
                counters.executing.fetch_add(1, Ordering::Relaxed);
                counters.seats.fetch_add(width as i64, Ordering::Relaxed);
                Ok(Some(Place {
                    _ticket: ticket,
                    counters: counters.clone(),
                    width: width as i64,
                }))
            }
            Err(why) => {
                counters.refused[why as usize].fetch_add(1, Ordering::Relaxed);
                Err(Status::too_many_requests("Too many requests, please try again later.", 1).into())
            }
        }
    }

    /// Seats that a request takes: lists take more when there is much to show.
    fn width(&self, cache: &Cache, info: &RequestInfo, query: Option<&str>, level: &Level) -> usize {
        if info.verb != "list" || !info.name.is_empty() {
            return 1;
        }
        let group = if info.group.is_empty() {
            "core"
        } else {
            &info.group
        };
        let Some(cacher) = cache.cacher(&format!("{group}/{}", info.resource)) else {
            return 1;
        };
        let stored = cacher.len();
        let limit = query_value(query, "limit").and_then(|l| l.parse::<usize>().ok());
        let shown = match limit {
            Some(limit) if limit > 0 => stored.min(limit),
            _ => stored,
        };
        // No request may need more seats than there are.
        let most = MAX_SEATS.min((level.nominal() * 15 / 100).max(1));
        shown.div_ceil(OBJECTS_PER_SEAT).clamp(1, most)
    }

    /// The configuration as the two kinds say now.
    fn config(&self) -> arc_swap::Guard<Arc<Config>> {
        let Some(cachers) = &self.cachers else {
            return self.config.load();
        };
        let generations = [cachers[0].generation(), cachers[1].generation()];
        let config = self.config.load();
        if config.generations == generations && !config.schemas.is_empty() {
            return config;
        }
        self.build(cachers);
        self.config.load()
    }

    fn build(&self, cachers: &[Arc<Cacher>; 2]) {
        let _one = self.building.lock();
        let generations = [cachers[0].generation(), cachers[1].generation()];
        let old = self.config.load_full();
        if old.generations == generations && !old.schemas.is_empty() {
            return;
        }
        let mut levels: HashMap<String, Arc<Level>> = HashMap::new();
        for object in cachers[1].snapshot(0).objects.values() {
            let name = object.name();
            let Some(spec) = level::Spec::read(object) else {
                tracing::warn!(name, "priority level cannot be read");
                continue;
            };
            let level = match old.levels.get(name) {
                Some(known) if known.uid_is(&spec) => {
                    known.configure(&spec);
                    known.clone()
                }
                _ => Arc::new(Level::new(name, &spec)),
            };
            levels.insert(name.to_owned(), level);
        }
        limits::allot(levels.values(), self.seats);
        let mut schemas: Vec<Schema> = Vec::new();
        for object in cachers[0].snapshot(0).objects.values() {
            let known = old.schemas.iter().find(|s| s.name == object.name());
            let counters = known.map(|s| s.counters.clone()).unwrap_or_default();
            schemas.extend(Schema::read(object, &levels, counters));
        }
        schemas.sort_by(|a, b| a.precedence.cmp(&b.precedence).then(a.name.cmp(&b.name)));
        self.config.store(Arc::new(Config {
            generations,
            schemas,
            levels,
        }));
    }

    /// Lends seats by what was wanted since the last time.
    fn adjust(&self, now: Instant) {
        limits::lend(self.config().levels.values(), self.seats, now);
    }
}
