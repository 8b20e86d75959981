//! Which addresses and ports are taken.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use rand::Rng as _;

/// Numbered places, of which few are taken.
#[derive(Debug)]
struct Places {
    size: u64,
    taken: HashSet<u64>,
    /// Those below are kept for who asks for one of them.
    low: u64,
}

impl Places {
    fn new(size: u64, low: u64) -> Self {
        Places {
            size,
            taken: HashSet::new(),
            low: if size < 16 { 0 } else { low },
        }
    }

    fn take(&mut self, at: u64) -> bool {
        at < self.size && self.taken.insert(at)
    }

    fn free(&mut self, at: u64) {
        self.taken.remove(&at);
    }

    /// A free place, from a random start on; one of the low ones when all others are taken.
    fn any(&mut self) -> Option<u64> {
        // What is passed over on the way is taken: the way is no longer than that is much.
        let start = if self.low < self.size {
            rand::rng().random_range(self.low..self.size)
        } else {
            self.size
        };
        let found = (start..self.size)
            .chain(self.low..start)
            .chain((0..self.low).rev())
            .find(|at| !self.taken.contains(at))?;
        self.take(found);
        Some(found)
    }
}

/// Addresses of a subnet, its first (network) and, for IPv4, last one left out.
#[derive(Debug)]
pub(super) struct Addresses {
    subnet: IpNet,
    base: u128,
    places: Places,
}

impl Addresses {
    /// The low ones are kept as KEP-3070 has it.
    pub(super) fn new(subnet: IpNet) -> Self {
        let bits = u32::from(subnet.max_prefix_len() - subnet.prefix_len());
        let all = 1u64.checked_shl(bits).unwrap_or(u64::MAX);
        let ends = if matches!(subnet, IpNet::V4(_)) { 2 } else { 1 };
        let size = all.saturating_sub(ends);
        Addresses {
            subnet,
            base: number(subnet.network()) + 1,
            places: Places::new(size, (size / 16).clamp(16, 256)),
        }
    }

    pub(super) fn is_v6(&self) -> bool {
        matches!(self.subnet, IpNet::V6(_))
    }

    pub(super) fn range(&self) -> String {
        self.subnet.to_string()
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.offset(address).is_some()
    }

    pub(super) fn take(&mut self, address: IpAddr) -> bool {
        self.offset(address).is_some_and(|at| self.places.take(at))
    }

    pub(super) fn free(&mut self, address: IpAddr) {
        if let Some(at) = self.offset(address) {
            self.places.free(at);
        }
    }

    pub(super) fn any(&mut self) -> Option<IpAddr> {
        let number = self.base + u128::from(self.places.any()?);
        Some(match self.subnet {
            IpNet::V4(_) => Ipv4Addr::from(number as u32).into(),
            IpNet::V6(_) => Ipv6Addr::from(number).into(),
        })
    }

    fn offset(&self, address: IpAddr) -> Option<u64> {
        if address.is_ipv6() != self.is_v6() {
            return None;
        }
        let at = u64::try_from(number(address).checked_sub(self.base)?).ok()?;
        (at < self.places.size).then_some(at)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// Node ports.
#[derive(Debug)]
pub(super) struct Ports {
    first: u16,
    last: u16,
    places: Places,
}

impl Ports {
    /// The low ones are kept as KEP-3668 has it.
    pub(super) fn new((first, last): (u16, u16)) -> Self {
        let size = u64::from(last.saturating_sub(first)) + 1;
        Ports {
            first,
            last,
            places: Places::new(size, (size / 32).clamp(16, 128)),
        }
    }

    pub(super) fn range(&self) -> String {
        format!("{}-{}", self.first, self.last)
    }

    pub(super) fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    pub(super) fn take(&mut self, port: u16) -> bool {
        self.contains(port) && self.places.take(u64::from(port - self.first))
    }

    pub(super) fn free(&mut self, port: u16) {
        if self.contains(port) {
            self.places.free(u64::from(port - self.first));
        }
    }

    pub(super) fn any(&mut self) -> Option<u16> {
        let at = self.places.any()?;
        Some(self.first + at as u16)
    }
}
