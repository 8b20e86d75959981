//! What can go wrong below a cluster. Backends turn their own errors into these.

/// The cause inside a backend.
pub type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No engine answers.
    #[error("cannot reach {engine}")]
    Unreachable {
        engine: String,
        hint: String,
        source: Source,
    },
    #[error("{what} {name:?} exists already")]
    Exists { what: &'static str, name: String },
    #[error("there is no node {0:?}")]
    NoNode(String),
    #[error("there is no image {0:?} in the local engine")]
    NoImage(String),
    #[error("node {0:?} does not run")]
    NotRunning(String),
    #[error("port {port} of the host is in use")]
    PortInUse { port: u16, source: Source },
    #[error("the subnet {subnet} overlaps with {with}")]
    SubnetInUse { subnet: String, with: String },
    #[error("no free subnet is left for the cluster's network")]
    NoSubnet,
    /// A command in a node failed; `stderr` is the end of what it printed.
    #[error("`{command}` failed in node {node:?} with exit code {code}: {stderr}")]
    Command {
        node: String,
        command: String,
        code: i64,
        stderr: String,
    },
    #[error("cannot read {}", path.display())]
    ReadFile {
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    /// Everything else: `doing` is an infinitive, as in "create the node x".
    #[error("cannot {doing}")]
    Backend { doing: String, source: Source },
}

impl Error {
    /// An error of the backend while `doing` something.
    pub fn backend(doing: impl Into<String>, source: impl Into<Source>) -> Self {
        Error::Backend {
            doing: doing.into(),
            source: source.into(),
        }
    }

    /// What the user can do about it, if anything.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Unreachable { hint, .. } => Some(hint.clone()),
            Error::PortInUse { port, .. } => Some(format!(
                "stop what listens on port {port}, or choose another port"
            )),
            Error::SubnetInUse { .. } => {
                Some("choose another with --subnet, or leave the flag out to get a free one".into())
            }
            Error::Exists { what, .. } => Some(format!(
                "it is not this cluster's: remove the {what}, or choose another name with -p"
            )),
            Error::NoSubnet => Some("give one with --subnet".into()),
            _ => None,
        }
    }
}
