//! What upstream warns of without refusing it: `Warning` headers, which
//! kubectl prints.
//!
//! ```text
//! warnings::deprecated(&gvk) -> Option<&str>       // on every request for the kind
//! warnings::of_new(&gvk, &object) -> Vec<String>    // on create
//! warnings::of_update(&gvk, &object) -> Vec<String> // on update
//! ```

use std::collections::HashMap;

use base64::prelude::*;
use serde_json::Value;

use crate::field::{Path, quote};
use crate::meta::{self, Gvk};
use crate::names;
use crate::quantity::Quantity;

/// Whether the API's version of a kind is on its way out.
#[must_use]
pub fn deprecated(gvk: &Gvk) -> Option<&'static str> {
    match (gvk.group.as_str(), gvk.version.as_str(), gvk.kind.as_str()) {
        ("", "v1", "Endpoints") => {
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        }
        ("", "v1", "ComponentStatus") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        _ => None,
    }
}

/// What is odd about an object about to be created.
#[must_use]
pub fn of_new(gvk: &Gvk, o: &Value) -> Vec<String> {
    let mut out = vec![];
    let used = match gvk.group_kind() {
        ("", "Pod") => "the Pod's hostname",
        ("", "ReplicationController")
        | ("apps", "Deployment" | "ReplicaSet")
        | ("batch", "Job" | "CronJob") => "Pod names and hostnames",
        _ => "",
    };
    let faults = names::dns1123_label(meta::name(o));
    if !used.is_empty() && !meta::name(o).is_empty() && !faults.is_empty() {
        out.push(format!(
            "metadata.name: this is used in {used}, which can result in surprising behavior; a DNS label is recommended: [{}]",
            faults.join(" ")
        ));
    }
    out.extend(of_object(gvk, o));
    out
}

/// What is odd about an object about to be written.
fn of_object(gvk: &Gvk, o: &Value) -> Vec<String> {
    let mut out = finalizers(o);
    let spec = Path::new("spec");
    match gvk.group_kind() {
        ("", "Pod") => pod(&o["spec"], &spec, &mut out),
        ("apps", "StatefulSet") => stateful_set(&o["spec"], &spec, false, &mut out),
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => {
            pod(
                &o["spec"]["template"]["spec"],
                &spec.child("template").child("spec"),
                &mut out,
            );
        }
        ("batch", "CronJob") => {
            let path = spec
                .child("jobTemplate")
                .child("spec")
                .child("template")
                .child("spec");
            pod(
                &o["spec"]["jobTemplate"]["spec"]["template"]["spec"],
                &path,
                &mut out,
            );
        }
        ("", "PodTemplate") => {
            pod(
                &o["template"]["spec"],
                &Path::new("template").child("spec"),
                &mut out,
            );
        }
        ("", "Service") => service(&o["spec"], &mut out),
        ("", "Secret") if o["type"] == "kubernetes.io/tls" => key_pair(&o["data"], &mut out),
        ("", "PersistentVolume") => volume(o, &spec, &mut out),
        ("", "PersistentVolumeClaim") => claim(&o["spec"], &spec, &mut out),
        ("", "Node") if !text(&o["spec"], "externalID").is_empty() => {
            out.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".into());
        }
        ("storage.k8s.io", "CSIDriver")
            if !list(&o["spec"]["tokenRequests"]).is_empty()
                && o["spec"]["serviceAccountTokenInSecrets"].is_null() =>
        {
            out.push("spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes".into());
        }
        ("networking.k8s.io", "Ingress") if meta::annotation(o, "kubernetes.io/ingress.class").is_some() => {
            out.push(
                "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
                    .into(),
            );
        }
        _ => {}
    }
    out
}

fn stateful_set(s: &Value, path: &Path, is_update: bool, out: &mut Vec<String>) {
    let at = path.child("template").child("spec");
    pod(&s["template"]["spec"], &at, out);
    for (i, template) in list(&s["volumeClaimTemplates"]).iter().enumerate() {
        let at = path.child("volumeClaimTemplates").index(i);
        // Upstream's paths to the same differ.
        let at = if is_update { at.child("Spec") } else { at };
        claim(&template["spec"], &at, out);
    }
    if s["revisionHistoryLimit"].as_i64().is_some_and(|n| n < 0) {
        out.push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".into());
    }
}

/// What is odd about an object about to replace another.
#[must_use]
pub fn of_update(gvk: &Gvk, new: &Value) -> Vec<String> {
    if gvk.group_kind() != ("apps", "StatefulSet") {
        return of_object(gvk, new);
    }
    let mut out = finalizers(new);
    stateful_set(&new["spec"], &Path::new("spec"), true, &mut out);
    out
}

fn finalizers(o: &Value) -> Vec<String> {
    let bare = meta::finalizers(o).filter(|f| !f.contains('/'));
    let unknown = bare.filter(|f| !matches!(*f, "kubernetes" | "orphan" | "foregroundDeletion"));
    unknown
        .map(|f| {
            format!(
                "metadata.finalizers: {}: prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers",
                quote(f)
            )
        })
        .collect()
}

fn list(v: &Value) -> &[Value] {
    v.as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(v: &'a Value, f: &str) -> &'a str {
    v[f].as_str().unwrap_or("")
}

/// Labels of nodes that have newer names.
const OLD_LABELS: &[(&str, &str, &str)] = &[
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "v1.17",
        "topology.kubernetes.io/region",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "v1.17",
        "topology.kubernetes.io/zone",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "v1.17",
        "node.kubernetes.io/instance-type",
    ),
];

/// Volume types that are gone or going.
const OLD_VOLUMES: &[(&str, &str)] = &[
    (
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    (
        "gitRepo",
        "deprecated in v1.11, and disabled by default in v1.33+",
    ),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

fn pod(s: &Value, path: &Path, out: &mut Vec<String>) {
    for (key, since, instead) in OLD_LABELS {
        if !s["nodeSelector"][*key].is_null() {
            let p = path.child("nodeSelector").key(key);
            out.push(format!(
                "{p}: deprecated since {since}; use {} instead",
                quote(instead)
            ));
        }
    }
    for (i, v) in list(&s["volumes"]).iter().enumerate() {
        for (kind, why) in OLD_VOLUMES {
            if v[*kind].is_object() {
                let shown = if *kind == "storageos" { "storageOS" } else { kind };
                out.push(format!("{}: {why}", path.child("volumes").index(i).child(shown)));
            }
        }
        for source in list(&v["projected"]["sources"]) {
            // Sources that are off by default are dropped.
            let known = ["secret", "configMap", "downwardAPI", "serviceAccountToken"];
            if !known.iter().any(|kind| source[*kind].is_object()) {
                let name = quote(text(v, "name"));
                out.push(format!("volume {name} (Projected) has no sources provided"));
            }
        }
        let template = &v["ephemeral"]["volumeClaimTemplate"];
        if template.is_object() {
            let at = path.child("volumes").index(i).child("ephemeral");
            claim(
                &template["spec"],
                &at.child("volumeClaimTemplate").child("spec"),
                out,
            );
        }
    }
    null_selectors(s, path, out);
    for (i, secret) in list(&s["imagePullSecrets"]).iter().enumerate() {
        if text(secret, "name").is_empty() {
            let p = path.child("imagePullSecrets").index(i).child("name");
            out.push(format!("{p}: invalid empty name \"\""));
        }
    }
    for lists in ["initContainers", "containers"] {
        for (i, c) in list(&s[lists]).iter().enumerate() {
            container(c, &path.child(lists).index(i), out);
        }
    }
    if s["terminationGracePeriodSeconds"].as_i64().is_some_and(|n| n < 0) {
        out.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            path.child("terminationGracePeriodSeconds")
        ));
    }
}

/// Terms of affinity and spreading without a selector, which choose no pod.
fn null_selectors(s: &Value, path: &Path, out: &mut Vec<String>) {
    let mut check = |term: &Value, path: &Path| {
        if term["labelSelector"].is_null() {
            let path = path.child("labelSelector");
            out.push(format!("{path}: a null labelSelector results in matching no pod"));
        }
    };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let path = path.child("affinity").child(kind);
        let hard = "requiredDuringSchedulingIgnoredDuringExecution";
        for (i, term) in list(&s["affinity"][kind][hard]).iter().enumerate() {
            check(term, &path.child(hard).index(i));
        }
        let soft = "preferredDuringSchedulingIgnoredDuringExecution";
        for (i, term) in list(&s["affinity"][kind][soft]).iter().enumerate() {
            let path = path.child(soft).index(i).child("podAffinityTerm");
            check(&term["podAffinityTerm"], &path);
        }
    }
    for (i, term) in list(&s["topologySpreadConstraints"]).iter().enumerate() {
        check(term, &path.child("topologySpreadConstraints").index(i));
    }
}

fn container(c: &Value, path: &Path, out: &mut Vec<String>) {
    for (name, v) in c["resources"]["requests"].as_object().into_iter().flatten() {
        let bytes = matches!(name.as_str(), "memory" | "ephemeral-storage");
        if bytes && Quantity::from_value(v).is_ok_and(|q| !q.is_integer()) {
            out.push(format!(
                "{}: fractional byte value {} is invalid, must be an integer",
                path.child("resources").child("requests").key(name),
                quote(v.as_str().unwrap_or(""))
            ));
        }
    }
    let mut seen: Vec<&str> = vec![];
    for (i, e) in list(&c["env"]).iter().enumerate() {
        let name = text(e, "name");
        // Built from its own earlier value: meant.
        let extends = text(e, "value").contains(&format!("$({name})"));
        if seen.contains(&name) && !extends {
            out.push(format!(
                "{}: hides previous definition of {}, which may be dropped when using apply",
                path.child("env").index(i),
                quote(name)
            ));
        }
        seen.push(name);
    }
    ports(c, &path.child("ports"), out);
}

fn ports(c: &Value, path: &Path, out: &mut Vec<String>) {
    type Port<'a> = (i64, &'a str, i64, &'a str);
    let mut seen: Vec<Port<'_>> = vec![];
    let mut names: HashMap<&str, usize> = HashMap::new();
    for (i, p) in list(&c["ports"]).iter().enumerate() {
        let port: Port<'_> = (
            p["containerPort"].as_i64().unwrap_or(0),
            text(p, "protocol"),
            p["hostPort"].as_i64().unwrap_or(0),
            text(p, "hostIP"),
        );
        if let Some(j) = seen.iter().position(|s| *s == port) {
            out.push(format!(
                "{}: duplicate port definition with {}",
                path.index(i),
                path.index(j)
            ));
        }
        seen.push(port);
        if !port.3.is_empty() && port.2 == 0 {
            // As Go prints the port.
            out.push(format!(
                "{}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{} HostIP:{}}}",
                path.index(i),
                text(p, "name"),
                port.0,
                port.1,
                port.3
            ));
        }
        let name = text(p, "name");
        if !name.is_empty()
            && let Some(j) = names.insert(name, i)
        {
            let first = path.index(j);
            out.push(format!(
                "{}: duplicate port name {} with {first}, services and probes that select ports by name will use {first}",
                path.index(i).child("name"),
                quote(name)
            ));
        }
    }
}

/// Sources of PersistentVolumes that are gone.
const GONE_VOLUMES: &[(&str, &str, &str)] = &[
    (
        "cephfs",
        "cephfs",
        "deprecated in v1.28, non-functional in v1.31+",
    ),
    (
        "photonPersistentDisk",
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    (
        "scaleIO",
        "scaleIO",
        "deprecated in v1.16, non-functional in v1.22+",
    ),
    (
        "storageos",
        "storageOS",
        "deprecated in v1.22, non-functional in v1.25+",
    ),
    (
        "glusterfs",
        "glusterfs",
        "deprecated in v1.25, non-functional in v1.26+",
    ),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

fn volume(o: &Value, path: &Path, out: &mut Vec<String>) {
    for (key, why) in [
        (
            "volume.beta.kubernetes.io/storage-class",
            "deprecated since v1.8; use \"storageClassName\" attribute instead",
        ),
        (
            "volume.beta.kubernetes.io/mount-options",
            "deprecated since v1.31; use \"mountOptions\" attribute instead",
        ),
    ] {
        if meta::annotation(o, key).is_some() {
            let at = Path::new("metadata").child("annotations").key(key);
            out.push(format!("{at}: {why}"));
        }
    }
    let s = &o["spec"];
    if s["persistentVolumeReclaimPolicy"] == "Recycle" {
        let at = path.child("persistentVolumeReclaimPolicy");
        out.push(format!(
            "{at}: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning."
        ));
    }
    for (field, shown, why) in GONE_VOLUMES {
        if s[*field].is_object() {
            out.push(format!("{}: {why}", path.child(shown)));
        }
    }
}

/// A certificate and its key, as Go's `tls.X509KeyPair` finds them missing.
fn key_pair(data: &Value, out: &mut Vec<String>) {
    let pem = |name: &str| {
        let text = BASE64_STANDARD.decode(data[name].as_str().unwrap_or(""));
        String::from_utf8(text.unwrap_or_default()).unwrap_or_default()
    };
    let (certificate, key) = (pem("tls.crt"), pem("tls.key"));
    let begins = |text: &str| text.contains("-----BEGIN ");
    let fault = if !begins(&certificate) {
        "tls: failed to find any PEM data in certificate input"
    } else if certificate.contains("PRIVATE KEY-----") && !certificate.contains("BEGIN CERTIFICATE-----") {
        "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched"
    } else if !begins(&key) {
        "tls: failed to find any PEM data in key input"
    } else {
        return;
    };
    out.push(fault.to_owned());
}

fn claim(s: &Value, path: &Path, out: &mut Vec<String>) {
    for list in ["requests", "limits"] {
        let amount = &s["resources"][list]["storage"];
        if Quantity::from_value(amount).is_ok_and(|q| !q.is_integer()) {
            let at = path.child("resources").child(list).key("storage");
            out.push(format!(
                "{at}: fractional byte value {} is invalid, must be an integer",
                quote(amount.as_str().unwrap_or(""))
            ));
        }
    }
}

fn service(s: &Value, out: &mut Vec<String>) {
    if s["clusterIP"] == "None" && s["type"] == "ClusterIP" {
        if !list(&s["externalIPs"]).is_empty() {
            out.push("spec.externalIPs is ignored for headless services".into());
        }
        if !text(s, "loadBalancerIP").is_empty() {
            out.push("spec.loadBalancerIP is ignored for headless services".into());
        }
        if s["sessionAffinity"] != "None" {
            out.push("spec.SessionAffinity is ignored for headless services".into());
        }
    }
    let by_name = s["type"] == "ExternalName";
    if by_name && !list(&s["externalIPs"]).is_empty() {
        out.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if !by_name && !text(s, "externalName").is_empty() {
        out.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if s["trafficDistribution"] == "PreferClose" {
        out.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
}

#[cfg(test)]
mod tests;
