//! Jobs and CronJobs.

mod policies;

use serde_json::Value;

use super::pod;
use super::support::{immutable, label_selector, nonnegative, one_if_given, required_one_of, same, text};
use super::workloads::MISMATCH;
use crate::field::{Error, ErrorList, Path};
use crate::selector::LabelSelector;
use crate::{meta, names};

pub(super) fn create(kind: &str, o: &Value, errs: &mut ErrorList) {
    let path = Path::new("spec");
    match kind {
        "Job" => {
            generated_selector(o, errs);
            hostnames(o, errs);
            job(&o["spec"], &path, true, errs);
        }
        "CronJob" => cron_job(o, &path, errs),
        _ => {}
    }
}

pub(super) fn update(kind: &str, new: &Value, old: &Value, errs: &mut ErrorList) {
    create(kind, new, errs);
    if kind == "Job" {
        // Its strategy checks it as new and as changed.
        job(&new["spec"], &Path::new("spec"), true, errs);
        job_update(new, old, &Path::new("spec"), errs);
    }
}

/// Pods of an indexed Job are called by its name and their index.
fn hostnames(o: &Value, errs: &mut ErrorList) {
    let s = &o["spec"];
    let Some(last) = s["completions"].as_i64().filter(|n| *n > 0) else {
        return;
    };
    let host = format!("{}-{}", meta::name(o), last - 1);
    if s["completionMode"] == "Indexed" && !names::dns1123_label(&host).is_empty() {
        errs.push(Error::invalid(
            &Path::new("metadata").child("name"),
            meta::name(o),
            format!("will not able to create pod with invalid DNS label: {host}"),
        ));
    }
}

/// What an update of a Job's status makes of it.
pub(super) fn status(new: &Value, old: &Value, errs: &mut ErrorList) {
    let (s, o, path) = (&new["status"], &old["status"], Path::new("status"));
    let is = |kind: &str| {
        let mut conditions = s["conditions"].as_array().into_iter().flatten();
        conditions.any(|c| c["type"] == kind && c["status"] == "True")
    };
    let number = |s: &Value, f: &str| s[f].as_i64().unwrap_or(0);
    let conditions = path.child("conditions");
    for (is_wrong, why) in [
        (
            is("Complete") && is("Failed"),
            "cannot set Complete=True and Failed=true conditions",
        ),
        (
            is("Complete") && is("FailureTarget"),
            "cannot set Complete=True and FailureTarget=true conditions",
        ),
        (
            is("Failed") && !is("FailureTarget"),
            "cannot set Failed=True condition without the FailureTarget=true condition",
        ),
        (
            is("Complete") && !is("SuccessCriteriaMet"),
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        ),
        (
            is("SuccessCriteriaMet") && is("Failed"),
            "cannot set SuccessCriteriaMet=True and Failed=true conditions",
        ),
        (
            is("SuccessCriteriaMet") && is("FailureTarget"),
            "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
        ),
    ] {
        if is_wrong && s["conditions"] != o["conditions"] {
            errs.push(Error::invalid_bare(&conditions, why));
        }
    }
    let end = path.child("completionTime");
    if s["completionTime"] != o["completionTime"] && !s["completionTime"].is_null() && !is("Complete") {
        let why = "cannot set completionTime when there is no Complete=True condition";
        errs.push(Error::invalid(&end, s["completionTime"].clone(), why));
    }
    if s["completionTime"].is_null() && is("Complete") {
        errs.push(Error::required(
            &end,
            "completionTime is required for Complete jobs",
        ));
    }
    if number(s, "ready") > number(s, "active") && s["ready"] != o["ready"] {
        let why = "cannot set more ready pods than active";
        errs.push(Error::invalid(&path.child("ready"), number(s, "ready"), why));
    }
    for (f, what) in [("succeeded", "succeeded"), ("failed", "failed")] {
        if number(s, f) < number(o, f) {
            let why = format!("cannot decrease the {what} counter");
            errs.push(Error::invalid(&path.child(f), number(s, f), why));
        }
    }
}

/// Without `manualSelector` the server chooses the labels, by which no other Job's pods are chosen.
fn generated_selector(o: &Value, errs: &mut ErrorList) {
    let s = &o["spec"];
    if s["manualSelector"] == true || s["selector"].is_null() {
        return;
    }
    let path = Path::new("spec");
    let labels = path.child("template").child("metadata").child("labels");
    let mut expected = serde_json::Map::new();
    for (key, value) in [
        ("controller-uid", meta::uid(o)),
        ("job-name", meta::name(o)),
        ("batch.kubernetes.io/controller-uid", meta::uid(o)),
        ("batch.kubernetes.io/job-name", meta::name(o)),
    ] {
        expected.insert(key.into(), value.into());
        match s["template"]["metadata"]["labels"][key].as_str() {
            Some(found) if found == value => {}
            Some(found) => {
                let why = format!("must be '{value}'");
                errs.push(Error::invalid(&labels.key(key), found, why));
            }
            None => {
                let why = format!("must be '{value}'");
                errs.push(Error::required(&labels.key(key), why));
            }
        }
    }
    if LabelSelector::from_meta(&s["selector"]).is_ok_and(|l| !l.matches(Some(&expected))) {
        errs.push(Error::invalid(
            &path.child("selector"),
            s["selector"].clone(),
            "`selector` not auto-generated",
        ));
    }
}

fn job(s: &Value, path: &Path, with_selector: bool, errs: &mut ErrorList) {
    for f in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        nonnegative(&s[f], &path.child(f), errs);
    }
    if with_selector {
        if s["selector"].is_null() {
            errs.push(Error::required(&path.child("selector"), ""));
        } else {
            label_selector(&s["selector"], &path.child("selector"), errs);
        }
        if let Ok(l) = LabelSelector::from_meta(&s["selector"]) {
            let labels = &s["template"]["metadata"]["labels"];
            // No selector selects nothing.
            if s["selector"].is_null() || !l.matches(labels.as_object()) {
                let p = path.child("template").child("metadata").child("labels");
                errs.push(Error::invalid(&p, labels.clone(), MISMATCH));
            }
        }
    }
    completion(s, path, errs);
    policies::failure(s, path, errs);
    policies::success(s, path, errs);
    let p = path.child("template");
    pod::template(&s["template"], &p, errs);
    let policy = text(&s["template"]["spec"], "restartPolicy");
    let p = p.child("spec").child("restartPolicy");
    match policy {
        "OnFailure" | "Never" => {}
        "" | "Always" => errs.push(Error::required(&p, "valid values: \"OnFailure\", \"Never\"")),
        other => errs.push(Error::not_supported(&p, other, &["OnFailure", "Never"])),
    }
    if policy == "OnFailure" && !s["podFailurePolicy"].is_null() {
        errs.push(Error::invalid(
            &p,
            policy,
            "only \"Never\" is supported when podFailurePolicy is specified",
        ));
    }
    let replacements: &[&str] = match s["podFailurePolicy"].is_object() {
        true => &["Failed"],
        false => &["Failed", "TerminatingOrFailed"],
    };
    one_if_given(
        &s["podReplacementPolicy"],
        replacements,
        &path.child("podReplacementPolicy"),
        errs,
    );
}

/// Most pods side by side in an indexed Job, and most indexes that may fail.
const MAX_INDEXED: i64 = 100_000;

fn completion(s: &Value, path: &Path, errs: &mut ErrorList) {
    if !s["maxFailedIndexes"].is_null() && s["backoffLimitPerIndex"].is_null() {
        errs.push(Error::required(
            &path.child("backoffLimitPerIndex"),
            "when maxFailedIndexes is specified",
        ));
    }
    if let Some(manager) = s["managedBy"].as_str() {
        let p = path.child("managedBy");
        errs.extend(names::domain_prefixed_path(&p, manager));
        if manager.len() > 63 {
            errs.push(Error::too_long(&p, 63));
        }
    }
    let mode = s["completionMode"].as_str();
    match mode {
        None | Some("NonIndexed") => {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if let Some(n) = s[field].as_i64() {
                    errs.push(Error::invalid(
                        &path.child(field),
                        n,
                        "requires indexed completion mode",
                    ));
                }
            }
        }
        Some("Indexed") => indexed(s, path, errs),
        Some(other) => errs.push(Error::not_supported(
            &path.child("completionMode"),
            other,
            &["NonIndexed", "Indexed"],
        )),
    }
}

fn indexed(s: &Value, path: &Path, errs: &mut ErrorList) {
    let number = |field: &str| s[field].as_i64();
    let completions = number("completions");
    if completions.is_none() {
        errs.push(Error::required(
            &path.child("completions"),
            "when completion mode is Indexed",
        ));
    }
    if let Some(n) = number("parallelism").filter(|n| *n > MAX_INDEXED) {
        let why = format!("must be less than or equal to {MAX_INDEXED} when completion mode is Indexed");
        errs.push(Error::invalid(&path.child("parallelism"), n, why));
    }
    let Some(failed) = number("maxFailedIndexes") else {
        return;
    };
    let p = path.child("maxFailedIndexes");
    if completions.is_some_and(|completions| failed > completions) {
        errs.push(Error::invalid(
            &p,
            failed,
            "must be less than or equal to completions",
        ));
    }
    if failed > MAX_INDEXED {
        let why = format!("must be less than or equal to {MAX_INDEXED}");
        errs.push(Error::invalid(&p, failed, why));
    }
}

fn job_update(new: &Value, old: &Value, path: &Path, errs: &mut ErrorList) {
    let (n, o) = (&new["spec"], &old["spec"]);
    let p = path.child("completions");
    if text(n, "completionMode") != "Indexed" {
        immutable(&n["completions"], &o["completions"], &p, errs);
    } else if n["completions"] != o["completions"]
        && !n["completions"].is_null()
        && n["completions"] != n["parallelism"]
    {
        errs.push(Error::invalid(
            &p,
            n["completions"].clone(),
            "can only be modified in tandem with spec.parallelism",
        ));
    }
    for f in [
        "selector",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ] {
        immutable(&n[f], &o[f], &path.child(f), errs);
    }
    // A suspended Job that never started may be told anew where to run.
    let mut template = n["template"].clone();
    if o["suspend"] == true && old["status"]["startTime"].is_null() {
        for f in ["nodeSelector", "tolerations", "affinity", "schedulingGates"] {
            let was = o["template"]["spec"].get(f).cloned();
            if let Some(m) = template["spec"].as_object_mut() {
                match was {
                    Some(v) => m.insert(f.into(), v),
                    None => m.remove(f),
                };
            }
        }
        for f in ["labels", "annotations"] {
            let was = o["template"]["metadata"].get(f).cloned();
            if let Some(m) = template["metadata"].as_object_mut() {
                match was {
                    Some(v) => m.insert(f.into(), v),
                    None => m.remove(f),
                };
            }
        }
    }
    if !same(&template, &o["template"]) {
        errs.push(Error::invalid(
            &path.child("template"),
            n["template"].clone(),
            "field is immutable",
        ));
    }
}

fn cron_job(o: &Value, path: &Path, errs: &mut ErrorList) {
    let s = &o["spec"];
    let name = meta::name(o);
    // A Job's name is the CronJob's plus a dash and ten digits.
    if name.len() > 52 {
        let p = Path::new("metadata").child("name");
        errs.push(Error::invalid(&p, name, "must be no more than 52 characters"));
    }
    let schedule = text(s, "schedule");
    let p = path.child("schedule");
    if schedule.is_empty() {
        errs.push(Error::required(&p, ""));
    } else if schedule.contains("TZ") {
        errs.push(Error::invalid(
            &p,
            schedule,
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ));
    } else if let Some(why) = cron_error(schedule) {
        errs.push(Error::invalid(&p, schedule, why));
    }
    nonnegative(
        &s["startingDeadlineSeconds"],
        &path.child("startingDeadlineSeconds"),
        errs,
    );
    required_one_of(
        &s["concurrencyPolicy"],
        &["Allow", "Forbid", "Replace"],
        &path.child("concurrencyPolicy"),
        errs,
    );
    for f in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        nonnegative(&s[f], &path.child(f), errs);
    }
    if let Some(zone) = s["timeZone"].as_str() {
        time_zone(zone, &path.child("timeZone"), errs);
    }
    let p = path.child("jobTemplate").child("spec");
    let selector = &s["jobTemplate"]["spec"]["selector"];
    if selector.is_object() {
        let why = "`selector` will be auto-generated";
        errs.push(Error::invalid(&p.child("selector"), selector.clone(), why));
    }
    if s["jobTemplate"]["spec"]["manualSelector"] == true {
        errs.push(Error::not_supported(
            &p.child("manualSelector"),
            true,
            &["nil", "false"],
        ));
    }
    job(&s["jobTemplate"]["spec"], &p, false, errs);
}

fn time_zone(zone: &str, path: &Path, errs: &mut ErrorList) {
    if zone.is_empty() {
        let why = "timeZone must be nil or non-empty string";
        errs.push(Error::invalid(path, zone, why));
        return;
    }
    if zone.eq_ignore_ascii_case("local") {
        let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errs.push(Error::invalid(path, zone, why));
    }
    let is_name = |part: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-+".contains(&b);
        !matches!(part, "." | "..")
            && !part.starts_with('-')
            && (1..=14).contains(&part.len())
            && part.bytes().all(fits)
    };
    let zones = jiff::tz::db();
    // A machine without time zones knows none to be wrong.
    let is_unknown = !zones.is_definitively_empty() && zones.get(zone).is_err();
    if !zone.split('/').all(is_name) || (is_unknown && !zone.eq_ignore_ascii_case("utc")) {
        errs.push(Error::invalid(path, zone, format!("unknown time zone {zone}")));
    }
}

/// Why a text is no five-field cron schedule, as the cron parser says it.
fn cron_error(s: &str) -> Option<String> {
    if let Some(word) = s.strip_prefix('@') {
        let known = matches!(
            word,
            "yearly" | "annually" | "monthly" | "weekly" | "daily" | "midnight" | "hourly"
        ) || word.starts_with("every ");
        return (!known).then(|| format!("unrecognized descriptor: {s}"));
    }
    let fields: Vec<&str> = s.split_whitespace().collect();
    if fields.len() != 5 {
        return Some(format!(
            "expected exactly 5 fields, found {}: [{}]",
            fields.len(),
            fields.join(" ")
        ));
    }
    const RANGES: [(u32, u32, &[&str]); 5] = [
        (0, 59, &[]),
        (0, 23, &[]),
        (1, 31, &[]),
        (
            1,
            12,
            &[
                "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
            ],
        ),
        (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
    ];
    fields
        .iter()
        .zip(RANGES)
        .find_map(|(f, (lo, hi, words))| cron_field(f, lo, hi, words))
}

fn cron_field(field: &str, lo: u32, hi: u32, words: &[&str]) -> Option<String> {
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
        if let Some(step) = step
            && step.parse::<u32>().is_ok_and(|n| n == 0)
        {
            return Some(format!("step of range should be a positive number: {part}"));
        }
        if step.is_some_and(|s| s.parse::<u32>().is_err()) {
            return Some(format!("failed to parse int from {}", step.unwrap_or("")));
        }
        if matches!(range, "*" | "?") {
            continue;
        }
        let (a, b) = range.split_once('-').unwrap_or((range, range));
        let mut ends = [0; 2];
        for (slot, text) in ends.iter_mut().zip([a, b]) {
            let word = words.iter().position(|w| *w == text.to_lowercase());
            let base = u32::from(lo == 1);
            *slot = match (word, text.parse::<u32>()) {
                (Some(i), _) => i as u32 + base,
                (None, Ok(n)) => n,
                (None, Err(_)) => return Some(format!("failed to parse int from {text}")),
            };
        }
        let [start, end] = ends;
        if start < lo {
            return Some(format!(
                "beginning of range ({start}) below minimum ({lo}): {part}"
            ));
        }
        if end > hi {
            return Some(format!("end of range ({end}) above maximum ({hi}): {part}"));
        }
        if start > end {
            return Some(format!(
                "beginning of range ({start}) beyond end of range ({end}): {part}"
            ));
        }
    }
    None
}
