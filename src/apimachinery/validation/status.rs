//! Updates of the status subresource, and of a pod's ephemeral containers.

use serde_json::Value;

use super::certificates;
use super::support::{conditions, list, nonnegative, text};
use crate::field::{Error, ErrorList, Path, quote};

const TOO_MANY: &str = "cannot be greater than status.replicas";
const TOO_MANY_READY: &str = "cannot be greater than readyReplicas";
/// As a StatefulSet says it.
const TOO_MANY_READY_ORDERED: &str = "cannot be greater than status.readyReplicas";

/// Counts that can't be negative, nor more than the replicas there are.
pub(super) fn update(group: &str, kind: &str, new: &Value, old: &Value, errs: &mut ErrorList) {
    let s = &new["status"];
    let path = Path::new("status");
    let n = |f: &str| s[f].as_i64().unwrap_or(0);
    let counts: &[&str] = match (group, kind) {
        ("apps", "Deployment") => &[
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "collisionCount",
        ],
        ("apps", "ReplicaSet") | ("", "ReplicationController") => &[
            "replicas",
            "fullyLabeledReplicas",
            "readyReplicas",
            "availableReplicas",
            "observedGeneration",
            "terminatingReplicas",
        ],
        ("apps", "StatefulSet") => &[
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
            "observedGeneration",
            "collisionCount",
        ],
        ("apps", "DaemonSet") => &[
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ],
        ("batch", "Job") => {
            super::batch::status(new, old, errs);
            &["active", "succeeded", "failed", "ready", "terminating"]
        }
        ("policy", "PodDisruptionBudget") => &[
            "disruptionsAllowed",
            "currentHealthy",
            "desiredHealthy",
            "expectedPods",
        ],
        ("autoscaling", _) => &["currentReplicas", "desiredReplicas"],
        ("networking.k8s.io", "Ingress") => {
            let path = path.child("loadBalancer").child("ingress");
            for (i, ingress) in list(&s["loadBalancer"]["ingress"]).iter().enumerate() {
                let (ip, p) = (text(ingress, "ip"), path.index(i));
                if !ip.is_empty() {
                    errs.invalid_each(&p.child("ip"), ip, crate::names::ip(ip));
                }
                super::network::ingress_hostname(text(ingress, "hostname"), &p.child("hostname"), errs);
            }
            return;
        }
        ("apiregistration.k8s.io", _) => {
            for (i, c) in list(&s["conditions"]).iter().enumerate() {
                let p = path.child("conditions").index(i).child("status");
                let status = text(c, "status");
                if !matches!(status, "True" | "False" | "Unknown") {
                    errs.push(Error::not_supported(&p, status, &["True", "False", "Unknown"]));
                }
            }
            return;
        }
        ("", "Service") => {
            super::service::status(new, errs);
            return;
        }
        ("", "Pod") => {
            pod(new, errs);
            addresses(s, &path, errs);
            let (now, before) = (text(s, "qosClass"), text(&old["status"], "qosClass"));
            if !before.is_empty() && now != before {
                errs.push(Error::invalid(&path.child("qosClass"), now, "field is immutable"));
            }
            return;
        }
        ("flowcontrol.apiserver.k8s.io", _) => {
            super::flowcontrol::status(new, errs);
            return;
        }
        ("", "Namespace") => {
            let phase = text(s, "phase");
            let (wanted, when) = match crate::meta::is_deleting(new) {
                true => ("Terminating", "is not empty"),
                false => ("Active", "is empty"),
            };
            if phase != wanted {
                let why = format!("may only be '{wanted}' if `deletionTimestamp` {when}");
                // As upstream spells it.
                errs.push(Error::invalid(&path.child("Phase"), phase, why));
            }
            return;
        }
        ("storage.k8s.io", "VolumeAttachment") => {
            for error in ["attachError", "detachError"] {
                if let Some(code) = s[error]["errorCode"].as_i64().filter(|n| *n < 0) {
                    let why = crate::names::inclusive_range_error(0, i64::from(i32::MAX));
                    errs.push(Error::invalid(&path.child(error).child("errorCode"), code, why));
                }
            }
            return;
        }
        ("", "ResourceQuota") => {
            super::limits::quota_status(new, errs);
            return;
        }
        ("apiextensions.k8s.io", _) => {
            super::definition::status(new, errs);
            return;
        }
        ("admissionregistration.k8s.io", _) => {
            conditions(&s["conditions"], &path.child("conditions"), errs);
            return;
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            certificates::update(certificates::By::Status, new, old, errs);
            return;
        }
        _ => return,
    };
    if group == "policy" {
        conditions(&s["conditions"], &path.child("conditions"), errs);
    }
    for f in counts {
        nonnegative(&s[*f], &path.child(f), errs);
    }
    if counts.contains(&"replicas") {
        for f in [
            "updatedReplicas",
            "readyReplicas",
            "currentReplicas",
            "availableReplicas",
            "fullyLabeledReplicas",
        ] {
            if counts.contains(&f) && n(f) > n("replicas") {
                errs.push(Error::invalid(&path.child(f), n(f), TOO_MANY));
            }
        }
        if n("availableReplicas") > n("readyReplicas") {
            errs.push(Error::invalid(
                &path.child("availableReplicas"),
                n("availableReplicas"),
                match kind {
                    "StatefulSet" => TOO_MANY_READY_ORDERED,
                    _ => TOO_MANY_READY,
                },
            ));
        }
    }
    let before = old["status"]["collisionCount"].as_i64();
    if before.is_some_and(|b| n("collisionCount") < b) {
        errs.push(Error::invalid(
            &path.child("collisionCount"),
            n("collisionCount"),
            "cannot be decremented",
        ));
    }
}

/// Where a pod and its node are reached; the older name of the first address stands for it.
fn addresses(s: &Value, path: &Path, errs: &mut ErrorList) {
    for (one, many) in [("podIP", "podIPs"), ("hostIP", "hostIPs")] {
        let (first, p) = (text(s, one), path.child(many));
        let mut all: Vec<&str> = list(&s[many]).iter().map(|entry| text(entry, "ip")).collect();
        if one == "podIP" && !first.is_empty() && all.first() != Some(&first) {
            all = vec![first];
        }
        for (i, ip) in all.iter().enumerate() {
            errs.invalid_each(&p.index(i), ip, crate::names::ip(ip));
        }
        if one == "hostIP"
            && let Some(ip) = all.first().filter(|ip| **ip != first)
        {
            let why = "must be equal to `hostIP`";
            errs.push(Error::invalid(&p.index(0).child("ip"), *ip, why));
        }
    }
}

/// A pod's conditions and what became of its claims.
fn pod(new: &Value, errs: &mut ErrorList) {
    let (s, path) = (&new["status"], Path::new("status"));
    for (i, c) in list(&s["conditions"]).iter().enumerate() {
        let (kind, p) = (text(c, "type"), path.child("conditions").index(i));
        if let Some(n) = c["observedGeneration"].as_i64().filter(|n| *n < 0) {
            let why = "must be a non-negative integer";
            errs.push(Error::invalid(&p.child("observedGeneration"), n, why));
        }
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            // As upstream spells it.
            errs.invalid_each(&p.child("Type"), kind, crate::names::qualified_name(kind));
        }
    }
    if let Some(n) = s["observedGeneration"].as_i64().filter(|n| *n < 0) {
        let why = "must be a non-negative integer";
        errs.push(Error::invalid(&path.child("observedGeneration"), n, why));
    }
    let claims = list(&new["spec"]["resourceClaims"]);
    let mut seen: Vec<&str> = vec![];
    for (i, claim) in list(&s["resourceClaimStatuses"]).iter().enumerate() {
        let at = path.child("resourceClaimStatuses").index(i).child("name");
        let name = text(claim, "name");
        if !claims.iter().any(|claim| text(claim, "name") == name) {
            let why = "must match the name of an entry in `spec.resourceClaims`";
            errs.push(Error::invalid(&at, name, why));
        }
        if seen.contains(&name) {
            errs.push(Error::duplicate(&at, name));
        }
        seen.push(name);
        if let Some(name) = claim["resourceClaimName"].as_str() {
            errs.invalid_each(&at, name, crate::names::dns1123_subdomain(name));
        }
    }
}

/// Ephemeral containers may be added, nothing else.
pub(super) fn ephemeral_containers(new: &Value, old: &Value, errs: &mut ErrorList) {
    let path = Path::new("spec").child("ephemeralContainers");
    let (now, before) = (
        list(&new["spec"]["ephemeralContainers"]),
        list(&old["spec"]["ephemeralContainers"]),
    );
    for was in before {
        let name = text(was, "name");
        match now.iter().find(|c| text(c, "name") == name) {
            None => errs.push(Error::forbidden(
                &path,
                format!(
                    "existing ephemeral containers {} may not be removed\n",
                    quote(name)
                ),
            )),
            Some(c) if c != was => errs.push(Error::forbidden(
                &path,
                format!(
                    "existing ephemeral containers {} may not be changed\n",
                    quote(name)
                ),
            )),
            Some(_) => {}
        }
    }
}
