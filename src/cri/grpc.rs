//! [`Runtime`] over CRI v1 gRPC on a unix socket (containerd, CRI-O).

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Response, Status};

use crate::containerd;
use crate::containerd::events_client::EventsClient;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::{EventStream, Runtime};
use crate::v1;
use crate::v1::image_service_client::ImageServiceClient;
use crate::v1::runtime_service_client::RuntimeServiceClient;

/// How long an ordinary call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// A sandbox may have to wait for its network, a container for a slow disk.
const CREATE_TIMEOUT: Duration = Duration::from_secs(240);
/// The containerd namespace of everything that CRI runs.
const NAMESPACE: &str = "k8s.io";
/// Lists of a machine full of pods are far below this.
const MAX_MESSAGE: usize = 16 << 20;

/// A runtime behind a unix socket. Cheap to clone; connects on first use and again after the
/// runtime was restarted.
#[derive(Debug, Clone)]
pub struct Client {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    containerd: EventsClient<Channel>,
}

impl Client {
    /// A client of the socket at `path`. Nothing is contacted yet, so the runtime may start later.
    /// Must be called inside a tokio runtime.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path: PathBuf = path.as_ref().to_path_buf();
        // The address is never used: the connector below knows where to go.
        let channel = Endpoint::from_static("http://localhost")
            .connect_timeout(Duration::from_secs(5))
            .connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }));
        Self {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
            images: ImageServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
            containerd: EventsClient::new(channel),
        }
    }
}

impl Client {
    /// The runtime's CRI events, or what containerd tells itself: its CRI has none before 1.7.
    async fn open_events(&self) -> Result<EventStream> {
        const CALL: &str = "GetContainerEvents";
        match self
            .runtime
            .clone()
            .get_container_events(v1::GetEventsRequest {})
            .await
        {
            Ok(answer) => {
                let events = answer
                    .into_inner()
                    .map(|item| item.map_err(|s| Error::from_status(CALL, &s)));
                Ok(events.boxed())
            }
            Err(status) if status.code() == tonic::Code::Unimplemented => self.open_containerd_events().await,
            Err(status) => Err(Error::from_status(CALL, &status)),
        }
    }

    async fn open_containerd_events(&self) -> Result<EventStream> {
        const CALL: &str = "Subscribe";
        let filters = vec![format!("namespace=={NAMESPACE},topic==\"/tasks/delete\"")];
        let request = containerd::SubscribeRequest { filters };
        let answer = self
            .containerd
            .clone()
            .subscribe(request)
            .await
            .map_err(|s| Error::from_status(CALL, &s))?;
        let events = answer.into_inner().filter_map(|item| async move {
            match item {
                Ok(envelope) => ended(&envelope).map(Ok),
                Err(status) => Some(Err(Error::from_status(CALL, &status))),
            }
        });
        Ok(events.boxed())
    }
}

/// The event of a container whose main process ended; commands run inside it are none.
fn ended(envelope: &containerd::Envelope) -> Option<v1::ContainerEventResponse> {
    use prost::Message;
    let task = containerd::TaskDelete::decode(envelope.event.as_ref()?.value.as_slice()).ok()?;
    (task.id.is_empty() || task.id == task.container_id).then(|| v1::ContainerEventResponse {
        container_id: task.container_id,
        container_event_type: v1::ContainerEventType::ContainerStoppedEvent.into(),
        ..Default::default()
    })
}

async fn call<T>(
    name: &'static str,
    limit: Duration,
    request: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T> {
    match tokio::time::timeout(limit, request).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Error::from_status(name, &status)),
        Err(_) => Err(Error::new(
            name,
            ErrorKind::DeadlineExceeded,
            "context deadline exceeded",
        )),
    }
}

/// Idempotent removal: what is gone needs no removing.
fn gone_is_fine<T>(result: Result<T>) -> Result<()> {
    match result {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

fn spec(image: &str) -> Option<v1::ImageSpec> {
    Some(v1::ImageSpec {
        image: image.to_string(),
        ..Default::default()
    })
}

#[async_trait]
impl Runtime for Client {
    async fn version(&self) -> Result<v1::VersionResponse> {
        let request = v1::VersionRequest {
            version: "0.1.0".into(),
        };
        call(
            "Version",
            Duration::from_secs(10),
            self.runtime.clone().version(request),
        )
        .await
    }

    async fn status(&self) -> Result<v1::StatusResponse> {
        let request = v1::StatusRequest { verbose: false };
        call(
            "Status",
            Duration::from_secs(10),
            self.runtime.clone().status(request),
        )
        .await
    }

    async fn update_runtime_config(&self, config: v1::RuntimeConfig) -> Result<()> {
        let request = v1::UpdateRuntimeConfigRequest {
            runtime_config: Some(config),
        };
        call(
            "UpdateRuntimeConfig",
            CALL_TIMEOUT,
            self.runtime.clone().update_runtime_config(request),
        )
        .await
        .map(drop)
    }

    async fn events(&self) -> Result<EventStream> {
        // A server answers the opening of a stream together with its first event: whoever waited
        // for that here would wait for as long as nothing happens.
        let client = self.clone();
        let opened = async move { client.open_events().await };
        let events = stream::once(opened).flat_map(|opened| match opened {
            Ok(events) => events,
            Err(error) => stream::once(async { Err(error) }).boxed(),
        });
        Ok(events.boxed())
    }

    async fn run_pod_sandbox(&self, config: v1::PodSandboxConfig, runtime_handler: &str) -> Result<String> {
        let request = v1::RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: runtime_handler.into(),
        };
        let response = call(
            "RunPodSandbox",
            CREATE_TIMEOUT,
            self.runtime.clone().run_pod_sandbox(request),
        )
        .await?;
        Ok(response.pod_sandbox_id)
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        let request = v1::StopPodSandboxRequest {
            pod_sandbox_id: id.into(),
        };
        gone_is_fine(
            call(
                "StopPodSandbox",
                CALL_TIMEOUT,
                self.runtime.clone().stop_pod_sandbox(request),
            )
            .await,
        )
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        let request = v1::RemovePodSandboxRequest {
            pod_sandbox_id: id.into(),
        };
        gone_is_fine(
            call(
                "RemovePodSandbox",
                CALL_TIMEOUT,
                self.runtime.clone().remove_pod_sandbox(request),
            )
            .await,
        )
    }

    async fn pod_sandbox_status(&self, id: &str, verbose: bool) -> Result<v1::PodSandboxStatusResponse> {
        let request = v1::PodSandboxStatusRequest {
            pod_sandbox_id: id.into(),
            verbose,
        };
        call(
            "PodSandboxStatus",
            CALL_TIMEOUT,
            self.runtime.clone().pod_sandbox_status(request),
        )
        .await
    }

    async fn list_pod_sandboxes(&self, filter: Option<v1::PodSandboxFilter>) -> Result<Vec<v1::PodSandbox>> {
        let request = v1::ListPodSandboxRequest { filter };
        Ok(call(
            "ListPodSandbox",
            CALL_TIMEOUT,
            self.runtime.clone().list_pod_sandbox(request),
        )
        .await?
        .items)
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox_id.into(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        let response = call(
            "CreateContainer",
            CREATE_TIMEOUT,
            self.runtime.clone().create_container(request),
        )
        .await?;
        Ok(response.container_id)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        let request = v1::StartContainerRequest {
            container_id: id.into(),
        };
        call(
            "StartContainer",
            CREATE_TIMEOUT,
            self.runtime.clone().start_container(request),
        )
        .await
        .map(drop)
    }

    async fn stop_container(&self, id: &str, timeout: Duration) -> Result<()> {
        let seconds = timeout.as_secs();
        let request = v1::StopContainerRequest {
            container_id: id.into(),
            timeout: i64::try_from(seconds).unwrap_or(i64::MAX),
        };
        // The runtime waits for the grace period inside of the call.
        let limit = CALL_TIMEOUT.saturating_add(Duration::from_secs(seconds.min(u64::from(u32::MAX))));
        gone_is_fine(
            call(
                "StopContainer",
                limit,
                self.runtime.clone().stop_container(request),
            )
            .await,
        )
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        let request = v1::RemoveContainerRequest {
            container_id: id.into(),
        };
        gone_is_fine(
            call(
                "RemoveContainer",
                CALL_TIMEOUT,
                self.runtime.clone().remove_container(request),
            )
            .await,
        )
    }

    async fn list_containers(&self, filter: Option<v1::ContainerFilter>) -> Result<Vec<v1::Container>> {
        let request = v1::ListContainersRequest { filter };
        Ok(call(
            "ListContainers",
            CALL_TIMEOUT,
            self.runtime.clone().list_containers(request),
        )
        .await?
        .containers)
    }

    async fn container_status(&self, id: &str, verbose: bool) -> Result<v1::ContainerStatusResponse> {
        let request = v1::ContainerStatusRequest {
            container_id: id.into(),
            verbose,
        };
        call(
            "ContainerStatus",
            CALL_TIMEOUT,
            self.runtime.clone().container_status(request),
        )
        .await
    }

    async fn update_container_resources(
        &self,
        id: &str,
        resources: v1::LinuxContainerResources,
    ) -> Result<()> {
        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.into(),
            linux: Some(resources),
            ..Default::default()
        };
        call(
            "UpdateContainerResources",
            CALL_TIMEOUT,
            self.runtime.clone().update_container_resources(request),
        )
        .await
        .map(drop)
    }

    async fn reopen_container_log(&self, id: &str) -> Result<()> {
        let request = v1::ReopenContainerLogRequest {
            container_id: id.into(),
        };
        call(
            "ReopenContainerLog",
            CALL_TIMEOUT,
            self.runtime.clone().reopen_container_log(request),
        )
        .await
        .map(drop)
    }

    async fn exec_sync(&self, id: &str, cmd: &[String], timeout: Duration) -> Result<v1::ExecSyncResponse> {
        let request = v1::ExecSyncRequest {
            container_id: id.into(),
            cmd: cmd.to_vec(),
            timeout: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        };
        // Zero means unlimited; else the runtime keeps the time itself and ours is the safety net.
        let limit = if timeout.is_zero() {
            Duration::from_secs(u64::from(u32::MAX))
        } else {
            timeout + CALL_TIMEOUT
        };
        call(
            "ExecSync",
            limit,
            self.runtime.clone().exec_sync(Request::new(request)),
        )
        .await
    }

    async fn exec_url(&self, request: v1::ExecRequest) -> Result<String> {
        Ok(call("Exec", CALL_TIMEOUT, self.runtime.clone().exec(request))
            .await?
            .url)
    }

    async fn attach_url(&self, request: v1::AttachRequest) -> Result<String> {
        Ok(call("Attach", CALL_TIMEOUT, self.runtime.clone().attach(request))
            .await?
            .url)
    }

    async fn port_forward_url(&self, sandbox_id: &str, ports: &[u16]) -> Result<String> {
        let request = v1::PortForwardRequest {
            pod_sandbox_id: sandbox_id.into(),
            port: ports.iter().map(|port| i32::from(*port)).collect(),
        };
        Ok(call(
            "PortForward",
            CALL_TIMEOUT,
            self.runtime.clone().port_forward(request),
        )
        .await?
        .url)
    }

    async fn container_stats(
        &self,
        filter: Option<v1::ContainerStatsFilter>,
    ) -> Result<Vec<v1::ContainerStats>> {
        let request = v1::ListContainerStatsRequest { filter };
        Ok(call(
            "ListContainerStats",
            CALL_TIMEOUT,
            self.runtime.clone().list_container_stats(request),
        )
        .await?
        .stats)
    }

    async fn pod_sandbox_stats(
        &self,
        filter: Option<v1::PodSandboxStatsFilter>,
    ) -> Result<Vec<v1::PodSandboxStats>> {
        let request = v1::ListPodSandboxStatsRequest { filter };
        Ok(call(
            "ListPodSandboxStats",
            CALL_TIMEOUT,
            self.runtime.clone().list_pod_sandbox_stats(request),
        )
        .await?
        .stats)
    }

    async fn list_images(&self) -> Result<Vec<v1::Image>> {
        let request = v1::ListImagesRequest { filter: None };
        Ok(call(
            "ListImages",
            CALL_TIMEOUT,
            self.images.clone().list_images(request),
        )
        .await?
        .images)
    }

    async fn image_status(&self, image: &str) -> Result<Option<v1::Image>> {
        let request = v1::ImageStatusRequest {
            image: spec(image),
            verbose: false,
        };
        Ok(call(
            "ImageStatus",
            CALL_TIMEOUT,
            self.images.clone().image_status(request),
        )
        .await?
        .image)
    }

    async fn pull_image(
        &self,
        image: &str,
        auth: Option<v1::AuthConfig>,
        sandbox: Option<v1::PodSandboxConfig>,
    ) -> Result<String> {
        let request = v1::PullImageRequest {
            image: spec(image),
            auth,
            sandbox_config: sandbox,
        };
        // The runtime gives up by itself when nothing arrives any more.
        let limit = Duration::from_secs(24 * 3600);
        Ok(call("PullImage", limit, self.images.clone().pull_image(request))
            .await?
            .image_ref)
    }

    async fn remove_image(&self, image: &str) -> Result<()> {
        let request = v1::RemoveImageRequest { image: spec(image) };
        gone_is_fine(
            call(
                "RemoveImage",
                CALL_TIMEOUT,
                self.images.clone().remove_image(request),
            )
            .await,
        )
    }

    async fn image_fs_info(&self) -> Result<v1::ImageFsInfoResponse> {
        call(
            "ImageFsInfo",
            CALL_TIMEOUT,
            self.images.clone().image_fs_info(v1::ImageFsInfoRequest {}),
        )
        .await
    }
}

#[cfg(test)]
mod containerd_as_root;
