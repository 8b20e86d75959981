//! `columns.txt` -> the column definitions of every kind. The form is described at the head of that file.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::Column;
use crate::meta::is_builtin_group;

const TABLE: &str = include_str!("columns.txt");

/// By group and kind.
static COLUMNS: LazyLock<HashMap<(&str, &str), &[Column]>> = LazyLock::new(|| parse(TABLE));

/// Built-in kinds without columns of their own.
const DEFAULT: (&str, &str) = ("*", "*");
/// Custom resources whose definition names no columns.
const CUSTOM: (&str, &str) = ("+", "+");

pub(super) fn of(group: &str, kind: &str) -> &'static [Column] {
    let fallback = if is_builtin_group(group) { DEFAULT } else { CUSTOM };
    let own = COLUMNS.get(&(group, kind)).or_else(|| COLUMNS.get(&fallback));
    own.copied().unwrap_or_default()
}

/// A line that is not understood is left out; a test reads each.
fn parse(table: &'static str) -> HashMap<(&'static str, &'static str), &'static [Column]> {
    let mut texts = HashMap::new();
    let mut kinds: Vec<(&str, &str)> = Vec::new();
    let mut columns: Vec<Column> = Vec::new();
    let mut all = HashMap::new();
    let mut close = |kinds: &mut Vec<(&'static str, &'static str)>, columns: &mut Vec<Column>| {
        if columns.is_empty() {
            return;
        }
        let columns: &'static [Column] = std::mem::take(columns).leak();
        all.extend(kinds.drain(..).map(|kind| (kind, columns)));
    };
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        if line.is_empty() {
            close(&mut kinds, &mut columns);
        } else if let Some((name, text)) = line.strip_prefix("text ").and_then(|rest| rest.split_once(' ')) {
            texts.insert(name, unescaped(text));
        } else if let Some((group, kind)) = line.strip_prefix("kind ").and_then(|rest| rest.split_once(' ')) {
            kinds.push((if group == "-" { "" } else { group }, kind));
        } else {
            columns.extend(column(line, &texts));
        }
    }
    close(&mut kinds, &mut columns);
    all
}

fn column(line: &'static str, texts: &HashMap<&str, &'static str>) -> Option<Column> {
    let mut parts = line.splitn(5, '|');
    let mut next = || parts.next();
    let (name, ty, format, priority, description) = (next()?, next()?, next()?, next()?, next()?);
    Some(Column {
        name,
        ty: match ty {
            "s" => "string",
            "i" => "integer",
            "b" => "boolean",
            "d" => "date",
            _ => return None,
        },
        format,
        description: match description.strip_prefix('@') {
            Some(name) => texts.get(name)?,
            None => unescaped(description),
        },
        priority: priority.parse().ok()?,
    })
}

fn unescaped(text: &'static str) -> &'static str {
    if text.contains("\\n") {
        text.replace("\\n", "\n").leak()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let lines = |prefix: &str| TABLE.lines().filter(|l| l.starts_with(prefix)).count();
        assert_eq!(COLUMNS.len(), lines("kind "), "each kind once");
        let texts = HashMap::from([("name", ""), ("created", "")]);
        for line in TABLE.lines().filter(|l| l.contains('|') && !l.starts_with('#')) {
            assert!(column(line, &texts).is_some(), "{line}");
        }
        assert_eq!(lines("text "), texts.len());
    }
}
