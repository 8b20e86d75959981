//! The core group but for pods and volumes.

use std::collections::HashSet;

use base64::prelude::*;
use serde_json::Value;

use super::support::{immutable, list, nonnegative_quantity, same, text};
use super::{pod, service, storage, workloads};
use crate::field::{Error, ErrorList, Path};
use crate::{meta, names};

/// All data of a ConfigMap or Secret together, in bytes.
const MAX_DATA: usize = 1024 * 1024;

pub(super) fn create(kind: &str, o: &Value, errs: &mut ErrorList) {
    match kind {
        "Pod" => pod::create(o, errs),
        "PodTemplate" => pod::template(&o["template"], &Path::new("template"), errs),
        "ReplicationController" => workloads::replication_controller(o, errs),
        "Service" => service::create(o, errs),
        "ConfigMap" => config_map(o, errs),
        "Secret" => secret(o, errs),
        "Node" => node(o, errs),
        "Endpoints" => endpoints(o, errs),
        "LimitRange" => limit_range(o, errs),
        "ResourceQuota" => quota(o, errs),
        "PersistentVolume" => storage::volume(o, errs),
        "PersistentVolumeClaim" => storage::claim_spec(&o["spec"], &Value::Null, &Path::new("spec"), errs),
        "Namespace" => namespace(o, errs),
        "Event" => super::events::event(o, "reportingComponent", errs),
        _ => {}
    }
}

pub(super) fn update(kind: &str, new: &Value, old: &Value, errs: &mut ErrorList) {
    match kind {
        "Pod" => pod::update(new, old, errs),
        "Service" => service::update(new, old, errs),
        "ConfigMap" => {
            frozen(new, old, errs);
            config_map(new, errs);
        }
        "Secret" => {
            immutable(&new["type"], &old["type"], &Path::new("type"), errs);
            frozen(new, old, errs);
            secret(new, errs);
        }
        "Node" => node_update(new, old, errs),
        "PersistentVolume" => storage::volume_update(new, old, errs),
        "PersistentVolumeClaim" => storage::claim_update(new, old, errs),
        "PodTemplate"
        | "ReplicationController"
        | "Endpoints"
        | "Event"
        | "LimitRange"
        | "ResourceQuota"
        | "Namespace" => {
            create(kind, new, errs);
        }
        _ => {}
    }
}

/// What is `immutable` stays as it is.
fn frozen(new: &Value, old: &Value, errs: &mut ErrorList) {
    if old["immutable"] != true {
        return;
    }
    let why = "field is immutable when `immutable` is set";
    if new["immutable"] != true {
        errs.push(Error::forbidden(&Path::new("immutable"), why));
    }
    for f in ["data", "binaryData"] {
        if !same(&new[f], &old[f]) {
            errs.push(Error::forbidden(&Path::new(f), why));
        }
    }
}

fn decoded_len(v: &Value) -> usize {
    v.as_str().map_or(0, |s| s.trim_end_matches('=').len() * 3 / 4)
}

fn config_map(o: &Value, errs: &mut ErrorList) {
    let mut total = 0;
    for (k, v) in o["data"].as_object().into_iter().flatten() {
        let p = Path::new("data").key(k);
        errs.invalid_each(&p, k, names::config_map_key(k));
        if !o["binaryData"][k].is_null() {
            errs.push(Error::invalid(
                &p,
                k.as_str(),
                "duplicate of key present in binaryData",
            ));
        }
        total += v.as_str().unwrap_or("").len();
    }
    for (k, v) in o["binaryData"].as_object().into_iter().flatten() {
        let p = Path::new("binaryData").key(k);
        errs.invalid_each(&p, k, names::config_map_key(k));
        total += decoded_len(v);
    }
    if total > MAX_DATA {
        errs.push(Error::too_long(&Path::new("[]"), MAX_DATA));
    }
}

fn secret(o: &Value, errs: &mut ErrorList) {
    let path = Path::new("data");
    let data = &o["data"];
    let mut total = 0;
    for (k, v) in data.as_object().into_iter().flatten() {
        errs.invalid_each(&path.key(k), k, names::config_map_key(k));
        total += decoded_len(v);
    }
    if total > MAX_DATA {
        errs.push(Error::too_long(&path, MAX_DATA));
    }
    let mut need = |key: &str| {
        if data[key].is_null() {
            errs.push(Error::required(&path.key(key), ""));
        }
    };
    match text(o, "type") {
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            if meta::annotation(o, key).unwrap_or("").is_empty() {
                errs.push(Error::required(
                    &Path::new("metadata").child("annotations").key(key),
                    "",
                ));
            }
        }
        "kubernetes.io/dockercfg" => json_entry(data, ".dockercfg", &path, errs),
        "kubernetes.io/dockerconfigjson" => json_entry(data, ".dockerconfigjson", &path, errs),
        "kubernetes.io/basic-auth" if data["username"].is_null() && data["password"].is_null() => {
            need("username");
            need("password");
        }
        "kubernetes.io/ssh-auth" if text(data, "ssh-privatekey").is_empty() => {
            errs.push(Error::required(&path.key("ssh-privatekey"), ""));
        }
        "kubernetes.io/tls" => {
            need("tls.crt");
            need("tls.key");
        }
        _ => {}
    }
}

fn json_entry(data: &Value, key: &str, path: &Path, errs: &mut ErrorList) {
    let p = path.key(key);
    let Some(encoded) = data[key].as_str() else {
        errs.push(Error::required(&p, ""));
        return;
    };
    let bytes = BASE64_STANDARD.decode(encoded).unwrap_or_default();
    if let Err(e) = serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes) {
        errs.push(Error::invalid(&p, "<secret contents redacted>", e.to_string()));
    }
}

fn namespace(o: &Value, errs: &mut ErrorList) {
    for f in list(&o["spec"]["finalizers"]) {
        super::meta::finalizer(
            f.as_str().unwrap_or(""),
            &Path::new("spec").child("finalizers"),
            errs,
        );
    }
}

fn node(o: &Value, errs: &mut ErrorList) {
    // As upstream's paths have it.
    taints(&o["spec"]["taints"], &Path::new("metadata").child("taints"), errs);
    let cidrs = list(&o["spec"]["podCIDRs"]);
    let p = Path::new("spec").child("podCIDRs");
    for (i, c) in cidrs.iter().enumerate() {
        let c = c.as_str().unwrap_or("");
        errs.invalid_each(&p.index(i), c, names::cidr(c));
    }
    if cidrs.len() > 2 {
        errs.push(Error::invalid(
            &p,
            o["spec"]["podCIDRs"].clone(),
            "may specify no more than one CIDR for each IP family",
        ));
    }
    for list_name in ["capacity", "allocatable"] {
        for (k, v) in o["status"][list_name].as_object().into_iter().flatten() {
            nonnegative_quantity(v, &Path::new("status").child(list_name).key(k), errs);
        }
    }
}

fn taints(taints: &Value, path: &Path, errs: &mut ErrorList) {
    let mut seen: HashSet<(&str, &str)> = HashSet::new();
    for (i, t) in list(taints).iter().enumerate() {
        let p = path.index(i);
        let (key, value, effect) = (text(t, "key"), text(t, "value"), text(t, "effect"));
        errs.invalid_each(&p.child("key"), key, names::qualified_name(key));
        let msgs = names::label_value(value);
        if !msgs.is_empty() {
            errs.push(Error::invalid(&p.child("value"), value, msgs.join(";")));
        }
        match effect {
            "NoSchedule" | "PreferNoSchedule" | "NoExecute" => {}
            "" => errs.push(Error::required(&p.child("effect"), "")),
            other => errs.push(Error::not_supported(
                &p.child("effect"),
                other,
                &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            )),
        }
        if !seen.insert((key, effect)) {
            let mut e = Error::duplicate(&p, t.clone());
            e.detail = "taints must be unique by key and effect pair".into();
            errs.push(e);
        }
    }
}

fn node_update(new: &Value, old: &Value, errs: &mut ErrorList) {
    let path = Path::new("spec");
    node(new, errs);
    if !list(&old["spec"]["podCIDRs"]).is_empty() && new["spec"]["podCIDRs"] != old["spec"]["podCIDRs"] {
        errs.push(Error::forbidden(
            &path.child("podCIDRs"),
            "node updates may not change podCIDR except from \"\" to valid",
        ));
    }
    if !text(&old["spec"], "providerID").is_empty() && new["spec"]["providerID"] != old["spec"]["providerID"]
    {
        errs.push(Error::forbidden(
            &path.child("providerID"),
            "node updates may not change providerID except from \"\" to valid",
        ));
    }
    let rest = |o: &Value| {
        let mut s = o["spec"].clone();
        if let Some(m) = s.as_object_mut() {
            for f in [
                "taints",
                "unschedulable",
                "podCIDR",
                "podCIDRs",
                "providerID",
                "configSource",
            ] {
                m.remove(f);
            }
        }
        s
    };
    if !same(&rest(new), &rest(old)) {
        errs.push(Error::forbidden(
            &Path::new("[]"),
            "node updates may only change labels, taints, or capacity (or configSource, if the DynamicKubeletConfig feature gate is enabled)",
        ));
    }
}

/// An address other machines can reach.
pub(super) fn reachable(ip: &str, path: &Path, errs: &mut ErrorList) {
    let Ok(parsed) = ip.parse::<std::net::IpAddr>() else {
        errs.invalid_each(path, ip, names::ip(ip));
        return;
    };
    let (link_local, local_multicast) = match parsed {
        std::net::IpAddr::V4(a) => (a.is_link_local(), a.octets()[..3] == [224, 0, 0]),
        std::net::IpAddr::V6(a) => (
            a.segments()[0] & 0xffc0 == 0xfe80,
            a.is_multicast() && a.segments()[0] & 0xf == 2,
        ),
    };
    let mut bad = |m: &str| errs.push(Error::invalid(path, ip, m));
    if parsed.is_unspecified() {
        bad("may not be unspecified (0.0.0.0 or ::)");
    }
    if parsed.is_loopback() {
        bad("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if link_local {
        bad("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if local_multicast {
        bad("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

fn endpoints(o: &Value, errs: &mut ErrorList) {
    for (i, s) in list(&o["subsets"]).iter().enumerate() {
        let p = Path::new("subsets").index(i);
        let (ready, waiting) = (list(&s["addresses"]), list(&s["notReadyAddresses"]));
        if ready.is_empty() && waiting.is_empty() {
            errs.push(Error::required(
                &p,
                "must specify `addresses` or `notReadyAddresses`",
            ));
        }
        for (name, addresses) in [("addresses", ready), ("notReadyAddresses", waiting)] {
            for (j, a) in addresses.iter().enumerate() {
                let p = p.child(name).index(j);
                let ip = text(a, "ip");
                reachable(ip, &p.child("ip"), errs);
                if !names::ip(ip).is_empty() {
                    let why = "must be a valid IP address";
                    errs.push(Error::invalid(&p.child("ip"), ip, why));
                }
                let host = text(a, "hostname");
                if !host.is_empty() {
                    errs.invalid_each(&p.child("hostname"), host, names::dns1123_label(host));
                }
            }
        }
        let ports = list(&s["ports"]);
        for (j, port) in ports.iter().enumerate() {
            let p = p.child("ports").index(j);
            let name = text(port, "name");
            if name.is_empty() {
                if ports.len() > 1 {
                    errs.push(Error::required(&p.child("name"), ""));
                }
            } else {
                errs.invalid_each(&p.child("name"), name, names::dns1123_label(name));
            }
            let n = port["port"].as_i64().unwrap_or(0);
            for m in names::port_num(n) {
                errs.push(Error::invalid(&p.child("port"), n, m));
            }
            super::support::required_one_of(
                &port["protocol"],
                &["SCTP", "TCP", "UDP"],
                &p.child("protocol"),
                errs,
            );
        }
    }
}

fn limit_range(o: &Value, errs: &mut ErrorList) {
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
        let amount = |list: &str, r: &str| crate::quantity::Quantity::from_value(&l[list][r]).ok();
        for name in ["max", "min", "default", "defaultRequest"] {
            for (r, v) in l[name].as_object().into_iter().flatten() {
                nonnegative_quantity(v, &p.child(name).key(r), errs);
            }
        }
        for (r, _) in l["min"].as_object().into_iter().flatten() {
            if let (Some(min), Some(max)) = (amount("min", r), amount("max", r))
                && min > max
            {
                errs.push(Error::invalid(
                    &p.child("min").key(r),
                    min.to_string(),
                    format!("min value {min} is greater than max value {max}"),
                ));
            }
        }
        for (r, _) in l["default"].as_object().into_iter().flatten() {
            if let (Some(d), Some(max)) = (amount("default", r), amount("max", r))
                && d > max
            {
                errs.push(Error::invalid(
                    &p.child("default").key(r),
                    d.to_string(),
                    format!("default value {d} is greater than max value {max}"),
                ));
            }
        }
    }
}

fn quota(o: &Value, errs: &mut ErrorList) {
    let p = Path::new("spec");
    for (r, v) in o["spec"]["hard"].as_object().into_iter().flatten() {
        errs.invalid_each(&p.child("hard").key(r), r, names::qualified_name(r));
        nonnegative_quantity(v, &p.child("hard").key(r), errs);
    }
    scopes(&o["spec"], &p, errs);
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

/// Which pods a quota counts.
fn scopes(s: &Value, path: &Path, errs: &mut ErrorList) {
    let at = path.child("scopes");
    for scope in list(&s["scopes"]) {
        if !scope.as_str().is_some_and(|scope| SCOPES.contains(&scope)) {
            errs.push(Error::invalid(&at, s["scopes"].clone(), "unsupported scope"));
        }
    }
    conflicting(&s["scopes"], list(&s["scopes"]), &at, errs);
    let at = path.child("scopeSelector").child("matchExpressions");
    let mut named = vec![];
    for e in list(&s["scopeSelector"]["matchExpressions"]) {
        let (scope, operator) = (text(e, "scopeName"), text(e, "operator"));
        if !SCOPES.contains(&scope) {
            errs.push(Error::invalid(&at.child("scopeName"), scope, "unsupported scope"));
        } else if !matches!(scope, "PriorityClass" | "VolumeAttributesClass") && operator != "Exists" {
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
