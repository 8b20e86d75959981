//! A cluster's life as lists of steps.
//!
//! In: a validated [`rkind_config::Cluster`] and a [`Driver`]. Out: nodes that
//! run, an API that answers, and an entry in the user's kubeconfig; or what was
//! wrong, with everything cleaned up.
//!
//! It knows no backend, prints nothing (a [`Reporter`] is told), and holds no
//! state of its own: what is true is found from the driver's labels, and the
//! secrets from the state directory or the control-plane node.

mod access;
mod archive;
mod create;
mod delete;
mod error;
mod home;
mod load;
mod member;
mod node_files;
mod ready;
mod start;
mod status;
mod steps;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rkind_driver::{Driver, Node, NodeFacts};
use rkind_pki::kubeconfig::Locations;
use tokio_util::sync::CancellationToken;

pub use error::Error;
pub use home::{Home, Lock};
pub use load::{Loaded, Source};
pub use start::Started;
pub use status::{ApiState, ClusterState, ClusterSummary, NodeStatus, Status};
pub use steps::{Reporter, Silent};

/// Everything that can be done with clusters of one driver.
pub struct Clusters {
    driver: Arc<dyn Driver>,
    home: Home,
}

/// How to start.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// The binary that nodes run.
    pub binary: PathBuf,
    /// How long nodes may take to be ready; `None` does not wait for nodes.
    pub wait: Option<Duration>,
    /// Leave a failed cluster as it is.
    pub retain: bool,
    /// Do not make it the current context.
    pub keep_context: bool,
    pub kubeconfig: Locations,
    /// Fires when the user wants to stop waiting.
    pub cancel: CancellationToken,
}

impl Clusters {
    pub fn new(driver: Arc<dyn Driver>, home: Home) -> Self {
        Clusters { driver, home }
    }

    pub fn driver(&self) -> &dyn Driver {
        self.driver.as_ref()
    }

    /// Nodes of a cluster, control plane first.
    ///
    /// # Errors
    /// [`Error::NoCluster`] when it has none.
    pub async fn nodes(&self, cluster: &str) -> Result<Vec<NodeFacts>, Error> {
        let nodes = self.driver.list_nodes(Some(cluster)).await?;
        if nodes.is_empty() {
            Err(Error::NoCluster(cluster.to_owned()))
        } else {
            Ok(nodes)
        }
    }

    /// One node of a cluster; without a name its control plane.
    ///
    /// # Errors
    /// [`Error::NoCluster`], [`Error::NoNode`] with the names that there are.
    pub async fn node(&self, cluster: &str, name: Option<&str>) -> Result<Arc<dyn Node>, Error> {
        let nodes = self.nodes(cluster).await?;
        let found = match name {
            None => nodes.first(),
            Some(name) => nodes.iter().find(|n| n.name == name),
        };
        match found {
            Some(facts) => Ok(self.driver.node(facts)),
            None => Err(Error::NoNode {
                name: name.unwrap_or_default().to_owned(),
                names: nodes.into_iter().map(|n| n.name).collect(),
            }),
        }
    }
}
