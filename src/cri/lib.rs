//! The container runtime seam: what runs containers on this machine, as one trait.
//!
//! In: requests of the node agent in CRI v1's own types ([`v1`]). Out: the state of
//! sandboxes, containers and images as the runtime keeps it. [`grpc::Client`] speaks to a
//! real runtime over a unix socket, [`fake::Fake`] is an in-memory runtime with the same
//! observable behaviour; [`contract`] is what both must pass.
//!
//! It must never know Kubernetes' objects, an API server, or why a container should run.

pub mod contract;
pub mod error;
pub mod fake;
pub mod grpc;
pub mod image_ref;
pub mod runtime;
pub mod testing;

pub use error::{Error, ErrorKind, Result};
pub use runtime::{EventStream, Runtime};

/// CRI v1 messages (<https://kubernetes.io/docs/concepts/architecture/cri/>). Times are
/// nanoseconds since the Unix epoch, sizes bytes, timeouts seconds.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("runtime.v1");
}

/// containerd's own events, where CRI has none.
#[allow(missing_docs, clippy::all, unreachable_pub)]
mod containerd {
    tonic::include_proto!("containerd.services.events.v1");
}
