//! apps, batch and autoscaling.

use serde_json::{Value, json};

use crate::strategy::DAEMON_SET_GENERATION;

use super::{Object, child, core, each, ensure, or, or_str, pod, text, unset};

pub(super) fn apply(group: &str, version: &str, kind: &str, o: &mut Object) {
    match (group, kind) {
        ("apps", "Deployment") => deployment(o),
        ("apps", "ReplicaSet") => {
            if let Some(s) = ensure(o, "spec") {
                or(s, "replicas", 1);
                template(s);
            }
        }
        ("apps", "StatefulSet") => stateful_set(o),
        ("apps", "DaemonSet") => daemon_set(o),
        ("batch", "Job") => job(o),
        ("batch", "CronJob") => cron_job(o),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(version, o),
        _ => {}
    }
}

fn template(s: &mut Object) {
    // A struct by value upstream: it has its defaults whether it is given or not.
    if let Some(t) = ensure(s, "template") {
        pod::template(t);
    }
}

fn deployment(o: &mut Object) {
    let Some(s) = ensure(o, "spec") else { return };
    or(s, "replicas", 1);
    or(s, "revisionHistoryLimit", 10);
    or(s, "progressDeadlineSeconds", 600);
    if let Some(strategy) = ensure(s, "strategy") {
        or_str(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(r) = ensure(strategy, "rollingUpdate")
        {
            or(r, "maxUnavailable", "25%");
            or(r, "maxSurge", "25%");
        }
    }
    template(s);
}

fn stateful_set(o: &mut Object) {
    let Some(s) = ensure(o, "spec") else { return };
    or_str(s, "podManagementPolicy", "OrderedReady");
    or(s, "replicas", 1);
    or(s, "revisionHistoryLimit", 10);
    if let Some(u) = ensure(s, "updateStrategy") {
        if text(u, "type").is_empty() {
            or_str(u, "type", "RollingUpdate");
            ensure(u, "rollingUpdate");
        }
        // What names its type has no details unless it gives them.
        if text(u, "type") == "RollingUpdate"
            && let Some(r) = child(u, "rollingUpdate")
        {
            or(r, "partition", 0);
            or(r, "maxUnavailable", 1);
        }
    }
    if let Some(p) = ensure(s, "persistentVolumeClaimRetentionPolicy") {
        or_str(p, "whenDeleted", "Retain");
        or_str(p, "whenScaled", "Retain");
    }
    template(s);
    each(s, "volumeClaimTemplates", |c| {
        c.insert("apiVersion".into(), "v1".into());
        c.insert("kind".into(), "PersistentVolumeClaim".into());
        core::claim(c);
    });
}

fn daemon_set(o: &mut Object) {
    // Upstream holds it as a number, which its conversion to v1 always writes.
    if let Some(annotations) = ensure(o, "metadata").and_then(|m| ensure(m, "annotations")) {
        or_str(annotations, DAEMON_SET_GENERATION, "0");
    }
    let Some(s) = ensure(o, "spec") else { return };
    or(s, "revisionHistoryLimit", 10);
    if let Some(u) = ensure(s, "updateStrategy") {
        or_str(u, "type", "RollingUpdate");
        if text(u, "type") == "RollingUpdate"
            && let Some(r) = ensure(u, "rollingUpdate")
        {
            or(r, "maxUnavailable", 1);
            or(r, "maxSurge", 0);
        }
    }
    template(s);
}

fn job(o: &mut Object) {
    let labels = o
        .get("spec")
        .and_then(|s| s["template"]["metadata"]["labels"].as_object())
        .cloned();
    if let Some(labels) = labels.filter(|l| !l.is_empty())
        && let Some(m) = ensure(o, "metadata")
    {
        core::or_map(m, "labels", &labels);
    }
    let Some(s) = ensure(o, "spec") else { return };
    if unset(s.get("completions")) && unset(s.get("parallelism")) {
        or(s, "completions", 1);
    }
    or(s, "parallelism", 1);
    let per_index = !unset(s.get("backoffLimitPerIndex"));
    or(s, "backoffLimit", if per_index { i64::from(i32::MAX) } else { 6 });
    or(s, "completionMode", "NonIndexed");
    or(s, "suspend", false);
    or(s, "manualSelector", false);
    let failure_policy = !unset(s.get("podFailurePolicy"));
    or(
        s,
        "podReplacementPolicy",
        if failure_policy {
            "Failed"
        } else {
            "TerminatingOrFailed"
        },
    );
    failure_conditions(s);
    template(s);
}

fn failure_conditions(s: &mut Object) {
    if let Some(p) = child(s, "podFailurePolicy") {
        each(p, "rules", |r| {
            each(r, "onPodConditions", |c| or_str(c, "status", "True"))
        });
    }
}

fn cron_job(o: &mut Object) {
    let Some(s) = ensure(o, "spec") else { return };
    or_str(s, "concurrencyPolicy", "Allow");
    or(s, "suspend", false);
    or(s, "successfulJobsHistoryLimit", 3);
    or(s, "failedJobsHistoryLimit", 1);
    if let Some(t) = child(s, "jobTemplate") {
        ensure(t, "metadata");
        if let Some(js) = ensure(t, "spec") {
            failure_conditions(js);
            template(js);
        }
    }
}

fn autoscaler(version: &str, o: &mut Object) {
    let Some(s) = ensure(o, "spec") else { return };
    or(s, "minReplicas", 1);
    if version == "v1" {
        or(s, "targetCPUUtilizationPercentage", 80);
        return;
    }
    if s.get("metrics")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
    {
        let cpu = json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}});
        s.insert("metrics".into(), json!([{"type": "Resource", "resource": cpu}]));
    }
    let Some(b) = child(s, "behavior") else { return };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    if let Some(up) = ensure(b, "scaleUp") {
        or(up, "stabilizationWindowSeconds", 0);
        or(up, "selectPolicy", "Max");
        or(up, "policies", json!([pods, percent.clone()]));
    }
    if let Some(down) = ensure(b, "scaleDown") {
        or(down, "selectPolicy", "Max");
        or(down, "policies", json!([percent]));
    }
}
