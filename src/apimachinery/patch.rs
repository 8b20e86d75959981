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

use crate::codec;
use crate::json::{MAX_NESTING, is_within};
use crate::schema::TypeDef;
use crate::status::Status;

/// More operations than this in one JSON patch are refused.
const MAX_OPERATIONS: usize = 10_000;
/// Bytes of JSON that all `copy` operations of a patch may add: a few of them can double an object again
/// and again. Upstream: `JSONPatchMaxCopyBytes`.
const MAX_COPIED: usize = 3 << 20;

/// Applies an RFC 6902 patch, with what upstream's library allows beyond it: `replace` of a member that
/// is not there adds it, `copy` of one adds null, and a missing `value` is null.
///
/// # Errors
/// 400 when it is no list of operations, 413 when there are too many, 422 when one fails (also a `test`) or
/// makes too much or too deep a tree.
pub fn json(original: &Value, patch: &[u8]) -> Result<Value, Status> {
    let bad = |why: String| Status::bad_request(format!("error decoding patch: {why}"));
    let misfit = |value: &Value, wanted: &str| {
        let found = codec::json_type(value);
        bad(format!(
            "json: cannot unmarshal {found} into Go value of type {wanted}"
        ))
    };
    let operations = match codec::decode_any(patch).map_err(|e| bad(e.to_string()))? {
        Value::Null => Vec::new(),
        Value::Array(operations) => operations,
        other => return Err(misfit(&other, "[]handlers.jsonPatchOp")),
    };
    if let Some(other) = operations.iter().find(|operation| !operation.is_object()) {
        return Err(misfit(other, "handlers.jsonPatchOp"));
    }
    if operations.len() > MAX_OPERATIONS {
        return Err(Status::request_entity_too_large(&format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut document = original.clone();
    let mut copied = 0;
    for (at, operation) in operations.into_iter().enumerate() {
        let operation = lenient(&document, operation);
        let operation: PatchOperation =
            serde_json::from_value(operation).map_err(|e| Status::unprocessable(&e.to_string()))?;
        if let PatchOperation::Copy(copy) = &operation
            && let Some(value) = document.pointer(copy.from.as_str())
        {
            copied += json_len(value);
            if copied > MAX_COPIED {
                return Err(Status::unprocessable(&format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}"
                )));
            }
        }
        if !stays_flat(&document, &operation) {
            return Err(Status::unprocessable(&format!(
                "operation '/{at}' makes values nest deeper than {MAX_NESTING} levels"
            )));
        }
        json_patch::patch_unsafe(&mut document, std::slice::from_ref(&operation)).map_err(|mut e| {
            e.operation = at;
            Status::unprocessable(&e.to_string())
        })?;
    }
    Ok(document)
}

/// An operation as RFC 6902 would have it written for what upstream does with it.
fn lenient(document: &Value, mut operation: Value) -> Value {
    let there = |pointer: &Value| document.pointer(pointer.as_str().unwrap_or_default()).is_some();
    let add = match operation["op"].as_str() {
        Some("replace") => {
            // The place must exist, if not what is in it.
            let path = operation["path"].as_str().unwrap_or_default();
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            !there(&operation["path"]) && document.pointer(parent).is_some_and(Value::is_object)
        }
        Some("copy") => !there(&operation["from"]),
        _ => false,
    };
    if add {
        operation["op"] = "add".into();
    }
    if matches!(operation["op"].as_str(), Some("add" | "replace" | "test"))
        && let Some(operation) = operation.as_object_mut()
    {
        operation.entry("value").or_insert(Value::Null);
    }
    operation
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
    let bad = |why: String| Status::bad_request(format!("error decoding patch: {why}"));
    match codec::decode_any(patch).map_err(|e| bad(e.to_string()))? {
        Value::Null => Err(Status::bad_request("Invalid JSON Patch")),
        patch if patch.is_object() => Ok(merge_value(original, patch)),
        other => Err(bad(no_map(&other))),
    }
}

fn no_map(value: &Value) -> String {
    format!(
        "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
        codec::json_type(value)
    )
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
/// 400 for a malformed patch or directive, also where upstream answers 500 to the client's fault; 422 for
/// lists that can't be merged.
pub fn strategic(original: &Value, patch: &[u8], def: &TypeDef) -> Result<Value, Status> {
    let bad = |why: String| Status::bad_request(why);
    match codec::decode_any(patch).map_err(|e| bad(e.to_string()))? {
        Value::Null => Ok(original.clone()),
        patch if patch.is_object() => strategic_value(original, patch, def),
        other => Err(bad(no_map(&other))),
    }
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
