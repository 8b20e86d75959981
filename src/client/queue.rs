//! A work queue with client-go's semantics.
//!
//! A key is worked on by one worker at a time; a key added while it is worked on comes again once
//! that is done; a key added many times comes once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backoff::exponential;

/// First delay of [`WorkQueue::add_rate_limited`].
const FIRST_RETRY: Duration = Duration::from_millis(5);
/// Longest delay of [`WorkQueue::add_rate_limited`].
const LONGEST_RETRY: Duration = Duration::from_secs(1000);

struct Delayed<T> {
    due: Instant,
    order: u64,
    key: T,
}

impl<T> PartialEq for Delayed<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.due, self.order) == (other.due, other.order)
    }
}
impl<T> Eq for Delayed<T> {}
impl<T> PartialOrd for Delayed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Delayed<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

struct State<T> {
    /// Keys to hand out. Invariant: every one is in `dirty`, none is in `processing`.
    ready: VecDeque<T>,
    /// Keys that need work, whether queued or waiting for their current run to end.
    dirty: HashSet<T>,
    processing: HashSet<T>,
    delayed: BinaryHeap<Reverse<Delayed<T>>>,
    /// The earliest due time of each delayed key; heap entries that say otherwise are stale.
    due: HashMap<T, Instant>,
    failures: HashMap<T, u32>,
    order: u64,
    shut_down: bool,
}

impl<T: Hash + Eq + Clone> State<T> {
    fn add(&mut self, key: T) {
        if self.shut_down || !self.dirty.insert(key.clone()) {
            return;
        }
        if !self.processing.contains(&key) {
            self.ready.push_back(key);
        }
    }

    /// Moves due keys to `ready`; gives the time of the next one that is not due.
    fn promote(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse(first)) = self.delayed.peek() {
            if first.due > now {
                return Some(first.due);
            }
            let Some(Reverse(first)) = self.delayed.pop() else {
                break;
            };
            if self.due.get(&first.key) == Some(&first.due) {
                self.due.remove(&first.key);
                self.add(first.key);
            }
        }
        None
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    wake: Notify,
}

/// See the module's head. Cheap to clone; clones are the same queue.
pub struct WorkQueue<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T: Hash + Eq + Clone> Default for WorkQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Hash + Eq + Clone> WorkQueue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    ready: VecDeque::new(),
                    dirty: HashSet::new(),
                    processing: HashSet::new(),
                    delayed: BinaryHeap::new(),
                    due: HashMap::new(),
                    failures: HashMap::new(),
                    order: 0,
                    shut_down: false,
                }),
                wake: Notify::new(),
            }),
        }
    }

    /// The key needs work.
    pub fn add(&self, key: T) {
        self.shared.state.lock().add(key);
        self.shared.wake.notify_one();
    }

    /// The key needs work in a while. Of several delays of one key the soonest counts.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let due = Instant::now() + delay;
        {
            let mut state = self.shared.state.lock();
            if state.shut_down || state.due.get(&key).is_some_and(|earlier| *earlier <= due) {
                return;
            }
            state.due.insert(key.clone(), due);
            state.order += 1;
            let order = state.order;
            state.delayed.push(Reverse(Delayed { due, order, key }));
        }
        self.shared.wake.notify_one();
    }

    /// The key failed: it comes again after 5 ms, 10 ms, … 1000 s, until [`WorkQueue::forget`].
    pub fn add_rate_limited(&self, key: T) {
        let failures = {
            let mut state = self.shared.state.lock();
            let count = state.failures.entry(key.clone()).or_insert(0);
            *count = count.saturating_add(1);
            *count - 1
        };
        self.add_after(key, exponential(FIRST_RETRY, LONGEST_RETRY, failures));
    }

    /// The key succeeded: its next failure is a first one.
    pub fn forget(&self, key: &T) {
        self.shared.state.lock().failures.remove(key);
    }

    /// How often the key has failed in a row.
    pub fn failures(&self, key: &T) -> u32 {
        self.shared.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// The next key, which must be given back with [`WorkQueue::done`]. `None` after
    /// [`WorkQueue::shut_down`]. Cancel-safe.
    pub async fn get(&self) -> Option<T> {
        loop {
            let next_due = {
                let mut state = self.shared.state.lock();
                if state.shut_down {
                    drop(state);
                    self.shared.wake.notify_one();
                    return None;
                }
                let next_due = state.promote(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.processing.insert(key.clone());
                    let more = !state.ready.is_empty() || next_due.is_some();
                    drop(state);
                    if more {
                        // One permit may stand for several keys, and somebody must watch the clock.
                        self.shared.wake.notify_one();
                    }
                    return Some(key);
                }
                next_due
            };
            match next_due {
                Some(due) => {
                    tokio::select! {
                        () = self.shared.wake.notified() => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
                None => self.shared.wake.notified().await,
            }
        }
    }

    /// The key's run has ended. If it was added meanwhile it is queued again.
    pub fn done(&self, key: &T) {
        {
            let mut state = self.shared.state.lock();
            state.processing.remove(key);
            if !state.dirty.contains(key) {
                return;
            }
            state.ready.push_back(key.clone());
        }
        self.shared.wake.notify_one();
    }

    /// Keys ready to be worked on now.
    pub fn len(&self) -> usize {
        self.shared.state.lock().ready.len()
    }

    /// Whether no key is ready.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// No more keys go in or out; waiting workers return.
    pub fn shut_down(&self) {
        self.shared.state.lock().shut_down = true;
        self.shared.wake.notify_one();
    }
}
