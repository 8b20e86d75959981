//! Opening: newest checkpoint, then the logs behind it.

use std::{fs, time::Instant};

use super::{
    checkpoint,
    disk::{Disk, Kind},
    log::{self, LogFile, Mutation},
    snapshot::{Batch, Snapshot},
    texts::Texts,
};
use crate::{Error, Result};

/// A recovered store.
pub(super) struct Opened {
    pub(super) state: Snapshot,
    pub(super) log: LogFile,
    /// Size of the checkpoint it came from, in bytes.
    pub(super) checkpoint_bytes: u64,
    /// Bytes of the logs behind it, but for the newest.
    pub(super) logs_behind: u64,
}

/// Brings back the state of everything acknowledged, and a log to go on with.
pub(super) fn recover(disk: &Disk, log_ahead: u64, texts: &Texts) -> Result<Opened> {
    let begun = Instant::now();
    let (mut state, checkpoint_bytes) = match disk.list(Kind::Checkpoint)?.last() {
        Some(&revision) => checkpoint::read(&disk.path(Kind::Checkpoint, revision), revision, texts)?,
        None => (Snapshot::empty(), 0),
    };
    // Logs that begin before the checkpoint are wholly in it: a checkpoint is taken where a log ends.
    let mut bases = disk.list(Kind::Log)?;
    bases.retain(|base| *base >= state.revision);
    let mut newest: Option<(_, _, log::LogContent)> = None;
    let mut logs_behind = 0;
    for (index, &base) in bases.iter().enumerate() {
        let path = disk.path(Kind::Log, base);
        if base != state.revision {
            let reason = format!(
                "it begins at revision {base}, but what is before it ends at {}",
                state.revision
            );
            return Err(Error::Corrupt {
                path,
                offset: 0,
                reason,
            });
        }
        let data = fs::read(&path).map_err(|source| Error::io(format!("read {}", path.display()), source))?;
        let mut content = log::read(&path, &data, base, index + 1 == bases.len())?;
        drop(data);
        for (before, mutations) in std::mem::take(&mut content.records) {
            if !replay(&mut state, mutations, begun, texts) {
                let reason = format!("a change after revision {before} does not fit the state before it");
                return Err(Error::Corrupt {
                    path,
                    offset: 0,
                    reason,
                });
            }
        }
        if let Some((_, _, before)) = newest.replace((path, base, content)) {
            logs_behind += before.len;
        }
    }
    if bases.is_empty() && checkpoint_bytes > 0 && state.revision > 0 {
        // A log is created before the checkpoint at its base, so one must be there.
        tracing::warn!(revision = state.revision, "no log follows the newest checkpoint");
    }
    let log = match newest {
        Some((path, base, content)) => LogFile::reopen(&path, base, &content, log_ahead)
            .map_err(|source| Error::io(format!("open {}", path.display()), source))?,
        None => LogFile::create(disk, state.revision, log_ahead, None).map_err(|source| {
            let path = disk.path(Kind::Log, state.revision);
            Error::io(format!("create {}", path.display()), source)
        })?,
    };
    tracing::info!(
        revision = state.revision,
        keys = state.map.len(),
        milliseconds = begun.elapsed().as_millis() as u64,
        "store opened"
    );
    Ok(Opened {
        state,
        log,
        checkpoint_bytes,
        logs_behind,
    })
}

/// Applies one record; `false` when it does not fit.
fn replay(state: &mut Snapshot, mutations: Vec<Mutation>, at: Instant, texts: &Texts) -> bool {
    let mut events = Vec::with_capacity(mutations.len());
    for mutation in mutations {
        match mutation {
            Mutation::Put { key, value } => events.push(state.put(key, texts.hold(&value))),
            Mutation::Delete { key } => match state.delete(&key) {
                Some(event) => events.push(event),
                None => return false,
            },
            Mutation::Compact { revision } => state.compact(revision),
        }
    }
    if let Some(batch) = Batch::new(events, at) {
        state.remember(batch.into());
    }
    true
}
