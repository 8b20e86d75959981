//! apiextensions, flow control; admission policies are next door.

use serde_json::Value;

use super::policy;
use super::support::{immutable, list, one_of, required, text};
use crate::field::{Error, ErrorList, Path};
use crate::structural::Structural;
use crate::{meta, names};

pub(super) fn create(group: &str, kind: &str, o: &Value, errs: &mut ErrorList) {
    let path = Path::new("spec");
    match (group, kind) {
        ("apiextensions.k8s.io", _) => definition(o, errs),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => flow_schema(&o["spec"], &path, errs),
        ("flowcontrol.apiserver.k8s.io", _) => priority_level(o, &path, errs),
        ("admissionregistration.k8s.io", _) => policy::create(kind, o, errs),
        _ => {}
    }
}

pub(super) fn update(group: &str, kind: &str, new: &Value, old: &Value, errs: &mut ErrorList) {
    create(group, kind, new, errs);
    if group == "apiextensions.k8s.io" {
        definition_update(new, old, errs);
    }
}

fn definition(o: &Value, errs: &mut ErrorList) {
    let s = &o["spec"];
    let path = Path::new("spec");
    let (group, n) = (text(s, "group"), &s["names"]);
    if meta::name(o) != format!("{}.{group}", text(n, "plural")) {
        errs.push(Error::invalid(
            &Path::new("metadata").child("name"),
            meta::name(o),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    if group.is_empty() {
        errs.push(Error::required(&path.child("group"), ""));
    } else {
        let msgs = names::dns1123_subdomain(group);
        if !msgs.is_empty() {
            errs.push(Error::invalid(&path.child("group"), group, msgs.join(",")));
        } else if !group.contains('.') {
            errs.push(Error::invalid(
                &path.child("group"),
                group,
                "should be a domain with at least one dot",
            ));
        }
    }
    one_of(
        &s["scope"],
        &["Cluster", "Namespaced"],
        &path.child("scope"),
        errs,
    );
    if s["preserveUnknownFields"] == true {
        errs.push(Error::invalid(
            &path.child("preserveUnknownFields"),
            true,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
    versions(s, &path.child("versions"), errs);
    definition_names(n, &path.child("names"), errs);
    conversion(&s["conversion"], &path.child("conversion"), errs);
}

fn versions(s: &Value, path: &Path, errs: &mut ErrorList) {
    let all = list(&s["versions"]);
    let mut seen: Vec<&str> = vec![];
    let mut stored = 0;
    for (i, v) in all.iter().enumerate() {
        let p = path.index(i);
        let name = text(v, "name");
        let msgs = names::dns1035_label(name);
        if !msgs.is_empty() {
            errs.push(Error::invalid(&p.child("name"), name, msgs.join(",")));
        }
        if seen.contains(&name) {
            errs.push(Error::invalid(
                path,
                s["versions"].clone(),
                "must contain unique version names",
            ));
        }
        seen.push(name);
        stored += usize::from(v["storage"] == true);
        let schema = &v["schema"]["openAPIV3Schema"];
        let p = p.child("schema").child("openAPIV3Schema");
        if !schema.is_object() {
            errs.push(Error::required(&p, "schemas are required"));
        } else if let Err(found) = Structural::parse(schema, &p) {
            errs.extend(found);
        }
    }
    if stored != 1 {
        errs.push(Error::invalid(
            path,
            s["versions"].clone(),
            "must have exactly one version marked as storage version",
        ));
    }
}

fn definition_names(n: &Value, path: &Path, errs: &mut ErrorList) {
    for f in ["plural", "singular", "kind", "listKind"] {
        let v = text(n, f);
        let p = path.child(f);
        if v.is_empty() {
            if f != "singular" {
                errs.push(Error::required(&p, ""));
            }
            continue;
        }
        let msgs = names::dns1035_label(&v.to_lowercase());
        let mixed = matches!(f, "kind" | "listKind");
        if !msgs.is_empty() || (!mixed && v.to_lowercase() != v) {
            let msgs = if msgs.is_empty() {
                names::dns1035_label(v)
            } else {
                msgs
            };
            let prefix = if mixed {
                "may have mixed case, but should otherwise match: "
            } else {
                ""
            };
            errs.push(Error::invalid(&p, v, format!("{prefix}{}", msgs.join(","))));
        }
    }
    for (i, s) in list(&n["shortNames"]).iter().enumerate() {
        let s = s.as_str().unwrap_or("");
        errs.invalid_each(&path.child("shortNames").index(i), s, names::dns1035_label(s));
    }
    if !text(n, "kind").is_empty() && text(n, "kind") == text(n, "listKind") {
        errs.push(Error::invalid(
            &path.child("listKind"),
            text(n, "listKind"),
            "kind and listKind may not be the same",
        ));
    }
}

fn conversion(c: &Value, path: &Path, errs: &mut ErrorList) {
    match text(c, "strategy") {
        "" | "None" => {
            if c["webhook"].is_object() {
                errs.push(Error::forbidden(
                    &path.child("webhook"),
                    "should not be set when strategy is not set to Webhook",
                ));
            }
        }
        "Webhook" => {
            let w = &c["webhook"];
            let p = path.child("webhook");
            if !w["clientConfig"].is_object() {
                errs.push(Error::required(
                    &p.child("clientConfig"),
                    "required when strategy is set to Webhook",
                ));
            }
            required(
                &w["conversionReviewVersions"],
                &p.child("conversionReviewVersions"),
                errs,
            );
        }
        other => {
            errs.push(Error::not_supported(
                &path.child("strategy"),
                other,
                &["None", "Webhook"],
            ));
        }
    }
}

fn definition_update(new: &Value, old: &Value, errs: &mut ErrorList) {
    let path = Path::new("spec");
    let established = list(&old["status"]["conditions"])
        .iter()
        .any(|c| c["type"] == "Established" && c["status"] == "True");
    let (n, o) = (&new["spec"], &old["spec"]);
    if established {
        immutable(&n["scope"], &o["scope"], &path.child("scope"), errs);
        immutable(
            &n["names"]["kind"],
            &o["names"]["kind"],
            &path.child("names").child("kind"),
            errs,
        );
    }
    immutable(&n["group"], &o["group"], &path.child("group"), errs);
    immutable(
        &n["names"]["plural"],
        &o["names"]["plural"],
        &path.child("names").child("plural"),
        errs,
    );
    let served: Vec<&str> = list(&n["versions"]).iter().map(|v| text(v, "name")).collect();
    for (i, v) in list(&new["status"]["storedVersions"]).iter().enumerate() {
        let v = v.as_str().unwrap_or("");
        if !served.contains(&v) {
            errs.push(Error::invalid(
                &Path::new("status").child("storedVersions").index(i),
                v,
                "missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions"
                    .replace("v1", v),
            ));
        }
    }
}

fn flow_schema(s: &Value, path: &Path, errs: &mut ErrorList) {
    let n = s["matchingPrecedence"].as_i64().unwrap_or(0);
    if !(1..=10000).contains(&n) {
        errs.push(Error::invalid(
            &path.child("matchingPrecedence"),
            n,
            "must be a value between 1 and 10000, inclusive",
        ));
    }
    let level = text(&s["priorityLevelConfiguration"], "name");
    let p = path.child("priorityLevelConfiguration").child("name");
    if level.is_empty() {
        errs.push(Error::required(&p, "must reference a priority level"));
    } else {
        errs.invalid_each(&p, level, names::dns1123_subdomain(level));
    }
    let method = text(&s["distinguisherMethod"], "type");
    if s["distinguisherMethod"].is_object() && !matches!(method, "ByNamespace" | "ByUser") {
        errs.push(Error::not_supported(
            &path.child("distinguisherMethod").child("type"),
            method,
            &["ByNamespace", "ByUser"],
        ));
    }
    for (i, r) in list(&s["rules"]).iter().enumerate() {
        let p = path.child("rules").index(i);
        if list(&r["subjects"]).is_empty() {
            errs.push(Error::required(
                &p.child("subjects"),
                "subjects must contain at least one value",
            ));
        }
        if list(&r["resourceRules"]).is_empty() && list(&r["nonResourceRules"]).is_empty() {
            errs.push(Error::required(
                &p,
                "at least one of resourceRules and nonResourceRules has to be non-empty",
            ));
        }
    }
}

fn priority_level(o: &Value, path: &Path, errs: &mut ErrorList) {
    let s = &o["spec"];
    match text(s, "type") {
        "Exempt" => {
            if s["limited"].is_object() {
                errs.push(Error::forbidden(
                    &path.child("limited"),
                    "must be nil if the type is not Limited",
                ));
            }
        }
        "Limited" => {
            if s["exempt"].is_object() {
                errs.push(Error::forbidden(
                    &path.child("exempt"),
                    "must be nil if the type is Limited",
                ));
            }
            let l = &s["limited"];
            let p = path.child("limited");
            if !l.is_object() {
                errs.push(Error::required(&p, "must not be empty when type is Limited"));
                return;
            }
            if let Some(n) = l["nominalConcurrencyShares"].as_i64().filter(|n| *n < 0) {
                errs.push(Error::invalid(
                    &p.child("nominalConcurrencyShares"),
                    n,
                    "must be a non-negative integer",
                ));
            }
            limit_response(&l["limitResponse"], &p.child("limitResponse"), errs);
        }
        other => {
            errs.push(Error::not_supported(
                &path.child("type"),
                other,
                &["Exempt", "Limited"],
            ));
        }
    }
}

fn limit_response(r: &Value, path: &Path, errs: &mut ErrorList) {
    match text(r, "type") {
        "Reject" => {
            if r["queuing"].is_object() {
                errs.push(Error::forbidden(
                    &path.child("queuing"),
                    "must be nil if limited.limitResponse.type is not Limited",
                ));
            }
        }
        "Queue" => {
            let q = &r["queuing"];
            let p = path.child("queuing");
            if !q.is_object() {
                errs.push(Error::required(
                    &p,
                    "must not be empty if limited.limitResponse.type is Limited",
                ));
                return;
            }
            for f in ["queueLengthLimit", "queues", "handSize"] {
                let n = q[f].as_i64().unwrap_or(0);
                if n <= 0 {
                    errs.push(Error::invalid(&p.child(f), n, "must be positive"));
                }
            }
            let (queues, hand) = (
                q["queues"].as_i64().unwrap_or(0),
                q["handSize"].as_i64().unwrap_or(0),
            );
            if hand > queues {
                errs.push(Error::invalid(
                    &p.child("handSize"),
                    hand,
                    format!("should not be greater than queues ({queues})"),
                ));
            }
        }
        other => {
            errs.push(Error::not_supported(
                &path.child("type"),
                other,
                &["Queue", "Reject"],
            ));
        }
    }
}
