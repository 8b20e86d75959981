//! Pods that wait for a node: which one is next, and when a pod that found none is tried again.
//!
//! - *active*: to be tried, by priority, then by age;
//! - *backing off*: to be tried once some time has passed since the last attempt (1 s, doubling, at
//!   most 10 s), or sooner if nothing else is to be done;
//! - *unschedulable*: waiting for something in the cluster to change that may help; looked at again
//!   after five minutes whatever happens;
//! - *gated*: waiting for its scheduling gates to be lifted (KEP-3521).
//!
//! Time comes in as an argument: the queue itself has no clock.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{plugins::PluginSet, pod::PodInfo};

/// First and longest wait between attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// After this time an unschedulable pod is tried again, whatever happens.
const FLUSH_AFTER: Duration = Duration::from_secs(300);

/// Order in the active queue: higher priority first, then who waits longer, then who came first.
type Order = (Reverse<i32>, Instant, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// With the time it became active, for pods of equal priority.
    Active(Instant),
    BackingOff {
        until: Instant,
        /// The last attempt failed for reasons outside of the cluster's state: no early retry helps.
        error: bool,
    },
    Unschedulable {
        since: Instant,
    },
    Gated,
    /// Handed out; comes back with [`Queue::failed`] or goes with [`Queue::remove`].
    InFlight,
}

/// One waiting pod.
#[derive(Debug)]
struct Waiting {
    pod: Arc<PodInfo>,
    state: State,
    attempts: u32,
    /// What stood in the way last time.
    rejected_by: PluginSet,
    last_attempt: Option<Instant>,
    serial: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<Arc<str>, Waiting>,
    active: BTreeSet<(Order, Arc<str>)>,
    backing_off: BTreeSet<(Instant, Arc<str>)>,
    unschedulable: BTreeSet<(Instant, Arc<str>)>,
    serial: u64,
}

/// Whether a pod has gates left.
fn is_gated(pod: &PodInfo) -> bool {
    let gates = pod
        .pod
        .spec
        .as_ref()
        .and_then(|spec| spec.scheduling_gates.as_ref());
    gates.is_some_and(|gates| !gates.is_empty())
}

/// Wait after so many failed attempts.
fn backoff(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    BACKOFF.0.saturating_mul(1 << doublings).min(BACKOFF.1)
}

impl Queue {
    /// A pod without a node appeared or changed. A change of the spec or the labels gives an unschedulable
    /// pod a new chance.
    pub fn set(&mut self, pod: Arc<PodInfo>, now: Instant) {
        let uid = pod.uid.clone();
        let gated = is_gated(&pod);
        let Some(waiting) = self.pods.get_mut(&uid) else {
            self.serial += 1;
            let state = if gated { State::Gated } else { State::Active(now) };
            let waiting = Waiting {
                pod,
                state,
                attempts: 0,
                rejected_by: PluginSet::default(),
                last_attempt: None,
                serial: self.serial,
            };
            self.pods.insert(uid.clone(), waiting);
            self.index(&uid, true);
            return;
        };
        let old = std::mem::replace(&mut waiting.pod, pod);
        let state = waiting.state;
        let changed = old.pod.spec != waiting.pod.pod.spec
            || old.pod.metadata.labels != waiting.pod.pod.metadata.labels;
        match state {
            State::Gated if !gated => self.enter(&uid, State::Active(now)),
            State::InFlight | State::Gated => {}
            _ if gated => self.enter(&uid, State::Gated),
            // The order depends on the pod's priority, which can't change.
            State::Unschedulable { .. } if changed => self.wake(&uid, now),
            _ => {}
        }
    }

    /// The pod has a node now, or is gone.
    pub fn remove(&mut self, uid: &str) {
        let Some((uid, _)) = self.pods.get_key_value(uid) else {
            return;
        };
        let uid = uid.clone();
        self.index(&uid, false);
        self.pods.remove(&uid);
    }

    /// The pod to be tried next. It stays known until it is removed or reported as failed.
    pub fn pop(&mut self, now: Instant) -> Option<Arc<PodInfo>> {
        while let Some((until, uid)) = self.backing_off.first().cloned() {
            if until > now {
                break;
            }
            self.enter(&uid, State::Active(now));
        }
        while let Some((since, uid)) = self.unschedulable.first().cloned() {
            if since + FLUSH_AFTER > now {
                break;
            }
            self.enter(&uid, State::Active(now));
        }
        let uid = match self.active.first() {
            Some((_, uid)) => uid.clone(),
            None => self.early()?,
        };
        self.enter(&uid, State::InFlight);
        let waiting = self.pods.get_mut(&uid)?;
        waiting.attempts += 1;
        waiting.last_attempt = Some(now);
        Some(waiting.pod.clone())
    }

    /// A pod that need not sit out its time, as there is nothing else to do: something it waited for has
    /// changed.
    fn early(&self) -> Option<Arc<str>> {
        let early = |uid: &&Arc<str>| {
            let waiting = self.pods.get(*uid);
            waiting.is_some_and(|w| matches!(w.state, State::BackingOff { error: false, .. }))
        };
        self.backing_off.iter().map(|(_, uid)| uid).find(early).cloned()
    }

    /// A pod that was handed out found no node because of these rules.
    pub fn unschedulable(&mut self, uid: &str, rejected_by: PluginSet, now: Instant) {
        let Some((uid, _)) = self.pods.get_key_value(uid) else {
            return;
        };
        let uid = uid.clone();
        if let Some(waiting) = self.pods.get_mut(&uid) {
            waiting.rejected_by = rejected_by;
        }
        self.enter(&uid, State::Unschedulable { since: now });
    }

    /// A pod that was handed out could not be placed for a reason outside of the cluster's state.
    pub fn failed(&mut self, uid: &str, now: Instant) {
        let Some((uid, waiting)) = self.pods.get_key_value(uid) else {
            return;
        };
        let (uid, wait) = (uid.clone(), backoff(waiting.attempts));
        self.enter(
            &uid,
            State::BackingOff {
                until: now + wait,
                error: true,
            },
        );
    }

    /// Something changed; pods for which `helps` says so are tried again.
    pub fn changed(&mut self, now: Instant, mut helps: impl FnMut(&PodInfo, PluginSet) -> bool) {
        let woken: Vec<_> = self
            .unschedulable
            .iter()
            .filter(|(_, uid)| self.pods.get(uid).is_some_and(|w| helps(&w.pod, w.rejected_by)))
            .map(|(_, uid)| uid.clone())
            .collect();
        for uid in woken {
            self.wake(&uid, now);
        }
    }

    /// From unschedulable to active, or to backing off while its time is not over.
    fn wake(&mut self, uid: &Arc<str>, now: Instant) {
        let Some(waiting) = self.pods.get(uid) else { return };
        let until = waiting.last_attempt.map(|last| last + backoff(waiting.attempts));
        match until.filter(|until| *until > now) {
            Some(until) => self.enter(uid, State::BackingOff { until, error: false }),
            None => self.enter(uid, State::Active(now)),
        }
    }

    fn enter(&mut self, uid: &Arc<str>, state: State) {
        self.index(uid, false);
        if let Some(waiting) = self.pods.get_mut(uid) {
            waiting.state = state;
        }
        self.index(uid, true);
    }

    /// Puts a pod into (or takes it out of) the index of its state.
    fn index(&mut self, uid: &Arc<str>, present: bool) {
        fn put<T: Ord>(set: &mut BTreeSet<T>, value: T, present: bool) {
            if present {
                set.insert(value);
            } else {
                set.remove(&value);
            }
        }
        let Some(waiting) = self.pods.get(uid) else { return };
        match waiting.state {
            State::Active(since) => {
                let order = (Reverse(waiting.pod.priority), since, waiting.serial);
                put(&mut self.active, (order, uid.clone()), present);
            }
            State::BackingOff { until, .. } => put(&mut self.backing_off, (until, uid.clone()), present),
            State::Unschedulable { since } => put(&mut self.unschedulable, (since, uid.clone()), present),
            State::Gated | State::InFlight => {}
        }
    }

    /// Whether a pod could be handed out now.
    pub fn is_ready(&self, now: Instant) -> bool {
        !self.active.is_empty() || self.early().is_some() || self.next_due().is_some_and(|due| due <= now)
    }

    /// When the next pod becomes due by time alone.
    pub fn next_due(&self) -> Option<Instant> {
        let backing_off = self.backing_off.first().map(|(until, _)| *until);
        let unschedulable = self.unschedulable.first().map(|(since, _)| *since + FLUSH_AFTER);
        backing_off.into_iter().chain(unschedulable).min()
    }

    /// The pod as last seen, if it waits.
    pub fn get(&self, uid: &str) -> Option<&Arc<PodInfo>> {
        self.pods.get(uid).map(|waiting| &waiting.pod)
    }

    /// Number of pods that wait, in whatever state.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether no pod waits.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }
}

#[cfg(test)]
mod tests;
