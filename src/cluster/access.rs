//! How this machine reaches a cluster's API.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rkind_config::{NodeConfig, paths};
use rkind_driver::{NodeFacts, run_checked};
use rkind_pki::ClusterPki;
use rkind_pki::kubeconfig::Access;

use crate::{Clusters, Error};

/// The administrator's way in.
#[derive(Clone)]
pub(crate) struct Admin {
    pub cluster: String,
    /// `https://127.0.0.1:<port>`
    pub server: String,
    pub ca_pem: String,
    pub cert_pem: String,
    pub key_pem: String,
}

impl Admin {
    pub(crate) fn access(&self) -> Access<'_> {
        Access {
            name: &self.cluster,
            server: &self.server,
            ca_pem: &self.ca_pem,
            cert_pem: &self.cert_pem,
            key_pem: &self.key_pem,
        }
    }

    /// # Errors
    /// [`Error::Client`]
    pub(crate) async fn client(&self) -> Result<kube::Client, Error> {
        rkind_client::from_kubeconfig_text(&self.access().to_yaml())
            .await
            .map_err(|e| Error::Client {
                server: self.server.clone(),
                message: rkind_client::chain(&e),
            })
    }
}

/// Where a client on this machine connects to for `listen`.
pub(crate) fn server_url(listen: IpAddr, port: u16) -> String {
    let address = if listen.is_unspecified() {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        listen
    };
    format!("https://{}", SocketAddr::new(address, port))
}

/// The published address of the API server, from the nodes' labels.
pub(crate) fn server_of(nodes: &[NodeFacts]) -> Option<String> {
    let ports = nodes.iter().flat_map(|n| &n.ports);
    let mut api = ports.filter(|p| p.node_port == paths::APISERVER_PORT && p.protocol == "tcp");
    api.next().map(|p| server_url(p.address, p.host_port))
}

impl Clusters {
    /// The administrator's way in: from the state directory, or where that is
    /// gone from the running control-plane node.
    pub(crate) async fn admin(&self, cluster: &str) -> Result<Admin, Error> {
        let nodes = self.nodes(cluster).await?;
        let server = server_of(&nodes).ok_or_else(|| Error::NoCluster(cluster.to_owned()))?;
        if let Some(pem) = self.home.pki(cluster)? {
            let pki = ClusterPki::from_pem(&pem)?;
            let leaf = pki.admin()?;
            return Ok(Admin {
                cluster: cluster.to_owned(),
                server,
                ca_pem: pem.ca_cert,
                cert_pem: leaf.cert_pem,
                key_pem: leaf.key_pem,
            });
        }
        let node = self.node(cluster, None).await?;
        let text = run_checked(node.as_ref(), &["cat", paths::NODE_CONFIG])
            .await?
            .text();
        let config = NodeConfig::from_yaml(&text).map_err(|source| Error::NodeConfig {
            node: node.name().to_owned(),
            source,
        })?;
        let admin = config.pki.control_plane.map(|pki| pki.admin);
        let admin = admin.ok_or_else(|| Error::NoCluster(cluster.to_owned()))?;
        Ok(Admin {
            cluster: cluster.to_owned(),
            server,
            ca_pem: config.pki.ca_cert,
            cert_pem: admin.cert,
            key_pem: admin.key,
        })
    }

    /// A kubeconfig with nothing else in it. `internal`: for use in the cluster's
    /// own network.
    ///
    /// # Errors
    /// [`Error::NoCluster`], or what keeps the secrets from being read.
    pub async fn kubeconfig(&self, cluster: &str, internal: bool) -> Result<String, Error> {
        let mut admin = self.admin(cluster).await?;
        if internal {
            let nodes = self.nodes(cluster).await?;
            if let Some(node) = nodes.first() {
                admin.server = server_url(node.address, paths::APISERVER_PORT);
            }
        }
        Ok(admin.access().to_yaml())
    }

    /// Writes the cluster's entries into the user's kubeconfig. Returns the file.
    ///
    /// # Errors
    /// As [`rkind_pki::kubeconfig::merge`].
    pub async fn export_kubeconfig(
        &self,
        cluster: &str,
        locations: &rkind_pki::kubeconfig::Locations,
        make_current: bool,
    ) -> Result<std::path::PathBuf, Error> {
        let admin = self.admin(cluster).await?;
        Ok(rkind_pki::kubeconfig::merge(
            locations,
            &admin.access(),
            make_current,
        )?)
    }

    /// A client with all rights.
    ///
    /// # Errors
    /// As [`Clusters::kubeconfig`], and [`Error::Client`].
    pub async fn client(&self, cluster: &str) -> Result<kube::Client, Error> {
        self.admin(cluster).await?.client().await
    }
}
