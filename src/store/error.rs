//! What can go wrong in a store.

use std::{io, path::PathBuf, sync::Arc};

use crate::{Entry, Revision};

/// Result of a store call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a store call was refused or failed. A message prints its own layer only; the cause is the
/// source.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A create met an existing key.
    #[error("key {} already exists at revision {}", current.key, current.mod_revision)]
    Exists {
        /// What is there.
        current: Entry,
    },
    /// A compare-and-swap expected another revision.
    #[error("key {key} is not at revision {expected}{}", now_at(current))]
    Conflict {
        /// The key.
        key: Arc<str>,
        /// The revision the caller expected.
        expected: Revision,
        /// What is there; `None` when the key does not exist.
        current: Option<Entry>,
    },
    /// A delete met no key.
    #[error("key {key} not found")]
    NotFound {
        /// The key.
        key: Arc<str>,
    },
    /// The history that would be needed is gone: list anew.
    #[error("revision {requested} has been compacted, the oldest one left is {oldest}")]
    Compacted {
        /// The revision asked for.
        requested: Revision,
        /// The oldest revision that the same call would answer.
        oldest: Revision,
    },
    /// The revision asked for was not committed yet.
    #[error("revision {requested} is in the future, the newest one is {current}")]
    Future {
        /// The revision asked for.
        requested: Revision,
        /// The newest committed one.
        current: Revision,
    },
    /// A watch was ended because its consumer did not keep up. It may start again after `revision`.
    #[error("watch fell behind after revision {revision}")]
    Slow {
        /// The last revision whose events were queued for this watch.
        revision: Revision,
    },
    /// A key or value is beyond what the store keeps.
    #[error("{what} of {size} bytes is over the store's limit of {limit} bytes")]
    TooLarge {
        /// `key` or `value`.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A file of the store does not hold what was once written there.
    #[error("{} is corrupt at byte {offset}: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Offset in bytes of the record that does not hold.
        offset: u64,
        /// What does not hold.
        reason: String,
    },
    /// A value was written in a form that cannot be read back: encrypted with a key that is gone.
    #[error("value of key {key} cannot be read: {reason}")]
    Unreadable {
        /// The key.
        key: Arc<str>,
        /// Why not.
        reason: String,
    },
    /// Another process has this store open.
    #[error("store {} is in use by another process", path.display())]
    Locked {
        /// The store's folder.
        path: PathBuf,
    },
    /// The operating system refused. After this, a store acknowledges no further write until it is
    /// opened again.
    #[error("store cannot {action}")]
    Io {
        /// What was attempted, with the path.
        action: Arc<str>,
        /// The operating system's answer.
        #[source]
        source: Arc<io::Error>,
    },
    /// The store was closed.
    #[error("store is closed")]
    Closed,
}

impl Error {
    /// An [`Error::Io`] for one attempted action.
    pub(crate) fn io(action: impl Into<Arc<str>>, source: io::Error) -> Self {
        Error::Io {
            action: action.into(),
            source: Arc::new(source),
        }
    }
}

fn now_at(current: &Option<Entry>) -> String {
    match current {
        Some(entry) => format!(" but at {}", entry.mod_revision),
        None => ": it does not exist".to_owned(),
    }
}
