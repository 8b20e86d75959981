//! networking.k8s.io and discovery.k8s.io.

use std::collections::HashSet;

use serde_json::Value;

use super::core::reachable;
use super::pod::port;
use super::support::{immutable, label_selector, list, required, required_one_of, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

pub(super) fn create(kind: &str, o: &Value, errs: &mut ErrorList) {
    match kind {
        "NetworkPolicy" => policy(&o["spec"], &Path::new("spec"), errs),
        "Ingress" => ingress(&o["spec"], &Path::new("spec"), errs),
        "IngressClass" => {
            let c = text(&o["spec"], "controller");
            let p = Path::new("spec").child("controller");
            if c.is_empty() {
                errs.push(Error::required(&p, ""));
            } else if !c.contains('/') {
                errs.push(Error::invalid(
                    &p,
                    c,
                    "must be a domain-prefixed path (such as \"acme.io/foo\")",
                ));
            }
            let parameters = &o["spec"]["parameters"];
            if parameters.is_object() {
                class_parameters(parameters, &Path::new("spec").child("parameters"), errs);
            }
        }
        "EndpointSlice" => slice(o, errs),
        "ServiceCIDR" => {
            let cidrs = list(&o["spec"]["cidrs"]);
            let p = Path::new("spec").child("cidrs");
            if cidrs.is_empty() {
                errs.push(Error::required(&p, "at least one CIDR required"));
            }
            for (i, c) in cidrs.iter().enumerate() {
                let c = c.as_str().unwrap_or("");
                errs.invalid_each(&p.index(i), c, names::cidr(c));
            }
        }
        "IPAddress" => {
            let r = &o["spec"]["parentRef"];
            let p = Path::new("spec").child("parentRef");
            if required(r, &p, errs) {
                required(&r["resource"], &p.child("resource"), errs);
                required(&r["name"], &p.child("name"), errs);
            }
        }
        _ => {}
    }
}

/// `parameters` of an IngressClass.
fn class_parameters(v: &Value, p: &Path, errs: &mut ErrorList) {
    if let Some(group) = v["apiGroup"].as_str() {
        errs.invalid_each(&p.child("apiGroup"), group, names::dns1123_subdomain(group));
    }
    for field in ["kind", "name"] {
        if required(&v[field], &p.child(field), errs) {
            let value = text(v, field);
            errs.invalid_each(&p.child(field), value, names::path_segment(value));
        }
    }
    let namespace = (p.child("namespace"), v["namespace"].as_str());
    match (v["scope"].as_str(), namespace) {
        (None, _) => errs.push(Error::required(&p.child("scope"), "")),
        (Some("Namespace"), (at, None)) => {
            errs.push(Error::required(&at, "`parameters.scope` is set to 'Namespace'"))
        }
        (Some("Namespace"), (at, Some(name))) => errs.invalid_each(&at, name, names::dns1123_label(name)),
        (Some("Cluster"), (at, Some(_))) => {
            errs.push(Error::forbidden(&at, "`parameters.scope` is set to 'Cluster'"))
        }
        (Some("Cluster"), (_, None)) => {}
        (Some(other), _) => errs.push(Error::not_supported(
            &p.child("scope"),
            other,
            &["Cluster", "Namespace"],
        )),
    }
}

pub(super) fn update(kind: &str, new: &Value, old: &Value, errs: &mut ErrorList) {
    create(kind, new, errs);
    match kind {
        // Its strategy checks it as new and as changed.
        "NetworkPolicy" => create(kind, new, errs),
        "EndpointSlice" => {
            immutable(
                &new["addressType"],
                &old["addressType"],
                &Path::new("addressType"),
                errs,
            );
        }
        "IngressClass" => {
            let p = Path::new("spec").child("controller");
            immutable(&new["spec"]["controller"], &old["spec"]["controller"], &p, errs);
        }
        "IPAddress" => {
            let at = Path::new("spec").child("parentRef");
            immutable(&new["spec"]["parentRef"], &old["spec"]["parentRef"], &at, errs);
        }
        _ => {}
    }
}

fn policy(s: &Value, path: &Path, errs: &mut ErrorList) {
    label_selector(&s["podSelector"], &path.child("podSelector"), errs);
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for (i, r) in list(&s[rules]).iter().enumerate() {
            let p = path.child(rules).index(i);
            for (j, port) in list(&r["ports"]).iter().enumerate() {
                policy_port(port, &p.child("ports").index(j), errs);
            }
            for (j, peer) in list(&r[peers]).iter().enumerate() {
                policy_peer(peer, &p.child(peers).index(j), errs);
            }
        }
    }
    let types = list(&s["policyTypes"]);
    if types.len() > 2 {
        errs.push(Error::invalid(
            &path.child("policyTypes"),
            s["policyTypes"].clone(),
            "may not specify more than two policyTypes",
        ));
        return;
    }
    for (i, t) in types.iter().enumerate() {
        let kind = t.as_str().unwrap_or("");
        if !matches!(kind, "Ingress" | "Egress") {
            errs.push(Error::not_supported(
                &path.child("policyTypes").index(i),
                kind,
                &["Ingress", "Egress"],
            ));
        }
    }
}

fn policy_port(v: &Value, p: &Path, errs: &mut ErrorList) {
    let protocols = &["TCP", "UDP", "SCTP"];
    if let Some(protocol) = v["protocol"].as_str().filter(|one| !protocols.contains(one)) {
        errs.push(Error::not_supported(&p.child("protocol"), protocol, protocols));
    }
    if !v["port"].is_null() {
        port(&v["port"], &p.child("port"), errs);
    }
    let Some(end) = v["endPort"].as_i64() else { return };
    let at = p.child("endPort");
    let why = match (v["port"].is_null(), v["port"].as_i64()) {
        (true, _) => "may not be specified when `port` is not specified",
        (false, None) => "may not be specified when `port` is non-numeric",
        (false, Some(start)) => {
            // Upstream shows the first port.
            if end < start {
                errs.push(Error::invalid(
                    &at,
                    start,
                    "must be greater than or equal to `port`",
                ));
            }
            for m in names::port_num(end) {
                errs.push(Error::invalid(&at, end, m));
            }
            return;
        }
    };
    errs.push(Error::invalid(&at, end, why));
}

fn policy_peer(v: &Value, p: &Path, errs: &mut ErrorList) {
    let mut found = 0;
    for f in ["podSelector", "namespaceSelector"] {
        if v[f].is_object() {
            found += 1;
            label_selector(&v[f], &p.child(f), errs);
        }
    }
    if v["ipBlock"].is_object() {
        found += 1;
        let b = &v["ipBlock"];
        let p = p.child("ipBlock");
        if required(&b["cidr"], &p.child("cidr"), errs) {
            ip_block(b, &p, errs);
        }
    }
    if found == 0 {
        errs.push(Error::required(p, "must specify a peer"));
    } else if found > 1 && v["ipBlock"].is_object() {
        errs.push(Error::forbidden(
            p,
            "may not specify both ipBlock and another peer",
        ));
    }
}

fn ip_block(b: &Value, p: &Path, errs: &mut ErrorList) {
    let cidr = text(b, "cidr");
    let Ok(net) = cidr.parse::<ipnet::IpNet>() else {
        errs.invalid_each(&p.child("cidr"), cidr, names::cidr(cidr));
        return;
    };
    for (i, e) in list(&b["except"]).iter().enumerate() {
        let e = e.as_str().unwrap_or("");
        let p = p.child("except").index(i);
        match e.parse::<ipnet::IpNet>() {
            Err(_) => errs.invalid_each(&p, e, names::cidr(e)),
            Ok(inner) if !net.contains(&inner) || net.prefix_len() >= inner.prefix_len() => {
                errs.push(Error::invalid(&p, e, "must be a strict subset of `cidr`"));
            }
            Ok(_) => {}
        }
    }
}

fn ingress(s: &Value, path: &Path, errs: &mut ErrorList) {
    let rules = list(&s["rules"]);
    if rules.is_empty() && s["defaultBackend"].is_null() {
        errs.push(Error::invalid(
            path,
            s.clone(),
            "either `defaultBackend` or `rules` must be specified",
        ));
    }
    if s["defaultBackend"].is_object() {
        backend(&s["defaultBackend"], &path.child("defaultBackend"), errs);
    }
    for (i, r) in rules.iter().enumerate() {
        let p = path.child("rules").index(i);
        let host = text(r, "host");
        if !host.is_empty() {
            if host.parse::<std::net::IpAddr>().is_ok() {
                errs.push(Error::invalid(
                    &p.child("host"),
                    host,
                    "must be a DNS name, not an IP address",
                ));
            } else if host.contains('*') {
                errs.invalid_each(&p.child("host"), host, names::wildcard_dns1123_subdomain(host));
            } else {
                errs.invalid_each(&p.child("host"), host, names::dns1123_subdomain(host));
            }
        }
        if !r["http"].is_object() {
            continue;
        }
        let paths = list(&r["http"]["paths"]);
        let p = p.child("http").child("paths");
        if paths.is_empty() {
            errs.push(Error::required(&p, ""));
        }
        for (j, h) in paths.iter().enumerate() {
            ingress_path(h, &p.index(j), errs);
        }
    }
    for (i, t) in list(&s["tls"]).iter().enumerate() {
        for (j, h) in list(&t["hosts"]).iter().enumerate() {
            let h = h.as_str().unwrap_or("");
            let p = path.child("tls").index(i).child("hosts").index(j);
            if h.contains('*') {
                errs.invalid_each(&p, h, names::wildcard_dns1123_subdomain(h));
            } else {
                errs.invalid_each(&p, h, names::dns1123_subdomain(h));
            }
        }
    }
    let class = text(s, "ingressClassName");
    if !class.is_empty() {
        errs.invalid_each(
            &path.child("ingressClassName"),
            class,
            names::dns1123_subdomain(class),
        );
    }
}

/// The name by which a load balancer is reached; none when empty.
pub(super) fn ingress_hostname(host: &str, path: &Path, errs: &mut ErrorList) {
    if host.is_empty() {
        return;
    }
    errs.invalid_each(path, host, names::dns1123_subdomain(host));
    if host.parse::<std::net::IpAddr>().is_ok() {
        errs.push(Error::invalid(
            path,
            host,
            "must be a DNS name, not an IP address",
        ));
    }
}

fn ingress_path(h: &Value, p: &Path, errs: &mut ErrorList) {
    let at = text(h, "path");
    match text(h, "pathType") {
        "" => errs.push(Error::required(
            &p.child("pathType"),
            "pathType must be specified",
        )),
        "Exact" | "Prefix" => {
            if !at.starts_with('/') {
                errs.push(Error::invalid(&p.child("path"), at, "must be an absolute path"));
            }
            for bad in ["//", "/./", "/../", "%2f", "%2F"] {
                if at.contains(bad) {
                    errs.push(Error::invalid(
                        &p.child("path"),
                        at,
                        format!("must not contain '{bad}'"),
                    ));
                }
            }
            for bad in ["/..", "/."] {
                if at.ends_with(bad) {
                    errs.push(Error::invalid(
                        &p.child("path"),
                        at,
                        format!("cannot end with '{bad}'"),
                    ));
                }
            }
        }
        "ImplementationSpecific" => {
            if !at.is_empty() && !at.starts_with('/') {
                errs.push(Error::invalid(&p.child("path"), at, "must be an absolute path"));
            }
        }
        other => errs.push(Error::not_supported(
            &p.child("pathType"),
            other,
            &["Exact", "ImplementationSpecific", "Prefix"],
        )),
    }
    backend(&h["backend"], &p.child("backend"), errs);
}

fn backend(b: &Value, p: &Path, errs: &mut ErrorList) {
    let (service, resource) = (&b["service"], &b["resource"]);
    if service.is_object() && resource.is_object() {
        errs.push(Error::invalid(
            p,
            "",
            "cannot set both resource and service backends",
        ));
    } else if resource.is_object() {
        for f in ["kind", "name"] {
            required(&resource[f], &p.child("resource").child(f), errs);
        }
    } else if !service.is_object() {
        errs.push(Error::invalid(p, "", "resource or service backend is required"));
    } else {
        let name = text(service, "name");
        if name.is_empty() {
            errs.push(Error::required(&p.child("service").child("name"), ""));
        } else {
            errs.invalid_each(
                &p.child("service").child("name"),
                name,
                names::dns1035_label(name),
            );
        }
        let sp = &service["port"];
        let pp = p.child("service").child("port");
        let (by_name, number) = (text(sp, "name"), sp["number"].as_i64().unwrap_or(0));
        if by_name.is_empty() && number == 0 {
            errs.push(Error::required(p, "port name or number is required"));
        } else if !by_name.is_empty() && number != 0 {
            errs.push(Error::invalid(
                &p.child("service"),
                "",
                "cannot set both port name & port number",
            ));
        } else if !by_name.is_empty() {
            errs.invalid_each(&pp.child("name"), by_name, names::port_name(by_name));
        } else {
            for m in names::port_num(number) {
                errs.push(Error::invalid(&pp.child("number"), number, m));
            }
        }
    }
}

fn slice(o: &Value, errs: &mut ErrorList) {
    let kind = text(o, "addressType");
    required_one_of(
        &o["addressType"],
        &["FQDN", "IPv4", "IPv6"],
        &Path::new("addressType"),
        errs,
    );
    let endpoints = list(&o["endpoints"]);
    let path = Path::new("endpoints");
    if endpoints.len() > 1000 {
        errs.push(Error::too_many(&path, endpoints.len(), 1000));
        return;
    }
    for (i, e) in endpoints.iter().enumerate() {
        let p = path.index(i).child("addresses");
        let addresses = list(&e["addresses"]);
        if addresses.is_empty() {
            errs.push(Error::required(&p, "must contain at least 1 address"));
        } else if addresses.len() > 100 {
            errs.push(Error::too_many(&p, addresses.len(), 100));
        }
        for (j, a) in addresses.iter().enumerate() {
            let a = a.as_str().unwrap_or("");
            let p = p.index(j);
            match kind {
                "IPv4" if a.parse::<std::net::Ipv4Addr>().is_err() => {
                    errs.push(Error::invalid(&p, a, "must be a valid IPv4 address"));
                }
                "IPv6" if a.parse::<std::net::Ipv6Addr>().is_err() => {
                    errs.push(Error::invalid(&p, a, "must be a valid IPv6 address"));
                }
                "FQDN" => errs.invalid_each(&p, a, names::is_fully_qualified_name(a)),
                _ => reachable(a, &p, errs),
            }
        }
        let host = text(e, "hostname");
        if !host.is_empty() {
            errs.invalid_each(&path.index(i).child("hostname"), host, names::dns1123_label(host));
        }
    }
    let ports = list(&o["ports"]);
    let path = Path::new("ports");
    if ports.len() > 20000 {
        errs.push(Error::too_many(&path, ports.len(), 20000));
        return;
    }
    let mut seen: HashSet<&str> = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let p = path.index(i);
        let name = text(port, "name");
        if !name.is_empty() {
            errs.invalid_each(&p.child("name"), name, names::dns1123_label(name));
        }
        if !seen.insert(name) {
            errs.push(Error::duplicate(&p.child("name"), name));
        }
        required_one_of(
            &port["protocol"],
            &["SCTP", "TCP", "UDP"],
            &p.child("protocol"),
            errs,
        );
        if let Some(n) = port["port"].as_i64() {
            for m in names::port_num(n) {
                errs.push(Error::invalid(&p.child("port"), n, m));
            }
        }
    }
}
