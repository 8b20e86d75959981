//! Rows of the remaining groups.

use serde_json::Value;

use super::Row;
use super::core::load_balancer;
use super::format::{clipped, human_duration, join, len, list, or, plain, selector};
use super::workloads::three;
use crate::meta;

pub(super) fn cells(group: &str, kind: &str, r: Row<'_>) -> Option<Vec<Value>> {
    match group {
        "networking.k8s.io" | "discovery.k8s.io" => network(kind, r),
        "admissionregistration.k8s.io" => admission(kind, r),
        "flowcontrol.apiserver.k8s.io" => flow_control(kind, r),
        "resource.k8s.io" => resource(kind, r),
        _ => others(group, kind, r),
    }
}

fn others(group: &str, kind: &str, r: Row<'_>) -> Option<Vec<Value>> {
    Some(match (group, kind) {
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding(r),
        ("coordination.k8s.io", "Lease") => {
            vec![r.name(), r.text(&["spec", "holderIdentity"]).into(), r.age()]
        }
        ("scheduling.k8s.io", "PriorityClass") => vec![
            r.name(),
            r.int(&["value"]).into(),
            (r.o["globalDefault"] == true).into(),
            r.age(),
            r.text(&["preemptionPolicy"]).into(),
        ],
        ("node.k8s.io", "RuntimeClass") => vec![r.name(), r.text(&["handler"]).into(), r.age()],
        ("certificates.k8s.io", "CertificateSigningRequest") => signing_request(r),
        ("apiregistration.k8s.io", "APIService") => api_service(r),
        _ => return None,
    })
}

fn network(kind: &str, r: Row<'_>) -> Option<Vec<Value>> {
    let spec = &r.o["spec"];
    Some(match kind {
        "Ingress" => vec![
            r.name(),
            or(r.text(&["spec", "ingressClassName"]), "<none>").into(),
            hosts(list(&spec["rules"])).into(),
            load_balancer(&r.o["status"]).into(),
            if list(&spec["tls"]).is_empty() {
                "80"
            } else {
                "80, 443"
            }
            .into(),
            r.age(),
        ],
        "IngressClass" => {
            let p = &spec["parameters"];
            let parameters = if p.is_object() {
                let kind = plain(&p["kind"], "");
                let qualified = match p["apiGroup"].as_str().filter(|g| !g.is_empty()) {
                    Some(g) => format!("{kind}.{g}"),
                    None => kind,
                };
                format!("{qualified}/{}", plain(&p["name"], ""))
            } else {
                "<none>".into()
            };
            vec![
                r.name(),
                r.text(&["spec", "controller"]).into(),
                parameters.into(),
                r.age(),
            ]
        }
        "NetworkPolicy" => vec![r.name(), selector(&spec["podSelector"]).into(), r.age()],
        "ServiceCIDR" => vec![r.name(), join(list(&spec["cidrs"]), ",").into(), r.age()],
        "IPAddress" => {
            let p = &spec["parentRef"];
            let resource = match p["group"].as_str().filter(|g| !g.is_empty()) {
                Some(g) => format!("{}.{g}", plain(&p["resource"], "")),
                None => plain(&p["resource"], ""),
            };
            let parts = [resource, plain(&p["namespace"], ""), plain(&p["name"], "")];
            let parts: Vec<String> = parts.into_iter().filter(|p| !p.is_empty()).collect();
            vec![r.name(), parts.join("/").into()]
        }
        "EndpointSlice" => {
            let ports: Vec<String> = list(&r.o["ports"])
                .iter()
                .map(|p| plain(&p["port"], "*"))
                .collect();
            let addresses: Vec<String> = list(&r.o["endpoints"])
                .iter()
                .flat_map(|e| list(&e["addresses"]))
                .map(|a| plain(a, ""))
                .collect();
            vec![
                r.name(),
                r.text(&["addressType"]).into(),
                three(&ports).into(),
                three(&addresses).into(),
                r.age(),
            ]
        }
        _ => return None,
    })
}

fn hosts(rules: &[Value]) -> String {
    let named: Vec<String> = rules
        .iter()
        .filter_map(|r| r["host"].as_str())
        .filter(|h| !h.is_empty())
        .map(str::to_owned)
        .collect();
    clipped(&named, 3, "*")
}

fn binding(r: Row<'_>) -> Vec<Value> {
    let subjects = |kind: &str| {
        let all: Vec<String> = list(&r.o["subjects"])
            .iter()
            .filter(|s| s["kind"] == kind)
            .map(|s| {
                let name = plain(&s["name"], "");
                match s["namespace"].as_str().filter(|n| !n.is_empty()) {
                    Some(ns) if kind == "ServiceAccount" => format!("{ns}/{name}"),
                    _ => name,
                }
            })
            .collect();
        Value::from(all.join(", "))
    };
    let role = format!(
        "{}/{}",
        r.text(&["roleRef", "kind"]),
        r.text(&["roleRef", "name"])
    );
    vec![
        r.name(),
        role.into(),
        r.age(),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

fn signing_request(r: Row<'_>) -> Vec<Value> {
    let has = |t: &str| list(&r.o["status"]["conditions"]).iter().any(|c| c["type"] == t);
    let mut state = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !r.text(&["status", "certificate"]).is_empty() {
        state.push_str(",Issued");
    }
    let duration = r.o["spec"]["expirationSeconds"]
        .as_i64()
        .map_or_else(|| "<none>".into(), human_duration);
    vec![
        r.name(),
        r.age(),
        or(r.text(&["spec", "signerName"]), "<none>").into(),
        r.text(&["spec", "username"]).into(),
        duration.into(),
        state.into(),
    ]
}

fn api_service(r: Row<'_>) -> Vec<Value> {
    let service = if r.o["spec"]["service"].is_object() {
        format!(
            "{}/{}",
            r.text(&["spec", "service", "namespace"]),
            r.text(&["spec", "service", "name"])
        )
    } else {
        "Local".into()
    };
    let available = list(&r.o["status"]["conditions"])
        .iter()
        .find(|c| c["type"] == "Available");
    let available = match available {
        Some(c) if c["status"] == "True" => "True".to_owned(),
        Some(c) => format!("{} ({})", plain(&c["status"], ""), plain(&c["reason"], "")),
        None => "Unknown".into(),
    };
    vec![meta::name(r.o).into(), service.into(), available.into(), r.age()]
}

fn admission(kind: &str, r: Row<'_>) -> Option<Vec<Value>> {
    let spec = &r.o["spec"];
    Some(match kind {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            vec![r.name(), len(&r.o["webhooks"]).into(), r.age()]
        }
        "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" => {
            let rules = if kind.starts_with('V') {
                "validations"
            } else {
                "mutations"
            };
            let p = &spec["paramKind"];
            let param = if p.is_object() {
                format!("{}/{}", plain(&p["apiVersion"], ""), plain(&p["kind"], ""))
            } else {
                "<unset>".into()
            };
            vec![r.name(), len(&spec[rules]).into(), param.into(), r.age()]
        }
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
            let p = &spec["paramRef"];
            let param = match (
                p["namespace"].as_str().unwrap_or(""),
                p["name"].as_str().unwrap_or(""),
            ) {
                _ if !p.is_object() => "<unset>".into(),
                ("", "") => selector(&p["selector"]),
                ("", name) => name.to_owned(),
                (ns, name) => format!("{ns}/{name}"),
            };
            vec![
                r.name(),
                r.text(&["spec", "policyName"]).into(),
                param.into(),
                r.age(),
            ]
        }
        _ => return None,
    })
}

fn flow_control(kind: &str, r: Row<'_>) -> Option<Vec<Value>> {
    let spec = &r.o["spec"];
    Some(match kind {
        "FlowSchema" => {
            let dangling = list(&r.o["status"]["conditions"])
                .iter()
                .find(|c| c["type"] == "Dangling");
            vec![
                r.name(),
                r.text(&["spec", "priorityLevelConfiguration", "name"]).into(),
                r.int(&["spec", "matchingPrecedence"]).into(),
                or(r.text(&["spec", "distinguisherMethod", "type"]), "<none>").into(),
                r.age(),
                dangling
                    .map_or_else(|| "?".into(), |c| plain(&c["status"], "?"))
                    .into(),
            ]
        }
        "PriorityLevelConfiguration" => {
            let limited = &spec["limited"];
            let queuing = &limited["limitResponse"]["queuing"];
            let number = |v: &Value| match v {
                Value::Null => Value::from("<none>"),
                number => number.clone(),
            };
            vec![
                r.name(),
                r.text(&["spec", "type"]).into(),
                number(&limited["nominalConcurrencyShares"]),
                number(&queuing["queues"]),
                number(&queuing["handSize"]),
                number(&queuing["queueLengthLimit"]),
                r.age(),
            ]
        }
        _ => return None,
    })
}

fn resource(kind: &str, r: Row<'_>) -> Option<Vec<Value>> {
    Some(match kind {
        "ResourceClaim" => {
            let mut states = vec![];
            if meta::is_deleting(r.o) {
                states.push("deleted");
            }
            match r.o["status"]["allocation"].is_object() {
                true => states.push("allocated"),
                false if states.is_empty() => states.push("pending"),
                false => {}
            }
            if !list(&r.o["status"]["reservedFor"]).is_empty() {
                states.push("reserved");
            }
            vec![r.name(), states.join(",").into(), r.age()]
        }
        "ResourceClaimTemplate" | "DeviceClass" => vec![r.name(), r.age()],
        "ResourceSlice" => {
            let spec = &r.o["spec"];
            let node = if spec["allNodes"] == true {
                "<all>"
            } else if spec["nodeSelector"].is_object() {
                "<selector>"
            } else {
                or(r.text(&["spec", "nodeName"]), "<none>")
            };
            vec![
                r.name(),
                node.into(),
                r.text(&["spec", "driver"]).into(),
                r.text(&["spec", "pool", "name"]).into(),
                r.age(),
            ]
        }
        _ => return None,
    })
}
