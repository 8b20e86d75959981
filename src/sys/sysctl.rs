//! Kernel settings under `/proc/sys`. Those below `net/` are of the calling
//! thread's network namespace: use [`crate::netns::Namespace::run`] for others.

use std::path::{Path, PathBuf};

use crate::error::{Context, Result};

fn path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

/// Whether this kernel has the setting `name`: "net/bridge/bridge-nf-call-iptables".
pub fn exists(name: &str) -> bool {
    path(name).exists()
}

/// Its value without the line's end.
pub fn read(name: &str) -> Result<String> {
    let text = std::fs::read_to_string(path(name)).context(|| format!("read the kernel setting {name}"))?;
    Ok(text.trim_end().to_owned())
}

/// Sets it, unless it has the value already: `/proc/sys` may be read-only, and
/// a setting that is right needs no permission to write.
pub fn write(name: &str, value: &str) -> Result<()> {
    if read(name).is_ok_and(|now| now == value) {
        return Ok(());
    }
    std::fs::write(path(name), value).context(|| format!("set the kernel setting {name} to {value}"))
}
