//! The user's wishes as data.
//!
//! In: a cluster file (`rkind.dev/v1alpha1`, or kind's `v1alpha4` as it is) and
//! the flags of the command line. Out: one validated [`Cluster`], and the
//! [`NodeConfig`] that a node is given.
//!
//! It never opens a socket, starts a process or knows which driver will be
//! used; it reads no file but takes text.

mod cluster;
mod error;
pub mod extra;
mod flags;
mod kind;
mod names;
mod network;
mod node;
pub mod paths;
mod read;
pub mod v1alpha1;
mod validate;

#[cfg(test)]
mod tests;

pub use cluster::{ApiAccess, Cluster, Mount, Node, PortMapping, Propagation, Protocol};
pub use error::{Error, Problem};
pub use extra::{ComponentFlags, ExtraConfig};
pub use flags::Overrides;
pub use names::{CLUSTER_NAME_MAX, check_cluster_name, check_label_name, parse_cpus, parse_memory};
pub use network::{ClusterNetwork, nth_address};
pub use node::{
    ControlPlanePki, KeyPair, NODE_API_VERSION, NODE_KIND, NodeConfig, NodePki, NodeResources, NodeRole,
    Taint,
};
pub use read::{Loaded, read};
pub use validate::DEFAULT_NAME;
