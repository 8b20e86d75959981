//! Bridges, veth pairs, dummies, and what one may set on a link.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd};
use std::str::FromStr;

use nix::libc;

use super::Net;
use crate::error::{Error, Result};
use crate::netns::Namespace;
use crate::nl::{Message, NLM_F_CREATE, NLM_F_EXCL, attrs, str_of, u32_of};

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;

/// A hardware address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether it is the all-zero address that loopback carries.
    pub fn is_zero(self) -> bool {
        self.0 == [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::malformed("hardware address", format!("{text:?} isn't six hex octets"));
        let octets: Vec<u8> = text
            .split(':')
            .map(|part| u8::from_str_radix(part, 16).map_err(|_| bad()))
            .collect::<Result<_>>()?;
        Ok(Self(octets.try_into().map_err(|_| bad())?))
    }
}

/// A network link as the kernel reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Interface index within its namespace.
    pub index: u32,
    /// Name, at most 15 bytes.
    pub name: String,
    /// `bridge`, `veth`, `dummy` ...; empty for hardware and loopback.
    pub kind: String,
    /// Administratively up.
    pub up: bool,
    /// Largest packet, bytes.
    pub mtu: u32,
    /// Hardware address, if it has one of six octets.
    pub mac: Option<Mac>,
    /// Index of the bridge it is a port of.
    pub master: Option<u32>,
    /// Index of the other end of a veth pair, in *its* namespace.
    pub peer: Option<u32>,
}

/// The far end of a veth pair.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// Its name over there.
    pub name: &'a str,
    /// Where it shall be born.
    pub namespace: &'a Namespace,
    /// Its hardware address; the kernel chooses if `None`.
    pub mac: Option<Mac>,
}

fn ifinfo(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

fn parse(bytes: &[u8]) -> Option<Link> {
    let index = u32_of(bytes.get(4..8)?)?;
    let flags = u32_of(bytes.get(8..12)?)?;
    let mut link = Link {
        index,
        name: String::new(),
        kind: String::new(),
        up: flags & libc::IFF_UP as u32 != 0,
        mtu: 0,
        mac: None,
        master: None,
        peer: None,
    };
    for (kind, value) in attrs(bytes.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = str_of(value),
            IFLA_MTU => link.mtu = u32_of(value)?,
            IFLA_ADDRESS => link.mac = value.try_into().ok().map(Mac),
            IFLA_MASTER => link.master = u32_of(value),
            IFLA_LINK => link.peer = u32_of(value),
            IFLA_LINKINFO => {
                if let Some((_, name)) = attrs(value).find(|(k, _)| *k == IFLA_INFO_KIND) {
                    link.kind = str_of(name);
                }
            }
            _ => {}
        }
    }
    Some(link)
}

impl Net {
    /// Every link of the namespace.
    pub fn links(&self) -> Result<Vec<Link>> {
        let mut links = Vec::new();
        self.socket.lock().dump(
            libc::RTM_GETLINK,
            &ifinfo(0, 0, 0),
            || "list the network links".to_owned(),
            |_, bytes| links.extend(parse(bytes)),
        )?;
        Ok(links)
    }

    /// The link called `name`.
    pub fn link(&self, name: &str) -> Result<Option<Link>> {
        Ok(self.links()?.into_iter().find(|l| l.name == name))
    }

    /// The link called `name`, which must be there.
    pub fn expect_link(&self, name: &str) -> Result<Link> {
        self.link(name)?.ok_or_else(|| {
            Error::os(
                format!("find the network link {name}"),
                std::io::Error::from_raw_os_error(libc::ENODEV),
            )
        })
    }

    /// A bridge called `name`; its settings are left as they are if it exists.
    /// An existing link of another kind under this name is an error.
    pub fn add_bridge(&self, name: &str) -> Result<Link> {
        self.add_simple(name, "bridge")
    }

    fn add_simple(&self, name: &str, kind: &str) -> Result<Link> {
        if let Some(link) = self.link(name)? {
            if link.kind == kind {
                return Ok(link);
            }
            return Err(Error::malformed(
                format!("the network link {name}"),
                format!("it is a {:?} and should be a {kind:?}: delete it", link.kind),
            ));
        }
        let mut m = Message::new(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifinfo(0, 0, 0));
        m.attr_str(IFLA_IFNAME, name);
        m.nest(IFLA_LINKINFO, |m| {
            m.attr_str(IFLA_INFO_KIND, kind);
        });
        let made = self
            .socket
            .lock()
            .request(m, || format!("create the {kind} {name}"));
        match made {
            // Somebody else was quicker: fine, if it is what we want.
            Err(e) if e.is_exists() => self.add_simple(name, kind),
            Err(e) => Err(e),
            Ok(()) => self.expect_link(name),
        }
    }

    /// A veth pair: `name` here, the peer in its own namespace, both with `mtu`
    /// bytes and both down. An existing link of either name is an error.
    pub fn add_veth(&self, name: &str, peer: &Peer<'_>, mtu: u32) -> Result<Link> {
        let mut m = Message::new(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifinfo(0, 0, 0));
        m.attr_str(IFLA_IFNAME, name).attr_u32(IFLA_MTU, mtu);
        m.nest(IFLA_LINKINFO, |m| {
            m.attr_str(IFLA_INFO_KIND, "veth");
            m.nest(IFLA_INFO_DATA, |m| {
                m.nest(VETH_INFO_PEER, |m| {
                    m.raw(&ifinfo(0, 0, 0));
                    m.attr_str(IFLA_IFNAME, peer.name).attr_u32(IFLA_MTU, mtu);
                    m.attr_u32(IFLA_NET_NS_FD, peer.namespace.as_fd().as_raw_fd() as u32);
                    if let Some(mac) = peer.mac {
                        m.attr(IFLA_ADDRESS, &mac.0);
                    }
                });
            });
        });
        self.socket.lock().request(m, || {
            format!(
                "create the veth pair {name} and {} in {}",
                peer.name,
                peer.namespace.path().display()
            )
        })?;
        self.expect_link(name)
    }

    /// Removes a link (and with one end of a veth pair the other).
    pub fn delete_link(&self, name: &str) -> Result<()> {
        let mut m = Message::new(libc::RTM_DELLINK, 0, &ifinfo(0, 0, 0));
        m.attr_str(IFLA_IFNAME, name);
        match self
            .socket
            .lock()
            .request(m, || format!("delete the network link {name}"))
        {
            Err(e) if e.is_not_found() => Ok(()),
            other => other,
        }
    }

    fn set(&self, index: u32, what: &str, fill: impl FnOnce(&mut Message)) -> Result<()> {
        let mut m = Message::new(libc::RTM_NEWLINK, 0, &ifinfo(index, 0, 0));
        fill(&mut m);
        self.socket
            .lock()
            .request(m, || format!("{what} of the network link with index {index}"))
    }

    /// Brings a link up.
    pub fn set_up(&self, index: u32) -> Result<()> {
        let up = libc::IFF_UP as u32;
        let m = Message::new(libc::RTM_NEWLINK, 0, &ifinfo(index, up, up));
        self.socket
            .lock()
            .request(m, || format!("bring up the network link with index {index}"))
    }

    /// Makes a link a port of the bridge with index `bridge`.
    pub fn set_master(&self, index: u32, bridge: u32) -> Result<()> {
        self.set(index, "set the bridge", |m| {
            m.attr_u32(IFLA_MASTER, bridge);
        })
    }

    /// Sets the largest packet, bytes.
    pub fn set_mtu(&self, index: u32, mtu: u32) -> Result<()> {
        self.set(index, "set the MTU", |m| {
            m.attr_u32(IFLA_MTU, mtu);
        })
    }

    /// Sets the hardware address.
    pub fn set_mac(&self, index: u32, mac: Mac) -> Result<()> {
        self.set(index, "set the hardware address", |m| {
            m.attr(IFLA_ADDRESS, &mac.0);
        })
    }

    /// Lets a bridge send a frame back out of the port it came in by, which a
    /// pod needs to reach itself through its own Service.
    pub fn set_hairpin(&self, index: u32, on: bool) -> Result<()> {
        let mut header = ifinfo(index, 0, 0);
        header[0] = libc::AF_BRIDGE as u8;
        let mut m = Message::new(libc::RTM_SETLINK, 0, &header);
        m.nest(IFLA_PROTINFO, |m| {
            m.attr_u8(IFLA_BRPORT_MODE, u8::from(on));
        });
        self.socket.lock().request(m, || {
            format!("set hairpin mode of the bridge port with index {index}")
        })
    }
}
