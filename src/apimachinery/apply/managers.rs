//! `metadata.managedFields`: who set what.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::set::Set;
use crate::meta;

/// More managers of plain updates than this are merged into one.
const MAX_UPDATE_MANAGERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// Who a set of fields belongs to. Appliers are the same manager in every
/// version of the API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) manager: String,
    /// `Apply` or else `Update`.
    pub(super) applied: bool,
    /// Empty for appliers.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl Id {
    pub(super) fn new(manager: &str, applied: bool, api_version: &str, subresource: &str) -> Self {
        Self {
            manager: manager.into(),
            applied,
            api_version: if applied {
                String::new()
            } else {
                api_version.into()
            },
            subresource: subresource.into(),
        }
    }

    /// As conflicts name it.
    pub(super) fn printed(&self) -> String {
        let mut s = crate::field::quote(&self.manager);
        if !self.subresource.is_empty() {
            s.push_str(&format!(
                " with subresource {}",
                crate::field::quote(&self.subresource)
            ));
        }
        if !self.applied {
            s.push_str(&format!(" using {}", self.api_version));
        }
        s
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) set: Set,
    pub(super) api_version: String,
    pub(super) time: Option<String>,
}

/// Whether an entry is one that a server may have written; upstream forgets all that a client sends
/// when one of them is not.
pub(super) fn is_readable(entry: &Value) -> bool {
    let text = |field: &str| entry[field].as_str().unwrap_or("");
    matches!(text("operation"), "Apply" | "Update") && text("fieldsType") == "FieldsV1"
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Managers(pub(super) BTreeMap<Id, Entry>);

impl Managers {
    pub(super) fn decode(object: &Value) -> Self {
        let mut out = BTreeMap::new();
        for m in object["metadata"]["managedFields"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let text = |f: &str| m[f].as_str().unwrap_or("");
            let applied = match text("operation") {
                "Apply" => true,
                "Update" => false,
                _ => continue,
            };
            let id = Id::new(text("manager"), applied, text("apiVersion"), text("subresource"));
            let entry = Entry {
                set: Set::decode(&m["fieldsV1"]),
                api_version: text("apiVersion").into(),
                time: m["time"].as_str().map(str::to_owned),
            };
            out.insert(id, entry);
        }
        Self(out)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes them into `metadata.managedFields`, in upstream's order.
    pub(super) fn encode(&self, object: &mut Value) {
        if self.0.is_empty() {
            meta::remove(object, "managedFields");
            return;
        }
        let all: Vec<(&Id, &Entry)> = self.0.iter().collect();
        let mut list: Vec<Value> = all
            .into_iter()
            .map(|(id, e)| {
                let mut m = Map::new();
                m.insert("manager".into(), id.manager.as_str().into());
                m.insert(
                    "operation".into(),
                    if id.applied { "Apply" } else { "Update" }.into(),
                );
                m.insert("apiVersion".into(), e.api_version.as_str().into());
                if let Some(t) = &e.time {
                    m.insert("time".into(), t.as_str().into());
                }
                m.insert("fieldsType".into(), "FieldsV1".into());
                m.insert("fieldsV1".into(), e.set.encode());
                if !id.subresource.is_empty() {
                    m.insert("subresource".into(), id.subresource.as_str().into());
                }
                Value::Object(m)
            })
            .collect();
        sort(&mut list);
        meta::set(object, "managedFields", Value::Array(list));
    }

    /// Takes fields from every manager but `except`; managers without fields go.
    pub(super) fn take(&mut self, fields: &Set, except: Option<&Id>) {
        for (id, e) in &mut self.0 {
            if Some(id) != except {
                e.set.remove_all(fields);
            }
        }
        self.0.retain(|_, e| !e.set.is_empty());
    }

    /// Whether both have the same managers with the same fields, at whatever time.
    pub(super) fn same_fields(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(&other.0)
                .all(|((a, x), (b, y))| a == b && x.api_version == y.api_version && x.set == y.set)
    }

    /// Everything anybody owns.
    pub(super) fn all(&self) -> Set {
        self.0.values().fold(Set::new(), |all, e| all.union(&e.set))
    }

    /// Keeps the list short: the oldest updaters become `ancient-changes`.
    pub(super) fn cap(&mut self, now: Timestamp) {
        let mut updaters: Vec<(Id, Option<String>)> = self
            .0
            .iter()
            .filter(|(id, _)| !id.applied)
            .map(|(id, e)| (id.clone(), e.time.clone()))
            .collect();
        if updaters.len() <= MAX_UPDATE_MANAGERS {
            return;
        }
        updaters.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        let excess = updaters.len() - MAX_UPDATE_MANAGERS + 1;
        for (id, _) in updaters
            .into_iter()
            .filter(|(id, _)| id.manager != ANCIENT)
            .take(excess)
        {
            let Some(old) = self.0.remove(&id) else { continue };
            let ancient = Id::new(ANCIENT, false, &id.api_version, "");
            let e = self.0.entry(ancient).or_insert_with(|| Entry {
                set: Set::new(),
                api_version: old.api_version.clone(),
                time: old.time.clone().or_else(|| Some(meta::time(now))),
            });
            e.set = e.set.union(&old.set);
            e.time = e.time.clone().max(old.time);
        }
    }
}

/// Records in wire form what a plain update changed: fewer copies than
/// reading every manager's set, as most writes touch few fields.
///
/// `changed` is what was added, modified or removed, `mine` what the writer
/// comes to own of it.
pub(super) fn record(entries: &mut Vec<Value>, changed: &Set, mine: &Set, id: &Id, now: Timestamp) {
    let is_mine = |m: &Value| {
        m["operation"] == "Update"
            && m["manager"] == id.manager.as_str()
            && m["apiVersion"] == id.api_version.as_str()
            && m["subresource"].as_str().unwrap_or("") == id.subresource
    };
    let mut found = false;
    for m in entries.iter_mut() {
        let own = is_mine(m);
        let Some(fields) = m.get_mut("fieldsV1").and_then(Value::as_object_mut) else {
            continue;
        };
        changed.remove_from(fields);
        if own && !mine.is_empty() {
            found = true;
            mine.add_to(fields);
            m["time"] = meta::time(now).into();
        }
    }
    entries.retain(|m| m["fieldsV1"].as_object().is_some_and(|f| !f.is_empty()));
    if !found && !mine.is_empty() {
        entries.push(updater(id, mine.encode(), now));
    }
    sort(entries);
}

/// The entry of a plain update in wire form.
pub(super) fn updater(id: &Id, fields: Value, now: Timestamp) -> Value {
    let mut m = json!({
        "manager": id.manager,
        "operation": "Update",
        "apiVersion": id.api_version,
        "time": meta::time(now),
        "fieldsType": "FieldsV1",
    });
    // Not by the macro: it would copy the tree.
    m["fieldsV1"] = fields;
    if !id.subresource.is_empty() {
        m["subresource"] = id.subresource.as_str().into();
    }
    m
}

/// Puts entries in upstream's order.
pub(super) fn sort(entries: &mut [Value]) {
    entries.sort_by(|a, b| order(a).cmp(&order(b)));
}

/// Upstream's order: appliers first, then by time, name, version, subresource.
fn order(m: &Value) -> [&str; 5] {
    ["operation", "time", "manager", "apiVersion", "subresource"].map(|f| m[f].as_str().unwrap_or(""))
}

/// Whether there are more updaters than are kept apart.
pub(super) fn too_many(entries: &[Value]) -> bool {
    entries.iter().filter(|m| m["operation"] == "Update").count() > MAX_UPDATE_MANAGERS
}

/// Whether an update asks to forget all managers: `managedFields: [{}]`.
pub(super) fn is_reset(object: &Value) -> bool {
    match object["metadata"]["managedFields"].as_array().map(Vec::as_slice) {
        Some([Value::Object(entry)]) => entry.is_empty(),
        _ => false,
    }
}
