//! Names below a Service, pods and reverse names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{CNAME, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::{Answer, Cluster, SCHEMA_VERSION, TTL, Zone, address_record};

/// Priority and weight of SRV records, as the specification's examples have them.
const PRIORITY: u16 = 0;
const WEIGHT: u16 = 100;

pub(super) fn version(name: &Name, kind: RecordType) -> Answer {
    if !matches!(kind, RecordType::TXT | RecordType::ANY) {
        return Answer::NoData;
    }
    let data = RData::TXT(TXT::new(vec![SCHEMA_VERSION.to_owned()]));
    Answer::Records(vec![Record::from_rdata(name.clone(), TTL, data)], Vec::new())
}

/// "10-244-1-2" as an address; IPv6 with dashes for colons.
fn dashed(text: &str) -> Option<IpAddr> {
    if text.matches('-').count() == 3
        && let Ok(ip) = text.replace('-', ".").parse::<Ipv4Addr>()
    {
        return Some(ip.into());
    }
    text.replace('-', ":").parse::<Ipv6Addr>().ok().map(Into::into)
}

pub(super) fn pod(
    cluster: &dyn Cluster,
    name: &Name,
    kind: RecordType,
    address: &str,
    namespace: &str,
) -> Answer {
    let Some(address) = dashed(address).filter(|_| cluster.has_namespace(namespace)) else {
        return Answer::NoName;
    };
    if fits(kind, address) {
        Answer::Records(vec![address_record(name, address)], Vec::new())
    } else {
        Answer::NoData
    }
}

fn fits(kind: RecordType, address: IpAddr) -> bool {
    match kind {
        RecordType::A => address.is_ipv4(),
        RecordType::AAAA => address.is_ipv6(),
        RecordType::ANY => true,
        _ => false,
    }
}

/// "2.1.244.10.in-addr.arpa" and its IPv6 kin as an address; `None` for parts of
/// addresses and other names.
pub(super) fn reverse_address(name: &Name) -> Option<IpAddr> {
    let net = name.to_lowercase().parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

/// An endpoint's name within its Service: its hostname, or its address dashed.
fn host_of(endpoint: &Endpoint, address: &str) -> String {
    match &endpoint.hostname {
        Some(host) if !host.is_empty() => host.to_ascii_lowercase(),
        _ => address.replace(['.', ':'], "-"),
    }
}

/// Whether an endpoint is announced. `publishNotReadyAddresses` has made it ready
/// in the slice already.
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true)
}

/// Names of the endpoint with `address` in a slice.
pub(super) fn endpoint_names(zone: &Zone, slice: &EndpointSlice, address: IpAddr) -> Vec<Name> {
    let text = address.to_string();
    let labels = slice.metadata.labels.as_ref();
    let Some(service) = labels.and_then(|l| l.get("kubernetes.io/service-name")) else {
        return Vec::new();
    };
    let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
    let Some(domain) = zone.service_domain(service, namespace) else {
        return Vec::new();
    };
    slice
        .endpoints
        .iter()
        .filter(|e| e.addresses.contains(&text) && is_ready(e))
        .filter_map(|e| domain.prepend_label(host_of(e, &text).as_str()).ok())
        .collect()
}

/// A question about a Service that exists.
pub(super) struct Found<'a> {
    pub(super) zone: &'a Zone,
    pub(super) cluster: &'a dyn Cluster,
    pub(super) name: &'a Name,
    pub(super) kind: RecordType,
    pub(super) service: &'a Service,
    pub(super) namespace: &'a str,
    pub(super) service_name: &'a str,
}

/// An address that a name leads to, with the ports to be found there.
struct Target {
    /// Its own name below the Service's; none for a cluster address.
    host: Option<String>,
    address: IpAddr,
    /// Name, protocol in lower case, number.
    ports: Vec<(String, String, u16)>,
}

fn protocol(text: Option<&String>) -> String {
    text.map_or("tcp".to_owned(), |p| p.to_ascii_lowercase())
}

impl Found<'_> {
    /// `host`: an endpoint below the Service; `port`: name and protocol.
    pub(super) fn answer(&self, host: Option<&str>, port: Option<(&str, &str)>) -> Answer {
        let Some(spec) = &self.service.spec else {
            return Answer::NoName;
        };
        if spec.type_.as_deref() == Some("ExternalName") {
            return self.alias(spec.external_name.as_deref(), host.is_none() && port.is_none());
        }
        let headless = spec.cluster_ip.as_deref() == Some("None");
        let mut targets = if headless || host.is_some() {
            self.endpoints()
        } else {
            self.cluster_addresses()
        };
        if let Some(host) = host {
            targets.retain(|t| t.host.as_deref() == Some(host));
        }
        if let Some((name, protocol)) = port {
            for target in &mut targets {
                target.ports.retain(|(n, p, _)| n == name && p == protocol);
            }
            targets.retain(|t| !t.ports.is_empty());
        }
        if targets.is_empty() {
            // A headless Service without endpoints has a name, but no addresses.
            return if host.is_none() && port.is_none() && headless {
                Answer::NoData
            } else {
                Answer::NoName
            };
        }
        let (records, more) = match self.kind {
            RecordType::SRV => self.srv(&targets),
            kind => {
                let all = targets.iter().filter(|t| fits(kind, t.address));
                (
                    all.map(|t| address_record(self.name, t.address)).collect(),
                    Vec::new(),
                )
            }
        };
        if records.is_empty() {
            Answer::NoData
        } else {
            Answer::Records(records, more)
        }
    }

    fn alias(&self, target: Option<&str>, whole: bool) -> Answer {
        let target = target.filter(|_| whole).and_then(|t| Name::from_ascii(t).ok());
        let Some(mut target) = target else {
            return Answer::NoName;
        };
        target.set_fqdn(true);
        let data = RData::CNAME(CNAME(target.clone()));
        Answer::Alias(Box::new(Record::from_rdata(self.name.clone(), TTL, data)), target)
    }

    fn cluster_addresses(&self) -> Vec<Target> {
        let Some(spec) = &self.service.spec else {
            return Vec::new();
        };
        let ports: Vec<_> = spec
            .ports
            .iter()
            .flatten()
            .filter_map(|p| {
                let number = u16::try_from(p.port).ok()?;
                Some((
                    p.name.clone().unwrap_or_default(),
                    protocol(p.protocol.as_ref()),
                    number,
                ))
            })
            .collect();
        let ips = spec
            .cluster_ips
            .clone()
            .or_else(|| spec.cluster_ip.clone().map(|ip| vec![ip]))
            .unwrap_or_default();
        let target = |address| Target {
            host: None,
            address,
            ports: ports.clone(),
        };
        ips.iter().filter_map(|ip| ip.parse().ok()).map(target).collect()
    }

    fn endpoints(&self) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        for slice in self.cluster.slices(self.namespace, self.service_name) {
            let ports: Vec<_> = slice
                .ports
                .iter()
                .flatten()
                .filter_map(|p| {
                    let number = u16::try_from(p.port?).ok()?;
                    Some((
                        p.name.clone().unwrap_or_default(),
                        protocol(p.protocol.as_ref()),
                        number,
                    ))
                })
                .collect();
            for endpoint in slice.endpoints.iter().filter(|e| is_ready(e)) {
                for text in &endpoint.addresses {
                    let Ok(address) = text.parse() else { continue };
                    let host = Some(host_of(endpoint, text));
                    match targets
                        .iter_mut()
                        .find(|t| t.address == address && t.host == host)
                    {
                        Some(known) => known.ports.extend(ports.clone()),
                        None => targets.push(Target {
                            host,
                            address,
                            ports: ports.clone(),
                        }),
                    }
                }
            }
        }
        targets
    }

    /// Where to connect for each port, and the addresses of those names.
    fn srv(&self, targets: &[Target]) -> (Vec<Record>, Vec<Record>) {
        let Some(domain) = self.zone.service_domain(self.service_name, self.namespace) else {
            return (Vec::new(), Vec::new());
        };
        let (mut records, mut more): (Vec<Record>, Vec<Record>) = (Vec::new(), Vec::new());
        for target in targets {
            let name = match &target.host {
                Some(host) => domain.prepend_label(host.as_str()).ok(),
                None => Some(domain.clone()),
            };
            let Some(name) = name else { continue };
            for (_, _, number) in &target.ports {
                let data = RData::SRV(SRV::new(PRIORITY, WEIGHT, *number, name.clone()));
                let record = Record::from_rdata(self.name.clone(), TTL, data);
                // A Service of two families has one name for both.
                if !records.contains(&record) {
                    records.push(record);
                }
            }
            more.push(address_record(&name, target.address));
        }
        (records, more)
    }
}
