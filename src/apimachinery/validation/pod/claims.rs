//! Devices that a pod claims, and its containers' shares of them (KEP-4381).

use serde_json::Value;

use super::super::support::{list, required, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

/// The pod's `resourceClaims`.
pub(super) fn of_pod(spec: &Value, path: &Path, errs: &mut ErrorList) {
    let mut seen: Vec<&str> = vec![];
    for (i, claim) in list(&spec["resourceClaims"]).iter().enumerate() {
        let p = path.index(i);
        let (name, at) = (text(claim, "name"), p.child("name"));
        if required(&claim["name"], &at, errs) {
            if seen.contains(&name) {
                errs.push(Error::duplicate(&at, name));
            } else {
                errs.invalid_each(&at, name, names::dns1123_label(name));
                seen.push(name);
            }
        }
        let fields = ["resourceClaimName", "resourceClaimTemplateName"];
        let why = match fields.map(|field| claim[field].is_string()) {
            [true, true] => {
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            }
            [false, false] => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            _ => "",
        };
        if !why.is_empty() {
            errs.push(Error::invalid(&p, claim.clone(), why));
        }
        for field in fields {
            if let Some(name) = claim[field].as_str() {
                errs.invalid_each(&p.child(field), name, names::dns1123_subdomain(name));
            }
        }
    }
}

/// `resources.claims` of a container, which must be among the pod's.
pub(super) fn of_container(claims: &Value, spec: &Value, path: &Path, errs: &mut ErrorList) {
    let mut known: Vec<&str> = list(&spec["resourceClaims"])
        .iter()
        .map(|claim| text(claim, "name"))
        .filter(|name| !name.is_empty())
        .collect();
    known.sort_unstable();
    known.dedup();
    let mut seen: Vec<(&str, &str)> = vec![];
    for (i, claim) in list(claims).iter().enumerate() {
        let p = path.index(i);
        let (name, request) = (text(claim, "name"), text(claim, "request"));
        if name.is_empty() {
            errs.push(Error::required(&p, ""));
            continue;
        }
        if seen.contains(&(name, "")) {
            errs.push(Error::duplicate(&p, name));
        } else {
            if !request.is_empty() {
                errs.invalid_each(&p.child("request"), request, names::dns1123_label(request));
            }
            if request.is_empty() {
                // The whole of what was asked for in parts.
                for _ in seen.iter().filter(|(other, _)| *other == name) {
                    errs.push(Error::duplicate(&p, name));
                }
            } else if seen.contains(&(name, request)) {
                errs.push(Error::duplicate(&p, format!("{name}/{request}")));
            }
            seen.push((name, request));
        }
        if !known.contains(&name) {
            let mut error = Error::not_found(&p, name);
            error.detail = "must be one of the names in pod.spec.resourceClaims".into();
            if known.is_empty() {
                error.detail.push_str(" which is empty");
            } else {
                error.detail.push_str(&format!(": {}", known.join(", ")));
            }
            errs.push(error);
        }
    }
}
