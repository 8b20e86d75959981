//! The first start of a node: what the image holds for `/var`, which is an empty
//! volume then. An engine would copy it too, but fifty times slower.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use rkind_config::paths;

use crate::Error;
use crate::recipe::DIRECTORIES;

/// Fills the node's `/var` with what is missing of it. Called by process 1 of a
/// node before anything else; on a later start there is nothing to do.
///
/// # Errors
/// [`Error::Io`]
pub fn seed_var() -> Result<(), Error> {
    seed(Path::new(paths::VAR_TEMPLATE), Path::new("/")).map_err(|e| Error::io("fill /var", e))
}

pub(crate) fn seed(template: &Path, root: &Path) -> io::Result<()> {
    let var = DIRECTORIES.iter().filter(|(path, _)| path.starts_with("var"));
    for (path, mode) in var {
        let path = root.join(path);
        if !path.is_dir() {
            fs::DirBuilder::new().mode(*mode).create(&path)?;
            // Without the umask.
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
        }
    }
    let run = root.join("var/run");
    if fs::symlink_metadata(&run).is_err() {
        symlink("/run", &run)?;
    }
    let (from, to) = (template.join("lib/containerd"), root.join("var/lib/containerd"));
    if to.exists() || !from.is_dir() {
        return Ok(());
    }
    // A start that is cut off here leaves no half of it under its name.
    let unfinished = root.join("var/lib/.containerd-unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    copy(&from, &unfinished)?;
    fs::rename(&unfinished, &to)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if meta.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if meta.is_file() {
        return fs::copy(from, to).map(drop);
    }
    if !meta.is_dir() {
        return Ok(());
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    fs::set_permissions(to, meta.permissions())
}
