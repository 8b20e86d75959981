//! networking.k8s.io and discovery.k8s.io.

use serde_json::Value;

use super::endpoints;
use super::pod::port;
use super::support::{immutable, label_selector, list, required, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

/// Bytes of the name of an ingress controller.
const MOST_OF_CONTROLLER: usize = 250;

pub(super) fn create(kind: &str, o: &Value, errs: &mut ErrorList) {
    match kind {
        "NetworkPolicy" => policy(&o["spec"], &Path::new("spec"), errs),
        "Ingress" => ingress(&o["spec"], &Path::new("spec"), errs),
        "IngressClass" => {
            let c = text(&o["spec"], "controller");
            let p = Path::new("spec").child("controller");
            if c.len() > MOST_OF_CONTROLLER {
                errs.push(Error::too_long(&p, MOST_OF_CONTROLLER));
            }
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
        "EndpointSlice" => endpoints::slice(o, None, errs),
        "ServiceCIDR" => service_cidrs(&o["spec"]["cidrs"], &Path::new("spec").child("cidrs"), errs),
        "IPAddress" => {
            let r = &o["spec"]["parentRef"];
            let p = Path::new("spec").child("parentRef");
            if r.is_null() {
                errs.push(Error::required(&p, ""));
                return;
            }
            let group = text(r, "group");
            if !group.is_empty() {
                errs.invalid_each(&p.child("group"), group, names::dns1123_subdomain(group));
            }
            for field in ["resource", "name", "namespace"] {
                let value = text(r, field);
                if value.is_empty() && field != "namespace" {
                    errs.push(Error::required(&p.child(field), ""));
                }
                errs.invalid_each(&p.child(field), value, names::path_segment(value));
            }
        }
        _ => {}
    }
}

/// `parameters` of an IngressClass.
fn class_parameters(v: &Value, p: &Path, errs: &mut ErrorList) {
    local_reference(v, p, errs);
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
    match kind {
        "EndpointSlice" => endpoints::slice(new, Some(old), errs),
        "ServiceCIDR" => {}
        _ => create(kind, new, errs),
    }
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
        "ServiceCIDR" => service_cidrs_update(&new["spec"]["cidrs"], &old["spec"]["cidrs"], errs),
        "IngressClass" => {
            let p = Path::new("spec").child("controller");
            let controller = |o: &'_ Value| Value::from(text(&o["spec"], "controller"));
            immutable(&controller(new), &controller(old), &p, errs);
        }
        "IPAddress" => {
            let at = Path::new("spec").child("parentRef");
            immutable(&new["spec"]["parentRef"], &old["spec"]["parentRef"], &at, errs);
        }
        _ => {}
    }
}

fn service_cidrs(v: &Value, p: &Path, errs: &mut ErrorList) {
    let cidrs = list(v);
    if cidrs.is_empty() {
        errs.push(Error::required(p, "at least one CIDR required"));
        return;
    }
    if cidrs.len() > 2 {
        let shown = serde_json::json!({ "CIDRs": v });
        errs.push(Error::invalid(p, shown, "may only hold up to 2 values"));
        return;
    }
    let mut families = vec![];
    for (i, c) in cidrs.iter().enumerate() {
        let c = c.as_str().unwrap_or("");
        errs.invalid_each(&p.index(i), c, names::cidr(c));
        families.extend(c.parse::<ipnet::IpNet>().map(|net| net.addr().is_ipv4()));
    }
    if matches!(families[..], [one, other] if one == other) {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errs.push(Error::invalid(p, v.clone(), why));
    }
}

/// What is there stays; a range of the other family may be added.
fn service_cidrs_update(new: &Value, old: &Value, errs: &mut ErrorList) {
    let p = Path::new("spec").child("cidrs");
    let (now, before) = (list(new), list(old));
    let why = "field is immutable";
    let added = before.len() == 1 && now.len() == 2;
    if now.len() != before.len() && !added {
        errs.push(Error::invalid(&p, new.clone(), why));
        return;
    }
    for (i, (n, o)) in now.iter().zip(before).enumerate() {
        if n != o {
            errs.push(Error::invalid(&p.index(i), n.clone(), why));
        }
    }
    if added {
        service_cidrs(new, &p, errs);
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
            s["rules"].clone(),
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
        let secret = text(t, "secretName");
        if !secret.is_empty() {
            let p = path.child("tls").index(i).child("secretName");
            errs.invalid_each(&p, secret, names::dns1123_subdomain(secret));
        }
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
    if let Some(class) = s["ingressClassName"].as_str() {
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
    let Some(kind) = h["pathType"].as_str() else {
        errs.push(Error::required(
            &p.child("pathType"),
            "pathType must be specified",
        ));
        return;
    };
    match kind {
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

fn local_reference(v: &Value, p: &Path, errs: &mut ErrorList) {
    if let Some(group) = v["apiGroup"].as_str() {
        errs.invalid_each(&p.child("apiGroup"), group, names::dns1123_subdomain(group));
    }
    for field in ["kind", "name"] {
        if required(&v[field], &p.child(field), errs) {
            let value = text(v, field);
            errs.invalid_each(&p.child(field), value, names::path_segment(value));
        }
    }
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
        local_reference(resource, &p.child("resource"), errs);
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
            errs.push(Error::invalid(p, "", "cannot set both port name & port number"));
        } else if !by_name.is_empty() {
            errs.invalid_each(&pp.child("name"), by_name, names::port_name(by_name));
        } else {
            for m in names::port_num(number) {
                errs.push(Error::invalid(&pp.child("number"), number, m));
            }
        }
    }
}
