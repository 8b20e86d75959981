//! The packet filter: whole transactions against nftables.
//!
//! A [`Transaction`] is text that shapes a table (chains, maps, rules) followed
//! by changes of map elements. Elements are typed because they are what changes
//! all the time: an implementation may send them without the detour over text.
//! All of a transaction takes effect at one moment or none of it does.

mod contract;
mod element;
mod fake;
mod netlink;
mod process;

pub use contract::check as check_contract;
pub use element::{Change, Datum, Element, Verdict};
pub use fake::Recording;
pub use netlink::Netlink;
pub use process::Process;

use crate::error::Result;

/// Address family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4 only.
    Ip,
    /// IPv6 only.
    Ip6,
    /// Both.
    Inet,
}

impl Family {
    /// As nftables spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
        }
    }
}

/// A table's full name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Table {
    /// Its family.
    pub family: Family,
    /// Its name.
    pub name: String,
}

impl Table {
    /// `family name`.
    pub fn new(family: Family, name: &str) -> Self {
        Self {
            family,
            name: name.to_owned(),
        }
    }
}

/// What takes effect at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The table that `elements` belong to.
    pub table: Table,
    /// Commands in nftables' own language, first; may be empty.
    pub script: String,
    /// Changes of the table's sets and maps, in this order. Deleting an element
    /// that isn't there, or adding one whose key is there with other data, fails
    /// the transaction.
    pub elements: Vec<Change>,
}

impl Transaction {
    /// One that only runs `script`.
    pub fn script(table: &Table, script: impl Into<String>) -> Self {
        Self {
            table: table.clone(),
            script: script.into(),
            elements: Vec::new(),
        }
    }

    /// One that only changes elements.
    pub fn elements(table: &Table, elements: Vec<Change>) -> Self {
        Self {
            table: table.clone(),
            script: String::new(),
            elements,
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.script.is_empty() && self.elements.is_empty()
    }

    /// All of it in nftables' language, for `nft -f`.
    pub fn to_text(&self) -> String {
        let mut text = self.script.clone();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        element::render(&self.table, &self.elements, &mut text);
        text
    }
}

/// Somebody who can put a transaction into effect. Calls may take as long as
/// the transaction is large (10,000 elements: ~100 ms): call from a thread that
/// may block.
pub trait Firewall: Send + Sync {
    /// Applies all of it at one moment, or fails and changes nothing.
    fn commit(&self, transaction: &Transaction) -> Result<()>;

    /// The elements of a set or map now, in no particular order: key, then data.
    /// An error if it or its table isn't there.
    fn elements(&self, table: &Table, set: &str) -> Result<Vec<String>>;

    /// Whether the table is there: somebody may have flushed all rules.
    fn has_table(&self, table: &Table) -> Result<bool>;

    /// Removes a table with everything in it; one that isn't there is fine.
    fn delete_table(&self, table: &Table) -> Result<()> {
        let (family, name) = (table.family.as_str(), &table.name);
        self.commit(&Transaction::script(
            table,
            format!("add table {family} {name}\ndelete table {family} {name}\n"),
        ))
    }
}

#[cfg(test)]
mod tests;
