//! The three patches: JSON patch (RFC 6902), merge patch (RFC 7386) and
//! Kubernetes' strategic merge patch, driven by the schema's patch keys.
//!
//! ```text
//! patch::json(&object, patch_bytes)            -> Result<Value, Status>
//! patch::merge(&object, patch_bytes)           -> Result<Value, Status>
//! patch::strategic(&object, patch_bytes, &def) -> Result<Value, Status>
//! ```
//! A Status is the answer upstream gives: 400 for a patch that can't be read,
//! 413 for one too large, 422 for one that does not fit. An object without a
//! built-in type has no strategic merge patch: the API server answers 415.

mod strategic;

use json_patch::PatchOperation;
use serde_json::Value;

use crate::json::{MAX_NESTING, is_within};
use crate::schema::TypeDef;
use crate::status::Status;

/// More operations than this in one JSON patch are refused.
const MAX_OPERATIONS: usize = 10_000;
/// Bytes of JSON that all `copy` operations of a patch may add: a few of them can double an object again
/// and again. Upstream: `JSONPatchMaxCopyBytes`.
const MAX_COPIED: usize = 3 << 20;

/// Applies an RFC 6902 patch.
///
/// # Errors
/// 400 when it is no JSON patch, 413 when it has too many operations, 422
/// when an operation fails (also a `test`) or makes
/// too much or too deep a tree.
pub fn json(original: &Value, patch: &[u8]) -> Result<Value, Status> {
    let ops: json_patch::Patch =
        serde_json::from_slice(patch).map_err(|e| Status::bad_request(e.to_string()))?;
    if ops.0.len() > MAX_OPERATIONS {
        return Err(Status::request_entity_too_large(&format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            ops.0.len()
        )));
    }
    let mut doc = original.clone();
    let mut copied = 0;
    for (at, operation) in ops.0.iter().enumerate() {
        if let PatchOperation::Copy(copy) = operation
            && let Some(value) = doc.pointer(copy.from.as_str())
        {
            copied += json_len(value);
            if copied > MAX_COPIED {
                return Err(Status::unprocessable(&format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}"
                )));
            }
        }
        if !stays_flat(&doc, operation) {
            return Err(Status::unprocessable(&format!(
                "operation '/{at}' makes values nest deeper than {MAX_NESTING} levels"
            )));
        }
        json_patch::patch_unsafe(&mut doc, std::slice::from_ref(operation)).map_err(|mut e| {
            e.operation = at;
            Status::unprocessable(&e.to_string())
        })?;
    }
    Ok(doc)
}

/// Whether the document nests no deeper than can be stored after an operation: copies into themselves double
/// the depth, and a tree too deep is the end of whoever walks it.
fn stays_flat(doc: &Value, operation: &PatchOperation) -> bool {
    let value = match operation {
        PatchOperation::Add(add) => Some(&add.value),
        PatchOperation::Replace(replace) => Some(&replace.value),
        PatchOperation::Move(from) => doc.pointer(from.from.as_str()),
        PatchOperation::Copy(from) => doc.pointer(from.from.as_str()),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => None,
    };
    let above = operation.path().tokens().count();
    value.is_none_or(|value| above <= MAX_NESTING && is_within(value, MAX_NESTING - above))
}

/// Bytes of a value as JSON.
fn json_len(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Neither counting nor a tree of JSON fails.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// Applies an RFC 7386 patch.
///
/// # Errors
/// 400 when it is no JSON object.
pub fn merge(original: &Value, patch: &[u8]) -> Result<Value, Status> {
    let patch: Value = serde_json::from_slice(patch).map_err(|e| Status::bad_request(e.to_string()))?;
    if !patch.is_object() {
        return Err(Status::bad_request("Invalid JSON Patch"));
    }
    Ok(merge_value(original, patch))
}

/// `merge` for a patch already decoded.
#[must_use]
pub fn merge_value(original: &Value, patch: Value) -> Value {
    let mut doc = original.clone();
    json_patch::merge(&mut doc, &patch);
    doc
}

/// Applies a strategic merge patch to an object of the given type.
///
/// # Errors
/// 400 for a malformed patch or directive, 422 for a list that can't be merged.
pub fn strategic(original: &Value, patch: &[u8], def: &TypeDef) -> Result<Value, Status> {
    let patch: Value = serde_json::from_slice(patch).map_err(|e| Status::bad_request(e.to_string()))?;
    strategic_value(original, patch, def)
}

/// `strategic` for a patch already decoded.
///
/// # Errors
/// As `strategic`.
pub fn strategic_value(original: &Value, patch: Value, def: &TypeDef) -> Result<Value, Status> {
    let Value::Object(patch) = patch else {
        return Err(Status::bad_request("invalid JSON document"));
    };
    strategic::apply(original.clone(), patch, def).map_err(|e| match e {
        strategic::Error::Bad(m) => Status::bad_request(m),
        strategic::Error::Unfit(m) => Status::unprocessable(&m),
    })
}

#[cfg(test)]
mod tests;
