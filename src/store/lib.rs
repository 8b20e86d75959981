//! The store: what must survive a restart, and the one order of all changes.
//!
//! **For:** keeping every object of a cluster as opaque bytes under a path-like key, with the
//! semantics that Kubernetes' API machinery expects of its storage: one revision counter for the
//! whole store, compare-and-swap writes, consistent ranges (also at an older, retained revision),
//! watches that start at a revision and miss nothing, compaction of the past.
//!
//! **Comes in:** keys, bytes and expected revisions. **Goes out:** entries, events and revisions.
//!
//! **Must never know:** what an object is (JSON, kinds, labels), who asks, HTTP.
//!
//! The door is the [`Store`] trait. [`embedded::EmbeddedStore`] implements it in this process: all
//! state readable from memory without locks, every acknowledged write on disk. [`contract`] is the
//! test that every implementation passes; it takes any `Arc<dyn Store>`, so that an etcd-backed one
//! proves itself with the same calls.
//!
//! # Words
//! - *Revision*: `u64`, at least 1. An empty store is at revision 1; each committed mutation of one
//!   key adds exactly 1. Upstream: `resourceVersion`, etcd's `mod_revision`
//!   (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>).
//! - *Committed*: durable. Only committed revisions can be read or watched.
//! - *Compacted*: revisions whose history is gone. With the history compacted at `c`, reads at
//!   revisions `>= c` and watches from revisions `> c` are answered.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub mod contract;
pub mod embedded;
mod error;
mod value;
mod watch;

pub use error::{Error, Result};
pub use value::Value;
pub use watch::{WatchBatch, WatchStream};

/// Position in the store's one order of changes; at least 1.
pub type Revision = u64;

/// One key with its value as of one revision. Cloning copies reference counts, no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Full key, for example `/registry/pods/default/web-0`.
    pub key: Arc<str>,
    /// The bytes that were written, unchanged.
    pub value: Value,
    /// Revision of the write that created the key (since it was last deleted).
    pub create_revision: Revision,
    /// Revision of the newest write of the key.
    pub mod_revision: Revision,
}

/// One committed change of one key. Entries are those that the store itself holds: cloning an event
/// copies reference counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key was created (`prev` is `None`) or replaced.
    Put {
        /// The key as written; its `mod_revision` is the event's revision.
        entry: Arc<Entry>,
        /// The key before this write.
        prev: Option<Arc<Entry>>,
    },
    /// The key was deleted.
    Delete {
        /// The key before its deletion.
        prev: Arc<Entry>,
        /// Revision of the deletion.
        revision: Revision,
    },
}

impl Event {
    /// Revision at which this change was committed.
    pub fn revision(&self) -> Revision {
        match self {
            Event::Put { entry, .. } => entry.mod_revision,
            Event::Delete { revision, .. } => *revision,
        }
    }

    /// The key that changed.
    pub fn key(&self) -> &Arc<str> {
        match self {
            Event::Put { entry, .. } => &entry.key,
            Event::Delete { prev, .. } => &prev.key,
        }
    }

    /// The key before this change, if it existed.
    pub fn prev(&self) -> Option<&Arc<Entry>> {
        match self {
            Event::Put { prev, .. } => prev.as_ref(),
            Event::Delete { prev, .. } => Some(prev),
        }
    }
}

/// Answer of [`Store::range`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Entries in ascending byte order of their keys.
    pub entries: Vec<Entry>,
    /// The revision that all entries are read at: the requested one, else the newest committed.
    pub revision: Revision,
    /// How many entries follow the last one returned (0 when `limit` did not cut).
    pub remaining: u64,
}

/// An ordered, versioned, durable map with compare-and-swap and watch.
///
/// All methods are linearizable: an acknowledged write is seen by every later read, and a write is
/// acknowledged only when it is durable. Dropping a returned future does not undo a write that was
/// already handed over.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Newest committed revision. Every watch has had all events up to it queued before it is
    /// returned here.
    fn revision(&self) -> Revision;

    /// Oldest revision that can still be read (`at`); watches may start at the one after it.
    fn oldest(&self) -> Revision;

    /// Whether writes can be acknowledged at all; the error says why not. For health checks.
    fn health(&self) -> Result<()>;

    /// Bytes that it takes on this machine's disk; `None` for one that is elsewhere.
    fn size(&self) -> Option<u64> {
        None
    }

    /// Whether a key's value, read before, should be written anew although it does not change: its
    /// stored form is an older one (an encryption key was replaced).
    fn is_stale(&self, _key: &str) -> bool {
        false
    }

    /// One key, at the newest committed revision or at `at`. The revision returned is the one read
    /// at.
    ///
    /// Errors: [`Error::Compacted`] and [`Error::Future`] for `at` outside of the retained history.
    async fn get(&self, key: &str, at: Option<Revision>) -> Result<(Option<Entry>, Revision)>;

    /// Entries whose key starts with `prefix`, in key order, strictly after the key `after`, at most
    /// `limit` of them (0: all), at the newest committed revision or at `at`.
    ///
    /// To page, pass the last key as `after` and the first page's `revision` as `at`.
    ///
    /// Errors: as [`Store::get`].
    async fn range(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Range>;

    /// Creates a key that must not exist. Returns the new revision.
    ///
    /// Errors: [`Error::Exists`] with the entry in the way.
    async fn create(&self, key: &str, value: Bytes) -> Result<Revision>;

    /// Replaces the key's value if its `mod_revision` is `expected`. Returns the new revision.
    ///
    /// Errors: [`Error::Conflict`] with what is there now (`None`: the key does not exist).
    async fn update(&self, key: &str, expected: Revision, value: Bytes) -> Result<Revision>;

    /// Deletes the key if its `mod_revision` is `expected`. Returns the revision of the deletion.
    ///
    /// Errors: [`Error::NotFound`] if the key does not exist, else [`Error::Conflict`].
    async fn delete(&self, key: &str, expected: Revision) -> Result<Revision>;

    /// Changes of keys that start with `prefix`, from revision `from` on (0: from now), in revision
    /// order, none twice, none missing. `from` may lie in the future: earlier events are then left
    /// out. What is yielded can be read: [`Store::revision`] has reached it.
    ///
    /// The stream never ends while the store is open, except with one error: [`Error::Slow`] when
    /// the consumer lets too much pile up, [`Error::Closed`] when the store closes. A slow consumer
    /// never delays a writer.
    ///
    /// Errors: [`Error::Compacted`] if `from` is not after [`Store::oldest`].
    async fn watch(&self, prefix: &str, from: Revision) -> Result<WatchStream>;

    /// Asks every watch on exactly `prefix` for a batch, empty if need be, so that its consumer
    /// learns by [`WatchStream::revision`] that it has seen everything committed before this call.
    async fn progress(&self, prefix: &str) -> Result<()>;

    /// Forgets the history before `revision`. Compacting at or before [`Store::oldest`] changes
    /// nothing.
    ///
    /// Errors: [`Error::Future`].
    async fn compact(&self, revision: Revision) -> Result<()>;
}
