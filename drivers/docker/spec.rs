//! A node as a container: pure.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType,
    MountVolumeOptions, NetworkingConfig, PortBinding, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum, VolumeCreateRequest,
};
use rkind_config::Propagation;
use rkind_driver::{NodeSpec, PublishedPort, labels};

/// Ports as `address:host:node/protocol`, comma separated: a stopped container
/// lists none.
pub(crate) const PORTS_LABEL: &str = "dev.rkind.ports";

/// What a node may do, and why. All that a container has by default (a pod gets
/// the same from containerd, which cannot give what it has not), and:
/// SYS_ADMIN for mounts and namespaces of pods; NET_ADMIN for links, routes and
/// nftables; NET_RAW for ping; SYS_PTRACE and DAC_READ_SEARCH to enter
/// namespaces of pods; SYS_RESOURCE for limits and OOM scores; SYS_NICE and
/// IPC_LOCK for what pods commonly ask for; SYS_CHROOT, SETPCAP, SETFCAP, MKNOD
/// for runc and image layers.
pub(crate) const CAPABILITIES: [&str; 20] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "KILL",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_CHROOT",
    "SYS_NICE",
    "SYS_PTRACE",
];

/// Asked for only where the host has it.
pub(crate) const OPTIONAL_CAPABILITIES: [&str; 1] = ["SYS_RESOURCE"];

/// Name of the volume at `/var`.
pub(crate) fn volume_name(node: &str) -> String {
    format!("{node}-var")
}

fn common_labels(spec: &NodeSpec) -> HashMap<String, String> {
    HashMap::from([
        (labels::CLUSTER.to_owned(), spec.cluster.clone()),
        (labels::NODE.to_owned(), spec.name.clone()),
        (labels::ROLE.to_owned(), spec.role.as_str().to_owned()),
    ])
}

pub(crate) fn volume(spec: &NodeSpec) -> VolumeCreateRequest {
    VolumeCreateRequest {
        name: Some(volume_name(&spec.name)),
        labels: Some(common_labels(spec)),
        ..Default::default()
    }
}

fn published(spec: &NodeSpec) -> Vec<PublishedPort> {
    spec.ports
        .iter()
        .filter_map(|port| {
            Some(PublishedPort {
                address: port.listen_address,
                host_port: port.host_port?,
                node_port: port.container_port,
                protocol: port.protocol.as_str().to_owned(),
            })
        })
        .collect()
}

/// The label's text.
pub(crate) fn ports_label(ports: &[PublishedPort]) -> String {
    let texts: Vec<String> = ports
        .iter()
        .map(|p| format!("{},{},{},{}", p.address, p.host_port, p.node_port, p.protocol))
        .collect();
    texts.join(";")
}

/// The ports out of the label's text.
pub(crate) fn parse_ports_label(text: &str) -> Vec<PublishedPort> {
    text.split(';')
        .filter_map(|port| {
            let mut parts = port.split(',');
            Some(PublishedPort {
                address: parts.next()?.parse().ok()?,
                host_port: parts.next()?.parse().ok()?,
                node_port: parts.next()?.parse().ok()?,
                protocol: parts.next()?.to_owned(),
            })
        })
        .collect()
}

/// The container of a node. `lacking` are capabilities that the host has not; `limits` replace the
/// engine's own.
pub(crate) fn container(
    spec: &NodeSpec,
    lacking: &[&str],
    limits: Vec<ResourcesUlimits>,
) -> ContainerCreateBody {
    let ports = published(spec);
    let mut all_labels = common_labels(spec);
    all_labels.insert(labels::ADDRESS.to_owned(), spec.address.to_string());
    all_labels.insert(PORTS_LABEL.to_owned(), ports_label(&ports));
    all_labels.extend(spec.labels.clone());

    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in &ports {
        let binding = PortBinding {
            host_ip: Some(port.address.to_string()),
            host_port: Some(port.host_port.to_string()),
        };
        bindings
            .entry(format!("{}/{}", port.node_port, port.protocol))
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    let exposed: Vec<String> = bindings.keys().cloned().collect();

    let capabilities = CAPABILITIES.iter().chain(&OPTIONAL_CAPABILITIES);
    let host_config = HostConfig {
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(
            capabilities
                .filter(|c| !lacking.contains(c))
                .map(|c| (*c).to_owned())
                .collect(),
        ),
        security_opt: Some(
            ["seccomp=unconfined", "apparmor=unconfined", "label=disable"]
                .map(str::to_owned)
                .into(),
        ),
        // What `systempaths=unconfined` of the docker client means.
        masked_paths: Some(Vec::new()),
        readonly_paths: Some(Vec::new()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        device_cgroup_rules: Some(vec!["a *:* rwm".to_owned()]),
        tmpfs: Some(HashMap::from([
            ("/run".to_owned(), "rw,exec,nosuid,nodev,mode=755".to_owned()),
            ("/tmp".to_owned(), "rw,exec,nosuid,nodev,mode=1777".to_owned()),
        ])),
        mounts: Some(mounts(spec)),
        network_mode: Some(spec.network.clone()),
        port_bindings: Some(bindings),
        extra_hosts: Some(
            spec.hosts
                .iter()
                .map(|(name, ip)| format!("{name}:{ip}"))
                .collect(),
        ),
        ulimits: Some(limits),
        nano_cpus: spec.resources.cpus.map(|cpus| (cpus * 1e9) as i64),
        memory: spec
            .resources
            .memory_bytes
            .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        // No swap beyond the limit: a pod over its memory must meet the OOM killer.
        memory_swap: spec
            .resources
            .memory_bytes
            .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), "10m".to_owned()),
                ("max-file".to_owned(), "2".to_owned()),
            ])),
        }),
        // No `docker-init`: the node's own process 1 reaps.
        init: Some(false),
        ..Default::default()
    };
    let endpoint = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: Some(spec.address.to_string()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (entrypoint, arguments) = match spec.command.split_first() {
        Some((program, arguments)) => (Some(vec![program.clone()]), Some(arguments.to_vec())),
        None => (None, None),
    };
    ContainerCreateBody {
        hostname: Some(spec.name.clone()),
        image: Some(spec.image.clone()),
        entrypoint,
        cmd: arguments,
        env: Some(vec![format!("container={}", "docker")]),
        labels: Some(all_labels),
        exposed_ports: Some(exposed),
        stop_signal: Some("SIGTERM".to_owned()),
        host_config: Some(host_config),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(spec.network.clone(), endpoint)])),
        }),
        ..Default::default()
    }
}

fn mounts(spec: &NodeSpec) -> Vec<Mount> {
    let mut mounts = vec![Mount {
        target: Some("/var".to_owned()),
        source: Some(volume_name(&spec.name)),
        typ: Some(MountType::VOLUME),
        volume_options: Some(MountVolumeOptions {
            labels: Some(common_labels(spec)),
            ..Default::default()
        }),
        ..Default::default()
    }];
    mounts.extend(spec.mounts.iter().map(|mount| Mount {
        target: Some(mount.container_path.clone()),
        source: Some(mount.host_path.to_string_lossy().into_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(mount.read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(match mount.propagation {
                Propagation::None => MountBindOptionsPropagationEnum::RPRIVATE,
                Propagation::HostToContainer => MountBindOptionsPropagationEnum::RSLAVE,
                Propagation::Bidirectional => MountBindOptionsPropagationEnum::RSHARED,
            }),
            ..Default::default()
        }),
        ..Default::default()
    }));
    mounts
}
