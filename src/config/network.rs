//! The cluster's address plan.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

/// Addresses and names inside one cluster; all nodes agree on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterNetwork {
    /// Pods; every node gets a /24 of it.
    pub pod_subnet: IpNet,
    /// ClusterIPs.
    pub service_subnet: IpNet,
    /// ClusterIP of the DNS service: the tenth of the service subnet.
    pub dns_ip: IpAddr,
    pub dns_domain: String,
    /// First and last port, inclusive.
    pub node_port_range: (u16, u16),
}

impl Default for ClusterNetwork {
    fn default() -> Self {
        let service_subnet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16));
        ClusterNetwork {
            pod_subnet: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16)),
            service_subnet,
            dns_ip: nth_address(service_subnet, 10).unwrap_or(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10))),
            dns_domain: "cluster.local".to_owned(),
            node_port_range: (30000, 32767),
        }
    }
}

impl ClusterNetwork {
    /// ClusterIP of the `kubernetes` service: the first of the service subnet.
    pub fn kubernetes_ip(&self) -> IpAddr {
        nth_address(self.service_subnet, 1).unwrap_or(self.dns_ip)
    }
}

/// The address `n` after the network address, or `None` beyond the subnet.
pub fn nth_address(net: IpNet, n: u32) -> Option<IpAddr> {
    let address = match net {
        IpNet::V4(v4) => IpAddr::V4(Ipv4Addr::from(u32::from(v4.network()).checked_add(n)?)),
        IpNet::V6(v6) => IpAddr::V6((u128::from(v6.network()).checked_add(u128::from(n))?).into()),
    };
    net.contains(&address).then_some(address)
}
