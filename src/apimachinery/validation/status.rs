//! Updates of the status subresource, and of a pod's ephemeral containers.

use serde_json::Value;

use super::certificates;
use super::support::{list, nonnegative, text};
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
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            certificates::update(certificates::By::Status, new, old, errs);
            return;
        }
        _ => return,
    };
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
