//! Sets of fields and their wire form, FieldsV1 (KEP-555).
//!
//! ```text
//! {"f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}}}
//! ```
//! `f:` names a field or map key, `k:` an item of a keyed list, `v:` an item
//! of a set, `i:` an index; `.` says that the item itself is in the set, not
//! only what is below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

/// One step from a value to a part of it. `Key` and `Value` hold compact
/// JSON, which orders and compares as it is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    Field(String),
    Key(String),
    Value(String),
    Index(i64),
}

impl Element {
    pub(super) fn encode(&self) -> String {
        match self {
            Self::Field(f) => format!("f:{f}"),
            Self::Key(k) => format!("k:{k}"),
            Self::Value(v) => format!("v:{v}"),
            Self::Index(i) => format!("i:{i}"),
        }
    }

    fn decode(s: &str) -> Option<Self> {
        // Reading and writing JSON brings keys into their canonical order; one
        // key without white space has no other.
        let canonical = |s: &str| {
            if !s.contains([',', ' ', '\n', '\t', '\\']) {
                return Some(s.to_owned());
            }
            serde_json::from_str::<Value>(s).ok().map(|v| v.to_string())
        };
        let (kind, rest) = s.split_once(':')?;
        Some(match kind {
            "f" => Self::Field(rest.into()),
            "k" => Self::Key(canonical(rest)?),
            "v" => Self::Value(canonical(rest)?),
            "i" => Self::Index(rest.parse().ok()?),
            _ => return None,
        })
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(k) => {
                let keys: Map<String, Value> = serde_json::from_str(k).unwrap_or_default();
                let parts: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "[{}]", parts.join(","))
            }
            Self::Value(v) => write!(f, "[={v}]"),
            Self::Index(i) => write!(f, "[{i}]"),
        }
    }
}

/// A set of fields, held as a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    members: BTreeSet<Element>,
    children: BTreeMap<Element, Set>,
}

impl Set {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Self::is_empty)
    }

    /// Adds a part of this level.
    pub(super) fn insert(&mut self, e: Element) {
        self.members.insert(e);
    }

    /// Adds everything of `set` below `e`.
    pub(super) fn insert_below(&mut self, e: Element, set: Set) {
        if set.is_empty() {
            return;
        }
        match self.children.get_mut(&e) {
            Some(c) => *c = c.union(&set),
            None => {
                self.children.insert(e, set);
            }
        }
    }

    /// Adds a path of field names.
    pub fn insert_path(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => self.insert(Element::Field((*last).into())),
            [first, rest @ ..] => {
                self.children
                    .entry(Element::Field((*first).into()))
                    .or_default()
                    .insert_path(rest);
            }
        }
    }

    #[must_use]
    pub(super) fn has(&self, e: &Element) -> bool {
        self.members.contains(e)
    }

    #[must_use]
    pub(super) fn below(&self, e: &Element) -> Option<&Set> {
        self.children.get(e).filter(|c| !c.is_empty())
    }

    pub(super) fn children(&self) -> impl Iterator<Item = (&Element, &Set)> {
        self.children.iter()
    }

    /// `union` of sets that are not needed any more.
    #[must_use]
    pub(super) fn joined(mut self, other: Set) -> Set {
        if self.is_empty() {
            return other;
        }
        self.members.extend(other.members);
        for (e, c) in other.children {
            let below = self.children.remove(&e).unwrap_or_default();
            self.children.insert(e, below.joined(c));
        }
        self
    }

    #[must_use]
    pub fn union(&self, other: &Set) -> Set {
        let mut out = self.clone();
        out.members.extend(other.members.iter().cloned());
        for (e, c) in &other.children {
            out.insert_below(e.clone(), c.clone());
        }
        out
    }

    #[must_use]
    pub fn intersection(&self, other: &Set) -> Set {
        let mut out = Set {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: BTreeMap::new(),
        };
        for (e, c) in &self.children {
            if let Some(o) = other.children.get(e) {
                out.insert_below(e.clone(), c.intersection(o));
            }
        }
        out
    }

    /// What is here and not in `other`; parts below a member of `other` stay.
    #[must_use]
    pub fn difference(&self, other: &Set) -> Set {
        let mut out = Set {
            members: self.members.difference(&other.members).cloned().collect(),
            children: BTreeMap::new(),
        };
        for (e, c) in &self.children {
            let rest = other
                .children
                .get(e)
                .map_or_else(|| c.clone(), |o| c.difference(o));
            out.insert_below(e.clone(), rest);
        }
        out
    }

    /// As `difference`, but whatever is below a member of `other` goes too.
    #[must_use]
    pub fn recursive_difference(&self, other: &Set) -> Set {
        let mut out = Set {
            members: self.members.difference(&other.members).cloned().collect(),
            children: BTreeMap::new(),
        };
        for (e, c) in &self.children {
            if other.members.contains(e) {
                continue;
            }
            let rest = other
                .children
                .get(e)
                .map_or_else(|| c.clone(), |o| c.recursive_difference(o));
            out.insert_below(e.clone(), rest);
        }
        out
    }

    /// Whether the two share a member.
    #[must_use]
    pub fn intersects(&self, other: &Set) -> bool {
        self.members.iter().any(|m| other.members.contains(m))
            || self
                .children
                .iter()
                .any(|(e, c)| other.children.get(e).is_some_and(|o| c.intersects(o)))
    }

    /// `difference` in place.
    pub(super) fn remove_all(&mut self, other: &Set) {
        for m in &other.members {
            self.members.remove(m);
        }
        for (e, o) in &other.children {
            if let Some(c) = self.children.get_mut(e) {
                c.remove_all(o);
                if c.is_empty() {
                    self.children.remove(e);
                }
            }
        }
    }

    /// `recursive_difference` in place.
    pub(super) fn remove_below(&mut self, other: &Set) {
        for m in &other.members {
            self.members.remove(m);
            self.children.remove(m);
        }
        for (e, o) in &other.children {
            if let Some(c) = self.children.get_mut(e) {
                c.remove_below(o);
                if c.is_empty() {
                    self.children.remove(e);
                }
            }
        }
    }

    /// `remove_all` on a set in wire form.
    pub(super) fn remove_from(&self, wire: &mut Map<String, Value>) {
        for m in &self.members {
            let key = m.encode();
            if let Some(child) = wire.get_mut(&key).and_then(Value::as_object_mut) {
                child.remove(".");
                if child.is_empty() {
                    wire.remove(&key);
                }
            }
        }
        for (e, below) in &self.children {
            let key = e.encode();
            let Some(child) = wire.get_mut(&key).and_then(Value::as_object_mut) else {
                continue;
            };
            let (leaf, member) = (child.is_empty(), child.contains_key("."));
            below.remove_from(child);
            if child.len() == 1 && member {
                child.clear();
            } else if child.is_empty() && !leaf {
                wire.remove(&key);
            }
        }
    }

    /// `union` into a set in wire form.
    pub(super) fn add_to(&self, wire: &mut Map<String, Value>) {
        let empty = || Value::Object(Map::new());
        for m in &self.members {
            let child = wire.entry(m.encode());
            match child {
                serde_json::map::Entry::Vacant(v) => {
                    v.insert(empty());
                }
                serde_json::map::Entry::Occupied(mut o) => {
                    if let Some(c) = o.get_mut().as_object_mut().filter(|c| !c.is_empty()) {
                        c.insert(".".into(), empty());
                    }
                }
            }
        }
        for (e, below) in self.children.iter().filter(|(_, c)| !c.is_empty()) {
            let key = e.encode();
            // A leaf that was there, or was put there above, stays a member.
            let leaf = wire.contains_key(&key);
            let child = wire.entry(key).or_insert_with(empty);
            if let Some(c) = child.as_object_mut() {
                if leaf && c.is_empty() {
                    c.insert(".".into(), empty());
                }
                below.add_to(c);
            }
        }
    }

    /// Every path of the set, as messages print them.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut out = vec![];
        self.walk(&mut String::new(), &mut out);
        out
    }

    fn walk(&self, prefix: &mut String, out: &mut Vec<String>) {
        for m in &self.members {
            out.push(format!("{prefix}{m}"));
        }
        for (e, c) in &self.children {
            let len = prefix.len();
            prefix.push_str(&e.to_string());
            c.walk(prefix, out);
            prefix.truncate(len);
        }
    }

    /// FieldsV1.
    #[must_use]
    pub fn encode(&self) -> Value {
        let mut out = Map::new();
        for m in &self.members {
            out.insert(m.encode(), Value::Object(Map::new()));
        }
        for (e, c) in &self.children {
            if c.is_empty() {
                continue;
            }
            let mut child = c.encode();
            if self.members.contains(e)
                && let Value::Object(o) = &mut child
            {
                o.insert(".".into(), Value::Object(Map::new()));
            }
            out.insert(e.encode(), child);
        }
        Value::Object(out)
    }

    /// From FieldsV1; what can't be read is left out.
    #[must_use]
    pub fn decode(v: &Value) -> Set {
        let mut out = Set::new();
        for (k, child) in v.as_object().into_iter().flatten() {
            let Some(e) = Element::decode(k) else { continue };
            let members = child.as_object();
            let leaf = members.is_none_or(Map::is_empty);
            if leaf || members.is_some_and(|m| m.contains_key(".")) {
                out.insert(e.clone());
            }
            if !leaf {
                out.insert_below(e, Set::decode(child));
            }
        }
        out
    }
}
