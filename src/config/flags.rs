//! Flags as edits of the versioned form.

use std::collections::BTreeMap;

use crate::v1alpha1::{Cluster, Mount, Node, PortMapping};
use crate::{Error, Problem};

/// What the command line says beside or instead of a file; `None` and empty say
/// nothing.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub name: Option<String>,
    /// Total: one control-plane node, the rest workers.
    pub nodes: Option<u32>,
    pub image: Option<String>,
    pub cpus: Option<String>,
    pub memory: Option<String>,
    pub api_server_address: Option<String>,
    pub api_server_port: Option<u16>,
    pub api_server_names: Vec<String>,
    pub node_subnet: Option<String>,
    pub pod_subnet: Option<String>,
    pub service_subnet: Option<String>,
    pub dns_domain: Option<String>,
    /// `[address:]host:container[/protocol]` or `container[/protocol]`, on the
    /// first node.
    pub ports: Vec<String>,
    /// `host-path:container-path[:ro]`, on every node.
    pub mounts: Vec<String>,
    /// `Name=true|false`, comma separated.
    pub feature_gates: Vec<String>,
    /// `component.key=value`
    pub extra_config: Vec<String>,
    pub log_level: Option<String>,
}

impl Overrides {
    /// Edits `cluster`.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the flags that cannot be read or that contradict
    /// the file.
    pub fn apply(self, cluster: &mut Cluster) -> Result<(), Error> {
        let mut problems = Vec::new();
        if let Some(total) = self.nodes {
            if total == 0 {
                problems.push(Problem::new("--nodes", "must be at least 1"));
            } else if total > 254 {
                problems.push(Problem::new("--nodes", "must be at most 254"));
            } else if !cluster.nodes.is_empty() {
                problems.push(Problem::new(
                    "--nodes",
                    "the file lists the nodes already; use one of the two",
                ));
            } else {
                cluster.nodes = (0..total)
                    .map(|i| Node {
                        role: Some(role(i)),
                        ..Node::default()
                    })
                    .collect();
            }
        }
        if cluster.nodes.is_empty() {
            cluster.nodes.push(Node {
                role: Some(role(0)),
                ..Node::default()
            });
        }
        set(&mut cluster.name, self.name);
        set(&mut cluster.image, self.image);
        set(&mut cluster.log_level, self.log_level);
        let net = &mut cluster.networking;
        set(&mut net.api_server_address, self.api_server_address);
        set(&mut net.api_server_port, self.api_server_port.map(i32::from));
        net.api_server_names.extend(self.api_server_names);
        set(&mut net.node_subnet, self.node_subnet);
        set(&mut net.pod_subnet, self.pod_subnet);
        set(&mut net.service_subnet, self.service_subnet);
        set(&mut net.dns_domain, self.dns_domain);
        for node in &mut cluster.nodes {
            set(&mut node.cpus, self.cpus.clone());
            set(&mut node.memory, self.memory.clone());
        }
        for text in &self.ports {
            match parse_port(text) {
                Ok(port) => cluster
                    .nodes
                    .iter_mut()
                    .take(1)
                    .for_each(|n| n.ports.push(port.clone())),
                Err(message) => problems.push(Problem::new("--ports", message)),
            }
        }
        for text in &self.mounts {
            match parse_mount(text) {
                Ok(mount) => cluster
                    .nodes
                    .iter_mut()
                    .for_each(|n| n.mounts.push(mount.clone())),
                Err(message) => problems.push(Problem::new("--mount-string", message)),
            }
        }
        for text in self
            .feature_gates
            .iter()
            .flat_map(|t| t.split(','))
            .filter(|t| !t.is_empty())
        {
            match text
                .split_once('=')
                .map(|(name, value)| (name, value.parse::<bool>()))
            {
                Some((name, Ok(value))) => {
                    cluster.feature_gates.insert(name.to_owned(), value);
                }
                _ => problems.push(Problem::new(
                    "--feature-gates",
                    format!("{text:?} is not Name=true or Name=false"),
                )),
            }
        }
        for text in &self.extra_config {
            match parse_extra_config(text) {
                Some((component, key, value)) => {
                    let flags: &mut BTreeMap<_, _> =
                        cluster.extra_config.entry(component.to_owned()).or_default();
                    flags.insert(key.to_owned(), value.to_owned());
                }
                None => problems.push(Problem::new(
                    "--extra-config",
                    format!("{text:?} is not component.key=value"),
                )),
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Error::Invalid(problems))
        }
    }
}

fn role(index: u32) -> String {
    if index == 0 { "control-plane" } else { "worker" }.to_owned()
}

fn set<T>(field: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *field = value;
    }
}

fn parse_extra_config(text: &str) -> Option<(&str, &str, &str)> {
    let (path, value) = text.split_once('=')?;
    let (component, key) = path.split_once('.')?;
    (!component.is_empty() && !key.is_empty()).then_some((component, key, value))
}

fn parse_port(text: &str) -> Result<PortMapping, String> {
    let expected = || format!("{text:?} is not [address:]host-port:node-port[/tcp|udp|sctp]");
    let (rest, protocol) = match text.split_once('/') {
        Some((rest, protocol)) => (rest, Some(protocol.to_ascii_uppercase())),
        None => (text, None),
    };
    let number = |s: &str| {
        s.parse::<u16>()
            .ok()
            .filter(|p| *p != 0)
            .map(i32::from)
            .ok_or_else(expected)
    };
    let (address, host, node) = match rest.rsplit_once(':') {
        None => (None, None, rest),
        Some((front, node)) => match front.rsplit_once(':') {
            None => (None, Some(front), node),
            Some((address, host)) => (
                Some(address.trim_matches(['[', ']']).to_owned()),
                Some(host),
                node,
            ),
        },
    };
    Ok(PortMapping {
        container_port: number(node)?,
        host_port: host.map(number).transpose()?,
        listen_address: address,
        protocol,
    })
}

fn parse_mount(text: &str) -> Result<Mount, String> {
    let mut parts = text.split(':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(host), Some(container), mode @ (None | Some("ro" | "rw")), None)
            if !host.is_empty() && !container.is_empty() =>
        {
            Ok(Mount {
                host_path: host.to_owned(),
                container_path: container.to_owned(),
                read_only: mode == Some("ro"),
                ..Mount::default()
            })
        }
        _ => Err(format!("{text:?} is not host-path:node-path[:ro]")),
    }
}
