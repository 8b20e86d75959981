//! What the runtime has of one pod, in a form the rest can reason about.

use jiff::Timestamp;
use rkind_cri::v1;
use rkind_cri::{Result, Runtime};

/// Labels and annotations that make a runtime's objects recognisable as Kubernetes' own.
pub(crate) mod keys {
    pub(crate) const POD_NAME: &str = "io.kubernetes.pod.name";
    pub(crate) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    pub(crate) const POD_UID: &str = "io.kubernetes.pod.uid";
    pub(crate) const CONTAINER_NAME: &str = "io.kubernetes.container.name";
    pub(crate) const HASH: &str = "io.kubernetes.container.hash";
    pub(crate) const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
    pub(crate) const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
    pub(crate) const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
    pub(crate) const GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
}

/// State of one container instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunState {
    Created,
    Running,
    Exited,
    Unknown,
}

/// One attempt of one container.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) sandbox_id: String,
    pub(crate) state: RunState,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) exit_code: i32,
    pub(crate) reason: String,
    /// The runtime's message, or what the container left as its termination message.
    pub(crate) message: String,
    pub(crate) hash: String,
    pub(crate) restart_count: i32,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) log_path: String,
}

impl Instance {
    pub(crate) fn is_running(&self) -> bool {
        self.state == RunState::Running
    }

    pub(crate) fn failed(&self) -> bool {
        self.state == RunState::Unknown || (self.state == RunState::Exited && self.exit_code != 0)
    }
}

/// One sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) ready: bool,
    pub(crate) host_network: bool,
    pub(crate) ips: Vec<String>,
}

/// Everything the runtime has of one pod; newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Observed {
    pub(crate) sandboxes: Vec<Sandbox>,
    pub(crate) containers: Vec<Instance>,
}

impl Observed {
    /// The newest sandbox.
    pub(crate) fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first()
    }

    /// The newest attempt of a container.
    pub(crate) fn instance(&self, name: &str) -> Option<&Instance> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// All attempts of a container, newest first.
    pub(crate) fn instances<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Instance> {
        self.containers.iter().filter(move |c| c.name == name)
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &Instance> {
        self.containers.iter().filter(|c| c.is_running())
    }

    /// Nothing runs and no sandbox is ready.
    pub(crate) fn is_stopped(&self) -> bool {
        self.running().next().is_none() && !self.sandboxes.iter().any(|s| s.ready)
    }

    /// Asks the runtime for everything of the pod with `uid`. Objects that vanish meanwhile are skipped.
    pub(crate) async fn of_pod(runtime: &dyn Runtime, uid: &str) -> Result<Self> {
        let selector = std::collections::HashMap::from([(keys::POD_UID.to_string(), uid.to_string())]);
        let sandbox_filter = v1::PodSandboxFilter {
            label_selector: selector.clone(),
            ..Default::default()
        };
        let filter = v1::ContainerFilter {
            label_selector: selector,
            ..Default::default()
        };
        let (sandboxes, containers) = tokio::try_join!(
            runtime.list_pod_sandboxes(Some(sandbox_filter)),
            runtime.list_containers(Some(filter))
        )?;
        let mut observed = Self::default();
        let mut sandboxes = sandboxes;
        sandboxes
            .sort_by_key(|s| std::cmp::Reverse((s.created_at, s.metadata.as_ref().map_or(0, |m| m.attempt))));
        for summary in sandboxes {
            match runtime.pod_sandbox_status(&summary.id, false).await {
                Ok(response) => observed.sandboxes.extend(response.status.as_ref().map(sandbox)),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        let mut found = Vec::new();
        for summary in containers {
            match runtime.container_status(&summary.id, false).await {
                Ok(response) => {
                    if let Some(status) = &response.status {
                        found.push((status.created_at, instance(status, &summary.pod_sandbox_id)));
                    }
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_by_key(|(created, c)| std::cmp::Reverse((*created, c.restart_count)));
        observed.containers = found.into_iter().map(|(_, c)| c).collect();
        Ok(observed)
    }
}

fn time(nanoseconds: i64) -> Option<Timestamp> {
    // The runtime says 0 for what has not happened.
    (nanoseconds > 0)
        .then(|| Timestamp::from_nanosecond(i128::from(nanoseconds)).ok())
        .flatten()
}

fn sandbox(status: &v1::PodSandboxStatus) -> Sandbox {
    let options = status
        .linux
        .as_ref()
        .and_then(|l| l.namespaces.as_ref())
        .and_then(|n| n.options.as_ref());
    let network = status.network.clone().unwrap_or_default();
    let ips = std::iter::once(network.ip).chain(network.additional_ips.into_iter().map(|p| p.ip));
    Sandbox {
        id: status.id.clone(),
        attempt: status.metadata.as_ref().map_or(0, |m| m.attempt),
        ready: status.state() == v1::PodSandboxState::SandboxReady,
        host_network: options.is_some_and(|o| o.network() == v1::NamespaceMode::Node),
        ips: ips.filter(|ip| !ip.is_empty()).collect(),
    }
}

/// An instance from a full status.
pub(crate) fn instance(status: &v1::ContainerStatus, sandbox_id: &str) -> Instance {
    let state = match status.state() {
        v1::ContainerState::ContainerCreated => RunState::Created,
        v1::ContainerState::ContainerRunning => RunState::Running,
        v1::ContainerState::ContainerExited => RunState::Exited,
        v1::ContainerState::ContainerUnknown => RunState::Unknown,
    };
    let label = |key: &str| status.labels.get(key).cloned().unwrap_or_default();
    let annotation = |key: &str| status.annotations.get(key).cloned().unwrap_or_default();
    let name = match label(keys::CONTAINER_NAME) {
        name if name.is_empty() => status
            .metadata
            .as_ref()
            .map(|m| m.name.clone())
            .unwrap_or_default(),
        name => name,
    };
    let mut found = Instance {
        id: status.id.clone(),
        name,
        sandbox_id: sandbox_id.to_string(),
        state,
        created_at: time(status.created_at),
        started_at: time(status.started_at),
        finished_at: time(status.finished_at),
        exit_code: status.exit_code,
        reason: status.reason.clone(),
        message: status.message.clone(),
        hash: annotation(keys::HASH),
        restart_count: annotation(keys::RESTART_COUNT).parse().unwrap_or_else(|_| {
            status
                .metadata
                .as_ref()
                .map_or(0, |m| i32::try_from(m.attempt).unwrap_or(i32::MAX))
        }),
        image: status.image.as_ref().map(|i| i.image.clone()).unwrap_or_default(),
        image_id: status.image_ref.clone(),
        log_path: status.log_path.clone(),
    };
    if state == RunState::Exited {
        let path = annotation(keys::MESSAGE_PATH);
        let file = status
            .mounts
            .iter()
            .find(|m| !path.is_empty() && m.container_path == path);
        let fallback = annotation(keys::MESSAGE_POLICY) == "FallbackToLogsOnError" && status.exit_code != 0;
        let own = file
            .map(|m| crate::termination::message(m.host_path.as_ref()))
            .unwrap_or_default();
        let said = if own.is_empty() && fallback {
            crate::termination::log_tail(status.log_path.as_ref())
        } else {
            own
        };
        if !said.is_empty() {
            found.message = said;
        }
    }
    found
}
