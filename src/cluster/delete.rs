//! Stopping and deleting.

use std::time::Duration;

use rkind_driver::NodeState;
use rkind_pki::kubeconfig::{self, Locations};
use tokio_util::sync::CancellationToken;

use crate::create::count;
use crate::steps::Steps;
use crate::{Clusters, Error, Reporter};

/// How long a node may take to end its pods.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(20);

impl Clusters {
    /// Stops all nodes; their data stays. Returns how many ran.
    ///
    /// # Errors
    /// [`Error::NoCluster`], [`Error::Busy`].
    pub async fn stop(&self, cluster: &str, reporter: &dyn Reporter) -> Result<usize, Error> {
        let facts = self.nodes(cluster).await?;
        let _lock = self.home.lock(cluster)?;
        let running: Vec<_> = facts.iter().filter(|n| n.state == NodeState::Running).collect();
        if running.is_empty() {
            return Ok(0);
        }
        let never = CancellationToken::new();
        let steps = Steps {
            reporter,
            cancel: &never,
        };
        steps
            .run(&format!("Stopping {}", count(running.len(), "node")), async {
                let stops = running.iter().map(|facts| async {
                    let node = self.driver.node(facts);
                    node.stop(STOP_GRACE).await
                });
                futures::future::try_join_all(stops).await?;
                Ok(())
            })
            .await?;
        Ok(running.len())
    }

    /// Deletes the cluster with everything that belongs to it; what is not there
    /// is no error. Returns whether there was anything.
    ///
    /// # Errors
    /// [`Error::Busy`], or what could not be deleted.
    pub async fn delete(
        &self,
        cluster: &str,
        locations: &Locations,
        reporter: &dyn Reporter,
    ) -> Result<bool, Error> {
        let lock = self.home.lock(cluster)?;
        let never = CancellationToken::new();
        let steps = Steps {
            reporter,
            cancel: &never,
        };
        let known = self.home.record(cluster).ok().flatten().is_some()
            || !self.driver.list_nodes(Some(cluster)).await?.is_empty()
            || self.driver.network(cluster).await?.is_some()
            || kubeconfig::has_context(locations, cluster)?;
        if known {
            steps
                .run(
                    &format!("Deleting cluster {cluster}"),
                    self.erase(cluster, locations),
                )
                .await?;
        } else {
            self.home.forget(cluster)?;
        }
        drop(lock);
        Ok(known)
    }

    /// Everything of a cluster, in an order in which a repetition finds the rest.
    pub(crate) async fn erase(&self, cluster: &str, locations: &Locations) -> Result<(), Error> {
        self.driver.delete_cluster(cluster).await?;
        kubeconfig::remove(locations, cluster)?;
        self.home.forget(cluster)
    }

    /// Names of all clusters that have nodes.
    ///
    /// # Errors
    /// What keeps the driver from listing them.
    pub async fn names(&self) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = self
            .driver
            .list_nodes(None)
            .await?
            .into_iter()
            .map(|n| n.cluster)
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }
}
