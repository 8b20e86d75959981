//! What pods that use the node's own name servers (`dnsPolicy: Default`) see.
//!
//! A container engine's embedded name server has a loopback address, which in
//! a pod is the pod itself. Such a node gives its pods the cluster's DNS
//! instead: it forwards to the same servers.

use crate::Error;
use rkind_config::NodeConfig;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

/// The node's own resolver configuration.
pub(crate) const NODE_RESOLV_CONF: &str = "/etc/resolv.conf";
/// The one that pods are given.
pub(crate) const POD_RESOLV_CONF: &str = "/etc/rkind/resolv.conf";

pub(crate) fn write(node: &NodeConfig) -> Result<(), Error> {
    let own = Path::new(NODE_RESOLV_CONF);
    let text = fs::read_to_string(own).map_err(Error::file("could not read", own))?;
    let pods = Path::new(POD_RESOLV_CONF);
    fs::write(pods, for_pods(&text, node.network.dns_ip)).map_err(Error::file("could not write", pods))
}

/// The same text, with servers that a pod can't reach replaced by `dns_ip`.
fn for_pods(text: &str, dns_ip: IpAddr) -> String {
    let mut replaced = false;
    let mut out = String::new();
    for line in text.lines() {
        let server = line.strip_prefix("nameserver").map(str::trim);
        if server
            .and_then(|server| server.parse::<IpAddr>().ok())
            .is_some_and(|ip| ip.is_loopback())
        {
            if !replaced {
                out.push_str(&format!("nameserver {dns_ip}\n"));
            }
            replaced = true;
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::for_pods;

    #[test]
    fn loopback_servers_become_the_clusters() {
        let dns = "10.96.0.10".parse().unwrap();
        let text = "search lan\nnameserver 127.0.0.11\nnameserver ::1\noptions ndots:0\n";
        assert_eq!(
            for_pods(text, dns),
            "search lan\nnameserver 10.96.0.10\noptions ndots:0\n"
        );
        assert_eq!(for_pods("nameserver 192.0.2.1\n", dns), "nameserver 192.0.2.1\n");
    }
}
