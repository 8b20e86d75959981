//! A container as a node.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{ContainerStateStatusEnum, ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    LogsOptionsBuilder, RemoveVolumeOptions, StartContainerOptions, StopContainerOptionsBuilder,
    UploadToContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures::StreamExt as _;
use rkind_config::NodeRole;
use rkind_driver::{
    ByteStream, Content, Error, Exec, ExecSpec, File, LogOptions, Node, NodeFacts, NodeState, labels,
};

use crate::error::{backend, is_conflict, is_not_found, port_in_use, text};
use crate::spec::{PORTS_LABEL, parse_ports_label, volume_name};
use crate::{DockerDriver, exec, remove_container, tar_stream};

pub(crate) struct DockerNode {
    driver: DockerDriver,
    name: String,
    address: IpAddr,
}

impl DockerNode {
    pub(crate) fn new(driver: DockerDriver, name: &str, address: IpAddr) -> Self {
        DockerNode {
            driver,
            name: name.to_owned(),
            address,
        }
    }

    fn failed(&self, verb: &str, error: DockerError) -> Error {
        failed(&self.name, verb, error)
    }

    /// Whether this copy of a file is there, by size and time. Small content is
    /// always sent.
    async fn has(&self, file: &File) -> bool {
        let Content::Path(path) = &file.content else {
            return false;
        };
        let Ok(ours) = std::fs::metadata(path) else {
            return false;
        };
        let options = ContainerArchiveInfoOptionsBuilder::default()
            .path(&file.path)
            .build();
        let docker = &self.driver.docker;
        let Ok(theirs) = docker.get_container_archive_info(&self.name, Some(options)).await else {
            return false;
        };
        let time = theirs
            .modification_time
            .and_then(|t| t.parse::<jiff::Timestamp>().ok());
        u64::try_from(theirs.size).is_ok_and(|size| size == ours.len())
            && time.is_some_and(|t| u64::try_from(t.as_second()).ok() == tar_stream::seconds(&ours))
    }
}

fn failed(name: &str, verb: &str, error: DockerError) -> Error {
    if is_not_found(&error) {
        Error::NoNode(name.to_owned())
    } else {
        backend(format!("{verb} the node {name}"), error)
    }
}

/// Puts files into a container.
pub(crate) async fn upload(docker: &Docker, container: &str, files: Vec<File>) -> Result<(), Error> {
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    // An error while reading a file must not look like one of the engine.
    let (sender, mut reading) = tokio::sync::mpsc::channel(1);
    let body = tar_stream::archive(files).map(move |chunk| {
        chunk.map_err(|e| {
            let io = std::io::Error::other(e.to_string());
            let _ = sender.try_send(e);
            io
        })
    });
    let body = bollard::body_try_stream(body);
    match docker.upload_to_container(container, Some(options), body).await {
        Ok(()) => Ok(()),
        Err(e) => Err(reading
            .try_recv()
            .unwrap_or_else(|_| failed(container, "put files into", e))),
    }
}

/// Facts out of labels; `None` for a container that has not all of them.
fn facts(
    labels: std::collections::HashMap<String, String>,
    state: NodeState,
    image: String,
) -> Option<NodeFacts> {
    let get = |key: &str| labels.get(key).cloned();
    Some(NodeFacts {
        cluster: get(labels::CLUSTER)?,
        name: get(labels::NODE)?,
        role: NodeRole::parse(&get(labels::ROLE)?)?,
        state,
        address: get(labels::ADDRESS)?.parse().ok()?,
        image,
        ports: parse_ports_label(&get(PORTS_LABEL).unwrap_or_default()),
        labels: labels.into_iter().collect(),
    })
}

pub(crate) fn facts_of_summary(container: ContainerSummary) -> Option<NodeFacts> {
    let state = match container.state? {
        ContainerSummaryStateEnum::CREATED => NodeState::Created,
        ContainerSummaryStateEnum::RUNNING => NodeState::Running,
        ContainerSummaryStateEnum::PAUSED => NodeState::Paused,
        _ => NodeState::Stopped,
    };
    facts(container.labels?, state, container.image.unwrap_or_default())
}

#[async_trait]
impl Node for DockerNode {
    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> IpAddr {
        self.address
    }

    async fn deliver(&self, files: Vec<File>) -> Result<(), Error> {
        let mut missing = Vec::with_capacity(files.len());
        for file in files {
            if !self.has(&file).await {
                missing.push(file);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        upload(&self.driver.docker, &self.name, missing).await
    }

    async fn start(&self) -> Result<(), Error> {
        match self
            .driver
            .docker
            .start_container(&self.name, None::<StartContainerOptions>)
            .await
        {
            Ok(()) => Ok(()),
            Err(e) => Err(match port_in_use(&text(&e)) {
                Some(port) => Error::PortInUse {
                    port,
                    source: text(&e).into(),
                },
                None => self.failed("start", e),
            }),
        }
    }

    async fn stop(&self, grace: Duration) -> Result<(), Error> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        match self.driver.docker.stop_container(&self.name, Some(options)).await {
            Ok(()) => Ok(()),
            // "Not modified": it is stopped.
            Err(DockerError::DockerResponseServerError { status_code: 304, .. }) => Ok(()),
            Err(e) => Err(self.failed("stop", e)),
        }
    }

    async fn kill(&self) -> Result<(), Error> {
        let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        match self.driver.docker.kill_container(&self.name, Some(options)).await {
            Ok(()) => Ok(()),
            Err(e) if is_conflict(&e) || text(&e).contains("is not running") => Ok(()),
            Err(e) => Err(self.failed("kill", e)),
        }
    }

    async fn stopped(&self) -> Result<i64, Error> {
        let options = WaitContainerOptionsBuilder::default()
            .condition("not-running")
            .build();
        let mut wait = std::pin::pin!(self.driver.docker.wait_container(&self.name, Some(options)));
        match wait.next().await {
            Some(Ok(answer)) => Ok(answer.status_code),
            Some(Err(DockerError::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(e)) => Err(self.failed("wait for", e)),
            None => Err(Error::NoNode(self.name.clone())),
        }
    }

    async fn delete(&self) -> Result<(), Error> {
        let docker = &self.driver.docker;
        remove_container(docker, &self.name)
            .await
            .map_err(|e| self.failed("delete", e))?;
        match docker
            .remove_volume(&volume_name(&self.name), None::<RemoveVolumeOptions>)
            .await
        {
            Err(e) if !is_not_found(&e) => Err(self.failed("delete the volume of", e)),
            _ => Ok(()),
        }
    }

    async fn exec(&self, spec: ExecSpec) -> Result<Exec, Error> {
        exec::exec(&self.driver.docker, &self.name, spec).await
    }

    async fn logs(&self, options: LogOptions) -> Result<ByteStream, Error> {
        let tail = options.tail.map_or_else(|| "all".to_owned(), |n| n.to_string());
        let query = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .follow(options.follow)
            .tail(&tail)
            .build();
        let name = self.name.clone();
        Ok(self
            .driver
            .docker
            .logs(&self.name, Some(query))
            .map(move |piece| match piece {
                Ok(piece) => Ok(piece.into_bytes()),
                Err(e) if is_not_found(&e) => Err(Error::NoNode(name.clone())),
                Err(e) => Err(backend(format!("read the log of node {name}"), e)),
            })
            .boxed())
    }

    async fn facts(&self) -> Result<NodeFacts, Error> {
        let inspect = self
            .driver
            .docker
            .inspect_container(&self.name, None::<InspectContainerOptions>)
            .await
            .map_err(|e| self.failed("look at", e))?;
        let state = match inspect.state.and_then(|s| s.status) {
            Some(ContainerStateStatusEnum::CREATED) => NodeState::Created,
            Some(ContainerStateStatusEnum::RUNNING) => NodeState::Running,
            Some(ContainerStateStatusEnum::PAUSED) => NodeState::Paused,
            _ => NodeState::Stopped,
        };
        let config = inspect.config.unwrap_or_default();
        facts(
            config.labels.unwrap_or_default(),
            state,
            config.image.unwrap_or_default(),
        )
        .ok_or_else(|| Error::NoNode(self.name.clone()))
    }
}
