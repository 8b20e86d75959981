//! Subscriptions that lose no key and block nobody.
//!
//! A subscriber that falls behind gets fewer, coalesced changes instead of a full buffer: the
//! pending set holds each key at most once.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use futures::Stream;
use parking_lot::Mutex;

use crate::ObjectKey;

/// What changed since this subscriber last heard of the key.
#[derive(Debug)]
pub struct Change<K> {
    /// The object's key.
    pub key: ObjectKey,
    /// The object as this subscriber last saw it; `None` for a new one. For an object which came and
    /// went before the subscriber looked, the last known state.
    pub old: Option<Arc<K>>,
    /// The object now; `None` once it is deleted. May be a different object (other uid) than `old`
    /// when one was deleted and made again in between.
    pub new: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The newest known state, deleted or not.
    pub fn latest(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            old: self.old.clone(),
            new: self.new.clone(),
        }
    }
}

type OldNew<K> = (Option<Arc<K>>, Option<Arc<K>>);

struct Pending<K> {
    order: VecDeque<ObjectKey>,
    /// Invariant: holds exactly the keys of `order`.
    changes: HashMap<ObjectKey, OldNew<K>>,
    waker: Option<Waker>,
    closed: bool,
}

pub(crate) struct Channel<K> {
    pending: Mutex<Pending<K>>,
}

impl<K> Channel<K> {
    pub(crate) fn push(&self, key: &ObjectKey, old: Option<Arc<K>>, new: Option<Arc<K>>) {
        let waker = {
            let mut pending = self.pending.lock();
            match pending.changes.get_mut(key) {
                Some(change) => {
                    if change.0.is_none() && new.is_none() {
                        change.0 = old;
                    }
                    change.1 = new;
                }
                None => {
                    pending.changes.insert(key.clone(), (old, new));
                    pending.order.push_back(key.clone());
                }
            }
            pending.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn close(&self) {
        let waker = {
            let mut pending = self.pending.lock();
            pending.closed = true;
            pending.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The receiving end: a stream of [`Change`]s. Ends when the informer it came from is stopped.
pub struct Subscription<K> {
    channel: Arc<Channel<K>>,
}

impl<K> Subscription<K> {
    pub(crate) fn new() -> (Self, Weak<Channel<K>>) {
        let channel = Arc::new(Channel {
            pending: Mutex::new(Pending {
                order: VecDeque::new(),
                changes: HashMap::new(),
                waker: None,
                closed: false,
            }),
        });
        let weak = Arc::downgrade(&channel);
        (Self { channel }, weak)
    }

    /// The next change; `None` once the informer is stopped. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Change<K>> {
        std::future::poll_fn(|cx| self.poll_change(cx)).await
    }

    /// A change that is already there.
    pub fn try_recv(&mut self) -> Option<Change<K>> {
        let mut pending = self.channel.pending.lock();
        let key = pending.order.pop_front()?;
        let (old, new) = pending.changes.remove(&key).unwrap_or((None, None));
        Some(Change { key, old, new })
    }

    fn poll_change(&mut self, cx: &mut Context<'_>) -> Poll<Option<Change<K>>> {
        let mut pending = self.channel.pending.lock();
        if let Some(key) = pending.order.pop_front() {
            let (old, new) = pending.changes.remove(&key).unwrap_or((None, None));
            return Poll::Ready(Some(Change { key, old, new }));
        }
        if pending.closed {
            return Poll::Ready(None);
        }
        pending.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<K> Stream for Subscription<K> {
    type Item = Change<K>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_change(cx)
    }
}
