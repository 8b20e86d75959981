//! Questions one asks of a Pod object.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, EphemeralContainer, Pod, PodSpec, PodStatus};

static EMPTY_SPEC: LazyLock<PodSpec> = LazyLock::new(PodSpec::default);
static EMPTY_STATUS: LazyLock<PodStatus> = LazyLock::new(PodStatus::default);

/// Which of the spec's three lists a container stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ContainerKind {
    Init,
    Regular,
    Ephemeral,
}

impl ContainerKind {
    /// The `fieldPath` that events about a container carry.
    pub(crate) fn field_path(self, name: &str) -> String {
        match self {
            Self::Init => format!("spec.initContainers{{{name}}}"),
            Self::Regular => format!("spec.containers{{{name}}}"),
            Self::Ephemeral => format!("spec.ephemeralContainers{{{name}}}"),
        }
    }
}

/// Accessors that hide which parts of a Pod are optional.
pub(crate) trait PodExt {
    fn uid(&self) -> &str;
    fn name(&self) -> &str;
    fn namespace(&self) -> &str;
    fn spec(&self) -> &PodSpec;
    fn status(&self) -> &PodStatus;
    fn generation(&self) -> Option<i64>;
    /// `metadata.deletionTimestamp` is set.
    fn is_deleted(&self) -> bool;
    fn phase(&self) -> &str;
    /// Succeeded or Failed: never runs again.
    fn is_terminal(&self) -> bool;
    fn host_network(&self) -> bool;
    fn restart_policy(&self) -> &str;
    /// Init, regular and ephemeral containers in this order.
    fn containers(&self) -> Vec<(ContainerKind, Container)>;
    fn container(&self, name: &str) -> Option<(ContainerKind, Container)>;
    /// `name_namespace(uid)`, as upstream's messages name a pod.
    fn described(&self) -> String;
    /// Seconds between the stop signal and SIGKILL; a deletion's own grace wins.
    fn grace_seconds(&self) -> i64;
}

impl PodExt for Pod {
    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
    fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }
    fn spec(&self) -> &PodSpec {
        self.spec.as_ref().unwrap_or(&EMPTY_SPEC)
    }
    fn status(&self) -> &PodStatus {
        self.status.as_ref().unwrap_or(&EMPTY_STATUS)
    }
    fn generation(&self) -> Option<i64> {
        self.metadata.generation
    }
    fn is_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
    fn phase(&self) -> &str {
        self.status().phase.as_deref().unwrap_or("Pending")
    }
    fn is_terminal(&self) -> bool {
        is_terminal_phase(self.phase())
    }
    fn host_network(&self) -> bool {
        self.spec().host_network.unwrap_or(false)
    }
    fn restart_policy(&self) -> &str {
        self.spec().restart_policy.as_deref().unwrap_or("Always")
    }
    fn containers(&self) -> Vec<(ContainerKind, Container)> {
        let spec = self.spec();
        let init = spec
            .init_containers
            .iter()
            .flatten()
            .map(|c| (ContainerKind::Init, c.clone()));
        let regular = spec
            .containers
            .iter()
            .map(|c| (ContainerKind::Regular, c.clone()));
        let ephemeral = spec.ephemeral_containers.iter().flatten();
        init.chain(regular)
            .chain(ephemeral.map(|c| (ContainerKind::Ephemeral, from_ephemeral(c))))
            .collect()
    }
    fn container(&self, name: &str) -> Option<(ContainerKind, Container)> {
        self.containers().into_iter().find(|(_, c)| c.name == name)
    }
    fn described(&self) -> String {
        format!("{}_{}({})", self.name(), self.namespace(), self.uid())
    }
    fn grace_seconds(&self) -> i64 {
        self.metadata
            .deletion_grace_period_seconds
            .or(self.spec().termination_grace_period_seconds)
            .unwrap_or(30)
            .max(0)
    }
}

/// Succeeded or Failed.
pub(crate) fn is_terminal_phase(phase: &str) -> bool {
    phase == "Succeeded" || phase == "Failed"
}

/// An init container that keeps running beside the others.
/// <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/>
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The status entry of a container.
pub(crate) fn find_status<'a>(list: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    list.iter().find(|s| s.name == name)
}

fn from_ephemeral(c: &EphemeralContainer) -> Container {
    Container {
        args: c.args.clone(),
        command: c.command.clone(),
        env: c.env.clone(),
        env_from: c.env_from.clone(),
        image: c.image.clone(),
        image_pull_policy: c.image_pull_policy.clone(),
        lifecycle: c.lifecycle.clone(),
        liveness_probe: c.liveness_probe.clone(),
        name: c.name.clone(),
        ports: c.ports.clone(),
        readiness_probe: c.readiness_probe.clone(),
        resources: c.resources.clone(),
        security_context: c.security_context.clone(),
        startup_probe: c.startup_probe.clone(),
        stdin: c.stdin,
        stdin_once: c.stdin_once,
        termination_message_path: c.termination_message_path.clone(),
        termination_message_policy: c.termination_message_policy.clone(),
        tty: c.tty,
        volume_devices: c.volume_devices.clone(),
        volume_mounts: c.volume_mounts.clone(),
        working_dir: c.working_dir.clone(),
        ..Container::default()
    }
}
