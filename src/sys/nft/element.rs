//! Elements of sets and maps, and their text.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use ipnet::IpNet;

use super::Table;

/// One field of a key or of a map's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Datum {
    /// An address.
    Ip(IpAddr),
    /// A range of addresses, in a key of an interval set.
    Net(IpNet),
    /// A transport protocol's number.
    Protocol(u8),
    /// A transport port.
    Port(u16),
    /// A packet mark, or another number in the machine's byte order.
    Mark(u32),
    /// A number as `numgen` makes it, also in the machine's byte order.
    Number(u32),
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Net(net) => net.trunc().fmt(f),
            Self::Protocol(6) => f.write_str("tcp"),
            Self::Protocol(17) => f.write_str("udp"),
            Self::Protocol(132) => f.write_str("sctp"),
            Self::Protocol(other) => other.fmt(f),
            Self::Port(port) => port.fmt(f),
            Self::Mark(mark) => write!(f, "0x{mark:08x}"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// What a verdict map says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Continue in this chain for good.
    Goto(String),
    /// Continue in this chain and come back.
    Jump(String),
    /// Let it pass.
    Accept,
    /// Lose it.
    Drop,
}

/// What an element maps to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Element {
    /// Nothing: it is a set's.
    Member,
    /// Fields.
    Data(Vec<Datum>),
    /// A verdict.
    Verdict(Verdict),
}

/// A change of one element.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// Puts an element in.
    Add {
        /// Which set or map.
        set: &'static str,
        /// Its key.
        key: Vec<Datum>,
        /// Its data.
        element: Element,
    },
    /// Takes an element out.
    Delete {
        /// Which set or map.
        set: &'static str,
        /// Its key.
        key: Vec<Datum>,
    },
}

impl Change {
    /// Which set or map it is about.
    pub fn set(&self) -> &'static str {
        match self {
            Self::Add { set, .. } | Self::Delete { set, .. } => set,
        }
    }

    fn is_add(&self) -> bool {
        matches!(self, Self::Add { .. })
    }
}

fn fields(out: &mut String, data: &[Datum]) {
    for (i, datum) in data.iter().enumerate() {
        let dot = if i == 0 { "" } else { " . " };
        let _ = write!(out, "{dot}{datum}");
    }
}

/// Writes the changes, neighbours of one sort in one command.
pub(super) fn render(table: &Table, changes: &[Change], out: &mut String) {
    for run in changes.chunk_by(|a, b| a.set() == b.set() && a.is_add() == b.is_add()) {
        let verb = if run[0].is_add() { "add" } else { "delete" };
        let _ = write!(
            out,
            "{verb} element {} {} {} {{",
            table.family.as_str(),
            table.name,
            run[0].set()
        );
        for (i, change) in run.iter().enumerate() {
            out.push_str(if i == 0 { " " } else { ",\n " });
            match change {
                Change::Delete { key, .. } => fields(out, key),
                Change::Add { key, element, .. } => {
                    fields(out, key);
                    match element {
                        Element::Member => {}
                        Element::Data(data) => {
                            out.push_str(" : ");
                            fields(out, data);
                        }
                        Element::Verdict(verdict) => {
                            let _ = match verdict {
                                Verdict::Goto(chain) => write!(out, " : goto {chain}"),
                                Verdict::Jump(chain) => write!(out, " : jump {chain}"),
                                Verdict::Accept => write!(out, " : accept"),
                                Verdict::Drop => write!(out, " : drop"),
                            };
                        }
                    }
                }
            }
        }
        out.push_str(" }\n");
    }
}
