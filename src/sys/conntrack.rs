//! Tracked connections (ctnetlink): listing and forgetting them.
//!
//! Address translation is decided once per connection. A UDP "connection" never
//! ends while the sender keeps sending, so flows towards an endpoint that is
//! gone must be forgotten for the next packet to be translated anew.

use std::net::{IpAddr, SocketAddr};

use nix::libc;
use nix::sys::socket::SockProtocol;

use crate::error::Result;
use crate::nl::{self, Message, attrs};

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

/// Where packets of one direction come from and go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Transport protocol's number.
    pub protocol: u8,
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
}

/// A tracked connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// As the first packet was before translation.
    pub original: Tuple,
    /// As an answer is before translation back: its source is the real endpoint.
    pub reply: Tuple,
    original_attr: Vec<u8>,
}

impl Flow {
    /// Whether the destination was translated.
    pub fn is_translated(&self) -> bool {
        self.original.destination != self.reply.source
    }
}

fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let (mut source, mut destination) = (None, None);
    let (mut protocol, mut from, mut to) = (0, 0, 0);
    let port = |v: &[u8]| Some(u16::from_be_bytes(v.get(..2)?.try_into().ok()?));
    for (kind, value) in attrs(bytes) {
        match kind {
            CTA_TUPLE_IP => {
                for (kind, value) in attrs(value) {
                    let ip = match value.len() {
                        4 => IpAddr::from(<[u8; 4]>::try_from(value).ok()?),
                        16 => IpAddr::from(<[u8; 16]>::try_from(value).ok()?),
                        _ => continue,
                    };
                    match kind {
                        CTA_IP_V4_SRC | CTA_IP_V6_SRC => source = Some(ip),
                        CTA_IP_V4_DST | CTA_IP_V6_DST => destination = Some(ip),
                        _ => {}
                    }
                }
            }
            CTA_TUPLE_PROTO => {
                for (kind, value) in attrs(value) {
                    match kind {
                        CTA_PROTO_NUM => protocol = *value.first()?,
                        CTA_PROTO_SRC_PORT => from = port(value)?,
                        CTA_PROTO_DST_PORT => to = port(value)?,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(Tuple {
        protocol,
        source: SocketAddr::new(source?, from),
        destination: SocketAddr::new(destination?, to),
    })
}

fn parse(bytes: &[u8]) -> Option<Flow> {
    let (mut original, mut reply) = (None, None);
    // Behind the family's header of four octets.
    for (kind, value) in attrs(bytes.get(4..)?) {
        match kind {
            CTA_TUPLE_ORIG => original = Some((tuple(value)?, value.to_vec())),
            CTA_TUPLE_REPLY => reply = Some(tuple(value)?),
            _ => {}
        }
    }
    let (original, original_attr) = original?;
    Some(Flow {
        original,
        reply: reply?,
        original_attr,
    })
}

/// The table of tracked connections of one network namespace: that of the
/// thread that opened it.
pub struct Conntrack {
    socket: nl::Socket,
}

impl Conntrack {
    /// Opens it.
    pub fn here() -> Result<Self> {
        Ok(Self {
            socket: nl::Socket::open(SockProtocol::NetlinkNetFilter)?,
        })
    }

    /// Every IPv4 flow, or every IPv6 flow.
    pub fn flows(&mut self, ipv6: bool) -> Result<Vec<Flow>> {
        let family = if ipv6 { libc::AF_INET6 } else { libc::AF_INET } as u8;
        let mut flows = Vec::new();
        self.socket.dump(
            NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
            &[family, 0, 0, 0],
            || "list the tracked connections".to_owned(),
            |_, bytes| flows.extend(parse(bytes)),
        )?;
        Ok(flows)
    }

    /// Forgets a flow; one that has ended already is fine.
    pub fn forget(&mut self, flow: &Flow) -> Result<()> {
        let family = if flow.original.source.is_ipv4() {
            libc::AF_INET
        } else {
            libc::AF_INET6
        } as u8;
        let mut m = Message::new(
            NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
            0,
            &[family, 0, 0, 0],
        );
        m.nest(CTA_TUPLE_ORIG, |m| m.raw(&flow.original_attr));
        let forgotten = self.socket.request(m, || {
            format!("forget the tracked connection to {}", flow.original.destination)
        });
        match forgotten {
            Err(e) if e.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Forgets every flow of the family that `is_stale` picks; how many.
    pub fn forget_if(&mut self, ipv6: bool, is_stale: impl Fn(&Flow) -> bool) -> Result<usize> {
        let stale: Vec<Flow> = self.flows(ipv6)?.into_iter().filter(|f| is_stale(f)).collect();
        for flow in &stale {
            self.forget(flow)?;
        }
        Ok(stale.len())
    }
}

#[cfg(test)]
mod tests;
