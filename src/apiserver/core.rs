//! What every stage of a request shares.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use rkind_apimachinery::meta::GroupResource;
use rkind_apimachinery::resources::ResourceDef;
use rkind_apimachinery::status::Status;
use rkind_store::Store;
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Chain,
    aggregation::Aggregator,
    audit::Auditor,
    authn::{Authenticators, token::Tokens},
    authz::Authorizer,
    cacher::{Cache, Cacher, ROOT},
    catalog::Catalog,
    encryption::Encryption,
    error::Result,
    flowcontrol::FlowControl,
    inflight::Limits,
    metrics::Metrics,
    registry::components::Local,
    server::Front,
    services::Allocators,
    streams::kubelet::KubeletClient,
    webhook::Webhooks,
};

/// Fixed facts of this server.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Range of service addresses; its first address is the `kubernetes` service's.
    pub service_subnet: IpNet,
    /// First and last node port.
    pub node_port_range: (u16, u16),
    /// Where others reach this server; the endpoint of the `kubernetes` service.
    pub advertise_address: IpAddr,
    /// Port at `advertise_address`.
    pub advertise_port: u16,
    /// Where discovery says that the keys of service accounts' tokens are.
    pub jwks_uri: String,
    /// Deadline of what is neither a watch nor a stream.
    pub request_timeout: Duration,
    /// Seconds that a watch lives at least, and at most twice of that, unless its client says.
    pub min_request_timeout: u32,
    /// How long everything is still accepted when the server is to end.
    pub shutdown_delay: Duration,
    /// How long what is under way may then take.
    pub drain: Duration,
}

/// The server's shared state.
pub(crate) struct Core {
    pub store: Arc<dyn Store>,
    pub cache: Arc<Cache>,
    /// Which resources are served.
    pub catalog: Catalog,
    pub settings: Settings,
    pub authorizer: Authorizer,
    pub tokens: Tokens,
    pub authn: Authenticators,
    /// Without a configuration values are stored as they are.
    pub encryption: Option<Arc<Encryption>>,
    /// Without a policy nothing is audited.
    pub audit: Option<Arc<Auditor>>,
    pub aggregation: Aggregator,
    pub admission: Chain,
    pub services: Allocators,
    pub metrics: Metrics,
    /// What else runs in this process.
    pub components: Local,
    pub kubelet: KubeletClient,
    pub webhooks: Webhooks,
    /// Who is served when not everybody can be; without it, `limits` alone.
    pub flow: Option<FlowControl>,
    pub limits: Limits,
    /// Headers of every response.
    pub front: Front,
    /// The server is to end: `/readyz` says so, everything else goes on.
    pub leaving: CancellationToken,
    /// Ends watches, streams and the server's own loops; requests are still answered.
    pub shutdown: CancellationToken,
    /// Ends the following of the store.
    pub stop: CancellationToken,
}

impl Core {
    /// The cache of a resource's objects, to list or watch them.
    ///
    /// # Errors
    /// 404 when nothing is stored for the resource, 500 when one of its objects cannot be read.
    pub(crate) fn cacher(&self, def: &ResourceDef) -> Result<Arc<Cacher>> {
        let cacher = self
            .cache
            .cacher(def.storage_prefix)
            .ok_or_else(Status::unknown_resource)?;
        match cacher.unreadable() {
            None => Ok(cacher),
            Some(key) => {
                let why = format!("unable to transform key {key:?}: stored object cannot be read");
                Err(Status::internal_error(&why).into())
            }
        }
    }

    /// A cached object by storage prefix and `namespace/name` or `name`.
    pub(crate) fn cached(&self, resource: &str, key: &str) -> Option<Arc<crate::cacher::Obj>> {
        self.cache.cacher(resource)?.get(key)
    }
}

/// The group and plural name that messages use.
pub(crate) fn group_resource(def: &ResourceDef) -> GroupResource {
    GroupResource::new(def.group, def.resource)
}

/// `namespace/name` or `name`.
pub(crate) fn object_key(def: &ResourceDef, namespace: &str, name: &str) -> String {
    if def.namespaced {
        format!("{namespace}/{name}")
    } else {
        name.to_owned()
    }
}

/// Key of an object in the store.
pub(crate) fn store_key(def: &ResourceDef, namespace: &str, name: &str) -> String {
    format!(
        "{ROOT}{}/{}",
        def.storage_prefix,
        object_key(def, namespace, name)
    )
}
