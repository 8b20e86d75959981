//! The core group but for pods and volumes.

use std::collections::HashSet;

use base64::prelude::*;
use serde_json::Value;

use super::support::{immutable, list, nonnegative_quantity, same, text};
use super::{endpoints, limits, pod, service, storage, workloads};
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
        "Endpoints" => endpoints::endpoints(o, errs),
        "LimitRange" => limits::range(o, errs),
        "ResourceQuota" => limits::quota(o, errs),
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
        "ResourceQuota" => limits::quota_update(new, old, errs),
        "PodTemplate" | "ReplicationController" | "Endpoints" | "Event" | "LimitRange" | "Namespace" => {
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
        // As Go's parser says it, for what is no JSON from its beginning.
        let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        let why = match first.map(|byte| char::from(*byte)) {
            None => "unexpected end of JSON input".to_owned(),
            Some(first) if !r#"{["-0123456789tfn"#.contains(first) => {
                format!("invalid character '{first}' looking for beginning of value")
            }
            Some(_) => e.to_string(),
        };
        errs.push(Error::invalid(&p, "<secret contents redacted>", why));
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
    let is_v4 = |c: &Value| {
        let net = c.as_str().and_then(|c| c.parse::<ipnet::IpNet>().ok());
        net.map(|net| net.addr().is_ipv4())
    };
    let doubled = cidrs.len() == 2 && is_v4(&cidrs[0]) == is_v4(&cidrs[1]) && is_v4(&cidrs[0]).is_some();
    if cidrs.len() > 2 || doubled {
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
    taints(
        &new["spec"]["taints"],
        &Path::new("metadata").child("taints"),
        errs,
    );
    if text(&new["spec"], "externalID") != text(&old["spec"], "externalID") {
        errs.push(Error::forbidden(&path.child("externalID"), "may not be updated"));
    }
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
                "externalID",
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
