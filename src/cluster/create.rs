//! A new cluster.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use rkind_config::Cluster;
use rkind_driver::{HostFacts, Network, NetworkSpec, Node};
use rkind_pki::{ClusterPki, kubeconfig};

use crate::access::{Admin, server_url};
use crate::home::Record;
use crate::node_files::{NodePlan, Planner, addresses, binary_file, files};
use crate::steps::Steps;
use crate::{Clusters, Error, Reporter, StartOptions, ready};

/// What checking found, before anything is changed.
pub(crate) struct Checked {
    pub facts: HostFacts,
}

impl Clusters {
    /// All that can be known to be wrong before anything is changed.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Host`], [`Error::PortInUse`], and a foreign
    /// kubeconfig entry of the same name.
    pub(crate) async fn check(
        &self,
        cluster: &Cluster,
        options: &StartOptions,
        reporter: &dyn Reporter,
    ) -> Result<Checked, Error> {
        let facts = self.driver.probe().await?;
        for missing in &facts.missing {
            if missing.fatal {
                return Err(Error::Host {
                    what: missing.what.clone(),
                    effect: missing.effect.clone(),
                    hint: missing.hint.clone(),
                });
            }
            tracing::debug!(
                what = missing.what,
                effect = missing.effect,
                "the host lacks something"
            );
        }
        if !self.driver.list_nodes(Some(&cluster.name)).await?.is_empty() {
            return Err(Error::Exists(cluster.name.clone()));
        }
        kubeconfig::check(&options.kubeconfig, &cluster.name)?;
        if facts.local {
            if let Some(port) = cluster.api.port {
                port_is_free(cluster.api.address, port)?;
            }
            for port in cluster.nodes.iter().flat_map(|n| &n.ports) {
                if let Some(number) = port
                    .host_port
                    .filter(|_| port.protocol == rkind_config::Protocol::Tcp)
                {
                    port_is_free(port.listen_address, number)?;
                }
            }
        }
        let capabilities = self.driver.capabilities();
        let limited = cluster.nodes.iter().any(|n| n.resources != Default::default());
        if limited && !capabilities.limits {
            reporter.warn("limits of CPU and memory are reported but not enforced by this driver");
        }
        if !cluster.feature_gates.is_empty() {
            let gates: Vec<&str> = cluster.feature_gates.keys().map(String::as_str).collect();
            reporter.warn(&format!(
                "rkind has no feature gates: what Kubernetes v1.35 enables by default is there, {} changes nothing",
                gates.join(", ")
            ));
        }
        Ok(Checked { facts })
    }

    /// Makes the cluster and waits until it can be used. The image must be there.
    ///
    /// # Errors
    /// What went wrong; nothing is left unless `options.retain`.
    pub(crate) async fn create(
        &self,
        cluster: &Cluster,
        image: &str,
        options: &StartOptions,
        reporter: &dyn Reporter,
    ) -> Result<Admin, Error> {
        let result = self.create_steps(cluster, image, options, reporter).await;
        if result.is_err() && !options.retain {
            reporter.begin("Cleaning up");
            let started = std::time::Instant::now();
            let cleaned = self.erase(&cluster.name, &options.kubeconfig).await;
            reporter.end("Cleaning up", started.elapsed(), cleaned.is_ok());
            if let Err(error) = cleaned {
                reporter.warn(&format!("cleaning up failed: {}", rkind_client::chain(&error)));
            }
        }
        result
    }

    async fn create_steps(
        &self,
        cluster: &Cluster,
        image: &str,
        options: &StartOptions,
        reporter: &dyn Reporter,
    ) -> Result<Admin, Error> {
        let steps = Steps {
            reporter,
            cancel: &options.cancel,
        };
        // A failed start that was retained elsewhere, or killed, may have left
        // parts without nodes.
        let network = steps
            .run("Creating the network", self.create_network(cluster))
            .await?;
        let original = image;
        let image = &steps
            .run("Handing over the binary", async {
                Ok(self.driver.bake(image, &[binary_file(&options.binary)]).await?)
            })
            .await?;
        // A driver that bakes nothing gives the same image back.
        let baked = if image == original { "" } else { image };
        let (record, pki, plans) = steps
            .run("Issuing certificates", async {
                self.plan(cluster, image, &network)
            })
            .await?;
        self.home.save(&record, &pki.to_pem())?;
        let names: Vec<_> = plans.iter().map(|p| p.spec.name.clone()).collect();
        let nodes = steps
            .run(
                &format!("Creating {}", count(names.len(), "node")),
                self.create_nodes(&plans, baked, options),
            )
            .await?;
        steps
            .run(&format!("Starting {}", count(names.len(), "node")), async {
                let starts = nodes.iter().map(|node| node.start());
                futures::future::try_join_all(starts).await?;
                Ok(())
            })
            .await?;
        let leaf = pki.admin()?;
        let admin = Admin {
            cluster: cluster.name.clone(),
            server: server_url(cluster.api.address, record.api_port),
            ca_pem: pki.ca.cert_pem().to_owned(),
            cert_pem: leaf.cert_pem,
            key_pem: leaf.key_pem,
        };
        let client = steps
            .wait("Waiting for the API server", ready::api(&admin, &nodes))
            .await?;
        kubeconfig::merge(&options.kubeconfig, &admin.access(), !options.keep_context)?;
        if let Some(patience) = options.wait {
            steps
                .wait(
                    "Waiting for nodes",
                    ready::nodes(client, &nodes, patience, None, reporter),
                )
                .await?;
        }
        Ok(admin)
    }

    async fn create_network(&self, cluster: &Cluster) -> Result<Network, Error> {
        let v4 = |net: IpNet| match net {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        };
        let avoid: Vec<Ipv4Net> = [cluster.network.pod_subnet, cluster.network.service_subnet]
            .into_iter()
            .filter_map(v4)
            .collect();
        // There are no nodes, so a network of this name is a leftover.
        if self.driver.network(&cluster.name).await?.is_some() {
            self.driver.delete_cluster(&cluster.name).await?;
        }
        let spec = NetworkSpec {
            cluster: cluster.name.clone(),
            subnet: cluster.node_subnet,
            avoid,
        };
        Ok(self.driver.create_network(&spec).await?)
    }

    /// Everything that the nodes will be given.
    fn plan(
        &self,
        cluster: &Cluster,
        image: &str,
        network: &Network,
    ) -> Result<(Record, ClusterPki, Vec<NodePlan>), Error> {
        let pki = ClusterPki::generate()?;
        let addresses = addresses(network, cluster.nodes.len())?;
        let mut cluster = cluster.clone();
        let api_port = match cluster.api.port {
            Some(port) => port,
            None => free_port(cluster.api.address)?,
        };
        // A free port is chosen here and not by the engine, so that it stays the
        // same when a node starts again.
        for port in cluster.nodes.iter_mut().flat_map(|n| &mut n.ports) {
            if port.host_port.is_none() {
                port.host_port = Some(free_port(port.listen_address)?);
            }
        }
        let control_planes: Vec<(&str, IpAddr)> = cluster
            .nodes
            .iter()
            .zip(&addresses)
            .filter(|(n, _)| n.role == rkind_config::NodeRole::ControlPlane)
            .map(|(n, a)| (n.name.as_str(), *a))
            .collect();
        let planner = Planner {
            cluster: &cluster,
            image,
            network,
            pki: &pki,
            control_planes: &control_planes,
            api_port,
        };
        let plans = cluster
            .nodes
            .iter()
            .zip(&addresses)
            .map(|(node, address)| planner.plan(node, *address))
            .collect::<Result<Vec<_>, _>>()?;
        Ok((
            Record {
                cluster,
                network: network.clone(),
                api_port,
            },
            pki,
            plans,
        ))
    }

    pub(crate) async fn create_nodes(
        &self,
        plans: &[NodePlan],
        baked: &str,
        options: &StartOptions,
    ) -> Result<Vec<Arc<dyn Node>>, Error> {
        let creations = plans.iter().map(|plan| async {
            let node = self.driver.create_node(&plan.spec).await?;
            node.deliver(files(plan, baked, &options.binary)?).await?;
            Ok::<_, Error>(node)
        });
        // All of them end before the first error counts: what is made can then be
        // found and deleted.
        let results = futures::future::join_all(creations).await;
        results.into_iter().collect()
    }
}

pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

fn bind(address: IpAddr, port: u16) -> Result<u16, Error> {
    TcpListener::bind(SocketAddr::new(address, port))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| Error::PortInUse {
            address,
            port,
            source,
        })
}

fn free_port(address: IpAddr) -> Result<u16, Error> {
    bind(address, 0)
}

pub(crate) fn port_is_free(address: IpAddr, port: u16) -> Result<(), Error> {
    match bind(address, port) {
        // An address of another host or a low port: the engine will know.
        Err(Error::PortInUse { source, .. }) if source.kind() != std::io::ErrorKind::AddrInUse => Ok(()),
        result => result.map(drop),
    }
}
