//! When containers restart: policies and rules of their own (KEP-5307), and resizes (KEP-1287).

use serde_json::Value;

use super::super::support::{list, text};
use crate::field::{Error, ErrorList, Path};

const POLICIES: &[&str] = &["Always", "Never", "OnFailure"];

/// A container's own `restartPolicy` and its rules.
pub(super) fn policy(c: &Value, p: &Path, is_init: bool, errs: &mut ErrorList) {
    let at = p.child("restartPolicy");
    let rules = list(&c["restartPolicyRules"]);
    match c["restartPolicy"].as_str() {
        None if rules.is_empty() => return,
        None => {
            let why = "must specify restartPolicy when restart rules are used";
            errs.push(Error::required(&at, why));
            if is_init {
                return;
            }
        }
        Some("Always") if is_init => {
            if !rules.is_empty() {
                errs.push(Error::forbidden(
                    &p.child("restartPolicyRules"),
                    "restartPolicyRules are not allowed for init containers with restart policy Always",
                ));
            }
            return;
        }
        Some(policy) if POLICIES.contains(&policy) => {}
        Some(other) => errs.push(Error::not_supported(&at, other, POLICIES)),
    }
    if rules.len() > 20 {
        errs.push(Error::too_long(&p.child("restartPolicyRules"), 20));
    }
    for (i, rule) in rules.iter().enumerate() {
        let at = p.child("restartPolicyRules").index(i);
        let action = text(rule, "action");
        if action != "Restart" {
            errs.push(Error::not_supported(&at.child("action"), action, &["Restart"]));
        }
        let (codes, at) = (&rule["exitCodes"], at.child("exitCodes"));
        if !codes.is_object() {
            errs.push(Error::required(&at, "must be specified"));
            continue;
        }
        let operator = text(codes, "operator");
        if !matches!(operator, "In" | "NotIn") {
            errs.push(Error::not_supported(
                &at.child("operator"),
                operator,
                &["In", "NotIn"],
            ));
        }
        if list(&codes["values"]).len() > 255 {
            errs.push(Error::too_long(&at.child("values"), 255));
        }
    }
}

/// How a container takes a change of what it has. Upstream's paths leave out which entry is wrong.
pub(super) fn resizes(c: &Value, pod_policy: &str, path: &Path, errs: &mut ErrorList) {
    let mut seen: Vec<&str> = vec![];
    for (i, entry) in list(&c["resizePolicy"]).iter().enumerate() {
        let (resource, policy) = (text(entry, "resourceName"), text(entry, "restartPolicy"));
        if seen.contains(&resource) {
            errs.push(Error::duplicate(&path.index(i), resource));
        }
        seen.push(resource);
        for (given, known) in [
            (resource, &["cpu", "memory"]),
            (policy, &["NotRequired", "RestartContainer"]),
        ] {
            if given.is_empty() {
                errs.push(Error::required(path, ""));
            } else if !known.contains(&given) {
                errs.push(Error::not_supported(path, given, known));
            }
        }
        if pod_policy == "Never" && policy != "NotRequired" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errs.push(Error::invalid(path, policy, why));
        }
    }
}
