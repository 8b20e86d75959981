//! Server-side printing: the `meta.k8s.io/v1` Table that `kubectl get` asks
//! for, with upstream's columns and cells.
//!
//! ```text
//! table::columns(&gvk) -> &'static [Column]      // priority > 0 is shown by -o wide
//! table::row(&gvk, &object, now) -> Vec<Value>   // one cell per column
//! table::row_conditions(&gvk, &object) -> Option<Value>
//! table::document(&gvk, objects, list_meta, Include::Metadata, now) -> Value
//! table::human_duration(seconds) -> String
//! ```
//! Kinds without columns of their own have `Name` and `Created At`; custom
//! resources `Name` and `Age` (the caller adds `additionalPrinterColumns`).

mod columns;
mod core;
mod format;
mod rest;
mod storage;
mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::meta::{self, Gvk};

pub use format::human_duration;

/// One column's definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// OpenAPI type of the cells.
    pub ty: &'static str,
    /// OpenAPI format; `name` marks the object's name.
    pub format: &'static str,
    pub description: &'static str,
    /// 0 is always shown, 1 in wide output.
    pub priority: u8,
}

impl Column {
    /// The wire form: `metav1.TableColumnDefinition`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.ty,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }
}

/// Which part of each object a Table carries (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

impl Include {
    /// From the query parameter; empty is the default.
    #[must_use]
    pub fn parse(s: &str) -> Option<Self> {
        match s {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

/// The columns of a kind.
#[must_use]
pub fn columns(gvk: &Gvk) -> &'static [Column] {
    columns::of(&gvk.group, &gvk.kind)
}

/// What a printer needs: the object and the time ages are counted to.
#[derive(Clone, Copy)]
struct Row<'a> {
    o: &'a Value,
    now: Timestamp,
}

/// One object's cells, in the order of its kind's columns.
#[must_use]
pub fn row(gvk: &Gvk, object: &Value, now: Timestamp) -> Vec<Value> {
    let r = Row { o: object, now };
    let (group, kind) = gvk.group_kind();
    core::cells(group, kind, r)
        .or_else(|| workloads::cells(group, kind, r))
        .or_else(|| storage::cells(group, kind, r))
        .or_else(|| rest::cells(group, kind, r))
        .unwrap_or_else(|| {
            if meta::is_builtin_group(group) {
                vec![r.name(), meta::creation_timestamp(object).into()]
            } else {
                vec![r.name(), r.age()]
            }
        })
}

/// A row's conditions: a pod that has ended is `Completed`.
#[must_use]
pub fn row_conditions(gvk: &Gvk, object: &Value) -> Option<Value> {
    if gvk.group_kind() != ("", "Pod") {
        return None;
    }
    let (reason, message) = match object["status"]["phase"].as_str() {
        Some("Succeeded") => ("Succeeded", "The pod has completed successfully."),
        Some("Failed") => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

/// One row in wire form.
#[must_use]
pub fn row_value(gvk: &Gvk, object: &Value, include: Include, now: Timestamp) -> Value {
    row_with(gvk, row(gvk, object, now), object, include)
}

/// A row in wire form from cells computed elsewhere (custom columns).
#[must_use]
pub fn row_with(gvk: &Gvk, cells: Vec<Value>, object: &Value, include: Include) -> Value {
    let mut row = json!({"cells": cells});
    if let Some(c) = row_conditions(gvk, object) {
        row["conditions"] = c;
    }
    row["object"] = match include {
        Include::None => Value::Null,
        Include::Object => object.clone(),
        Include::Metadata => partial_metadata(object),
    };
    row
}

/// `PartialObjectMetadata` of an object.
#[must_use]
pub fn partial_metadata(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

/// A whole Table. `list_meta` is the list's (or the single object's)
/// `metadata`, of which resourceVersion, continue and remainingItemCount are
/// taken.
pub fn document<'a>(
    gvk: &Gvk,
    objects: impl IntoIterator<Item = &'a Value>,
    list_meta: &Value,
    include: Include,
    now: Timestamp,
) -> Value {
    let rows = objects
        .into_iter()
        .map(|o| row_value(gvk, o, include, now))
        .collect();
    let columns = columns(gvk).iter().map(Column::to_value).collect();
    assemble(columns, rows, list_meta)
}

/// A Table of columns and rows in wire form.
#[must_use]
pub fn assemble(columns: Vec<Value>, rows: Vec<Value>, list_meta: &Value) -> Value {
    let mut metadata = serde_json::Map::new();
    for field in ["resourceVersion", "continue", "remainingItemCount"] {
        if let Some(v) = list_meta.get(field).filter(|v| !v.is_null() && **v != "") {
            metadata.insert(field.into(), v.clone());
        }
    }
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

#[cfg(test)]
mod tests;
