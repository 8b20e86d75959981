//! Which address or port is given out next.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use rand::Rng as _;

/// A free one of the places below `size`, from a random start on; those below `low` are kept for who asks
/// for one of them, and given out when all others are taken.
fn pick(size: u64, low: u64, is_taken: impl Fn(u64) -> bool) -> Option<u64> {
    let low = if size < 16 { 0 } else { low };
    // What is passed over on the way is taken: the way is no longer than that is much.
    let start = if low < size {
        rand::rng().random_range(low..size)
    } else {
        size
    };
    (start..size)
        .chain(low..start)
        .chain((0..low).rev())
        .find(|at| !is_taken(*at))
}

/// Addresses of a subnet, its first (network) and, for IPv4, last one left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    subnet: IpNet,
    base: u128,
    size: u64,
}

impl Range {
    pub(super) fn new(subnet: IpNet) -> Self {
        let bits = u32::from(subnet.max_prefix_len() - subnet.prefix_len());
        let all = 1u64.checked_shl(bits).unwrap_or(u64::MAX);
        let ends = if matches!(subnet, IpNet::V4(_)) { 2 } else { 1 };
        Range {
            subnet,
            base: number(subnet.network()) + 1,
            size: all.saturating_sub(ends),
        }
    }

    pub(super) fn is_v6(&self) -> bool {
        matches!(self.subnet, IpNet::V6(_))
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv6() == self.is_v6()
            && number(address)
                .checked_sub(self.base)
                .is_some_and(|at| at < u128::from(self.size))
    }

    /// One that is not taken. The low ones are kept as KEP-3070 has it.
    pub(super) fn any(&self, is_taken: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let low = (self.size / 16).clamp(16, 256);
        let at = pick(self.size, low, |at| is_taken(self.at(at)))?;
        Some(self.at(at))
    }

    fn at(&self, place: u64) -> IpAddr {
        let number = self.base + u128::from(place);
        match self.subnet {
            IpNet::V4(_) => Ipv4Addr::from(number as u32).into(),
            IpNet::V6(_) => Ipv6Addr::from(number).into(),
        }
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
    taken: HashSet<u16>,
}

impl Ports {
    pub(super) fn new((first, last): (u16, u16)) -> Self {
        Ports {
            first,
            last,
            taken: HashSet::new(),
        }
    }

    pub(super) fn range(&self) -> String {
        format!("{}-{}", self.first, self.last)
    }

    pub(super) fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    pub(super) fn take(&mut self, port: u16) -> bool {
        self.contains(port) && self.taken.insert(port)
    }

    pub(super) fn free(&mut self, port: u16) {
        self.taken.remove(&port);
    }

    /// One that is not taken. The low ones are kept as KEP-3668 has it.
    pub(super) fn any(&mut self) -> Option<u16> {
        let size = u64::from(self.last.saturating_sub(self.first)) + 1;
        let low = (size / 32).clamp(16, 128);
        let at = pick(size, low, |at| self.taken.contains(&(self.first + at as u16)))?;
        let port = self.first + at as u16;
        self.taken.insert(port);
        Some(port)
    }
}
