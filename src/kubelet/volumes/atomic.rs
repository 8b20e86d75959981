//! Writing a volume's files so that a reader sees either all old or all new content.
//!
//! Layout: `..<time>/` holds the files, `..data` links to it, every visible name links through
//! `..data`. One rename of `..data` switches all files at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

/// One file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PayloadFile {
    pub(crate) data: Vec<u8>,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner, when it is not root.
    pub(crate) uid: Option<u32>,
}

/// Relative path -> file.
pub(crate) type Payload = BTreeMap<String, PayloadFile>;

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes `dir` hold exactly `payload`; does nothing when it does already. Returns whether it wrote.
/// `group` is the pod's fsGroup. The stamp makes the directory's name.
pub(crate) fn write(
    dir: &Path,
    payload: &Payload,
    group: Option<u32>,
    stamp: jiff::Timestamp,
) -> io::Result<bool> {
    for path in payload.keys() {
        check(path)?;
    }
    let current = fs::read_link(dir.join(DATA)).ok().map(|target| dir.join(target));
    if let Some(current) = &current
        && holds(current, payload)
        && visible_links(dir) == top_names(payload)
    {
        return Ok(false);
    }
    let name = format!("..{}", stamp.strftime("%Y_%m_%d_%H_%M_%S.%N"));
    let fresh = dir.join(&name);
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    for (path, file) in payload {
        let target = fresh.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&target, &file.data)?;
        let mut mode = file.mode;
        if let Some(group) = group {
            chown(&target, file.uid, Some(group))?;
            mode |= 0o440;
        } else if file.uid.is_some() {
            chown(&target, file.uid, None)?;
        }
        fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
    }
    if let Some(group) = group {
        own_directories(&fresh, group)?;
    }
    let _ = fs::remove_file(dir.join(DATA_NEW));
    symlink(&name, dir.join(DATA_NEW))?;
    fs::rename(dir.join(DATA_NEW), dir.join(DATA))?;
    let wanted = top_names(payload);
    for name in wanted.difference(&visible_links(dir)) {
        symlink(Path::new(DATA).join(name), dir.join(name))?;
    }
    for name in visible_links(dir).difference(&wanted) {
        fs::remove_file(dir.join(name))?;
    }
    remove_stale(dir, &fresh)?;
    Ok(true)
}

fn check(path: &str) -> io::Result<()> {
    let bad = |why: &str| {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("invalid path {path:?}: {why}"),
        ))
    };
    if path.is_empty() || path.starts_with('/') {
        return bad("must be relative and not empty");
    }
    if path.starts_with("..")
        || Path::new(path)
            .components()
            .any(|c| matches!(c, Component::ParentDir))
    {
        return bad("must not contain or begin with '..'");
    }
    Ok(())
}

fn holds(dir: &Path, payload: &Payload) -> bool {
    let same =
        |(path, file): (&String, &PayloadFile)| fs::read(dir.join(path)).is_ok_and(|data| data == file.data);
    payload.iter().all(same) && count_files(dir) == payload.len()
}

fn count_files(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|e| {
            if e.path().is_dir() {
                count_files(&e.path())
            } else {
                1
            }
        })
        .sum()
}

fn top_names(payload: &Payload) -> BTreeSet<String> {
    payload
        .keys()
        .filter_map(|p| p.split('/').next())
        .map(str::to_string)
        .collect()
}

fn visible_links(dir: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return BTreeSet::new();
    };
    entries
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|n| !n.starts_with(".."))
        .collect()
}

fn remove_stale(dir: &Path, keep: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path: PathBuf = entry.path();
        if name.starts_with("..") && name != DATA && path != keep {
            let _ = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

fn own_directories(dir: &Path, group: u32) -> io::Result<()> {
    chown(dir, None, Some(group))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o2755))?;
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_type()?.is_dir() {
            own_directories(&entry.path(), group)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
