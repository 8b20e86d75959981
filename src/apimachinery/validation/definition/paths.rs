//! Paths to fields of a schema, as selectable fields and rules have them (upstream's `ValidFieldPath`).

use serde_json::Value;

/// Whether a path, such as `.a['b.c'].d`, leads from a schema to a field.
#[must_use]
pub fn is_field_path(path: &str, schema: &Value) -> bool {
    follow(path, schema, true).is_ok()
}

/// `.`, `[` and `]` stand alone; text in single quotes stays whole.
fn tokens(path: &str) -> Vec<&str> {
    let mut out = vec![];
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '.' | '[' | ']' => 1,
            '\'' => {
                let bytes = rest.as_bytes();
                let close = (1..bytes.len()).find(|&i| bytes[i] == b'\'' && bytes[i - 1] != b'\\');
                close.map_or(rest.len(), |i| i + 1)
            }
            _ => rest.find(['.', '[', ']']).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(end);
        out.push(token);
        rest = after;
    }
    out
}

/// The names on a path's way and the schema that it leads to; `brackets`: `['name']` is allowed.
///
/// # Errors
/// Why it leads nowhere.
pub(super) fn follow<'a>(
    path: &str,
    schema: &'a Value,
    brackets: bool,
) -> Result<(Vec<String>, &'a Value), String> {
    let end = || "unexpected end of JSON path".to_owned();
    let nowhere = || "does not refer to a valid field".to_owned();
    let (mut at, mut steps) = (schema, vec![]);
    let mut tokens = tokens(path).into_iter();
    while let Some(token) = tokens.next() {
        let name = match token {
            "." => tokens.next().ok_or_else(end)?.to_owned(),
            "[" if !brackets => return Err("array notation is not allowed".to_owned()),
            "[" => {
                let quoted = tokens.next().ok_or_else(end)?;
                let inner = quoted
                    .strip_prefix('\'')
                    .and_then(|text| text.strip_suffix('\''))
                    .ok_or_else(|| format!("expected single quoted string but got {quoted}"))?;
                inner.replace("\\'", "'").replace("\\\\", "\\")
            }
            other => return Err(format!("expected [ or . but got: {other}")),
        };
        let properties = at["properties"].as_object().filter(|all| !all.is_empty());
        at = match properties {
            Some(properties) => properties.get(&name).ok_or_else(nowhere)?,
            None if !at["additionalProperties"].is_null() => &at["additionalProperties"],
            None => return Err(nowhere()),
        };
        steps.push(name);
        if token == "[" {
            match tokens.next().ok_or_else(end)? {
                "]" => {}
                other => return Err(format!("expected ] but got {other}")),
            }
        }
    }
    Ok((steps, at))
}
