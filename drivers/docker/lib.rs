//! Nodes as containers of a Docker engine, or of Podman by the same API.
//!
//! In: the wishes of `rkind-driver`. Out: containers, volumes and networks with
//! labels, from which everything is found again.
//!
//! Node containers are never privileged: they get a list of capabilities that
//! is written down in `spec`, without those that the host itself lacks.
//! It knows nothing of Kubernetes, and nothing of what a node runs.

mod bake;
mod connect;
mod error;
mod exec;
mod network;
mod node;
mod probe;
mod spec;
mod subnet;
mod tar_stream;

#[cfg(test)]
mod needs_docker;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bollard::Docker;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ImportImageOptionsBuilder, ListContainersOptionsBuilder,
    ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, RemoveVolumeOptions,
};
use futures::{StreamExt as _, TryStreamExt as _};
use rkind_driver::{
    ByteStream, Capabilities, Driver, Error, File, HostFacts, LocalImage, Network, NetworkSpec, Node,
    NodeFacts, NodeSpec, labels,
};

pub use connect::Endpoint;
use error::{backend, is_conflict, is_not_found};
use node::DockerNode;

/// One engine.
#[derive(Clone)]
pub struct DockerDriver {
    pub(crate) docker: Docker,
    pub(crate) endpoint: Endpoint,
    /// Podman answers there.
    pub(crate) podman: bool,
}

impl std::fmt::Debug for DockerDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DockerDriver")
            .field("endpoint", &self.endpoint)
            .finish()
    }
}

impl DockerDriver {
    /// Connects the way the docker client would: `DOCKER_HOST`, the context of
    /// `DOCKER_CONTEXT` or of its configuration, the default socket.
    ///
    /// # Errors
    /// [`Error::Unreachable`] with a hint.
    pub async fn connect() -> Result<Self, Error> {
        Self::connect_to(Endpoint::docker()).await
    }

    /// Connects to Podman's socket: of the user, else of the system.
    ///
    /// # Errors
    /// [`Error::Unreachable`] with a hint.
    pub async fn connect_podman() -> Result<Self, Error> {
        Self::connect_to(Endpoint::podman()).await
    }

    /// Connects to a given engine.
    ///
    /// # Errors
    /// [`Error::Unreachable`] with a hint.
    pub async fn connect_to(endpoint: Endpoint) -> Result<Self, Error> {
        let docker = connect::connect(&endpoint).await?;
        let podman = connect::is_podman(&docker).await;
        Ok(DockerDriver {
            docker,
            endpoint,
            podman,
        })
    }
}

fn label_filter(cluster: Option<&str>) -> HashMap<String, Vec<String>> {
    let filter = match cluster {
        Some(cluster) => format!("{}={cluster}", labels::CLUSTER),
        None => labels::CLUSTER.to_owned(),
    };
    HashMap::from([("label".to_owned(), vec![filter])])
}

#[async_trait]
impl Driver for DockerDriver {
    fn name(&self) -> &'static str {
        self.endpoint.engine
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            limits: true,
            mounts: true,
            survives_restart: true,
            local_images: true,
        }
    }

    async fn probe(&self) -> Result<HostFacts, Error> {
        probe::probe(self).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<Network, Error> {
        network::create(self, spec).await
    }

    async fn network(&self, cluster: &str) -> Result<Option<Network>, Error> {
        network::find(self, cluster).await
    }

    async fn create_node(&self, spec: &NodeSpec) -> Result<Arc<dyn Node>, Error> {
        let doing = || format!("create the node {}", spec.name);
        let lacking = if self.endpoint.is_local() {
            probe::lacking_capabilities()
        } else {
            Vec::new()
        };
        let limits = probe::limits(self.podman, &lacking);
        let volume = spec::volume(spec);
        let volume_name = volume.name.clone().unwrap_or_default();
        match self.docker.inspect_volume(&volume_name).await {
            Ok(_) => {
                return Err(Error::Exists {
                    what: "volume",
                    name: volume_name,
                });
            }
            Err(e) if is_not_found(&e) => {}
            Err(e) => return Err(backend(doing(), e)),
        }
        // Whoever makes the container owns the name; only then is there a volume
        // to make, and the engine makes it from the mount's labels. Podman does not
        // read those, so there it is made here.
        if self.podman {
            let made = self.docker.create_volume(volume).await;
            made.map_err(|e| backend(doing(), e))?;
        }
        let options = CreateContainerOptionsBuilder::default().name(&spec.name).build();
        match self
            .docker
            .create_container(Some(options), spec::container(spec, &lacking, limits))
            .await
        {
            Ok(_) => {}
            Err(e) if is_conflict(&e) => {
                return Err(Error::Exists {
                    what: "container",
                    name: spec.name.clone(),
                });
            }
            Err(e) if is_not_found(&e) && e.to_string().to_lowercase().contains("image") => {
                return Err(Error::NoImage(spec.image.clone()));
            }
            Err(e) => return Err(backend(doing(), e)),
        }
        Ok(Arc::new(DockerNode::new(self.clone(), &spec.name, spec.address)))
    }

    async fn list_nodes(&self, cluster: Option<&str>) -> Result<Vec<NodeFacts>, Error> {
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&label_filter(cluster))
            .build();
        let containers = self
            .docker
            .list_containers(Some(options))
            .await
            .map_err(|e| backend("list the nodes", e))?;
        let mut nodes: Vec<NodeFacts> = containers
            .into_iter()
            .filter_map(node::facts_of_summary)
            .collect();
        nodes.sort_by(|a, b| (&a.cluster, a.role, &a.name).cmp(&(&b.cluster, b.role, &b.name)));
        Ok(nodes)
    }

    fn node(&self, facts: &NodeFacts) -> Arc<dyn Node> {
        Arc::new(DockerNode::new(self.clone(), &facts.name, facts.address))
    }

    async fn delete_cluster(&self, cluster: &str) -> Result<usize, Error> {
        let doing = |what: &str| format!("delete the {what} of cluster {cluster}");
        let filters = label_filter(Some(cluster));
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let containers = self
            .docker
            .list_containers(Some(options))
            .await
            .map_err(|e| backend(doing("nodes"), e))?;
        let ids: Vec<String> = containers.into_iter().filter_map(|c| c.id).collect();
        let mut count = ids.len();
        let removals = ids.iter().map(|id| remove_container(&self.docker, id));
        futures::future::try_join_all(removals)
            .await
            .map_err(|e| backend(doing("nodes"), e))?;

        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let volumes = self
            .docker
            .list_volumes(Some(options))
            .await
            .map_err(|e| backend(doing("volumes"), e))?;
        let names: Vec<String> = volumes.volumes.into_iter().flatten().map(|v| v.name).collect();
        count += names.len();
        let removals = names.iter().map(|name| async {
            match self.docker.remove_volume(name, None::<RemoveVolumeOptions>).await {
                Err(e) if !is_not_found(&e) => Err(e),
                _ => Ok(()),
            }
        });
        futures::future::try_join_all(removals)
            .await
            .map_err(|e| backend(doing("volumes"), e))?;
        count += network::delete(self, cluster).await?;
        Ok(count)
    }

    async fn local_image(&self, reference: &str) -> Result<Option<LocalImage>, Error> {
        let inspect = match self.docker.inspect_image(reference).await {
            Ok(inspect) => inspect,
            Err(e) if is_not_found(&e) => return Ok(None),
            Err(e) => return Err(backend(format!("look at the image {reference}"), e)),
        };
        Ok(Some(LocalImage {
            id: inspect.id.unwrap_or_default(),
            tags: inspect.repo_tags.unwrap_or_default(),
            size_bytes: u64::try_from(inspect.size.unwrap_or_default()).unwrap_or_default(),
            layers: inspect.root_fs.and_then(|fs| fs.layers).unwrap_or_default(),
            labels: inspect
                .config
                .and_then(|c| c.labels)
                .unwrap_or_default()
                .into_iter()
                .collect(),
        }))
    }

    async fn export_images(&self, references: &[String]) -> Result<ByteStream, Error> {
        for reference in references {
            if self.local_image(reference).await?.is_none() {
                return Err(Error::NoImage(reference.clone()));
            }
        }
        let (sender, receiver) = tokio::sync::mpsc::channel(8);
        let (docker, references) = (self.docker.clone(), references.to_vec());
        tokio::spawn(async move {
            let names: Vec<&str> = references.iter().map(String::as_str).collect();
            let mut stream = std::pin::pin!(docker.export_images(&names));
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.map_err(|e| backend(format!("export {}", names.join(", ")), e));
                if sender.send(chunk).await.is_err() {
                    return;
                }
            }
        });
        Ok(tar_stream::from_channel(receiver))
    }

    async fn bake(&self, image: &str, files: &[File]) -> Result<String, Error> {
        bake::bake(self, image, files).await
    }

    async fn delete_image(&self, reference: &str) -> Result<(), Error> {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        match self.docker.remove_image(reference, Some(options), None).await {
            Err(e) if !is_not_found(&e) => Err(backend(format!("delete the image {reference}"), e)),
            _ => Ok(()),
        }
    }

    async fn import_images(&self, tar: ByteStream) -> Result<(), Error> {
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let progress = self.docker.import_image_stream(options, tar, None);
        progress
            .try_for_each(|_| async { Ok(()) })
            .await
            .map_err(|e| backend("load an image into the engine", e))
    }
}

/// Removes a container with its anonymous volumes; an absent one is fine.
async fn remove_container(docker: &Docker, id: &str) -> Result<(), bollard::errors::Error> {
    let options = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    match docker.remove_container(id, Some(options)).await {
        Err(e) if !is_not_found(&e) && !error::is_removal_in_progress(&e) => Err(e),
        _ => Ok(()),
    }
}
