//! Why a runtime did not do what it was asked to.

/// Result of a runtime call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The sandbox, container or image does not exist.
    NotFound,
    /// The name is taken: the same attempt of a sandbox or container exists already.
    AlreadyExists,
    /// The request can never succeed as it is.
    InvalidArgument,
    /// The object is in a state that does not allow the call (e.g. exec into a stopped container).
    FailedPrecondition,
    /// The call did not end in time; for `exec_sync` the command ran longer than its timeout.
    DeadlineExceeded,
    /// The runtime does not offer this call.
    Unimplemented,
    /// Nothing answers at the runtime's socket; worth trying again.
    Unavailable,
    /// Anything else, in the runtime's words.
    Other,
}

/// A failed runtime call.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{call}: {message}")]
pub struct Error {
    /// The CRI call, e.g. `RunPodSandbox`.
    pub call: &'static str,
    /// What can be done about it.
    pub kind: ErrorKind,
    /// The runtime's own words, as it belongs into events and container statuses.
    pub message: String,
}

impl Error {
    /// An error of `call`.
    pub fn new(call: &'static str, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            call,
            kind,
            message: message.into(),
        }
    }

    /// The object asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// The message as gRPC clients of the runtime conventionally print it, which is what
    /// ends up in events and in `state.waiting.message`.
    pub fn rpc_message(&self) -> String {
        format!("rpc error: code = {} desc = {}", self.code_name(), self.message)
    }

    fn code_name(&self) -> &'static str {
        match self.kind {
            ErrorKind::NotFound => "NotFound",
            ErrorKind::AlreadyExists => "AlreadyExists",
            ErrorKind::InvalidArgument => "InvalidArgument",
            ErrorKind::FailedPrecondition => "FailedPrecondition",
            ErrorKind::DeadlineExceeded => "DeadlineExceeded",
            ErrorKind::Unimplemented => "Unimplemented",
            ErrorKind::Unavailable => "Unavailable",
            ErrorKind::Other => "Unknown",
        }
    }

    pub(crate) fn from_status(call: &'static str, status: &tonic::Status) -> Self {
        use tonic::Code;
        let kind = match status.code() {
            Code::NotFound => ErrorKind::NotFound,
            Code::AlreadyExists => ErrorKind::AlreadyExists,
            Code::InvalidArgument => ErrorKind::InvalidArgument,
            Code::FailedPrecondition => ErrorKind::FailedPrecondition,
            Code::DeadlineExceeded => ErrorKind::DeadlineExceeded,
            Code::Unimplemented => ErrorKind::Unimplemented,
            Code::Unavailable => ErrorKind::Unavailable,
            _ if status.message().contains("is already reserved")
                || status.message().contains("is reserved for") =>
            {
                ErrorKind::AlreadyExists
            }
            _ => ErrorKind::Other,
        };
        Self::new(call, kind, status.message())
    }
}
