//! What a group uses.

use super::{Cgroups, Version};
use crate::error::{Context, Error, Result};

/// Figures of a group and all below it, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since the group was made, nanoseconds.
    pub cpu_nanoseconds: u64,
    /// Memory charged to it, bytes, page cache included.
    pub memory_bytes: u64,
    /// Memory that can't be dropped at once: without inactive page cache, bytes.
    pub working_set_bytes: u64,
    /// Anonymous memory, bytes.
    pub resident_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

impl Cgroups {
    fn read(&self, controller: &str, path: &str, file: &str) -> Result<String> {
        let file = self
            .directory(controller, path)
            .ok_or_else(|| {
                Error::malformed(
                    format!("the cgroup {path}"),
                    format!("no {controller} controller"),
                )
            })?
            .join(file);
        std::fs::read_to_string(&file).context(|| format!("read {}", file.display()))
    }

    fn number(&self, controller: &str, path: &str, file: &str) -> Result<u64> {
        let text = self.read(controller, path, file)?;
        text.trim()
            .parse()
            .map_err(|_| Error::malformed(format!("{file} of the cgroup {path}"), text))
    }

    /// Reads the figures of group `path`. A missing controller counts as zero.
    pub fn usage(&self, path: &str) -> Result<Usage> {
        let mut usage = Usage::default();
        let inactive;
        match self.version {
            Version::V1 => {
                usage.cpu_nanoseconds = self.number("cpuacct", path, "cpuacct.usage")?;
                usage.memory_bytes = self.number("memory", path, "memory.usage_in_bytes")?;
                let stat = self.read("memory", path, "memory.stat")?;
                inactive = field(&stat, "total_inactive_file").unwrap_or(0);
                usage.resident_bytes = field(&stat, "total_rss").unwrap_or(0);
            }
            Version::V2 => {
                let stat = self.read("cpu", path, "cpu.stat")?;
                usage.cpu_nanoseconds = field(&stat, "usage_usec").unwrap_or(0) * 1000;
                usage.memory_bytes = self.number("memory", path, "memory.current").unwrap_or(0);
                let stat = self.read("memory", path, "memory.stat").unwrap_or_default();
                inactive = field(&stat, "inactive_file").unwrap_or(0);
                usage.resident_bytes = field(&stat, "anon").unwrap_or(0);
            }
        }
        usage.working_set_bytes = usage.memory_bytes.saturating_sub(inactive);
        usage.pids = self.number("pids", path, "pids.current").unwrap_or(0);
        Ok(usage)
    }
}
