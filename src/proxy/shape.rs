//! The constant part of the rules: chains, sets and maps, as text.
//!
//! How a packet finds its endpoint:
//!
//! 1. `fronts` (address, protocol, port) or `node-ports` (protocol, port) puts
//!    the number of a *pool* into the packet's mark. A pool is a Service port's
//!    endpoints under one policy. Traffic from this node and its pods looks into
//!    the `-inside` maps first: `externalTrafficPolicy: Local` doesn't bind it.
//! 2. `pools` leads from the pool to the chain `pick-N` for its N endpoints.
//! 3. `pick-N` draws a number below N; `endpoints` (pool, number) says where to.
//!    With affinity, `pick-N-for-S` remembers the endpoint drawn for each client
//!    for S seconds in `affinity`, by an identity that is never used again, so
//!    the memory of an endpoint that is gone leads nowhere and is replaced.
//! 4. After routing, the flags in the pool's number say whether the source must
//!    be this node, so that answers come back the same way.
//!
//! What has no endpoint isn't translated and meets the filter chains, which
//! refuse or drop it.

use std::fmt::Write as _;

use rkind_sys::nft::{Family, Table};

use crate::Options;

/// In a pool's number: the source is always translated.
pub const MASQUERADE: u32 = 0x4000_0000;
/// In a pool's number: the source is translated unless it is a pod.
pub const MASQUERADE_OUTSIDERS: u32 = 0x2000_0000;

/// Pick chains that are there from the start, so that a Service that grows to so
/// many endpoints needs no new chain.
pub const READY_CHAINS: u32 = 16;

/// Names of sets and maps.
pub mod set {
    #![allow(missing_docs)]
    pub const FRONTS: &str = "fronts";
    pub const FRONTS_INSIDE: &str = "fronts-inside";
    pub const NODE_PORTS: &str = "node-ports";
    pub const NODE_PORTS_INSIDE: &str = "node-ports-inside";
    pub const POOLS: &str = "pools";
    pub const ENDPOINTS: &str = "endpoints";
    pub const SLOTS: &str = "slots";
    pub const BY_ID: &str = "by-id";
    pub const HAIRPIN: &str = "hairpin";
    pub const NODES: &str = "nodes";
    pub const CLUSTER_IPS: &str = "cluster-ips";
    pub const GUARDED: &str = "guarded";
    pub const ALLOWED: &str = "allowed";
    pub const UNSERVED: &str = "unserved";
    pub const UNSERVED_PORTS: &str = "unserved-ports";
}

/// Our table.
pub fn table() -> Table {
    Table::new(Family::Ip, "rkind")
}

/// A chain that draws an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pick {
    /// Of how many.
    pub count: u32,
    /// Seconds to remember what was drawn for a client.
    pub affinity: Option<u32>,
}

impl Pick {
    /// The chain's name.
    pub fn name(self) -> String {
        match self.affinity {
            None => format!("pick-{}", self.count),
            Some(seconds) => format!("pick-{}-for-{seconds}", self.count),
        }
    }

    /// Commands that make it; harmless if it is there.
    pub fn render(self, out: &mut String) {
        const DNAT: &str = "meta l4proto { tcp, udp, sctp } dnat ip to";
        let (name, count) = (self.name(), self.count);
        let mut chain = |name: &str, rules: &[String]| {
            let _ = writeln!(out, "add chain ip rkind {name}\nflush chain ip rkind {name}");
            for rule in rules {
                let _ = writeln!(out, "add rule ip rkind {name} {rule}");
            }
        };
        let Some(seconds) = self.affinity else {
            return chain(
                &name,
                &[format!(
                    "{DNAT} meta mark . numgen random mod {count} map @endpoints"
                )],
            );
        };
        let remember = format!("update @affinity {{ meta mark . ip saddr timeout {seconds}s : ct mark }}");
        let forget = "delete @affinity { meta mark . ip saddr : ct mark }".to_owned();
        let go = format!("{DNAT} ct mark map @by-id");
        let again = format!("again-for-{seconds}");
        chain(&again, &[remember.clone(), go.clone()]);
        let known = format!("ct mark set meta mark . ip saddr map @affinity jump {again}");
        let draw = format!("ct mark set meta mark . numgen random mod {count} map @slots");
        chain(&name, &[known, draw, forget, remember, go]);
    }
}

/// Commands that replace the table, if there is one, by an empty one of the
/// right shape.
pub fn render(options: &Options) -> String {
    let Options {
        pod_subnet: pods,
        service_subnet: services,
        node_port_range: (first, last),
        ..
    } = options;
    let own_dns = options
        .dns_ip
        .map(|ip| format!("ip daddr {ip} return"))
        .unwrap_or_default();
    let tuple = "ip daddr . meta l4proto . th dport";
    let text = format!(
        "\
add table ip rkind
delete table ip rkind
table ip rkind {{
  map fronts {{ type ipv4_addr . inet_proto . inet_service : mark; }}
  map fronts-inside {{ type ipv4_addr . inet_proto . inet_service : mark; }}
  map node-ports {{ type inet_proto . inet_service : mark; }}
  map node-ports-inside {{ type inet_proto . inet_service : mark; }}
  map pools {{ type mark : verdict; }}
  map endpoints {{ typeof meta mark . numgen random mod 1 : ip daddr . th dport; }}
  map slots {{ typeof meta mark . numgen random mod 1 : meta mark; }}
  map by-id {{ type mark : ipv4_addr . inet_service; }}
  map affinity {{ type mark . ipv4_addr : mark; size 1048576; flags dynamic,timeout; }}
  set hairpin {{ type ipv4_addr . ipv4_addr; }}
  set nodes {{ type ipv4_addr; }}
  set cluster-ips {{ type ipv4_addr; }}
  set guarded {{ type ipv4_addr . inet_proto . inet_service; }}
  set allowed {{ type ipv4_addr . inet_proto . inet_service . ipv4_addr; flags interval; }}
  map unserved {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map unserved-ports {{ type inet_proto . inet_service : verdict; }}

  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject
  }}
  chain dispatch {{
    meta mark vmap @pools
  }}
  chain from-inside {{
    meta mark set {tuple} map @fronts-inside goto dispatch
    th dport {first}-{last} fib daddr type local meta mark set meta l4proto . th dport map @node-ports-inside goto dispatch
  }}
  chain services {{
    meta mark set {tuple} map @fronts goto dispatch
    th dport {first}-{last} fib daddr type local meta mark set meta l4proto . th dport map @node-ports goto dispatch
  }}
  chain guard {{
    type filter hook prerouting priority -110; policy accept;
    meta l4proto {{ tcp, udp, sctp }} {tuple} @guarded {tuple} . ip saddr != @allowed drop
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    meta l4proto != {{ tcp, udp, sctp }} return
    ip saddr {pods} jump from-inside
    jump services
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    meta l4proto != {{ tcp, udp, sctp }} return
    jump from-inside
    jump services
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ct status dnat ip saddr . ip daddr @hairpin masquerade
    ct status dnat meta mark & {MASQUERADE:#x} == {MASQUERADE:#x} masquerade
    ct status dnat meta mark & {MASQUERADE_OUTSIDERS:#x} == {MASQUERADE_OUTSIDERS:#x} ip saddr != {pods} masquerade
    ip saddr {pods} ip daddr != {pods} ip daddr != @nodes fib daddr type != {{ local, multicast, broadcast }} masquerade
  }}
  chain check {{
    {own_dns}
    meta l4proto {{ tcp, udp, sctp }} {tuple} vmap @unserved
    ip daddr @cluster-ips goto refuse
    ip daddr {services} drop
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    ct state != new accept
    ip daddr 127.0.0.0/8 ip saddr != 127.0.0.0/8 drop
    ct status dnat accept
    meta l4proto {{ tcp, udp, sctp }} th dport {first}-{last} fib daddr type local meta l4proto . th dport vmap @unserved-ports
    jump check
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    ct state invalid drop
    ct state != new accept
    ct status dnat accept
    jump check
  }}
  chain output-filter {{
    type filter hook output priority filter; policy accept;
    ct state != new accept
    ct status dnat accept
    jump check
  }}
}}
"
    );
    let mut text = text.replace("    \n", "");
    for count in 1..=READY_CHAINS {
        Pick {
            count,
            affinity: None,
        }
        .render(&mut text);
    }
    text
}

#[cfg(test)]
mod tests;
