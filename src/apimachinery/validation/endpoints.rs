//! Endpoints and EndpointSlices: addresses that others connect to.

use std::collections::HashSet;

use serde_json::Value;

use super::support::{list, required_one_of, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const MOST_ENDPOINTS: usize = 1000;
const MOST_ADDRESSES: usize = 100;
const MOST_PORTS: usize = 20_000;
/// Zones and nodes that an endpoint is meant for.
const MOST_HINTS: usize = 8;
const MOST_LABELS: usize = 16;

/// An address other machines can reach.
pub(super) fn reachable(ip: &str, path: &Path, errs: &mut ErrorList) {
    let Ok(parsed) = ip.parse::<std::net::IpAddr>() else {
        errs.invalid_each(path, ip, names::ip(ip));
        return;
    };
    let (link_local, local_multicast) = match parsed {
        std::net::IpAddr::V4(a) => (a.is_link_local(), a.octets()[..3] == [224, 0, 0]),
        std::net::IpAddr::V6(a) => (
            a.segments()[0] & 0xffc0 == 0xfe80,
            a.is_multicast() && a.segments()[0] & 0xf == 2,
        ),
    };
    let unspecified = format!("may not be unspecified ({ip})");
    for (is_so, detail) in [
        (parsed.is_unspecified(), unspecified.as_str()),
        (
            parsed.is_loopback(),
            "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            link_local,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        ),
        (
            local_multicast,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    ] {
        if is_so {
            errs.push(Error::invalid(path, ip, detail));
        }
    }
}

fn node_name(v: &Value, path: &Path, errs: &mut ErrorList) {
    if let Some(name) = v.as_str() {
        errs.invalid_each(path, name, names::dns1123_subdomain(name));
    }
}

fn app_protocol(port: &Value, path: &Path, errs: &mut ErrorList) {
    if let Some(protocol) = port["appProtocol"].as_str() {
        let messages = names::qualified_name(protocol);
        errs.invalid_each(&path.child("appProtocol"), protocol, messages);
    }
}

/// Checks Endpoints.
pub(super) fn endpoints(o: &Value, errs: &mut ErrorList) {
    for (i, s) in list(&o["subsets"]).iter().enumerate() {
        let p = Path::new("subsets").index(i);
        let (ready, waiting) = (list(&s["addresses"]), list(&s["notReadyAddresses"]));
        if ready.is_empty() && waiting.is_empty() {
            errs.push(Error::required(
                &p,
                "must specify `addresses` or `notReadyAddresses`",
            ));
        }
        for (name, addresses) in [("addresses", ready), ("notReadyAddresses", waiting)] {
            for (j, a) in addresses.iter().enumerate() {
                address(a, &p.child(name).index(j), errs);
            }
        }
        let ports = list(&s["ports"]);
        for (j, port) in ports.iter().enumerate() {
            let p = p.child("ports").index(j);
            let name = text(port, "name");
            if name.is_empty() {
                if ports.len() > 1 {
                    errs.push(Error::required(&p.child("name"), ""));
                }
            } else {
                errs.invalid_each(&p.child("name"), name, names::dns1123_label(name));
            }
            let n = port["port"].as_i64().unwrap_or(0);
            for m in names::port_num(n) {
                errs.push(Error::invalid(&p.child("port"), n, m));
            }
            required_one_of(&port["protocol"], PROTOCOLS, &p.child("protocol"), errs);
            app_protocol(port, &p, errs);
        }
    }
}

fn address(a: &Value, p: &Path, errs: &mut ErrorList) {
    let ip = text(a, "ip");
    reachable(ip, &p.child("ip"), errs);
    if !names::ip(ip).is_empty() {
        let why = "must be a valid IP address";
        errs.push(Error::invalid(&p.child("ip"), ip, why));
    }
    let host = text(a, "hostname");
    if !host.is_empty() {
        errs.invalid_each(&p.child("hostname"), host, names::dns1123_label(host));
    }
    node_name(&a["nodeName"], &p.child("nodeName"), errs);
}

/// Checks an EndpointSlice; `old` is what an update replaces.
pub(super) fn slice(o: &Value, old: Option<&Value>, errs: &mut ErrorList) {
    required_one_of(
        &o["addressType"],
        &["FQDN", "IPv4", "IPv6"],
        &Path::new("addressType"),
        errs,
    );
    slice_ports(list(&o["ports"]), &Path::new("ports"), errs);
    // What is as it was may be wrong.
    if old.is_some_and(|old| old["endpoints"] == o["endpoints"]) {
        return;
    }
    let endpoints = list(&o["endpoints"]);
    let path = Path::new("endpoints");
    if endpoints.len() > MOST_ENDPOINTS {
        errs.push(Error::too_many(&path, endpoints.len(), MOST_ENDPOINTS));
        return;
    }
    for (i, e) in endpoints.iter().enumerate() {
        let p = path.index(i);
        addresses(
            text(o, "addressType"),
            list(&e["addresses"]),
            &p.child("addresses"),
            errs,
        );
        node_name(&e["nodeName"], &p.child("nodeName"), errs);
        let topology = p.child("deprecatedTopology");
        let labels = e["deprecatedTopology"]
            .as_object()
            .map_or(0, serde_json::Map::len);
        if labels > MOST_LABELS {
            errs.push(Error::too_many(&topology, labels, MOST_LABELS));
        }
        super::meta::labels(&e["deprecatedTopology"], &topology, errs);
        if let Some(host) = e["hostname"].as_str() {
            errs.invalid_each(&p.child("hostname"), host, names::dns1123_label(host));
        }
        hints(&e["hints"], &p.child("hints"), errs);
    }
}

fn addresses(kind: &str, all: &[Value], path: &Path, errs: &mut ErrorList) {
    if all.is_empty() {
        errs.push(Error::required(path, "must contain at least 1 address"));
    } else if all.len() > MOST_ADDRESSES {
        errs.push(Error::too_many(path, all.len(), MOST_ADDRESSES));
    }
    for (i, a) in all.iter().enumerate() {
        let a = a.as_str().unwrap_or("");
        let p = path.index(i);
        match kind {
            "IPv4" | "IPv6" => {
                let is_other = match a.parse::<std::net::IpAddr>() {
                    Ok(ip) => ip.is_ipv4() != (kind == "IPv4"),
                    Err(_) => false,
                };
                if is_other {
                    errs.push(Error::invalid(path, a, format!("must be an {kind} address")));
                }
                reachable(a, &p, errs);
            }
            "FQDN" => errs.invalid_each(&p, a, names::is_fully_qualified_name(a)),
            _ => {}
        }
    }
}

fn hints(hints: &Value, path: &Path, errs: &mut ErrorList) {
    type Check = fn(&str) -> Vec<String>;
    let checks: [(&str, Check); 2] = [
        ("forZones", names::label_value),
        ("forNodes", names::dns1123_subdomain),
    ];
    for (field, check) in checks {
        let (all, path) = (list(&hints[field]), path.child(field));
        if all.len() > MOST_HINTS {
            errs.push(Error::too_many(&path, all.len(), MOST_HINTS));
            return;
        }
        let mut seen: Vec<&str> = vec![];
        for (i, hint) in all.iter().enumerate() {
            let (name, p) = (text(hint, "name"), path.index(i).child("name"));
            if seen.contains(&name) {
                errs.push(Error::duplicate(&p, name));
            }
            seen.push(name);
            errs.invalid_each(&p, name, check(name));
        }
    }
}

fn slice_ports(ports: &[Value], path: &Path, errs: &mut ErrorList) {
    if ports.len() > MOST_PORTS {
        errs.push(Error::too_many(path, ports.len(), MOST_PORTS));
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
        match port["protocol"].as_str() {
            None => errs.push(Error::required(&p.child("protocol"), "")),
            Some(protocol) if PROTOCOLS.contains(&protocol) => {}
            Some(other) => errs.push(Error::not_supported(&p.child("protocol"), other, PROTOCOLS)),
        }
        app_protocol(port, &p, errs);
    }
}
