//! What can go wrong between us and the kernel.

use std::io;

/// Result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refused or failed kernel request. Prints what was attempted and on what;
/// the kernel's reason is the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call or a file of `/proc`, `/sys` failed.
    #[error("cannot {what}")]
    Os {
        /// What was attempted, with the path or name: "mount tmpfs on /x".
        what: String,
        #[source]
        source: io::Error,
    },
    /// The kernel refused a netlink request and said why in its own words.
    #[error("cannot {what}: {reason}")]
    Refused {
        /// What was attempted.
        what: String,
        /// The kernel's extended acknowledgement.
        reason: String,
        #[source]
        source: io::Error,
    },
    /// A helper program ran and failed.
    #[error("`{program}` failed with {status}: {output}")]
    Command {
        /// The command line.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote to standard error, shortened.
        output: String,
    },
    /// The kernel's answer, or a file of `/proc`, isn't what its documentation says.
    #[error("cannot understand {what}: {detail}")]
    Malformed {
        /// Which file or message.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl Error {
    pub(crate) fn os(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Os {
            what: what.into(),
            source: source.into(),
        }
    }

    pub(crate) fn malformed(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Malformed {
            what: what.into(),
            detail: detail.into(),
        }
    }

    /// The kernel's error number, when the kernel gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Os { source, .. } | Self::Refused { source, .. } => source.raw_os_error(),
            Self::Command { .. } | Self::Malformed { .. } => None,
        }
    }

    /// Whether the thing named doesn't exist.
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.errno(),
            Some(nix::libc::ENOENT | nix::libc::ENODEV | nix::libc::ESRCH)
        )
    }

    /// Whether the thing to make is there already.
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(nix::libc::EEXIST)
    }
}

/// Puts "what was attempted" beside an error of the standard library or `nix`.
pub(crate) trait Context<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::os(what(), e))
    }
}
