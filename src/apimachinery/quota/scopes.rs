//! Scopes of quotas: which objects of a resource count.

use serde_json::Value;

use super::claims::attributes_classes;
use crate::strategy::qos_class;

/// `(scope, operator, values)` of each scope of a quota's spec.
pub(super) fn of(quota: &Value) -> impl Iterator<Item = (&str, &str, &[Value])> {
    let spec = &quota["spec"];
    let plain = spec["scopes"].as_array().into_iter().flatten();
    let plain = plain.filter_map(|scope| Some((scope.as_str()?, "Exists", &[][..])));
    let terms = spec["scopeSelector"]["matchExpressions"].as_array();
    let terms = terms.into_iter().flatten().filter_map(|term| {
        Some((
            term["scopeName"].as_str()?,
            term["operator"].as_str().unwrap_or("Exists"),
            term["values"].as_array().map_or(&[][..], Vec::as_slice),
        ))
    });
    plain.chain(terms)
}

/// As a label selector's requirement judges a label that is there or not.
fn judge(value: Option<&str>, operator: &str, values: &[Value]) -> bool {
    let listed = value.is_some_and(|value| values.iter().any(|v| v == value));
    match operator {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

pub(super) fn pod(pod: &Value, scope: &str, operator: &str, values: &[Value]) -> bool {
    let spec = &pod["spec"];
    let terminating = || spec["activeDeadlineSeconds"].as_i64().is_some_and(|s| s >= 0);
    let best_effort = || match pod["status"]["qosClass"].as_str() {
        Some(class) if !class.is_empty() => class == "BestEffort",
        _ => qos_class(pod) == "BestEffort",
    };
    match scope {
        "Terminating" => terminating(),
        "NotTerminating" => !terminating(),
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => {
            let class = spec["priorityClassName"].as_str().filter(|c| !c.is_empty());
            judge(class, operator, values)
        }
        "CrossNamespacePodAffinity" => crosses_namespaces(&spec["affinity"]),
        _ => false,
    }
}

fn crosses_namespaces(affinity: &Value) -> bool {
    let crosses = |term: &Value| {
        term["namespaces"].as_array().is_some_and(|n| !n.is_empty()) || term["namespaceSelector"].is_object()
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let of = |list: &str| affinity[*kind][list].as_array().into_iter().flatten();
        of("requiredDuringSchedulingIgnoredDuringExecution").any(crosses)
            || of("preferredDuringSchedulingIgnoredDuringExecution").any(|t| crosses(&t["podAffinityTerm"]))
    })
}

pub(super) fn claim(claim: &Value, scope: &str, operator: &str, values: &[Value]) -> bool {
    if scope != "VolumeAttributesClass" {
        return false;
    }
    let classes = attributes_classes(claim);
    if classes.is_empty() {
        return judge(None, operator, values);
    }
    classes
        .into_iter()
        .any(|class| judge(Some(class), operator, values))
}
