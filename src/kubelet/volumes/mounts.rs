//! The few mounts that volumes need.

use std::io;
use std::path::Path;

use rkind_sys::mount::{Unmount, is_mount_point, tmpfs as mount_tmpfs, unmount_recursive};

/// The kernel's own reason, so that callers can tell "not allowed" from the rest.
fn as_io(error: rkind_sys::Error) -> io::Error {
    let kind = error
        .errno()
        .map_or(io::ErrorKind::Other, |n| io::Error::from_raw_os_error(n).kind());
    io::Error::new(kind, rkind_client::chain(&error))
}

/// Mounts a tmpfs at `path`, unless one is there; returns whether it did. `size` in bytes, 0: half
/// of the memory.
pub(super) fn tmpfs(path: &Path, size: u64) -> io::Result<bool> {
    let path = path.canonicalize()?;
    if is_mount_point(&path).map_err(as_io)? {
        return Ok(false);
    }
    mount_tmpfs(&path, (size > 0).then_some(size), 0o777).map_err(as_io)?;
    Ok(true)
}

/// Unmounts everything at and below `path`, deepest first. What is busy is detached.
pub(super) fn unmount_below(path: &Path) -> io::Result<()> {
    // What does not exist has nothing mounted on it.
    let Ok(path) = path.canonicalize() else {
        return Ok(());
    };
    unmount_recursive(&path, Unmount::Lazy).map_err(as_io)
}
