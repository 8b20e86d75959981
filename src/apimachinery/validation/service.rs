//! Services.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::endpoints::reachable;
use super::meta::labels;
use super::pod::port;
use super::support::{list, required_one_of, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

const POLICIES: &[&str] = &["Cluster", "Local"];
const DISTRIBUTIONS: &[&str] = &["PreferClose", "PreferSameZone", "PreferSameNode"];
const FAMILIES: &[&str] = &["IPv4", "IPv6"];
const FAMILY_POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];
const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

pub(super) fn create(o: &Value, errs: &mut ErrorList) {
    let s = &o["spec"];
    let path = Path::new("spec");
    let kind = text(s, "type");
    let headless = text(s, "clusterIP") == "None";
    let all_ports = list(&s["ports"]);
    if all_ports.is_empty() && !headless && kind != "ExternalName" {
        errs.push(Error::required(&path.child("ports"), ""));
    }
    match kind {
        "LoadBalancer" => not_headless(headless, "LoadBalancer", &path, errs),
        "NodePort" => not_headless(headless, "NodePort", &path, errs),
        "ExternalName" => external_name(s, &path, errs),
        _ => {}
    }
    ports(s, &path.child("ports"), errs);
    labels(&s["selector"], &path.child("selector"), errs);
    required_one_of(
        &s["sessionAffinity"],
        &["ClientIP", "None"],
        &path.child("sessionAffinity"),
        errs,
    );
    affinity(s, &path, errs);
    cluster_ips(s, &path, errs);
    for (i, ip) in list(&s["externalIPs"]).iter().enumerate() {
        reachable(
            ip.as_str().unwrap_or(""),
            &path.child("externalIPs").index(i),
            errs,
        );
    }
    required_one_of(&s["type"], TYPES, &path.child("type"), errs);
    if kind == "ClusterIP" {
        for (i, p) in all_ports.iter().enumerate() {
            if p["nodePort"].as_i64().unwrap_or(0) != 0 {
                errs.push(Error::forbidden(
                    &path.child("ports").index(i).child("nodePort"),
                    "may not be used when `type` is 'ClusterIP'",
                ));
            }
        }
    }
    load_balancer(s, &path, errs);
    external_traffic(s, &path, errs);
    let internal = path.child("internalTrafficPolicy");
    if matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer") || !s["internalTrafficPolicy"].is_null() {
        match s["internalTrafficPolicy"].as_str() {
            None => errs.push(Error::required(&internal, "")),
            Some("Cluster" | "Local") => {}
            Some(other) => errs.push(Error::not_supported(&internal, other, POLICIES)),
        }
    }
    if let Some(distribution) = s["trafficDistribution"].as_str()
        && !DISTRIBUTIONS.contains(&distribution)
    {
        errs.push(Error::not_supported(
            &path.child("trafficDistribution"),
            distribution,
            DISTRIBUTIONS,
        ));
    }
}

/// What only services with a load balancer have.
fn load_balancer(s: &Value, path: &Path, errs: &mut ErrorList) {
    let is_one = text(s, "type") == "LoadBalancer";
    let why = "may only be used when `type` is 'LoadBalancer'";
    // Upstream's path has a capital letter.
    let at = path.child("LoadBalancerSourceRanges");
    let ranges = list(&s["loadBalancerSourceRanges"]);
    if !is_one && !ranges.is_empty() {
        errs.push(Error::forbidden(&at, why));
    }
    for (i, range) in ranges.iter().enumerate() {
        let range = range.as_str().unwrap_or("").trim();
        errs.invalid_each(&at.index(i), range, names::cidr(range));
    }
    match &s["allocateLoadBalancerNodePorts"] {
        Value::Null if is_one => errs.push(Error::required(&Path::new("allocateLoadBalancerNodePorts"), "")),
        Value::Null => {}
        _ if is_one => {}
        _ => errs.push(Error::forbidden(
            &path.child("allocateLoadBalancerNodePorts"),
            why,
        )),
    }
    load_balancer_class(s, path, errs);
}

fn load_balancer_class(s: &Value, path: &Path, errs: &mut ErrorList) {
    let at = path.child("loadBalancerClass");
    match s["loadBalancerClass"].as_str() {
        None => {}
        Some(class) if text(s, "type") == "LoadBalancer" => {
            errs.invalid_each(&at, class, names::qualified_name(class));
        }
        Some(_) => errs.push(Error::forbidden(
            &at,
            "may only be used when `type` is 'LoadBalancer'",
        )),
    }
}

/// Reached from outside the cluster (upstream's `ExternallyAccessible`).
fn is_external(s: &Value) -> bool {
    match text(s, "type") {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => !list(&s["externalIPs"]).is_empty(),
        _ => false,
    }
}

fn needs_health_check(s: &Value) -> bool {
    text(s, "type") == "LoadBalancer" && text(s, "externalTrafficPolicy") == "Local"
}

fn external_traffic(s: &Value, path: &Path, errs: &mut ErrorList) {
    let at = path.child("externalTrafficPolicy");
    match (is_external(s), text(s, "externalTrafficPolicy")) {
        (false, "") | (true, "Cluster" | "Local") => {}
        (false, set) => errs.push(Error::invalid(
            &at,
            set,
            "may only be set for externally-accessible services",
        )),
        (true, "") => errs.push(Error::required(&at, "")),
        (true, other) => errs.push(Error::not_supported(&at, other, POLICIES)),
    }
    let at = path.child("healthCheckNodePort");
    match (
        needs_health_check(s),
        s["healthCheckNodePort"].as_i64().unwrap_or(0),
    ) {
        (false, 0) => {}
        (false, port) => errs.push(Error::invalid(
            &at,
            port,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        )),
        (true, 0) => errs.push(Error::required(&at, "")),
        (true, port) => {
            for message in names::port_num(port) {
                errs.push(Error::invalid(&at, port, message));
            }
        }
    }
}

fn not_headless(headless: bool, kind: &str, path: &Path, errs: &mut ErrorList) {
    if headless {
        errs.push(Error::invalid(
            &path.child("clusterIPs").index(0),
            "None",
            format!("may not be set to 'None' for {kind} services"),
        ));
    }
}

fn external_name(s: &Value, path: &Path, errs: &mut ErrorList) {
    for f in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let v = &s[f];
        if !v.is_null() && *v != json!([]) {
            errs.push(Error::forbidden(
                &path.child(f),
                "may not be set for ExternalName services",
            ));
        }
    }
    let name = text(s, "externalName");
    let bare = name.strip_suffix('.').unwrap_or(name);
    if bare.is_empty() {
        errs.push(Error::required(&path.child("externalName"), ""));
    } else {
        errs.invalid_each(&path.child("externalName"), bare, names::dns1123_subdomain(bare));
    }
}

fn ports(s: &Value, path: &Path, errs: &mut ErrorList) {
    let all = list(&s["ports"]);
    let mut seen_names: HashSet<&str> = HashSet::new();
    let mut seen: HashSet<(&str, i64)> = HashSet::new();
    let mut seen_nodes: HashSet<(&str, i64)> = HashSet::new();
    for (i, p) in all.iter().enumerate() {
        let at = path.index(i);
        let name = text(p, "name");
        if name.is_empty() {
            if all.len() > 1 {
                errs.push(Error::required(&at.child("name"), ""));
            }
        } else {
            errs.invalid_each(&at.child("name"), name, names::dns1123_label(name));
            if !seen_names.insert(name) {
                errs.push(Error::duplicate(&at.child("name"), name));
            }
        }
        let number = p["port"].as_i64().unwrap_or(0);
        for m in names::port_num(number) {
            errs.push(Error::invalid(&at.child("port"), number, m));
        }
        required_one_of(
            &p["protocol"],
            &["SCTP", "TCP", "UDP"],
            &at.child("protocol"),
            errs,
        );
        port(&p["targetPort"], &at.child("targetPort"), errs);
        if let Some(app) = p["appProtocol"].as_str() {
            errs.invalid_each(&at.child("appProtocol"), app, names::qualified_name(app));
        }
    }
    for (i, p) in all.iter().enumerate() {
        let node = p["nodePort"].as_i64().unwrap_or(0);
        if node != 0 && !seen_nodes.insert((text(p, "protocol"), node)) {
            errs.push(Error::duplicate(&path.index(i).child("nodePort"), node));
        }
    }
    for (i, p) in all.iter().enumerate() {
        let (protocol, port) = (text(p, "protocol"), p["port"].as_i64().unwrap_or(0));
        if !seen.insert((protocol, port)) {
            // Upstream prints its internal form of a port.
            let key = json!({"Name": "", "Protocol": protocol, "AppProtocol": null, "Port": port,
                "TargetPort": 0, "NodePort": 0});
            errs.push(Error::duplicate(&path.index(i), key));
        }
    }
}

fn affinity(s: &Value, path: &Path, errs: &mut ErrorList) {
    let config = &s["sessionAffinityConfig"];
    let p = path.child("sessionAffinityConfig");
    match text(s, "sessionAffinity") {
        "None" if !config.is_null() => {
            errs.push(Error::forbidden(
                &p,
                "must not be set when session affinity is None",
            ));
        }
        "ClientIP" => {
            let why = "when session affinity type is ClientIP";
            if config.is_null() {
                errs.push(Error::required(&p, why));
                return;
            }
            let p = p.child("clientIP");
            if config["clientIP"].is_null() {
                errs.push(Error::required(&p, why));
                return;
            }
            let p = p.child("timeoutSeconds");
            match config["clientIP"]["timeoutSeconds"].as_i64() {
                None => errs.push(Error::required(&p, why)),
                Some(t) if t <= 0 || t > 86400 => {
                    errs.push(Error::invalid(
                        &p,
                        t,
                        "must be greater than 0 and less than 86400",
                    ));
                }
                Some(_) => {}
            }
        }
        _ => {}
    }
}

fn cluster_ips(s: &Value, path: &Path, errs: &mut ErrorList) {
    if text(s, "type") == "ExternalName" {
        return;
    }
    let ips: Vec<&str> = list(&s["clusterIPs"])
        .iter()
        .map(|ip| ip.as_str().unwrap_or(""))
        .collect();
    let p = path.child("clusterIPs");
    let all = || s["clusterIPs"].clone();
    match (text(s, "clusterIP"), ips.first()) {
        ("", None) => {}
        ("", Some(_)) => errs.push(Error::invalid(
            &p,
            all(),
            "must be empty when `clusterIP` is not specified",
        )),
        (_, None) => errs.push(Error::required(&p, "")),
        (first, Some(ip)) if *ip != first => {
            errs.push(Error::invalid(&p, all(), "first value must match `clusterIP`"));
        }
        _ => {}
    }
    let families = list(&s["ipFamilies"]);
    for (i, family) in families.iter().enumerate() {
        let at = path.child("ipFamilies").index(i);
        let name = family.as_str().unwrap_or("");
        if !FAMILIES.contains(&name) {
            errs.push(Error::not_supported(&at, name, FAMILIES));
        }
        if families[..i].contains(family) {
            errs.push(Error::duplicate(&at, name));
        }
    }
    if let Some(policy) = s["ipFamilyPolicy"].as_str()
        && !FAMILY_POLICIES.contains(&policy)
    {
        errs.push(Error::not_supported(
            &path.child("ipFamilyPolicy"),
            policy,
            FAMILY_POLICIES,
        ));
    }
    let before = errs.len();
    for (i, ip) in ips.iter().enumerate() {
        if i > 0 || *ip != "None" {
            errs.invalid_each(&p.index(i), ip, names::ip(ip));
        } else if ips.len() > 1 {
            errs.push(Error::invalid(
                &p,
                all(),
                "'None' must be the first and only value",
            ));
        }
    }
    let legible = errs.len() == before;
    if ips.len() > 2 {
        errs.push(Error::invalid(&p, all(), "may only hold up to 2 values"));
    }
    if !legible || ips.first() == Some(&"None") {
        return;
    }
    let is_v6 = |ip: &&str| ip.contains(':');
    if ips.len() > 1 && (ips.iter().all(is_v6) || !ips.iter().any(is_v6)) {
        errs.push(Error::invalid(
            &p,
            all(),
            "may specify no more than one IP for each IP family",
        ));
    }
    for (i, (ip, family)) in ips.iter().zip(families).enumerate() {
        let family = family.as_str().unwrap_or("");
        if matches!((family, is_v6(ip)), ("IPv4", true) | ("IPv6", false)) {
            errs.push(Error::invalid(
                &p.index(i),
                *ip,
                format!("expected an {family} value as indicated by `ipFamilies[{i}]`"),
            ));
        }
    }
}

pub(super) fn update(new: &Value, old: &Value, errs: &mut ErrorList) {
    let (n, o) = (&new["spec"], &old["spec"]);
    let p = Path::new("spec").child("clusterIPs").index(0);
    let had = text(o, "clusterIP");
    let external = |s: &Value| text(s, "type") == "ExternalName";
    if !had.is_empty() && !external(n) && !external(o) {
        match text(n, "clusterIP") {
            "" => errs.push(Error::invalid(
                &p,
                n["clusterIPs"].clone(),
                "primary clusterIP can not be unset",
            )),
            now if now != had => {
                errs.push(Error::invalid(
                    &p,
                    n["clusterIPs"].clone(),
                    "may not change once set",
                ));
            }
            _ => {}
        }
    }
    let both = |kind: &str| text(n, "type") == kind && text(o, "type") == kind;
    if both("LoadBalancer") && n["loadBalancerClass"] != o["loadBalancerClass"] {
        errs.push(Error::invalid(
            &Path::new("spec").child("loadBalancerClass"),
            n["loadBalancerClass"].clone(),
            "may not change once set",
        ));
    }
    // Upstream checks the class once by itself and once with everything else.
    load_balancer_class(n, &Path::new("spec"), errs);
    // What is left out stays what it was.
    let given = n["healthCheckNodePort"].as_i64().unwrap_or(0) != 0;
    let changed = given && n["healthCheckNodePort"] != o["healthCheckNodePort"];
    if needs_health_check(n) && needs_health_check(o) && changed {
        errs.push(Error::forbidden(
            &Path::new("spec").child("healthCheckNodePort"),
            "field is immutable",
        ));
    }
    create(new, errs);
}

/// `status.loadBalancer` of a service.
pub(super) fn status(o: &Value, errs: &mut ErrorList) {
    let path = Path::new("status").child("loadBalancer").child("ingress");
    let ingress = list(&o["status"]["loadBalancer"]["ingress"]);
    if text(&o["spec"], "type") != "LoadBalancer" && !ingress.is_empty() {
        errs.push(Error::forbidden(
            &path,
            "may only be used when `spec.type` is 'LoadBalancer'",
        ));
        return;
    }
    for (i, point) in ingress.iter().enumerate() {
        let p = path.index(i);
        let ip = text(point, "ip");
        if !ip.is_empty() {
            errs.invalid_each(&p.child("ip"), ip, names::ip(ip));
        }
        let mode = p.child("ipMode");
        match point["ipMode"].as_str() {
            None if !ip.is_empty() => {
                errs.push(Error::required(&mode, "must be specified when `ip` is set"));
            }
            None => {}
            Some(_) if ip.is_empty() => errs.push(Error::forbidden(
                &mode,
                "may not be specified when `ip` is not set",
            )),
            Some("Proxy" | "VIP") => {}
            Some(other) => errs.push(Error::not_supported(&mode, other, &["Proxy", "VIP"])),
        }
        super::network::ingress_hostname(text(point, "hostname"), &p.child("hostname"), errs);
    }
}
