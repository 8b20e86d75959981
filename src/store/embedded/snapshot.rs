//! The state at one committed revision, immutable and shared by all readers.
//!
//! A snapshot is a persistent map plus the retained history of changes. An older revision is read by
//! undoing the changes after it: each event carries what the key was before, so the first event of a
//! key after revision `at` tells its value at `at`. That costs nothing on the write path and no
//! memory beyond the history that watches need anyway.

use std::{collections::BTreeMap, ops::Bound, sync::Arc, time::Instant};

use imbl::{OrdMap, Vector};

use super::Retention;
use crate::{Entry, Error, Event, Range, Result, Revision, Value};

/// What one log record committed.
#[derive(Debug)]
pub(super) struct Batch {
    /// Revision of the last event.
    pub(super) last: Revision,
    /// When it was committed (or replayed), for retention by age.
    pub(super) at: Instant,
    /// Bytes of keys and values that the history keeps alive for it.
    pub(super) bytes: u64,
    /// Never empty; revisions ascend by one.
    pub(super) events: Arc<[Event]>,
}

impl Batch {
    /// Panics never: an empty list of events gives `None`.
    pub(super) fn new(events: Vec<Event>, at: Instant) -> Option<Self> {
        let last = events.last()?.revision();
        let bytes = events
            .iter()
            .map(|e| size_of::<Event>() as u64 + e.prev().map_or(0, |entry| entry_bytes(entry)))
            .sum();
        Some(Batch {
            last,
            at,
            bytes,
            events: events.into(),
        })
    }
}

/// Approximate memory of an entry in bytes.
pub(super) fn entry_bytes(entry: &Entry) -> u64 {
    (entry.key.len() + entry.value.memory() + size_of::<Entry>()) as u64
}

/// All keys and the retained history at one revision. Cloning is O(1).
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// Newest revision in it.
    pub(super) revision: Revision,
    /// Events at and before this revision are gone; reads at it and after it are answered.
    pub(super) compacted: Revision,
    /// Key -> entry.
    pub(super) map: OrdMap<Arc<str>, Arc<Entry>>,
    /// Batches in revision order, without gaps; the last one ends at `revision`. The first one may
    /// begin at or before `compacted`: such events are not to be delivered.
    pub(super) history: Vector<Arc<Batch>>,
    /// Sum of `bytes` over `history`.
    pub(super) history_bytes: u64,
}

impl Snapshot {
    /// The state of a store that never saw a write.
    pub(super) fn empty() -> Self {
        Snapshot {
            revision: 1,
            compacted: 0,
            map: OrdMap::new(),
            history: Vector::new(),
            history_bytes: 0,
        }
    }

    /// Writes a key at the next revision.
    pub(super) fn put(&mut self, key: Arc<str>, value: Value) -> Event {
        self.revision += 1;
        let mod_revision = self.revision;
        let prev = self.map.get(&key);
        // One allocation per key, however often it is written.
        let key = prev.map_or(key, |entry| entry.key.clone());
        let create_revision = prev.map_or(mod_revision, |entry| entry.create_revision);
        let entry = Arc::new(Entry {
            key: key.clone(),
            value,
            create_revision,
            mod_revision,
        });
        let prev = self.map.insert(key, entry.clone());
        Event::Put { entry, prev }
    }

    /// Deletes a key at the next revision; `None`, and no revision, when there is no such key.
    pub(super) fn delete(&mut self, key: &str) -> Option<Event> {
        let prev = self.map.remove(key)?;
        self.revision += 1;
        Some(Event::Delete {
            prev,
            revision: self.revision,
        })
    }

    /// Adds what was committed last to the history.
    pub(super) fn remember(&mut self, batch: Arc<Batch>) {
        self.history_bytes += batch.bytes;
        self.history.push_back(batch);
    }

    /// Forgets events at and before `revision`.
    pub(super) fn compact(&mut self, revision: Revision) {
        self.compacted = self.compacted.max(revision.min(self.revision));
        while self
            .history
            .front()
            .is_some_and(|batch| batch.last <= self.compacted)
        {
            self.forget();
        }
    }

    /// Forgets what is beyond the limits.
    pub(super) fn retain(&mut self, retention: &Retention, now: Instant) {
        while let Some(batch) = self.history.front() {
            let old = retention
                .age
                .is_some_and(|age| now.duration_since(batch.at) > age);
            let many = retention
                .commits
                .is_some_and(|commits| self.history.len() > commits);
            let large = retention.bytes.is_some_and(|bytes| self.history_bytes > bytes);
            if !(old || many || large) {
                break;
            }
            self.compacted = self.compacted.max(batch.last);
            self.forget();
        }
    }

    fn forget(&mut self) {
        if let Some(batch) = self.history.pop_front() {
            self.history_bytes -= batch.bytes;
        }
    }

    /// The revision to read at, checked to be one that can be read.
    fn resolve(&self, at: Option<Revision>) -> Result<Revision> {
        match at {
            None => Ok(self.revision),
            Some(at) if at > self.revision => Err(Error::Future {
                requested: at,
                current: self.revision,
            }),
            Some(at) if at < self.oldest() => Err(Error::Compacted {
                requested: at,
                oldest: self.oldest(),
            }),
            Some(at) => Ok(at),
        }
    }

    /// Oldest revision that can be read.
    pub(super) fn oldest(&self) -> Revision {
        self.compacted.max(1)
    }

    /// Retained events with a revision `>= from`, oldest first.
    pub(super) fn events_from(&self, from: Revision) -> impl Iterator<Item = &Event> {
        let from = from.max(self.compacted + 1);
        // The first batch that ends at or after `from`.
        let (mut low, mut high) = (0, self.history.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.history[middle].last < from {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.history
            .focus()
            .narrow(low..)
            .into_iter()
            .flat_map(|batch| batch.events.iter())
            .skip_while(move |event| event.revision() < from)
    }

    /// See [`crate::Store::get`].
    pub(super) fn get(&self, key: &str, at: Option<Revision>) -> Result<(Option<Entry>, Revision)> {
        let at = self.resolve(at)?;
        let current = self.map.get(key);
        let untouched = at == self.revision || current.is_some_and(|entry| entry.mod_revision <= at);
        if !untouched && let Some(event) = self.events_from(at + 1).find(|event| &**event.key() == key) {
            return Ok((event.prev().map(|entry| Entry::clone(entry)), at));
        }
        Ok((current.map(|entry| Entry::clone(entry)), at))
    }

    /// See [`crate::Store::range`].
    pub(super) fn range(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Range> {
        let at = self.resolve(at)?;
        let limit = if limit == 0 { usize::MAX } else { limit };
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let end = prefix_end(prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        if let (Bound::Excluded(start), Bound::Excluded(end)) = (start, end)
            && start >= end
        {
            return Ok(Range {
                entries: Vec::new(),
                revision: at,
                remaining: 0,
            });
        }
        let current = self.map.range::<_, str>((start, end)).map(|(_, entry)| &**entry);
        if at == self.revision {
            return Ok(page(current, limit, at));
        }
        let mut then: BTreeMap<&str, Option<&Entry>> = BTreeMap::new();
        for event in self.events_from(at + 1) {
            let key = &**event.key();
            if key.starts_with(prefix) && after.is_none_or(|after| key > after) {
                then.entry(key)
                    .or_insert_with(|| event.prev().map(|entry| &**entry));
            }
        }
        Ok(page(
            Overlay {
                current: current.peekable(),
                then: then.into_iter().peekable(),
            },
            limit,
            at,
        ))
    }
}

fn page<'a>(mut entries: impl Iterator<Item = &'a Entry>, limit: usize, revision: Revision) -> Range {
    let taken = entries.by_ref().take(limit).cloned().collect();
    Range {
        entries: taken,
        revision,
        remaining: entries.count() as u64,
    }
}

/// Merges today's entries with what changed keys were then, in key order; then wins.
struct Overlay<'a, C: Iterator<Item = &'a Entry>, T: Iterator<Item = (&'a str, Option<&'a Entry>)>> {
    current: std::iter::Peekable<C>,
    then: std::iter::Peekable<T>,
}

impl<'a, C, T> Iterator for Overlay<'a, C, T>
where
    C: Iterator<Item = &'a Entry>,
    T: Iterator<Item = (&'a str, Option<&'a Entry>)>,
{
    type Item = &'a Entry;

    fn next(&mut self) -> Option<&'a Entry> {
        loop {
            let Some((key, _)) = self.then.peek() else {
                return self.current.next();
            };
            match self.current.peek() {
                Some(entry) if &*entry.key < *key => return self.current.next(),
                Some(entry) if &*entry.key == *key => {
                    self.current.next();
                }
                _ => {}
            }
            if let Some((_, Some(entry))) = self.then.next() {
                return Some(entry);
            }
        }
    }
}

/// The least string greater than all strings that start with `prefix`; `None` when there is none.
fn prefix_end(prefix: &str) -> Option<String> {
    let mut end: Vec<char> = prefix.chars().collect();
    while let Some(last) = end.pop() {
        // UTF-8 keeps the order of code points, so the next code point is the next string. Surrogates
        // are no code points of strings.
        let next = if last == '\u{d7ff}' {
            Some('\u{e000}')
        } else {
            char::from_u32(last as u32 + 1)
        };
        if let Some(next) = next {
            end.push(next);
            return Some(end.into_iter().collect());
        }
    }
    None
}
