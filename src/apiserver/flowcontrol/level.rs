//! The seats of one priority level, and the queues before them. Upstream: `fairqueuing/queueset`.
//!
//! Queues are served in the order of virtual time: a queue is charged, per request, seats times the
//! time they were held, and the queue that was charged least is next (self-clocked fair queueing).

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::HeaderValue;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot;

use super::limits::Demand;
use crate::cacher::Obj;

/// Seconds that a request is thought to take before it is known.
const GUESS: f64 = 0.003;

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    QueueFull,
    ConcurrencyLimit,
    TimeOut,
}

/// A PriorityLevelConfiguration, as far as it matters here.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spec {
    pub uid: String,
    pub exempt: bool,
    pub shares: f64,
    /// Percent of the nominal seats that others may have.
    pub lendable: f64,
    /// Percent of the nominal seats that may be borrowed; `None`: as many as there are.
    pub borrowing: Option<f64>,
    /// Queues, hand size and length of a queue; `None`: refused at once.
    pub queuing: Option<(usize, usize, usize)>,
}

impl Spec {
    pub(super) fn read(object: &Obj) -> Option<Spec> {
        let value = object.to_value();
        let spec = &value["spec"];
        let exempt = spec["type"] == "Exempt";
        let part = if exempt { &spec["exempt"] } else { &spec["limited"] };
        let queuing = &part["limitResponse"]["queuing"];
        let number = |value: &Value, default: u64| value.as_u64().unwrap_or(default) as usize;
        Some(Spec {
            uid: value["metadata"]["uid"].as_str()?.to_owned(),
            exempt,
            shares: part["nominalConcurrencyShares"]
                .as_f64()
                .unwrap_or(if exempt { 0.0 } else { 30.0 }),
            lendable: part["lendablePercent"].as_f64().unwrap_or(0.0),
            borrowing: part["borrowingLimitPercent"].as_f64(),
            queuing: (part["limitResponse"]["type"] == "Queue").then(|| {
                let queues = number(&queuing["queues"], 64).max(1);
                let hand = number(&queuing["handSize"], 8).clamp(1, queues);
                (queues, hand, number(&queuing["queueLengthLimit"], 50).max(1))
            }),
        })
    }
}

/// How many seats a level may have.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Bounds {
    pub nominal: usize,
    pub least: usize,
    pub most: usize,
}

/// A priority level.
pub(super) struct Level {
    pub name: String,
    pub uid: HeaderValue,
    spec: Mutex<Spec>,
    exempt: bool,
    nominal: AtomicUsize,
    pub refused: [AtomicU64; 4],
    pub dispatched: AtomicU64,
    pub(super) state: Mutex<State>,
}

/// Seats and queues.
pub(super) struct State {
    pub bounds: Bounds,
    /// Seats there are now, borrowed ones included.
    pub limit: usize,
    pub in_use: usize,
    pub executing: usize,
    pub waiting: usize,
    pub queues: Vec<Queue>,
    hand: usize,
    length: usize,
    /// Virtual time: the start of the request that was served last.
    now: f64,
    ids: u64,
    pub demand: Demand,
    /// Seats that the last adjustment aimed at; of an exempt level none.
    pub target: f64,
}

#[derive(Default)]
pub(super) struct Queue {
    pub requests: VecDeque<Request>,
    pub executing: usize,
    pub in_use: usize,
    /// Virtual time at which its next request may be served.
    pub next: f64,
}

pub(super) struct Request {
    id: u64,
    pub width: usize,
    pub schema: String,
    pub flow: String,
    pub arrived: jiff::Timestamp,
    ready: oneshot::Sender<Ticket>,
}

/// Seats held; given back when dropped.
pub(super) struct Ticket {
    level: Arc<Level>,
    width: usize,
    /// Queue it waited in, and since when it is served.
    queue: Option<(usize, Instant)>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.level.clone().leave(self.width, self.queue);
    }
}

/// Takes a request out of its queue when nobody waits for it any more.
struct Leaving<'a> {
    level: &'a Level,
    queue: usize,
    id: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut state = self.level.state.lock();
        let Some(queue) = state.queues.get_mut(self.queue) else {
            return;
        };
        if let Some(at) = queue.requests.iter().position(|r| r.id == self.id) {
            queue.requests.remove(at);
            state.waiting -= 1;
            state.note();
        }
    }
}

impl State {
    /// Seats in use and wanted, for lending.
    fn note(&mut self) {
        let queued: usize = if self.waiting == 0 {
            0
        } else {
            let requests = self.queues.iter().flat_map(|q| &q.requests);
            requests.map(|r| r.width).sum()
        };
        self.demand.set(self.in_use + queued);
    }

    /// Whether `width` seats are free; one request is always served, however wide.
    fn fits(&self, width: usize) -> bool {
        self.in_use + width <= self.limit || self.in_use == 0 && self.limit > 0
    }

    /// The queue of the hand dealt by `hash` with the fewest seats waiting.
    fn choose(&self, hash: u64) -> usize {
        let load = |at: &usize| {
            let queue = &self.queues[*at];
            queue.requests.iter().map(|r| r.width).sum::<usize>() + queue.in_use
        };
        deal(hash, self.queues.len(), self.hand)
            .into_iter()
            .min_by_key(load)
            .unwrap_or(0)
    }

    /// Takes the next request that may be served.
    fn next(&mut self) -> Option<(usize, Request)> {
        if self.waiting == 0 {
            return None;
        }
        let finish = |queue: &Queue| {
            let first = queue.requests.front()?;
            Some(queue.next + GUESS * first.width as f64)
        };
        let found = self
            .queues
            .iter()
            .enumerate()
            .filter_map(|(at, queue)| Some((at, finish(queue)?)));
        let (at, _) = found.min_by(|a, b| a.1.total_cmp(&b.1))?;
        let width = self.queues[at].requests.front()?.width;
        if !self.fits(width) {
            return None;
        }
        let queue = &mut self.queues[at];
        let request = queue.requests.pop_front()?;
        self.now = self.now.max(queue.next);
        queue.next += GUESS * width as f64;
        queue.executing += 1;
        queue.in_use += width;
        self.waiting -= 1;
        self.in_use += width;
        self.executing += 1;
        Some((at, request))
    }
}

/// A hand of different queues, the same for the same hash. Upstream: `shufflesharding.Dealer`.
pub(super) fn deal(hash: u64, queues: usize, hand: usize) -> Vec<usize> {
    let mut dealt: Vec<usize> = Vec::with_capacity(hand);
    let mut rest = hash;
    for at in 0..hand.min(queues) {
        let left = (queues - at) as u64;
        let mut card = (rest % left) as usize;
        rest /= left;
        // The number counts among the cards not dealt yet.
        let mut before = dealt.clone();
        before.sort_unstable();
        for taken in before {
            if card >= taken {
                card += 1;
            }
        }
        dealt.push(card);
    }
    dealt
}

impl Level {
    pub(super) fn new(name: &str, spec: &Spec) -> Level {
        let level = Level {
            name: name.to_owned(),
            uid: HeaderValue::from_str(&spec.uid).unwrap_or(HeaderValue::from_static("")),
            spec: Mutex::new(spec.clone()),
            exempt: spec.exempt,
            nominal: AtomicUsize::new(0),
            refused: Default::default(),
            dispatched: AtomicU64::new(0),
            state: Mutex::new(State {
                bounds: Bounds::default(),
                limit: 0,
                in_use: 0,
                executing: 0,
                waiting: 0,
                queues: Vec::new(),
                hand: 1,
                length: 0,
                now: 0.0,
                ids: 0,
                demand: Demand::new(Instant::now()),
                target: 0.0,
            }),
        };
        level.configure(spec);
        level
    }

    /// Whether this is the level of an object that may have been made anew.
    pub(super) fn uid_is(&self, spec: &Spec) -> bool {
        self.uid == spec.uid.as_str() && self.exempt == spec.exempt
    }

    /// Takes over a changed specification. Who waits goes on waiting.
    pub(super) fn configure(&self, spec: &Spec) {
        *self.spec.lock() = spec.clone();
        let (queues, hand, length) = spec.queuing.unwrap_or((0, 1, 0));
        let mut state = self.state.lock();
        // Queues that are no longer dealt empty themselves.
        if state.queues.len() < queues || state.waiting == 0 && state.executing == 0 {
            state.queues.resize_with(queues, Queue::default);
        }
        state.hand = hand;
        state.length = length;
    }

    pub(super) fn spec(&self) -> Spec {
        self.spec.lock().clone()
    }

    pub(super) fn is_exempt(&self) -> bool {
        self.exempt
    }

    pub(super) fn nominal(&self) -> usize {
        self.nominal.load(Ordering::Relaxed)
    }

    /// Sets how many seats there may be and are.
    pub(super) fn bound(self: &Arc<Self>, bounds: Bounds, limit: usize) {
        self.nominal.store(bounds.nominal, Ordering::Relaxed);
        {
            let mut state = self.state.lock();
            state.bounds = bounds;
            state.limit = limit;
        }
        self.serve();
    }

    /// Seats, when they are free and nobody waits for them.
    pub(super) fn try_enter(self: &Arc<Self>, width: usize) -> Option<Ticket> {
        let mut state = self.state.lock();
        if !self.exempt && (state.waiting > 0 || !state.fits(width)) {
            return None;
        }
        state.in_use += width;
        state.executing += 1;
        state.note();
        drop(state);
        self.dispatched.fetch_add(1, Ordering::Relaxed);
        Some(Ticket {
            level: self.clone(),
            width,
            queue: None,
        })
    }

    /// Seats, after a wait when need be. `flow` is what the request is of: a schema's name and a
    /// distinguisher.
    pub(super) async fn enter(
        self: &Arc<Self>,
        width: usize,
        hash: u64,
        flow: (&str, &str),
        patience: Duration,
    ) -> Result<Ticket, Refusal> {
        let refuse = |why: Refusal| {
            self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
            Err(why)
        };
        let (ready, ticket) = oneshot::channel();
        let leaving = {
            let mut state = self.state.lock();
            if state.length == 0 || state.queues.is_empty() {
                drop(state);
                return refuse(Refusal::ConcurrencyLimit);
            }
            let at = state.choose(hash);
            if state.queues[at].requests.len() >= state.length {
                drop(state);
                return refuse(Refusal::QueueFull);
            }
            state.ids += 1;
            let (id, now) = (state.ids, state.now);
            let queue = &mut state.queues[at];
            if queue.requests.is_empty() && queue.executing == 0 {
                // A queue that was idle has not saved anything up.
                queue.next = queue.next.max(now);
            }
            queue.requests.push_back(Request {
                id,
                width,
                schema: flow.0.to_owned(),
                flow: flow.1.to_owned(),
                arrived: jiff::Timestamp::now(),
                ready,
            });
            state.waiting += 1;
            state.note();
            Leaving {
                level: self,
                queue: at,
                id,
            }
        };
        self.serve();
        let waited = tokio::time::timeout(patience, ticket).await;
        drop(leaving);
        match waited {
            Ok(Ok(ticket)) => {
                self.dispatched.fetch_add(1, Ordering::Relaxed);
                Ok(ticket)
            }
            _ => refuse(Refusal::TimeOut),
        }
    }

    /// Lets in who may be served now.
    fn serve(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state.lock();
                let next = state.next();
                if next.is_some() {
                    state.note();
                }
                next
            };
            let Some((at, request)) = next else {
                return;
            };
            let ticket = Ticket {
                level: self.clone(),
                width: request.width,
                queue: Some((at, Instant::now())),
            };
            // Somebody who went away gives the seats back at once.
            drop(request.ready.send(ticket));
        }
    }

    fn leave(self: Arc<Self>, width: usize, queue: Option<(usize, Instant)>) {
        let waiting = {
            let mut state = self.state.lock();
            state.in_use -= width;
            state.executing -= 1;
            if let Some((at, since)) = queue
                && let Some(queue) = state.queues.get_mut(at)
            {
                queue.executing = queue.executing.saturating_sub(1);
                queue.in_use = queue.in_use.saturating_sub(width);
                queue.next += (since.elapsed().as_secs_f64() - GUESS) * width as f64;
            }
            state.note();
            state.waiting > 0
        };
        if waiting {
            self.serve();
        }
    }
}
