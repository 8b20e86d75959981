//! `meta.k8s.io/v1` Table and PartialObjectMetadata.

use serde_json::{Value, json};

use super::{Context, render::served_gvk};
use crate::{catalog::Def, crd::columns, machinery};

/// The metadata of an object as `PartialObjectMetadata`.
pub(crate) fn partial_metadata(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// A Table with one row.
pub(crate) fn single(ctx: &Context, object: Value) -> Value {
    let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
    list(ctx, std::iter::once(object), meta)
}

/// A Table of objects.
pub(crate) fn list(ctx: &Context, objects: impl Iterator<Item = Value>, meta: Value) -> Value {
    of(&ctx.def, objects, meta, ctx.param("includeObject").as_deref())
}

/// A Table of objects; `include` is `None`, `Metadata` or `Object`, default `Metadata`.
pub(crate) fn of(
    def: &Def,
    objects: impl Iterator<Item = Value>,
    meta: Value,
    include: Option<&str>,
) -> Value {
    let gvk = served_gvk(def);
    let now = jiff::Timestamp::now();
    let rows: Vec<Value> = objects
        .map(|object| match def.custom() {
            None => machinery::table_row(&gvk, &object, include, now),
            Some(own) => columns::row(&gvk, own.version(), &object, include, now),
        })
        .collect();
    let definitions = match def.custom() {
        None => machinery::table_columns(&gvk),
        Some(own) => columns::definitions(&gvk, own.version()),
    };
    let mut table = json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
        "columnDefinitions": definitions,
    });
    table["rows"] = Value::Array(rows);
    table
}
