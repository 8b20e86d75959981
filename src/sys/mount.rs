//! Mounts: making, changing and removing them, and reading `mountinfo`.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::error::{Context, Error, Result};

/// Flags that a remount must repeat, or it would clear them: inside a user
/// namespace (or a container whose mounts came locked) clearing is refused.
const KEPT: [(&str, MsFlags); 7] = [
    ("ro", MsFlags::MS_RDONLY),
    ("nosuid", MsFlags::MS_NOSUID),
    ("nodev", MsFlags::MS_NODEV),
    ("noexec", MsFlags::MS_NOEXEC),
    ("noatime", MsFlags::MS_NOATIME),
    ("nodiratime", MsFlags::MS_NODIRATIME),
    ("relatime", MsFlags::MS_RELATIME),
];

/// How mount events travel between a mount and its copies
/// (`mount_namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Propagation {
    /// Neither way.
    Private,
    /// Both ways ("Bidirectional" in Kubernetes).
    Shared,
    /// Only from the original to here ("HostToContainer").
    Slave,
}

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unmount {
    /// Fails with `EBUSY` while somebody uses it.
    Plain,
    /// Out of sight now, gone when the last user leaves.
    Lazy,
}

/// A line of `/proc/self/mountinfo` (`proc(5)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountInfo {
    /// Unique number of the mount.
    pub id: u32,
    /// Number of the mount it sits on.
    pub parent: u32,
    /// Which part of the file system is mounted.
    pub root: PathBuf,
    /// Where.
    pub target: PathBuf,
    /// Per-mount options, comma separated: `rw,nosuid,relatime`.
    pub options: String,
    /// Peer group, if events are shared with others.
    pub shared: Option<u32>,
    /// Peer group whose events arrive here.
    pub master: Option<u32>,
    /// `ext4`, `tmpfs`, `cgroup2` ...
    pub fs_type: String,
    /// What is mounted; its meaning belongs to the file system.
    pub source: String,
    /// Options of the file system itself.
    pub super_options: String,
}

impl MountInfo {
    /// Whether the mount has the option `name` (`ro`, `nosuid` ...).
    pub fn has_option(&self, name: &str) -> bool {
        self.options.split(',').any(|o| o == name)
    }

    /// Whether the file system was mounted with `name` (cgroup v1: `memory`).
    pub fn has_super_option(&self, name: &str) -> bool {
        self.super_options.split(',').any(|o| o == name)
    }
}

/// The kernel writes blanks and backslashes of paths as octal escapes.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let octal = (bytes[i] == b'\\').then(|| text.get(i + 1..i + 4)).flatten();
        match octal.and_then(|o| u8::from_str_radix(o, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 4;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Parses the text of a `mountinfo` file.
pub fn parse_mountinfo(text: &str) -> Result<Vec<MountInfo>> {
    text.lines().filter(|l| !l.is_empty()).map(parse_line).collect()
}

fn parse_line(line: &str) -> Result<MountInfo> {
    let bad = || Error::malformed("mountinfo", format!("line {line:?}"));
    let (left, right) = line.split_once(" - ").ok_or_else(bad)?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.splitn(3, ' ').collect();
    if left.len() < 6 || right.len() < 2 {
        return Err(bad());
    }
    let tag = |name: &str| {
        left[6..]
            .iter()
            .find_map(|t| t.strip_prefix(name)?.strip_prefix(':')?.parse::<u32>().ok())
    };
    Ok(MountInfo {
        id: left[0].parse().map_err(|_| bad())?,
        parent: left[1].parse().map_err(|_| bad())?,
        root: unescape(left[3]).into(),
        target: unescape(left[4]).into(),
        options: left[5].to_owned(),
        shared: tag("shared"),
        master: tag("master"),
        fs_type: unescape(right[0]),
        source: unescape(right[1]),
        super_options: right.get(2).copied().unwrap_or_default().to_owned(),
    })
}

/// Every mount this process sees, in the order they were made.
pub fn mounts() -> Result<Vec<MountInfo>> {
    let text =
        std::fs::read_to_string("/proc/self/mountinfo").context(|| "read the mount table".to_owned())?;
    parse_mountinfo(&text)
}

/// The topmost mount whose target is exactly `path`.
pub fn mount_at(path: &Path) -> Result<Option<MountInfo>> {
    Ok(mounts()?.into_iter().rev().find(|m| m.target == path))
}

/// Whether something is mounted exactly at `path`. `path` must be absolute and
/// without symbolic links, as the kernel prints it.
pub fn is_mount_point(path: &Path) -> Result<bool> {
    Ok(mount_at(path)?.is_some())
}

/// Mounts `source` of type `fs_type` at `target`, which must exist.
pub fn mount_fs(fs_type: &str, source: &str, target: &Path, flags: MsFlags, data: &str) -> Result<()> {
    mount(
        Some(source),
        target,
        Some(fs_type),
        flags,
        (!data.is_empty()).then_some(data),
    )
    .context(|| format!("mount {fs_type} on {}", target.display()))
}

/// Mounts an empty tmpfs: `size` bytes at most (`None`: half of the memory),
/// permissions `mode`.
pub fn tmpfs(target: &Path, size: Option<u64>, mode: u32) -> Result<()> {
    let size = size.map(|s| format!(",size={s}")).unwrap_or_default();
    mount_fs(
        "tmpfs",
        "tmpfs",
        target,
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        &format!("mode={mode:o}{size}"),
    )
}

/// Makes `source` visible at `target` too; with its submounts if `recursive`.
/// Both must exist and be of one sort (directory or file).
pub fn bind(source: &Path, target: &Path, recursive: bool) -> Result<()> {
    let mut flags = MsFlags::MS_BIND;
    flags.set(MsFlags::MS_REC, recursive);
    mount(Some(source), target, None::<&str>, flags, None::<&str>)
        .context(|| format!("bind {} to {}", source.display(), target.display()))
}

/// As [`bind`], and nobody can write through `target`. (Submounts of a
/// recursive bind stay writable: the kernel remounts one at a time.)
pub fn bind_read_only(source: &Path, target: &Path, recursive: bool) -> Result<()> {
    bind(source, target, recursive)?;
    let made = set_read_only(target, true);
    if made.is_err() {
        let _ = umount2(target, MntFlags::MNT_DETACH);
    }
    made
}

/// Makes an existing mount read-only or writable, its other flags unchanged.
/// Only the mount is changed, not the file system under it.
pub fn set_read_only(target: &Path, read_only: bool) -> Result<()> {
    let what = || {
        let how = if read_only { "read-only" } else { "writable" };
        format!("make the mount at {} {how}", target.display())
    };
    let info = mount_at(target)?
        .ok_or_else(|| Error::os(what(), io::Error::from_raw_os_error(nix::libc::EINVAL)))?;
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
    for (name, flag) in KEPT {
        flags.set(flag, info.has_option(name));
    }
    flags.set(MsFlags::MS_RDONLY, read_only);
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>).context(what)
}

/// Sets how mount events travel to and from the mount at `target`, and from
/// everything below if `recursive`.
pub fn set_propagation(target: &Path, propagation: Propagation, recursive: bool) -> Result<()> {
    let mut flags = match propagation {
        Propagation::Private => MsFlags::MS_PRIVATE,
        Propagation::Shared => MsFlags::MS_SHARED,
        Propagation::Slave => MsFlags::MS_SLAVE,
    };
    flags.set(MsFlags::MS_REC, recursive);
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>)
        .context(|| format!("make the mount at {} {propagation:?}", target.display()))
}

/// Removes the topmost mount at `target`; where nothing is mounted (or nothing
/// exists) there is nothing to do.
pub fn unmount(target: &Path, how: Unmount) -> Result<()> {
    let flags = match how {
        Unmount::Plain => MntFlags::UMOUNT_NOFOLLOW,
        Unmount::Lazy => MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH,
    };
    match umount2(target, flags) {
        Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => Ok(()),
        other => other.context(|| format!("unmount {}", target.display())),
    }
}

/// Removes every mount at `target` and below, deepest and newest first.
pub fn unmount_recursive(target: &Path, how: Unmount) -> Result<()> {
    // A mount over a mount shows up twice; removing one may uncover more, so
    // look again until nothing is left.
    for _ in 0..64 {
        let mut below: Vec<_> = mounts()?
            .into_iter()
            .filter(|m| m.target.starts_with(target))
            .collect();
        if below.is_empty() {
            return Ok(());
        }
        below.reverse();
        below.sort_by_key(|m| std::cmp::Reverse(m.target.components().count()));
        for mount in below {
            unmount(&mount.target, how)?;
        }
    }
    Err(Error::malformed(
        format!("the mounts below {}", target.display()),
        "they come back as they are removed",
    ))
}

#[cfg(test)]
mod tests;
