//! The store's folder: names, locking, and every step on disk in one place, so that tests can let any
//! of them fail.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Error, Result, Revision};

/// A step on disk that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Appending to a log.
    Append,
    /// Syncing a log.
    Sync,
    /// Creating a file.
    Create,
    /// Writing a checkpoint.
    Checkpoint,
}

type Fault = dyn Fn(Step) -> io::Result<()> + Send + Sync;

/// Asked before each step; an error is taken for the operating system's.
#[derive(Clone, Default)]
pub struct Faults(pub(crate) Option<Arc<Fault>>);

impl Faults {
    fn check(&self, step: Step) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |fault| fault(step))
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "Faults(injected)"
        } else {
            "Faults"
        })
    }
}

/// Bytes of a large file that wait for the disk at once, at most.
const PORTION: usize = 1 << 20;

/// Writes a file portion by portion: one that went to the disk as a whole would keep every sync of the log
/// waiting meanwhile.
struct Portions<'f> {
    file: &'f File,
    unsynced: usize,
}

impl<'f> Portions<'f> {
    fn of(file: &'f File) -> Self {
        Portions { file, unsynced: 0 }
    }
}

impl io::Write for Portions<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(&bytes[..bytes.len().min(PORTION)])?;
        self.unsynced += written;
        if self.unsynced >= PORTION {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An opened, locked folder. Cloning shares the lock, which ends with the last clone.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    dir: Arc<Path>,
    _lock: Arc<File>,
    faults: Faults,
}

/// A file of zeros that are on disk as such: writing over them changes nothing about the file but its data,
/// so that a sync waits for these alone, not for the file system's journal. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Spare {
    file: Option<File>,
    path: PathBuf,
}

impl Drop for Spare {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Opening removes it at the latest.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// One kind of file, named by a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Log,
    Checkpoint,
}

impl Kind {
    fn affixes(self) -> (&'static str, &'static str) {
        match self {
            Kind::Log => ("log-", ".log"),
            Kind::Checkpoint => ("checkpoint-", ".ckp"),
        }
    }
}

impl Disk {
    /// Creates the folder when needed (mode 0700), locks it and removes unfinished files.
    pub(super) fn open(dir: &Path, faults: Faults) -> Result<Self> {
        let io = |action: &str, source| Error::io(format!("{action} {}", dir.display()), source);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| io("create folder", e))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(dir.join("lock"))
            .map_err(|e| io("create the lock file in", e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(Error::Locked { path: dir.to_owned() }),
            Err(fs::TryLockError::Error(e)) => return Err(io("lock", e)),
        }
        let disk = Disk {
            dir: dir.into(),
            _lock: Arc::new(lock),
            faults,
        };
        for entry in fs::read_dir(dir).map_err(|e| io("list", e))? {
            let path = entry.map_err(|e| io("list", e))?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                fs::remove_file(&path).map_err(|e| io("remove an unfinished file in", e))?;
            }
        }
        Ok(disk)
    }

    /// Where the file of this kind and revision lives.
    pub(super) fn path(&self, kind: Kind, revision: Revision) -> PathBuf {
        let (before, after) = kind.affixes();
        self.dir.join(format!("{before}{revision:020}{after}"))
    }

    /// Revisions in the names of all files of a kind, ascending.
    pub(super) fn list(&self, kind: Kind) -> Result<Vec<Revision>> {
        let io = |source| Error::io(format!("list {}", self.dir.display()), source);
        let (before, after) = kind.affixes();
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let revision = name.to_str().and_then(|name| {
                name.strip_prefix(before)?
                    .strip_suffix(after)?
                    .parse::<Revision>()
                    .ok()
            });
            found.extend(revision);
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Removes every file of this kind with a revision below `before`. A failure is only logged: a
    /// superfluous file does no harm and the next checkpoint tries again.
    pub(super) fn remove_before(&self, kind: Kind, before: Revision) {
        let revisions = self.list(kind).unwrap_or_default();
        for revision in revisions.into_iter().filter(|revision| *revision < before) {
            let path = self.path(kind, revision);
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "superfluous store file stays");
            }
        }
    }

    /// Creates a file aside, lets `fill` write it, and puts it durably in its place.
    pub(super) fn publish(
        &self,
        kind: Kind,
        revision: Revision,
        fill: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    ) -> io::Result<File> {
        let path = self.path(kind, revision);
        let aside = path.with_added_extension("tmp");
        let result = self.fill_and_rename(&path, &aside, kind, fill);
        if result.is_err() {
            // Opening removes it at the latest.
            let _ = fs::remove_file(&aside);
        }
        result
    }

    /// An empty file, where there was one as well.
    fn begin(&self, path: &Path) -> io::Result<File> {
        self.faults.check(Step::Create)?;
        OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path)
    }

    /// Makes a file of `len` zeros, durably.
    pub(super) fn spare(&self, len: u64) -> io::Result<Spare> {
        let path = self.dir.join("spare.tmp");
        let file = self.begin(&path)?;
        let spare = Spare {
            file: Some(file.try_clone()?),
            path,
        };
        let mut zeros = io::BufReader::with_capacity(PORTION, io::repeat(0).take(len));
        io::copy(&mut zeros, &mut Portions::of(&file))?;
        file.sync_all()?;
        Ok(spare)
    }

    /// Gives a spare file its name, durably, after its first bytes.
    pub(super) fn adopt(
        &self,
        mut spare: Spare,
        kind: Kind,
        revision: Revision,
        head: &[u8],
    ) -> io::Result<File> {
        self.faults.check(Step::Create)?;
        let file = spare.file.take().ok_or(io::ErrorKind::NotFound)?;
        file.write_all_at(head, 0)?;
        file.sync_data()?;
        self.name(&spare.path, &self.path(kind, revision))?;
        Ok(file)
    }

    /// Puts a file in its place, durably. After an error it is not there: what goes on without it would
    /// contradict it.
    fn name(&self, aside: &Path, path: &Path) -> io::Result<()> {
        fs::rename(aside, path)?;
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        synced.inspect_err(|_| drop(fs::remove_file(path)))
    }

    fn fill_and_rename(
        &self,
        path: &Path,
        aside: &Path,
        kind: Kind,
        fill: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    ) -> io::Result<File> {
        let file = self.begin(aside)?;
        let mut writer = io::BufWriter::with_capacity(PORTION, Portions::of(&file));
        if kind == Kind::Checkpoint {
            self.faults.check(Step::Checkpoint)?;
        }
        fill(&mut writer)?;
        writer.flush()?;
        drop(writer);
        file.sync_all()?;
        self.name(aside, path)?;
        Ok(file)
    }

    /// Writes at an offset of a log.
    pub(super) fn append(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.faults.check(Step::Append) {
            // As a full disk does: a part of it arrives.
            file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        file.write_all_at(bytes, offset)
    }

    /// Makes what was appended durable.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.faults.check(Step::Sync)?;
        file.sync_data()
    }
}
