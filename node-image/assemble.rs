//! Debian's packages -> the layer of a node image: what to leave out, what to
//! add. Only data goes through; nothing is run.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use crate::Error;
use crate::applets::APPLETS;
use crate::archive::{self, directory, file, link};
use crate::recipe::{DIRECTORIES, FILES, LEFT_OUT, LEFT_OUT_ANYWHERE, LEFT_OUT_EXACTLY, LINKS};

/// About the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    /// Of all files' content.
    pub bytes: u64,
}

/// All trusted authorities in one file, where Go and OpenSSL look.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// Whether a path of the packages (relative to `/`) is taken over.
pub(crate) fn keep(path: &str) -> bool {
    if let Some(rest) = path.strip_prefix("usr/share/doc/") {
        return rest.ends_with("/copyright");
    }
    !LEFT_OUT_EXACTLY.contains(&path)
        && !LEFT_OUT.iter().any(|prefix| path.starts_with(prefix))
        && !LEFT_OUT_ANYWHERE.iter().any(|part| path.contains(part))
}

/// Copies the layer from `rootfs` to `out`.
pub(crate) fn assemble(rootfs: impl Read, out: impl Write) -> Result<Stats, Error> {
    copy(rootfs, out).map_err(|e| Error::io("put the file system together", e))?
}

fn copy(rootfs: impl Read, out: impl Write) -> std::io::Result<Result<Stats, Error>> {
    let mut stats = Stats::default();
    let mut layer = tar::Builder::new(out);
    let mut taken = BTreeSet::new();
    for (path, mode) in DIRECTORIES {
        directory(&mut layer, path, mode)?;
        taken.insert(path.to_owned());
    }
    // What is ours wins over a package's: a layer may name a path only once.
    taken.extend(FILES.iter().chain(&LINKS).map(|(path, _)| (*path).to_owned()));
    taken.insert(CERTIFICATES.to_owned());
    let (mut busybox, mut certificates, mut containerd) = (Vec::new(), Vec::new(), false);
    let mut archive = tar::Archive::new(rootfs);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let raw = entry.path()?.to_string_lossy().into_owned();
        let path = raw.trim_start_matches("./").trim_matches('/').to_owned();
        let kind = entry.header().entry_type();
        if let Some(name) = path.strip_prefix("usr/share/ca-certificates/") {
            if kind.is_file() && name.ends_with(".crt") {
                entry.read_to_end(&mut certificates)?;
            }
            continue;
        }
        if path.is_empty() || !keep(&path) || (kind.is_dir() && !keep(&format!("{path}/"))) {
            continue;
        }
        if !taken.insert(path.clone()) {
            continue;
        }
        let mode = entry.header().mode()?;
        let size = entry.size();
        match kind {
            tar::EntryType::Directory => directory(&mut layer, &path, mode)?,
            tar::EntryType::Symlink => match entry.link_name()? {
                Some(target) => link(&mut layer, &path, &target.to_string_lossy())?,
                None => continue,
            },
            tar::EntryType::Link => {
                let Some(target) = entry.link_name()? else {
                    continue;
                };
                let target = target.to_string_lossy().trim_start_matches("./").to_owned();
                let mut header = archive::header(kind, mode, 0);
                layer.append_link(&mut header, &path, target)?;
            }
            tar::EntryType::Regular => {
                containerd |= path == "usr/bin/containerd";
                stats.bytes += size;
                let mut header = archive::header(kind, mode, size);
                if path == "bin/busybox" || path == "usr/bin/busybox" {
                    entry.read_to_end(&mut busybox)?;
                    layer.append_data(&mut header, &path, busybox.as_slice())?;
                } else {
                    layer.append_data(&mut header, &path, &mut entry)?;
                }
            }
            // Devices are the engine's business.
            _ => {}
        }
    }
    if !containerd {
        return Ok(Err(Error::Incomplete("usr/bin/containerd")));
    }
    if busybox.is_empty() {
        return Ok(Err(Error::Incomplete("bin/busybox")));
    }
    let target = if taken.contains("bin/busybox") {
        "busybox"
    } else {
        "/usr/bin/busybox"
    };
    for applet in APPLETS {
        let path = format!("bin/{applet}");
        if !taken.contains(&path) && !taken.contains(&format!("usr/bin/{applet}")) {
            link(&mut layer, &path, target)?;
        }
    }
    for (path, content) in FILES {
        file(&mut layer, path, 0o644, content.as_bytes())?;
    }
    for (path, target) in LINKS {
        link(&mut layer, path, target)?;
    }
    let images = [("pause", archive::pause()?), ("tools", archive::tools(&busybox)?)];
    for (name, image) in &images {
        let path = format!(
            "{}/{name}.tar",
            rkind_config::paths::IMAGE_ARCHIVE_DIR.trim_start_matches('/')
        );
        file(&mut layer, &path, 0o644, image)?;
        stats.bytes += image.len() as u64;
    }
    file(
        &mut layer,
        "etc/ssl/certs/ca-certificates.crt",
        0o644,
        &certificates,
    )?;
    stats.bytes += certificates.len() as u64;
    layer.into_inner()?.flush()?;
    Ok(Ok(stats))
}
