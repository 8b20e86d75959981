//! Which occurrences become events of their own. Pure: time comes from the occurrences.

use std::collections::{HashMap, HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::Occurrence;

/// Different messages of one group before they are combined.
const MOST_MESSAGES: usize = 10;
/// A group is forgotten after this silence.
const GROUP_WINDOW: SignedDuration = SignedDuration::from_secs(600);
/// Events one object may cause at once.
const BURST: f64 = 25.0;
/// Events per second it earns back.
const REFILL: f64 = 1.0 / 300.0;
/// Entries kept per table; the longest unused go first.
const REMEMBERED: usize = 4096;

const COMBINED: &str = "(combined from similar events): ";

pub(super) enum Outcome {
    /// Too many from this object.
    Muted,
    New {
        key: String,
        occurrence: Occurrence,
    },
    /// The stored event `name` has happened `count` times now.
    Repeat {
        key: String,
        occurrence: Occurrence,
        name: String,
        count: i32,
    },
}

#[derive(Default)]
pub(super) struct Correlator {
    seen: Table<Seen>,
    groups: Table<Group>,
    budgets: Table<Budget>,
}

struct Seen {
    count: i32,
    name: Option<String>,
}

struct Group {
    messages: HashSet<String>,
    last: Timestamp,
}

struct Budget {
    tokens: f64,
    at: Timestamp,
}

impl Correlator {
    pub(super) fn observe(&mut self, mut occurrence: Occurrence) -> Outcome {
        let about = &occurrence.about;
        let subject = [
            &about.kind,
            &about.namespace,
            &about.name,
            &about.uid,
            &about.api_version,
        ]
        .map(|part| part.as_deref().unwrap_or_default())
        .join("\n");
        let place = format!("{subject}\n{}", about.field_path.as_deref().unwrap_or_default());
        let at = occurrence.at;

        let budget = self.budgets.entry(&subject, || Budget { tokens: BURST, at });
        let earned = at.duration_since(budget.at).as_secs_f64().max(0.0) * REFILL;
        budget.tokens = (budget.tokens + earned).min(BURST);
        budget.at = at;

        let group_key = format!("{place}\n{}\n{}", occurrence.kind.as_str(), occurrence.reason);
        let group = self.groups.entry(&group_key, || Group {
            messages: HashSet::new(),
            last: at,
        });
        if at.duration_since(group.last) > GROUP_WINDOW {
            group.messages.clear();
        }
        group.last = at;
        group.messages.insert(occurrence.message.clone());
        let key = if group.messages.len() > MOST_MESSAGES {
            // Grown enough to be known as large; more would be memory for nothing.
            group.messages.remove(&occurrence.message);
            occurrence.message = format!("{COMBINED}{}", occurrence.message);
            group_key
        } else {
            format!("{group_key}\n{}", occurrence.message)
        };

        let seen = self.seen.entry(&key, || Seen { count: 0, name: None });
        seen.count = seen.count.saturating_add(1);
        let (name, count) = (seen.name.clone(), seen.count);
        if budget.tokens < 1.0 {
            return Outcome::Muted;
        }
        budget.tokens -= 1.0;
        match name {
            Some(name) => Outcome::Repeat {
                key,
                occurrence,
                name,
                count,
            },
            None => Outcome::New { key, occurrence },
        }
    }

    /// The event for `key` is stored under `name`.
    pub(super) fn written(&mut self, key: &str, name: String) {
        self.seen.entry(key, || Seen { count: 1, name: None }).name = Some(name);
    }

    /// The stored event is gone: its next one counts from one.
    pub(super) fn restart(&mut self, key: &str, _at: Timestamp) {
        *self.seen.entry(key, || Seen { count: 1, name: None }) = Seen { count: 1, name: None };
    }
}

/// A map that forgets its oldest entries.
struct Table<V> {
    entries: HashMap<String, V>,
    order: VecDeque<String>,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<V> Table<V> {
    fn entry(&mut self, key: &str, new: impl FnOnce() -> V) -> &mut V {
        if !self.entries.contains_key(key) {
            if self.order.len() >= REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.entries.remove(&oldest);
            }
            self.order.push_back(key.to_owned());
        }
        self.entries.entry(key.to_owned()).or_insert_with(new)
    }
}
