//! What a Service's fields follow from its type and, at an update, from what it was.

use rkind_apimachinery::meta;
use serde_json::{Map, Value, json};

pub(super) fn wants_address(spec: &Value) -> bool {
    spec["type"] != "ExternalName" && spec["clusterIP"] != "None"
}

/// Takes node ports from a Service whose type no longer has any, unless an update changes them.
fn drop_node_ports(spec: &mut Map<String, Value>, old: &Value) {
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        let unchanged = old["spec"]["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|o| o["nodePort"] == port["nodePort"]);
        if unchanged && let Some(port) = port.as_object_mut() {
            port.remove("nodePort");
        }
    }
}

/// Whether a Service is reached from outside of the cluster.
fn is_external(spec: &Value) -> bool {
    matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer"))
        || spec["externalIPs"]
            .as_array()
            .is_some_and(|list| !list.is_empty())
}

pub(super) fn needs_health_port(spec: &Value) -> bool {
    spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
}

/// Keeps the port that an update does not name, and takes away what the new type has no use for, unless
/// the update changes it too, which is for validation to refuse. Upstream: `patchAllocatedValues`,
/// `dropTypeDependentFields`.
fn follow_type(spec: &mut Value, old: &Value) {
    let balanced = |spec: &Value| spec["type"] == "LoadBalancer";
    let port = "healthCheckNodePort";
    if needs_health_port(old) && needs_health_port(spec) && spec[port].as_u64().unwrap_or(0) == 0 {
        spec[port] = old[port].clone();
    }
    type Applies = fn(&Value) -> bool;
    let dependent: [(&str, Applies); 4] = [
        (port, needs_health_port),
        ("allocateLoadBalancerNodePorts", balanced),
        ("loadBalancerClass", balanced),
        ("externalTrafficPolicy", is_external),
    ];
    // What decides whether one applies may be another: all are judged before any goes.
    let gone = dependent.map(|(field, applies)| {
        let dropped = applies(old) && !applies(spec) && spec[field] == old[field];
        dropped.then_some(field)
    });
    if let Some(spec) = spec.as_object_mut() {
        for field in gone.into_iter().flatten() {
            spec.remove(field);
        }
    }
}

/// IP family fields (KEP-563, single stack) and what an update leaves to the old object.
pub(super) fn prepare(object: &mut Value, old: Option<&Value>) {
    if let Some(old) = old {
        follow_type(&mut object["spec"], &old["spec"]);
        if object["spec"]["type"] != "LoadBalancer" && object["status"]["loadBalancer"].is_object() {
            object["status"]["loadBalancer"] = json!({});
        }
    }
    let spec = meta::child_object(object, "spec");
    let external = spec.get("type").is_some_and(|t| t == "ExternalName");
    if external {
        // An external name has none of these.
        for field in [
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ] {
            if old.is_some_and(|o| o["spec"]["type"] != "ExternalName")
                || spec.get(field).is_some_and(|v| v == "" || v.is_null())
            {
                spec.remove(field);
            }
        }
        if let Some(old) = old {
            drop_node_ports(spec, old);
        }
        return;
    }
    let empty = |v: Option<&Value>| {
        v.is_none_or(|v| v.is_null() || v == "" || v.as_array().is_some_and(Vec::is_empty))
    };
    if let Some(old) = old {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            let kept = &old["spec"][field];
            if empty(spec.get(field)) && !kept.is_null() && old["spec"]["type"] != "ExternalName" {
                spec.insert(field.into(), kept.clone());
            }
        }
        // Node ports stay with their port when an update does not name them.
        let wants = matches!(
            spec.get("type").and_then(Value::as_str),
            Some("NodePort" | "LoadBalancer")
        );
        let had = matches!(old["spec"]["type"].as_str(), Some("NodePort" | "LoadBalancer"));
        if wants && had {
            for port in spec
                .get_mut("ports")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                let same = |o: &&Value| o["port"] == port["port"] && protocol(o) == protocol(port);
                let kept = old["spec"]["ports"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .find(same)
                    .map(|o| o["nodePort"].clone());
                if port["nodePort"].as_u64().unwrap_or(0) == 0
                    && let Some(kept) = kept.filter(|k| !k.is_null())
                {
                    port["nodePort"] = kept;
                }
            }
        } else if !wants && had {
            drop_node_ports(spec, old);
        }
    }
    if empty(spec.get("ipFamilyPolicy")) {
        spec.insert("ipFamilyPolicy".into(), json!("SingleStack"));
    }
    // `clusterIP` and the first of `clusterIPs` say the same.
    let single = spec
        .get("clusterIP")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if !single.is_empty() && empty(spec.get("clusterIPs")) {
        spec.insert("clusterIPs".into(), json!([single]));
    }
    if single.is_empty()
        && let Some(first) = spec
            .get("clusterIPs")
            .and_then(|l| l[0].as_str())
            .map(str::to_owned)
    {
        spec.insert("clusterIP".into(), json!(first));
    }
}

pub(super) fn protocol(port: &Value) -> &str {
    port["protocol"].as_str().unwrap_or("TCP")
}
