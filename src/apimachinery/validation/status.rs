//! Updates of the status subresource, and of a pod's ephemeral containers.

use serde_json::Value;

use super::certificates;
use super::support::{conditions, list, nonnegative, text};
use crate::field::{Error, ErrorList, Path, quote};

const TOO_MANY: &str = "cannot be greater than status.replicas";
const TOO_MANY_READY: &str = "cannot be greater than readyReplicas";

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
        ],
        ("apps", "ReplicaSet") | ("", "ReplicationController") => &[
            "replicas",
            "fullyLabeledReplicas",
            "readyReplicas",
            "availableReplicas",
            "observedGeneration",
        ],
        ("apps", "StatefulSet") => &[
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
            "observedGeneration",
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
        ],
        ("batch", "Job") => &["active", "succeeded", "failed", "ready"],
        ("policy", "PodDisruptionBudget") => &[
            "disruptionsAllowed",
            "currentHealthy",
            "desiredHealthy",
            "expectedPods",
        ],
        ("autoscaling", _) => &["currentReplicas", "desiredReplicas"],
        ("", "Service") => {
            super::service::status(new, errs);
            return;
        }
        ("", "Pod") => {
            pod(new, errs);
            return;
        }
        ("flowcontrol.apiserver.k8s.io", _) => {
            super::flowcontrol::status(new, errs);
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
                TOO_MANY_READY,
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
