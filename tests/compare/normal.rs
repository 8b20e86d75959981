//! What two servers may say differently about the same request, evened out; and what then differs.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

use crate::ask::Answer;

/// What a server makes up, in any text. Objects sent have times before 2025, and names that end in
/// `-made-` where the server completes them.
static MADE: LazyLock<Regex> = LazyLock::new(|| {
    let parts = [
        r"(?P<uid>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})",
        r"(?P<time>20(?:2[5-9]|[3-9]\d)-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?: [-+]\d{4} [A-Z]+|Z|[-+]\d\d:\d\d)(?: m=\S+)?)",
        r"(?P<ip>\b10\.96\.\d+\.\d+\b)",
        r"(?P<made>-made-[a-z0-9]{5}\b|\ba{58}[a-z0-9]{5}\b|\bBad_[a-z0-9]{5}\b)",
        r"(?P<version>in record \(\d+\)|in object meta: \d+\b)",
        r"(?P<jwt>eyJ[\w-]+\.[\w-]+\.[\w-]+)",
    ];
    Regex::new(&parts.join("|")).expect("a regular expression")
});

fn text(text: &str) -> String {
    let name = |found: &Captures<'_>| {
        let names = ["uid", "time", "ip", "made", "version", "jwt"];
        let name = names.into_iter().find(|name| found.name(name).is_some());
        format!("${}", name.unwrap_or_default())
    };
    MADE.replace_all(text, name).into_owned()
}

fn even_out(value: &mut Value) {
    match value {
        Value::String(said) => *said = text(said),
        Value::Array(items) => items.iter_mut().for_each(even_out),
        Value::Object(fields) => {
            for (key, value) in fields {
                // Writes within a second are sorted by their managers, others by their times.
                if key == "managedFields"
                    && let Value::Array(managers) = value
                {
                    managers.iter_mut().for_each(even_out);
                    managers.sort_by_cached_key(Value::to_string);
                    continue;
                }
                match (key.as_str(), &*value) {
                    ("resourceVersion", Value::String(version)) if !version.is_empty() => {
                        *value = "$version".into();
                    }
                    // A dry run upstream gives ports past the range.
                    ("nodePort" | "healthCheckNodePort", Value::Number(port))
                        if port.as_u64().is_some_and(|port| (30000..34000).contains(&port)) =>
                    {
                        *value = "$port".into();
                    }
                    _ => even_out(value),
                }
            }
        }
        _ => {}
    }
}

fn is_refusal(answer: &Answer) -> bool {
    answer.code >= 400 && answer.body["kind"] == "Status"
}

/// What differs, a line each: `- ` is what kube-apiserver says alone, `+ ` what we say alone.
pub(crate) fn differences(ours: &Answer, theirs: &Answer) -> Vec<String> {
    let mut lines = vec![];
    if theirs.code == 0 {
        return vec!["kube-apiserver closes the connection".to_owned()];
    }
    let said = |answer: &Answer| answer.warnings.iter().map(|warning| text(warning)).collect();
    apart("warning ", said(ours), said(theirs), &mut lines);
    let (mut our, mut their) = (ours.body.clone(), theirs.body.clone());
    even_out(&mut our);
    even_out(&mut their);
    if !is_refusal(ours) && !is_refusal(theirs) {
        trees("", &our, &their, &mut lines);
        codes(ours, theirs, &mut lines);
        return lines;
    }
    let (mut ours_said, mut theirs_said) = (said_by(ours, &our), said_by(theirs, &their));
    same_value(&mut ours_said, &mut theirs_said);
    apart("", ours_said, theirs_said, &mut lines);
    if lines.is_empty() {
        for field in ["reason", "status", "apiVersion"] {
            trees(field, &our[field], &their[field], &mut lines);
        }
        for field in ["name", "group", "kind", "uid", "retryAfterSeconds"] {
            trees(
                field,
                &our["details"][field],
                &their["details"][field],
                &mut lines,
            );
        }
        // Upstream makes the message of the causes.
        let derived = !our["details"]["causes"].is_null();
        let head = |status: &Value| match message(status) {
            said if derived => said.split(" is invalid").next().unwrap_or_default().to_owned(),
            said => said,
        };
        let (our, their) = (head(&our), head(&their));
        if pieces(&our) != pieces(&their) {
            lines.push(format!("- message: {their}"));
            lines.push(format!("+ message: {our}"));
        }
    }
    codes(ours, theirs, &mut lines);
    lines
}

/// The codes, where nothing else tells.
fn codes(ours: &Answer, theirs: &Answer, lines: &mut Vec<String>) {
    if lines.is_empty() && ours.code != theirs.code {
        lines.push(format!("code: {} instead of {}", ours.code, theirs.code));
    }
}

fn message(status: &Value) -> String {
    status["message"].as_str().unwrap_or_default().to_owned()
}

/// A message without the order of the faults it lists: upstream walks maps in random order.
fn pieces(message: &str) -> Vec<String> {
    let bare = message.replace(['[', ']'], "");
    let mut pieces: Vec<String> = bare.split([',', ' ', '\n']).map(str::to_owned).collect();
    pieces.sort_unstable();
    pieces
}

/// Refusals repeat values in upstream's internal form, whose fields have other names, and say what an
/// update changed as its internal types differ: of those only the rest of the text counts.
fn same_value(ours: &mut [String], theirs: &mut [String]) {
    static VALUE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(?s)value: (?:[\[{].*[\]}]|"\{.*\}")(:|$)|((?:may not change fields other than|is immutable after creation)[^\n]*\n).*"#)
            .expect("a regular expression")
    });
    let bare = |said: &str| VALUE.replace(said, "value: …$1$2").into_owned();
    for theirs in theirs {
        let is_internal = theirs.contains(r#"{"#) || theirs.contains('\n');
        let mut left = ours.iter_mut().filter(|ours| !ours.contains('…'));
        let Some(ours) = left.find(|ours| bare(ours) == bare(theirs)) else {
            continue;
        };
        if is_internal {
            *ours = bare(ours);
            *theirs = bare(theirs);
        }
    }
}

/// The causes of a refusal, or else its message.
fn said_by(answer: &Answer, body: &Value) -> Vec<String> {
    if !is_refusal(answer) {
        return vec![];
    }
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match body["details"]["causes"].as_array() {
        Some(causes) => causes
            .iter()
            .map(|cause| {
                let (field, reason, message) = (&cause["field"], &cause["reason"], &cause["message"]);
                format!("{} [{}] {}", word(field), word(reason), word(message))
            })
            .collect(),
        None => vec![format!("[{}] {}", word(&body["reason"]), message(body))],
    }
}

/// Lines that only one of the two has, whatever their order.
fn apart(what: &str, ours: Vec<String>, theirs: Vec<String>, lines: &mut Vec<String>) {
    let mut counts: BTreeMap<String, i32> = BTreeMap::new();
    for line in theirs {
        *counts.entry(line).or_default() -= 1;
    }
    for line in ours {
        *counts.entry(line).or_default() += 1;
    }
    for (line, count) in counts {
        let sign = if count < 0 { '-' } else { '+' };
        for _ in 0..count.abs() {
            lines.push(format!("{sign} {what}{line}"));
        }
    }
}

fn trees(at: &str, ours: &Value, theirs: &Value, lines: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let at = if at.is_empty() {
                    key.clone()
                } else {
                    format!("{at}.{key}")
                };
                match (a.get(key), b.get(key)) {
                    (Some(ours), Some(theirs)) => trees(&at, ours, theirs, lines),
                    (Some(ours), None) => lines.push(format!("+ {at}: {ours}")),
                    (None, Some(theirs)) => lines.push(format!("- {at}: {theirs}")),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (ours, theirs)) in a.iter().zip(b).enumerate() {
                trees(&format!("{at}[{index}]"), ours, theirs, lines);
            }
        }
        _ if ours == theirs => {}
        _ => {
            lines.push(format!("- {at}: {theirs}"));
            lines.push(format!("+ {at}: {ours}"));
        }
    }
}
