//! Links, addresses and routes of one network namespace (rtnetlink).
//!
//! Making something that is there already, or removing what isn't, succeeds:
//! callers describe what they want to be true. Where "already there" can mean
//! "there, but something else" the function says what it compares.

mod address;
mod link;
mod route;

use ipnet::IpNet;
use nix::sys::socket::SockProtocol;
use parking_lot::Mutex;
use std::net::IpAddr;

use crate::error::Result;
use crate::netns::Namespace;
use crate::nl;

pub use address::Address;
pub use link::{Link, Mac, Peer};
pub use route::{Route, Scope};

/// A door into the links, addresses and routes of one network namespace. It
/// keeps working there whatever thread calls it.
pub struct Net {
    socket: Mutex<nl::Socket>,
}

impl Net {
    /// Of the calling thread's namespace.
    pub fn here() -> Result<Self> {
        Ok(Self {
            socket: Mutex::new(nl::Socket::open(SockProtocol::NetlinkRoute)?),
        })
    }

    /// Of another namespace.
    pub fn inside(namespace: &Namespace) -> Result<Self> {
        namespace.run(Self::here)
    }
}

/// `AF_INET` or `AF_INET6`.
fn family(ip: IpAddr) -> u8 {
    let family = if ip.is_ipv4() {
        nix::libc::AF_INET
    } else {
        nix::libc::AF_INET6
    };
    family as u8
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

/// The route to everything, of the family of `like`.
pub fn default_route(like: IpAddr) -> IpNet {
    match like {
        IpAddr::V4(_) => IpNet::V4(ipnet::Ipv4Net::default()),
        IpAddr::V6(_) => IpNet::V6(ipnet::Ipv6Net::default()),
    }
}

#[cfg(test)]
mod tests;
