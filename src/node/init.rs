//! PID 1: prepares the node, then keeps its programs running.

use crate::supervisor::{self, Service};
use crate::{Error, kubeconfig, prepare};
use rkind_config::{NodeConfig, NodeRole, paths};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) fn run(node: &NodeConfig, config: &Path) -> Result<(), Error> {
    tracing::info!(node = node.name, role = %node.role, cluster = node.cluster, "preparing the node");
    prepare::run()?;
    kubeconfig::write_all(node)?;
    // The last to start is the first to stop: the agent lets go of pods while
    // the runtime and, on this node, the API server still answer.
    let mut services = vec![containerd()];
    if node.role == NodeRole::ControlPlane {
        services.push(this_binary("server", config));
    }
    services.push(this_binary("agent", config));
    supervisor::run(services).map_err(Error::room("the supervisor failed"))
}

fn containerd() -> Service {
    Service {
        name: "containerd",
        command: Box::new(|| {
            let mut command = Command::new(paths::CONTAINERD_BINARY);
            command.args(["--config", paths::CONTAINERD_CONFIG, "--log-level", "warn"]);
            command
        }),
        grace: Duration::from_secs(5),
    }
}

fn this_binary(role: &'static str, config: &Path) -> Service {
    let config = PathBuf::from(config);
    Service {
        name: role,
        command: Box::new(move || {
            // The path, not this process's own image: a node whose binary was
            // replaced restarts its programs as the new one.
            let mut command = Command::new(paths::BINARY);
            command.args(["node", role, "--config"]).arg(&config);
            command
        }),
        grace: Duration::from_secs(5),
    }
}
