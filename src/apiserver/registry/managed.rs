//! Field ownership (`metadata.managedFields`) and server-side apply (KEP-555).

use jiff::Timestamp;
use rkind_apimachinery::{
    apply,
    field::quote,
    meta::{self, api_version},
};
use serde_json::Value;

use super::{convert, create::Write};
use crate::{error::Result, machinery};

/// The owners of a new object's fields while they are not part of it: as many fields as the object has, which
/// nearly nothing on its way looks at.
#[derive(Clone, Default)]
pub(crate) struct Owners(Option<String>);

impl Owners {
    /// Puts them into their object.
    pub(crate) fn join(&mut self, object: &mut Value) {
        if let Some(text) = self.0.take() {
            apply::place(&text, object);
        }
    }

    /// `metadata.managedFields` as compact JSON, unless the object has it itself.
    pub(crate) fn text(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// Records who creates `new`, in stored form; owners are those of the version that the request is in.
pub(crate) fn created(write: &Write, new: &mut Value) -> Owners {
    let def = &write.def;
    // What is converted on its way into the store is so with its owners.
    if write.untracked || def.custom().is_some() || convert::needed(def) {
        updated(write, None, new);
        return Owners::default();
    }
    let ignored = ignored(write);
    let version = api_version(def.group, def.version);
    Owners(apply::track_new(&request(write, &version, &ignored), new))
}

/// Records who asks a question, which is answered and stored nowhere; `type_name` is the question's type.
///
/// # Errors
/// None but that the type is not in the schema.
pub(crate) fn asked(write: &Write, version: &str, type_name: &str, question: &mut Value) -> Result<()> {
    let ignored = apply::Set::new();
    let request = apply::Request {
        def: Some(machinery::type_def(type_name)?),
        ..request(write, version, &ignored)
    };
    apply::track(&request, None, question);
    Ok(())
}

/// What writes of this resource put back.
fn ignored(write: &Write) -> apply::Set {
    let mut ignored = apply::ignored(write.rules().status, write.sub);
    // A request for a certificate is what it is from its beginning.
    if write.sub.is_empty() && write.def.resource == "certificatesigningrequests" {
        ignored.insert_path(&["spec"]);
    }
    ignored
}

fn request<'a>(write: &'a Write, api_version: &'a str, ignored: &'a apply::Set) -> apply::Request<'a> {
    let def = &write.def;
    apply::Request {
        def: def.custom().is_none().then(|| def.type_def()),
        api_version,
        manager: &write.options.field_manager,
        subresource: write.sub,
        now: Timestamp::now(),
        ignored,
    }
}

/// Records in `new` who changed what since `old` (`None`: created); both in stored form, owners are those
/// of the version that the request is in.
pub(crate) fn updated(write: &Write, old: Option<&Value>, new: &mut Value) {
    if write.untracked {
        return;
    }
    let def = &write.def;
    let ignored = ignored(write);
    let version = api_version(def.group, def.version);
    let request = request(write, &version, &ignored);
    if let Some(own) = def.custom() {
        apply::track_custom(&request, &own.version().schema, old, new);
    } else if convert::needed(def) {
        let old = old.map(|old| convert::to_served(def, old.clone()));
        let mut served = convert::to_served(def, new.clone());
        apply::track(&request, old.as_ref(), &mut served);
        match meta::remove(&mut served, "managedFields") {
            Some(owners) => meta::set(new, "managedFields", owners),
            None => {
                meta::remove(new, "managedFields");
            }
        }
    } else {
        apply::track(&request, old, new);
    }
}

/// What is wrong with an object's `managedFields`. Upstream: `managedfields.ValidateManagedFields`.
pub(crate) fn fault(object: &Value) -> Option<String> {
    let entries = object["metadata"]["managedFields"].as_array();
    for (index, entry) in entries.into_iter().flatten().enumerate() {
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        if !matches!(text("operation"), "Apply" | "Update") {
            return Some("operation must be `Apply` or `Update`".into());
        }
        if text("apiVersion").is_empty() {
            return Some("apiVersion must not be empty".into());
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Some(format!("missing fieldsType in managed fields entry {index}")),
            other => {
                let other = quote(other);
                return Some(format!(
                    "invalid fieldsType {other} in managed fields entry {index}"
                ));
            }
        }
    }
    None
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
            match before.get(field) {
                Some(value) => meta::set(new, field, value.clone()),
                None => drop(meta::remove(new, field)),
            }
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
    let ignored = ignored(write);
    let version = api_version(write.def.group, write.def.version);
    let request = request(write, &version, &ignored);
    let force = write.options.force;
    Ok(match write.def.custom() {
        None => apply::apply(&request, live, config, force)?,
        Some(own) => apply::apply_custom(&request, &own.version().schema, live, config, force)?,
    })
}
