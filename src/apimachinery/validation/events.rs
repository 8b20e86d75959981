//! Events, of both of the groups that serve them.

use serde_json::Value;

use super::support::{immutable, required, same, text};
use crate::field::{Error, ErrorList, Path};
use crate::{meta, names};

/// Longest texts, in bytes.
const MAX_WORD: usize = 128;
const MAX_MESSAGE: usize = 1024;

/// What every event must be; `controller` is what its reporter is called in the request's version.
pub(super) fn event(o: &Value, controller: &str, errs: &mut ErrorList) {
    let about = Path::new("involvedObject").child("namespace");
    let (of, namespace) = (text(&o["involvedObject"], "namespace"), meta::namespace(o));
    let mismatch =
        |errs: &mut ErrorList| errs.push(Error::invalid(&about, of, "does not match event.namespace"));
    if o["eventTime"].is_null() {
        // A cluster's own objects have their events in `default`.
        let fits = of == namespace || (of.is_empty() && namespace == "default");
        if !fits {
            mismatch(errs);
        }
    } else {
        if of.is_empty() && !matches!(namespace, "default" | "kube-system") {
            mismatch(errs);
        }
        let (at, by) = (Path::new(controller), text(o, "reportingComponent"));
        required(&o["reportingComponent"], &at, errs);
        errs.invalid_each(&at, by, names::qualified_name(by));
        for (field, max) in [
            ("reportingInstance", MAX_WORD),
            ("action", MAX_WORD),
            ("reason", MAX_WORD),
            ("message", MAX_MESSAGE),
        ] {
            let at = Path::new(field);
            if field != "message" {
                required(&o[field], &at, errs);
            }
            if text(o, field).len() > max {
                errs.push(Error::invalid(
                    &at,
                    "",
                    format!("can have at most {max} characters"),
                ));
            }
        }
    }
    errs.invalid_each(
        &Path::new("namespace"),
        namespace,
        names::dns1123_subdomain(namespace),
    );
}

/// What holds beside of an event of `events.k8s.io`; `old`: it updates this one.
pub(super) fn newer(new: &Value, old: Option<&Value>, errs: &mut ErrorList) {
    event(new, "reportingController", errs);
    let Some(old) = old else {
        series(new, errs);
        if new["eventTime"].is_null() {
            errs.push(Error::required(&Path::new("eventTime"), ""));
        }
        let kind = text(new, "type");
        if !matches!(kind, "Normal" | "Warning") {
            let why = format!("has invalid value: {kind}");
            errs.push(Error::invalid(&Path::new("type"), "", why));
        }
        for field in ["firstTimestamp", "lastTimestamp", "count", "source"] {
            let unset = match &new[field] {
                Value::Object(source) => source.is_empty(),
                Value::Number(count) => count.as_i64() == Some(0),
                other => other.is_null(),
            };
            if !unset {
                errs.push(Error::invalid(&Path::new(field), "", "needs to be unset"));
            }
        }
        return;
    };
    if !same(&new["series"], &old["series"]) {
        series(new, errs);
    }
    for (field, shown) in [
        ("involvedObject", "involvedObject"),
        ("reason", "reason"),
        ("message", "message"),
        ("source", "source"),
        ("firstTimestamp", "firstTimestamp"),
        ("lastTimestamp", "lastTimestamp"),
        ("count", "count"),
        // Upstream looks at it twice.
        ("reason", "reason"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingComponent", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ] {
        // A text that is absent is empty.
        let value = match (&new[field], &old[field]) {
            (Value::Null, Value::String(_)) if !field.contains("Time") => Value::from(""),
            (value, _) => value.clone(),
        };
        let at = Path::new(shown);
        if field == "related" && new[field].is_object() != old[field].is_object() {
            errs.push(Error::invalid(&at, value, "field is immutable"));
        } else {
            immutable(&value, &old[field], &at, errs);
        }
    }
}

fn series(o: &Value, errs: &mut ErrorList) {
    let series = &o["series"];
    if !series.is_object() {
        return;
    }
    if series["count"].as_i64().unwrap_or(0) < 2 {
        let why = "should be at least 2";
        errs.push(Error::invalid(&Path::new("series.count"), "", why));
    }
    if series["lastObservedTime"].is_null() {
        errs.push(Error::required(&Path::new("series.lastObservedTime"), ""));
    }
}
