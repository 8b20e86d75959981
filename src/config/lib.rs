//! The user's wishes as data.
//!
//! In: a cluster file (`rkind.dev/v1alpha1`, or kind's `v1alpha4` as it is) and
//! the flags of the command line. Out: one validated [`Cluster`], and the
//! [`NodeConfig`] that a node is given.
//!
//! It never opens a socket, starts a process or knows which driver will be
//! used; it reads no file but takes text.

mod error;
mod network;
mod node;
pub mod paths;

pub use error::{Error, Problem};
pub use network::{ClusterNetwork, nth_address};
pub use node::{
    ControlPlanePki, KeyPair, NODE_API_VERSION, NODE_KIND, NodeConfig, NodePki, NodeResources, NodeRole, Taint,
};
