//! Services.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::core::reachable;
use super::meta::labels;
use super::pod::port;
use super::support::{list, one_of, required_one_of, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

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
        "LoadBalancer" => {
            for (i, p) in all_ports.iter().enumerate().filter(|(_, p)| p["port"] == 10250) {
                errs.push(Error::invalid(
                    &path.child("ports").index(i),
                    p["port"].clone(),
                    "may not expose port 10250 externally since it is used by kubelet",
                ));
            }
            not_headless(headless, "LoadBalancer", &path, errs);
        }
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
    for f in ["externalTrafficPolicy", "internalTrafficPolicy"] {
        one_of(&s[f], &["Cluster", "Local"], &path.child(f), errs);
    }
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
    if kind != "LoadBalancer" {
        for f in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if !s[f].is_null() {
                errs.push(Error::forbidden(
                    &path.child(f),
                    "may only be used when `type` is 'LoadBalancer'",
                ));
            }
        }
        if !list(&s["loadBalancerSourceRanges"]).is_empty() {
            errs.push(Error::forbidden(
                &path.child("LoadBalancerSourceRanges"),
                "may only be used when `type` is 'LoadBalancer'",
            ));
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
        let app = text(p, "appProtocol");
        if !app.is_empty() {
            errs.invalid_each(&at.child("appProtocol"), app, names::qualified_name(app));
        }
        let protocol = text(p, "protocol");
        if !seen.insert((protocol, number)) {
            errs.push(Error::duplicate(
                &at,
                json!({"protocol": protocol, "port": number}),
            ));
        }
        let node = p["nodePort"].as_i64().unwrap_or(0);
        if node != 0 && !seen_nodes.insert((protocol, node)) {
            errs.push(Error::duplicate(&at.child("nodePort"), node));
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
            let p = p.child("clientIP").child("timeoutSeconds");
            match config["clientIP"]["timeoutSeconds"].as_i64() {
                None => errs.push(Error::required(&p, "when session affinity type is ClientIP")),
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
    let ips = list(&s["clusterIPs"]);
    let p = path.child("clusterIPs");
    let first = text(s, "clusterIP");
    if first.is_empty() && !ips.is_empty() {
        errs.push(Error::invalid(
            &p,
            s["clusterIPs"].clone(),
            "must be empty when `clusterIP` is not specified",
        ));
    } else if !ips.is_empty() && ips[0] != first {
        errs.push(Error::invalid(
            &p,
            s["clusterIPs"].clone(),
            "first value must match `clusterIP`",
        ));
    }
    for (i, ip) in ips.iter().enumerate() {
        let ip = ip.as_str().unwrap_or("");
        match ip {
            "None" if i == 0 => {}
            "None" => errs.push(Error::invalid(
                &p.index(i),
                ip,
                "'None' must be the first and only value",
            )),
            ip => errs.invalid_each(&p.index(i), ip, names::ip(ip)),
        }
    }
    if ips.is_empty() && !matches!(first, "" | "None") {
        errs.invalid_each(&path.child("clusterIPs").index(0), first, names::ip(first));
    }
    if ips.len() > 2 {
        errs.push(Error::invalid(
            &p,
            s["clusterIPs"].clone(),
            "may only hold up to 2 values",
        ));
    }
    for (i, f) in list(&s["ipFamilies"]).iter().enumerate() {
        one_of(f, &["IPv4", "IPv6"], &path.child("ipFamilies").index(i), errs);
    }
    one_of(
        &s["ipFamilyPolicy"],
        &["PreferDualStack", "RequireDualStack", "SingleStack"],
        &path.child("ipFamilyPolicy"),
        errs,
    );
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
    create(new, errs);
}
