//! The seam between a cluster and what its nodes are made of.
//!
//! In: wishes as values ([`NodeSpec`], [`NetworkSpec`]). Out: nodes that run
//! one command, can be talked to, and can be found again by their labels alone.
//!
//! It knows nothing of Kubernetes: a node is a machine with an address, a
//! writable `/var`, files and a process. What a backend cannot do is a value in
//! [`Capabilities`], never a method that fails.
//!
//! [`contract::run`] is the meaning of both traits as a test; every backend
//! passes it, [`fake::FakeDriver`] too.

pub mod contract;
mod error;
mod exec;
pub mod fake;
mod files;
mod types;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use error::{Error, Source};
pub use exec::{Exec, ExecControl, ExecSpec, Finished, Output, run, run_checked, run_with_input};
pub use files::{Content, File};
pub use types::{
    Capabilities, HostFacts, LocalImage, LogOptions, Missing, Network, NetworkSpec, NodeFacts, NodeSpec,
    NodeState, PublishedPort,
};

/// Bytes as they come.
pub type ByteStream = BoxStream<'static, Result<Bytes, Error>>;

/// Labels on everything that a driver makes; the whole state of a cluster can be
/// found from them.
pub mod labels {
    /// Name of the cluster.
    pub const CLUSTER: &str = "dev.rkind.cluster";
    /// Name of the node.
    pub const NODE: &str = "dev.rkind.node";
    /// `control-plane` or `worker`.
    pub const ROLE: &str = "dev.rkind.role";
    /// The node's address.
    pub const ADDRESS: &str = "dev.rkind.address";
    /// Digest of the recipe, on a node image.
    pub const RECIPE: &str = "dev.rkind.recipe";
}

/// What makes nodes. One value stands for one engine or host.
///
/// # Guarantees
/// - Everything made carries [`labels::CLUSTER`]; [`Driver::delete_cluster`]
///   leaves nothing of it.
/// - Making what exists is an error ([`Error::Exists`]); deleting what does not
///   is none.
/// - Dropping a future stops waiting, not the backend: callers clean up.
#[async_trait]
pub trait Driver: Send + Sync {
    /// `docker`, `podman`, `kvm`, ...
    fn name(&self) -> &'static str;

    fn capabilities(&self) -> Capabilities;

    /// What the host has, and what it lacks with a way round. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Unreachable`] with a hint.
    async fn probe(&self) -> Result<HostFacts, Error>;

    /// Makes the cluster's network. Without a wish for a subnet it chooses one
    /// that clashes with no route of the host and no other network, also when
    /// another process is choosing at the same moment.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::SubnetInUse`], [`Error::NoSubnet`].
    async fn create_network(&self, spec: &NetworkSpec) -> Result<Network, Error>;

    /// The cluster's network, if it is there.
    async fn network(&self, cluster: &str) -> Result<Option<Network>, Error>;

    /// Makes a node that does not run yet.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NoImage`].
    async fn create_node(&self, spec: &NodeSpec) -> Result<Arc<dyn Node>, Error>;

    /// Nodes of one cluster, or of all, ordered by cluster, role and name.
    async fn list_nodes(&self, cluster: Option<&str>) -> Result<Vec<NodeFacts>, Error>;

    /// The handle of a node that [`Driver::list_nodes`] gave.
    fn node(&self, facts: &NodeFacts) -> Arc<dyn Node>;

    /// Deletes all nodes, volumes and networks of the cluster, whatever their
    /// state. Returns how many things went.
    async fn delete_cluster(&self, cluster: &str) -> Result<usize, Error>;

    /// An image in the engine's own store.
    async fn local_image(&self, reference: &str) -> Result<Option<LocalImage>, Error>;

    /// Images of the engine's own store as a docker archive (tar).
    ///
    /// # Errors
    /// [`Error::NoImage`]
    async fn export_images(&self, references: &[String]) -> Result<ByteStream, Error>;

    /// An image like `image` that has `files` already, so that a node made of it
    /// need not be given them; for files that many nodes have. A backend that
    /// gains nothing by it gives `image` itself.
    ///
    /// # Errors
    /// [`Error::NoImage`]
    async fn bake(&self, image: &str, files: &[File]) -> Result<String, Error> {
        let _ = files;
        Ok(image.to_owned())
    }

    /// Takes a name off an image of the engine's own store, and the image with its
    /// last name; an unknown name is no error.
    async fn delete_image(&self, reference: &str) -> Result<(), Error>;

    /// Puts images into the engine's own store; `tar` is a docker archive.
    async fn import_images(&self, tar: ByteStream) -> Result<(), Error>;
}

/// One machine.
#[async_trait]
pub trait Node: Send + Sync {
    fn name(&self) -> &str;

    /// Its address in the cluster's network.
    fn address(&self) -> IpAddr;

    /// Puts files into the node, running or not; directories are made. An
    /// existing file is replaced; a copy of a file of this machine that is there
    /// already, by size and time, may be left as it is.
    async fn deliver(&self, files: Vec<File>) -> Result<(), Error>;

    /// Starts it; a running node is left alone.
    ///
    /// # Errors
    /// [`Error::PortInUse`] names the host's port.
    async fn start(&self) -> Result<(), Error>;

    /// Asks its process to end and waits for that, `grace` at most; a stopped
    /// node is left alone.
    async fn stop(&self, grace: std::time::Duration) -> Result<(), Error>;

    /// Ends it at once, as a power cut would.
    async fn kill(&self) -> Result<(), Error>;

    /// Resolves with the exit code once the node does not run.
    async fn stopped(&self) -> Result<i64, Error>;

    /// Deletes it with its data, whatever its state.
    async fn delete(&self) -> Result<(), Error>;

    /// Runs a command in it.
    ///
    /// # Errors
    /// [`Error::NotRunning`]
    async fn exec(&self, spec: ExecSpec) -> Result<Exec, Error>;

    /// What its process printed, standard output and error as they came.
    async fn logs(&self, options: LogOptions) -> Result<ByteStream, Error>;

    /// State, ports and labels as they are now.
    ///
    /// # Errors
    /// [`Error::NoNode`]
    async fn facts(&self) -> Result<NodeFacts, Error>;
}
