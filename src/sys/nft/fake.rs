//! A firewall that only remembers.

use std::collections::BTreeMap;
use std::io;

use parking_lot::Mutex;

use super::element::render;
use super::{Change, Firewall, Table, Transaction};
use crate::error::{Error, Result};

/// Element texts by set and key.
type Sets = BTreeMap<(&'static str, String), String>;

/// Keeps the transactions and the elements they leave; refuses what nftables
/// would refuse about elements. Scripts are kept but not understood, except that
/// one containing `delete table` empties everything.
#[derive(Debug, Default)]
pub struct Recording {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sets: Sets,
    transactions: Vec<Transaction>,
    fail_next: bool,
    there: bool,
}

impl Recording {
    /// What was committed so far, oldest first; forgotten by this call.
    pub fn take(&self) -> Vec<Transaction> {
        std::mem::take(&mut self.state.lock().transactions)
    }

    /// Somebody flushes all rules.
    pub fn flush(&self) {
        let mut state = self.state.lock();
        state.sets.clear();
        state.there = false;
    }

    /// The next commit fails, as if the program had crashed.
    pub fn fail_next(&self) {
        self.state.lock().fail_next = true;
    }
}

/// "key" or "key : data" of a change, as a listing shows it.
fn text(change: &Change) -> String {
    let table = Table::new(super::Family::Ip, "t");
    let mut out = String::new();
    render(&table, std::slice::from_ref(change), &mut out);
    let inside = out.split_once('{').map_or("", |(_, r)| r);
    inside.trim_end().trim_end_matches('}').trim().to_owned()
}

fn key_of(element: &str) -> String {
    element.split(" : ").next().unwrap_or_default().to_owned()
}

impl Firewall for Recording {
    fn commit(&self, transaction: &Transaction) -> Result<()> {
        let mut state = self.state.lock();
        let refused = |why: &str| {
            Error::os(
                format!("apply the rules: {why}"),
                io::Error::from_raw_os_error(17),
            )
        };
        if std::mem::take(&mut state.fail_next) {
            return Err(refused("told to fail"));
        }
        let mut sets = state.sets.clone();
        if transaction.script.contains("delete table") {
            sets.clear();
        }
        for change in &transaction.elements {
            let element = text(change);
            let key = (change.set(), key_of(&element));
            match change {
                Change::Add { .. } => {
                    if sets
                        .insert(key, element.clone())
                        .is_some_and(|before| before != element)
                    {
                        return Err(refused(&format!(
                            "{} has {element} with other data",
                            change.set()
                        )));
                    }
                }
                Change::Delete { .. } => {
                    if sets.remove(&key).is_none() {
                        return Err(refused(&format!("{} has no {element}", change.set())));
                    }
                }
            }
        }
        state.sets = sets;
        let last = transaction.script.lines().last().unwrap_or_default();
        state.there = !last.starts_with("delete table");
        state.transactions.push(transaction.clone());
        Ok(())
    }

    fn has_table(&self, _: &Table) -> Result<bool> {
        Ok(self.state.lock().there)
    }

    fn elements(&self, _: &Table, set: &str) -> Result<Vec<String>> {
        let state = self.state.lock();
        Ok(state
            .sets
            .iter()
            .filter(|((name, _), _)| *name == set)
            .map(|(_, text)| text.clone())
            .collect())
    }
}
