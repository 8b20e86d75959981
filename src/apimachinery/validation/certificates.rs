//! What is decided about certificate signing requests (upstream's `pkg/apis/certificates/validation`).

use std::collections::HashSet;

use base64::prelude::*;
use serde_json::Value;

use super::rest::signer_name;
use super::support::{differences, list, same, text};
use crate::field::{Error, ErrorList, Path, quote};

const DECISIONS: [&str; 2] = ["Approved", "Denied"];

/// Through which subresource a request is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Approval,
    Status,
}

/// What certificates may be used for, sorted.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// The shortest time that may be asked for, in seconds.
const SHORTEST: i64 = 600;

pub(super) fn create(o: &Value, errs: &mut ErrorList) {
    let s = &o["spec"];
    let p = Path::new("spec");
    if blocks(&s["request"]).first().map(String::as_str) != Some("CERTIFICATE REQUEST") {
        let why = "PEM block type must be CERTIFICATE REQUEST";
        errs.push(Error::invalid(&p.child("request"), s["request"].clone(), why));
    }
    let usages = list(&s["usages"]);
    let at = p.child("usages");
    if usages.is_empty() {
        errs.push(Error::required(&at, ""));
    }
    for (i, usage) in usages.iter().enumerate() {
        let known = usage.as_str().is_some_and(|usage| USAGES.contains(&usage));
        if !known {
            errs.push(Error::not_supported(&at.index(i), usage.clone(), USAGES));
        }
        if usages[..i].contains(usage) {
            errs.push(Error::duplicate(&at.index(i), usage.clone()));
        }
    }
    let (signer, at) = (text(s, "signerName"), p.child("signerName"));
    if signer == "kubernetes.io/legacy-unknown" {
        let why = "the legacy signerName is not allowed via this API version";
        errs.push(Error::invalid(&at, signer, why));
    } else {
        signer_name(signer, &at, errs);
    }
    if let Some(n) = s["expirationSeconds"].as_i64().filter(|n| *n < SHORTEST) {
        errs.push(Error::invalid(
            &p.child("expirationSeconds"),
            n,
            "may not specify a duration less than 600 seconds (10 minutes)",
        ));
    }
}

/// The types of the PEM blocks in bytes that are written as base64.
fn blocks(encoded: &Value) -> Vec<String> {
    let bytes = BASE64_STANDARD.decode(encoded.as_str().unwrap_or_default());
    let bytes = bytes.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut found = vec![];
    let mut open: Option<&str> = None;
    for line in text.lines().map(str::trim_end) {
        let marked = |word: &str| {
            line.strip_prefix(word)
                .and_then(|rest| rest.strip_suffix("-----"))
        };
        if let Some(kind) = marked("-----BEGIN ") {
            open = Some(kind);
        } else if let Some(kind) = marked("-----END ") {
            found.extend(open.take().filter(|begun| *begun == kind).map(str::to_owned));
        }
    }
    found
}

/// What is wrong with the certificate that a signer gives.
fn certificate(o: &Value, errs: &mut ErrorList) {
    let certificate = &o["status"]["certificate"];
    if text(&o["status"], "certificate").is_empty() {
        return;
    }
    let blocks = blocks(certificate);
    let why = match blocks.iter().find(|kind| *kind != "CERTIFICATE") {
        Some(other) => format!("only CERTIFICATE PEM blocks are allowed, found {}", quote(other)),
        None if blocks.is_empty() => "must contain at least one CERTIFICATE PEM block".to_owned(),
        None => return,
    };
    let path = Path::new("status").child("certificate");
    errs.push(Error::invalid(&path, "<certificate data>", why));
}

pub(super) fn update(by: By, new: &Value, old: &Value, errs: &mut ErrorList) {
    let path = Path::new("status").child("conditions");
    conditions(new, old, &path, errs);
    for kind in ["Approved", "Denied", "Failed"] {
        if of(new, kind).len() < of(old, kind).len() {
            let why = format!("updates may not remove a condition of type {}", quote(kind));
            errs.push(Error::forbidden(&path, why));
        }
    }
    for kind in DECISIONS.into_iter().filter(|_| by != By::Approval) {
        let (now, before) = (of(new, kind), of(old, kind));
        let kind = quote(kind);
        if now.len() > before.len() {
            let why = format!("updates may not add a condition of type {kind}");
            errs.push(Error::forbidden(&path, why));
        } else if now.len() == before.len() && now != before {
            let json = |all: &[&Value]| all.iter().copied().cloned().collect::<Value>();
            let difference = differences("conditions", &json(&before), &json(&now));
            let why = format!("updates may not modify a condition of type {kind}\n{difference}");
            errs.push(Error::forbidden(&path, why));
        }
    }
    let (now, before) = (&new["status"]["certificate"], &old["status"]["certificate"]);
    if same(now, before) {
        return;
    }
    let why = match by {
        By::Approval => "updates may not set certificate content",
        By::Status if same(before, &Value::Null) => {
            certificate(new, errs);
            return;
        }
        By::Status => "updates may not modify existing certificate content",
    };
    errs.push(Error::forbidden(&Path::new("status").child("certificate"), why));
}

fn of<'a>(request: &'a Value, kind: &str) -> Vec<&'a Value> {
    let all = list(&request["status"]["conditions"]).iter();
    all.filter(|c| c["type"] == kind).collect()
}

/// Each condition by itself and beside the others; what was wrong before may stay wrong.
fn conditions(new: &Value, old: &Value, path: &Path, errs: &mut ErrorList) {
    let both = DECISIONS.iter().all(|kind| !of(old, kind).is_empty());
    let mut kinds = HashSet::new();
    let old_conditions = list(&old["status"]["conditions"]);
    let doubled = old_conditions.iter().any(|c| !kinds.insert(text(c, "type")));
    let untyped = old_conditions.iter().any(|c| text(c, "type").is_empty());
    let mut seen: Vec<&str> = Vec::new();
    for (index, condition) in list(&new["status"]["conditions"]).iter().enumerate() {
        let (kind, status) = (text(condition, "type"), text(condition, "status"));
        let path_of = |field: &str| path.index(index).child(field);
        if kind.is_empty() && !untyped {
            errs.push(Error::required(&path_of("type"), ""));
        }
        let allowed: &[&str] = match kind {
            "Approved" | "Denied" | "Failed" => &["True"],
            _ => &["False", "True", "Unknown"],
        };
        if status.is_empty() {
            errs.push(Error::required(&path_of("status"), ""));
        } else if !allowed.contains(&status) {
            errs.push(Error::not_supported(&path_of("status"), status, allowed));
        }
        let other = DECISIONS.into_iter().find(|other| *other != kind);
        if DECISIONS.contains(&kind) && !both && other.is_some_and(|other| seen.contains(&other)) {
            let why = "Approved and Denied conditions are mutually exclusive";
            errs.push(Error::invalid(path, kind, why));
        }
        if seen.contains(&kind) && !doubled {
            errs.push(Error::duplicate(&path_of("type"), kind));
        }
        seen.push(kind);
    }
}
