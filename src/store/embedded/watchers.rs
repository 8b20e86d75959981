//! Who watches what: hands each committed batch to the watches whose prefix it touches.
//!
//! Publishing and registering exclude each other, so a watch gets from the snapshot's history what
//! was committed before it registered and through its channel what comes after: no gap, nothing
//! twice. Publishing never waits: a full channel ends its watch.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use arc_swap::ArcSwap;
use futures::Stream;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::snapshot::{Batch, Snapshot};
use crate::{Error, Event, Result, Revision, WatchBatch, WatchStream};

/// Most queued batches that one poll of a watch gathers into one.
const GATHER: usize = 64;

/// The newest committed snapshot and the watches that follow it.
pub(super) struct Hub {
    snapshot: ArcSwap<Snapshot>,
    groups: Mutex<Groups>,
    /// Batches that may queue up for one watch.
    capacity: usize,
}

#[derive(Default)]
struct Groups {
    by_prefix: BTreeMap<Arc<str>, Vec<Watcher>>,
    next_id: u64,
    closed: bool,
}

struct Watcher {
    id: u64,
    sender: mpsc::Sender<Delivery>,
    /// Where the watch fell behind: the last revision queued for it; 0 while it keeps up.
    slow: Arc<AtomicU64>,
    /// Last revision queued for it.
    sent: Revision,
}

/// Events are shared by all watches on the same prefix.
#[derive(Clone)]
struct Delivery {
    revision: Revision,
    events: Arc<[Event]>,
}

impl Hub {
    pub(super) fn new(snapshot: Snapshot, capacity: usize) -> Self {
        Hub {
            snapshot: ArcSwap::from_pointee(snapshot),
            groups: Mutex::default(),
            capacity: capacity.max(1),
        }
    }

    /// The newest committed state; never waits.
    pub(super) fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Makes `snapshot` the newest state and delivers what its last commit changed.
    pub(super) fn publish(&self, snapshot: Arc<Snapshot>, batch: Option<&Batch>) {
        let mut groups = self.groups.lock();
        if let Some(batch) = batch {
            groups.by_prefix.retain(|prefix, watchers| {
                if let Some(events) = select(&batch.events, prefix) {
                    send(
                        watchers,
                        &Delivery {
                            revision: batch.last,
                            events,
                        },
                    );
                }
                !watchers.is_empty()
            });
        }
        // Only now: who reads this revision may rely on its events being queued.
        self.snapshot.store(snapshot);
    }

    /// See [`crate::Store::progress`].
    pub(super) fn progress(&self, prefix: &str) {
        let mut groups = self.groups.lock();
        let revision = self.snapshot.load().revision;
        if let Some(watchers) = groups.by_prefix.get_mut(prefix) {
            send(
                watchers,
                &Delivery {
                    revision,
                    events: Arc::from([]),
                },
            );
        }
    }

    /// See [`crate::Store::watch`].
    pub(super) fn watch(self: &Arc<Self>, prefix: &str, from: Revision) -> Result<WatchStream> {
        let slow = Arc::new(AtomicU64::new(0));
        let (sender, receiver) = mpsc::channel(self.capacity);
        let mut groups = self.groups.lock();
        if groups.closed {
            return Err(Error::Closed);
        }
        let snapshot = self.snapshot.load_full();
        if from != 0 && from <= snapshot.compacted {
            return Err(Error::Compacted {
                requested: from,
                oldest: snapshot.compacted + 1,
            });
        }
        let id = groups.next_id;
        groups.next_id += 1;
        let watcher = Watcher {
            id,
            sender,
            slow: slow.clone(),
            sent: snapshot.revision,
        };
        let prefix: Arc<str> = match groups.by_prefix.get_key_value(prefix) {
            Some((known, _)) => known.clone(),
            None => prefix.into(),
        };
        groups.by_prefix.entry(prefix.clone()).or_default().push(watcher);
        drop(groups);

        let backlog = if from == 0 || from > snapshot.revision {
            None
        } else {
            let events = snapshot
                .events_from(from)
                .filter(|e| e.key().starts_with(&*prefix))
                .cloned()
                .collect();
            Some(WatchBatch {
                revision: snapshot.revision,
                events,
            })
        };
        let begun = if from == 0 {
            snapshot.revision
        } else {
            snapshot.revision.min(from - 1)
        };
        let live = Live {
            backlog: backlog.filter(|batch| !batch.events.is_empty()),
            from,
            receiver,
            gathered: Vec::new(),
            slow,
            registration: Registration {
                hub: Arc::downgrade(self),
                prefix,
                id,
            },
        };
        Ok(WatchStream::new(begun, live))
    }

    /// Ends all watches and refuses new ones.
    pub(super) fn close(&self) {
        let mut groups = self.groups.lock();
        groups.closed = true;
        groups.by_prefix.clear();
    }
}

/// The events of a batch under `prefix`: the batch itself when that is all, `None` when it is none.
fn select(events: &Arc<[Event]>, prefix: &str) -> Option<Arc<[Event]>> {
    let matching = events
        .iter()
        .filter(|event| event.key().starts_with(prefix))
        .count();
    match matching {
        0 => None,
        all if all == events.len() => Some(events.clone()),
        _ => Some(
            events
                .iter()
                .filter(|event| event.key().starts_with(prefix))
                .cloned()
                .collect(),
        ),
    }
}

fn send(watchers: &mut Vec<Watcher>, delivery: &Delivery) {
    watchers.retain_mut(|watcher| match watcher.sender.try_send(delivery.clone()) {
        Ok(()) => {
            watcher.sent = delivery.revision;
            true
        }
        Err(mpsc::error::TrySendError::Full(_)) => {
            // Before the sender goes: the consumer looks here when its channel ends.
            watcher.slow.store(watcher.sent, Ordering::Release);
            false
        }
        Err(mpsc::error::TrySendError::Closed(_)) => false,
    });
}

/// Takes the watch off the hub when its stream is dropped, also if nothing is ever written again.
struct Registration {
    hub: Weak<Hub>,
    prefix: Arc<str>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(hub) = self.hub.upgrade() else { return };
        let mut groups = hub.groups.lock();
        if let Some(watchers) = groups.by_prefix.get_mut(&self.prefix) {
            watchers.retain(|watcher| watcher.id != self.id);
            if watchers.is_empty() {
                groups.by_prefix.remove(&self.prefix);
            }
        }
    }
}

/// First the backlog, then what is published.
struct Live {
    backlog: Option<WatchBatch>,
    /// Events before this revision are not wanted (a watch that begins in the future).
    from: Revision,
    receiver: mpsc::Receiver<Delivery>,
    gathered: Vec<Delivery>,
    slow: Arc<AtomicU64>,
    registration: Registration,
}

impl Stream for Live {
    type Item = Result<WatchBatch>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(batch) = this.backlog.take() {
            return Poll::Ready(Some(Ok(batch)));
        }
        let count = ready!(this.receiver.poll_recv_many(cx, &mut this.gathered, GATHER));
        if let (Some(last), Some(hub)) = (this.gathered.last(), this.registration.hub.upgrade())
            && hub.snapshot().revision < last.revision
        {
            // Watches are fed a moment before readers see the change, and the writer may lose its
            // processor in between. It holds this lock over both: behind it, both are done.
            drop(hub.groups.lock());
        }
        if count == 0 {
            let error = match this.slow.load(Ordering::Acquire) {
                0 => Error::Closed,
                revision => Error::Slow { revision },
            };
            tracing::debug!(prefix = %this.registration.prefix, %error, "watch ends");
            return Poll::Ready(Some(Err(error)));
        }
        let mut batch = WatchBatch {
            revision: 0,
            events: Vec::new(),
        };
        for delivery in this.gathered.drain(..) {
            batch.revision = delivery.revision;
            batch.events.extend(
                delivery
                    .events
                    .iter()
                    .filter(|e| e.revision() >= this.from)
                    .cloned(),
            );
        }
        Poll::Ready(Some(Ok(batch)))
    }
}
