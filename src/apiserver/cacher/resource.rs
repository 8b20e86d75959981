//! The cache of one resource: a persistent map and a ring of recent changes.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use imbl::OrdMap;
use parking_lot::RwLock;
use rkind_store::{Entry, Revision};
use tokio::sync::watch;

use super::{Obj, ROOT};

/// How many changes of a resource can be watched from in the past.
const RING: usize = 2048;
/// How many bytes their objects may have; beyond it are the frames that watchers share, each as long.
const RING_BYTES: usize = 64 << 20;
/// How many old snapshots are kept for lists that go page by page.
const PAGED: usize = 16;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

impl ChangeKind {
    /// As a watch event's `type`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Added => "ADDED",
            ChangeKind::Modified => "MODIFIED",
            ChangeKind::Deleted => "DELETED",
        }
    }
}

/// Forms of watch frames that all watchers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameForm {
    Json,
    Protobuf,
}

/// One change of one object, shared by all watchers.
#[derive(Debug)]
pub(crate) struct Change {
    pub revision: Revision,
    pub kind: ChangeKind,
    /// The object after the change; for a deletion its last state, at the deletion's revision.
    pub object: Arc<Obj>,
    /// The object before the change.
    pub prev: Option<Arc<Obj>>,
    /// By [`FrameForm`] and [`ChangeKind`].
    frames: [[OnceLock<Bytes>; 3]; 2],
    /// The previous state at this change's revision, for watchers whose selector it left.
    left: OnceLock<Arc<Obj>>,
}

impl Change {
    fn new(kind: ChangeKind, object: Arc<Obj>, prev: Option<Arc<Obj>>) -> Self {
        Change {
            revision: object.revision,
            kind,
            object,
            prev,
            frames: Default::default(),
            left: OnceLock::new(),
        }
    }

    /// The object to show when this change is seen as `kind`.
    pub(crate) fn object_as(&self, kind: ChangeKind) -> &Arc<Obj> {
        match (&self.prev, kind, self.kind) {
            (Some(prev), ChangeKind::Deleted, ChangeKind::Added | ChangeKind::Modified) => {
                self.left.get_or_init(|| Arc::new(prev.at(self.revision)))
            }
            _ => &self.object,
        }
    }

    /// A watch frame that shows this change as `kind`; encoded by the first watcher of its form.
    pub(crate) fn frame(
        &self,
        kind: ChangeKind,
        form: FrameForm,
        encode: impl FnOnce(&Obj) -> Bytes,
    ) -> Bytes {
        self.frames[form as usize][kind as usize]
            .get_or_init(|| encode(self.object_as(kind)))
            .clone()
    }
}

/// Encodes a JSON watch frame, newline included.
pub(crate) fn json_frame(kind: ChangeKind, object: &Obj) -> Bytes {
    let mut out = Vec::with_capacity(object.json_len() + 40);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_str().as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    object.write_json(&mut out);
    out.extend_from_slice(b"}\n");
    out.into()
}

/// All objects of a resource as of `revision`.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub revision: Revision,
    pub objects: OrdMap<Arc<str>, Arc<Obj>>,
}

impl Snapshot {
    /// Objects whose key starts with `prefix`, strictly after the key `after`, in key order.
    pub(crate) fn range<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<Obj>> {
        use std::ops::Bound;
        let start: Bound<Arc<str>> = match after {
            Some(after) => Bound::Excluded(after.into()),
            None if prefix.is_empty() => Bound::Unbounded,
            None => Bound::Included(prefix.into()),
        };
        self.objects
            .range((start, Bound::Unbounded))
            .map(|(_, object)| object)
            .take_while(move |object| object.key.starts_with(prefix))
    }
}

struct State {
    objects: OrdMap<Arc<str>, Arc<Obj>>,
    ring: VecDeque<Arc<Change>>,
    /// Bytes of the objects in the ring.
    ring_bytes: usize,
    /// Number of changes that were in the ring before its first one.
    dropped: u64,
    /// Every change after this revision is in the ring.
    floor: Revision,
    /// Revision of the newest change.
    last: Revision,
    paged: VecDeque<Snapshot>,
    /// Keys whose stored bytes are no object: lists without them would be wrong.
    unreadable: BTreeSet<Arc<str>>,
}

/// The cache of one resource.
pub(crate) struct Cacher {
    resource: String,
    prefix_len: usize,
    state: RwLock<State>,
    /// Number of changes ever put into the ring.
    seen: watch::Sender<u64>,
}

impl Cacher {
    pub(super) fn new(resource: &str) -> Self {
        Cacher {
            resource: resource.to_owned(),
            prefix_len: ROOT.len() + resource.len() + 1,
            state: RwLock::new(State {
                objects: OrdMap::new(),
                ring: VecDeque::new(),
                ring_bytes: 0,
                dropped: 0,
                floor: 0,
                last: 0,
                paged: VecDeque::new(),
                unreadable: BTreeSet::new(),
            }),
            seen: watch::Sender::new(0),
        }
    }

    /// One object by `namespace/name` or `name`.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<Obj>> {
        self.state.read().objects.get(key).cloned()
    }

    /// The first key, as in the store, whose bytes are no object.
    pub(crate) fn unreadable(&self) -> Option<String> {
        let state = self.state.read();
        let key = state.unreadable.first()?;
        Some(format!("{ROOT}{}/{key}", self.resource))
    }

    /// Number of objects.
    pub(crate) fn len(&self) -> usize {
        self.state.read().objects.len()
    }

    /// All objects. `complete` is a revision that the caches were seen to have reached.
    pub(crate) fn snapshot(&self, complete: Revision) -> Snapshot {
        let state = self.state.read();
        Snapshot {
            revision: complete.max(state.last),
            objects: state.objects.clone(),
        }
    }

    /// Number of changes so far; moves whenever the resource changes.
    pub(crate) fn generation(&self) -> u64 {
        *self.seen.borrow()
    }

    /// Told after each batch of changes.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.seen.subscribe()
    }

    /// Keeps a snapshot for the next pages of a list.
    pub(crate) fn keep(&self, snapshot: &Snapshot) {
        let mut state = self.state.write();
        if state.paged.iter().any(|kept| kept.revision == snapshot.revision) {
            return;
        }
        if state.paged.len() == PAGED {
            state.paged.pop_front();
        }
        state.paged.push_back(snapshot.clone());
    }

    /// A snapshot kept by [`Cacher::keep`], or the present one if nothing changed since `revision`.
    pub(crate) fn kept(&self, revision: Revision) -> Option<Snapshot> {
        let state = self.state.read();
        if let Some(kept) = state.paged.iter().find(|kept| kept.revision == revision) {
            return Some(kept.clone());
        }
        (state.last <= revision).then(|| Snapshot {
            revision,
            objects: state.objects.clone(),
        })
    }

    /// Changes after `revision`.
    ///
    /// # Errors
    /// The oldest revision after which they are all known, when that is newer.
    pub(crate) fn subscribe(self: &Arc<Self>, revision: Revision) -> Result<Subscription, Revision> {
        let seen = self.seen.subscribe();
        let state = self.state.read();
        if revision < state.floor {
            return Err(state.floor);
        }
        let at = state.ring.partition_point(|change| change.revision <= revision);
        Ok(Subscription {
            cacher: self.clone(),
            next: state.dropped + at as u64,
            seen,
        })
    }

    /// A snapshot and the changes after it, with none between.
    pub(crate) fn snapshot_and_subscribe(self: &Arc<Self>, complete: Revision) -> (Snapshot, Subscription) {
        let seen = self.seen.subscribe();
        let state = self.state.read();
        let snapshot = Snapshot {
            revision: complete.max(state.last),
            objects: state.objects.clone(),
        };
        let next = state.dropped + state.ring.len() as u64;
        (
            snapshot,
            Subscription {
                cacher: self.clone(),
                next,
                seen,
            },
        )
    }

    pub(super) fn put(&self, entry: &Entry) {
        let key = &entry.key[self.prefix_len..];
        let object = match Obj::parse(&self.resource, key, entry) {
            Ok(object) => Arc::new(object),
            Err(error) => {
                tracing::error!(key = %entry.key, %error, "stored object cannot be read, its resource is not listed");
                let mut state = self.state.write();
                state.objects.remove(key);
                state.unreadable.insert(key.into());
                return;
            }
        };
        let mut state = self.state.write();
        state.unreadable.remove(&object.key);
        if state
            .objects
            .get(&*object.key)
            .is_some_and(|known| known.revision >= object.revision)
        {
            return;
        }
        let prev = state.objects.insert(object.key.clone(), object.clone());
        let kind = if prev.is_some() {
            ChangeKind::Modified
        } else {
            ChangeKind::Added
        };
        self.push(state, Change::new(kind, object, prev));
    }

    pub(super) fn remove(&self, key: &str, revision: Revision) {
        let mut state = self.state.write();
        state.unreadable.remove(&key[self.prefix_len..]);
        let Some(prev) = state.objects.remove(&key[self.prefix_len..]) else {
            return;
        };
        let object = Arc::new(prev.at(revision));
        self.push(state, Change::new(ChangeKind::Deleted, object, Some(prev)));
    }

    fn push(&self, mut state: parking_lot::RwLockWriteGuard<'_, State>, change: Change) {
        state.last = change.revision.max(state.last);
        state.ring_bytes += change.object.json_len();
        state.ring.push_back(Arc::new(change));
        // The newest change is for everybody, however large.
        while state.ring.len() > RING || (state.ring_bytes > RING_BYTES && state.ring.len() > 1) {
            let Some(old) = state.ring.pop_front() else { break };
            state.ring_bytes -= old.object.json_len();
            state.floor = old.revision;
            state.dropped += 1;
        }
        // A snapshot costs what has changed since: what the ring no longer has is the store's to give.
        let floor = state.floor;
        state.paged.retain(|kept| kept.revision >= floor);
        let seen = state.dropped + state.ring.len() as u64;
        drop(state);
        self.seen.send_replace(seen);
    }

    /// Makes the cache hold exactly `entries` as of `revision`. What happened before is not known: who
    /// followed the changes must begin anew, and nobody may begin in the past.
    pub(super) fn replace(&self, entries: Vec<Entry>, revision: Revision) {
        let known = self.state.read().objects.clone();
        let mut objects = OrdMap::new();
        let mut unreadable = BTreeSet::new();
        for entry in &entries {
            let key = &entry.key[self.prefix_len..];
            if let Some(same) = known.get(key).filter(|k| k.revision == entry.mod_revision) {
                objects.insert(same.key.clone(), same.clone());
                continue;
            }
            match Obj::parse(&self.resource, key, entry) {
                Ok(object) => {
                    objects.insert(object.key.clone(), Arc::new(object));
                }
                Err(error) => {
                    tracing::error!(key = %entry.key, %error, "stored object cannot be read");
                    unreadable.insert(key.into());
                }
            }
        }
        let mut state = self.state.write();
        state.objects = objects;
        state.unreadable = unreadable;
        // One more than there were: no subscriber's place is left.
        state.dropped += state.ring.len() as u64 + 1;
        state.ring.clear();
        state.ring_bytes = 0;
        state.paged.clear();
        state.floor = revision;
        state.last = revision;
        let seen = state.dropped;
        drop(state);
        self.seen.send_replace(seen);
    }
}

/// Why a subscription ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SubscriptionError {
    /// The subscriber was overtaken by the ring.
    Lagged,
    /// The cache is gone.
    Closed,
}

/// A position in a resource's changes.
pub(crate) struct Subscription {
    cacher: Arc<Cacher>,
    next: u64,
    seen: watch::Receiver<u64>,
}

impl Subscription {
    /// The changes since the last call, at most `limit`; empty when there is none yet.
    ///
    /// # Errors
    /// [`SubscriptionError::Lagged`] when some were lost.
    pub(crate) fn poll(&mut self, limit: usize) -> Result<Vec<Arc<Change>>, SubscriptionError> {
        self.seen.borrow_and_update();
        let state = self.cacher.state.read();
        let Some(skip) = self.next.checked_sub(state.dropped) else {
            return Err(SubscriptionError::Lagged);
        };
        let changes: Vec<_> = state
            .ring
            .iter()
            .skip(skip as usize)
            .take(limit)
            .cloned()
            .collect();
        self.next += changes.len() as u64;
        Ok(changes)
    }

    /// Waits until [`Subscription::poll`] may have something.
    ///
    /// # Errors
    /// [`SubscriptionError::Closed`] when there will be nothing more.
    pub(crate) async fn wait(&mut self) -> Result<(), SubscriptionError> {
        let next = self.next;
        self.seen
            .wait_for(|seen| *seen > next)
            .await
            .map(|_| ())
            .map_err(|_| SubscriptionError::Closed)
    }
}
