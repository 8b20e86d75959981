//! What a node runs, and in which order.
//!
//! Comes in: a [`NodeConfig`](rkind_config::NodeConfig) file that a driver
//! delivered. Goes out: a node, as three kinds of process of the one binary:
//! [`init`] is PID 1 (prepares the kernel's side, supervises, reaps), [`server`]
//! is the control plane (store, API server, controllers, scheduler) and
//! [`agent`] is what every node runs (kubelet, Service rules, DNS, pod routes).
//! Server and agent each survive the other's death.
//!
//! This room is wiring: it holds no rule of Kubernetes and must never learn
//! which driver made the node.

mod agent;
mod init;
mod join;
mod kubeconfig;
mod logging;
mod prepare;
mod resolver;
mod role;
mod routes;
mod server;
mod shutdown;
mod supervisor;

use rkind_config::{ComponentFlags, NodeConfig};
use std::path::Path;
use std::process::ExitCode;

/// Why a node's process could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's configuration is not valid.
    #[error("the node's configuration is not valid")]
    Config(#[source] rkind_config::Error),
    /// A file of the node could not be written or a directory not made.
    #[error("{what} {path}")]
    File {
        what: &'static str,
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// A call to the kernel that prepares the node failed.
    #[error("{0}")]
    Prepare(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// One of the rooms this process runs could not start, or ended.
    #[error("{0}")]
    Room(&'static str, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// The process was asked for something its configuration does not hold.
    #[error("{0}")]
    Role(&'static str),
}

impl Error {
    fn room<E>(what: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| Self::Room(what, source.into())
    }

    fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::File { what, path, source }
    }
}

/// What the user set for components; checked on the host before it came here.
fn component_flags(node: &NodeConfig) -> Result<ComponentFlags, Error> {
    ComponentFlags::read(&node.extra_config)
        .map_err(|problems| Error::Config(rkind_config::Error::Invalid(problems)))
}

/// PID 1 of a node. Returns when the node was asked to stop and everything it
/// supervised has ended.
pub fn init(config: &Path) -> ExitCode {
    exit("init", load(config).and_then(|node| init::run(&node, config)))
}

/// The control plane, until SIGTERM or SIGINT.
pub fn server(config: &Path) -> ExitCode {
    exit("server", load(config).and_then(server::run))
}

/// The node agent, until SIGTERM or SIGINT.
pub fn agent(config: &Path) -> ExitCode {
    exit("agent", load(config).and_then(agent::run))
}

/// The CNI plugin that containerd calls for each pod: reads `CNI_*` and
/// standard input, writes its result to standard output.
pub fn cni_plugin() -> ExitCode {
    rkind_cni::plugin::main()
}

fn load(config: &Path) -> Result<NodeConfig, Error> {
    let text = std::fs::read_to_string(config).map_err(Error::file("could not read", config))?;
    let node = NodeConfig::from_yaml(&text).map_err(Error::Config)?;
    logging::start(&node.log_level);
    Ok(node)
}

fn exit(process: &str, outcome: Result<(), Error>) -> ExitCode {
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    let mut chain = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        chain.push_str(": ");
        chain.push_str(&inner.to_string());
        cause = inner.source();
    }
    eprintln!("rkind node {process}: {chain}");
    ExitCode::FAILURE
}
