//! The calls, on the fake's state.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::broadcast;

use super::state::{self, Behaviour, ContainerRecord, SandboxRecord};
use super::{Fake, not_found, now};
use crate::error::{Error, ErrorKind, Result};
use crate::image_ref::normalize;
use crate::runtime::{EventStream, Runtime};
use crate::v1;

#[async_trait]
impl Runtime for Fake {
    async fn version(&self) -> Result<v1::VersionResponse> {
        self.enter("Version").await?;
        Ok(v1::VersionResponse {
            version: "0.1.0".into(),
            runtime_name: "fake".into(),
            runtime_version: "1.0.0".into(),
            runtime_api_version: "v1".into(),
        })
    }

    async fn status(&self) -> Result<v1::StatusResponse> {
        self.enter("Status").await?;
        let condition = |kind: &str| v1::RuntimeCondition {
            r#type: kind.into(),
            status: true,
            ..Default::default()
        };
        let conditions = vec![condition("RuntimeReady"), condition("NetworkReady")];
        Ok(v1::StatusResponse {
            status: Some(v1::RuntimeStatus { conditions }),
            ..Default::default()
        })
    }

    async fn update_runtime_config(&self, _config: v1::RuntimeConfig) -> Result<()> {
        self.enter("UpdateRuntimeConfig").await
    }

    async fn events(&self) -> Result<EventStream> {
        self.enter("GetContainerEvents").await?;
        let receiver = self.inner.events.subscribe();
        let stream = futures::stream::unfold(receiver, |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(event) => return Some((Ok(event), receiver)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        Ok(stream.boxed())
    }

    async fn run_pod_sandbox(&self, config: v1::PodSandboxConfig, runtime_handler: &str) -> Result<String> {
        self.enter("RunPodSandbox").await?;
        let call = "RunPodSandbox";
        let Some(metadata) = config.metadata.clone() else {
            return Err(Error::new(
                call,
                ErrorKind::InvalidArgument,
                "sandbox config must include metadata",
            ));
        };
        let id = self.id("sandbox");
        let mut state = self.inner.state.lock();
        if state
            .sandboxes
            .values()
            .any(|s| s.config.metadata.as_ref() == Some(&metadata))
        {
            let message = format!(
                "failed to reserve sandbox name \"{}_{}\"",
                metadata.name, metadata.attempt
            );
            return Err(Error::new(call, ErrorKind::AlreadyExists, message));
        }
        state.next_ip += 1;
        let ip = format!("10.244.0.{}", state.next_ip + 1);
        state.sandboxes.insert(
            id.clone(),
            SandboxRecord {
                id: id.clone(),
                config,
                ready: true,
                created_at: now(),
                ip,
                handler: runtime_handler.into(),
            },
        );
        drop(state);
        self.emit(&id, v1::ContainerEventType::ContainerStartedEvent);
        Ok(id)
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        self.enter("StopPodSandbox").await?;
        self.kill_sandbox(id);
        Ok(())
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        self.enter("RemovePodSandbox").await?;
        self.kill_sandbox(id);
        let mut state = self.inner.state.lock();
        state.containers.retain(|_, c| c.sandbox_id != id);
        state.sandboxes.remove(id);
        Ok(())
    }

    async fn pod_sandbox_status(&self, id: &str, _verbose: bool) -> Result<v1::PodSandboxStatusResponse> {
        self.enter("PodSandboxStatus").await?;
        let state = self.inner.state.lock();
        let sandbox = state
            .sandboxes
            .get(id)
            .ok_or_else(|| not_found("PodSandboxStatus", "sandbox", id))?;
        Ok(v1::PodSandboxStatusResponse {
            status: Some(sandbox.status()),
            ..Default::default()
        })
    }

    async fn list_pod_sandboxes(&self, filter: Option<v1::PodSandboxFilter>) -> Result<Vec<v1::PodSandbox>> {
        self.enter("ListPodSandbox").await?;
        let state = self.inner.state.lock();
        let mut found: Vec<_> = state.sandboxes.values().map(SandboxRecord::summary).collect();
        if let Some(filter) = filter {
            found.retain(|s| {
                (filter.id.is_empty() || s.id == filter.id)
                    && filter.state.as_ref().is_none_or(|want| want.state == s.state)
                    && has_labels(&s.labels, &filter.label_selector)
            });
        }
        Ok(found)
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: v1::ContainerConfig,
        _sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String> {
        let call = "CreateContainer";
        self.enter(call).await?;
        let id = self.id("container");
        let mut state = self.inner.state.lock();
        let sandbox = state
            .sandboxes
            .get(sandbox_id)
            .ok_or_else(|| not_found(call, "sandbox", sandbox_id))?;
        if !sandbox.ready {
            let message = format!("sandbox container \"{sandbox_id}\" is not running");
            return Err(Error::new(call, ErrorKind::Other, message));
        }
        let Some(metadata) = config.metadata.clone() else {
            return Err(Error::new(
                call,
                ErrorKind::InvalidArgument,
                "container config must include metadata",
            ));
        };
        let taken =
            |c: &ContainerRecord| c.sandbox_id == sandbox_id && c.config.metadata.as_ref() == Some(&metadata);
        if state.containers.values().any(taken) {
            let message = format!(
                "failed to reserve container name \"{}_{}\"",
                metadata.name, metadata.attempt
            );
            return Err(Error::new(call, ErrorKind::AlreadyExists, message));
        }
        let image = config.image.clone().unwrap_or_default().image;
        let Some((image_id, behaviour)) = state.find_image(&image) else {
            return Err(not_found(call, "image", &image));
        };
        let sequence = state.containers.len() as u64;
        let record = ContainerRecord {
            id: id.clone(),
            sandbox_id: sandbox_id.into(),
            config,
            image_id,
            behaviour,
            state: v1::ContainerState::ContainerCreated,
            sequence,
            created_at: now(),
            started_at: 0,
            finished_at: 0,
            exit_code: 0,
            reason: String::new(),
        };
        state.containers.insert(id.clone(), record);
        drop(state);
        self.emit(&id, v1::ContainerEventType::ContainerCreatedEvent);
        Ok(id)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        let call = "StartContainer";
        self.enter(call).await?;
        let behaviour = {
            let mut state = self.inner.state.lock();
            let container = state
                .containers
                .get_mut(id)
                .ok_or_else(|| not_found(call, "container", id))?;
            if container.state != v1::ContainerState::ContainerCreated {
                let message = format!("container is in {} state", container.state.as_str_name());
                return Err(Error::new(call, ErrorKind::FailedPrecondition, message));
            }
            container.state = v1::ContainerState::ContainerRunning;
            container.started_at = now();
            container.behaviour.clone()
        };
        self.emit(id, v1::ContainerEventType::ContainerStartedEvent);
        if let Behaviour::Exit { after, code, reason } = behaviour {
            let (fake, id) = (self.clone(), id.to_string());
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                fake.finish(&id, code, &reason);
            });
        }
        Ok(())
    }

    async fn stop_container(&self, id: &str, timeout: Duration) -> Result<()> {
        self.enter("StopContainer").await?;
        let stubborn = {
            let state = self.inner.state.lock();
            let Some(container) = state.containers.get(id) else {
                return Ok(());
            };
            if container.state != v1::ContainerState::ContainerRunning {
                return Ok(());
            }
            matches!(container.behaviour, Behaviour::IgnoreTerm)
        };
        if stubborn {
            let deadline = tokio::time::sleep(timeout);
            tokio::pin!(deadline);
            loop {
                let ended = self.inner.ended.notified();
                if !self.is_running(id) {
                    return Ok(());
                }
                tokio::select! {
                    () = &mut deadline => break,
                    () = ended => {}
                }
            }
            self.finish(id, 137, "Error");
        } else {
            self.finish(
                id,
                if timeout.is_zero() { 137 } else { 0 },
                if timeout.is_zero() { "Error" } else { "Completed" },
            );
        }
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        self.enter("RemoveContainer").await?;
        self.finish(id, 137, "Error");
        if self.inner.state.lock().containers.remove(id).is_some() {
            self.emit(id, v1::ContainerEventType::ContainerDeletedEvent);
        }
        Ok(())
    }

    async fn list_containers(&self, filter: Option<v1::ContainerFilter>) -> Result<Vec<v1::Container>> {
        self.enter("ListContainers").await?;
        let state = self.inner.state.lock();
        let mut found: Vec<_> = state.containers.values().map(ContainerRecord::summary).collect();
        if let Some(filter) = filter {
            found.retain(|c| {
                (filter.id.is_empty() || c.id == filter.id)
                    && (filter.pod_sandbox_id.is_empty() || c.pod_sandbox_id == filter.pod_sandbox_id)
                    && filter.state.as_ref().is_none_or(|want| want.state == c.state)
                    && has_labels(&c.labels, &filter.label_selector)
            });
        }
        Ok(found)
    }

    async fn container_status(&self, id: &str, _verbose: bool) -> Result<v1::ContainerStatusResponse> {
        self.enter("ContainerStatus").await?;
        let state = self.inner.state.lock();
        let container = state
            .containers
            .get(id)
            .ok_or_else(|| not_found("ContainerStatus", "container", id))?;
        Ok(v1::ContainerStatusResponse {
            status: Some(container.status()),
            info: HashMap::new(),
        })
    }

    async fn update_container_resources(
        &self,
        id: &str,
        resources: v1::LinuxContainerResources,
    ) -> Result<()> {
        let call = "UpdateContainerResources";
        self.enter(call).await?;
        let mut state = self.inner.state.lock();
        let container = state
            .containers
            .get_mut(id)
            .ok_or_else(|| not_found(call, "container", id))?;
        container.config.linux.get_or_insert_default().resources = Some(resources);
        Ok(())
    }

    async fn reopen_container_log(&self, id: &str) -> Result<()> {
        self.enter("ReopenContainerLog").await?;
        if self.is_running(id) {
            return Ok(());
        }
        Err(Error::new(
            "ReopenContainerLog",
            ErrorKind::Other,
            "container is not running",
        ))
    }

    async fn exec_sync(&self, id: &str, cmd: &[String], timeout: Duration) -> Result<v1::ExecSyncResponse> {
        let call = "ExecSync";
        self.enter(call).await?;
        let reply = {
            let state = self.inner.state.lock();
            let container = state
                .containers
                .get(id)
                .ok_or_else(|| not_found(call, "container", id))?;
            if container.state != v1::ContainerState::ContainerRunning {
                let message = format!("container is in {} state", container.state.as_str_name());
                return Err(Error::new(call, ErrorKind::Other, message));
            }
            state.exec.get(&cmd.join(" ")).cloned().unwrap_or_default()
        };
        if !timeout.is_zero() && reply.takes > timeout {
            tokio::time::sleep(timeout).await;
            let message = format!(
                "failed to exec in container: timeout {timeout:?} exceeded: context deadline exceeded"
            );
            return Err(Error::new(call, ErrorKind::DeadlineExceeded, message));
        }
        tokio::time::sleep(reply.takes).await;
        Ok(v1::ExecSyncResponse {
            stdout: reply.stdout.into_bytes(),
            stderr: Vec::new(),
            exit_code: reply.exit_code,
        })
    }

    async fn exec_url(&self, _request: v1::ExecRequest) -> Result<String> {
        Err(Error::new(
            "Exec",
            ErrorKind::Unimplemented,
            "the fake runtime has no streaming server",
        ))
    }

    async fn attach_url(&self, _request: v1::AttachRequest) -> Result<String> {
        Err(Error::new(
            "Attach",
            ErrorKind::Unimplemented,
            "the fake runtime has no streaming server",
        ))
    }

    async fn port_forward_url(&self, _sandbox_id: &str, _ports: &[u16]) -> Result<String> {
        Err(Error::new(
            "PortForward",
            ErrorKind::Unimplemented,
            "the fake runtime has no streaming server",
        ))
    }

    async fn container_stats(
        &self,
        _filter: Option<v1::ContainerStatsFilter>,
    ) -> Result<Vec<v1::ContainerStats>> {
        self.enter("ListContainerStats").await?;
        Ok(self
            .inner
            .state
            .lock()
            .containers
            .values()
            .filter_map(ContainerRecord::stats)
            .collect())
    }

    async fn pod_sandbox_stats(
        &self,
        _filter: Option<v1::PodSandboxStatsFilter>,
    ) -> Result<Vec<v1::PodSandboxStats>> {
        self.enter("ListPodSandboxStats").await?;
        Ok(Vec::new())
    }

    async fn list_images(&self) -> Result<Vec<v1::Image>> {
        self.enter("ListImages").await?;
        let state = self.inner.state.lock();
        Ok(state
            .images
            .iter()
            .map(|(name, (id, _))| state::image(name, id))
            .collect())
    }

    async fn image_status(&self, image: &str) -> Result<Option<v1::Image>> {
        self.enter("ImageStatus").await?;
        let state = self.inner.state.lock();
        let full = normalize(image);
        Ok(state
            .images
            .iter()
            .find(|(name, (id, _))| **name == full || id == image)
            .map(|(n, (id, _))| state::image(n, id)))
    }

    async fn pull_image(
        &self,
        image: &str,
        _auth: Option<v1::AuthConfig>,
        _sandbox: Option<v1::PodSandboxConfig>,
    ) -> Result<String> {
        self.enter("PullImage").await?;
        let full = normalize(image);
        let mut state = self.inner.state.lock();
        let Some(behaviour) = state.remote.get(&full).cloned() else {
            let message = format!(
                "failed to pull and unpack image \"{full}\": failed to resolve reference \"{full}\": {full}: not found"
            );
            return Err(Error::new("PullImage", ErrorKind::NotFound, message));
        };
        let id = match state.images.get(&full) {
            Some((id, _)) => id.clone(),
            None => self.id("image"),
        };
        state.images.insert(full, (id.clone(), behaviour));
        Ok(id)
    }

    async fn remove_image(&self, image: &str) -> Result<()> {
        self.enter("RemoveImage").await?;
        let full = normalize(image);
        self.inner
            .state
            .lock()
            .images
            .retain(|name, (id, _)| *name != full && id != image);
        Ok(())
    }

    async fn image_fs_info(&self) -> Result<v1::ImageFsInfoResponse> {
        self.enter("ImageFsInfo").await?;
        Ok(v1::ImageFsInfoResponse::default())
    }
}

fn has_labels(labels: &HashMap<String, String>, wanted: &HashMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}
