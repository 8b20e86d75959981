//! Ages, label lists and other small texts of cells.

use serde_json::{Map, Value};

use super::Row;
use crate::meta;
use crate::selector::LabelSelector;

/// Upstream's `duration.HumanDuration`: two units at most, coarser with age.
#[must_use]
pub fn human_duration(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".into();
    }
    if seconds < 0 {
        return "0s".into();
    }
    if seconds < 120 {
        return format!("{seconds}s");
    }
    let minutes = seconds / 60;
    if minutes < 10 {
        return two(minutes, "m", seconds % 60, "s");
    }
    if minutes < 180 {
        return format!("{minutes}m");
    }
    let hours = minutes / 60;
    if hours < 8 {
        return two(hours, "h", minutes % 60, "m");
    }
    if hours < 48 {
        return format!("{hours}h");
    }
    let days = hours / 24;
    if hours < 24 * 8 {
        return two(days, "d", hours % 24, "h");
    }
    if hours < 24 * 365 * 2 {
        return format!("{days}d");
    }
    if hours < 24 * 365 * 8 {
        return two(days / 365, "y", days % 365, "d");
    }
    format!("{}y", days / 365)
}

fn two(a: i64, a_unit: &str, b: i64, b_unit: &str) -> String {
    if b == 0 {
        format!("{a}{a_unit}")
    } else {
        format!("{a}{a_unit}{b}{b_unit}")
    }
}

impl<'a> Row<'a> {
    pub(super) fn name(self) -> Value {
        meta::name(self.o).into()
    }

    /// Time since the creation.
    pub(super) fn age(self) -> Value {
        self.since(&self.o["metadata"]["creationTimestamp"]).into()
    }

    /// Time since a timestamp, `<unknown>` when absent.
    pub(super) fn since(self, time: &Value) -> String {
        match time.as_str().and_then(meta::parse_time) {
            Some(t) => human_duration(self.now.duration_since(t).as_secs()),
            None => "<unknown>".into(),
        }
    }

    pub(super) fn text(self, path: &[&str]) -> &'a str {
        let mut v = self.o;
        for p in path {
            v = &v[*p];
        }
        v.as_str().unwrap_or("")
    }

    pub(super) fn int(self, path: &[&str]) -> i64 {
        let mut v = self.o;
        for p in path {
            v = &v[*p];
        }
        v.as_i64().unwrap_or(0)
    }
}

pub(super) fn or<'a>(s: &'a str, default: &'a str) -> &'a str {
    if s.is_empty() { default } else { s }
}

pub(super) fn list(v: &Value) -> &[Value] {
    v.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn len(v: &Value) -> i64 {
    match v {
        Value::Array(a) => a.len() as i64,
        Value::Object(o) => o.len() as i64,
        _ => 0,
    }
}

/// `a=b,c=d`, `<none>` when empty.
pub(super) fn labels(m: Option<&Map<String, Value>>) -> String {
    match m {
        Some(m) if !m.is_empty() => m
            .iter()
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or("")))
            .collect::<Vec<_>>()
            .join(","),
        _ => "<none>".into(),
    }
}

/// A `metav1.LabelSelector`, `<none>` when absent or empty.
pub(super) fn selector(v: &Value) -> String {
    if v.is_null() {
        return "<none>".into();
    }
    match LabelSelector::from_meta(v) {
        Ok(s) if s.is_everything() => "<none>".into(),
        Ok(s) => s.to_string(),
        Err(_) => "<error>".into(),
    }
}

/// Names and images of containers.
pub(super) fn containers(spec: &Value) -> [Value; 2] {
    let join = |field: &str| {
        let all: Vec<&str> = list(&spec["containers"])
            .iter()
            .map(|c| c[field].as_str().unwrap_or(""))
            .collect();
        Value::from(all.join(","))
    };
    [join("name"), join("image")]
}

pub(super) fn join<'a>(items: impl IntoIterator<Item = &'a Value>, separator: &str) -> String {
    items
        .into_iter()
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join(separator)
}

/// Whether a condition of this type is `True`.
pub(super) fn condition(o: &Value, name: &str) -> bool {
    list(&o["status"]["conditions"])
        .iter()
        .any(|c| c["type"] == name && c["status"] == "True")
}

/// A number or text as it prints.
pub(super) fn plain(v: &Value, absent: &str) -> String {
    match v {
        Value::Null => absent.into(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

/// The first `max` of a list, and how many more there are.
pub(super) fn clipped(items: &[String], max: usize, empty: &str) -> String {
    if items.is_empty() {
        return empty.into();
    }
    let shown = items[..items.len().min(max)].join(",");
    if items.len() > max {
        format!("{shown} + {} more...", items.len() - max)
    } else {
        shown
    }
}
