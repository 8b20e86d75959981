//! policy, scheduling, coordination, node, certificates, admission and
//! apiregistration.

use serde_json::Value;

use super::support::{
    immutable, int_or_percent, label_selector, list, not_over_100_percent, one_if_given, required, same, text,
};
use super::{certificates, pod};
use crate::field::{Error, ErrorList, Path};
use crate::{meta, names};

/// The highest priority of a user's class.
const MAX_PRIORITY: i64 = 1_000_000_000;

pub(super) fn create(group: &str, kind: &str, o: &Value, errs: &mut ErrorList) {
    match (group, kind) {
        ("policy", "PodDisruptionBudget") => disruption_budget(&o["spec"], &Path::new("spec"), errs),
        ("scheduling.k8s.io", "PriorityClass") => priority_class(o, errs),
        ("coordination.k8s.io", "Lease") => lease(&o["spec"], &Path::new("spec"), errs),
        ("node.k8s.io", "RuntimeClass") => runtime_class(o, errs),
        ("certificates.k8s.io", "CertificateSigningRequest") => certificates::create(o, errs),
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => webhooks(o, errs),
        ("apiregistration.k8s.io", "APIService") => api_service(o, errs),
        _ => {}
    }
}

pub(super) fn update(group: &str, kind: &str, new: &Value, old: &Value, errs: &mut ErrorList) {
    if kind != "PriorityClass" {
        create(group, kind, new, errs);
    }
    match (group, kind) {
        ("scheduling.k8s.io", "PriorityClass") => {
            if !same(&new["value"], &old["value"]) {
                errs.push(Error::forbidden(
                    &Path::new("value"),
                    "may not be changed in an update.",
                ));
            }
            immutable(
                &new["preemptionPolicy"],
                &old["preemptionPolicy"],
                &Path::new("preemptionPolicy"),
                errs,
            );
        }
        ("node.k8s.io", "RuntimeClass") => {
            immutable(&new["handler"], &old["handler"], &Path::new("handler"), errs);
        }
        _ => {}
    }
}

fn runtime_class(o: &Value, errs: &mut ErrorList) {
    let handler = text(o, "handler");
    errs.invalid_each(&Path::new("handler"), handler, names::dns1123_label(handler));
    let limits = serde_json::json!({"limits": o["overhead"]["podFixed"]});
    pod::resources(&limits, &Path::new("overhead"), errs);
    let (s, p) = (&o["scheduling"], Path::new("scheduling"));
    super::meta::labels(&s["nodeSelector"], &p.child("nodeSelector"), errs);
    let p = p.child("tolerations");
    pod::tolerations(s, &p, errs);
    let all = list(&s["tolerations"]);
    let key = |t: &'_ Value| ["key", "operator", "value", "effect"].map(|f| text(t, f).to_owned());
    for (i, t) in all.iter().enumerate() {
        if all[..i].iter().any(|other| key(other) == key(t)) {
            errs.push(Error::duplicate(&p.index(i), t.clone()));
        }
    }
}

fn disruption_budget(s: &Value, path: &Path, errs: &mut ErrorList) {
    if !s["minAvailable"].is_null() && !s["maxUnavailable"].is_null() {
        errs.push(Error::invalid(
            path,
            s.clone(),
            "minAvailable and maxUnavailable cannot be both set",
        ));
    }
    for f in ["minAvailable", "maxUnavailable"] {
        int_or_percent(&s[f], &path.child(f), errs);
        not_over_100_percent(&s[f], &path.child(f), errs);
    }
    label_selector(&s["selector"], &path.child("selector"), errs);
    one_if_given(
        &s["unhealthyPodEvictionPolicy"],
        &["AlwaysAllow", "IfHealthyBudget"],
        &path.child("unhealthyPodEvictionPolicy"),
        errs,
    );
}

fn priority_class(o: &Value, errs: &mut ErrorList) {
    let name = meta::name(o);
    if name.starts_with("system-") {
        let known = match name {
            "system-cluster-critical" => Some(2_000_000_000),
            "system-node-critical" => Some(2_000_001_000),
            _ => None,
        };
        if known.is_none() || known != o["value"].as_i64() {
            errs.push(Error::forbidden(
                &Path::new("metadata").child("name"),
                format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {}",
                    match known {
                        None => format!("{name} is not a known system priority class"),
                        Some(value) => format!("value of {name} PriorityClass must be {value}"),
                    }
                ),
            ));
        }
    } else if o["value"].as_i64().unwrap_or(0) > MAX_PRIORITY {
        errs.push(Error::forbidden(
            &Path::new("value"),
            format!("maximum allowed value of a user defined priority is {MAX_PRIORITY}"),
        ));
    }
    let at = Path::new("preemptionPolicy");
    match o["preemptionPolicy"].as_str() {
        Some("") => errs.push(Error::required(&at, "")),
        _ => one_if_given(
            &o["preemptionPolicy"],
            &["PreemptLowerPriority", "Never"],
            &at,
            errs,
        ),
    }
}

fn lease(s: &Value, path: &Path, errs: &mut ErrorList) {
    if let Some(n) = s["leaseDurationSeconds"].as_i64().filter(|n| *n <= 0) {
        errs.push(Error::invalid(
            &path.child("leaseDurationSeconds"),
            n,
            "must be greater than 0",
        ));
    }
    if let Some(n) = s["leaseTransitions"].as_i64().filter(|n| *n < 0) {
        errs.push(Error::invalid(
            &path.child("leaseTransitions"),
            n,
            "must be greater than or equal to 0",
        ));
    }
}

/// `domain/path`: who signs certificates.
pub(super) fn signer_name(signer: &str, path: &Path, errs: &mut ErrorList) {
    if signer.is_empty() {
        errs.push(Error::required(path, ""));
        return;
    }
    let parts = signer.split_once('/').filter(|(_, rest)| !rest.contains('/'));
    let Some((domain, rest)) = parts else {
        errs.push(Error::invalid(
            path,
            signer,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        ));
        return;
    };
    let mut labels = |part: &str, check: fn(&str) -> Vec<String>| {
        let bad = part.split('.').map(|label| (label, check(label)));
        if let Some((label, faults)) = bad.into_iter().find(|(_, faults)| !faults.is_empty()) {
            for fault in faults {
                let why = format!("validating label {}: {fault}", crate::field::quote(label));
                errs.push(Error::invalid(path, part, why));
            }
        }
    };
    labels(domain, names::dns1123_label);
    labels(rest, names::dns1123_subdomain);
    if domain.len() > 253 {
        errs.push(Error::too_long(path, 253));
    }
    if !domain.contains('.') {
        errs.push(Error::invalid(
            path,
            domain,
            "should be a domain with at least two segments separated by dots",
        ));
    }
}

fn webhooks(o: &Value, errs: &mut ErrorList) {
    let mut seen: Vec<&str> = vec![];
    for (i, w) in list(&o["webhooks"]).iter().enumerate() {
        let p = Path::new("webhooks").index(i);
        let name = text(w, "name");
        if required(&w["name"], &p.child("name"), errs) {
            errs.invalid_each(&p.child("name"), name, names::is_fully_qualified_name(name));
        }
        if seen.contains(&name) {
            errs.push(Error::duplicate(&p.child("name"), name));
        }
        seen.push(name);
        one_if_given(
            &w["failurePolicy"],
            &["Fail", "Ignore"],
            &p.child("failurePolicy"),
            errs,
        );
        one_if_given(
            &w["matchPolicy"],
            &["Equivalent", "Exact"],
            &p.child("matchPolicy"),
            errs,
        );
        if w["sideEffects"].is_null() {
            errs.push(Error::required(
                &p.child("sideEffects"),
                "must specify one of None, NoneOnDryRun",
            ));
        } else {
            one_if_given(
                &w["sideEffects"],
                &["None", "NoneOnDryRun"],
                &p.child("sideEffects"),
                errs,
            );
        }
        if let Some(n) = w["timeoutSeconds"].as_i64().filter(|n| !(1..=30).contains(n)) {
            errs.push(Error::invalid(
                &p.child("timeoutSeconds"),
                n,
                "the timeout value must be between 1 and 30 seconds",
            ));
        }
        one_if_given(
            &w["reinvocationPolicy"],
            &["IfNeeded", "Never"],
            &p.child("reinvocationPolicy"),
            errs,
        );
        super::hooks::versions(w, &p.child("admissionReviewVersions"), errs);
        super::hooks::rules(w, &p.child("rules"), errs);
        super::hooks::client(&w["clientConfig"], &p.child("clientConfig"), errs);
        for f in ["namespaceSelector", "objectSelector"] {
            label_selector(&w[f], &p.child(f), errs);
        }
    }
}

fn api_service(o: &Value, errs: &mut ErrorList) {
    let s = &o["spec"];
    let required_name = format!("{}.{}", text(s, "version"), text(s, "group"));
    for f in ["generateName", "name"] {
        let name = text(&o["metadata"], f);
        // What no path can have is said alone.
        if !name.is_empty() && name != required_name && names::path_segment(name).is_empty() {
            errs.push(Error::invalid(
                &Path::new("metadata").child(f),
                name,
                format!(
                    "must be `spec.version+\".\"+spec.group`: {}",
                    crate::field::quote(&required_name)
                ),
            ));
        }
    }
    let p = Path::new("spec");
    let (group, version) = (text(s, "group"), text(s, "version"));
    if !group.is_empty() {
        errs.invalid_each(&p.child("group"), group, names::dns1123_subdomain(group));
    }
    errs.invalid_each(&p.child("version"), version, names::dns1035_label(version));
    for (f, max) in [("groupPriorityMinimum", 20000), ("versionPriority", 1000)] {
        let n = s[f].as_i64().unwrap_or(0);
        if n <= 0 || n > max {
            errs.push(Error::invalid(
                &p.child(f),
                n,
                format!("must be positive and less than {max}"),
            ));
        }
    }
    if text(s, "group").is_empty() && text(s, "version") != "v1" {
        errs.push(Error::required(
            &p.child("group"),
            "only v1 may have an empty group and it better be legacy kube",
        ));
    }
    let (service, bundle) = (&s["service"], text(s, "caBundle"));
    let insecure = s["insecureSkipTLSVerify"] == true;
    if !service.is_object() {
        if !bundle.is_empty() {
            errs.push(Error::invalid(
                &p.child("caBundle"),
                format!("{} bytes", bundle.len()),
                "local APIServices may not have a caBundle",
            ));
        }
        if insecure {
            errs.push(Error::invalid(
                &p.child("insecureSkipTLSVerify"),
                true,
                "local APIServices may not have insecureSkipTLSVerify",
            ));
        }
        return;
    }
    for f in ["namespace", "name"] {
        required(&service[f], &p.child("service").child(f), errs);
    }
    if let Some(port) = service["port"].as_i64().filter(|n| !(1..=65535).contains(n)) {
        errs.push(Error::invalid(
            &p.child("service").child("port"),
            port,
            "port is not valid: must be between 1 and 65535, inclusive",
        ));
    }
    if insecure && !bundle.is_empty() {
        errs.push(Error::invalid(
            &p.child("insecureSkipTLSVerify"),
            true,
            "may not be true if caBundle is present",
        ));
    }
}
