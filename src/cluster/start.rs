//! `start`: whatever the cluster needs to run.

use std::future::Future;
use std::time::Duration;

use rkind_config::Cluster;
use rkind_driver::NodeState;
use rkind_pki::kubeconfig;

use crate::create::count;
use crate::node_files::binary_file;
use crate::steps::Steps;
use crate::{Clusters, Error, Reporter, StartOptions, ready};

/// How a start came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It is new.
    Created,
    /// It was stopped, wholly or in part.
    Resumed,
    /// Nothing was to be done.
    AlreadyRunning,
}

impl Clusters {
    /// Makes the cluster run: creates it, starts its stopped nodes, or finds that
    /// it runs. `image` gives the node image's name, making it if it must be; it
    /// is only asked for when nodes are created, after all checks.
    ///
    /// # Errors
    /// What went wrong. A new cluster is then cleaned up unless
    /// `options.retain`; an existing one is left as it is.
    pub async fn start<I>(
        &self,
        cluster: &Cluster,
        image: I,
        options: &StartOptions,
        reporter: &dyn Reporter,
    ) -> Result<Started, Error>
    where
        I: Future<Output = Result<String, Error>>,
    {
        let name = &cluster.name;
        if !self.driver.list_nodes(Some(name)).await?.is_empty() {
            let _lock = self.home.lock(name)?;
            return self.resume(name, options, reporter).await;
        }
        let steps = Steps {
            reporter,
            cancel: &options.cancel,
        };
        let checked = steps
            .wait("Checking the host", self.check(cluster, options, reporter))
            .await?;
        tracing::debug!(
            engine = checked.facts.engine,
            version = checked.facts.version,
            "host is fine"
        );
        let _lock = self.home.lock(name)?;
        let image = match steps.wait("Preparing the node image", image).await {
            Ok(image) => image,
            Err(error) => {
                // Nothing was made yet but the lock's file.
                drop(_lock);
                self.home.forget(name)?;
                return Err(error);
            }
        };
        self.create(cluster, &image, options, reporter).await?;
        Ok(Started::Created)
    }

    async fn resume(
        &self,
        name: &str,
        options: &StartOptions,
        reporter: &dyn Reporter,
    ) -> Result<Started, Error> {
        let steps = Steps {
            reporter,
            cancel: &options.cancel,
        };
        let facts = self.nodes(name).await?;
        let stopped: Vec<_> = facts.iter().filter(|n| n.state != NodeState::Running).collect();
        if stopped.is_empty() {
            // The user may have lost the kubeconfig entry.
            self.export_kubeconfig(name, &options.kubeconfig, !options.keep_context)
                .await?;
            return Ok(Started::AlreadyRunning);
        }
        let since = jiff::Timestamp::now();
        steps
            .run(&format!("Starting {}", count(stopped.len(), "node")), async {
                let starts = stopped.iter().map(|facts| async {
                    let node = self.driver.node(facts);
                    // Nodes follow the rkind that starts them.
                    node.deliver(vec![binary_file(&options.binary)]).await?;
                    node.start().await
                });
                futures::future::try_join_all(starts).await?;
                Ok(())
            })
            .await?;
        let nodes: Vec<_> = facts.iter().map(|f| self.driver.node(f)).collect();
        let admin = self.admin(name).await?;
        let client = steps
            .wait("Waiting for the API server", ready::api(&admin, &nodes))
            .await?;
        kubeconfig::merge(&options.kubeconfig, &admin.access(), !options.keep_context)?;
        if let Some(patience) = options.wait {
            // A node's last words before it stopped may have been "ready".
            let since = Some(since - Duration::from_secs(1));
            steps
                .wait(
                    "Waiting for nodes",
                    ready::nodes(client, &nodes, patience, since, reporter),
                )
                .await?;
        }
        Ok(Started::Resumed)
    }
}
