//! The versioned form -> defaults -> checks -> the internal form.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};

use crate::names::{check_cluster_name, check_label_name, is_label_key, is_label_value, is_subdomain};
use crate::names::{parse_cpus, parse_memory};
use crate::v1alpha1::{self, Dialect};
use crate::{
    ApiAccess, Cluster, ClusterNetwork, ComponentFlags, Error, Mount, Node, NodeResources, NodeRole,
    PortMapping, Problem, Propagation, Protocol, nth_address,
};

/// Name of a cluster that has none.
pub const DEFAULT_NAME: &str = "rkind";

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Collects every problem before giving up.
#[derive(Default)]
struct Checker {
    problems: Vec<Problem>,
}

impl Checker {
    fn fail(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(field, message));
    }

    /// `value`, or `None` after noting what is wrong with `field`.
    fn take<T, E: Into<String>>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|e| self.fail(field, e)).ok()
    }
}

impl v1alpha1::Cluster {
    /// Fills in defaults and checks everything.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all wrong fields at once.
    pub fn into_cluster(self) -> Result<Cluster, Error> {
        let mut check = Checker::default();
        let name = self.name.unwrap_or_else(|| DEFAULT_NAME.to_owned());
        if let Err(message) = check_cluster_name(&name) {
            check.fail("name", message);
        }
        let (network, node_subnet) = network(&mut check, &self.networking);
        let api = api_access(&mut check, self.networking);
        let nodes = nodes(&mut check, &name, self.image, self.nodes, self.dialect);
        ports_are_unique(&mut check, &api, &nodes, self.dialect);
        if let Err(problems) = ComponentFlags::read(&self.extra_config) {
            check.problems.extend(problems);
        }
        if !check.problems.is_empty() {
            return Err(Error::Invalid(check.problems));
        }
        Ok(Cluster {
            name,
            nodes,
            network,
            node_subnet,
            api,
            feature_gates: self.feature_gates,
            runtime_config: self.runtime_config,
            extra_config: self.extra_config,
            log_level: self.log_level.unwrap_or_else(|| "info".to_owned()),
        })
    }
}

fn ipv4_net(check: &mut Checker, field: &str, text: Option<&str>) -> Option<Ipv4Net> {
    let text = text?;
    let parsed: Result<Ipv4Net, String> = text
        .parse()
        .map_err(|_| format!("{text:?} is no IPv4 subnet; write for example 10.20.0.0/16"));
    let net = check.take(field, parsed)?;
    if net.trunc() != net {
        check.fail(
            field,
            format!("{text:?} has host bits set; write {}", net.trunc()),
        );
    }
    Some(net.trunc())
}

fn network(check: &mut Checker, spec: &v1alpha1::Networking) -> (ClusterNetwork, Option<Ipv4Net>) {
    let mut network = ClusterNetwork::default();
    if let Some(family) = spec
        .ip_family
        .as_deref()
        .filter(|f| !f.eq_ignore_ascii_case("ipv4"))
    {
        check.fail(
            "networking.ipFamily",
            format!("{family:?} is not available; use ipv4"),
        );
    }
    if let Some(net) = ipv4_net(check, "networking.podSubnet", spec.pod_subnet.as_deref()) {
        if net.prefix_len() > 24 {
            check.fail(
                "networking.podSubnet",
                "is smaller than the /24 that one node needs; use for example a /16",
            );
        }
        network.pod_subnet = IpNet::V4(net);
    }
    if let Some(net) = ipv4_net(check, "networking.serviceSubnet", spec.service_subnet.as_deref()) {
        match nth_address(IpNet::V4(net), 10).filter(|_| (12..=28).contains(&net.prefix_len())) {
            Some(dns) => {
                network.service_subnet = IpNet::V4(net);
                network.dns_ip = dns;
            }
            None => check.fail("networking.serviceSubnet", "must be between a /12 and a /28"),
        }
    }
    let node_subnet = ipv4_net(check, "networking.nodeSubnet", spec.node_subnet.as_deref());
    if node_subnet.is_some_and(|net| net.prefix_len() > 28) {
        check.fail("networking.nodeSubnet", "must be at least a /28");
    }
    let mut nets = vec![
        ("networking.podSubnet", network.pod_subnet),
        ("networking.serviceSubnet", network.service_subnet),
    ];
    nets.extend(node_subnet.map(|net| ("networking.nodeSubnet", IpNet::V4(net))));
    for (i, (field, a)) in nets.iter().enumerate() {
        for (other, b) in &nets[..i] {
            if a.contains(b) || b.contains(a) {
                check.fail(*field, format!("{a} overlaps with {other} {b}"));
            }
        }
    }
    if let Some(domain) = &spec.dns_domain {
        if is_subdomain(domain) {
            network.dns_domain.clone_from(domain);
        } else {
            check.fail(
                "networking.dnsDomain",
                format!("{domain:?} is no domain name; the default is cluster.local"),
            );
        }
    }
    if let Some(text) = &spec.node_port_range {
        let range = text
            .split_once('-')
            .and_then(|(a, b)| Some((a.parse::<u16>().ok()?, b.parse::<u16>().ok()?)));
        match range.filter(|(a, b)| *a > 0 && a <= b) {
            Some(range) => network.node_port_range = range,
            None => check.fail(
                "networking.nodePortRange",
                format!("{text:?} is no range; write for example 30000-32767"),
            ),
        }
    }
    (network, node_subnet)
}

/// A host port: absent or -1 is "a free one".
fn host_port(check: &mut Checker, field: &str, port: Option<i32>) -> Option<u16> {
    match port {
        None | Some(-1 | 0) => None,
        Some(p) => match u16::try_from(p) {
            Ok(p) => Some(p),
            Err(_) => {
                check.fail(field, format!("{p} is no port; must be between 1 and 65535"));
                None
            }
        },
    }
}

fn address(check: &mut Checker, field: &str, text: Option<&str>) -> IpAddr {
    let Some(text) = text.filter(|t| !t.is_empty()) else {
        return LOOPBACK;
    };
    let parsed = text
        .parse()
        .map_err(|_| format!("{text:?} is no IP address; the default is 127.0.0.1"));
    check.take(field, parsed).unwrap_or(LOOPBACK)
}

fn api_access(check: &mut Checker, spec: v1alpha1::Networking) -> ApiAccess {
    for (i, name) in spec.api_server_names.iter().enumerate() {
        let host = name.strip_prefix("*.").unwrap_or(name);
        if name.parse::<IpAddr>().is_err() && !is_subdomain(host) {
            check.fail(
                format!("networking.apiServerNames[{i}]"),
                format!("{name:?} is no host name or IP address"),
            );
        }
    }
    ApiAccess {
        address: address(
            check,
            "networking.apiServerAddress",
            spec.api_server_address.as_deref(),
        ),
        port: host_port(check, "networking.apiServerPort", spec.api_server_port),
        extra_sans: spec.api_server_names,
    }
}

fn nodes(
    check: &mut Checker,
    cluster: &str,
    image: Option<String>,
    mut specs: Vec<v1alpha1::Node>,
    dialect: Dialect,
) -> Vec<Node> {
    if specs.is_empty() {
        specs.push(v1alpha1::Node::default());
    }
    let mut names: Vec<String> = specs.iter().filter_map(|n| n.name.clone()).collect();
    let mut nodes = Vec::with_capacity(specs.len());
    for (i, spec) in specs.into_iter().enumerate() {
        let at = format!("nodes[{i}]");
        let role = match spec.role.as_deref() {
            None if i == 0 => NodeRole::ControlPlane,
            None => NodeRole::Worker,
            Some(text) => NodeRole::parse(text).unwrap_or_else(|| {
                check.fail(
                    format!("{at}.role"),
                    format!("{text:?} is unknown; use control-plane or worker"),
                );
                NodeRole::Worker
            }),
        };
        let name = match spec.name {
            Some(name) => {
                if let Err(message) = check_label_name(&name) {
                    check.fail(format!("{at}.name"), message);
                }
                name
            }
            None => {
                let taken: Vec<&str> = names.iter().map(String::as_str).collect();
                let name = Cluster::next_node_name(cluster, role, &taken);
                names.push(name.clone());
                name
            }
        };
        labels(check, &at, &spec.labels);
        taints(check, &at, &spec.taints);
        let cpus = spec
            .cpus
            .and_then(|t| check.take(&format!("{at}.cpus"), parse_cpus(&t)))
            .flatten();
        let memory = spec
            .memory
            .and_then(|t| check.take(&format!("{at}.memory"), parse_memory(&t)))
            .flatten();
        if memory.is_some_and(|bytes| bytes < 128 << 20) {
            check.fail(format!("{at}.memory"), "a node needs at least 128Mi");
        }
        nodes.push(Node {
            name,
            role,
            image: spec.image.or_else(|| image.clone()),
            labels: spec.labels,
            taints: spec.taints,
            resources: NodeResources {
                cpus,
                memory_bytes: memory,
            },
            mounts: mounts(check, &at, spec.mounts, dialect),
            ports: ports(check, &at, spec.ports, dialect),
        });
    }
    let mut seen = BTreeSet::new();
    for (i, node) in nodes.iter().enumerate() {
        if !seen.insert(node.name.as_str()) {
            check.fail(
                format!("nodes[{i}].name"),
                format!("{:?} is used twice", node.name),
            );
        }
    }
    match nodes.iter().filter(|n| n.role == NodeRole::ControlPlane).count() {
        0 => check.fail("nodes", "one must have the role control-plane"),
        1 => nodes.sort_by_key(|n| n.role),
        n => check.fail(
            "nodes",
            format!("{n} have the role control-plane; one is supported for now"),
        ),
    }
    nodes
}

fn labels(check: &mut Checker, at: &str, labels: &BTreeMap<String, String>) {
    for (key, value) in labels {
        if !is_label_key(key) {
            check.fail(
                format!("{at}.labels"),
                format!("{key:?} is no label key; write [prefix/]name"),
            );
        }
        if !is_label_value(value) {
            check.fail(
                format!("{at}.labels[{key}]"),
                format!("{value:?} is no label value; use at most 63 letters, digits, '-', '_' or '.'"),
            );
        }
    }
}

fn taints(check: &mut Checker, at: &str, taints: &[crate::Taint]) {
    for (i, taint) in taints.iter().enumerate() {
        if !is_label_key(&taint.key) {
            check.fail(
                format!("{at}.taints[{i}].key"),
                format!("{:?} is no label key", taint.key),
            );
        }
        if !is_label_value(&taint.value) {
            check.fail(
                format!("{at}.taints[{i}].value"),
                format!("{:?} is no label value", taint.value),
            );
        }
        if !matches!(
            taint.effect.as_str(),
            "NoSchedule" | "PreferNoSchedule" | "NoExecute"
        ) {
            check.fail(
                format!("{at}.taints[{i}].effect"),
                format!(
                    "{:?} is unknown; use NoSchedule, PreferNoSchedule or NoExecute",
                    taint.effect
                ),
            );
        }
    }
}

fn mounts(check: &mut Checker, at: &str, specs: Vec<v1alpha1::Mount>, dialect: Dialect) -> Vec<Mount> {
    let field = if dialect == Dialect::Kind {
        "extraMounts"
    } else {
        "mounts"
    };
    let mut mounts = Vec::with_capacity(specs.len());
    for (i, spec) in specs.into_iter().enumerate() {
        let at = format!("{at}.{field}[{i}]");
        if spec.host_path.is_empty() {
            check.fail(format!("{at}.hostPath"), "is required");
        }
        if !spec.container_path.starts_with('/') || spec.container_path == "/" {
            check.fail(
                format!("{at}.containerPath"),
                format!("{:?} must be an absolute path below /", spec.container_path),
            );
        }
        let propagation = match spec.propagation.as_deref() {
            None | Some("" | "None") => Propagation::None,
            Some("HostToContainer") => Propagation::HostToContainer,
            Some("Bidirectional") => Propagation::Bidirectional,
            Some(other) => {
                check.fail(
                    format!("{at}.propagation"),
                    format!("{other:?} is unknown; use None, HostToContainer or Bidirectional"),
                );
                Propagation::None
            }
        };
        mounts.push(Mount {
            host_path: PathBuf::from(spec.host_path),
            container_path: spec.container_path,
            read_only: spec.read_only,
            selinux_relabel: spec.selinux_relabel,
            propagation,
        });
    }
    mounts
}

fn ports(
    check: &mut Checker,
    at: &str,
    specs: Vec<v1alpha1::PortMapping>,
    dialect: Dialect,
) -> Vec<PortMapping> {
    let field = if dialect == Dialect::Kind {
        "extraPortMappings"
    } else {
        "ports"
    };
    let mut ports = Vec::with_capacity(specs.len());
    for (i, spec) in specs.into_iter().enumerate() {
        let at = format!("{at}.{field}[{i}]");
        let container_port = u16::try_from(spec.container_port).ok().filter(|p| *p > 0);
        if container_port.is_none() {
            check.fail(
                format!("{at}.containerPort"),
                format!("{} is no port; must be between 1 and 65535", spec.container_port),
            );
        }
        let protocol = match spec.protocol.as_deref().map(str::to_ascii_uppercase).as_deref() {
            None | Some("" | "TCP") => Protocol::Tcp,
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            Some(other) => {
                check.fail(
                    format!("{at}.protocol"),
                    format!("{other:?} is unknown; use TCP, UDP or SCTP"),
                );
                Protocol::Tcp
            }
        };
        ports.push(PortMapping {
            container_port: container_port.unwrap_or(1),
            host_port: host_port(check, &format!("{at}.hostPort"), spec.host_port),
            listen_address: address(
                check,
                &format!("{at}.listenAddress"),
                spec.listen_address.as_deref(),
            ),
            protocol,
        });
    }
    ports
}

/// No two sockets of the host may be the same.
fn ports_are_unique(check: &mut Checker, api: &ApiAccess, nodes: &[Node], dialect: Dialect) {
    let field = if dialect == Dialect::Kind {
        "extraPortMappings"
    } else {
        "ports"
    };
    let mut taken: Vec<(Protocol, u16, IpAddr, String)> = Vec::new();
    if let Some(port) = api.port {
        taken.push((
            Protocol::Tcp,
            port,
            api.address,
            "networking.apiServerPort".to_owned(),
        ));
    }
    for (n, node) in nodes.iter().enumerate() {
        for (i, port) in node.ports.iter().enumerate() {
            let Some(host_port) = port.host_port else { continue };
            let at = format!("nodes[{n}].{field}[{i}].hostPort");
            let clash = taken.iter().find(|(protocol, p, address, _)| {
                *protocol == port.protocol
                    && *p == host_port
                    && (*address == port.listen_address
                        || address.is_unspecified()
                        || port.listen_address.is_unspecified())
            });
            match clash {
                Some((_, _, _, other)) => check.fail(at, format!("{host_port} is used by {other} too")),
                None => taken.push((port.protocol, host_port, port.listen_address, at)),
            }
        }
    }
}
