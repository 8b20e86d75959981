//! Limits of a group, in version 1's units.

use std::path::Path;

use super::{Cgroups, Version};
use crate::error::{Context, Error, Result};

/// What to limit; `None` leaves a value as it is. Units are those of version 1
/// and the CRI; version 2's are computed (KEP-2254).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Relative weight, 2 to 262144; 1024 is one core's worth.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU per period; negative: no limit.
    pub cpu_quota_us: Option<i64>,
    /// The period, microseconds; 100000 unless set.
    pub cpu_period_us: Option<u64>,
    /// Bytes; negative: no limit.
    pub memory_bytes: Option<i64>,
    /// Number of processes and threads; negative: no limit.
    pub pids: Option<i64>,
    /// Page size as the kernel names it ("2MB") and bytes.
    pub hugepages: Vec<(String, u64)>,
}

/// Version 2's weight (1 to 10000) of version 1's shares (2 to 262144), by the
/// line through both ends that runc and the kubelet use.
pub fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn max_or(value: i64) -> String {
    if value < 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

fn minus_one_or(value: i64) -> String {
    value.max(-1).to_string()
}

impl Limits {
    /// Which files of which controller get which values, in order.
    pub(super) fn files(&self, version: Version) -> Vec<(&'static str, String, String)> {
        let mut files = Vec::new();
        let mut put =
            |controller, file: &str, value: String| files.push((controller, file.to_owned(), value));
        match version {
            Version::V1 => {
                if let Some(shares) = self.cpu_shares {
                    put("cpu", "cpu.shares", shares.clamp(2, 262_144).to_string());
                }
                if let Some(period) = self.cpu_period_us {
                    put("cpu", "cpu.cfs_period_us", period.to_string());
                }
                if let Some(quota) = self.cpu_quota_us {
                    put("cpu", "cpu.cfs_quota_us", minus_one_or(quota));
                }
                if let Some(memory) = self.memory_bytes {
                    put("memory", "memory.limit_in_bytes", minus_one_or(memory));
                }
                if let Some(pids) = self.pids {
                    put("pids", "pids.max", max_or(pids));
                }
                for (size, bytes) in &self.hugepages {
                    put(
                        "hugetlb",
                        &format!("hugetlb.{size}.limit_in_bytes"),
                        bytes.to_string(),
                    );
                }
            }
            Version::V2 => {
                if let Some(shares) = self.cpu_shares {
                    put("cpu", "cpu.weight", weight_of_shares(shares).to_string());
                }
                if self.cpu_quota_us.is_some() || self.cpu_period_us.is_some() {
                    let quota = max_or(self.cpu_quota_us.unwrap_or(-1));
                    put(
                        "cpu",
                        "cpu.max",
                        format!("{quota} {}", self.cpu_period_us.unwrap_or(100_000)),
                    );
                }
                if let Some(memory) = self.memory_bytes {
                    put("memory", "memory.max", max_or(memory));
                }
                if let Some(pids) = self.pids {
                    put("pids", "pids.max", max_or(pids));
                }
                for (size, bytes) in &self.hugepages {
                    put("hugetlb", &format!("hugetlb.{size}.max"), bytes.to_string());
                }
            }
        }
        files
    }
}

impl Cgroups {
    /// Writes the limits of group `path`. A limit whose controller this machine
    /// lacks is an error that names it, except removing a limit that can't exist.
    pub fn set_limits(&self, path: &str, limits: &Limits) -> Result<()> {
        for (controller, file, value) in limits.files(self.version) {
            let unlimited = matches!(value.as_str(), "max" | "-1");
            let Some(file) = self
                .directory(controller, path)
                .map(|d| d.join(&file))
                .filter(|f| f.exists())
            else {
                if unlimited {
                    continue;
                }
                return Err(Error::malformed(
                    format!("the limit {file}={value} of the cgroup {path}"),
                    format!("this machine has no {controller} controller there"),
                ));
            };
            write(&file, &value)?;
        }
        Ok(())
    }
}

fn write(file: &Path, value: &str) -> Result<()> {
    std::fs::write(file, value).context(|| format!("write {value} to {}", file.display()))
}
