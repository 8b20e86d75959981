//! When a Job fails and when it succeeds.

use std::collections::HashSet;

use serde_json::Value;

use super::super::support::{list, nonnegative, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const MAX_CONDITIONS: usize = 20;
/// Longest list of indexes, in bytes.
const MAX_INDEXES: usize = 64 * 1024;
const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];

/// A required choice, whose absence names what may be chosen.
fn choice(value: &str, choices: &[&str], path: &Path, errs: &mut ErrorList) {
    if value.is_empty() {
        let quoted: Vec<String> = choices.iter().map(|c| crate::field::quote(c)).collect();
        let why = format!("valid values: [{}]", quoted.join(" "));
        errs.push(Error::required(path, why));
    } else if !choices.contains(&value) {
        errs.push(Error::not_supported(path, value, choices));
    }
}

/// `spec.podFailurePolicy`.
pub(super) fn failure(spec: &Value, path: &Path, errs: &mut ErrorList) {
    let policy = &spec["podFailurePolicy"];
    if !policy.is_object() {
        return;
    }
    let rules = list(&policy["rules"]);
    let path = path.child("podFailurePolicy").child("rules");
    if rules.len() > MAX_RULES {
        errs.push(Error::too_many(&path, rules.len(), MAX_RULES));
    }
    let containers: Vec<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|lists| list(&spec["template"]["spec"][*lists]))
        .map(|container| text(container, "name"))
        .collect();
    for (i, rule) in rules.iter().enumerate() {
        let p = path.index(i);
        let action = text(rule, "action");
        choice(action, &ACTIONS, &p.child("action"), errs);
        if action == "FailIndex" && spec["backoffLimitPerIndex"].is_null() {
            errs.push(Error::invalid(
                &p.child("action"),
                action,
                "requires the backoffLimitPerIndex to be set",
            ));
        }
        let by_code = rule["onExitCodes"].is_object();
        let conditions = list(&rule["onPodConditions"]);
        if by_code {
            exit_codes(&rule["onExitCodes"], &containers, &p.child("onExitCodes"), errs);
        }
        pod_conditions(conditions, &p.child("onPodConditions"), errs);
        match (by_code, conditions.is_empty()) {
            (true, false) => errs.push(Error::invalid_bare(
                &p,
                "specifying both OnExitCodes and OnPodConditions is not supported",
            )),
            (false, true) => errs.push(Error::invalid_bare(
                &p,
                "specifying one of OnExitCodes and OnPodConditions is required",
            )),
            _ => {}
        }
    }
}

fn exit_codes(on: &Value, containers: &[&str], p: &Path, errs: &mut ErrorList) {
    let operator = text(on, "operator");
    choice(operator, &OPERATORS, &p.child("operator"), errs);
    if let Some(name) = on["containerName"].as_str()
        && !containers.contains(&name)
    {
        errs.push(Error::invalid(
            &p.child("containerName"),
            name,
            "must be one of the container or initContainer names in the pod template",
        ));
    }
    let (p, values) = (p.child("values"), list(&on["values"]));
    if values.is_empty() {
        errs.push(Error::invalid(
            &p,
            on["values"].clone(),
            "at least one value is required",
        ));
    } else if values.len() > MAX_EXIT_CODES {
        errs.push(Error::too_many(&p, values.len(), MAX_EXIT_CODES));
    }
    let codes: Vec<i64> = values.iter().filter_map(Value::as_i64).collect();
    let mut seen = HashSet::new();
    for (i, code) in codes.iter().enumerate() {
        if operator == "In" && *code == 0 {
            errs.push(Error::invalid(
                &p.index(i),
                *code,
                "must not be 0 for the In operator",
            ));
        }
        if !seen.insert(code) {
            errs.push(Error::duplicate(&p.index(i), *code));
        }
    }
    if !codes.is_sorted() {
        errs.push(Error::invalid(&p, on["values"].clone(), "must be ordered"));
    }
}

fn pod_conditions(conditions: &[Value], p: &Path, errs: &mut ErrorList) {
    if conditions.len() > MAX_CONDITIONS {
        errs.push(Error::too_many(p, conditions.len(), MAX_CONDITIONS));
    }
    for (i, condition) in conditions.iter().enumerate() {
        let kind = text(condition, "type");
        errs.invalid_each(&p.index(i).child("type"), kind, names::qualified_name(kind));
        choice(
            text(condition, "status"),
            &STATUSES,
            &p.index(i).child("status"),
            errs,
        );
    }
}

/// `spec.successPolicy`.
pub(super) fn success(spec: &Value, path: &Path, errs: &mut ErrorList) {
    let policy = &spec["successPolicy"];
    if !policy.is_object() {
        return;
    }
    let path = path.child("successPolicy");
    if text(spec, "completionMode") != "Indexed" {
        errs.push(Error::invalid(
            &path,
            policy.clone(),
            "requires indexed completion mode",
        ));
        return;
    }
    let completions = spec["completions"].as_i64().unwrap_or(0);
    let (path, rules) = (path.child("rules"), list(&policy["rules"]));
    if rules.is_empty() {
        errs.push(Error::required(
            &path,
            "at least one rules must be specified when the successPolicy is specified",
        ));
    }
    if rules.len() > MAX_RULES {
        errs.push(Error::too_many(&path, rules.len(), MAX_RULES));
    }
    for (i, rule) in rules.iter().enumerate() {
        let p = path.index(i);
        let (count, indexes) = (rule["succeededCount"].as_i64(), rule["succeededIndexes"].as_str());
        if count.is_none() && indexes.is_none() {
            errs.push(Error::required(
                &p,
                "at least one of succeededCount or succeededIndexes must be specified",
            ));
        }
        let mut total = 0;
        if let Some(indexes) = indexes {
            let p = p.child("succeededIndexes");
            if indexes.len() > MAX_INDEXES {
                errs.push(Error::too_long(&p, MAX_INDEXES));
            }
            match count_indexes(indexes, completions) {
                Ok(found) => total = found,
                Err(why) => errs.push(Error::invalid(
                    &p,
                    indexes,
                    format!("error parsing succeededIndexes: {why}"),
                )),
            }
        }
        let Some(count) = count else { continue };
        let p = p.child("succeededCount");
        nonnegative(&rule["succeededCount"], &p, errs);
        if count > completions {
            let why =
                format!("must be less than or equal to {completions} (the number of specified completions)");
            errs.push(Error::invalid(&p, count, why));
        }
        if indexes.is_some() && count > total {
            let why = format!(
                "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            );
            errs.push(Error::invalid(&p, count, why));
        }
    }
}

/// How many indexes `0,2-4` names.
fn count_indexes(text: &str, completions: i64) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let mut last: Option<i64> = None;
    let mut total = 0;
    for part in text.split(',') {
        let number = |text: &str| {
            let parsed: Result<i64, _> = text.parse();
            let why = |_| {
                format!(
                    "cannot convert string to integer for index: {}",
                    crate::field::quote(text)
                )
            };
            let index = parsed.map_err(why)?;
            if index >= completions {
                return Err(format!("too large index: {}", crate::field::quote(text)));
            }
            Ok(index)
        };
        let ends: Vec<&str> = part.split('-').collect();
        if ends.len() > 2 {
            return Err(format!(
                "the fragment {} violates the requirement that an index interval can have at most two parts separated by '-'",
                crate::field::quote(part)
            ));
        }
        let first = number(ends[0])?;
        if let Some(last) = last.filter(|last| first <= *last) {
            return Err(format!(
                "non-increasing order, previous: {last}, current: {first}"
            ));
        }
        let end = match ends.get(1) {
            Some(end) => number(end)?,
            None => first,
        };
        if ends.len() == 2 && first >= end {
            return Err(format!("non-increasing order, previous: {first}, current: {end}"));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}
