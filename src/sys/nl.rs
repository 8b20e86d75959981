//! Netlink: building, sending and reading messages.
//!
//! Synchronous and small on purpose: one request is two system calls. A socket
//! belongs for ever to the network namespace that its opening thread was in,
//! which is how one process works in several of them.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};

use crate::error::{Context, Error, Result};

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP_INTR: u16 = 0x10;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;
const NLMSGERR_ATTR_MSG: u16 = 1;

fn align(n: usize) -> usize {
    (n + 3) & !3
}

/// A netlink message under construction.
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// `header` is the family's fixed part (`ifinfomsg`, `rtmsg`, `nfgenmsg` ...).
    pub(crate) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        let mut message = Self { bytes };
        message.raw(header);
        message
    }

    /// Appends bytes, padded to the alignment of netlink.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(align(self.bytes.len()), 0);
    }

    pub(crate) fn attr(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        let length = u16::try_from(payload.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.raw(payload);
        self
    }

    pub(crate) fn attr_u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.attr(kind, &[value])
    }

    /// In the machine's byte order.
    pub(crate) fn attr_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// In network byte order, as netfilter wants its numbers.
    pub(crate) fn attr_be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// A string with its terminating zero.
    pub(crate) fn attr_str(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    /// An attribute made of attributes. The length field has 16 bits: a nest
    /// beyond 64 KiB is the caller's bug and is refused by the kernel.
    pub(crate) fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        inside(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn finish(mut self, sequence: u32, more_flags: u16) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | more_flags;
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// The attributes of a message or of a nest, ill-formed tails ignored.
pub(crate) fn attrs(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        if bytes.len() < 4 {
            return None;
        }
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let kind = u16::from_ne_bytes([bytes[2], bytes[3]]) & NLA_TYPE_MASK;
        if length < 4 || length > bytes.len() {
            return None;
        }
        let payload = &bytes[4..length];
        bytes = bytes.get(align(length)..).unwrap_or(&[]);
        Some((kind, payload))
    })
}

pub(crate) fn u32_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}

pub(crate) fn str_of(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A netlink socket of one protocol in one network namespace.
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens it in the network namespace of the calling thread.
    pub(crate) fn open(protocol: SockProtocol) -> Result<Self> {
        let what = || "open a netlink socket".to_owned();
        let fd = socket::socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )
        .context(what)?;
        socket::bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).context(what)?;
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            let on: libc::c_int = 1;
            // SAFETY: the descriptor is open and `on` outlives the call, whose
            // length argument is its size. Failure only costs error texts.
            unsafe {
                libc::setsockopt(
                    fd.as_raw_fd(),
                    libc::SOL_NETLINK,
                    option,
                    std::ptr::from_ref(&on).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                );
            }
        }
        Ok(Self {
            fd,
            sequence: 0,
            buffer: vec![0; 64 * 1024],
        })
    }

    /// Lets one message of `bytes` through: the default send buffer is ~200 KiB.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        let size = libc::c_int::try_from(bytes.saturating_mul(2)).unwrap_or(libc::c_int::MAX);
        for option in [libc::SO_SNDBUFFORCE, libc::SO_RCVBUFFORCE] {
            // SAFETY: as in `open`. Without CAP_NET_ADMIN it fails, and then the
            // send that follows reports the real error.
            unsafe {
                libc::setsockopt(
                    self.fd.as_raw_fd(),
                    libc::SOL_SOCKET,
                    option,
                    std::ptr::from_ref(&size).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                );
            }
        }
    }

    pub(crate) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    fn send(&mut self, bytes: &[u8], what: &dyn Fn() -> String) -> Result<()> {
        socket::sendto(
            self.fd.as_raw_fd(),
            bytes,
            &NetlinkAddr::new(0, 0),
            MsgFlags::empty(),
        )
        .context(what)?;
        Ok(())
    }

    /// Sends a request and waits for the kernel's yes or no.
    pub(crate) fn request(&mut self, message: Message, what: impl Fn() -> String) -> Result<()> {
        let sequence = self.next_sequence();
        self.send(&message.finish(sequence, NLM_F_ACK), &what)?;
        self.receive(sequence, &what, &mut |_, _| ())?;
        Ok(())
    }

    /// Sends messages that end in one acknowledged message numbered `last`;
    /// the first refusal among them is the result.
    pub(crate) fn batch(&mut self, bytes: &[u8], last: u32, what: impl Fn() -> String) -> Result<()> {
        self.send(bytes, &what)?;
        self.receive(last, &what, &mut |_, _| ())?;
        Ok(())
    }

    /// Sends a question and hands every part of the answer (message type,
    /// payload after the netlink header) to `each`. A dump that the kernel
    /// marks as torn by a change is asked for again, so `each` starts afresh:
    /// the parts are delivered only when the dump is whole.
    pub(crate) fn dump(
        &mut self,
        kind: u16,
        header: &[u8],
        what: impl Fn() -> String,
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<()> {
        for _ in 0..8 {
            let sequence = self.next_sequence();
            let message = Message::new(kind, NLM_F_DUMP, header);
            self.send(&message.finish(sequence, 0), &what)?;
            let mut parts: Vec<(u16, Vec<u8>)> = Vec::new();
            let torn = self.receive(sequence, &what, &mut |kind, bytes| {
                parts.push((kind, bytes.to_vec()))
            })?;
            if torn {
                continue;
            }
            for (kind, bytes) in &parts {
                each(*kind, bytes);
            }
            return Ok(());
        }
        Err(Error::malformed(
            what(),
            "the kernel's table keeps changing while it is read",
        ))
    }

    /// Reads until the acknowledgement or the end of the dump numbered
    /// `sequence`; true if a change tore the dump.
    fn receive(
        &mut self,
        sequence: u32,
        what: &dyn Fn() -> String,
        each: &mut dyn FnMut(u16, &[u8]),
    ) -> Result<bool> {
        let mut torn = false;
        let mut refusal: Option<Error> = None;
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = 'outer: loop {
            let count = match socket::recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(e) => break Err(Error::os(what(), e)),
            };
            let mut rest = &buffer[..count];
            while rest.len() >= HEADER {
                let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
                if length < HEADER || length > rest.len() {
                    break 'outer Err(Error::malformed(what(), "truncated netlink answer"));
                }
                let (message, tail) = (&rest[..length], &rest[align(length).min(rest.len())..]);
                rest = tail;
                let kind = u16::from_ne_bytes([message[4], message[5]]);
                let flags = u16::from_ne_bytes([message[6], message[7]]);
                let number = u32::from_ne_bytes([message[8], message[9], message[10], message[11]]);
                torn |= kind != NLMSG_ERROR && flags & NLM_F_DUMP_INTR != 0;
                match kind {
                    NLMSG_ERROR => {
                        if let Err(e) = acknowledgement(&message[HEADER..], flags, what) {
                            refusal.get_or_insert(e);
                            // In a batch the acknowledgement that ends it may
                            // never come once a message was refused.
                            break 'outer Ok(torn);
                        }
                        if number == sequence {
                            break 'outer Ok(torn);
                        }
                    }
                    NLMSG_DONE if number == sequence => {
                        let code = u32_of(&message[HEADER..]).unwrap_or(0) as i32;
                        if code < 0 {
                            break 'outer Err(Error::os(what(), io::Error::from_raw_os_error(-code)));
                        }
                        break 'outer Ok(torn);
                    }
                    _ if number == sequence => each(kind, &message[HEADER..]),
                    _ => {}
                }
            }
        };
        self.buffer = buffer;
        match refusal {
            Some(e) => {
                self.drain();
                Err(e)
            }
            None => result,
        }
    }

    /// Throws away what is left of a refused batch's answers.
    fn drain(&mut self) {
        while let Ok(count) = socket::recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
            if count == 0 {
                break;
            }
        }
    }
}

/// Reads an `nlmsgerr`: zero is yes, anything else the kernel's no.
fn acknowledgement(bytes: &[u8], flags: u16, what: &dyn Fn() -> String) -> Result<()> {
    let code = u32_of(bytes).map_or(-libc::EPROTO, |c| c as i32);
    if code == 0 {
        return Ok(());
    }
    let source = io::Error::from_raw_os_error(-code);
    if flags & NLM_F_ACK_TLVS != 0 {
        let mut offset = 4 + HEADER;
        if flags & NLM_F_CAPPED == 0 {
            // The refused request follows, whole.
            offset = 4 + align(bytes.get(4..8).and_then(u32_of).unwrap_or(HEADER as u32) as usize);
        }
        let texts = bytes.get(offset..).unwrap_or(&[]);
        if let Some((_, text)) = attrs(texts).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG) {
            return Err(Error::Refused {
                what: what(),
                reason: str_of(text),
                source,
            });
        }
    }
    Err(Error::os(what(), source))
}

#[cfg(test)]
mod tests;
