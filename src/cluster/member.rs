//! Single nodes of a cluster that runs.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::Api;
use kube::api::DeleteParams;
use rkind_config::{Cluster, Node, NodeResources, NodeRole, nth_address};
use rkind_driver::{NodeFacts, NodeState};
use rkind_pki::ClusterPki;

use crate::node_files::{FIRST_ADDRESS, Planner, binary_file};
use crate::steps::Steps;
use crate::{Clusters, Error, Reporter, StartOptions, ready};

impl Clusters {
    /// Adds a worker and waits until it is Ready. Returns its name.
    ///
    /// # Errors
    /// [`Error::NoCluster`], [`Error::NotHere`] where the cluster's authority is on
    /// another machine; a node that was begun is deleted unless `options.retain`.
    pub async fn add_node(
        &self,
        cluster: &str,
        resources: NodeResources,
        image: &str,
        options: &StartOptions,
        reporter: &dyn Reporter,
    ) -> Result<String, Error> {
        let facts = self.nodes(cluster).await?;
        let _lock = self.home.lock(cluster)?;
        let not_here = || Error::NotHere {
            cluster: cluster.to_owned(),
            path: self.home.path().to_owned(),
        };
        let record = self.home.record(cluster)?.ok_or_else(not_here)?;
        let pki = ClusterPki::from_pem(&self.home.pki(cluster)?.ok_or_else(not_here)?)?;
        let taken: Vec<&str> = facts.iter().map(|n| n.name.as_str()).collect();
        let node = Node {
            name: Cluster::next_node_name(cluster, NodeRole::Worker, &taken),
            role: NodeRole::Worker,
            image: None,
            labels: Default::default(),
            taints: Vec::new(),
            resources,
            mounts: Vec::new(),
            ports: Vec::new(),
        };
        let used: Vec<IpAddr> = facts.iter().map(|n| n.address).collect();
        let address = (FIRST_ADDRESS..)
            .map_while(|n| nth_address(record.network.subnet.into(), n))
            .take_while(|a| *a != IpAddr::V4(record.network.subnet.broadcast()))
            .find(|a| !used.contains(a))
            .ok_or_else(|| Error::TooManyNodes {
                subnet: record.network.subnet.to_string(),
                capacity: u32::try_from(used.len()).unwrap_or(u32::MAX),
                wanted: used.len() + 1,
            })?;
        let control_planes: Vec<(&str, IpAddr)> = facts
            .iter()
            .filter(|n| n.role == NodeRole::ControlPlane)
            .map(|n| (n.name.as_str(), n.address))
            .collect();
        let steps = Steps {
            reporter,
            cancel: &options.cancel,
        };
        let name = node.name.clone();
        let result = async {
            let original = image;
            let image = steps
                .run("Handing over the binary", async {
                    Ok(self.driver.bake(image, &[binary_file(&options.binary)]).await?)
                })
                .await?;
            let baked = if image == original { "" } else { &image };
            let planner = Planner {
                cluster: &record.cluster,
                image: &image,
                network: &record.network,
                pki: &pki,
                control_planes: &control_planes,
                api_port: record.api_port,
            };
            let plan = planner.plan(&node, address)?;
            let nodes = steps
                .run(&format!("Creating node {name}"), async {
                    let nodes = self
                        .create_nodes(std::slice::from_ref(&plan), baked, options)
                        .await?;
                    for node in &nodes {
                        node.start().await?;
                    }
                    Ok(nodes)
                })
                .await?;
            if let Some(patience) = options.wait {
                let client = self.client(cluster).await?;
                let wait = ready::nodes(client, &nodes, patience, None, reporter);
                steps.wait("Waiting for the node", wait).await?;
            }
            Ok(name.clone())
        }
        .await;
        if result.is_err()
            && !options.retain
            && let Some(facts) = self.nodes(cluster).await?.iter().find(|n| n.name == name)
        {
            self.driver.node(facts).delete().await?;
        }
        result
    }

    /// Deletes a worker: its Node object, then the node with its data.
    ///
    /// # Errors
    /// [`Error::NoNode`], [`Error::OnlyControlPlane`].
    pub async fn delete_node(&self, cluster: &str, name: &str, reporter: &dyn Reporter) -> Result<(), Error> {
        let facts = self.member(cluster, name).await?;
        if facts.role == NodeRole::ControlPlane {
            return Err(Error::OnlyControlPlane(name.to_owned()));
        }
        let _lock = self.home.lock(cluster)?;
        reporter.begin(&format!("Deleting node {name}"));
        let started = std::time::Instant::now();
        let result = async {
            // A control plane that is stopped learns of it by the node's silence.
            if let Ok(client) = self.client(cluster).await {
                let nodes: Api<ApiNode> = Api::all(client);
                if let Err(error) = nodes.delete(name, &DeleteParams::default()).await {
                    tracing::debug!(%error, name, "cannot delete the Node object");
                }
            }
            self.driver.node(&facts).delete().await?;
            Ok(())
        }
        .await;
        reporter.end(
            &format!("Deleting node {name}"),
            started.elapsed(),
            result.is_ok(),
        );
        result
    }

    /// Stops one node. Returns whether it ran.
    ///
    /// # Errors
    /// [`Error::NoNode`]
    pub async fn stop_node(&self, cluster: &str, name: &str) -> Result<bool, Error> {
        let facts = self.member(cluster, name).await?;
        self.driver.node(&facts).stop(crate::delete::STOP_GRACE).await?;
        Ok(facts.state == NodeState::Running)
    }

    /// Starts one node. Returns whether it was stopped.
    ///
    /// # Errors
    /// [`Error::NoNode`]
    pub async fn start_node(&self, cluster: &str, name: &str) -> Result<bool, Error> {
        let facts = self.member(cluster, name).await?;
        self.driver.node(&facts).start().await?;
        Ok(facts.state != NodeState::Running)
    }

    async fn member(&self, cluster: &str, name: &str) -> Result<NodeFacts, Error> {
        let nodes = self.nodes(cluster).await?;
        let names = || nodes.iter().map(|n| n.name.clone()).collect();
        let found = nodes.iter().find(|n| n.name == name).cloned();
        found.ok_or_else(|| Error::NoNode {
            name: name.to_owned(),
            names: names(),
        })
    }
}
