//! What the fake remembers.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::image_ref::normalize;
use crate::v1;

/// What a container of an image does once started.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Behaviour {
    /// Runs until it is stopped, ends at once on the stop signal.
    #[default]
    Run,
    /// Runs until it is killed: ignores the stop signal.
    IgnoreTerm,
    /// Ends by itself.
    Exit {
        /// Time after the start.
        after: Duration,
        /// Exit code.
        code: i32,
        /// `Completed`, `Error` or `OOMKilled`.
        reason: String,
    },
}

/// What a command answers.
#[derive(Debug, Clone, Default)]
pub struct ExecReply {
    /// Exit code.
    pub exit_code: i32,
    /// Output.
    pub stdout: String,
    /// How long the command runs.
    pub takes: Duration,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) sandboxes: BTreeMap<String, SandboxRecord>,
    pub(super) containers: BTreeMap<String, ContainerRecord>,
    /// Full name -> (id, behaviour).
    pub(super) images: BTreeMap<String, (String, Behaviour)>,
    pub(super) remote: BTreeMap<String, Behaviour>,
    pub(super) failures: HashMap<&'static str, (usize, String)>,
    pub(super) delays: HashMap<&'static str, Duration>,
    pub(super) calls: HashMap<&'static str, usize>,
    pub(super) exec: HashMap<String, ExecReply>,
    pub(super) next_ip: u8,
}

impl State {
    pub(super) fn find_image(&self, image: &str) -> Option<(String, Behaviour)> {
        let full = normalize(image);
        self.images
            .iter()
            .find(|(name, (id, _))| **name == full || id == image)
            .map(|(_, found)| found.clone())
    }
}

pub(super) struct SandboxRecord {
    pub(super) id: String,
    pub(super) config: v1::PodSandboxConfig,
    pub(super) ready: bool,
    pub(super) created_at: i64,
    pub(super) ip: String,
    pub(super) handler: String,
}

impl SandboxRecord {
    fn state(&self) -> i32 {
        let state = if self.ready {
            v1::PodSandboxState::SandboxReady
        } else {
            v1::PodSandboxState::SandboxNotready
        };
        state.into()
    }

    pub(super) fn summary(&self) -> v1::PodSandbox {
        v1::PodSandbox {
            id: self.id.clone(),
            metadata: self.config.metadata.clone(),
            state: self.state(),
            created_at: self.created_at,
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            runtime_handler: self.handler.clone(),
        }
    }

    pub(super) fn status(&self) -> v1::PodSandboxStatus {
        let linux = self
            .config
            .linux
            .as_ref()
            .and_then(|l| l.security_context.as_ref());
        let options = linux
            .and_then(|s| s.namespace_options.clone())
            .unwrap_or_default();
        let host = options.network == i32::from(v1::NamespaceMode::Node);
        // A stopped sandbox has given its address back.
        let ip = if host || !self.ready {
            String::new()
        } else {
            self.ip.clone()
        };
        v1::PodSandboxStatus {
            id: self.id.clone(),
            metadata: self.config.metadata.clone(),
            state: self.state(),
            created_at: self.created_at,
            network: Some(v1::PodSandboxNetworkStatus {
                ip,
                additional_ips: Vec::new(),
            }),
            linux: Some(v1::LinuxPodSandboxStatus {
                namespaces: Some(v1::Namespace {
                    options: Some(options),
                }),
            }),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            runtime_handler: self.handler.clone(),
        }
    }
}

pub(super) struct ContainerRecord {
    pub(super) id: String,
    pub(super) sandbox_id: String,
    pub(super) config: v1::ContainerConfig,
    pub(super) image_id: String,
    pub(super) behaviour: Behaviour,
    pub(super) state: v1::ContainerState,
    /// Breaks ties of `created_at`.
    pub(super) sequence: u64,
    pub(super) created_at: i64,
    pub(super) started_at: i64,
    pub(super) finished_at: i64,
    pub(super) exit_code: i32,
    pub(super) reason: String,
}

impl ContainerRecord {
    pub(super) fn summary(&self) -> v1::Container {
        v1::Container {
            id: self.id.clone(),
            pod_sandbox_id: self.sandbox_id.clone(),
            metadata: self.config.metadata.clone(),
            image: self.config.image.clone(),
            image_ref: self.image_id.clone(),
            state: self.state.into(),
            created_at: self.created_at,
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            image_id: self.image_id.clone(),
        }
    }

    pub(super) fn status(&self) -> v1::ContainerStatus {
        v1::ContainerStatus {
            id: self.id.clone(),
            metadata: self.config.metadata.clone(),
            state: self.state.into(),
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            exit_code: self.exit_code,
            image: self.config.image.clone(),
            image_ref: self.image_id.clone(),
            reason: self.reason.clone(),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            mounts: self.config.mounts.clone(),
            log_path: self.config.log_path.clone(),
            ..Default::default()
        }
    }

    pub(super) fn stats(&self) -> Option<v1::ContainerStats> {
        (self.state == v1::ContainerState::ContainerRunning).then(|| v1::ContainerStats {
            attributes: Some(v1::ContainerAttributes {
                id: self.id.clone(),
                metadata: self.config.metadata.clone(),
                labels: self.config.labels.clone(),
                annotations: self.config.annotations.clone(),
            }),
            cpu: Some(v1::CpuUsage {
                timestamp: self.started_at,
                usage_core_nano_seconds: Some(v1::UInt64Value { value: 1_000_000 }),
                usage_nano_cores: None,
            }),
            memory: Some(v1::MemoryUsage {
                timestamp: self.started_at,
                working_set_bytes: Some(v1::UInt64Value { value: 1 << 20 }),
                ..Default::default()
            }),
            ..Default::default()
        })
    }
}

pub(super) fn image(name: &str, id: &str) -> v1::Image {
    v1::Image {
        id: id.into(),
        repo_tags: vec![name.into()],
        size: 1 << 20,
        ..Default::default()
    }
}
