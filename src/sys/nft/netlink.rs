//! Elements straight to the kernel.
//!
//! A transaction that only changes elements, which is nearly every one, becomes
//! one netlink batch: tens of microseconds instead of the milliseconds that it
//! takes to start `nft`, which first reads back the whole ruleset. Transactions
//! with a script go to the program.

use std::net::IpAddr;

use ipnet::IpNet;

use nix::libc;
use nix::sys::socket::SockProtocol;
use parking_lot::Mutex;

use super::{Change, Datum, Element, Family, Firewall, Process, Table, Transaction, Verdict};
use crate::error::Result;
use crate::nl::{self, Message, NLM_F_ACK, NLM_F_CREATE};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFT_MSG_GETTABLE: u16 = 1;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_DELSETELEM: u16 = 14;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_KEY_END: u16 = 10;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;

/// A list of elements must stay below 64 KiB, the most an attribute can hold.
const LIST: usize = 48 * 1024;

/// Speaks to one network namespace, whatever thread calls it; scripts run in the
/// namespace of the calling thread, so call from threads of that namespace.
pub struct Netlink {
    socket: Mutex<nl::Socket>,
    program: Process,
}

impl Netlink {
    /// Of the calling thread's namespace.
    pub fn here() -> Result<Self> {
        Ok(Self {
            socket: Mutex::new(nl::Socket::open(SockProtocol::NetlinkNetFilter)?),
            program: Process::default(),
        })
    }

    fn change(&self, table: &Table, changes: &[Change]) -> Result<()> {
        let mut socket = self.socket.lock();
        let mut batch = Batch {
            bytes: Vec::new(),
            last: 0,
        };
        let res_id = NFNL_SUBSYS_NFTABLES.to_be_bytes();
        let edge = [libc::AF_UNSPEC as u8, 0, res_id[0], res_id[1]];
        batch.push(&mut socket, Message::new(NFNL_MSG_BATCH_BEGIN, 0, &edge), 0);
        let mut rest = changes;
        while !rest.is_empty() {
            let (message, used) = list(table, rest);
            rest = &rest[used..];
            // The answer to the last one comes after the commit.
            batch.push(&mut socket, message, if rest.is_empty() { NLM_F_ACK } else { 0 });
        }
        let last = batch.last;
        batch.push(&mut socket, Message::new(NFNL_MSG_BATCH_END, 0, &edge), 0);
        socket.reserve(batch.bytes.len());
        socket.batch(&batch.bytes, last, || {
            format!(
                "change {} elements of the table {} {}",
                changes.len(),
                table.family.as_str(),
                table.name
            )
        })
    }
}

struct Batch {
    bytes: Vec<u8>,
    last: u32,
}

impl Batch {
    fn push(&mut self, socket: &mut nl::Socket, message: Message, flags: u16) {
        self.last = socket.next_sequence();
        self.bytes.extend(message.finish(self.last, flags));
    }
}

fn family(table: &Table) -> u8 {
    let family = match table.family {
        Family::Ip => libc::NFPROTO_IPV4,
        Family::Ip6 => libc::NFPROTO_IPV6,
        Family::Inet => libc::NFPROTO_INET,
    };
    family as u8
}

fn is_add(change: &Change) -> bool {
    matches!(change, Change::Add { .. })
}

/// A message with as many of the changes' first ones as are of one set and sort
/// and fit; and how many that are.
fn list(table: &Table, changes: &[Change]) -> (Message, usize) {
    let (set, add) = (changes[0].set(), is_add(&changes[0]));
    let (kind, flags) = if add {
        (NFT_MSG_NEWSETELEM, NLM_F_CREATE)
    } else {
        (NFT_MSG_DELSETELEM, 0)
    };
    let mut message = Message::new(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, &[family(table), 0, 0, 0]);
    message
        .attr_str(NFTA_SET_ELEM_LIST_TABLE, &table.name)
        .attr_str(NFTA_SET_ELEM_LIST_SET, set);
    let mut used = 0;
    message.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |message| {
        for change in changes.iter().take_while(|c| c.set() == set && is_add(c) == add) {
            if message.len() > LIST {
                break;
            }
            message.nest(NFTA_LIST_ELEM, |message| one(message, change));
            used += 1;
        }
    });
    (message, used)
}

fn one(message: &mut Message, change: &Change) {
    let (Change::Add { key, .. } | Change::Delete { key, .. }) = change;
    message.nest(NFTA_SET_ELEM_KEY, |message| {
        message.attr(NFTA_DATA_VALUE, &bytes(key, IpNet::network));
    });
    if key.iter().any(|datum| matches!(datum, Datum::Net(_))) {
        message.nest(NFTA_SET_ELEM_KEY_END, |message| {
            message.attr(NFTA_DATA_VALUE, &bytes(key, IpNet::broadcast));
        });
    }
    let Change::Add { element, .. } = change else {
        return;
    };
    match element {
        Element::Member => {}
        Element::Data(data) => {
            message.nest(NFTA_SET_ELEM_DATA, |message| {
                message.attr(NFTA_DATA_VALUE, &bytes(data, IpNet::network));
            });
        }
        Element::Verdict(verdict) => {
            // The codes are negative numbers: jump -3, goto -4.
            let (code, chain) = match verdict {
                Verdict::Jump(chain) => (-3_i32 as u32, Some(chain)),
                Verdict::Goto(chain) => (-4_i32 as u32, Some(chain)),
                Verdict::Drop => (libc::NF_DROP as u32, None),
                Verdict::Accept => (libc::NF_ACCEPT as u32, None),
            };
            message.nest(NFTA_SET_ELEM_DATA, |message| {
                message.nest(NFTA_DATA_VERDICT, |message| {
                    message.attr_be32(NFTA_VERDICT_CODE, code);
                    if let Some(chain) = chain {
                        message.attr_str(NFTA_VERDICT_CHAIN, chain);
                    }
                });
            });
        }
    }
}

/// Fields as the kernel compares them: one alone as it is, several each padded
/// to four octets; of a range the end that `end` takes.
fn bytes(data: &[Datum], end: impl Fn(&IpNet) -> IpAddr) -> Vec<u8> {
    let ip = |out: &mut Vec<u8>, ip: IpAddr| match ip {
        IpAddr::V4(ip) => out.extend(ip.octets()),
        IpAddr::V6(ip) => out.extend(ip.octets()),
    };
    let mut out = Vec::with_capacity(16);
    for datum in data {
        match datum {
            Datum::Ip(address) => ip(&mut out, *address),
            Datum::Net(net) => ip(&mut out, end(net)),
            Datum::Protocol(number) => out.push(*number),
            Datum::Port(port) => out.extend(port.to_be_bytes()),
            Datum::Mark(number) | Datum::Number(number) => out.extend(number.to_ne_bytes()),
        }
        if data.len() > 1 {
            out.resize(out.len().next_multiple_of(4), 0);
        }
    }
    out
}

impl Firewall for Netlink {
    fn commit(&self, transaction: &Transaction) -> Result<()> {
        if transaction.is_empty() {
            Ok(())
        } else if transaction.script.is_empty() {
            self.change(&transaction.table, &transaction.elements)
        } else {
            self.program.commit(transaction)
        }
    }

    fn elements(&self, table: &Table, set: &str) -> Result<Vec<String>> {
        self.program.elements(table, set)
    }

    fn has_table(&self, table: &Table) -> Result<bool> {
        let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
        let mut message = Message::new(kind, 0, &[family(table), 0, 0, 0]);
        message.attr_str(NFTA_TABLE_NAME, &table.name);
        let what = || format!("look for the table {} {}", table.family.as_str(), table.name);
        match self.socket.lock().request(message, what) {
            Ok(()) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }
}
