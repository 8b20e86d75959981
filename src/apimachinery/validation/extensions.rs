//! Priority levels; schemas and admission policies are next door.

use serde_json::Value;

use super::support::text;
use super::{flowcontrol, policy};
use crate::field::{Error, ErrorList, Path};
use crate::meta;

/// Queues of a priority level.
const MOST_QUEUES: i64 = 10_000_000;
/// Bits of the hash that deals a flow its queues.
const MOST_BITS: i64 = 60;

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
            if let Some(n) = l["lendablePercent"].as_i64().filter(|n| !(0..=100).contains(n)) {
                let why = "must be between 0 and 100, inclusive";
                errs.push(Error::invalid(&p.child("lendablePercent"), n, why));
            }
            if let Some(n) = l["borrowingLimitPercent"].as_i64().filter(|n| *n < 0) {
                let why = "if specified, must be a non-negative integer";
                errs.push(Error::invalid(&p.child("borrowingLimitPercent"), n, why));
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
            if queues > MOST_QUEUES {
                let why = format!("must not be greater than {MOST_QUEUES}");
                errs.push(Error::invalid(&p.child("queues"), queues, why));
            }
            let bits = ((queues.max(1) as f64).log2() * hand as f64).ceil() as i64;
            if hand > 0 && hand <= queues && bits > MOST_BITS {
                let why = format!(
                    "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MOST_BITS}"
                );
                errs.push(Error::invalid(&p.child("handSize"), hand, why));
            }
            if hand > 0 && hand > queues {
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
