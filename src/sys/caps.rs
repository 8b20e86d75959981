//! What this process may do: capabilities (`capabilities(7)`).

use crate::error::{Context, Error, Result};

/// Names in the order of their numbers, without the prefix `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// What the calling process may use now.
    pub fn effective() -> Result<Self> {
        let path = "/proc/self/status";
        let text = std::fs::read_to_string(path).context(|| format!("read {path}"))?;
        Self::from_status(&text, "CapEff")
    }

    /// What it and its children could ever have.
    pub fn bounding() -> Result<Self> {
        let path = "/proc/self/status";
        let text = std::fs::read_to_string(path).context(|| format!("read {path}"))?;
        Self::from_status(&text, "CapBnd")
    }

    fn from_status(text: &str, field: &str) -> Result<Self> {
        text.lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
            .map(Self)
            .ok_or_else(|| Error::malformed("/proc/self/status", format!("no {field}")))
    }

    /// Whether it contains `name`: "SYS_ADMIN" or "CAP_SYS_ADMIN". Unknown names aren't contained.
    pub fn has(self, name: &str) -> bool {
        let name = name.strip_prefix("CAP_").unwrap_or(name);
        NAMES
            .iter()
            .position(|n| *n == name)
            .is_some_and(|bit| self.0 >> bit & 1 == 1)
    }

    /// The names contained, without prefix, in the kernel's order.
    pub fn names(self) -> Vec<&'static str> {
        NAMES
            .iter()
            .enumerate()
            .filter(|(bit, _)| self.0 >> bit & 1 == 1)
            .map(|(_, name)| *name)
            .collect()
    }
}

#[cfg(test)]
mod tests;
