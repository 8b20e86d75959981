//! The trait.

use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use futures::Stream;

use crate::error::Result;
use crate::v1;

/// Container events as the runtime emits them; ends when the connection does.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<v1::ContainerEventResponse>> + Send>>;

/// A container runtime (CRI v1). Every call may be repeated: stopping what is stopped and
/// removing what is gone succeed, creating the same attempt twice fails with
/// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists).
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    // ---- the runtime itself ----
    /// Name and version of the runtime.
    async fn version(&self) -> Result<v1::VersionResponse>;
    /// Conditions `RuntimeReady` and `NetworkReady`, handlers and features.
    async fn status(&self) -> Result<v1::StatusResponse>;
    /// Tells the runtime the pods' network range of this node; runtimes with a configured
    /// network ignore it.
    async fn update_runtime_config(&self, config: v1::RuntimeConfig) -> Result<()>;
    /// Container events from now on. The stream's first item is an error of kind `Unimplemented`
    /// where the runtime has none.
    async fn events(&self) -> Result<EventStream>;

    // ---- sandboxes ----
    /// Creates and starts a sandbox with its network; returns its id. On failure nothing is left.
    async fn run_pod_sandbox(&self, config: v1::PodSandboxConfig, runtime_handler: &str) -> Result<String>;
    /// Kills all processes of the sandbox and frees its network. Idempotent.
    async fn stop_pod_sandbox(&self, id: &str) -> Result<()>;
    /// Removes a sandbox and its containers. Idempotent.
    async fn remove_pod_sandbox(&self, id: &str) -> Result<()>;
    /// One sandbox with its addresses; `verbose` fills `info`. `NotFound` when it does not exist.
    async fn pod_sandbox_status(&self, id: &str, verbose: bool) -> Result<v1::PodSandboxStatusResponse>;
    /// Sandboxes that match every set field of `filter`.
    async fn list_pod_sandboxes(&self, filter: Option<v1::PodSandboxFilter>) -> Result<Vec<v1::PodSandbox>>;

    // ---- containers ----
    /// Creates a container in a ready sandbox from a present image; returns its id.
    async fn create_container(
        &self,
        sandbox_id: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String>;
    /// Starts a created container.
    async fn start_container(&self, id: &str) -> Result<()>;
    /// Sends the stop signal, then SIGKILL after `timeout` (whole seconds); returns when it has ended.
    async fn stop_container(&self, id: &str, timeout: Duration) -> Result<()>;
    /// Removes a container, killing it when it runs. Idempotent.
    async fn remove_container(&self, id: &str) -> Result<()>;
    /// Containers that match every set field of `filter`.
    async fn list_containers(&self, filter: Option<v1::ContainerFilter>) -> Result<Vec<v1::Container>>;
    /// One container; `NotFound` when it does not exist.
    async fn container_status(&self, id: &str, verbose: bool) -> Result<v1::ContainerStatusResponse>;
    /// Changes limits of a running container.
    async fn update_container_resources(
        &self,
        id: &str,
        resources: v1::LinuxContainerResources,
    ) -> Result<()>;
    /// Asks the runtime to open its log file anew after a rotation.
    async fn reopen_container_log(&self, id: &str) -> Result<()>;

    // ---- commands and streams ----
    /// Runs a command to its end. A non-zero exit code is a success of this call.
    /// `timeout` of zero: unlimited. `DeadlineExceeded` when the command ran longer.
    async fn exec_sync(&self, id: &str, cmd: &[String], timeout: Duration) -> Result<v1::ExecSyncResponse>;
    /// URL of a streaming server (remotecommand over SPDY/3.1) that runs a command.
    async fn exec_url(&self, request: v1::ExecRequest) -> Result<String>;
    /// URL of a streaming server that attaches to the container's main process.
    async fn attach_url(&self, request: v1::AttachRequest) -> Result<String>;
    /// URL of a streaming server that forwards to ports of a sandbox (SPDY/3.1).
    async fn port_forward_url(&self, sandbox_id: &str, ports: &[u16]) -> Result<String>;

    // ---- statistics ----
    /// Usage of the containers that match `filter`.
    async fn container_stats(
        &self,
        filter: Option<v1::ContainerStatsFilter>,
    ) -> Result<Vec<v1::ContainerStats>>;
    /// Usage of the sandboxes that match `filter`.
    async fn pod_sandbox_stats(
        &self,
        filter: Option<v1::PodSandboxStatsFilter>,
    ) -> Result<Vec<v1::PodSandboxStats>>;

    // ---- images ----
    /// All images on this machine.
    async fn list_images(&self) -> Result<Vec<v1::Image>>;
    /// The image a reference (name, digest or id) means here, `None` when it is not present.
    async fn image_status(&self, image: &str) -> Result<Option<v1::Image>>;
    /// Pulls an image; returns the reference that [`Runtime::create_container`] takes.
    async fn pull_image(
        &self,
        image: &str,
        auth: Option<v1::AuthConfig>,
        sandbox: Option<v1::PodSandboxConfig>,
    ) -> Result<String>;
    /// Removes an image with all its names. Idempotent.
    async fn remove_image(&self, image: &str) -> Result<()>;
    /// Usage of the file systems that hold images.
    async fn image_fs_info(&self) -> Result<v1::ImageFsInfoResponse>;
}
