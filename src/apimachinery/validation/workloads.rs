//! apps and autoscaling.

use serde_json::{Value, json};

use super::pod;
use super::support::{
    immutable, int_or_percent, label_selector, list, nonnegative, not_over_100_percent, same, text,
};
use crate::field::{Error, ErrorList, Path};
use crate::selector::LabelSelector;

pub(super) const MISMATCH: &str = "`selector` does not match template `labels`";

pub(super) fn create(group: &str, kind: &str, o: &Value, errs: &mut ErrorList) {
    let path = Path::new("spec");
    match (group, kind) {
        ("apps", "Deployment") => deployment(&o["spec"], &path, errs),
        ("apps", "ReplicaSet") => replica_set(&o["spec"], &path, errs),
        ("apps", "StatefulSet") => {
            stateful_set(&o["spec"], &path, errs);
            let service = text(&o["spec"], "serviceName");
            if !service.is_empty() {
                let messages = crate::names::dns1123_label(service);
                errs.invalid_each(&path.child("serviceName"), service, messages);
            }
            for (i, claim) in list(&o["spec"]["volumeClaimTemplates"]).iter().enumerate() {
                let at = path.child("volumeClaimTemplates").index(i).child("spec");
                super::storage::claim_spec(&claim["spec"], &Value::Null, &at, errs);
            }
        }
        ("apps", "DaemonSet") => daemon_set(&o["spec"], &path, errs),
        ("apps", "ControllerRevision") => {
            let at = Path::new("data");
            match &o["data"] {
                Value::Null => errs.push(Error::required(&at, "data is mandatory")),
                Value::Object(_) => {}
                _ => errs.push(Error::required(&at, "data must be a valid JSON object")),
            }
            nonnegative(&o["revision"], &Path::new("revision"), errs);
        }
        ("autoscaling", "HorizontalPodAutoscaler") => {
            super::autoscaler::spec(&o["spec"], &Value::Null, &path, errs)
        }
        _ => {}
    }
}

pub(super) fn update(group: &str, kind: &str, new: &Value, old: &Value, errs: &mut ErrorList) {
    let (n, o) = (&new["spec"], &old["spec"]);
    let path = Path::new("spec");
    match (group, kind) {
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => {
            create(group, kind, new, errs);
            immutable(&n["selector"], &o["selector"], &path.child("selector"), errs);
        }
        // Their claims cannot be changed any more.
        ("apps", "StatefulSet") => {
            stateful_set(n, &path, errs);
            stateful_set_update(n, o, &path, errs);
        }
        ("autoscaling", "HorizontalPodAutoscaler") => super::autoscaler::spec(n, o, &path, errs),
        ("apps", "ControllerRevision") => {
            nonnegative(&new["revision"], &Path::new("revision"), errs);
            immutable(&new["data"], &old["data"], &Path::new("data"), errs);
        }
        _ => create(group, kind, new, errs),
    }
}

/// Selector and template of a controller; whether the selector can be read, without which the
/// template is not looked at.
fn selected(s: &Value, what: &str, path: &Path, errs: &mut ErrorList) -> bool {
    let p = path.child("selector");
    let selector = &s["selector"];
    let of_daemons = what == "daemonset";
    if selector.is_null() {
        if !of_daemons {
            errs.push(Error::required(&p, ""));
        }
    } else {
        label_selector(selector, &p, errs);
        if *selector == json!({}) {
            errs.push(Error::invalid(
                &p,
                selector.clone(),
                format!("empty selector is invalid for {what}"),
            ));
        }
    }
    let Ok(parsed) = LabelSelector::from_meta(selector) else {
        if !of_daemons {
            let why = if what == "statefulset" {
                ""
            } else {
                "invalid label selector"
            };
            errs.push(Error::invalid(&p, selector.clone(), why));
        }
        return of_daemons;
    };
    let labels = &s["template"]["metadata"]["labels"];
    // No selector selects nothing.
    if selector.is_null() || !(parsed.is_everything() || parsed.matches(labels.as_object())) {
        let p = path.child("template").child("metadata").child("labels");
        errs.push(Error::invalid(&p, labels.clone(), MISMATCH));
    }
    true
}

/// The template of pods that run for ever.
fn long_running(s: &Value, what: &str, path: &Path, errs: &mut ErrorList) {
    let p = path.child("template");
    pod::template(&s["template"], &p, errs);
    let spec = &s["template"]["spec"];
    let policy = text(spec, "restartPolicy");
    if policy != "Always" {
        errs.push(Error::not_supported(
            &p.child("spec").child("restartPolicy"),
            policy,
            &["Always"],
        ));
    }
    if !spec["activeDeadlineSeconds"].is_null() {
        errs.push(Error::forbidden(
            &p.child("spec").child("activeDeadlineSeconds"),
            format!("activeDeadlineSeconds in {what} is not Supported"),
        ));
    }
}

fn deployment(s: &Value, path: &Path, errs: &mut ErrorList) {
    nonnegative(&s["replicas"], &path.child("replicas"), errs);
    if selected(s, "deployment", path, errs) {
        long_running(s, "ReplicaSet", path, errs);
    }
    strategy(&s["strategy"], &path.child("strategy"), errs);
    for f in [
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
    ] {
        nonnegative(&s[f], &path.child(f), errs);
    }
    if let Some(d) = s["progressDeadlineSeconds"].as_i64()
        && d <= s["minReadySeconds"].as_i64().unwrap_or(0)
    {
        errs.push(Error::invalid(
            &path.child("progressDeadlineSeconds"),
            d,
            "must be greater than minReadySeconds",
        ));
    }
}

/// Whether a count or percentage is none; a text that is neither is none, too.
fn zero(v: &Value) -> bool {
    match v {
        Value::String(s) => s.strip_suffix('%').unwrap_or(s).parse::<i64>().unwrap_or(0) == 0,
        _ => v.as_i64().unwrap_or(0) == 0,
    }
}

fn strategy(s: &Value, path: &Path, errs: &mut ErrorList) {
    let rolling = &s["rollingUpdate"];
    let p = path.child("rollingUpdate");
    match text(s, "type") {
        "Recreate" => {
            if !rolling.is_null() {
                errs.push(Error::forbidden(
                    &p,
                    "may not be specified when strategy `type` is 'Recreate'",
                ));
            }
        }
        "RollingUpdate" => {
            if rolling.is_null() {
                errs.push(Error::required(&p, "this should be defaulted and never be nil"));
                return;
            }
            let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
            int_or_percent(unavailable, &p.child("maxUnavailable"), errs);
            int_or_percent(surge, &p.child("maxSurge"), errs);
            if zero(unavailable) && zero(surge) {
                errs.push(Error::invalid(
                    &p.child("maxUnavailable"),
                    unavailable.clone(),
                    "may not be 0 when `maxSurge` is 0",
                ));
            }
            not_over_100_percent(unavailable, &p.child("maxUnavailable"), errs);
        }
        _ => errs.push(Error::not_supported(
            path,
            s.clone(),
            &["Recreate", "RollingUpdate"],
        )),
    }
}

fn replica_set(s: &Value, path: &Path, errs: &mut ErrorList) {
    for f in ["replicas", "minReadySeconds"] {
        nonnegative(&s[f], &path.child(f), errs);
    }
    if selected(s, "deployment", path, errs) {
        long_running(s, "ReplicaSet", path, errs);
    }
}

pub(super) fn replication_controller(o: &Value, errs: &mut ErrorList) {
    let s = &o["spec"];
    let path = Path::new("spec");
    for f in ["replicas", "minReadySeconds"] {
        nonnegative(&s[f], &path.child(f), errs);
    }
    if s["selector"].as_object().is_none_or(serde_json::Map::is_empty) {
        errs.push(Error::required(&path.child("selector"), ""));
    }
    if s["template"].is_null() {
        errs.push(Error::required(&path.child("template"), ""));
        return;
    }
    let labels = &s["template"]["metadata"]["labels"];
    if !LabelSelector::from_map(&s["selector"]).matches(labels.as_object()) && !s["selector"].is_null() {
        let p = path.child("template").child("metadata").child("labels");
        errs.push(Error::invalid(&p, labels.clone(), MISMATCH));
    }
    long_running(s, "ReplicationController", &path, errs);
}

fn stateful_set(s: &Value, path: &Path, errs: &mut ErrorList) {
    match text(s, "podManagementPolicy") {
        "" => errs.push(Error::required(&path.child("podManagementPolicy"), "")),
        "OrderedReady" | "Parallel" => {}
        other => errs.push(Error::invalid(
            &path.child("podManagementPolicy"),
            other,
            "must be 'OrderedReady' or 'Parallel'",
        )),
    }
    let u = &s["updateStrategy"];
    let p = path.child("updateStrategy");
    match text(u, "type") {
        "" => errs.push(Error::required(&p, "")),
        "OnDelete" => {
            if !u["rollingUpdate"].is_null() {
                errs.push(Error::invalid(
                    &p.child("rollingUpdate"),
                    u["rollingUpdate"].clone(),
                    "only allowed for updateStrategy 'RollingUpdate'",
                ));
            }
        }
        "RollingUpdate" => {
            let p = p.child("rollingUpdate");
            nonnegative(&u["rollingUpdate"]["partition"], &p.child("partition"), errs);
            let m = &u["rollingUpdate"]["maxUnavailable"];
            int_or_percent(m, &p.child("maxUnavailable"), errs);
            if *m == 0 || *m == "0%" {
                errs.push(Error::invalid(
                    &p.child("maxUnavailable"),
                    m.clone(),
                    "cannot be 0",
                ));
            }
            not_over_100_percent(m, &p.child("maxUnavailable"), errs);
        }
        _ => errs.push(Error::invalid(
            &p,
            u.clone(),
            "must be 'RollingUpdate' or 'OnDelete'",
        )),
    }
    for f in ["replicas", "minReadySeconds"] {
        nonnegative(&s[f], &path.child(f), errs);
    }
    nonnegative(&s["ordinals"]["start"], &path.child("ordinals.start"), errs);
    let retention = &s["persistentVolumeClaimRetentionPolicy"];
    for f in ["whenDeleted", "whenScaled"] {
        super::support::one_of(
            &retention[f],
            &["Retain", "Delete"],
            &path.child("persistentVolumeClaimRetentionPolicy").child(f),
            errs,
        );
    }
    if !selected(s, "statefulset", path, errs) {
        return;
    }
    if list(&s["volumeClaimTemplates"]).is_empty() {
        long_running(s, "StatefulSet", path, errs);
    } else {
        long_running(&with_claims(s), "StatefulSet", path, errs);
    }
    // Upstream looks at these once more.
    let template = path.child("template");
    super::meta::labels(
        &s["template"]["metadata"]["labels"],
        &template.child("labels"),
        errs,
    );
}

/// The spec with a volume for each claim template, as its pods will have it.
fn with_claims(s: &Value) -> Value {
    let mut claims: Vec<&str> = vec![];
    for claim in list(&s["volumeClaimTemplates"]) {
        let name = text(&claim["metadata"], "name");
        if !claims.contains(&name) {
            claims.push(name);
        }
    }
    let volumes = &s["template"]["spec"]["volumes"];
    let mut all: Vec<Value> = list(volumes)
        .iter()
        .filter(|v| !claims.contains(&text(v, "name")))
        .cloned()
        .collect();
    all.extend(
        claims
            .iter()
            .map(|c| json!({"name": c, "persistentVolumeClaim": {"claimName": c}})),
    );
    let mut out = json!({"template": s["template"]});
    if let Some(spec) = out["template"]["spec"].as_object_mut() {
        spec.insert("volumes".into(), all.into());
    }
    out
}

fn stateful_set_update(n: &Value, o: &Value, path: &Path, errs: &mut ErrorList) {
    let rest = |s: &Value| {
        let mut s = s.clone();
        if let Some(m) = s.as_object_mut() {
            for f in [
                "replicas",
                "ordinals",
                "template",
                "updateStrategy",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
                "minReadySeconds",
            ] {
                m.remove(f);
            }
        }
        s
    };
    if !same(&rest(n), &rest(o)) {
        errs.push(Error::forbidden(
            path,
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ));
    }
}

fn daemon_set(s: &Value, path: &Path, errs: &mut ErrorList) {
    selected(s, "daemonset", path, errs);
    long_running(s, "DaemonSet", path, errs);
    for f in ["minReadySeconds", "revisionHistoryLimit"] {
        nonnegative(&s[f], &path.child(f), errs);
    }
    let u = &s["updateStrategy"];
    let p = path.child("updateStrategy");
    match text(u, "type") {
        "OnDelete" => {}
        "RollingUpdate" => {
            let r = &u["rollingUpdate"];
            let p = p.child("rollingUpdate");
            if r.is_null() {
                errs.push(Error::required(&p, ""));
                return;
            }
            let (unavailable, surge) = (&r["maxUnavailable"], &r["maxSurge"]);
            int_or_percent(unavailable, &p.child("maxUnavailable"), errs);
            int_or_percent(surge, &p.child("maxSurge"), errs);
            not_over_100_percent(unavailable, &p.child("maxUnavailable"), errs);
            not_over_100_percent(surge, &p.child("maxSurge"), errs);
            match (zero(unavailable), zero(surge)) {
                (true, true) => errs.push(Error::required(
                    &p.child("maxUnavailable"),
                    "cannot be 0 when maxSurge is 0",
                )),
                (false, false) => errs.push(Error::invalid(
                    &p.child("maxSurge"),
                    surge.clone(),
                    "may not be set when maxUnavailable is non-zero",
                )),
                _ => {}
            }
        }
        _ => errs.push(Error::not_supported(
            &p,
            u.clone(),
            &["RollingUpdate", "OnDelete"],
        )),
    }
}
