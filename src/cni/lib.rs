//! The pod network of a node: every pod an address of its own, reachable from
//! every pod and node without translation.
//!
//! In comes a CNI call (environment and JSON on standard input: [`plugin`]) or,
//! in the node's agent, what the cluster looks like ([`agent`]: this node's pod
//! range, the other nodes' ranges and addresses). Out go veth pairs, routes,
//! address leases and host port rules.
//!
//! A pod hangs on its node by a veth pair and one route; there is no bridge.
//! All that a pod sends is routed by its node, also to a neighbour, so address
//! translation sees both directions of every connection whether or not the
//! kernel has `br_netfilter`, and a pod that reaches itself through a Service
//! needs no hairpin mode.
//!
//! The plugin runs for every pod: it starts no runtime and answers in
//! milliseconds. This room must never know what a pod or a Service is, nor talk
//! to the API.

pub mod agent;
mod hostports;
mod leases;
pub mod plugin;
mod pod;

pub use leases::{Lease, Leases, PortMapping};
