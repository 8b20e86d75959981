//! Bitmaps of addresses and ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rand::Rng as _;

/// Most addresses of a range that are handed out.
const MOST: u128 = 1 << 16;

#[derive(Debug)]
struct Bitmap {
    bits: Vec<u64>,
    size: usize,
    used: usize,
}

impl Bitmap {
    fn new(size: usize) -> Self {
        Bitmap {
            bits: vec![0; size.div_ceil(64)],
            size,
            used: 0,
        }
    }

    fn take(&mut self, at: usize) -> bool {
        let mask = 1 << (at % 64);
        if at >= self.size || self.bits[at / 64] & mask != 0 {
            return false;
        }
        self.bits[at / 64] |= mask;
        self.used += 1;
        true
    }

    fn free(&mut self, at: usize) {
        let mask = 1 << (at % 64);
        if at < self.size && self.bits[at / 64] & mask != 0 {
            self.bits[at / 64] &= !mask;
            self.used -= 1;
        }
    }

    /// A free place, from a random start in `[low, size)` on, else below `low`.
    fn any(&mut self, low: usize) -> Option<usize> {
        if self.used == self.size {
            return None;
        }
        let span = self.size - low;
        let start = if span > 0 {
            low + rand::rng().random_range(0..span)
        } else {
            0
        };
        let found = (start..self.size)
            .chain(low..start)
            .chain((0..low).rev())
            .find(|at| {
                let word = self.bits[at / 64];
                word & (1 << (at % 64)) == 0
            })?;
        self.take(found);
        Some(found)
    }
}

/// Addresses of a subnet, its first (network) and, for IPv4, last one left out.
#[derive(Debug)]
pub(super) struct Addresses {
    subnet: IpNet,
    base: u128,
    map: Bitmap,
    /// Kept for addresses that somebody asks for (KEP-3070).
    low: usize,
}

impl Addresses {
    pub(super) fn new(subnet: IpNet) -> Self {
        let base = number(subnet.network()) + 1;
        let bits = u32::from(subnet.max_prefix_len() - subnet.prefix_len());
        let all = if bits >= 64 {
            u128::from(u64::MAX)
        } else {
            1u128 << bits
        };
        let ends = if matches!(subnet, IpNet::V4(_)) { 2 } else { 1 };
        let size = all.saturating_sub(ends).min(MOST) as usize;
        let low = if size < 16 { 0 } else { (size / 16).clamp(16, 256) };
        Addresses {
            subnet,
            base,
            map: Bitmap::new(size),
            low,
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
        self.offset(address).is_some_and(|at| self.map.take(at))
    }

    pub(super) fn free(&mut self, address: IpAddr) {
        if let Some(at) = self.offset(address) {
            self.map.free(at);
        }
    }

    pub(super) fn any(&mut self) -> Option<IpAddr> {
        let at = self.map.any(self.low)?;
        let number = self.base + at as u128;
        Some(match self.subnet {
            IpNet::V4(_) => Ipv4Addr::from(number as u32).into(),
            IpNet::V6(_) => Ipv6Addr::from(number).into(),
        })
    }

    fn offset(&self, address: IpAddr) -> Option<usize> {
        if address.is_ipv6() != self.is_v6() {
            return None;
        }
        let at = number(address).checked_sub(self.base)?;
        (at < self.map.size as u128).then_some(at as usize)
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
    map: Bitmap,
    /// Kept for ports that somebody asks for (KEP-3668).
    low: usize,
}

impl Ports {
    pub(super) fn new((first, last): (u16, u16)) -> Self {
        let size = usize::from(last.saturating_sub(first)) + 1;
        let low = if size < 16 { 0 } else { (size / 32).clamp(16, 128) };
        Ports {
            first,
            last,
            map: Bitmap::new(size),
            low,
        }
    }

    pub(super) fn range(&self) -> String {
        format!("{}-{}", self.first, self.last)
    }

    pub(super) fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    pub(super) fn take(&mut self, port: u16) -> bool {
        self.contains(port) && self.map.take(usize::from(port - self.first))
    }

    pub(super) fn free(&mut self, port: u16) {
        if self.contains(port) {
            self.map.free(usize::from(port - self.first));
        }
    }

    pub(super) fn any(&mut self) -> Option<u16> {
        let at = self.map.any(self.low)?;
        Some(self.first + at as u16)
    }
}
