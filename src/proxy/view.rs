//! What of a Service and its EndpointSlices concerns packets. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// Somebody else's proxy looks after a Service with this label.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Seconds, if a Service asks for affinity without saying how long.
const DEFAULT_AFFINITY: u32 = 10_800;

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortView {
    /// Name within the Service, may be empty; with the protocol and number it is
    /// unique there.
    pub name: String,
    /// Transport protocol's number.
    pub protocol: u8,
    /// The port on the Service's addresses.
    pub port: u16,
    /// The port on every node.
    pub node_port: Option<u16>,
    /// All endpoints that may get new connections, in order.
    pub endpoints: Vec<SocketAddr>,
    /// Those of this node.
    pub local_endpoints: Vec<SocketAddr>,
}

/// A Service as packets see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceView {
    /// Its cluster addresses, IPv4.
    pub cluster_ips: Vec<IpAddr>,
    /// Addresses by which others reach it: `externalIPs` and the load balancer's.
    pub external_ips: Vec<IpAddr>,
    /// Those of the external addresses that only `source_ranges` may use.
    pub guarded_ips: Vec<IpAddr>,
    /// `loadBalancerSourceRanges`, IPv4.
    pub source_ranges: Vec<IpNet>,
    /// `internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// `externalTrafficPolicy: Local`.
    pub external_local: bool,
    /// `sessionAffinity: ClientIP`, seconds.
    pub affinity: Option<u32>,
    /// Its ports.
    pub ports: Vec<PortView>,
}

/// The number of a transport protocol; TCP where nothing is said.
pub fn protocol_number(name: Option<&str>) -> Option<u8> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(6),
        "UDP" => Some(17),
        "SCTP" => Some(132),
        _ => None,
    }
}

fn port_number(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|n| *n != 0)
}

/// The addresses among `texts` that this proxy serves (IPv4), in order.
fn addresses<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<IpAddr> {
    let set: BTreeSet<IpAddr> = texts
        .into_iter()
        .filter_map(|t| t.parse().ok())
        .filter(IpAddr::is_ipv4)
        .collect();
    set.into_iter().collect()
}

/// How fit an endpoint is for new connections (KEP-1669).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fitness {
    Ready,
    /// On its way out and still able to serve: better than nothing.
    LastResort,
    No,
}

fn fitness(endpoint: &Endpoint) -> Fitness {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let serving = conditions.and_then(|c| c.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
    match (ready, serving && terminating) {
        (true, _) => Fitness::Ready,
        (false, true) => Fitness::LastResort,
        (false, false) => Fitness::No,
    }
}

/// Endpoints of one Service port.
#[derive(Default)]
struct Candidates {
    ready: BTreeSet<SocketAddr>,
    last_resort: BTreeSet<SocketAddr>,
}

impl Candidates {
    fn add(&mut self, address: SocketAddr, fitness: Fitness) {
        match fitness {
            Fitness::Ready => self.ready.insert(address),
            Fitness::LastResort => self.last_resort.insert(address),
            Fitness::No => false,
        };
    }

    fn chosen(self) -> Vec<SocketAddr> {
        let chosen = if self.ready.is_empty() {
            self.last_resort
        } else {
            self.ready
        };
        chosen.into_iter().collect()
    }
}

/// What packets to `service` need, or `None` if this proxy has nothing to do
/// with it (headless, ExternalName, another proxy's). `slices` are those that
/// carry its name; `node` is the node we are on.
pub fn view(service: &Service, slices: &[impl AsRef<EndpointSlice>], node: &str) -> Option<ServiceView> {
    let spec = service.spec.as_ref()?;
    let labelled = service
        .metadata
        .labels
        .as_ref()
        .is_some_and(|l| l.contains_key(PROXY_NAME));
    if labelled || spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let cluster_ips = match &spec.cluster_ips {
        Some(ips) if !ips.is_empty() => addresses(ips),
        _ => addresses(&spec.cluster_ip),
    };
    if cluster_ips.is_empty() {
        return None;
    }
    let balanced = spec.type_.as_deref() == Some("LoadBalancer");
    let ingress: Vec<&String> = service
        .status
        .iter()
        .filter(|_| balanced)
        .flat_map(|s| &s.load_balancer)
        .flat_map(|lb| lb.ingress.iter().flatten())
        // "Proxy" means that traffic must take the way through the balancer itself.
        .filter(|i| i.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|i| i.ip.as_ref())
        .collect();
    let external = spec.external_ips.iter().flatten().chain(ingress.iter().copied());
    let ranges: Vec<&String> = spec
        .load_balancer_source_ranges
        .iter()
        .flatten()
        .filter(|_| balanced)
        .collect();
    let guarded = ingress.iter().copied().filter(|_| !ranges.is_empty());
    let source_ranges: BTreeSet<IpNet> = ranges
        .iter()
        .filter_map(|r| r.trim().parse::<IpNet>().ok())
        .filter(|r| r.addr().is_ipv4())
        .map(|r| r.trunc())
        .collect();
    let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let config = spec
            .session_affinity_config
            .as_ref()
            .and_then(|c| c.client_ip.as_ref());
        config
            .and_then(|c| c.timeout_seconds)
            .and_then(|s| u32::try_from(s).ok())
            .unwrap_or(DEFAULT_AFFINITY)
    });
    let ports = spec
        .ports
        .iter()
        .flatten()
        .filter_map(|p| port_view(p, slices, node))
        .collect();
    Some(ServiceView {
        cluster_ips,
        external_ips: addresses(external),
        guarded_ips: addresses(guarded),
        source_ranges: IpNet::aggregate(&source_ranges.into_iter().collect()),
        internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
        affinity,
        ports,
    })
}

fn port_view(port: &ServicePort, slices: &[impl AsRef<EndpointSlice>], node: &str) -> Option<PortView> {
    let name = port.name.clone().unwrap_or_default();
    let protocol = protocol_number(port.protocol.as_deref())?;
    let (mut all, mut local) = (Candidates::default(), Candidates::default());
    for slice in slices.iter().map(AsRef::as_ref) {
        let headless = slice
            .metadata
            .labels
            .as_ref()
            .is_some_and(|l| l.contains_key(HEADLESS));
        if slice.address_type != "IPv4" || headless {
            continue;
        }
        let numbers = slice.ports.iter().flatten().filter(|p| {
            p.name.as_deref().unwrap_or_default() == name
                && protocol_number(p.protocol.as_deref()) == Some(protocol)
        });
        for number in numbers.filter_map(|p| p.port.and_then(port_number)) {
            for endpoint in &slice.endpoints {
                // The others are the same endpoint's further addresses.
                let Some(ip) = endpoint.addresses.first().and_then(|a| a.parse::<IpAddr>().ok()) else {
                    continue;
                };
                let (address, fitness) = (SocketAddr::new(ip, number), fitness(endpoint));
                all.add(address, fitness);
                if endpoint.node_name.as_deref() == Some(node) {
                    local.add(address, fitness);
                }
            }
        }
    }
    Some(PortView {
        name,
        protocol,
        port: port_number(port.port)?,
        node_port: port.node_port.and_then(port_number),
        endpoints: all.chosen(),
        local_endpoints: local.chosen(),
    })
}

/// Which Service a slice belongs to: "namespace/name".
pub fn service_of(slice: &EndpointSlice) -> Option<(String, String)> {
    let name = slice
        .metadata
        .labels
        .as_ref()?
        .get("kubernetes.io/service-name")?;
    Some((slice.metadata.namespace.clone().unwrap_or_default(), name.clone()))
}

#[cfg(test)]
mod tests;
