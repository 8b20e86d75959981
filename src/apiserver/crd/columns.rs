//! Tables of custom resources. Upstream: `apiextensions-apiserver/pkg/registry/customresource/tableconvertor`.

use jiff::Timestamp;
use rkind_apimachinery::{
    meta::{self, Gvk},
    table::{self, human_duration},
};
use serde_json::{Value, json};

use super::{Version, family::Column};

/// Column definitions: the name, then the definition's own.
pub(crate) fn definitions(gvk: &Gvk, version: &Version) -> Value {
    // Every kind's first column is its name.
    let name = table::columns(gvk).first().map(table::Column::to_value);
    let own = version.columns.iter().map(|column| {
        json!({
            "name": column.name, "type": column.kind, "format": column.format,
            "description": if column.description.is_empty() {
                format!("Custom resource definition column (in JSONPath format): {}", column.text)
            } else {
                column.description.clone()
            },
            "priority": column.priority,
        })
    });
    name.into_iter().chain(own).collect()
}

/// One row.
pub(crate) fn row(
    gvk: &Gvk,
    version: &Version,
    object: &Value,
    include: Option<&str>,
    now: Timestamp,
) -> Value {
    let mut cells = vec![Value::from(meta::name(object))];
    cells.extend(version.columns.iter().map(|column| cell(column, object, now)));
    let include = include.and_then(table::Include::parse).unwrap_or_default();
    table::row_with(gvk, cells, object, include)
}

fn cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    let Some(value) = column
        .path
        .as_ref()
        .and_then(|path| path.find(object).into_iter().next())
    else {
        return Value::Null;
    };
    match (column.kind.as_str(), value) {
        ("string", Value::String(text)) => text.as_str().into(),
        ("string", Value::Null) => Value::Null,
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(number)) => number
            .as_i64()
            .or_else(|| number.as_f64().map(|f| f as i64))
            .map_or(Value::Null, Value::from),
        ("number", Value::Number(number)) => Value::Number(number.clone()),
        ("boolean", Value::Bool(flag)) => Value::Bool(*flag),
        ("date", Value::String(text)) => match meta::parse_time(text) {
            Some(time) => human_duration(now.duration_since(time).as_secs()).into(),
            None => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}
