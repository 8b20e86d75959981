//! How a cluster is.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::Api;
use kube::api::ListParams;
use rkind_config::NodeRole;
use rkind_driver::{NodeFacts, NodeState};
use rkind_pki::kubeconfig::{self, Locations};
use serde::Serialize;

use crate::access::server_of;
use crate::{Clusters, Error};

/// How long the API may take to say that it is well.
const PATIENCE: Duration = Duration::from_secs(3);

/// All nodes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ClusterState {
    Running,
    Stopped,
    /// Some nodes run.
    Partial,
}

/// Whether the API server answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ApiState {
    Running,
    Stopped,
    /// It runs and does not answer as it should.
    Error(String),
}

/// One line of a list.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSummary {
    pub name: String,
    pub driver: String,
    pub state: ClusterState,
    pub nodes: usize,
    /// `https://127.0.0.1:<port>`
    pub server: Option<String>,
}

/// One cluster in full.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub name: String,
    pub state: ClusterState,
    pub api: ApiState,
    pub server: Option<String>,
    /// The user's kubeconfig has a context for it.
    pub kubeconfig: bool,
    pub nodes: Vec<NodeStatus>,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    pub name: String,
    pub role: NodeRole,
    pub host: NodeState,
    /// As the API has it; `None` where it does not answer or knows no such node.
    pub ready: Option<bool>,
    pub address: std::net::IpAddr,
}

fn state_of(nodes: &[NodeFacts]) -> ClusterState {
    match nodes.iter().filter(|n| n.state == NodeState::Running).count() {
        0 => ClusterState::Stopped,
        n if n == nodes.len() => ClusterState::Running,
        _ => ClusterState::Partial,
    }
}

impl Clusters {
    /// All clusters, by name.
    ///
    /// # Errors
    /// What keeps the driver from listing them.
    pub async fn list(&self) -> Result<Vec<ClusterSummary>, Error> {
        let nodes = self.driver.list_nodes(None).await?;
        let groups = nodes.chunk_by(|a, b| a.cluster == b.cluster);
        Ok(groups
            .map(|nodes| ClusterSummary {
                name: nodes[0].cluster.clone(),
                driver: self.driver.name().to_owned(),
                state: state_of(nodes),
                nodes: nodes.len(),
                server: server_of(nodes),
            })
            .collect())
    }

    /// One cluster in full.
    ///
    /// # Errors
    /// [`Error::NoCluster`]
    pub async fn status(&self, cluster: &str, locations: &Locations) -> Result<Status, Error> {
        let facts = self.nodes(cluster).await?;
        let state = state_of(&facts);
        let control_plane = facts.iter().find(|n| n.role == NodeRole::ControlPlane);
        let runs = control_plane.is_some_and(|n| n.state == NodeState::Running);
        let (api, nodes) = if runs {
            self.ask_api(cluster).await
        } else {
            (ApiState::Stopped, Vec::new())
        };
        Ok(Status {
            name: cluster.to_owned(),
            state,
            api,
            server: server_of(&facts),
            kubeconfig: kubeconfig::has_context(locations, cluster)?,
            nodes: facts
                .into_iter()
                .map(|node| NodeStatus {
                    ready: nodes
                        .iter()
                        .find(|(name, _)| *name == node.name)
                        .map(|(_, ready)| *ready),
                    name: node.name,
                    role: node.role,
                    host: node.state,
                    address: node.address,
                })
                .collect(),
        })
    }

    async fn ask_api(&self, cluster: &str) -> (ApiState, Vec<(String, bool)>) {
        let ask = async {
            let client = self.client(cluster).await.map_err(|e| e.to_string())?;
            let list = Api::<ApiNode>::all(client).list(&ListParams::default()).await;
            list.map_err(|e| rkind_client::chain(&e))
        };
        let nodes = match tokio::time::timeout(PATIENCE, ask).await {
            Ok(Ok(nodes)) => nodes,
            Ok(Err(message)) => return (ApiState::Error(message), Vec::new()),
            Err(_) => return (ApiState::Error("it does not answer".to_owned()), Vec::new()),
        };
        let ready = |node: &ApiNode| {
            let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
            conditions
                .into_iter()
                .flatten()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        };
        let states = nodes
            .items
            .iter()
            .map(|n| (n.metadata.name.clone().unwrap_or_default(), ready(n)));
        (ApiState::Running, states.collect())
    }
}
