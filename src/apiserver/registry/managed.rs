//! Field ownership (`metadata.managedFields`) and server-side apply (KEP-555).

use jiff::Timestamp;
use rkind_apimachinery::{
    apply,
    meta::{self, Gvk, api_version},
    resources,
};
use serde_json::Value;

use super::convert;
use super::create::Write;
use crate::error::Result;

/// Records in `new` who changed what since `old` (`None`: created); both in stored form.
pub(crate) fn updated(write: &Write, old: Option<&Value>, new: &mut Value) {
    if write.untracked {
        return;
    }
    // Fields are those of the version that the client writes.
    if convert::needed(&write.def) {
        let served = |object: &Value| convert::to_served(&write.def, object.clone());
        let (old, mut tracked) = (old.map(served), served(new));
        let gvk = Gvk::new(write.def.group, write.def.version, write.def.kind);
        track(write, &gvk, old.as_ref(), &mut tracked);
        meta::remove(new, "managedFields");
        if let Some(entries) = meta::remove(&mut tracked, "managedFields") {
            meta::set(new, "managedFields", entries);
        }
        return;
    }
    track(write, &write.gvk(), old, new);
}

fn track(write: &Write, gvk: &Gvk, old: Option<&Value>, new: &mut Value) {
    let ignored = apply::ignored(write.rules().status, write.sub);
    let def = resources::by_kind(&gvk.group, &gvk.version, &gvk.kind).map(|d| d.type_def());
    let request = apply::Request {
        def,
        api_version: &gvk.api_version(),
        manager: &write.options.field_manager,
        subresource: write.sub,
        now: Timestamp::now(),
        ignored: &ignored,
    };
    match write.def.custom() {
        None => apply::track(&request, old, new),
        Some(own) => apply::track_custom(&request, &own.version().schema, old, new),
    }
}

/// Takes new times of `managedFields` back where nothing else is new, so that a write of what is there
/// already is none. Upstream: `managedfields.IgnoreManagedFieldsTimestampsTransformer`.
pub(crate) fn keep_times(old: &Value, new: &mut Value) {
    let (before, after) = (&old["metadata"], &new["metadata"]);
    let same = equal_but(before, after, &["managedFields", "resourceVersion"])
        && equal_but(old, new, &["metadata"])
        && same_managers(&before["managedFields"], &after["managedFields"]);
    if same {
        for field in ["managedFields", "resourceVersion"] {
            meta::set(new, field, before[field].clone());
        }
    }
}

/// Whether two objects are equal, these fields aside.
fn equal_but(old: &Value, new: &Value, fields: &[&str]) -> bool {
    fn others<'a>(object: &'a Value, fields: &'a [&str]) -> impl Iterator<Item = (&'a String, &'a Value)> {
        let all = object.as_object().into_iter().flatten();
        all.filter(|(name, _)| !fields.contains(&name.as_str()))
    }
    others(old, fields).eq(others(new, fields))
}

/// Whether managers own the same, at whatever times.
fn same_managers(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_array(), new.as_array()) else {
        return old == new;
    };
    let mut both = old.iter().zip(new);
    old.len() == new.len() && both.all(|(old, new)| equal_but(old, new, &["time"]))
}

/// The outcome of applying `config` to `live` (both in the served version; `None`: create).
///
/// # Errors
/// 409 naming the fields that others own, unless forced.
pub(crate) fn applied(write: &Write, live: Option<&Value>, config: &Value) -> Result<Value> {
    let ignored = apply::ignored(write.rules().status, write.sub);
    let request = apply::Request {
        def: write.def.custom().is_none().then(|| write.def.type_def()),
        api_version: &api_version(write.def.group, write.def.version),
        manager: &write.options.field_manager,
        subresource: write.sub,
        now: Timestamp::now(),
        ignored: &ignored,
    };
    let force = write.options.force;
    Ok(match write.def.custom() {
        None => apply::apply(&request, live, config, force)?,
        Some(own) => apply::apply_custom(&request, &own.version().schema, live, config, force)?,
    })
}
