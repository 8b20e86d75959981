//! What can go wrong in a cluster's life.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no cluster {0:?}")]
    NoCluster(String),
    #[error("there is no node {name:?}; the nodes are {}", names.join(", "))]
    NoNode { name: String, names: Vec<String> },
    #[error("a cluster {0:?} exists already")]
    Exists(String),
    #[error("another rkind is working on cluster {0:?}")]
    Busy(String),
    /// The user wanted to.
    #[error("interrupted")]
    Interrupted,
    #[error("this host lacks {what}: {effect}")]
    Host {
        what: String,
        effect: String,
        hint: String,
    },
    #[error("port {port} of {address} is in use")]
    PortInUse {
        address: std::net::IpAddr,
        port: u16,
        source: std::io::Error,
    },
    #[error("the node image {0} is missing")]
    NoImage(String),
    /// Only where a cluster was made are its authority's keys.
    #[error("the keys of cluster {cluster:?} are not in {}", path.display())]
    NotHere { cluster: String, path: PathBuf },
    #[error("{0} is the only control-plane node")]
    OnlyControlPlane(String),
    #[error("the network {subnet} has addresses for {capacity} nodes, not for {wanted}")]
    TooManyNodes {
        subnet: String,
        capacity: u32,
        wanted: usize,
    },
    #[error("cannot make the node image")]
    MakeImage {
        hint: Option<String>,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the state of cluster {cluster:?} in {} cannot be read: {message}", path.display())]
    State {
        cluster: String,
        path: PathBuf,
        message: String,
    },
    /// A node's process ended; `log` is the end of what it printed.
    #[error("node {name} ended with exit code {code}:\n{log}")]
    NodeEnded { name: String, code: i64, log: String },
    #[error("the API server at {server} did not answer within {}: {last}", seconds(after))]
    ApiTimeout {
        server: String,
        after: Duration,
        last: String,
    },
    #[error("these nodes were not ready within {}: {}", seconds(after), nodes.join(", "))]
    NodesTimeout { after: Duration, nodes: Vec<String> },
    #[error("cannot talk to the API server at {server}: {message}")]
    Client { server: String, message: String },
    #[error("{image}: {message}")]
    Load { image: String, message: String },
    #[error("cannot make the configuration of node {node}")]
    NodeConfig {
        node: String,
        source: rkind_config::Error,
    },
    #[error(transparent)]
    Driver(#[from] rkind_driver::Error),
    #[error(transparent)]
    Pki(#[from] rkind_pki::Error),
}

fn seconds(d: &Duration) -> String {
    format!("{}s", d.as_secs())
}

impl Error {
    /// What the user can do about it, if anything.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::NoCluster(name) => Some(format!(
                "`rkind profile list` shows what there is; `rkind start -p {name}` makes it"
            )),
            Error::Exists(name) => Some(format!(
                "`rkind delete -p {name}` deletes it, or choose another name"
            )),
            Error::Busy(_) => Some("wait for it to end".into()),
            Error::Host { hint, .. } => Some(hint.clone()),
            Error::PortInUse { .. } => Some(
                "stop what listens there, or choose another port; without one, a free port is taken".into(),
            ),
            Error::NoImage(_) => {
                Some("put it into the engine, or leave --image out to use the one that rkind makes".into())
            }
            Error::ApiTimeout { .. } | Error::NodesTimeout { .. } | Error::NodeEnded { .. } => {
                Some("`rkind start --retain` keeps the nodes; then `rkind logs` shows more".into())
            }
            Error::NotHere { .. } => {
                Some("set RKIND_HOME to the directory that the cluster was made with".into())
            }
            Error::OnlyControlPlane(_) => Some("`rkind delete` deletes the whole cluster".into()),
            Error::MakeImage { hint, .. } => hint.clone(),
            Error::Driver(e) => e.hint(),
            Error::Pki(rkind_pki::Error::Foreign { .. }) => {
                Some("choose another name with -p, or another file with KUBECONFIG".into())
            }
            _ => None,
        }
    }
}
