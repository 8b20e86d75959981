//! What is decided about certificate signing requests (upstream's `pkg/apis/certificates/validation`).

use std::collections::HashSet;

use serde_json::Value;

use super::support::{differences, list, same, text};
use crate::field::{Error, ErrorList, Path, quote};

const DECISIONS: [&str; 2] = ["Approved", "Denied"];

/// Through which subresource a request is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Approval,
    Status,
}

pub(super) fn update(by: By, new: &Value, old: &Value, errs: &mut ErrorList) {
    let path = Path::new("status").child("conditions");
    conditions(new, old, &path, errs);
    for kind in ["Approved", "Denied", "Failed"] {
        if of(new, kind).len() < of(old, kind).len() {
            let why = format!("updates may not remove a condition of type {}", quote(kind));
            errs.push(Error::forbidden(&path, why));
        }
    }
    for kind in DECISIONS.into_iter().filter(|_| by != By::Approval) {
        let (now, before) = (of(new, kind), of(old, kind));
        let kind = quote(kind);
        if now.len() > before.len() {
            let why = format!("updates may not add a condition of type {kind}");
            errs.push(Error::forbidden(&path, why));
        } else if now.len() == before.len() && now != before {
            let json = |all: &[&Value]| all.iter().copied().cloned().collect::<Value>();
            let difference = differences("conditions", &json(&before), &json(&now));
            let why = format!("updates may not modify a condition of type {kind}\n{difference}");
            errs.push(Error::forbidden(&path, why));
        }
    }
    let (now, before) = (&new["status"]["certificate"], &old["status"]["certificate"]);
    if same(now, before) {
        return;
    }
    let why = match by {
        By::Approval => "updates may not set certificate content",
        By::Status if same(before, &Value::Null) => return,
        By::Status => "updates may not modify existing certificate content",
    };
    errs.push(Error::forbidden(&Path::new("status").child("certificate"), why));
}

fn of<'a>(request: &'a Value, kind: &str) -> Vec<&'a Value> {
    let all = list(&request["status"]["conditions"]).iter();
    all.filter(|c| c["type"] == kind).collect()
}

/// Each condition by itself and beside the others; what was wrong before may stay wrong.
fn conditions(new: &Value, old: &Value, path: &Path, errs: &mut ErrorList) {
    let both = DECISIONS.iter().all(|kind| !of(old, kind).is_empty());
    let mut kinds = HashSet::new();
    let old_conditions = list(&old["status"]["conditions"]);
    let doubled = old_conditions.iter().any(|c| !kinds.insert(text(c, "type")));
    let untyped = old_conditions.iter().any(|c| text(c, "type").is_empty());
    let mut seen: Vec<&str> = Vec::new();
    for (index, condition) in list(&new["status"]["conditions"]).iter().enumerate() {
        let (kind, status) = (text(condition, "type"), text(condition, "status"));
        let path_of = |field: &str| path.index(index).child(field);
        if kind.is_empty() && !untyped {
            errs.push(Error::required(&path_of("type"), ""));
        }
        let allowed: &[&str] = match kind {
            "Approved" | "Denied" | "Failed" => &["True"],
            _ => &["False", "True", "Unknown"],
        };
        if status.is_empty() {
            errs.push(Error::required(&path_of("status"), ""));
        } else if !allowed.contains(&status) {
            errs.push(Error::not_supported(&path_of("status"), status, allowed));
        }
        let other = DECISIONS.into_iter().find(|other| *other != kind);
        if DECISIONS.contains(&kind) && !both && other.is_some_and(|other| seen.contains(&other)) {
            let why = "Approved and Denied conditions are mutually exclusive";
            errs.push(Error::invalid(path, kind, why));
        }
        if seen.contains(&kind) && !doubled {
            errs.push(Error::duplicate(&path_of("type"), kind));
        }
        seen.push(kind);
    }
}
