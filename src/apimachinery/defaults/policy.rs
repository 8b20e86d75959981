//! The remaining groups.

use serde_json::{Value, json};

use super::{Object, child, core, each, ensure, or, or_num, or_str, text};

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn apply(group: &str, kind: &str, o: &mut Object) {
    match (group, kind) {
        (RBAC, "RoleBinding" | "ClusterRoleBinding") => binding(o),
        ("networking.k8s.io", "NetworkPolicy") => network_policy(o),
        ("networking.k8s.io", "IngressClass") => {
            if let Some(p) = child(o, "spec").and_then(|s| child(s, "parameters")) {
                or(p, "scope", "Cluster");
            }
        }
        ("storage.k8s.io", "StorageClass") => {
            or(o, "reclaimPolicy", "Delete");
            or(o, "volumeBindingMode", "Immediate");
        }
        ("storage.k8s.io", "CSIDriver") => csi_driver(o),
        ("scheduling.k8s.io", "PriorityClass") => or(o, "preemptionPolicy", "PreemptLowerPriority"),
        ("discovery.k8s.io", "EndpointSlice") => each(o, "ports", |p| {
            or(p, "name", "");
            or(p, "protocol", "TCP");
        }),
        ("admissionregistration.k8s.io", kind) => admission(kind, o),
        ("apiregistration.k8s.io", "APIService") => {
            if let Some(s) = child(o, "spec") {
                core::service_reference(s);
            }
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => custom_resource(o),
        ("flowcontrol.apiserver.k8s.io", kind) => flow_control(kind, o),
        ("resource.k8s.io", "ResourceClaim") => {
            if let Some(s) = child(o, "spec") {
                resource_claim(s);
            }
        }
        ("resource.k8s.io", "ResourceClaimTemplate") => {
            if let Some(s) = child(o, "spec").and_then(|s| child(s, "spec")) {
                resource_claim(s);
            }
        }
        _ => {}
    }
}

fn binding(o: &mut Object) {
    if let Some(r) = child(o, "roleRef") {
        or_str(r, "apiGroup", RBAC);
    }
    each(o, "subjects", |s| {
        if matches!(text(s, "kind"), "User" | "Group") {
            or_str(s, "apiGroup", RBAC);
        }
    });
}

fn network_policy(o: &mut Object) {
    let Some(s) = ensure(o, "spec") else { return };
    or(s, "podSelector", Object::new());
    for rules in ["ingress", "egress"] {
        each(s, rules, |r| each(r, "ports", |p| or(p, "protocol", "TCP")));
    }
    if s.get("policyTypes")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
    {
        let egress = s
            .get("egress")
            .and_then(Value::as_array)
            .is_some_and(|l| !l.is_empty());
        let types = if egress {
            json!(["Ingress", "Egress"])
        } else {
            json!(["Ingress"])
        };
        s.insert("policyTypes".into(), types);
    }
}

fn csi_driver(o: &mut Object) {
    let Some(s) = ensure(o, "spec") else { return };
    or(s, "attachRequired", true);
    or(s, "podInfoOnMount", false);
    or(s, "storageCapacity", false);
    or(s, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if s.get("volumeLifecycleModes")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
    {
        s.insert("volumeLifecycleModes".into(), json!(["Persistent"]));
    }
    or(s, "requiresRepublish", false);
    or(s, "seLinuxMount", false);
}

fn admission(kind: &str, o: &mut Object) {
    match kind {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => each(o, "webhooks", |w| {
            or(w, "failurePolicy", "Fail");
            match_resources(w);
            or(w, "timeoutSeconds", 10);
            if kind.starts_with("Mutating") {
                or(w, "reinvocationPolicy", "Never");
            }
            each(w, "rules", |r| or(r, "scope", "*"));
            if let Some(c) = child(w, "clientConfig") {
                core::service_reference(c);
            }
        }),
        "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" => {
            let Some(s) = ensure(o, "spec") else { return };
            or(s, "failurePolicy", "Fail");
            if let Some(m) = child(s, "matchConstraints") {
                match_resources(m);
                resource_rules(m);
            }
        }
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
            if let Some(m) = child(o, "spec").and_then(|s| child(s, "matchResources")) {
                match_resources(m);
                resource_rules(m);
            }
        }
        _ => {}
    }
}

fn match_resources(m: &mut Object) {
    or(m, "matchPolicy", "Equivalent");
    or(m, "namespaceSelector", Object::new());
    or(m, "objectSelector", Object::new());
}

fn resource_rules(m: &mut Object) {
    for list in ["resourceRules", "excludeResourceRules"] {
        each(m, list, |r| or(r, "scope", "*"));
    }
}

fn custom_resource(o: &mut Object) {
    if let Some(s) = ensure(o, "spec") {
        if let Some(n) = ensure(s, "names") {
            let kind = text(n, "kind").to_owned();
            or_str(n, "singular", &kind.to_lowercase());
            if !kind.is_empty() {
                or_str(n, "listKind", &format!("{kind}List"));
            }
        }
        if s.get("conversion").is_none_or(Value::is_null) {
            s.insert("conversion".into(), json!({"strategy": "None"}));
        } else if let Some(config) = child(s, "conversion")
            .and_then(|conversion| child(conversion, "webhook"))
            .and_then(|webhook| child(webhook, "clientConfig"))
        {
            core::service_reference(config);
        }
        s.entry("preserveUnknownFields").and_modify(|v| {
            if *v == false {
                *v = Value::Null;
            }
        });
        if s.get("preserveUnknownFields").is_some_and(Value::is_null) {
            s.remove("preserveUnknownFields");
        }
    }
    let stored = |o: &Object| {
        o.get("spec")?
            .get("versions")?
            .as_array()?
            .iter()
            .find(|v| v["storage"] == true)
            .map(|v| v["name"].clone())
    };
    if let Some(name) = stored(o)
        && let Some(status) = ensure(o, "status")
        && status
            .get("storedVersions")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty)
    {
        status.insert("storedVersions".into(), json!([name]));
    }
}

fn flow_control(kind: &str, o: &mut Object) {
    let Some(s) = ensure(o, "spec") else { return };
    if kind == "FlowSchema" {
        or_num(s, "matchingPrecedence", 1000);
        return;
    }
    if let Some(e) = child(s, "exempt") {
        or(e, "nominalConcurrencyShares", 0);
        or(e, "lendablePercent", 0);
    }
    if let Some(l) = child(s, "limited") {
        or(l, "nominalConcurrencyShares", 30);
        or(l, "lendablePercent", 0);
        if let Some(q) = child(l, "limitResponse").and_then(|r| child(r, "queuing")) {
            or_num(q, "handSize", 8);
            or_num(q, "queues", 64);
            or_num(q, "queueLengthLimit", 50);
        }
    }
}

fn resource_claim(s: &mut Object) {
    let Some(d) = child(s, "devices") else { return };
    each(d, "requests", |r| {
        if let Some(e) = child(r, "exactly") {
            device_request(e);
        }
        each(r, "firstAvailable", device_request);
    });
}

fn device_request(r: &mut Object) {
    or_str(r, "allocationMode", "ExactCount");
    if text(r, "allocationMode") == "ExactCount" {
        or_num(r, "count", 1);
    }
    each(r, "tolerations", |t| or_str(t, "operator", "Equal"));
}
