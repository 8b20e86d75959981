//! Priority levels; schemas and admission policies are next door.

use serde_json::Value;

use super::support::text;
use super::{flowcontrol, policy};
use crate::field::{Error, ErrorList, Path};
use crate::meta;

pub(super) fn create(group: &str, kind: &str, o: &Value, errs: &mut ErrorList) {
    let path = Path::new("spec");
    match (group, kind) {
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => {
            flowcontrol::schema(meta::name(o), &o["spec"], &path, errs);
            flowcontrol::status(o, errs);
        }
        ("flowcontrol.apiserver.k8s.io", _) => {
            priority_level(o, &path, errs);
            flowcontrol::status(o, errs);
        }
        ("admissionregistration.k8s.io", _) => policy::create(kind, o, errs),
        _ => {}
    }
}

pub(super) fn update(group: &str, kind: &str, new: &Value, errs: &mut ErrorList) {
    create(group, kind, new, errs);
}

fn priority_level(o: &Value, path: &Path, errs: &mut ErrorList) {
    let s = &o["spec"];
    match text(s, "type") {
        "Exempt" => {
            if s["limited"].is_object() {
                errs.push(Error::forbidden(
                    &path.child("limited"),
                    "must be nil if the type is not Limited",
                ));
            }
        }
        "Limited" => {
            if s["exempt"].is_object() {
                errs.push(Error::forbidden(
                    &path.child("exempt"),
                    "must be nil if the type is Limited",
                ));
            }
            let l = &s["limited"];
            let p = path.child("limited");
            if !l.is_object() {
                errs.push(Error::required(&p, "must not be empty when type is Limited"));
                return;
            }
            if let Some(n) = l["nominalConcurrencyShares"].as_i64().filter(|n| *n < 0) {
                errs.push(Error::invalid(
                    &p.child("nominalConcurrencyShares"),
                    n,
                    "must be a non-negative integer",
                ));
            }
            limit_response(&l["limitResponse"], &p.child("limitResponse"), errs);
        }
        other => {
            errs.push(Error::not_supported(
                &path.child("type"),
                other,
                &["Exempt", "Limited"],
            ));
        }
    }
}

fn limit_response(r: &Value, path: &Path, errs: &mut ErrorList) {
    match text(r, "type") {
        "Reject" => {
            if r["queuing"].is_object() {
                errs.push(Error::forbidden(
                    &path.child("queuing"),
                    "must be nil if limited.limitResponse.type is not Limited",
                ));
            }
        }
        "Queue" => {
            let q = &r["queuing"];
            let p = path.child("queuing");
            if !q.is_object() {
                errs.push(Error::required(
                    &p,
                    "must not be empty if limited.limitResponse.type is Limited",
                ));
                return;
            }
            for f in ["queueLengthLimit", "queues", "handSize"] {
                let n = q[f].as_i64().unwrap_or(0);
                if n <= 0 {
                    errs.push(Error::invalid(&p.child(f), n, "must be positive"));
                }
            }
            let (queues, hand) = (
                q["queues"].as_i64().unwrap_or(0),
                q["handSize"].as_i64().unwrap_or(0),
            );
            if hand > queues {
                errs.push(Error::invalid(
                    &p.child("handSize"),
                    hand,
                    format!("should not be greater than queues ({queues})"),
                ));
            }
        }
        other => {
            errs.push(Error::not_supported(
                &path.child("type"),
                other,
                &["Queue", "Reject"],
            ));
        }
    }
}
