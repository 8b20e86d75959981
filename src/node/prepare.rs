//! Making a bare container or VM into a place where pods can run: mounts,
//! kernel settings, directories, the runtime's configuration.
//!
//! Each step is idempotent, because a node is prepared at every boot.

use crate::Error;
use nix::mount::{MsFlags, mount};
use rkind_config::paths;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

const CGROUP_ROOT: &str = "/sys/fs/cgroup";
/// Bit of `CAP_SYS_RESOURCE` in a capability mask.
const CAP_SYS_RESOURCE: u32 = 24;

/// Directories that the node's programs expect.
const DIRECTORIES: &[&str] = &[
    paths::STORE_DIR,
    paths::KUBELET_DIR,
    paths::POD_LOG_DIR,
    paths::CONTAINER_LOG_DIR,
    paths::CNI_CONF_DIR,
    paths::CNI_BIN_DIR,
    paths::RUN_DIR,
    "/run/containerd",
];

/// Kernel settings a node needs, and what does not work without each.
const SETTINGS: &[(&str, &str, &str)] = &[
    (
        "net/ipv4/ip_forward",
        "1",
        "pods reach nothing outside their node",
    ),
    (
        "net/ipv4/conf/all/rp_filter",
        "0",
        "answers from other nodes may be dropped",
    ),
    (
        "net/ipv4/conf/default/rp_filter",
        "0",
        "answers from other nodes may be dropped",
    ),
];

pub(crate) fn run() -> Result<(), Error> {
    share_mounts()?;
    open_cgroups()?;
    for directory in DIRECTORIES {
        fs::create_dir_all(directory)
            .map_err(Error::file("could not create directory", Path::new(directory)))?;
    }
    for (setting, value, without) in SETTINGS {
        let path = Path::new("/proc/sys").join(setting);
        if let Err(error) = fs::write(&path, value) {
            tracing::warn!(setting, %error, "not set: {without}");
        }
    }
    // No pod's network namespace outlives a boot, so neither does its address.
    forget(Path::new(paths::CNI_LEASE_DIR))?;
    for plugin in ["rkind-cni", "loopback"] {
        link(paths::BINARY, &Path::new(paths::CNI_BIN_DIR).join(plugin))?;
    }
    adapt_containerd_config()
}

/// Mounts made in a container's namespace must reach the kubelet's and back
/// (`mountPropagation`), so the whole tree is shared.
fn share_mounts() -> Result<(), Error> {
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_SHARED | MsFlags::MS_REC,
        None::<&str>,
    )
    .map_err(|errno| Error::Prepare("could not make the mounts shared".into(), errno.into()))
}

/// Container engines mount the control groups read-only for a node that is not
/// privileged; within a group namespace of its own it may write them.
fn open_cgroups() -> Result<(), Error> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")
        .map_err(Error::file("could not read", Path::new("/proc/self/mountinfo")))?;
    for target in cgroup_mounts(&mountinfo) {
        let flags = MsFlags::MS_REMOUNT
            | MsFlags::MS_BIND
            | MsFlags::MS_NOSUID
            | MsFlags::MS_NODEV
            | MsFlags::MS_NOEXEC;
        mount(None::<&str>, target, None::<&str>, flags, None::<&str>)
            .map_err(|errno| Error::Prepare(format!("could not make {target} writable"), errno.into()))?;
    }
    if Path::new(CGROUP_ROOT).join("cgroup.controllers").exists() {
        delegate_controllers().map_err(Error::file(
            "could not delegate controllers in",
            Path::new(CGROUP_ROOT),
        ))?;
    }
    Ok(())
}

/// Mount points of control groups, as `/proc/self/mountinfo` lists them.
fn cgroup_mounts(mountinfo: &str) -> Vec<&str> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (mount, filesystem) = line.split_once(" - ")?;
            let target = mount.split(' ').nth(4)?;
            filesystem.starts_with("cgroup").then_some(target)
        })
        .filter(|target| target.starts_with(CGROUP_ROOT))
        .collect()
}

/// Control groups v2: a group with processes can't hand controllers to its
/// children, so the node's own processes move into a leaf first.
fn delegate_controllers() -> io::Result<()> {
    let root = Path::new(CGROUP_ROOT);
    let leaf = root.join("init");
    fs::create_dir_all(&leaf)?;
    for pid in fs::read_to_string(root.join("cgroup.procs"))?.lines() {
        // A process that has ended meanwhile needs no moving.
        let _ = fs::write(leaf.join("cgroup.procs"), pid);
    }
    for controller in fs::read_to_string(root.join("cgroup.controllers"))?.split_whitespace() {
        if let Err(error) = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}")) {
            tracing::warn!(controller, %error, "control group controller not delegated");
        }
    }
    Ok(())
}

fn forget(directory: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::file("could not empty", directory)(error))
        }
        _ => fs::create_dir_all(directory).map_err(Error::file("could not create directory", directory)),
    }
}

fn link(target: &str, path: &Path) -> Result<(), Error> {
    match symlink(target, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::file("could not link", path)(error))
        }
        _ => Ok(()),
    }
}

/// runc can't lower a container's `oom_score_adj` where the node lacks
/// CAP_SYS_RESOURCE; containerd then has to leave it where it is.
fn adapt_containerd_config() -> Result<(), Error> {
    let path = Path::new(paths::CONTAINERD_CONFIG);
    let config = fs::read_to_string(path).map_err(Error::file("could not read", path))?;
    let status = fs::read_to_string("/proc/self/status")
        .map_err(Error::file("could not read", Path::new("/proc/self/status")))?;
    let restrict = !has_capability(&status, CAP_SYS_RESOURCE);
    if restrict {
        tracing::info!("no CAP_SYS_RESOURCE here: containers keep the node's oom_score_adj at the least");
    }
    let adapted = set_toml_bool(&config, "restrict_oom_score_adj", restrict).ok_or_else(|| {
        let source = io::Error::new(io::ErrorKind::InvalidData, "no line sets restrict_oom_score_adj");
        Error::file("could not adapt", path)(source)
    })?;
    if adapted != config {
        fs::write(path, adapted).map_err(Error::file("could not write", path))?;
    }
    Ok(())
}

/// Whether the effective set in the text of `/proc/<pid>/status` has a bit.
fn has_capability(status: &str, bit: u32) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> bit & 1 == 1)
}

/// Replaces the value on the one line that sets `key`; `None` without such a line.
fn set_toml_bool(text: &str, key: &str, value: bool) -> Option<String> {
    let line = text
        .lines()
        .find(|line| line.trim_start().split(['=', ' ']).next() == Some(key))?;
    let indent = &line[..line.len() - line.trim_start().len()];
    Some(text.replacen(line, &format!("{indent}{key} = {value}"), 1))
}

#[cfg(test)]
mod tests;
