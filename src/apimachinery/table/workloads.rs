//! Rows of apps, batch, autoscaling and policy.

use serde_json::Value;

use super::Row;
use super::format::{clipped, condition, containers, human_duration, labels, len, list, or, plain, selector};
use crate::meta;

pub(super) fn cells(group: &str, kind: &str, r: Row<'_>) -> Option<Vec<Value>> {
    Some(match (group, kind) {
        ("apps", "Deployment") => deployment(r),
        ("apps", "ReplicaSet") => replicated(r, selector(&r.o["spec"]["selector"])),
        ("apps", "DaemonSet") => daemon_set(r),
        ("apps", "StatefulSet") => {
            let [names, images] = template(r);
            vec![r.name(), ready(r), r.age(), names, images]
        }
        ("apps", "ControllerRevision") => revision(r),
        ("batch", "Job") => job(r),
        ("batch", "CronJob") => cron_job(r),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(r),
        ("policy", "PodDisruptionBudget") => vec![
            r.name(),
            plain(&r.o["spec"]["minAvailable"], "N/A").into(),
            plain(&r.o["spec"]["maxUnavailable"], "N/A").into(),
            r.int(&["status", "disruptionsAllowed"]).into(),
            r.age(),
        ],
        _ => return None,
    })
}

fn template(r: Row<'_>) -> [Value; 2] {
    containers(&r.o["spec"]["template"]["spec"])
}

fn ready(r: Row<'_>) -> Value {
    format!(
        "{}/{}",
        r.int(&["status", "readyReplicas"]),
        r.int(&["spec", "replicas"])
    )
    .into()
}

fn deployment(r: Row<'_>) -> Vec<Value> {
    let [names, images] = template(r);
    vec![
        r.name(),
        ready(r),
        r.int(&["status", "updatedReplicas"]).into(),
        r.int(&["status", "availableReplicas"]).into(),
        r.age(),
        names,
        images,
        selected(&r.o["spec"]["selector"]).into(),
    ]
}

/// The selector of a Deployment, which upstream tells in other words than those of other workloads.
fn selected(selector: &Value) -> String {
    if selector.is_null() {
        return String::new();
    }
    match crate::selector::LabelSelector::from_meta(selector) {
        Ok(selector) => selector.to_string(),
        Err(_) => "<invalid>".to_owned(),
    }
}

pub(super) fn replicated(r: Row<'_>, selector: String) -> Vec<Value> {
    let [names, images] = template(r);
    vec![
        r.name(),
        r.int(&["spec", "replicas"]).into(),
        r.int(&["status", "replicas"]).into(),
        r.int(&["status", "readyReplicas"]).into(),
        r.age(),
        names,
        images,
        selector.into(),
    ]
}

fn daemon_set(r: Row<'_>) -> Vec<Value> {
    let [names, images] = template(r);
    let n = |f: &str| Value::from(r.int(&["status", f]));
    vec![
        r.name(),
        n("desiredNumberScheduled"),
        n("currentNumberScheduled"),
        n("numberReady"),
        n("updatedNumberScheduled"),
        n("numberAvailable"),
        labels(r.o["spec"]["template"]["spec"]["nodeSelector"].as_object()).into(),
        r.age(),
        names,
        images,
        selector(&r.o["spec"]["selector"]).into(),
    ]
}

fn revision(r: Row<'_>) -> Vec<Value> {
    let controller = meta::controller_of(r.o).map_or_else(
        || "<none>".to_owned(),
        |c| {
            let (group, _) = meta::split_api_version(c["apiVersion"].as_str().unwrap_or(""));
            let kind = c["kind"].as_str().unwrap_or("").to_lowercase();
            let name = c["name"].as_str().unwrap_or("");
            if group.is_empty() {
                format!("{kind}/{name}")
            } else {
                format!("{kind}.{group}/{name}")
            }
        },
    );
    vec![r.name(), controller.into(), r.int(&["revision"]).into(), r.age()]
}

fn job(r: Row<'_>) -> Vec<Value> {
    let (spec, status) = (&r.o["spec"], &r.o["status"]);
    let succeeded = r.int(&["status", "succeeded"]);
    let completions = match (spec["completions"].as_i64(), r.int(&["spec", "parallelism"])) {
        (Some(n), _) => format!("{succeeded}/{n}"),
        (None, p) if p > 1 => format!("{succeeded}/1 of {p}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let time = |f: &str| status[f].as_str().and_then(meta::parse_time);
    let took = match (time("startTime"), time("completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => human_duration(end.unwrap_or(r.now).duration_since(start).as_secs()),
    };
    let state = if condition(r.o, "Complete") {
        "Complete"
    } else if condition(r.o, "Failed") {
        "Failed"
    } else if meta::is_deleting(r.o) {
        "Terminating"
    } else {
        ["Suspended", "FailureTarget", "SuccessCriteriaMet"]
            .into_iter()
            .find(|c| condition(r.o, c))
            .unwrap_or("Running")
    };
    let [names, images] = template(r);
    vec![
        r.name(),
        state.into(),
        completions.into(),
        took.into(),
        r.age(),
        names,
        images,
        selector(&spec["selector"]).into(),
    ]
}

fn cron_job(r: Row<'_>) -> Vec<Value> {
    let spec = &r.o["spec"];
    let last = &r.o["status"]["lastScheduleTime"];
    let [names, images] = containers(&spec["jobTemplate"]["spec"]["template"]["spec"]);
    vec![
        r.name(),
        r.text(&["spec", "schedule"]).into(),
        or(r.text(&["spec", "timeZone"]), "<none>").into(),
        match spec["suspend"].as_bool() {
            Some(true) => "True",
            Some(false) => "False",
            None => "<unset>",
        }
        .into(),
        len(&r.o["status"]["active"]).into(),
        if last.is_null() {
            "<none>".into()
        } else {
            r.since(last)
        }
        .into(),
        r.age(),
        names,
        images,
        selector(&spec["jobTemplate"]["spec"]["selector"]).into(),
    ]
}

fn autoscaler(r: Row<'_>) -> Vec<Value> {
    let (spec, status) = (&r.o["spec"], &r.o["status"]);
    let targets: Vec<String> = if spec["metrics"].is_array() {
        let now = list(&status["currentMetrics"]);
        list(&spec["metrics"])
            .iter()
            .enumerate()
            .map(|(i, m)| metric(m, now.get(i).unwrap_or(&Value::Null)))
            .collect()
    } else if let Some(n) = spec["targetCPUUtilizationPercentage"].as_i64() {
        let current = percent(&status["currentCPUUtilizationPercentage"], "<unknown>");
        vec![format!("cpu: {current}/{n}%")]
    } else {
        vec![]
    };
    let targets = if targets.is_empty() {
        "<none>".into()
    } else if targets.len() > 2 {
        format!("{} + {} more...", targets[..2].join(", "), targets.len() - 2)
    } else {
        targets.join(", ")
    };
    let reference = format!(
        "{}/{}",
        r.text(&["spec", "scaleTargetRef", "kind"]),
        r.text(&["spec", "scaleTargetRef", "name"])
    );
    vec![
        r.name(),
        reference.into(),
        targets.into(),
        plain(&spec["minReplicas"], "<unset>").into(),
        r.int(&["spec", "maxReplicas"]).into(),
        r.int(&["status", "currentReplicas"]).into(),
        r.age(),
    ]
}

fn percent(v: &Value, absent: &str) -> String {
    v.as_i64().map_or_else(|| absent.to_owned(), |n| format!("{n}%"))
}

fn metric(spec: &Value, status: &Value) -> String {
    let field = match spec["type"].as_str().unwrap_or("") {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".into(),
    };
    let (target, current) = (&spec[field]["target"], &status[field]["current"]);
    let pair = |value: &str| {
        (
            plain(&current[value], "<unknown>"),
            plain(&target[value], "<auto>"),
        )
    };
    if matches!(field, "resource" | "containerResource") {
        let name = spec[field]["name"].as_str().unwrap_or("");
        let (c, t) = if target["averageValue"].is_null() {
            (
                percent(&current["averageUtilization"], "<unknown>"),
                percent(&target["averageUtilization"], "<auto>"),
            )
        } else {
            pair("averageValue")
        };
        return format!("{name}: {c}/{t}");
    }
    if target["averageValue"].is_null() {
        let (c, t) = pair("value");
        return format!("{c}/{t}");
    }
    let (c, t) = pair("averageValue");
    if field == "pods" {
        format!("{c}/{t}")
    } else {
        format!("{c}/{t} (avg)")
    }
}

/// Endpoint addresses and ports of slices are clipped like this as well.
pub(super) fn three(items: &[String]) -> String {
    clipped(items, 3, "<unset>")
}
