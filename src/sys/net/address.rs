//! Addresses of links.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::libc;

use super::{Net, family, ip_of, octets};
use crate::error::Result;
use crate::nl::{Message, NLM_F_CREATE, NLM_F_REPLACE, attrs, u32_of};

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_F_NODAD: u8 = 0x02;

/// An address on a link, with the prefix that is reachable there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The link's index.
    pub link: u32,
    /// Address and prefix length.
    pub ip: IpNet,
}

fn ifaddr(link: u32, ip: &IpNet) -> [u8; 8] {
    let mut header = [0; 8];
    header[0] = family(ip.addr());
    header[1] = ip.prefix_len();
    // IPv6 would otherwise be unusable for a second while it looks for a twin.
    header[2] = if ip.addr().is_ipv6() { IFA_F_NODAD } else { 0 };
    header[4..8].copy_from_slice(&link.to_ne_bytes());
    header
}

fn parse(bytes: &[u8]) -> Option<Address> {
    let prefix = *bytes.get(1)?;
    let link = u32_of(bytes.get(4..8)?)?;
    let (mut local, mut address) = (None, None);
    for (kind, value) in attrs(bytes.get(8..)?) {
        match kind {
            IFA_LOCAL => local = ip_of(value),
            IFA_ADDRESS => address = ip_of(value),
            _ => {}
        }
    }
    Some(Address {
        link,
        ip: IpNet::new(local.or(address)?, prefix).ok()?,
    })
}

impl Net {
    /// Every address of the namespace.
    pub fn addresses(&self) -> Result<Vec<Address>> {
        let mut found = Vec::new();
        self.socket.lock().dump(
            libc::RTM_GETADDR,
            &[0; 8],
            || "list the network addresses".to_owned(),
            |_, bytes| found.extend(parse(bytes)),
        )?;
        Ok(found)
    }

    /// Gives a link an address; the same address there already is fine.
    pub fn add_address(&self, link: u32, ip: IpNet) -> Result<()> {
        let mut m = Message::new(
            libc::RTM_NEWADDR,
            NLM_F_CREATE | NLM_F_REPLACE,
            &ifaddr(link, &ip),
        );
        let bytes = octets(ip.addr());
        m.attr(IFA_LOCAL, &bytes).attr(IFA_ADDRESS, &bytes);
        if let (IpAddr::V4(broadcast), true) = (ip.broadcast(), ip.prefix_len() < 31) {
            m.attr(IFA_BROADCAST, &broadcast.octets());
        }
        self.socket.lock().request(m, || {
            format!("add the address {ip} to the link with index {link}")
        })
    }

    /// Takes an address away; one that isn't there is fine.
    pub fn delete_address(&self, link: u32, ip: IpNet) -> Result<()> {
        let mut m = Message::new(libc::RTM_DELADDR, 0, &ifaddr(link, &ip));
        m.attr(IFA_LOCAL, &octets(ip.addr()));
        let removed = self.socket.lock().request(m, || {
            format!("remove the address {ip} from the link with index {link}")
        });
        match removed {
            Err(e) if e.is_not_found() || e.errno() == Some(libc::EADDRNOTAVAIL) => Ok(()),
            other => other,
        }
    }
}
