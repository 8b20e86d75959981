//! The one thread that changes the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    Options, Retention, Shared, checkpoint,
    disk::{Disk, Kind, Spare},
    log::{LogFile, Record},
    snapshot::{Batch, Snapshot},
};
use crate::{Entry, Error, Result, Revision, Value};

/// Requests that go into one record at most.
const MAX_BATCH: usize = 4096;
/// Record size in bytes after which no further request joins it.
const MAX_RECORD: usize = 4 << 20;

/// A value, for the log and for the memory.
pub(super) struct Written {
    pub(super) bytes: Bytes,
    pub(super) held: Value,
}

/// What a caller wants changed.
pub(super) enum Op {
    Create {
        key: Arc<str>,
        value: Written,
    },
    Update {
        key: Arc<str>,
        expected: Revision,
        value: Written,
    },
    Delete {
        key: Arc<str>,
        expected: Revision,
    },
    Compact {
        revision: Revision,
    },
}

/// One call, waiting for its answer.
pub(super) struct Request {
    pub(super) op: Op,
    pub(super) reply: oneshot::Sender<Result<Revision>>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    disk: Disk,
    /// The newest state including what is not committed yet; never published before its sync.
    state: Snapshot,
    log: LogFile,
    record: Record,
    retention: Retention,
    checkpoint_after: u64,
    log_ahead: u64,
    log_size: u64,
    spare: NextFile,
    checkpoint: Checkpoint,
}

/// The file for the next log, made by a thread of its own.
#[derive(Default)]
struct NextFile(Option<thread::JoinHandle<Option<Spare>>>);

impl NextFile {
    /// Has it made, unless that is done or under way.
    fn make(&mut self, disk: &Disk, size: u64) {
        if self.0.is_some() {
            return;
        }
        let disk = disk.clone();
        let spawned = thread::Builder::new()
            .name("store-spare".to_owned())
            .spawn(move || {
                disk.spare(size)
                    .inspect_err(
                        |error| tracing::warn!(%error, "cannot make a spare file for the store's log"),
                    )
                    .ok()
            });
        self.0 = spawned.ok();
    }

    /// Gives it, when it is there.
    fn take(&mut self) -> Option<Spare> {
        // A panic there was reported by its own thread.
        self.0.take_if(|thread| thread.is_finished())?.join().ok()?
    }

    /// Ends when nothing is under way any more; the file is gone then.
    fn wait(&mut self) {
        drop(self.0.take().map(thread::JoinHandle::join));
    }
}

/// The checkpoint under way, if any.
struct Checkpoint {
    /// Size of the newest one in bytes.
    bytes: u64,
    /// Bytes of the logs since then, but for the one that is being written.
    behind: u64,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<Option<u64>>>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        disk: Disk,
        state: Snapshot,
        log: LogFile,
        checkpoint_bytes: u64,
        logs_behind: u64,
        options: &Options,
    ) -> Self {
        Writer {
            shared,
            disk,
            state,
            log,
            record: Record::new(),
            retention: options.retention.clone(),
            checkpoint_after: options.checkpoint_after,
            log_ahead: options.log_ahead,
            log_size: options.log_size,
            spare: NextFile::default(),
            checkpoint: Checkpoint {
                bytes: checkpoint_bytes,
                behind: logs_behind,
                stop: Arc::default(),
                thread: None,
            },
        }
    }

    /// Serves the queue until all its senders are gone.
    pub(super) fn run(mut self, queue: mpsc::Receiver<Request>) {
        let mut answers = Vec::new();
        while let Ok(first) = queue.recv() {
            if let Some(error) = self.shared.failed.get() {
                // The caller may have gone; then nobody needs the answer. The same below.
                let _ = first.reply.send(Err(error.clone()));
                continue;
            }
            let mut events = Vec::new();
            self.record.clear();
            let mut next = Some(first);
            while let Some(Request { op, reply }) = next {
                let answer = self.stage(op, &mut events);
                answers.push((reply, answer));
                let full = answers.len() >= MAX_BATCH || self.record.len() >= MAX_RECORD;
                next = if full { None } else { queue.try_recv().ok() };
            }
            let committed = self.commit(events);
            for (reply, answer) in answers.drain(..) {
                // Refusals wait too: they may rest on a change of this very batch.
                let _ = reply.send(committed.clone().and(answer));
            }
            self.turn_page_if_due();
            self.checkpoint_if_due();
        }
        self.shared.hub.close();
        // It has a hold on the folder.
        self.spare.wait();
        self.checkpoint.stop.store(true, Ordering::Relaxed);
        self.checkpoint.join();
    }

    /// Checks one request against the newest state and applies it there and to the record.
    fn stage(&mut self, op: Op, events: &mut Vec<crate::Event>) -> Result<Revision> {
        match op {
            Op::Create { key, value } => {
                if let Some(current) = self.current(&key) {
                    return Err(Error::Exists { current });
                }
                self.record.put(&key, &value.bytes);
                events.push(self.state.put(key, value.held));
            }
            Op::Update { key, expected, value } => {
                let current = self.current(&key);
                if current
                    .as_ref()
                    .is_none_or(|entry| entry.mod_revision != expected)
                {
                    return Err(Error::Conflict {
                        key,
                        expected,
                        current,
                    });
                }
                self.record.put(&key, &value.bytes);
                events.push(self.state.put(key, value.held));
            }
            Op::Delete { key, expected } => match self.current(&key) {
                None => return Err(Error::NotFound { key }),
                Some(current) if current.mod_revision != expected => {
                    return Err(Error::Conflict {
                        key,
                        expected,
                        current: Some(current),
                    });
                }
                Some(_) => {
                    self.record.delete(&key);
                    events.extend(self.state.delete(&key));
                }
            },
            Op::Compact { revision } => {
                let current = self.state.revision;
                if revision > current {
                    return Err(Error::Future {
                        requested: revision,
                        current,
                    });
                }
                if revision > self.state.compacted {
                    self.record.compact(revision);
                    self.state.compact(revision);
                }
            }
        }
        Ok(self.state.revision)
    }

    fn current(&self, key: &str) -> Option<Entry> {
        self.state.map.get(key).map(|entry| Entry::clone(entry))
    }

    /// Makes the record durable, then the state visible.
    fn commit(&mut self, events: Vec<crate::Event>) -> Result<()> {
        if self.record.is_empty() {
            return Ok(());
        }
        let base = events
            .first()
            .map_or(self.state.revision, |event| event.revision() - 1);
        if let Err(source) = self.log.append(&self.disk, &mut self.record, base) {
            let path = self.disk.path(Kind::Log, self.log.base);
            let error = Error::io(format!("append to {}", path.display()), source);
            tracing::error!(%error, cause = ?std::error::Error::source(&error), "store takes no more writes");
            return Err(self.shared.failed.get_or_init(|| error).clone());
        }
        let batch = Batch::new(events, Instant::now()).map(Arc::new);
        if let Some(batch) = &batch {
            self.state.remember(batch.clone());
        }
        self.state.retain(&self.retention, Instant::now());
        self.shared
            .hub
            .publish(Arc::new(self.state.clone()), batch.as_deref());
        Ok(())
    }

    /// Goes on in a new log when this one is full and a spare file is there for it; has one made in time.
    /// Without it the log only grows.
    fn turn_page_if_due(&mut self) {
        if self.log.len < self.log_size / 2 || self.log_size == 0 {
            return;
        }
        if self.log.len < self.log_size {
            self.spare.make(&self.disk, self.log_size);
        } else if let Some(spare) = self.spare.take() {
            self.begin_log(Some(spare));
        }
    }

    /// Goes on in a new log; `false` when there is none.
    fn begin_log(&mut self, spare: Option<Spare>) -> bool {
        match LogFile::create(&self.disk, self.state.revision, self.log_ahead, spare) {
            Ok(log) => {
                self.checkpoint.behind += self.log.len;
                self.log = log;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "cannot begin a new store log, the old one goes on");
                false
            }
        }
    }

    /// Begins a new log and writes a checkpoint of what is before it, aside, when the logs have grown
    /// enough. A failure only leaves the logs to grow: nothing acknowledged depends on it.
    fn checkpoint_if_due(&mut self) {
        let grown = self.checkpoint.behind + self.log.len;
        if grown < self.checkpoint_after.max(self.checkpoint.bytes) || !self.checkpoint.idle() {
            return;
        }
        if self.shared.failed.get().is_some() || self.log.base == self.state.revision {
            return;
        }
        let spare = self.spare.take();
        if !self.begin_log(spare) {
            // Not with every write: when as much again has come.
            self.checkpoint.bytes = grown * 2;
            return;
        }
        self.checkpoint.behind = 0;
        let (disk, snapshot, stop) = (
            self.disk.clone(),
            self.state.clone(),
            self.checkpoint.stop.clone(),
        );
        let spawned = thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || {
                let begun = Instant::now();
                match checkpoint::write(&disk, &snapshot, &stop) {
                    Ok(Some(bytes)) => {
                        let milliseconds = begun.elapsed().as_millis() as u64;
                        tracing::info!(
                            revision = snapshot.revision,
                            bytes,
                            milliseconds,
                            "store checkpoint written"
                        );
                        Some(bytes)
                    }
                    Ok(None) => None,
                    Err(error) => {
                        tracing::warn!(%error, "cannot write a store checkpoint, the logs stay");
                        None
                    }
                }
            });
        match spawned {
            Ok(thread) => self.checkpoint.thread = Some(thread),
            Err(error) => tracing::warn!(%error, "cannot start the checkpoint thread, the logs stay"),
        }
    }
}

impl Checkpoint {
    /// Whether none is under way; takes note of one that has ended.
    fn idle(&mut self) -> bool {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return false;
        }
        self.join();
        true
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by its own thread; the logs are still all there.
            if let Ok(Some(bytes)) = thread.join() {
                self.bytes = bytes;
            }
        }
    }
}
