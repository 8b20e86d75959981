//! From a pod's spec to the runtime's requests: pure, apart from the paths handed in.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Container, Pod, SeccompProfile, SecurityContext};
use rkind_cri::v1;

use crate::dns;
use crate::env::expand;
use crate::observed::keys;
use crate::plan::hash;
use crate::pod::{ContainerKind, PodExt};

/// What the kernel hides from a container that is not privileged.
const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Directory name of a pod's logs.
pub(crate) fn log_dir_name(pod: &Pod) -> String {
    format!("{}_{}_{}", pod.namespace(), pod.name(), pod.uid())
}

fn pod_labels(pod: &Pod) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = pod
        .metadata
        .labels
        .iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    labels.insert(keys::POD_NAME.into(), pod.name().into());
    labels.insert(keys::POD_NAMESPACE.into(), pod.namespace().into());
    labels.insert(keys::POD_UID.into(), pod.uid().into());
    labels
}

fn namespaces(pod: &Pod) -> v1::NamespaceOption {
    let spec = pod.spec();
    let node_or =
        |node: bool, other: v1::NamespaceMode| i32::from(if node { v1::NamespaceMode::Node } else { other });
    let pid = if spec.share_process_namespace == Some(true) {
        v1::NamespaceMode::Pod
    } else {
        v1::NamespaceMode::Container
    };
    v1::NamespaceOption {
        network: node_or(pod.host_network(), v1::NamespaceMode::Pod),
        pid: node_or(spec.host_pid == Some(true), pid),
        ipc: node_or(spec.host_ipc == Some(true), v1::NamespaceMode::Pod),
        ..Default::default()
    }
}

fn int64(value: Option<i64>) -> Option<v1::Int64Value> {
    value.map(|value| v1::Int64Value { value })
}

fn selinux(options: Option<&k8s_openapi::api::core::v1::SELinuxOptions>) -> Option<v1::SeLinuxOption> {
    options.map(|o| v1::SeLinuxOption {
        user: o.user.clone().unwrap_or_default(),
        role: o.role.clone().unwrap_or_default(),
        r#type: o.type_.clone().unwrap_or_default(),
        level: o.level.clone().unwrap_or_default(),
    })
}

fn seccomp(profile: Option<&SeccompProfile>, root: &str) -> v1::SecurityProfile {
    use v1::security_profile::ProfileType;
    let (kind, reference) = match profile.map(|p| p.type_.as_str()) {
        Some("RuntimeDefault") => (ProfileType::RuntimeDefault, String::new()),
        Some("Localhost") => {
            let name = profile
                .and_then(|p| p.localhost_profile.clone())
                .unwrap_or_default();
            (ProfileType::Localhost, format!("{root}/seccomp/{name}"))
        }
        _ => (ProfileType::Unconfined, String::new()),
    };
    v1::SecurityProfile {
        profile_type: kind.into(),
        localhost_ref: reference,
    }
}

fn supplemental_groups(pod: &Pod) -> Vec<i64> {
    let Some(context) = &pod.spec().security_context else {
        return Vec::new();
    };
    let mut groups: Vec<i64> = context.fs_group.into_iter().collect();
    groups.extend(context.supplemental_groups.iter().flatten());
    groups
}

fn groups_policy(pod: &Pod) -> i32 {
    let policy = pod
        .spec()
        .security_context
        .as_ref()
        .and_then(|s| s.supplemental_groups_policy.as_deref());
    match policy {
        Some("Strict") => v1::SupplementalGroupsPolicy::Strict.into(),
        _ => v1::SupplementalGroupsPolicy::Merge.into(),
    }
}

fn is_privileged(container: &Container) -> bool {
    container
        .security_context
        .as_ref()
        .is_some_and(|s| s.privileged == Some(true))
}

/// The sandbox of a pod. `log_root` is the directory of all pods' logs.
pub(crate) fn sandbox_config(
    pod: &Pod,
    attempt: u32,
    log_root: &str,
    dns_config: v1::DnsConfig,
    cluster_domain: &str,
    cgroup_parent: &str,
) -> v1::PodSandboxConfig {
    let spec = pod.spec();
    let context = spec.security_context.clone().unwrap_or_default();
    let mut port_mappings = Vec::new();
    for (_, container) in pod.containers() {
        for port in container.ports.iter().flatten() {
            let protocol = match port.protocol.as_deref() {
                Some("UDP") => v1::Protocol::Udp,
                Some("SCTP") => v1::Protocol::Sctp,
                _ => v1::Protocol::Tcp,
            };
            port_mappings.push(v1::PortMapping {
                protocol: protocol.into(),
                container_port: port.container_port,
                host_port: port.host_port.unwrap_or(0),
                host_ip: port.host_ip.clone().unwrap_or_default(),
            });
        }
    }
    let hostname = if pod.host_network() {
        String::new()
    } else {
        dns::hostname(pod, cluster_domain).0
    };
    let hostname = match dns::hostname(pod, cluster_domain) {
        (name, domain)
            if spec.set_hostname_as_fqdn == Some(true) && !domain.is_empty() && !hostname.is_empty() =>
        {
            format!("{name}.{domain}")
        }
        _ => hostname,
    };
    let sysctls = context
        .sysctls
        .iter()
        .flatten()
        .map(|s| (s.name.clone(), s.value.clone()))
        .collect();
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: pod.name().into(),
            uid: pod.uid().into(),
            namespace: pod.namespace().into(),
            attempt,
        }),
        hostname,
        log_directory: format!("{log_root}/{}", log_dir_name(pod)),
        dns_config: Some(dns_config),
        port_mappings,
        labels: pod_labels(pod),
        annotations: pod
            .metadata
            .annotations
            .iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: cgroup_parent.into(),
            security_context: Some(v1::LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces(pod)),
                selinux_options: selinux(context.se_linux_options.as_ref()),
                run_as_user: int64(context.run_as_user),
                run_as_group: int64(context.run_as_group.filter(|_| context.run_as_user.is_some())),
                supplemental_groups: supplemental_groups(pod),
                supplemental_groups_policy: groups_policy(pod),
                privileged: pod.containers().iter().any(|(_, c)| is_privileged(c)),
                seccomp: Some(v1::SecurityProfile {
                    profile_type: v1::security_profile::ProfileType::RuntimeDefault.into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            sysctls,
            ..Default::default()
        }),
    }
}

/// What a container is made of beside its spec.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// Id of the image to run.
    pub(crate) image: String,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) mounts: Vec<v1::Mount>,
    pub(crate) restart_count: i32,
    pub(crate) resources: v1::LinuxContainerResources,
    /// User of the image, for containers that name none.
    pub(crate) image_user: ImageUser,
    /// Container whose processes an ephemeral one sees.
    pub(crate) target_id: Option<String>,
    /// Directory of local seccomp profiles.
    pub(crate) root: String,
}

/// The user an image names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum ImageUser {
    #[default]
    Unset,
    Uid(i64),
    Name(String),
}

impl ImageUser {
    pub(crate) fn of(image: Option<&v1::Image>) -> Self {
        match image {
            Some(v1::Image { uid: Some(uid), .. }) => Self::Uid(uid.value),
            Some(image) if !image.username.is_empty() => Self::Name(image.username.clone()),
            _ => Self::Unset,
        }
    }
}

/// The container's own security settings over the pod's.
pub(crate) fn effective_security(pod: &Pod, container: &Container) -> SecurityContext {
    let mut own = container.security_context.clone().unwrap_or_default();
    if let Some(of_pod) = &pod.spec().security_context {
        own.run_as_user = own.run_as_user.or(of_pod.run_as_user);
        own.run_as_group = own.run_as_group.or(of_pod.run_as_group);
        own.run_as_non_root = own.run_as_non_root.or(of_pod.run_as_non_root);
        own.se_linux_options = own.se_linux_options.or_else(|| of_pod.se_linux_options.clone());
        own.seccomp_profile = own.seccomp_profile.or_else(|| of_pod.seccomp_profile.clone());
        own.app_armor_profile = own.app_armor_profile.or_else(|| of_pod.app_armor_profile.clone());
    }
    own
}

/// Checks `runAsNonRoot` against who would run.
pub(crate) fn verify_non_root(pod: &Pod, container: &Container, image: &ImageUser) -> Result<(), String> {
    let security = effective_security(pod, container);
    if security.run_as_non_root != Some(true) {
        return Ok(());
    }
    let place = format!("(pod: \"{}\", container: {})", pod.described(), container.name);
    match (security.run_as_user, image) {
        (Some(0), _) => Err(format!("container's runAsUser breaks non-root policy {place}")),
        (Some(_), _) => Ok(()),
        (None, ImageUser::Uid(0) | ImageUser::Unset) => Err(format!(
            "container has runAsNonRoot and image will run as root {place}"
        )),
        (None, ImageUser::Name(name)) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {place}"
        )),
        (None, ImageUser::Uid(_)) => Ok(()),
    }
}

fn container_security(
    pod: &Pod,
    kind: ContainerKind,
    container: &Container,
    parts: &Parts,
) -> v1::LinuxContainerSecurityContext {
    let security = effective_security(pod, container);
    let privileged = security.privileged == Some(true);
    let unmasked = security.proc_mount.as_deref() == Some("Unmasked");
    let mut options = namespaces(pod);
    if kind == ContainerKind::Ephemeral
        && let Some(target) = &parts.target_id
    {
        options.pid = v1::NamespaceMode::Target.into();
        options.target_id.clone_from(target);
    }
    let list = |paths: &[&str]| paths.iter().map(ToString::to_string).collect();
    let (user, name) = match (security.run_as_user, &parts.image_user) {
        (Some(user), _) => (Some(user), String::new()),
        (None, ImageUser::Uid(uid)) => (Some(*uid), String::new()),
        (None, ImageUser::Name(name)) => (None, name.clone()),
        (None, ImageUser::Unset) => (None, String::new()),
    };
    // A group alone needs a user beside it.
    let user = user.or_else(|| security.run_as_group.filter(|_| name.is_empty()).map(|_| 0));
    v1::LinuxContainerSecurityContext {
        capabilities: security.capabilities.as_ref().map(|c| v1::Capability {
            add_capabilities: c.add.clone().unwrap_or_default(),
            drop_capabilities: c.drop.clone().unwrap_or_default(),
            ..Default::default()
        }),
        privileged,
        namespace_options: Some(options),
        selinux_options: selinux(security.se_linux_options.as_ref()),
        run_as_user: int64(user),
        run_as_group: int64(security.run_as_group),
        run_as_username: name,
        readonly_rootfs: security.read_only_root_filesystem == Some(true),
        supplemental_groups: supplemental_groups(pod),
        supplemental_groups_policy: groups_policy(pod),
        no_new_privs: security.allow_privilege_escalation == Some(false),
        masked_paths: if unmasked || privileged {
            Vec::new()
        } else {
            list(&MASKED)
        },
        readonly_paths: if unmasked || privileged {
            Vec::new()
        } else {
            list(&READ_ONLY)
        },
        seccomp: Some(seccomp(
            security.seccomp_profile.as_ref().filter(|_| !privileged),
            &parts.root,
        )),
        apparmor: security
            .app_armor_profile
            .as_ref()
            .and_then(|p| match p.type_.as_str() {
                "Unconfined" => Some(v1::SecurityProfile {
                    profile_type: v1::security_profile::ProfileType::Unconfined.into(),
                    ..Default::default()
                }),
                "Localhost" => Some(v1::SecurityProfile {
                    profile_type: v1::security_profile::ProfileType::Localhost.into(),
                    localhost_ref: p.localhost_profile.clone().unwrap_or_default(),
                }),
                // Where the kernel has AppArmor the runtime's default profile applies by itself.
                _ => None,
            }),
        ..Default::default()
    }
}

/// One container. Labels and annotations carry all that a restarted agent needs to know.
pub(crate) fn container_config(
    pod: &Pod,
    kind: ContainerKind,
    container: &Container,
    parts: Parts,
) -> v1::ContainerConfig {
    let security = container_security(pod, kind, container, &parts);
    let env: HashMap<&str, &str> = parts.env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let lookup = |name: &str| env.get(name).map(ToString::to_string);
    let expanded = |list: &Option<Vec<String>>| list.iter().flatten().map(|a| expand(a, &lookup)).collect();
    let attempt = u32::try_from(parts.restart_count).unwrap_or(0);
    let mut annotations = HashMap::from([
        (keys::HASH.to_string(), hash(container)),
        (keys::RESTART_COUNT.to_string(), parts.restart_count.to_string()),
        (
            keys::MESSAGE_PATH.to_string(),
            message_path(container).to_string(),
        ),
    ]);
    let policy = container
        .termination_message_policy
        .clone()
        .unwrap_or_else(|| "File".into());
    annotations.insert(keys::MESSAGE_POLICY.into(), policy);
    if let Some(grace) = pod.spec().termination_grace_period_seconds {
        annotations.insert(keys::GRACE.into(), grace.to_string());
    }
    let labels = HashMap::from([
        (keys::CONTAINER_NAME.to_string(), container.name.clone()),
        (keys::POD_NAME.to_string(), pod.name().to_string()),
        (keys::POD_NAMESPACE.to_string(), pod.namespace().to_string()),
        (keys::POD_UID.to_string(), pod.uid().to_string()),
    ]);
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata {
            name: container.name.clone(),
            attempt,
        }),
        image: Some(v1::ImageSpec {
            image: parts.image.clone(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..Default::default()
        }),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: parts
            .env
            .iter()
            .map(|(k, v)| v1::KeyValue {
                key: k.clone(),
                value: v.clone(),
            })
            .collect(),
        mounts: parts.mounts,
        labels,
        annotations,
        log_path: format!("{}/{}.log", container.name, parts.restart_count),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(parts.resources),
            security_context: Some(security),
        }),
        ..Default::default()
    }
}

/// Where a container writes its last words.
pub(crate) fn message_path(container: &Container) -> &str {
    container
        .termination_message_path
        .as_deref()
        .filter(|p| !p.is_empty())
        .unwrap_or("/dev/termination-log")
}

#[cfg(test)]
mod tests;
