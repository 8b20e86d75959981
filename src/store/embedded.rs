//! The store inside this process: all state in memory, every acknowledged write on disk.
//!
//! # How it works
//! ```text
//! create/update/delete ──> queue ──> writer thread: takes all that waits, checks each against its
//!                                    state, writes one log record, syncs once, then
//!                                      1. publishes the new snapshot and feeds the watches
//!                                      2. answers the callers
//! get/range ──> newest snapshot (a persistent map; an atomic pointer, no lock)
//! ```
//! While a sync is under way further writes queue up and become the next record, so the batch grows
//! with the load and an idle store never waits for company.
//!
//! # Files
//! A store is one folder:
//! - `lock`: held exclusively while the store is open.
//! - `log-<base>.log`: the changes after revision `<base>`, see [`log`](self) below.
//! - `checkpoint-<revision>.ckp`: all entries at that revision.
//! - `*.tmp`: unfinished or spare, removed on opening.
//!
//! All numbers are little-endian.
//!
//! **Log.** A 32-byte header: magic `RKINDLOG`, `u32` format version (1), `u32` CRC-32 of the other
//! 28 bytes, `u64` base revision, `u64` salt. Then records, one per commit: `u32` length of the
//! payload, `u32` CRC-32 (of salt, base, length, payload), `u64` base: the store's revision before
//! the record, payload. A payload is a sequence of mutations: `u8` tag, then
//! - 1 put: `u32` key length, `u32` value length, key, value;
//! - 2 delete: `u32` key length, key;
//! - 3 compact: `u64` revision.
//!
//! Behind the last record may be zeros, allocated ahead.
//!
//! Put and delete take the next revision each, compact takes none. The salt differs per file, so that
//! no stored value and no left-over of another file can pass for a record.
//!
//! A record is written only after the one before it was synced. So after a crash at most the last one
//! is incomplete, and none of its writes was acknowledged: it is cut. A record that doesn't hold
//! although a sound one follows it (or in a log that has a successor) was damaged later: opening
//! fails with [`Error::Corrupt`] rather than dropping acknowledged writes.
//!
//! **Checkpoint.** A 32-byte header: magic `RKINDCKP`, `u32` format version (1), `u32` CRC-32 of the
//! other 28 bytes, `u64` revision, `u64` number of entries. Then blocks of about 1 MiB: `u32` length,
//! `u32` CRC-32 of the data, data. Data is a sequence of entries in key order: `u32` key length, `u32`
//! value length, `u64` create revision, `u64` mod revision, key, value. A checkpoint is written aside by
//! its own thread from an immutable snapshot while writing goes on in a new log; it is synced,
//! renamed, the folder synced, and only then are the logs and checkpoints it replaces removed.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{Entry, Error, Range, Result, Revision, Store, WatchStream};

mod checkpoint;
mod disk;
mod log;
mod open;
mod snapshot;
mod texts;
mod watchers;
mod writer;

#[doc(hidden)]
pub use self::disk::Faults;
pub use self::texts::Repeats;
use self::{
    disk::Disk,
    texts::Texts,
    watchers::Hub,
    writer::{Op, Request, Writer, Written},
};

/// Longest key in bytes.
pub const MAX_KEY: usize = 4 << 10;
/// Longest value in bytes. Upstream's etcd refuses requests over 1.5 MiB, its API server objects over
/// 3 MiB; the tighter limits are the API server's to set.
pub const MAX_VALUE: usize = 16 << 20;

/// How much of the past the store keeps by itself. Whatever is beyond any of the limits is compacted
/// with the next write.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Age of a revision. Upstream's API server compacts etcd every 5 minutes.
    pub age: Option<Duration>,
    /// Number of commits.
    pub commits: Option<usize>,
    /// Memory held by replaced and deleted values, in bytes.
    pub bytes: Option<u64>,
}

impl Retention {
    /// Keeps everything until [`Store::compact`].
    pub const FOREVER: Retention = Retention {
        age: None,
        commits: None,
        bytes: None,
    };
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            age: Some(Duration::from_secs(300)),
            commits: Some(50_000),
            bytes: Some(32 << 20),
        }
    }
}

/// How an [`EmbeddedStore`] behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size in bytes that a log reaches before a checkpoint replaces it (it also grows to at least the
    /// size of the last checkpoint, so that a large store isn't rewritten too often).
    pub checkpoint_after: u64,
    /// Bytes of zeros that a log is extended by ahead of its records: a sync that changes no file size is
    /// cheaper. 0: none.
    pub log_ahead: u64,
    /// Size in bytes at which the log goes on in a new file, which is made ready meanwhile: as
    /// `log_ahead`, for all of the file. 0: only a checkpoint begins a new one.
    pub log_size: u64,
    /// What history is kept without being asked.
    pub retention: Retention,
    /// Commits that may queue up for one watch before it is ended with [`Error::Slow`].
    pub watch_queue: usize,
    /// What of a value is to be held once for all that have it.
    pub repeats: Repeats,
    /// Test hook: asked before each step on disk. Leave it at its default.
    #[doc(hidden)]
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            checkpoint_after: 16 << 20,
            log_ahead: 512 << 10,
            log_size: 8 << 20,
            retention: Retention::default(),
            watch_queue: 4096,
            repeats: |_| Vec::new(),
            faults: Faults::default(),
        }
    }
}

/// A [`Store`] in a folder of this machine; see the module. Dropping it finishes what was handed over
/// and releases the folder.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    /// Hands requests to the writer; `None` once closed.
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
    dir: PathBuf,
}

/// What readers, writer and checkpoints have in common.
struct Shared {
    hub: Arc<Hub>,
    /// Why no write is acknowledged any more; set once, never cleared.
    failed: OnceLock<Error>,
    texts: Texts,
}

impl EmbeddedStore {
    /// Opens the store in `dir`, creating it when there is none.
    ///
    /// Errors: [`Error::Locked`] when another process (or this one) has it open, [`Error::Corrupt`]
    /// when a file is damaged in a way that a crash can't explain, [`Error::Io`].
    pub async fn open(dir: &Path, options: Options) -> Result<Self> {
        let dir = dir.to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(&dir, options)).await;
        opened.map_err(|_| Error::Closed)?
    }

    /// [`EmbeddedStore::open`] for callers without a runtime; blocks on the disk.
    pub fn open_blocking(dir: &Path, options: Options) -> Result<Self> {
        let disk = Disk::open(dir, options.faults.clone())?;
        let texts = Texts::new(options.repeats);
        let open::Opened {
            state,
            log,
            checkpoint_bytes,
            logs_behind,
        } = open::recover(&disk, options.log_ahead, &texts)?;
        let shared = Arc::new(Shared {
            hub: Arc::new(Hub::new(state.clone(), options.watch_queue)),
            failed: OnceLock::new(),
            texts,
        });
        let (requests, queue) = mpsc::channel();
        let writer = Writer::new(
            shared.clone(),
            disk,
            state,
            log,
            checkpoint_bytes,
            logs_behind,
            &options,
        );
        let writer = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(|source| Error::io("start its writer thread", source))?;
        Ok(EmbeddedStore {
            shared,
            requests: Mutex::new(Some(requests)),
            writer: Mutex::new(Some(writer)),
            dir: dir.to_owned(),
        })
    }

    /// The folder it lives in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Number of keys at the newest committed revision.
    pub fn len(&self) -> usize {
        self.shared.hub.snapshot().map.len()
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finishes what was handed over, ends all watches and releases the folder. Later calls that
    /// write or watch answer [`Error::Closed`].
    pub async fn close(&self) {
        let Some(writer) = self.shut() else { return };
        // An error would mean that the runtime is going away, and with it everybody who waits.
        let _ = tokio::task::spawn_blocking(move || writer.join()).await;
    }

    /// Lets the writer run dry; the first caller gets its handle.
    fn shut(&self) -> Option<thread::JoinHandle<()>> {
        self.requests.lock().take();
        self.writer.lock().take()
    }

    async fn submit(&self, op: Op) -> Result<Revision> {
        let (reply, answer) = oneshot::channel();
        let request = Request { op, reply };
        match &*self.requests.lock() {
            Some(queue) if queue.send(request).is_ok() => {}
            _ => return Err(self.shared.failed.get().cloned().unwrap_or(Error::Closed)),
        }
        answer.await.unwrap_or(Err(Error::Closed))
    }

    fn written(&self, bytes: Bytes) -> Written {
        let held = self.shared.texts.hold(&bytes);
        Written { bytes, held }
    }

    /// The key as committed, for refusing without a way over the queue: what is committed now
    /// already contradicts the caller, so the answer is the true one at this moment.
    fn committed(&self, key: &str) -> Option<Entry> {
        self.shared
            .hub
            .snapshot()
            .map
            .get(key)
            .map(|entry| Entry::clone(entry))
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        if let Some(writer) = self.shut() {
            // The writer only has the rest of its queue to do; without waiting, the folder could not
            // be opened again right away.
            let _ = writer.join();
        }
    }
}

fn check_size(key: &str, value: &[u8]) -> Result<()> {
    for (what, size, limit) in [("key", key.len(), MAX_KEY), ("value", value.len(), MAX_VALUE)] {
        if size > limit {
            return Err(Error::TooLarge { what, size, limit });
        }
    }
    Ok(())
}

#[async_trait]
impl Store for EmbeddedStore {
    fn revision(&self) -> Revision {
        self.shared.hub.snapshot().revision
    }

    fn oldest(&self) -> Revision {
        self.shared.hub.snapshot().oldest()
    }

    fn size(&self) -> Option<u64> {
        // A file that has just been replaced is none any more.
        let files = self.dir.read_dir().ok()?.flatten();
        Some(files.filter_map(|file| Some(file.metadata().ok()?.len())).sum())
    }

    fn health(&self) -> Result<()> {
        match self.shared.failed.get() {
            Some(error) => Err(error.clone()),
            None if self.requests.lock().is_none() => Err(Error::Closed),
            None => Ok(()),
        }
    }

    async fn get(&self, key: &str, at: Option<Revision>) -> Result<(Option<Entry>, Revision)> {
        self.shared.hub.snapshot().get(key, at)
    }

    async fn range(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Range> {
        let snapshot = Arc::clone(&self.shared.hub.snapshot());
        snapshot.range(prefix, after, limit, at)
    }

    async fn create(&self, key: &str, value: Bytes) -> Result<Revision> {
        check_size(key, &value)?;
        if let Some(current) = self.committed(key) {
            return Err(Error::Exists { current });
        }
        self.submit(Op::Create {
            key: key.into(),
            value: self.written(value),
        })
        .await
    }

    async fn update(&self, key: &str, expected: Revision, value: Bytes) -> Result<Revision> {
        check_size(key, &value)?;
        let current = self.committed(key);
        if current.as_ref().is_none_or(|entry| entry.mod_revision > expected) {
            return Err(Error::Conflict {
                key: key.into(),
                expected,
                current,
            });
        }
        self.submit(Op::Update {
            key: key.into(),
            expected,
            value: self.written(value),
        })
        .await
    }

    async fn delete(&self, key: &str, expected: Revision) -> Result<Revision> {
        match self.committed(key) {
            None => return Err(Error::NotFound { key: key.into() }),
            current @ Some(_)
                if current
                    .as_ref()
                    .is_some_and(|entry| entry.mod_revision > expected) =>
            {
                return Err(Error::Conflict {
                    key: key.into(),
                    expected,
                    current,
                });
            }
            Some(_) => {}
        }
        self.submit(Op::Delete {
            key: key.into(),
            expected,
        })
        .await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<WatchStream> {
        self.shared.hub.watch(prefix, from)
    }

    async fn progress(&self, prefix: &str) -> Result<()> {
        self.shared.hub.progress(prefix);
        Ok(())
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.submit(Op::Compact { revision }).await.map(drop)
    }
}

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let snapshot = self.shared.hub.snapshot();
        f.debug_struct("EmbeddedStore")
            .field("dir", &self.dir)
            .field("revision", &snapshot.revision)
            .field("keys", &snapshot.map.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
