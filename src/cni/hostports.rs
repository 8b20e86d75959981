//! Ports of the node that lead to a container: a table of constant chains and
//! two maps. The service proxy's table is another one, and is asked first.

use std::net::IpAddr;

use rkind_sys::nft::{Change, Datum, Element, Family, Firewall, Process, Table, Transaction};

use crate::leases::PortMapping;
use crate::plugin::{Code, Failure};

const TABLE: &str = "rkind-hostports";
const BY_PORT: &str = "by-port";
const BY_ADDRESS: &str = "by-address";
const HAIRPIN: &str = "hairpin";

/// Safe to run when all is there already: chains are emptied and filled anew in
/// the same moment, maps keep their elements.
const SHAPE: &str = "\
add table ip rkind-hostports
add map ip rkind-hostports by-port { type inet_proto . inet_service : ipv4_addr . inet_service; }
add map ip rkind-hostports by-address { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
add set ip rkind-hostports hairpin { type ipv4_addr . ipv4_addr; }
add chain ip rkind-hostports translate
add chain ip rkind-hostports prerouting { type nat hook prerouting priority -95; }
add chain ip rkind-hostports output { type nat hook output priority -95; }
add chain ip rkind-hostports postrouting { type nat hook postrouting priority 95; }
flush chain ip rkind-hostports translate
flush chain ip rkind-hostports prerouting
flush chain ip rkind-hostports output
flush chain ip rkind-hostports postrouting
add rule ip rkind-hostports translate meta l4proto { tcp, udp, sctp } dnat ip to ip daddr . meta l4proto . th dport map @by-address
add rule ip rkind-hostports translate meta l4proto { tcp, udp, sctp } dnat ip to meta l4proto . th dport map @by-port
add rule ip rkind-hostports prerouting fib daddr type local goto translate
add rule ip rkind-hostports output fib daddr type local goto translate
add rule ip rkind-hostports postrouting ct status dnat ip saddr 127.0.0.0/8 masquerade
add rule ip rkind-hostports postrouting ct status dnat ip saddr . ip daddr @hairpin masquerade
";

fn table() -> Table {
    Table::new(Family::Ip, TABLE)
}

fn protocol(mapping: &PortMapping) -> Result<u8, Failure> {
    match mapping.protocol.to_ascii_lowercase().as_str() {
        "tcp" => Ok(6),
        "udp" => Ok(17),
        "sctp" => Ok(132),
        other => Err(Failure::new(
            Code::InvalidConfig,
            format!("portMappings.protocol: {other:?} is not one of tcp, udp, sctp"),
            "",
        )),
    }
}

fn host_ip(mapping: &PortMapping) -> Result<Option<IpAddr>, Failure> {
    if mapping.host_ip.is_empty() {
        return Ok(None);
    }
    let ip: IpAddr = mapping.host_ip.parse().map_err(|_| {
        Failure::new(
            Code::InvalidConfig,
            format!("portMappings.hostIP: {:?} is not an address", mapping.host_ip),
            "",
        )
    })?;
    Ok((!ip.is_unspecified()).then_some(ip))
}

/// Whether the mappings make sense.
pub(crate) fn check(mappings: &[PortMapping]) -> Result<(), Failure> {
    for mapping in mappings {
        protocol(mapping)?;
        host_ip(mapping)?;
    }
    Ok(())
}

/// Set, key and data.
type Entry = (&'static str, Vec<Datum>, Element);

/// The elements of each mapping to `pod`. IPv6 host addresses have no rule
/// while pods have IPv4 addresses only.
fn elements(pod: IpAddr, mappings: &[PortMapping]) -> Result<Vec<Entry>, Failure> {
    let mut elements = Vec::new();
    for mapping in mappings {
        let key = [
            Datum::Protocol(protocol(mapping)?),
            Datum::Port(mapping.host_port),
        ];
        let data = Element::Data(vec![Datum::Ip(pod), Datum::Port(mapping.container_port)]);
        match host_ip(mapping)? {
            None => elements.push((BY_PORT, key.to_vec(), data)),
            Some(ip @ IpAddr::V4(_)) => {
                let key = [Datum::Ip(ip)].into_iter().chain(key).collect();
                elements.push((BY_ADDRESS, key, data));
            }
            Some(IpAddr::V6(_)) => {}
        }
    }
    Ok(elements)
}

fn add(set: &'static str, key: Vec<Datum>, element: Element) -> Change {
    Change::Add { set, key, element }
}

/// Lets the ports lead to `pod`. A port that leads elsewhere already is an error.
pub(crate) fn open(pod: IpAddr, mappings: &[PortMapping]) -> Result<(), Failure> {
    if !pod.is_ipv4() {
        return Err(Failure::new(
            Code::UnsupportedField,
            "portMappings: only IPv4 pods can have host ports",
            "",
        ));
    }
    let mut changes: Vec<Change> = elements(pod, mappings)?
        .into_iter()
        .map(|(s, k, e)| add(s, k, e))
        .collect();
    changes.push(add(
        HAIRPIN,
        vec![Datum::Ip(pod), Datum::Ip(pod)],
        Element::Member,
    ));
    let transaction = Transaction {
        table: table(),
        script: SHAPE.to_owned(),
        elements: changes,
    };
    Ok(Process::default().commit(&transaction)?)
}

/// Undoes [`open`]. Ports that lead elsewhere by now stay.
pub(crate) fn close(pod: IpAddr, mappings: &[PortMapping]) -> Result<(), Failure> {
    let hairpin = (HAIRPIN, vec![Datum::Ip(pod), Datum::Ip(pod)], Element::Member);
    for (set, key, element) in elements(pod, mappings)?.into_iter().chain([hairpin]) {
        // Adding what is there is fine and adding what isn't makes the removal
        // work: either way it is gone. Only somebody else's element is refused,
        // as it must be.
        let changes = vec![add(set, key.clone(), element), Change::Delete { set, key }];
        let transaction = Transaction {
            table: table(),
            script: SHAPE.to_owned(),
            elements: changes,
        };
        if let Err(e) = Process::default().commit(&transaction) {
            tracing::debug!(error = %e, set, "host port isn't ours any more");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
