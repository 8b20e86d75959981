//! The kernel: mounts, namespaces, cgroups, network links and routes, the
//! packet filter, processes.
//!
//! In come plain requests ("a veth pair whose other end is `eth0` in that
//! namespace"), out go kernel calls, or an [`Error`] that names what was
//! attempted. Everything here is synchronous: each call is a handful of system
//! calls and returns in microseconds, so the CNI plugin can use it without a
//! runtime. The exceptions (loading a large ruleset) say so.
//!
//! This is the only room that may contain `unsafe`. It must never know what a
//! pod, a Service or a node is.

pub mod caps;
pub mod cgroup;
pub mod conntrack;
mod error;
pub mod mount;
pub mod net;
pub mod netns;
pub mod nft;
mod nl;
pub mod process;
pub mod sysctl;

pub use error::{Error, Result};
