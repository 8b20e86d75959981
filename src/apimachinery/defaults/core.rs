//! The core group but for pods.

use base64::prelude::*;
use serde_json::Value;

use super::{Object, child, each, ensure, or, or_str, pod, text, unset};

pub(super) fn apply(kind: &str, o: &mut Object) {
    match kind {
        "Pod" => pod::pod(o),
        "PodTemplate" => {
            if let Some(t) = ensure(o, "template") {
                pod::template(t);
            }
        }
        "ReplicationController" => replication_controller(o),
        "Service" => service(o),
        "Endpoints" => each(o, "subsets", |s| {
            each(s, "ports", |p| or_str(p, "protocol", "TCP"))
        }),
        "Secret" => {
            or_str(o, "type", "Opaque");
            string_data(o);
        }
        "Namespace" => namespace(o),
        "Node" => node(o),
        "PersistentVolume" => persistent_volume(o),
        "PersistentVolumeClaim" => claim(o),
        "LimitRange" => {
            if let Some(s) = child(o, "spec") {
                each(s, "limits", limit_range_item);
            }
        }
        "ResourceQuota" => {
            if let Some(h) = child(o, "spec").and_then(|s| child(s, "hard")) {
                pod::resource_list(h);
            }
        }
        _ => {}
    }
}

fn replication_controller(o: &mut Object) {
    let labels = o
        .get("spec")
        .and_then(|s| s["template"]["metadata"]["labels"].as_object())
        .filter(|l| !l.is_empty())
        .cloned();
    if let Some(labels) = labels {
        if let Some(m) = ensure(o, "metadata") {
            or_map(m, "labels", &labels);
        }
        if let Some(s) = ensure(o, "spec") {
            or_map(s, "selector", &labels);
        }
    }
    if let Some(s) = ensure(o, "spec") {
        or(s, "replicas", 1);
        if let Some(t) = child(s, "template") {
            pod::template(t);
        }
    }
}

/// Sets a map when absent or empty.
pub(super) fn or_map(m: &mut Object, key: &str, value: &Object) {
    if m.get(key).and_then(Value::as_object).is_none_or(|v| v.is_empty()) {
        m.insert(key.into(), Value::Object(value.clone()));
    }
}

fn service(o: &mut Object) {
    let Some(s) = ensure(o, "spec") else { return };
    or_str(s, "sessionAffinity", "None");
    match text(s, "sessionAffinity") {
        "None" => {
            s.remove("sessionAffinityConfig");
        }
        "ClientIP" => {
            if let Some(c) = ensure(s, "sessionAffinityConfig").and_then(|c| ensure(c, "clientIP")) {
                or(c, "timeoutSeconds", 10800);
            }
        }
        _ => {}
    }
    or_str(s, "type", "ClusterIP");
    each(s, "ports", |p| {
        or_str(p, "protocol", "TCP");
        let empty = p
            .get("targetPort")
            .is_none_or(|t| t.is_null() || t == 0 || t == "");
        if empty && let Some(port) = p.get("port").cloned() {
            p.insert("targetPort".into(), port);
        }
    });
    let kind = text(s, "type").to_owned();
    let external_ips = s
        .get("externalIPs")
        .and_then(Value::as_array)
        .is_some_and(|l| !l.is_empty());
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && external_ips) {
        or_str(s, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        or(s, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        or(s, "allocateLoadBalancerNodePorts", true);
        if let Some(lb) = child(o, "status").and_then(|s| child(s, "loadBalancer")) {
            each(lb, "ingress", |i| {
                if !text(i, "ip").is_empty() {
                    or(i, "ipMode", "VIP");
                }
            });
        }
    }
}

/// `stringData` is only for writing: its texts become `data`.
fn string_data(o: &mut Object) {
    let Some(Value::Object(texts)) = o.remove("stringData") else {
        return;
    };
    if texts.is_empty() {
        return;
    }
    if let Some(data) = ensure(o, "data") {
        for (k, v) in texts {
            let encoded = BASE64_STANDARD.encode(v.as_str().unwrap_or(""));
            data.insert(k, encoded.into());
        }
    }
}

fn namespace(o: &mut Object) {
    let name = o
        .get("metadata")
        .and_then(|m| m["name"].as_str())
        .unwrap_or("")
        .to_owned();
    if !name.is_empty()
        && let Some(l) = ensure(o, "metadata").and_then(|m| ensure(m, "labels"))
    {
        l.insert("kubernetes.io/metadata.name".into(), name.into());
    }
    if let Some(s) = ensure(o, "status") {
        or_str(s, "phase", "Active");
    }
}

fn node(o: &mut Object) {
    let Some(s) = child(o, "status") else { return };
    for list in ["capacity", "allocatable"] {
        if let Some(l) = child(s, list) {
            pod::resource_list(l);
        }
    }
    if unset(s.get("allocatable"))
        && let Some(c) = s.get("capacity").cloned()
    {
        s.insert("allocatable".into(), c);
    }
}

fn persistent_volume(o: &mut Object) {
    if let Some(s) = ensure(o, "status") {
        or_str(s, "phase", "Pending");
    }
    if let Some(s) = ensure(o, "spec") {
        or_str(s, "persistentVolumeReclaimPolicy", "Retain");
        or(s, "volumeMode", "Filesystem");
        pod::volume_source(s);
        if let Some(h) = child(s, "hostPath") {
            or(h, "type", "");
        }
        if let Some(c) = child(s, "capacity") {
            pod::resource_list(c);
        }
    }
}

pub(super) fn claim(o: &mut Object) {
    if let Some(s) = ensure(o, "status") {
        or_str(s, "phase", "Pending");
    }
    if let Some(s) = ensure(o, "spec") {
        or(s, "volumeMode", "Filesystem");
        if let Some(r) = ensure(s, "resources") {
            for name in ["requests", "limits"] {
                if let Some(l) = child(r, name) {
                    pod::resource_list(l);
                }
            }
        }
    }
}

fn limit_range_item(i: &mut Object) {
    for list in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        if let Some(l) = child(i, list) {
            pod::resource_list(l);
        }
    }
    if text(i, "type") != "Container" {
        return;
    }
    let list = |i: &Object, k: &str| i.get(k).and_then(Value::as_object).cloned().unwrap_or_default();
    let max = list(i, "max");
    fill_list(i, "default", max);
    let default = list(i, "default");
    fill_list(i, "defaultRequest", default);
    let min = list(i, "min");
    fill_list(i, "defaultRequest", min);
}

fn fill_list(i: &mut Object, to: &str, from: Object) {
    if from.is_empty() {
        return;
    }
    if let Some(t) = ensure(i, to) {
        for (k, v) in from {
            or(t, &k, v);
        }
    }
}

/// Ports of webhooks and aggregated services.
pub(super) fn service_reference(o: &mut Object) {
    if let Some(s) = child(o, "service") {
        or(s, "port", 443);
    }
}
