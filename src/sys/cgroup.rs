//! Control groups, version 1 and 2, with one set of verbs.
//!
//! Groups are named by their path below each hierarchy's root, "/kubepods/x".
//! On a hybrid machine (version 1 controllers with an empty version 2 tree
//! beside) the controllers count: that is version 1.

mod limits;
mod usage;

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::mount::{self, MountInfo};

pub use limits::{Limits, weight_of_shares};
pub use usage::Usage;

/// Which interface the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// A hierarchy per controller.
    V1,
    /// One hierarchy.
    V2,
}

/// Where the controllers are on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    version: Version,
    /// Version 1: mount point and controllers of each hierarchy. Version 2: one
    /// entry.
    hierarchies: Vec<Hierarchy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    controllers: Vec<String>,
}

/// Version 1 controllers that pods' limits and figures need.
const KNOWN_V1: [&str; 13] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
];

impl Cgroups {
    /// Reads the mount table.
    pub fn detect() -> Result<Self> {
        let found = Self::from_mounts(&mount::mounts()?)?;
        if found.version == Version::V2 {
            let root = found.hierarchies[0].mount.clone();
            let file = root.join("cgroup.controllers");
            let text = std::fs::read_to_string(&file).context(|| format!("read {}", file.display()))?;
            let controllers = text.split_whitespace().map(str::to_owned).collect();
            return Ok(Self {
                version: Version::V2,
                hierarchies: vec![Hierarchy {
                    mount: root,
                    controllers,
                }],
            });
        }
        Ok(found)
    }

    fn from_mounts(mounts: &[MountInfo]) -> Result<Self> {
        let v1: Vec<Hierarchy> = mounts
            .iter()
            .filter(|m| m.fs_type == "cgroup")
            .map(|m| Hierarchy {
                mount: m.target.clone(),
                controllers: KNOWN_V1
                    .iter()
                    .filter(|c| m.has_super_option(c))
                    .map(|c| (*c).to_owned())
                    .collect(),
            })
            .filter(|h| !h.controllers.is_empty())
            .fold(Vec::new(), |mut all: Vec<Hierarchy>, h| {
                // The same hierarchy may be mounted twice; the first place serves.
                if all.iter().all(|other| other.controllers != h.controllers) {
                    all.push(h);
                }
                all
            });
        if !v1.is_empty() {
            return Ok(Self {
                version: Version::V1,
                hierarchies: v1,
            });
        }
        mounts
            .iter()
            .find(|m| m.fs_type == "cgroup2")
            .map(|m| Self {
                version: Version::V2,
                hierarchies: vec![Hierarchy {
                    mount: m.target.clone(),
                    controllers: Vec::new(),
                }],
            })
            .ok_or_else(|| {
                Error::malformed(
                    "the mount table",
                    "no cgroup hierarchy is mounted: mount /sys/fs/cgroup",
                )
            })
    }

    /// Which interface this is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether limits of `controller` ("memory", "cpu", "pids", "hugetlb") can be set.
    pub fn has(&self, controller: &str) -> bool {
        self.hierarchies
            .iter()
            .any(|h| h.controllers.iter().any(|c| c == controller))
    }

    /// Makes hierarchies that a container engine mounted read-only writable
    /// (needs CAP_SYS_ADMIN), with the enclosing mount above them if it is
    /// read-only too.
    pub fn make_writable(&self) -> Result<()> {
        for hierarchy in &self.hierarchies {
            let Some(info) = mount::mount_at(&hierarchy.mount)? else {
                continue;
            };
            if info.has_option("ro") {
                mount::set_read_only(&hierarchy.mount, false)?;
            }
        }
        Ok(())
    }

    /// The directory of group `path` in the hierarchy of `controller`.
    pub fn directory(&self, controller: &str, path: &str) -> Option<PathBuf> {
        let hierarchy = match self.version {
            Version::V2 => self.hierarchies.first(),
            Version::V1 => self
                .hierarchies
                .iter()
                .find(|h| h.controllers.iter().any(|c| c == controller)),
        }?;
        Some(hierarchy.mount.join(path.trim_start_matches('/')))
    }

    /// Every directory that makes up group `path`.
    fn directories(&self, path: &str) -> impl Iterator<Item = PathBuf> {
        self.hierarchies
            .iter()
            .map(move |h| h.mount.join(path.trim_start_matches('/')))
    }

    /// Whether the group is there in every hierarchy.
    pub fn exists(&self, path: &str) -> bool {
        self.directories(path).all(|d| d.is_dir())
    }

    /// Makes a group and those above it. On version 2 every controller is
    /// enabled on the way; on version 1 `cpuset` inherits its parent's values,
    /// without which it takes no process.
    pub fn create(&self, path: &str) -> Result<()> {
        for hierarchy in &self.hierarchies {
            let mut directory = hierarchy.mount.clone();
            for part in path.split('/').filter(|p| !p.is_empty()) {
                if self.version == Version::V2 {
                    enable_controllers(&directory, &hierarchy.controllers)?;
                }
                let parent = directory.clone();
                directory.push(part);
                match std::fs::create_dir(&directory) {
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                    other => other.context(|| format!("create the cgroup {}", directory.display()))?,
                }
                if self.version == Version::V1 && hierarchy.controllers.iter().any(|c| c == "cpuset") {
                    inherit_cpuset(&parent, &directory)?;
                }
            }
        }
        Ok(())
    }

    /// Removes a group and all below; one that isn't there is fine. Fails with
    /// `EBUSY` while processes are inside: see [`Self::kill`].
    pub fn remove(&self, path: &str) -> Result<()> {
        self.directories(path).try_for_each(|d| remove_tree(&d))
    }

    /// Processes directly in the group.
    pub fn processes(&self, path: &str) -> Result<Vec<u32>> {
        let Some(directory) = self.directories(path).next() else {
            return Ok(Vec::new());
        };
        read_pids(&directory)
    }

    /// Processes in the group and all below.
    pub fn all_processes(&self, path: &str) -> Result<Vec<u32>> {
        let mut all = Vec::new();
        if let Some(directory) = self.directories(path).next() {
            walk(&directory, &mut |d| {
                all.extend(read_pids(d)?);
                Ok(())
            })?;
        }
        Ok(all)
    }

    /// Moves a process into the group, in every hierarchy.
    pub fn add_process(&self, path: &str, pid: u32) -> Result<()> {
        for directory in self.directories(path) {
            let file = directory.join("cgroup.procs");
            std::fs::write(&file, pid.to_string())
                .context(|| format!("move process {pid} into the cgroup {}", directory.display()))?;
        }
        Ok(())
    }

    /// Kills everything in the group and below. They may take a moment to be gone.
    pub fn kill(&self, path: &str) -> Result<()> {
        if self.version == Version::V2 {
            let file = self.hierarchies[0]
                .mount
                .join(path.trim_start_matches('/'))
                .join("cgroup.kill");
            match std::fs::write(&file, "1") {
                Ok(()) => return Ok(()),
                // Kernels before 5.14 have no such file.
                Err(e)
                    if e.kind() == io::ErrorKind::NotFound || e.kind() == io::ErrorKind::PermissionDenied => {
                }
                Err(e) => return Err(Error::os(format!("write {}", file.display()), e)),
            }
        }
        for pid in self.all_processes(path)? {
            crate::process::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
        }
        Ok(())
    }

    /// Names of the groups directly below.
    pub fn children(&self, path: &str) -> Result<Vec<String>> {
        let Some(directory) = self.directories(path).next() else {
            return Ok(Vec::new());
        };
        let entries = match std::fs::read_dir(&directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.context(|| format!("read {}", directory.display()))?,
        };
        Ok(entries
            .flatten()
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
            .filter_map(|e| e.file_name().into_string().ok())
            .collect())
    }
}

/// Enables what the group offers for its children. A controller that is refused
/// (a process sits in the group, or threads forbid it) is left out: limits of it
/// then say so when they are set.
fn enable_controllers(directory: &Path, controllers: &[String]) -> Result<()> {
    let file = directory.join("cgroup.subtree_control");
    let now = std::fs::read_to_string(&file).context(|| format!("read {}", file.display()))?;
    for controller in controllers {
        if now.split_whitespace().any(|c| c == controller) {
            continue;
        }
        if let Err(e) = std::fs::write(&file, format!("+{controller}")) {
            tracing::debug!(controller, file = %file.display(), error = %e, "cgroup controller stays off");
        }
    }
    Ok(())
}

fn inherit_cpuset(parent: &Path, child: &Path) -> Result<()> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let file = child.join(name);
        let Ok(now) = std::fs::read_to_string(&file) else {
            continue;
        };
        if now.trim().is_empty() {
            let from = parent.join(name);
            let value = std::fs::read_to_string(&from).context(|| format!("read {}", from.display()))?;
            std::fs::write(&file, value.trim()).context(|| format!("write {}", file.display()))?;
        }
    }
    Ok(())
}

fn read_pids(directory: &Path) -> Result<Vec<u32>> {
    let file = directory.join("cgroup.procs");
    match std::fs::read_to_string(&file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(nix::libc::ENODEV) => {
            Ok(Vec::new())
        }
        other => {
            let text = other.context(|| format!("read {}", file.display()))?;
            Ok(text.lines().filter_map(|l| l.parse().ok()).collect())
        }
    }
}

/// Calls `each` for a group and all below, children after parents.
fn walk(directory: &Path, each: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    each(directory)?;
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            walk(&entry.path(), each)?;
        }
    }
    Ok(())
}

fn remove_tree(directory: &Path) -> Result<()> {
    if let Ok(entries) = std::fs::read_dir(directory) {
        for entry in entries
            .flatten()
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        {
            remove_tree(&entry.path())?;
        }
    }
    match std::fs::remove_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.context(|| format!("remove the cgroup {}", directory.display())),
    }
}

#[cfg(test)]
mod tests;
