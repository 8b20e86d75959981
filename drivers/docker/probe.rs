//! What the host has and lacks.

use bollard::models::{ResourcesUlimits, SystemInfoCgroupVersionEnum};
use nix::sys::resource::{Resource, getrlimit};
use rkind_driver::{Error, HostFacts, Missing};

use crate::error::backend;
use crate::spec::OPTIONAL_CAPABILITIES;
use crate::{DockerDriver, Endpoint};

/// Bit numbers of linux/capability.h for [`OPTIONAL_CAPABILITIES`].
const BITS: [(&str, u32); 1] = [("SYS_RESOURCE", 24)];

/// Nodes watch files: a handful of instances each.
const INOTIFY_INSTANCES: u64 = 256;

/// Optional capabilities that nobody on this machine can have, because they are
/// not in the bounding set. Only of use when the engine is on this machine.
pub(crate) fn lacking_capabilities() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    lacking_of_status(&status)
}

pub(crate) fn lacking_of_status(status: &str) -> Vec<&'static str> {
    let line = status.lines().find_map(|l| l.strip_prefix("CapBnd:"));
    let Some(bounding) = line.and_then(|l| u64::from_str_radix(l.trim(), 16).ok()) else {
        return Vec::new();
    };
    BITS.iter()
        .filter(|(name, bit)| OPTIONAL_CAPABILITIES.contains(name) && bounding & (1 << bit) == 0)
        .map(|(name, _)| *name)
        .collect()
}

/// Limits for the processes of a node. Podman gives containers more open files than a host without
/// CAP_SYS_RESOURCE lets it, and then none starts; there, nodes get what this process may have,
/// and no more processes than there can be: Podman holds itself to that.
pub(crate) fn limits(podman: bool, lacking: &[&str]) -> Vec<ResourcesUlimits> {
    if !podman || !lacking.contains(&"SYS_RESOURCE") {
        return Vec::new();
    }
    let pid_max = std::fs::read_to_string("/proc/sys/kernel/pid_max").unwrap_or_default();
    let pid_max = pid_max.trim().parse().unwrap_or(u64::MAX);
    let limits = [
        ("nofile", Resource::RLIMIT_NOFILE, u64::MAX),
        ("nproc", Resource::RLIMIT_NPROC, pid_max),
    ];
    let given = limits.into_iter().filter_map(|(name, resource, most)| {
        let (_, hard) = getrlimit(resource).ok()?;
        let hard = i64::try_from(hard.min(most)).unwrap_or(-1);
        Some(ResourcesUlimits {
            name: Some(name.to_owned()),
            soft: Some(hard),
            hard: Some(hard),
        })
    });
    given.collect()
}

pub(crate) async fn probe(driver: &DockerDriver) -> Result<HostFacts, Error> {
    let doing = "ask the engine about its host";
    let info = driver.docker.info().await.map_err(|e| backend(doing, e))?;
    let security = info.security_options.unwrap_or_default();
    let local = driver.endpoint.is_local();
    let mut facts = HostFacts {
        engine: if driver.podman { "Podman" } else { "Docker Engine" }.to_owned(),
        version: info.server_version.unwrap_or_default(),
        kernel: info.kernel_version.unwrap_or_default(),
        arch: info.architecture.unwrap_or_default(),
        cpus: u64::try_from(info.ncpu.unwrap_or_default()).unwrap_or_default(),
        memory_bytes: u64::try_from(info.mem_total.unwrap_or_default()).unwrap_or_default(),
        cgroup_version: match info.cgroup_version {
            Some(SystemInfoCgroupVersionEnum::_2) => 2,
            _ => 1,
        },
        rootless: security.iter().any(|s| s.contains("rootless")),
        local,
        missing: Vec::new(),
    };
    let missing = &mut facts.missing;
    if info.os_type.as_deref().is_some_and(|os| os != "linux") {
        missing.push(Missing {
            what: "Linux containers".into(),
            effect: "nodes cannot run".into(),
            hint: "switch the engine to Linux containers".into(),
            fatal: true,
        });
    }
    if info.memory_limit == Some(false) {
        missing.push(Missing {
            what: "memory limits of the engine".into(),
            effect: "memory limits of nodes are reported but not enforced".into(),
            hint: "boot the host with cgroup_enable=memory".into(),
            fatal: false,
        });
    }
    if local {
        missing.extend(missing_here(&driver.endpoint));
    }
    Ok(facts)
}

fn missing_here(endpoint: &Endpoint) -> Vec<Missing> {
    let mut missing: Vec<Missing> = lacking_capabilities()
        .into_iter()
        .map(|capability| Missing {
            what: format!("CAP_{capability}"),
            effect: "OOM scores of system processes in nodes cannot be lowered; nodes run without it".into(),
            hint: format!(
                "none is needed; {} runs where this capability is dropped",
                endpoint.engine
            ),
            fatal: false,
        })
        .collect();
    let path = "/proc/sys/fs/inotify/max_user_instances";
    let instances = std::fs::read_to_string(path)
        .ok()
        .and_then(|t| t.trim().parse::<u64>().ok());
    if let Some(instances) = instances.filter(|n| *n < INOTIFY_INSTANCES) {
        missing.push(Missing {
            what: format!("inotify instances (fs.inotify.max_user_instances is {instances})"),
            effect: "with several nodes, programs that watch files fail with \"too many open files\"".into(),
            hint: "sudo sysctl fs.inotify.max_user_instances=512".into(),
            fatal: false,
        });
    }
    missing
}
