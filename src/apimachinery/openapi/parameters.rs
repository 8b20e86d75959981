//! Query and path parameters of operations.

use serde_json::{Value, json};

use super::Dialect;

/// Parameters of reading a collection.
pub(super) const LIST: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];

pub(super) const CREATE: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
];

pub(super) const UPDATE: &[(&str, &str)] = CREATE;

pub(super) const PATCH: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
    ("force", "boolean"),
];

pub(super) const DELETE: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

pub(super) const DELETE_COLLECTION: &[(&str, &str)] = &[
    ("continue", "string"),
    ("dryRun", "string"),
    ("fieldSelector", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
];

pub(super) const NONE: &[(&str, &str)] = &[];

pub(super) fn query(name: &str, kind: &str, dialect: Dialect) -> Value {
    match dialect {
        Dialect::V2 => json!({ "in": "query", "name": name, "type": kind, "uniqueItems": true }),
        Dialect::V3 => {
            json!({ "in": "query", "name": name, "schema": { "type": kind, "uniqueItems": true } })
        }
    }
}

pub(super) fn path(name: &str, dialect: Dialect) -> Value {
    match dialect {
        Dialect::V2 => {
            json!({ "in": "path", "name": name, "required": true, "type": "string", "uniqueItems": true })
        }
        Dialect::V3 => {
            let schema = json!({ "type": "string", "uniqueItems": true });
            json!({ "in": "path", "name": name, "required": true, "schema": schema })
        }
    }
}
