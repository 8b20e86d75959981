//! Server-side apply and the tracking of field managers (KEP-555).
//!
//! ```text
//! let r = Request { def, api_version: "apps/v1", manager, subresource: "", now, ignored: &Set::new() };
//! apply::track(&r, live /* None on create */, &mut new)            // create, update, patch
//! apply::apply(&r, live /* None: does not exist */, &config, force) -> Result<Value, Status>
//! apply::{track_custom, apply_custom}(&r, &structural, …)          // custom resources with a schema
//! apply::ignored(has_status, subresource) -> Set
//! ```
//! `apply` returns the merged object with its `managedFields`; the caller
//! defaults, admits, prepares and validates it as any other write. An apply
//! that changes nothing returns `live` as it is, times included.
//! `track` is called last, on the object as it will be stored.
//!
//! Laws: applying the same configuration twice changes nothing; fields of
//! others are neither changed nor removed unless forced; what a manager no
//! longer applies and nobody else owns is removed.

mod created;
mod managers;
mod set;
mod typed;

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::Value;

use crate::meta;
use crate::schema::TypeDef;
use crate::status::{Cause, Status};
use crate::structural::Structural;

use managers::{Entry, Id, Managers};
pub use set::{Element, Set};
use typed::Shape;

/// Who writes what, and when.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The object's type; without one, objects are merged by field and lists
    /// replaced.
    pub def: Option<&'a TypeDef>,
    /// The version the writer uses, `apps/v1`.
    pub api_version: &'a str,
    /// The `fieldManager` (for non-apply writes, by default the user agent up
    /// to the first slash).
    pub manager: &'a str,
    /// Empty for the main resource.
    pub subresource: &'a str,
    pub now: Timestamp,
    /// Fields this resource resets, which nobody comes to own through it.
    pub ignored: &'a Set,
}

/// Fields nobody owns.
static UNOWNED: LazyLock<Set> = LazyLock::new(|| {
    let mut s = Set::new();
    for f in ["apiVersion", "kind", "metadata"] {
        s.insert_path(&[f]);
    }
    for f in [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ] {
        s.insert_path(&["metadata", f]);
    }
    s
});

/// What a write to a resource can't change: `status` through the main
/// resource of a kind that has the subresource, all but `status` (and
/// metadata) through the subresource.
#[must_use]
pub fn ignored(has_status: bool, subresource: &str) -> Set {
    let mut s = Set::new();
    if subresource == "status" {
        s.insert_path(&["spec"]);
    } else if has_status {
        s.insert_path(&["status"]);
    }
    s
}

/// The default manager of a write without `fieldManager`: the user agent up
/// to the first slash, printable characters only, 128 bytes at most.
#[must_use]
pub fn manager_of(user_agent: &str) -> String {
    let name = user_agent.split('/').next().unwrap_or("");
    let mut out: String = name.chars().filter(|c| !c.is_control()).collect();
    while out.len() > 128 {
        out.pop();
    }
    if out.is_empty() { "unknown".into() } else { out }
}

impl Request<'_> {
    fn owned(&self, mut set: Set) -> Set {
        set.remove_all(&UNOWNED);
        set.remove_below(self.ignored);
        set
    }

    /// What a write changes, without what it can't change: that is put back, and stays its owner's.
    fn changes(&self, old: &Value, new: &Value, shape: Shape<'_>) -> typed::Comparison {
        let mut found = typed::compare(old, new, shape);
        for set in [&mut found.added, &mut found.modified, &mut found.removed] {
            set.remove_below(self.ignored);
        }
        found
    }

    /// An object of this type before anything is set.
    fn empty(&self) -> Value {
        self.def
            .map_or_else(|| serde_json::json!({"metadata": {}}), created::skeleton)
    }
}

/// The object without its managers.
fn bare(v: &Value) -> Value {
    let mut v = v.clone();
    meta::remove(&mut v, "managedFields");
    v
}

/// Records what a create (`live` is `None`) or update changed as its
/// writer's. `new` is the object as it will be stored.
pub fn track(r: &Request<'_>, live: Option<&Value>, new: &mut Value) {
    track_as(r, Shape::of(r.def), live, new);
}

/// `track` for a custom resource with a schema (`r.def` is not looked at).
pub fn track_custom(r: &Request<'_>, schema: &Structural, live: Option<&Value>, new: &mut Value) {
    track_as(r, Shape::CustomRoot(schema), live, new);
}

/// [`track`] for a create that leaves its owners out of the object: gives `metadata.managedFields` as compact
/// JSON, for [`place`] or for who writes the object down. `None` when they stand in `new` or nobody owns
/// anything.
#[must_use]
pub fn track_new(r: &Request<'_>, new: &mut Value) -> Option<String> {
    let shape = Shape::of(r.def);
    if sent(new).is_some() {
        track_as(r, shape, None, new);
        return None;
    }
    let reset = managers::is_reset(new);
    meta::remove(new, "managedFields");
    if reset {
        None
    } else {
        created::owners(r, new, shape)
    }
}

/// Puts entries of `metadata.managedFields` in upstream's order.
pub fn in_order(entries: &mut [Value]) {
    managers::sort(entries);
}

/// Puts owners that [`track_new`] gave into their object.
pub fn place(owners: &str, object: &mut Value) {
    if let Ok(owners) = serde_json::from_str::<Value>(owners) {
        meta::set(object, "managedFields", owners);
    }
}

/// The managers that an object carries; `None` when there are none or one of them no server has written.
fn sent(v: &Value) -> Option<Vec<Value>> {
    v["metadata"]["managedFields"]
        .as_array()
        .filter(|m| !m.is_empty() && m.iter().all(managers::is_readable))
        .cloned()
}

fn track_as(r: &Request<'_>, shape: Shape<'_>, live: Option<&Value>, new: &mut Value) {
    if managers::is_reset(new) {
        meta::remove(new, "managedFields");
        return;
    }
    let entries = match live {
        Some(live) if !r.subresource.is_empty() => sent(live),
        Some(live) => sent(new).or_else(|| sent(live)),
        None => sent(new),
    };
    let id = Id::new(r.manager, false, r.api_version, r.subresource);
    let (old, mut entries) = match (live, entries) {
        // An object nobody tracked since its creation stays untracked until
        // the first apply.
        (Some(_), None) => {
            meta::remove(new, "managedFields");
            return;
        }
        (None, None) => {
            meta::remove(new, "managedFields");
            if let Some(owners) = created::owners(r, new, shape) {
                place(&owners, new);
            }
            return;
        }
        (Some(live), Some(entries)) => (live, entries),
        (None, entries) => (&r.empty(), entries.unwrap_or_default()),
    };
    // managedFields differ too, but nobody owns them.
    let typed::Comparison {
        added,
        modified,
        removed,
    } = r.changes(old, new, shape);
    let touched = added.joined(modified);
    // Without managers there is nobody to lose a field.
    let mut changed = if entries.is_empty() {
        Set::new()
    } else {
        touched.clone().joined(removed)
    };
    // What the resource resets is nobody's to lose.
    changed.remove_below(r.ignored);
    let mine = r.owned(touched);
    managers::record(&mut entries, &changed, &mine, &id, r.now);
    let crowded = managers::too_many(&entries);
    if entries.is_empty() {
        meta::remove(new, "managedFields");
    } else {
        meta::set(new, "managedFields", entries);
    }
    if crowded {
        let mut all = Managers::decode(new);
        all.cap(r.now);
        all.encode(new);
    }
}

/// What makes a configuration no applicable object of its type: items of one key.
#[must_use]
pub fn faults(def: Option<&TypeDef>, config: &Value) -> Vec<String> {
    typed::duplicates(config, Shape::of(def))
}

/// `faults` for a custom resource with a schema.
#[must_use]
pub fn faults_custom(schema: &Structural, config: &Value) -> Vec<String> {
    typed::duplicates(config, Shape::CustomRoot(schema))
}

/// Applies a configuration.
///
/// # Errors
/// 400 when the configuration carries `managedFields`, 409 with one cause per
/// field when others own what it changes and `force` is not set.
pub fn apply(r: &Request<'_>, live: Option<&Value>, config: &Value, force: bool) -> Result<Value, Status> {
    apply_as(r, Shape::of(r.def), live, config, force)
}

/// `apply` for a custom resource with a schema (`r.def` is not looked at).
///
/// # Errors
/// As `apply`.
pub fn apply_custom(
    r: &Request<'_>,
    schema: &Structural,
    live: Option<&Value>,
    config: &Value,
    force: bool,
) -> Result<Value, Status> {
    apply_as(r, Shape::CustomRoot(schema), live, config, force)
}

fn apply_as(
    r: &Request<'_>,
    shape: Shape<'_>,
    live: Option<&Value>,
    config: &Value,
    force: bool,
) -> Result<Value, Status> {
    if config["metadata"]["managedFields"]
        .as_array()
        .is_some_and(|m| !m.is_empty())
    {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    match attempt(r, shape, live, config, force) {
        Ok(v) => Ok(v),
        Err(conflicts) => {
            // kubectl's own server-side apply takes over what its client-side
            // apply set.
            if r.manager == "kubectl"
                && let Some(live) = live
                && let Some(before) = last_applied(live)
            {
                let allowed = typed::field_set(&before, shape);
                if conflicts
                    .iter()
                    .all(|(_, set)| set.difference(&allowed).is_empty())
                    && let Ok(v) = attempt(r, shape, Some(live), config, true)
                {
                    return Ok(v);
                }
            }
            Err(conflict_status(&conflicts))
        }
    }
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn last_applied(live: &Value) -> Option<Value> {
    serde_json::from_str(meta::annotation(live, LAST_APPLIED)?).ok()
}

type Conflicts = Vec<(Id, Set)>;

fn attempt(
    r: &Request<'_>,
    shape: Shape<'_>,
    live: Option<&Value>,
    config: &Value,
    force: bool,
) -> Result<Value, Conflicts> {
    let mut all = live.map_or_else(Managers::default, Managers::decode);
    if let Some(live) = live
        && all.is_empty()
    {
        let c = typed::compare(&r.empty(), live, shape);
        let set = r.owned(c.added.joined(c.modified));
        let id = Id::new("before-first-apply", false, r.api_version, r.subresource);
        let time = Some(meta::time(r.now));
        all.0.insert(
            id,
            Entry {
                set,
                api_version: r.api_version.into(),
                time,
            },
        );
    }
    let former = all.clone();
    let old = live.map_or_else(|| Value::Object(serde_json::Map::new()), bare);

    let id = Id::new(r.manager, true, r.api_version, r.subresource);
    // Names and versions of the configuration count while pruning: they keep
    // the metadata that nobody owns. Nobody comes to own them.
    let named = typed::field_set(config, shape).recursive_difference(r.ignored);
    let set = r.owned(named.clone());
    let last = all.0.get(&id).map(|e| e.set.clone());
    let time = all.0.get(&id).and_then(|e| e.time.clone());
    let merged = typed::merge(&old, config, shape);
    all.0.insert(
        id.clone(),
        Entry {
            set,
            api_version: r.api_version.into(),
            time,
        },
    );
    // What is applied again needs no look at what nobody else owns.
    let dropped = last.as_ref().is_some_and(|l| !l.difference(&named).is_empty());
    let new = if dropped {
        prune(merged, last.as_ref(), &all.all().union(&named), shape)
    } else {
        merged
    };

    let c = r.changes(&old, &new, shape);
    let touched = c.modified.union(&c.added);
    let conflicts: Conflicts = all
        .0
        .iter()
        .filter(|(other, _)| **other != id)
        .map(|(other, e)| (other.clone(), e.set.intersection(&touched)))
        .filter(|(_, set)| !set.is_empty())
        .collect();
    if !force && !conflicts.is_empty() {
        return Err(conflicts);
    }
    all.take(&touched.union(&c.removed), Some(&id));
    all.0.retain(|_, e| !e.set.is_empty());

    if let Some(live) = live
        && new == old
        && all.same_fields(&former)
        && !live["metadata"]["managedFields"].is_null()
    {
        return Ok(live.clone());
    }
    // Who applies what is there already comes without a time.
    if (live.is_none() || new != old)
        && let Some(e) = all.0.get_mut(&id)
    {
        e.time = Some(meta::time(r.now));
    }
    let mut new = new;
    if r.manager == "kubectl" && meta::annotation(&new, LAST_APPLIED).is_some() {
        let annotations = meta::metadata_mut(&mut new)
            .entry("annotations")
            .or_insert(Value::Null);
        meta::as_map(annotations).insert(LAST_APPLIED.into(), format!("{config}\n").into());
    }
    all.encode(&mut new);
    Ok(new)
}

/// Removes what the manager applied last time and nobody owns now.
fn prune(merged: Value, last: Option<&Set>, owned: &Set, shape: Shape<'_>) -> Value {
    let Some(last) = last.filter(|s| !s.is_empty()) else {
        return merged;
    };
    let full = |s: &Set| typed::with_parents(s, shape);
    let set_of = |v: &Value| full(&typed::field_set(v, shape));
    let remove = |set: &Set| {
        typed::remove(&merged, set, shape).unwrap_or_else(|| Value::Object(serde_json::Map::new()))
    };
    let merged_set = set_of(&merged);
    let last = full(last);
    let pruned = remove(&last);
    // Others, and the new configuration, keep what is theirs.
    let kept = set_of(&pruned).union(&full(owned));
    let pruned = remove(&merged_set.difference(&kept));
    // Only what was applied last time goes, nothing that merely lost its owner.
    remove(&merged_set.difference(&set_of(&pruned)).intersection(&last))
}

fn conflict_status(conflicts: &Conflicts) -> Status {
    let mut causes = vec![];
    let mut lines = vec![];
    for (id, set) in conflicts {
        lines.push(format!("conflicts with {}:", id.printed()));
        for path in set.paths() {
            lines.push(format!("- {path}"));
            causes.push(Cause {
                reason: "FieldManagerConflict".into(),
                message: format!("conflict with {}", id.printed()),
                field: path,
            });
        }
    }
    let message = match causes.as_slice() {
        [one] => format!("Apply failed with 1 conflict: {}: {}", one.message, one.field),
        many => format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n")),
    };
    Status::apply_conflict(message, causes)
}

#[cfg(test)]
mod tests;
