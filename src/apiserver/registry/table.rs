//! `meta.k8s.io/v1` Table and PartialObjectMetadata.

use rkind_apimachinery::resources::ResourceDef;
use serde_json::{Value, json};

use super::{Context, render::served_gvk};
use crate::machinery;

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
    def: &ResourceDef,
    objects: impl Iterator<Item = Value>,
    meta: Value,
    include: Option<&str>,
) -> Value {
    let gvk = served_gvk(def);
    let now = jiff::Timestamp::now();
    let rows: Vec<Value> = objects
        .map(|object| machinery::table_row(&gvk, &object, include, now))
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
        "columnDefinitions": machinery::table_columns(&gvk), "rows": rows,
    })
}
