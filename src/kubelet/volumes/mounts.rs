//! The few mounts that volumes need.

use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Mounts a tmpfs at `path`, unless one is there; returns whether it did. `size` in bytes, 0: half
/// of the memory.
pub(super) fn tmpfs(path: &Path, size: u64) -> io::Result<bool> {
    if is_mount_point(path)? {
        return Ok(false);
    }
    let options = if size > 0 {
        format!("mode=0777,size={size}")
    } else {
        "mode=0777".to_string()
    };
    mount(
        Some("tmpfs"),
        path,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .map_err(io::Error::from)?;
    Ok(true)
}

/// Whether something is mounted exactly at `path`.
pub(super) fn is_mount_point(path: &Path) -> io::Result<bool> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let path = path.canonicalize()?;
    let wanted = path.to_string_lossy();
    Ok(table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .any(|point| unescape(point) == wanted))
}

/// Unmounts everything at and below `path`, deepest first. What is busy is detached.
pub(super) fn unmount_below(path: &Path) -> io::Result<()> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let Ok(path) = path.canonicalize() else {
        return Ok(());
    };
    let mut points: Vec<String> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter(|point| Path::new(point).starts_with(&path))
        .collect();
    points.reverse();
    for point in points {
        umount2(point.as_str(), MntFlags::MNT_DETACH).map_err(io::Error::from)?;
    }
    Ok(())
}

/// mountinfo writes space, tab, newline and backslash as octal.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}
