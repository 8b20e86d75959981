//! LimitRanges and ResourceQuotas.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::resource_names;
use super::support::{list, nonnegative_quantity, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;
use crate::quantity::Quantity;

/// Beyond it amounts are not looked at in thousandths.
const MOST_IN_THOUSANDTHS: i64 = i64::MAX / 1000;

/// Checks a LimitRange.
pub(super) fn range(o: &Value, errs: &mut ErrorList) {
    let mut seen: HashSet<&str> = HashSet::new();
    for (i, l) in list(&o["spec"]["limits"]).iter().enumerate() {
        let p = Path::new("spec").child("limits").index(i);
        let kind = text(l, "type");
        let standard = matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim");
        let faults = names::qualified_name(kind);
        if faults.is_empty() && !kind.contains('/') && !standard {
            let why = "must be a standard limit type or fully qualified";
            errs.push(Error::invalid(&p.child("type"), kind, why));
        }
        errs.invalid_each(&p.child("type"), kind, faults);
        if !seen.insert(kind) {
            errs.push(Error::duplicate(&p.child("type"), kind));
        }
        limits(l, kind, &p, errs);
    }
}

fn limits(l: &Value, kind: &str, p: &Path, errs: &mut ErrorList) {
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        let names = l[field].as_object();
        if kind == "Pod" && matches!(field, "default" | "defaultRequest") {
            if names.is_some_and(|names| !names.is_empty()) {
                let why = "may not be specified when `type` is 'Pod'";
                errs.push(Error::forbidden(&p.child(field), why));
            }
            continue;
        }
        for name in names.into_iter().flat_map(|names| names.keys()) {
            let at = p.child(field).key(name);
            match kind {
                "Pod" | "Container" => resource_names::of_container(name, &at, errs),
                _ => resource_names::any(name, &at, errs),
            }
            known.insert(name);
        }
    }
    let is_bound = |field: &str| !l[field]["storage"].is_null();
    if kind == "PersistentVolumeClaim" && !is_bound("min") && !is_bound("max") {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        errs.push(Error::required(&p.child("limits"), why));
    }
    for name in known {
        amounts(l, kind, name, p, errs);
    }
}

/// How the amounts of one resource are to each other.
fn amounts(l: &Value, kind: &str, name: &str, p: &Path, errs: &mut ErrorList) {
    let amount = |field: &str| Quantity::from_value(&l[field][name]).ok();
    let given = |field: &str| (kind != "Pod").then(|| amount(field)).flatten();
    let (min, max) = (amount("min"), amount("max"));
    let (default, request) = (given("default"), given("defaultRequest"));
    // The smaller, the greater, where it is said, and which of the two is shown.
    for ((what, small), (than, great), field, shown) in [
        (("min value", min), ("max value", max), "min", min),
        (
            ("min value", min),
            ("default request value", request),
            "defaultRequest",
            request,
        ),
        (
            ("default request value", request),
            ("max value", max),
            "defaultRequest",
            request,
        ),
        (
            ("default request value", request),
            ("default limit value", default),
            "defaultRequest",
            request,
        ),
        (("min value", min), ("default value", default), "default", min),
        (("default value", default), ("max value", max), "default", max),
    ] {
        if let (Some(small), Some(great), Some(shown)) = (small, great, shown)
            && small > great
        {
            let why = format!("{what} {small} is greater than {than} {great}");
            errs.push(Error::invalid(&p.child(field).key(name), shown.to_string(), why));
        }
    }
    if let Some(ratio) = amount("maxLimitRequestRatio") {
        self::ratio(ratio, min, max, &p.child("maxLimitRequestRatio").key(name), errs);
    }
    if let (Some(default), Some(request)) = (default, request)
        && !resource_names::may_overcommit(name)
        && default != request
    {
        let why = format!("default value {default} must equal to defaultRequest value {request} in {name}");
        errs.push(Error::invalid(
            &p.child("defaultRequest").key(name),
            request.to_string(),
            why,
        ));
    }
}

fn ratio(ratio: Quantity, min: Option<Quantity>, max: Option<Quantity>, at: &Path, errs: &mut ErrorList) {
    if ratio < Quantity::from_milli(1000) {
        let why = format!("ratio {ratio} is less than 1");
        errs.push(Error::invalid(at, ratio.to_string(), why));
    }
    let (Some(min), Some(max)) = (min, max) else {
        return;
    };
    let all = [ratio, min, max];
    let in_thousandths = all.iter().all(|amount| amount.value() < MOST_IN_THOUSANDTHS);
    let [wanted, min, max] = all.map(|amount| match in_thousandths {
        true => amount.milli() as f64,
        false => amount.value() as f64,
    });
    let wanted = if in_thousandths { wanted / 1000.0 } else { wanted };
    let found = max / min;
    if wanted > found {
        // As Go prints it.
        let found = if found.is_infinite() {
            "-Inf".to_owned()
        } else {
            format!("{found:.6}")
        };
        let why = format!("ratio {ratio} is greater than max/min = {found}");
        errs.push(Error::invalid(at, ratio.to_string(), why));
    }
}

/// Checks a new ResourceQuota.
pub(super) fn quota(o: &Value, errs: &mut ErrorList) {
    quota_spec(o, errs);
    quota_status(o, errs);
}

/// Checks an update of a ResourceQuota.
pub(super) fn quota_update(new: &Value, old: &Value, errs: &mut ErrorList) {
    quota_spec(new, errs);
    let scopes = |o: &'_ Value| -> BTreeSet<String> {
        let all = list(&o["spec"]["scopes"]).iter();
        all.map(|scope| scope.as_str().unwrap_or_default().to_owned())
            .collect()
    };
    if scopes(new) != scopes(old) {
        let path = Path::new("spec").child("scopes");
        let shown = new["spec"]["scopes"].clone();
        errs.push(Error::invalid(&path, shown, "field is immutable"));
    }
}

/// Checks the status of a ResourceQuota.
pub(super) fn quota_status(o: &Value, errs: &mut ErrorList) {
    for field in ["hard", "used"] {
        counted(&o["status"][field], &Path::new("status").child(field), errs);
    }
}

fn quota_spec(o: &Value, errs: &mut ErrorList) {
    let p = Path::new("spec");
    counted(&o["spec"]["hard"], &p.child("hard"), errs);
    scopes(&o["spec"], &p, errs);
}

fn counted(amounts: &Value, path: &Path, errs: &mut ErrorList) {
    for (name, amount) in amounts.as_object().into_iter().flatten() {
        let at = path.key(name);
        resource_names::of_quota(name, &at, errs);
        nonnegative_quantity(amount, &at, errs);
        if let Ok(quantity) = Quantity::from_value(amount)
            && resource_names::is_whole(name)
            && !quantity.is_integer()
        {
            errs.push(Error::invalid(&at, quantity.to_string(), "must be an integer"));
        }
    }
}

const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

const NOT_FOR_RESOURCE: &str = "unsupported scope applied to resource";

/// The resources of a quota that its scope says nothing about.
fn unsupported<'a>(scope: &str, hard: &'a Value) -> Vec<&'a str> {
    let pods: &[&str] = &["pods"];
    let compute: &[&str] = &[
        "cpu",
        "memory",
        "limits.cpu",
        "limits.memory",
        "requests.cpu",
        "requests.memory",
    ];
    let fits = |name: &str| match scope {
        "BestEffort" => pods.contains(&name),
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => pods.contains(&name) || compute.contains(&name),
        "VolumeAttributesClass" => matches!(name, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    };
    let names = hard.as_object().into_iter().flat_map(|hard| hard.keys());
    names
        .map(String::as_str)
        .filter(|name| resource_names::is_for_quotas(name) && !fits(name))
        .collect()
}

/// Which pods a quota counts.
fn scopes(s: &Value, path: &Path, errs: &mut ErrorList) {
    let at = path.child("scopes");
    for scope in list(&s["scopes"]) {
        let scope = scope.as_str().unwrap_or_default();
        if !SCOPES.contains(&scope) {
            errs.push(Error::invalid(&at, s["scopes"].clone(), "unsupported scope"));
        }
        for _ in unsupported(scope, &s["hard"]) {
            errs.push(Error::invalid(&at, s["scopes"].clone(), NOT_FOR_RESOURCE));
        }
    }
    conflicting(&s["scopes"], list(&s["scopes"]), &at, errs);
    let at = path.child("scopeSelector").child("matchExpressions");
    let mut named = vec![];
    for e in list(&s["scopeSelector"]["matchExpressions"]) {
        let (scope, operator) = (text(e, "scopeName"), text(e, "operator"));
        if !SCOPES.contains(&scope) {
            errs.push(Error::invalid(&at.child("scopeName"), scope, "unsupported scope"));
        }
        for _ in unsupported(scope, &s["hard"]) {
            errs.push(Error::invalid(&at, s["scopeSelector"].clone(), NOT_FOR_RESOURCE));
        }
        let is_known = SCOPES.contains(&scope);
        if is_known && !matches!(scope, "PriorityClass" | "VolumeAttributesClass") && operator != "Exists" {
            errs.push(Error::invalid(
                &at.child("operator"),
                operator,
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
            ));
        }
        let values = list(&e["values"]);
        match operator {
            "In" | "NotIn" if values.is_empty() => errs.push(Error::required(
                &at.child("values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errs.push(Error::invalid(
                &at.child("values"),
                e["values"].clone(),
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errs.push(Error::invalid(
                &at.child("operator"),
                other,
                "not a valid selector operator",
            )),
        }
        named.push(e["scopeName"].clone());
    }
    conflicting(&s["scopes"], &named, &at, errs);
}

/// Scopes that no pod is in.
fn conflicting(shown: &Value, scopes: &[Value], path: &Path, errs: &mut ErrorList) {
    let has = |name: &str| scopes.iter().any(|scope| scope == name);
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if has(one) && has(other) {
            errs.push(Error::invalid(path, shown.clone(), "conflicting scopes"));
        }
    }
}
