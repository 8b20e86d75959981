//! The one way every loop reaches the API.
//!
//! **For:** controllers, scheduler, kubelet, proxy, dns and add-ons. It owns list + watch with
//! recovery, shared caches with indices, work queues, event recording and leader election, so that
//! a loop is only "what do I see, what should be, what do I write".
//!
//! **In:** a kubeconfig ([`from_kubeconfig`]) or any in-process tower service ([`from_service`]).
//!
//! **Out:** a [`Client`], [`Informers`] (one shared list + watch per kind and process),
//! [`WorkQueue`] with [`run_workers`], [`EventRecorder`], [`lease::LeaderElector`] and small pure
//! helpers on labels and owner references.
//!
//! **Must never know:** what any loop does with it, the API server's inside, the store.

mod backoff;
mod connect;
mod error;
mod events;
mod informer;
mod key;
pub mod lease;
pub mod owner;
pub mod patch;
mod queue;
mod reflect;
pub mod selector;
mod store;
mod subscription;
#[doc(hidden)]
pub mod testing;
mod unread;
pub mod wait;
mod workers;

pub use backoff::Backoff;
pub use connect::{from_kubeconfig, from_kubeconfig_text, from_service};
pub use error::{ConnectError, ErrorExt, chain};
pub use events::{EventRecorder, EventType, object_reference};
pub use informer::{Filter, Informer, Informers, MetaObject};
pub use key::ObjectKey;
pub use queue::WorkQueue;
pub use selector::Selector;
pub use subscription::{Change, Subscription};
pub use workers::{Action, run_workers};

/// The typed API client. `kube::Api<K>` over it reads and writes single objects.
pub type Client = kube::Client;

#[cfg(test)]
mod tests;
