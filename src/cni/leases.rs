//! Who has which address: files below one directory.
//!
//! A lease is a file named by its address, written aside and renamed, so a crash
//! leaves either the whole lease or none. All changes are made under one lock
//! file; the kernel lets go of the lock when its holder dies. Addresses are
//! handed out in a circle, so one that was just returned isn't reused while
//! somebody may still talk to its last owner.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::plugin::{Code, Failure};

/// A port of the node that leads to a port of a container (the CNI capability
/// `portMappings`). containerd writes Go's names, which Go's plugins take for the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// On the node; 0 asks for nothing.
    #[serde(default, alias = "HostPort")]
    pub host_port: u16,
    /// In the container.
    #[serde(alias = "ContainerPort")]
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`, in any case.
    #[serde(default = "tcp", alias = "Protocol")]
    pub protocol: String,
    /// Only on this address of the node; empty or all zeros: on every one.
    #[serde(default, rename = "hostIP", alias = "HostIP")]
    pub host_ip: String,
}

fn tcp() -> String {
    "tcp".to_owned()
}

/// An address and its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// The container that has it.
    pub container: String,
    /// On this interface.
    pub interface: String,
    /// In the network namespace bound here.
    pub namespace: PathBuf,
    /// Ports of the node that lead to it.
    #[serde(default)]
    pub port_mappings: Vec<PortMapping>,
}

/// The leases of a node, locked as long as this value lives.
pub struct Leases {
    directory: PathBuf,
    _lock: Flock<File>,
}

const LOCK: &str = "lock";
const LAST: &str = "last";

fn failed(what: &str, path: &Path, e: impl std::fmt::Display) -> Failure {
    Failure::new(
        Code::Io,
        format!("cannot {what} {}", path.display()),
        e.to_string(),
    )
}

impl Leases {
    /// Waits until nobody else has them.
    pub fn lock(directory: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory).map_err(|e| failed("create", directory, e))?;
        let path = directory.join(LOCK);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| failed("open", &path, e))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| failed("lock", &path, e))?;
        Ok(Self {
            directory: directory.to_owned(),
            _lock: lock,
        })
    }

    /// Every lease. A file that can't be read as one isn't a lease of ours and
    /// is left alone.
    pub fn all(&self) -> Result<Vec<Lease>, Failure> {
        let entries = std::fs::read_dir(&self.directory).map_err(|e| failed("read", &self.directory, e))?;
        Ok(entries
            .flatten()
            .filter(|e| {
                e.file_name()
                    .to_str()
                    .is_some_and(|n| n.parse::<IpAddr>().is_ok())
            })
            .filter_map(|e| serde_json::from_slice(&std::fs::read(e.path()).ok()?).ok())
            .collect())
    }

    /// What a container has on an interface.
    pub fn of(&self, container: &str, interface: &str) -> Result<Vec<Lease>, Failure> {
        let mut leases = self.all()?;
        leases.retain(|l| l.container == container && l.interface == interface);
        Ok(leases)
    }

    /// The lease that the container has in `range` already, or a new one of a
    /// free address: not the network's, the gateway's (the first) or the
    /// broadcast address. When none is free, leases whose namespace is gone are
    /// given up and `released` is told.
    pub fn acquire(
        &self,
        range: IpNet,
        owner: &Lease,
        mut released: impl FnMut(&Lease),
    ) -> Result<Lease, Failure> {
        if let Some(held) = self
            .of(&owner.container, &owner.interface)?
            .into_iter()
            .find(|l| range.contains(&l.address))
        {
            let lease = Lease {
                address: held.address,
                ..owner.clone()
            };
            self.write(&lease)?;
            return Ok(lease);
        }
        let address = match self.free(range) {
            Some(address) => address,
            None => {
                for lease in self.all()?.iter().filter(|l| !l.namespace.exists()) {
                    released(lease);
                    self.release(lease)?;
                }
                self.free(range).ok_or_else(|| {
                    Failure::new(Code::NoAddress, format!("every address of {range} is in use"), "")
                })?
            }
        };
        let lease = Lease {
            address,
            ..owner.clone()
        };
        self.write(&lease)?;
        let last = self.directory.join(LAST);
        std::fs::write(&last, address.to_string()).map_err(|e| failed("write", &last, e))?;
        Ok(lease)
    }

    fn free(&self, range: IpNet) -> Option<IpAddr> {
        let (first, size) = (number(range.network()), size_of(range));
        // Offsets 0 and 1 are the network's and the gateway's, the last is broadcast.
        let usable = size.checked_sub(3).filter(|n| *n > 0)?;
        let last = std::fs::read_to_string(self.directory.join(LAST))
            .ok()
            .and_then(|text| text.trim().parse::<IpAddr>().ok())
            .filter(|ip| range.contains(ip))
            .map_or(1, |ip| number(ip) - first);
        (0..usable)
            .map(|i| address(range, first + 2 + (last.saturating_sub(1) + i) % usable))
            .find(|ip| !self.directory.join(ip.to_string()).exists())
    }

    fn write(&self, lease: &Lease) -> Result<(), Failure> {
        let path = self.directory.join(lease.address.to_string());
        let aside = self.directory.join("new");
        let text = serde_json::to_vec(lease).map_err(|e| failed("write", &path, e))?;
        std::fs::write(&aside, text).map_err(|e| failed("write", &aside, e))?;
        std::fs::rename(&aside, &path).map_err(|e| failed("write", &path, e))
    }

    /// Gives an address back; one that is free already is fine.
    pub fn release(&self, lease: &Lease) -> Result<(), Failure> {
        let path = self.directory.join(lease.address.to_string());
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path, e)),
            _ => Ok(()),
        }
    }
}

/// The gateway of a range: its first address.
pub(crate) fn gateway(range: IpNet) -> IpAddr {
    address(range, number(range.network()) + 1)
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

fn address(like: IpNet, number: u128) -> IpAddr {
    match like {
        IpNet::V4(_) => IpAddr::V4(u32::try_from(number).unwrap_or(u32::MAX).into()),
        IpNet::V6(_) => IpAddr::V6(number.into()),
    }
}

fn size_of(range: IpNet) -> u128 {
    // A million addresses of a huge range are enough, and keep the search short.
    1_u128 << u32::from(range.max_prefix_len() - range.prefix_len()).min(20)
}

#[cfg(test)]
mod tests;
