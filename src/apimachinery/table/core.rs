//! Rows of the core group.

use serde_json::{Value, json};

use super::format::{clipped, condition, join, labels, len, list, or};
use super::{Row, storage, workloads};
use crate::meta;

pub(super) fn cells(group: &str, kind: &str, r: Row<'_>) -> Option<Vec<Value>> {
    if (group, kind) == ("events.k8s.io", "Event") {
        return Some(event(r));
    }
    if !group.is_empty() {
        return None;
    }
    Some(match kind {
        "Pod" => pod(r),
        "PodTemplate" => {
            let t = &r.o["template"];
            let [names, images] = super::format::containers(&t["spec"]);
            vec![
                r.name(),
                names,
                images,
                labels(t["metadata"]["labels"].as_object()).into(),
            ]
        }
        "ReplicationController" => workloads::replicated(r, labels(r.o["spec"]["selector"].as_object())),
        "Service" => service(r),
        "Endpoints" => vec![r.name(), endpoints(r).into(), r.age()],
        "Node" => node(r),
        "Event" => event(r),
        "Namespace" => vec![r.name(), r.text(&["status", "phase"]).into(), r.age()],
        "Secret" => vec![
            r.name(),
            r.text(&["type"]).into(),
            len(&r.o["data"]).into(),
            r.age(),
        ],
        "ServiceAccount" => vec![r.name(), r.age()],
        "ConfigMap" => {
            vec![
                r.name(),
                (len(&r.o["data"]) + len(&r.o["binaryData"])).into(),
                r.age(),
            ]
        }
        "PersistentVolume" => storage::volume(r),
        "PersistentVolumeClaim" => storage::claim(r),
        "ComponentStatus" => component(r),
        "ResourceQuota" => quota(r),
        _ => return None,
    })
}

/// Why a container ended, when it gives no reason.
fn ended(t: &Value) -> String {
    match t["signal"].as_i64() {
        Some(s) if s != 0 => format!("Signal:{s}"),
        _ => format!("ExitCode:{}", t["exitCode"].as_i64().unwrap_or(0)),
    }
}

fn restartable(spec: &Value, name: &str) -> bool {
    list(&spec["initContainers"])
        .iter()
        .any(|c| c["name"] == name && c["restartPolicy"] == "Always")
}

/// Restarts and the time of the newest.
#[derive(Default)]
struct Restarts<'a> {
    count: i64,
    last: &'a str,
}

impl<'a> Restarts<'a> {
    fn add(&mut self, c: &'a Value) {
        self.count += c["restartCount"].as_i64().unwrap_or(0);
        let finished = c["lastState"]["terminated"]["finishedAt"].as_str().unwrap_or("");
        if finished > self.last {
            self.last = finished;
        }
    }
}

fn pod(r: Row<'_>) -> Vec<Value> {
    let (spec, status) = (&r.o["spec"], &r.o["status"]);
    let sidecars = list(&spec["initContainers"])
        .iter()
        .filter(|c| c["restartPolicy"] == "Always")
        .count();
    let total = list(&spec["containers"]).len() + sidecars;
    let mut ready = 0;
    let mut reason = or(r.text(&["status", "reason"]), r.text(&["status", "phase"])).to_owned();
    if list(&status["conditions"])
        .iter()
        .any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated")
    {
        reason = "SchedulingGated".into();
    }
    let mut restarts = Restarts::default();
    let mut sidecar_restarts = Restarts::default();
    let mut initializing = false;
    for (i, c) in list(&status["initContainerStatuses"]).iter().enumerate() {
        restarts.add(c);
        let sidecar = restartable(spec, c["name"].as_str().unwrap_or(""));
        if sidecar {
            sidecar_restarts.add(c);
        }
        let terminated = &c["state"]["terminated"];
        let waiting = c["state"]["waiting"]["reason"].as_str().unwrap_or("");
        if !terminated.is_null() && terminated["exitCode"].as_i64().unwrap_or(0) == 0 {
            continue;
        }
        if sidecar && c["started"] == true {
            if c["ready"] == true {
                ready += 1;
            }
            continue;
        }
        reason = if !terminated.is_null() {
            match terminated["reason"].as_str().unwrap_or("") {
                "" => format!("Init:{}", ended(terminated)),
                why => format!("Init:{why}"),
            }
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{i}/{}", list(&spec["initContainers"]).len())
        };
        initializing = true;
        break;
    }
    if !initializing || condition(r.o, "Initialized") {
        restarts = sidecar_restarts;
        let mut running = false;
        for c in list(&status["containerStatuses"]).iter().rev() {
            restarts.add(c);
            let state = &c["state"];
            let waiting = state["waiting"]["reason"].as_str().unwrap_or("");
            let terminated = &state["terminated"];
            if !waiting.is_empty() {
                reason = waiting.into();
            } else if !terminated.is_null() {
                reason = match terminated["reason"].as_str().unwrap_or("") {
                    "" => ended(terminated),
                    why => why.into(),
                };
            } else if c["ready"] == true && !state["running"].is_null() {
                running = true;
                ready += 1;
            }
        }
        if reason == "Completed" && running {
            reason = if condition(r.o, "Ready") {
                "Running"
            } else {
                "NotReady"
            }
            .into();
        }
    }
    if meta::is_deleting(r.o) {
        if r.text(&["status", "reason"]) == "NodeLost" {
            reason = "Unknown".into();
        } else if !matches!(r.text(&["status", "phase"]), "Failed" | "Succeeded") {
            reason = "Terminating".into();
        }
    }
    let restarts_text = if restarts.count != 0 && !restarts.last.is_empty() {
        format!("{} ({} ago)", restarts.count, r.since(&restarts.last.into()))
    } else {
        restarts.count.to_string()
    };
    let gates = list(&spec["readinessGates"]);
    let gates_text = if gates.is_empty() {
        "<none>".into()
    } else {
        let open = gates
            .iter()
            .filter(|g| condition(r.o, g["conditionType"].as_str().unwrap_or("")));
        format!("{}/{}", open.count(), gates.len())
    };
    let ip = status["podIPs"][0]["ip"]
        .as_str()
        .unwrap_or(r.text(&["status", "podIP"]));
    vec![
        r.name(),
        format!("{ready}/{total}").into(),
        reason.into(),
        restarts_text.into(),
        r.age(),
        or(ip, "<none>").into(),
        or(r.text(&["spec", "nodeName"]), "<none>").into(),
        or(r.text(&["status", "nominatedNodeName"]), "<none>").into(),
        gates_text.into(),
    ]
}

/// Addresses of a load balancer, sorted.
pub(super) fn load_balancer(status: &Value) -> String {
    let mut all: Vec<&str> = list(&status["loadBalancer"]["ingress"])
        .iter()
        .filter_map(|i| {
            i["ip"]
                .as_str()
                .filter(|s| !s.is_empty())
                .or(i["hostname"].as_str())
                .filter(|s| !s.is_empty())
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all.join(",")
}

fn service(r: Row<'_>) -> Vec<Value> {
    let spec = &r.o["spec"];
    let external = join(list(&spec["externalIPs"]), ",");
    let external = match r.text(&["spec", "type"]) {
        "ClusterIP" | "NodePort" => or(&external, "<none>").to_owned(),
        "LoadBalancer" => {
            let lb = load_balancer(&r.o["status"]);
            let all: Vec<&str> = [lb.as_str(), &external]
                .into_iter()
                .filter(|s| !s.is_empty())
                .collect();
            or(&all.join(","), "<pending>").to_owned()
        }
        "ExternalName" => r.text(&["spec", "externalName"]).to_owned(),
        _ => "<unknown>".into(),
    };
    let ports: Vec<String> = list(&spec["ports"])
        .iter()
        .map(|p| {
            let port = p["port"].as_i64().unwrap_or(0);
            let protocol = p["protocol"].as_str().unwrap_or("TCP");
            match p["nodePort"].as_i64() {
                Some(n) if n > 0 => format!("{port}:{n}/{protocol}"),
                _ => format!("{port}/{protocol}"),
            }
        })
        .collect();
    let ip = spec["clusterIPs"][0]
        .as_str()
        .unwrap_or(r.text(&["spec", "clusterIP"]));
    vec![
        r.name(),
        r.text(&["spec", "type"]).into(),
        or(ip, "<none>").into(),
        external.into(),
        or(&ports.join(","), "<none>").into(),
        r.age(),
        labels(spec["selector"].as_object()).into(),
    ]
}

fn endpoints(r: Row<'_>) -> String {
    let mut all = vec![];
    for s in list(&r.o["subsets"]) {
        let ips = || list(&s["addresses"]).iter().filter_map(|a| a["ip"].as_str());
        let ports = list(&s["ports"]);
        if ports.is_empty() {
            all.extend(ips().map(str::to_owned));
        }
        for p in ports {
            let port = p["port"].as_i64().unwrap_or(0);
            all.extend(ips().map(|ip| {
                if ip.contains(':') {
                    format!("[{ip}]:{port}")
                } else {
                    format!("{ip}:{port}")
                }
            }));
        }
    }
    // Without a ready address there are none to show, but there are endpoints.
    let none = if list(&r.o["subsets"]).is_empty() {
        "<none>"
    } else {
        ""
    };
    clipped(&all, 3, none)
}

fn node(r: Row<'_>) -> Vec<Value> {
    let ready = list(&r.o["status"]["conditions"])
        .iter()
        .find(|c| c["type"] == "Ready");
    let mut status = match ready {
        Some(c) if c["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if r.o["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    let mut roles: Vec<&str> = meta::labels(r.o)
        .into_iter()
        .flatten()
        .filter_map(|(k, v)| match k.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role).filter(|r| !r.is_empty()),
            None if k == "kubernetes.io/role" => v.as_str().filter(|v| !v.is_empty()),
            None => None,
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    let address = |kind: &str| {
        list(&r.o["status"]["addresses"])
            .iter()
            .find(|a| a["type"] == kind)
            .and_then(|a| a["address"].as_str())
            .unwrap_or("<none>")
            .to_owned()
    };
    let info = |f: &str| r.text(&["status", "nodeInfo", f]).to_owned();
    let known = |f: &str| Value::from(or(&info(f), "<unknown>"));
    vec![
        r.name(),
        status.into(),
        or(&roles.join(","), "<none>").into(),
        r.age(),
        info("kubeletVersion").into(),
        address("InternalIP").into(),
        address("ExternalIP").into(),
        known("osImage"),
        known("kernelVersion"),
        known("containerRuntimeVersion"),
    ]
}

fn event(r: Row<'_>) -> Vec<Value> {
    let o = r.o;
    // The older shape and events.k8s.io name some fields differently.
    let either = |a: &str, b: &str| {
        if o[a].is_null() {
            o[b].clone()
        } else {
            o[a].clone()
        }
    };
    let first_time = either("firstTimestamp", "deprecatedFirstTimestamp");
    let last_time = either("lastTimestamp", "deprecatedLastTimestamp");
    let first = if first_time.is_null() {
        r.since(&o["eventTime"])
    } else {
        r.since(&first_time)
    };
    let mut last = if last_time.is_null() {
        first.clone()
    } else {
        r.since(&last_time)
    };
    let mut count = either("count", "deprecatedCount").as_i64().unwrap_or(0);
    if o["series"].is_object() {
        last = r.since(&o["series"]["lastObservedTime"]);
        count = o["series"]["count"].as_i64().unwrap_or(0);
    } else if count == 0 {
        count = 1;
    }
    let about = either("involvedObject", "regarding");
    let kind = about["kind"].as_str().unwrap_or("").to_lowercase();
    let target = match about["name"].as_str().unwrap_or("") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let source = either("source", "deprecatedSource");
    let controller = either("reportingComponent", "reportingController");
    let component = or(
        source["component"].as_str().unwrap_or(""),
        controller.as_str().unwrap_or(""),
    );
    let host = or(
        source["host"].as_str().unwrap_or(""),
        r.text(&["reportingInstance"]),
    );
    let source = if host.is_empty() {
        component.to_owned()
    } else {
        format!("{component}, {host}")
    };
    vec![
        last.into(),
        r.text(&["type"]).into(),
        r.text(&["reason"]).into(),
        target.into(),
        about["fieldPath"].as_str().unwrap_or("").into(),
        source.into(),
        either("message", "note").as_str().unwrap_or("").trim().into(),
        first.into(),
        count.into(),
        r.name(),
    ]
}

fn component(r: Row<'_>) -> Vec<Value> {
    let healthy = list(&r.o["conditions"]).iter().find(|c| c["type"] == "Healthy");
    let (status, message, error) = match healthy {
        Some(c) => (
            if c["status"] == "True" {
                "Healthy"
            } else {
                "Unhealthy"
            },
            c["message"].as_str().unwrap_or(""),
            c["error"].as_str().unwrap_or(""),
        ),
        None => ("Unknown", "", ""),
    };
    vec![r.name(), status.into(), message.into(), error.into()]
}

fn quota(r: Row<'_>) -> Vec<Value> {
    let (mut requests, mut limits) = (vec![], vec![]);
    let status = &r.o["status"];
    for (resource, hard) in status["hard"].as_object().into_iter().flatten() {
        let used = status["used"][resource].as_str().unwrap_or("0");
        let text = format!("{resource}: {used}/{}", hard.as_str().unwrap_or("0"));
        if resource.starts_with("limits.") {
            limits.push(text)
        } else {
            requests.push(text)
        }
    }
    vec![
        r.name(),
        json!(requests.join(", ")),
        json!(limits.join(", ")),
        r.age(),
    ]
}
