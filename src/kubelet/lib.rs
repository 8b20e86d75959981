//! The node agent: what makes pods that are bound to this machine run here, and says how they are.
//!
//! **In:** a [`Client`](rkind_client::Client), a container [`Runtime`](rkind_cri::Runtime), [`Options`].
//!
//! **Out:** this machine's Node and Lease, running containers with their volumes, pods' status
//! and events, and the HTTPS API for logs, exec, attach, port-forward and statistics.
//!
//! **Inside:** one worker per pod (`worker`) looks at what is wanted (the API) and what there is
//! (the runtime), lets pure functions decide (`plan`, `status`), and does the steps (`start`,
//! `stop`). All state is found again after a restart: it lives in the API, in the runtime's
//! labels and annotations, and on disk.
//!
//! **Must never know:** controllers, the scheduler, the API server's inside, services' rules.

mod admission;
mod agent;
mod backoff;
mod cgroups;
mod config;
mod dns;
mod env;
mod events;
mod hooks;
mod housekeeping;
mod images;
mod node;
mod objects;
mod observed;
mod options;
mod plan;
mod pleg;
mod pod;
mod probe;
mod qos;
mod quantity;
mod resize;
mod run;
mod server;
mod serving;
mod start;
mod status;
mod status_writer;
mod stop;
mod termination;
mod tls;
mod tokens;
mod volumes;
mod worker;

pub use options::Options;
pub use run::{Error, run};
