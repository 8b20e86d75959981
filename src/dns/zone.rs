//! The cluster's names: a pure function from a question and what the cluster is
//! to an answer, following the Kubernetes DNS specification 1.1.0 and, where it
//! is silent, what CoreDNS does with `pods insecure`.

mod lookup;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::rdata::{A, AAAA, NS, PTR, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// Seconds that an answer may be kept. Short: endpoints change.
pub const TTL: u32 = 5;
/// The specification's version, as `dns-version` tells it.
pub const SCHEMA_VERSION: &str = "1.1.0";

/// What the zone needs to know of the cluster.
pub trait Cluster: Send + Sync {
    /// A Service.
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>>;
    /// The slices of a Service.
    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>>;
    /// Whether there is such a namespace.
    fn has_namespace(&self, name: &str) -> bool;
    /// Services with this cluster address.
    fn services_at(&self, address: IpAddr) -> Vec<Arc<Service>>;
    /// Slices with an endpoint of this address.
    fn slices_with(&self, address: IpAddr) -> Vec<Arc<EndpointSlice>>;
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Records of the type asked for; helpful further ones.
    Records(Vec<Record>, Vec<Record>),
    /// The name is another name for this one (ExternalName).
    Alias(Box<Record>, Name),
    /// The name exists, but has no records of the type.
    NoData,
    /// The name doesn't exist.
    NoName,
    /// Somebody else's name.
    NotOurs,
}

/// The cluster's domain and the address ranges whose reverse names are ours.
#[derive(Debug, Clone)]
pub struct Zone {
    domain: Name,
    ranges: Vec<IpNet>,
    /// Names outside the domain with an address each, in lower case.
    hosts: BTreeMap<Name, IpAddr>,
}

impl Zone {
    /// `None` if `domain` isn't a name.
    pub fn new(domain: &str, ranges: Vec<IpNet>) -> Option<Self> {
        let mut domain = Name::from_ascii(domain).ok()?.to_lowercase();
        domain.set_fqdn(true);
        (!domain.is_root()).then_some(Self {
            domain,
            ranges,
            hosts: BTreeMap::new(),
        })
    }

    /// Also answers for these names, such as `host.rkind.internal`. What is no name is left out.
    #[must_use]
    pub fn with_hosts<'a>(mut self, hosts: impl IntoIterator<Item = (&'a str, IpAddr)>) -> Self {
        let named = hosts.into_iter().filter_map(|(host, address)| {
            let mut name = Name::from_ascii(host).ok()?.to_lowercase();
            name.set_fqdn(true);
            Some((name, address))
        });
        self.hosts.extend(named);
        self
    }

    /// The zone's start of authority, for negative answers.
    pub fn soa(&self) -> Option<Record> {
        let below = |label: &str| Name::from_ascii(label).ok()?.append_domain(&self.domain).ok();
        // The serial must not go back; nobody transfers the zone, so one is enough.
        let soa = SOA::new(below("ns.dns")?, below("hostmaster")?, 1, 7200, 1800, 86400, TTL);
        Some(Record::from_rdata(self.domain.clone(), TTL, RData::SOA(soa)))
    }

    /// Answers a question. `name` may be written in any case; records carry it
    /// as it was asked.
    pub fn answer(&self, cluster: &dyn Cluster, name: &Name, kind: RecordType) -> Answer {
        if let Some(address) = self.hosts.get(&name.to_lowercase()) {
            return host(name, *address, kind);
        }
        if !self.domain.zone_of(name) {
            return self.reverse(cluster, name, kind);
        }
        let count = usize::from(name.num_labels() - self.domain.num_labels());
        let labels: Vec<String> = name
            .iter()
            .take(count)
            .map(|l| String::from_utf8_lossy(l).to_ascii_lowercase())
            .collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        match labels[..] {
            [] => self.apex(name, kind),
            ["dns-version"] => lookup::version(name, kind),
            ["ns", "dns"] | ["dns"] => Answer::NoData,
            ["svc"] | ["pod"] => Answer::NoData,
            [namespace, "svc" | "pod"] => exists(cluster.has_namespace(namespace)),
            [address, namespace, "pod"] => lookup::pod(cluster, name, kind, address, namespace),
            [.., "svc"] => self.service(cluster, name, kind, &labels[..count - 1]),
            _ => Answer::NoName,
        }
    }

    fn apex(&self, name: &Name, kind: RecordType) -> Answer {
        match (kind, self.soa()) {
            (RecordType::SOA, Some(soa)) => Answer::Records(vec![soa], Vec::new()),
            (RecordType::NS, Some(soa)) => match soa.data {
                RData::SOA(soa) => {
                    let data = RData::NS(NS(soa.mname.clone()));
                    Answer::Records(vec![Record::from_rdata(name.clone(), TTL, data)], Vec::new())
                }
                _ => Answer::NoData,
            },
            _ => Answer::NoData,
        }
    }

    /// `labels` are those before "svc".
    fn service(&self, cluster: &dyn Cluster, name: &Name, kind: RecordType, labels: &[&str]) -> Answer {
        let (host, port, service, namespace) = match labels {
            [service, namespace] => (None, None, *service, *namespace),
            [host, service, namespace] => (Some(*host), None, *service, *namespace),
            [port, protocol, service, namespace] => {
                match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
                    (Some(port), Some(protocol)) => (None, Some((port, protocol)), *service, *namespace),
                    _ => return Answer::NoName,
                }
            }
            _ => return Answer::NoName,
        };
        let Some(object) = cluster.service(namespace, service) else {
            return Answer::NoName;
        };
        let found = lookup::Found {
            zone: self,
            cluster,
            name,
            kind,
            service: &object,
            namespace,
            service_name: service,
        };
        found.answer(host, port)
    }

    fn reverse(&self, cluster: &dyn Cluster, name: &Name, kind: RecordType) -> Answer {
        let Some(address) = lookup::reverse_address(name) else {
            return Answer::NotOurs;
        };
        if !self.ranges.iter().any(|r| r.contains(&address)) {
            return Answer::NotOurs;
        }
        let mut names: Vec<Name> = cluster
            .services_at(address)
            .iter()
            .filter_map(|s| {
                let (namespace, name) = (s.metadata.namespace.as_ref()?, s.metadata.name.as_ref()?);
                self.service_domain(name, namespace)
            })
            .collect();
        if names.is_empty() {
            for slice in cluster.slices_with(address) {
                names.extend(lookup::endpoint_names(self, &slice, address));
            }
        }
        names.sort();
        names.dedup();
        match (names.is_empty(), kind) {
            (true, _) => Answer::NoName,
            (false, RecordType::PTR | RecordType::ANY) => {
                let record = |target| Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(target)));
                Answer::Records(names.into_iter().map(record).collect(), Vec::new())
            }
            _ => Answer::NoData,
        }
    }

    fn service_domain(&self, service: &str, namespace: &str) -> Option<Name> {
        Name::from_labels([service, namespace, "svc"].map(str::as_bytes))
            .ok()?
            .append_domain(&self.domain)
            .ok()
    }
}

fn exists(yes: bool) -> Answer {
    if yes { Answer::NoData } else { Answer::NoName }
}

fn address_record(name: &Name, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    Record::from_rdata(name.clone(), TTL, data)
}

fn host(name: &Name, address: IpAddr, kind: RecordType) -> Answer {
    let data = match (address, kind) {
        (IpAddr::V4(ip), RecordType::A) => RData::A(A(ip)),
        (IpAddr::V6(ip), RecordType::AAAA) => RData::AAAA(AAAA(ip)),
        _ => return Answer::NoData,
    };
    Answer::Records(vec![Record::from_rdata(name.clone(), TTL, data)], Vec::new())
}

#[cfg(test)]
pub(crate) mod tests;
