//! The scheduler: which node a pod goes to.
//!
//! **For:** every pod without a node whose `spec.schedulerName` is ours: filter the nodes, score what is
//! left, bind the pod to the best; when none is left, say why, and make room if its priority allows.
//!
//! **Comes in:** nodes, pods and what their rules refer to, through informers. **Goes out:** bindings, the
//! condition `PodScheduled`, events, and evictions of pods of lower priority.
//!
//! **Must never know:** the API server, the store, other loops: it meets them through the API only.
//!
//! Filtering and scoring are pure functions ([`plugins`]) over a [`cluster::Cluster`] that is changed object
//! by object; [`queue::Queue`] says which pod is next and when to try again; [`run`] is the shell round
//! them. Rules, weights and messages are upstream's
//! (<https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/>).

pub mod affinity;
pub mod cluster;
pub mod counts;
pub mod cycle;
pub mod hints;
pub mod node;
pub mod plugins;
pub mod pod;
pub mod preempt;
mod quantity;
pub mod queue;
mod run;
pub mod terms;
#[cfg(test)]
mod testing;
mod write;

pub use run::{Error, Options, run};
