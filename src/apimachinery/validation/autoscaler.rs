//! HorizontalPodAutoscalers.

use serde_json::Value;

use super::support::{list, nonnegative_quantity, required, text};
use crate::field::{Error, ErrorList, Path};
use crate::meta;
use crate::names;
use crate::quantity::Quantity;

/// Longest window and period, in seconds.
const MAX_WINDOW: i64 = 3600;
const MAX_PERIOD: i64 = 1800;

/// Kinds of metrics: type, field, and which of the target's values count.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];
const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];

/// A spec; `old` is that of the object it updates.
pub(super) fn spec(s: &Value, old: &Value, path: &Path, errs: &mut ErrorList) {
    let min = s["minReplicas"].as_i64();
    let max = s["maxReplicas"].as_i64().unwrap_or(0);
    if let Some(n) = min.filter(|n| *n < 1) {
        errs.push(Error::invalid(
            &path.child("minReplicas"),
            n,
            "must be greater than or equal to 1",
        ));
    }
    if max < 1 {
        errs.push(Error::invalid(
            &path.child("maxReplicas"),
            max,
            "must be greater than 0",
        ));
    }
    if min.is_some_and(|n| max < n) {
        errs.push(Error::invalid(
            &path.child("maxReplicas"),
            max,
            "must be greater than or equal to `minReplicas`",
        ));
    }
    let (target, was) = (&s["scaleTargetRef"], &old["scaleTargetRef"]);
    let at = path.child("scaleTargetRef");
    let version = if target["kind"] == was["kind"] && target["apiVersion"] == was["apiVersion"] {
        Version::Any
    } else if target["kind"] == "ReplicationController" {
        Version::Well
    } else {
        Version::WithGroup
    };
    reference(target, version, &at, errs);
    let beyond_pods = |m: &Value| matches!(text(m, "type"), "Object" | "External");
    if min == Some(0) && !list(&s["metrics"]).iter().any(beyond_pods) {
        errs.push(Error::forbidden(
            &path.child("metrics"),
            "must specify at least one Object or External metric to support scaling to zero replicas",
        ));
    }
    for (i, metric) in list(&s["metrics"]).iter().enumerate() {
        self::metric(metric, &path.child("metrics").index(i), errs);
    }
    for name in ["scaleUp", "scaleDown"] {
        rules(&s["behavior"][name], &path.child("behavior").child(name), errs);
    }
}

/// What an `apiVersion` must be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    /// It was let through before.
    Any,
    /// One that can be read.
    Well,
    /// Of a group beside the core, which has nothing but ReplicationControllers that can be scaled.
    WithGroup,
}

/// A `CrossVersionObjectReference`.
fn reference(target: &Value, wanted: Version, path: &Path, errs: &mut ErrorList) {
    for field in ["kind", "name"] {
        let (at, value) = (path.child(field), text(target, field));
        if required(&target[field], &at, errs) {
            errs.invalid_each(&at, value, names::path_segment(value));
        }
    }
    let version = text(target, "apiVersion");
    let fault = if wanted == Version::Any {
        return;
    } else if version.matches('/').count() > 1 {
        format!("unexpected GroupVersion string: {version}")
    } else if wanted == Version::WithGroup && meta::split_api_version(version).0.is_empty() {
        "apiVersion must specify API group".to_owned()
    } else {
        return;
    };
    errs.push(Error::invalid(&path.child("apiVersion"), version, fault));
}

fn metric(m: &Value, path: &Path, errs: &mut ErrorList) {
    let (at, kind) = (path.child("type"), text(m, "type"));
    if kind.is_empty() {
        errs.push(Error::required(&at, "must specify a metric source type"));
    }
    let known = TYPES.contains(&kind);
    if !known {
        errs.push(Error::not_supported(&at, kind, &TYPES));
    }
    let present: Vec<&str> = SOURCES
        .iter()
        .map(|(_, field)| *field)
        .filter(|field| m[*field].is_object())
        .collect();
    if let Some(first) = present.first() {
        source(first, &m[*first], &path.child(first), errs);
    }
    let expected = SOURCES
        .iter()
        .find(|(of, _)| *of == kind)
        .map(|(_, field)| *field);
    match expected {
        Some(field) if m[field].is_null() => errs.push(Error::required(
            &path.child(field),
            "must populate information for the given metric source",
        )),
        Some(_) => {}
        // Upstream says it twice.
        None => errs.push(Error::not_supported(&at, kind, &TYPES)),
    }
    if present.len() != 1 {
        for field in present.iter().filter(|field| Some(**field) != expected) {
            errs.push(Error::forbidden(
                &path.child(field),
                "must populate the given metric source only",
            ));
        }
    }
}

fn source(field: &str, s: &Value, path: &Path, errs: &mut ErrorList) {
    if field == "object" {
        let at = path.child("describedObject");
        reference(&s["describedObject"], Version::Well, &at, errs);
    }
    match field {
        "object" | "external" | "pods" => {
            let (at, name) = (path.child("metric").child("name"), text(&s["metric"], "name"));
            if name.is_empty() {
                errs.push(Error::required(&at, "must specify a metric name"));
            } else {
                errs.invalid_each(&at, name, names::path_segment(name));
            }
        }
        _ => {
            if text(s, "name").is_empty() {
                errs.push(Error::required(
                    &path.child("name"),
                    "must specify a resource name",
                ));
            } else if field == "containerResource" {
                super::resource_names::of_container(text(s, "name"), &path.child("name"), errs);
            }
        }
    }
    if field == "containerResource" {
        let (at, name) = (path.child("container"), text(s, "container"));
        if name.is_empty() {
            errs.push(Error::required(&at, "must specify a container"));
        } else {
            errs.invalid_each(&at, name, names::dns1123_label(name));
        }
    }
    let at = path.child("target");
    let given = |name: &str| !s["target"][name].is_null();
    target(&s["target"], &at, errs);
    let (either, or, missing, both) = match field {
        "object" => (
            "value",
            "averageValue",
            "must set either a target value or averageValue",
            None,
        ),
        "external" => (
            "averageValue",
            "value",
            "must set either a target value for metric or a per-pod target",
            Some("may not set both a target value for metric and a per-pod target"),
        ),
        "pods" => (
            "averageValue",
            "averageValue",
            "must specify a positive target averageValue",
            None,
        ),
        _ => (
            "averageUtilization",
            "averageValue",
            "must set either a target raw value or a target utilization",
            Some("may not set both a target raw value and a target utilization"),
        ),
    };
    if !given(either) && !given(or) {
        let named = if either == "value" { or } else { either };
        errs.push(Error::required(&at.child(named), missing));
    }
    if let Some(both) = both.filter(|_| given(either) && given(or)) {
        errs.push(Error::forbidden(&at.child(or), both));
    }
}

fn target(t: &Value, path: &Path, errs: &mut ErrorList) {
    let (at, kind) = (path.child("type"), text(t, "type"));
    if kind.is_empty() {
        errs.push(Error::required(&at, "must specify a metric target type"));
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        errs.push(Error::invalid(
            &at,
            kind,
            "must be either Utilization, Value, or AverageValue",
        ));
    }
    for field in ["value", "averageValue"] {
        if let Ok(amount) = Quantity::from_value(&t[field])
            && !t[field].is_null()
            && amount.sign() <= 0
        {
            errs.push(Error::invalid(
                &path.child(field),
                amount.to_string(),
                "must be positive",
            ));
        }
    }
    if let Some(n) = t["averageUtilization"].as_i64().filter(|n| *n < 1) {
        errs.push(Error::invalid(
            &path.child("averageUtilization"),
            n,
            "must be greater than 0",
        ));
    }
}

fn rules(r: &Value, path: &Path, errs: &mut ErrorList) {
    if !r.is_object() {
        return;
    }
    let at = path.child("stabilizationWindowSeconds");
    match r["stabilizationWindowSeconds"].as_i64() {
        Some(n) if n < 0 => errs.push(Error::invalid(&at, n, "must be greater than or equal to zero")),
        Some(n) if n > MAX_WINDOW => errs.push(Error::invalid(
            &at,
            n,
            format!("must be less than or equal to {MAX_WINDOW}"),
        )),
        _ => {}
    }
    if let Some(policy) = r["selectPolicy"].as_str()
        && !matches!(policy, "Disabled" | "Max" | "Min")
    {
        errs.push(Error::not_supported(
            &path.child("selectPolicy"),
            policy,
            &["Disabled", "Max", "Min"],
        ));
    }
    let (at, policies) = (path.child("policies"), list(&r["policies"]));
    if policies.is_empty() {
        errs.push(Error::required(&at, "must specify at least one Policy"));
    }
    for (i, policy) in policies.iter().enumerate() {
        let at = at.index(i);
        let kind = text(policy, "type");
        if !matches!(kind, "Percent" | "Pods") {
            errs.push(Error::not_supported(
                &at.child("type"),
                kind,
                &["Percent", "Pods"],
            ));
        }
        for field in ["value", "periodSeconds"] {
            let n = policy[field].as_i64().unwrap_or(0);
            if n <= 0 {
                errs.push(Error::invalid(&at.child(field), n, "must be greater than zero"));
            } else if field == "periodSeconds" && n > MAX_PERIOD {
                let why = format!("must be less than or equal to {MAX_PERIOD}");
                errs.push(Error::invalid(&at.child(field), n, why));
            }
        }
    }
    if !r["tolerance"].is_null() {
        nonnegative_quantity(&r["tolerance"], &path.child("tolerance"), errs);
    }
}
