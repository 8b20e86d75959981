//! The API server.
//!
//! **For:** Kubernetes' API over whatever objects a store holds: a request's way from connection
//! over authentication, authorization and admission to the registry, and watches back.
//!
//! **Comes in:** TCP connections with optional TLS client certificates, or in-process requests with
//! an identity; a [`rkind_store::Store`]. **Goes out:** HTTP responses and watch streams;
//! connections to kubelets and pods for streams and proxies.
//!
//! **Must never know:** what controllers, the scheduler or kubelets do with what they read; files,
//! except in [`standalone`] and `reload`; where a kind's rules come from (they are data in `apimachinery`).
//!
//! # Map
//! - [`pipeline`]: the order of the stages; `request`, `authn`, `impersonation`, `authz`,
//!   `admission`, `registry` are the stages.
//! - `catalog`: which resources there are, built-in and custom; `apis`: which built-in ones.
//! - `crd`: what CustomResourceDefinitions declare.
//! - `cacher`: every resource in memory as bytes, for lists and watches.
//! - `discovery`, `health`, `metrics`: paths that are for no resource.
//! - `streams`: what ends at a kubelet or a pod.
//! - `services`: addresses and ports; `bootstrap`: what a cluster has from its first second.
//! - `webhook`: the client of everything that is asked over HTTPS.
//! - `machinery`: the one seam to `apimachinery`.

mod admission;
mod aggregation;
mod apis;
mod audit;
mod authn;
mod authz;
mod bootstrap;
mod cacher;
mod catalog;
mod config_file;
mod core;
mod crd;
mod deadline;
mod discovery;
mod encryption;
mod error;
mod expiry;
mod flowcontrol;
mod health;
mod impersonation;
mod in_process;
mod inflight;
mod machinery;
mod metrics;
pub mod options;
mod outbound;
mod pipeline;
mod registry;
mod reload;
mod request;
mod server;
mod services;
pub mod standalone;
mod streams;
mod user;
mod webhook;

#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc};

use axum::{Router, body::Body, extract::State};
use futures::future::BoxFuture;
use http::{Request, Response};
use ipnet::IpNet;
use rkind_apimachinery::status::Status;
use rkind_store::Store;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use admission::PluginError;
pub use bootstrap::Authorities;
pub use in_process::InProcess;
pub use registry::components::Running;
pub use server::{PatternError, TlsError, TlsOptions};
pub use user::UserInfo;

/// How a store that holds this server's objects is best opened.
pub fn store_options() -> rkind_store::embedded::Options {
    rkind_store::embedded::Options {
        repeats: cacher::repeats,
        ..Default::default()
    }
}

/// The Kubernetes version served.
pub const VERSION: &str = "v1.35.0";

/// Bytes of stack for each thread that answers requests. Decoding follows the nesting of a body, as
/// deep as its limits allow; a megabyte or two of stack is gone before they are reached.
pub const STACK: usize = 8 << 20;

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot load from the store")]
    Store(#[from] rkind_store::Error),
    #[error("service account keys cannot be used")]
    Keys(#[from] authn::jwt::Error),
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    #[error("cannot create what every cluster has")]
    Bootstrap(#[source] Box<Status>),
    #[error("cannot {action}")]
    Io {
        action: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot listen at {address}")]
    Listen {
        address: std::net::SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is in use by another process", .0.display())]
    InUse(std::path::PathBuf),
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error("--runtime-config")]
    Apis(#[from] apis::Error),
    #[error("--{flag}: {} cannot be used", path.display())]
    File {
        flag: &'static str,
        path: std::path::PathBuf,
        #[source]
        source: Box<Error>,
    },
    #[error("authentication cannot be set up")]
    Authentication(#[from] authn::Error),
    #[error("authorization cannot be set up")]
    Authorization(#[from] authz::Error),
    #[error("cross-origin requests cannot be allowed")]
    Origins(#[from] PatternError),
    #[error("encryption at rest cannot be set up")]
    Encryption(#[from] encryption::Error),
    #[error("audit cannot be set up")]
    Audit(#[from] audit::Error),
    #[error("certificates cannot be made")]
    Pki(#[from] rkind_pki::Error),
}

/// What a server needs.
pub struct Options {
    pub store: Arc<dyn Store>,
    /// Range of service addresses.
    pub service_subnet: IpNet,
    /// First and last node port.
    pub node_port_range: (u16, u16),
    /// Where pods and nodes reach this server.
    pub advertise_address: IpAddr,
    /// Port at `advertise_address`.
    pub advertise_port: u16,
    /// Private key of service-account tokens: PKCS#8 PEM, ECDSA P-256.
    pub sa_private_key: String,
    /// Public keys of service-account tokens, the private key's own first, PEM.
    pub sa_public_keys: Vec<String>,
    /// Issuer of service-account tokens and their default audience.
    pub issuer: String,
    /// Authority of client certificates and of kubelets' serving certificates, PEM.
    pub ca_cert: String,
    /// Authority of the front proxy's certificates, PEM; empty when there is none.
    pub front_proxy_ca_cert: String,
    /// Certificate and key shown to kubelets, PEM; without them no kubelet is reached.
    pub kubelet_client: Option<(String, String)>,
    /// What may be switched on beside; [`options::Features::default`] is upstream's defaults.
    pub features: options::Features,
}

/// A running API server, without listeners until [`ApiServer::serve`].
#[derive(Clone)]
pub struct ApiServer {
    core: Arc<core::Core>,
}

impl ApiServer {
    /// Loads the store into the watch cache, starts following it, and makes what every cluster has.
    /// When this returns the API can be used.
    ///
    /// # Errors
    /// When the store cannot be read, a key or a configuration is no good, or a bootstrap object is
    /// refused.
    ///
    /// Futures of the doors here are boxed: their code is made once, in this crate, and not in each
    /// that awaits them.
    pub fn new(options: Options) -> BoxFuture<'static, Result<Self, Error>> {
        Box::pin(Self::load(options))
    }

    async fn load(options: Options) -> Result<Self, Error> {
        let features = options.features.clone();
        Self::build(options)
            .await
            .map_err(|error| match features.blamed(&error) {
                Some((flag, file)) if !file.path().as_os_str().is_empty() => Error::File {
                    flag,
                    path: file.path().to_owned(),
                    source: Box::new(error),
                },
                _ => error,
            })
    }

    async fn build(mut options: Options) -> Result<Self, Error> {
        let mut encryption = None;
        if let Some(config) = &options.features.encryption_provider_config {
            let encrypted = encryption::Encrypted::new(options.store, config).await?;
            encryption = Some(encrypted.by());
            options.store = Arc::new(encrypted);
        }
        let followed = reload::files(&options.features);
        let apis = apis::Enabled::new(&options.features.runtime_config)?;
        let mut names: Vec<String> = apis
            .resources()
            .filter(|d| d.has_verb("list"))
            .map(|d| d.storage_prefix.to_owned())
            .collect();
        names.sort_unstable();
        names.dedup();
        let cache = cacher::Cache::load(options.store.clone(), &names).await?;
        let shutdown = CancellationToken::new();
        let stop = CancellationToken::new();
        tokio::spawn(cache.clone().run(stop.clone()));

        let own_key = options
            .sa_public_keys
            .first()
            .ok_or(authn::jwt::Error::NoKey("public"))?;
        let signer = authn::jwt::Signer::from_pem(&options.sa_private_key, own_key)?;
        let verifier = authn::jwt::Verifier::from_pem(&options.sa_public_keys)?;
        let features = options.features;
        let admission = admission::Chain::chosen(&features.admission)?;
        let front_proxy_ca = match &features
            .authentication
            .request_header
            .requestheader_client_ca_file
        {
            Some(other) => other.to_string(),
            None => options.front_proxy_ca_cert,
        };
        let audiences = match features.authentication.api_audiences.as_slice() {
            [] => vec![options.issuer.clone()],
            given => given.to_vec(),
        };
        let tokens = authn::token::Tokens::new(options.issuer, audiences, signer, verifier, cache.clone())
            .extending(features.authentication.service_account_extend_token_expiration)
            .limited(features.authentication.service_account_max_token_expiration);
        let client_ca = features.authentication.client_authorities(&options.ca_cert);
        let authn = authn::Authenticators::new(&features.authentication, &client_ca, &front_proxy_ca)?;
        let kubelet_pair = options
            .kubelet_client
            .as_ref()
            .map(|(c, k)| (c.as_str(), k.as_str()));
        let preferred = features.kubelets.kubelet_preferred_address_types;
        let kubelet = streams::kubelet::KubeletClient::new(&options.ca_cert, kubelet_pair, preferred)?;
        let settings = core::Settings {
            service_subnet: options.service_subnet,
            node_port_range: options.node_port_range,
            advertise_address: options.advertise_address,
            advertise_port: options.advertise_port,
            jwks_uri: features
                .authentication
                .service_account_jwks_uri
                .unwrap_or_else(|| {
                    let at = std::net::SocketAddr::new(options.advertise_address, options.advertise_port);
                    format!("https://{at}/openid/v1/jwks")
                }),
            request_timeout: features.serving.request_timeout,
            min_request_timeout: features.serving.min_request_timeout,
            shutdown_delay: features.serving.shutdown_delay_duration,
            drain: features.serving.drain,
        };
        let allocators = services::Allocators::new(&settings);
        if let Some(known) = cache.cacher("core/services") {
            for service in known.snapshot(0).objects.values() {
                allocators.learn(&service.to_value());
            }
        }
        let flow =
            flowcontrol::FlowControl::new(&cache, &features.flow_control, features.serving.request_timeout);
        let core = Arc::new(core::Core {
            store: options.store,
            authorizer: authz::Authorizer::new(
                authz::node::NodeAuthorizer::new(cache.clone(), bootstrap::node_rules()),
                authz::rbac::Rbac::new(&cache),
                &features.authorization,
            )?,
            webhooks: webhook::Webhooks::new(cache.clone()),
            cache,
            catalog: catalog::Catalog::new(apis),
            settings,
            tokens,
            authn,
            encryption,
            audit: audit::Auditor::new(&features.audit)?,
            aggregation: aggregation::Aggregator::new(&features.aggregation),
            admission,
            services: allocators,
            metrics: metrics::Metrics::default(),
            components: Default::default(),
            kubelet,
            flow,
            limits: inflight::Limits::new(
                features.flow_control.max_requests_inflight,
                features.flow_control.max_mutating_requests_inflight,
            ),
            front: server::Front::new(&features.serving)?,
            leaving: CancellationToken::new(),
            shutdown,
            stop,
        });
        let authorities = Authorities {
            client_ca,
            request_header_ca: front_proxy_ca,
            request_header: features.authentication.request_header,
        };
        core.catalog.refresh(&core).await;
        bootstrap::run(&core, &authorities)
            .await
            .map_err(Error::Bootstrap)?;
        core.cache.catch_up().await.map_err(Error::Bootstrap)?;
        tokio::spawn(crd::control::run(core.clone()));
        aggregation::register(&core).await.map_err(Error::Bootstrap)?;
        flowcontrol::keep::ensure(&core).await.map_err(Error::Bootstrap)?;
        tokio::spawn(aggregation::run(core.clone()));
        tokio::spawn(flowcontrol::keep::run(core.clone()));
        tokio::spawn(expiry::run(core.clone()));
        tokio::spawn(admission::policy::type_check::keep(core.clone()));
        tokio::spawn(bootstrap::keep(core.clone()));
        let identity = bootstrap::identity::Identity::new();
        identity.renew(&core).await.map_err(Error::Bootstrap)?;
        tokio::spawn(identity.keep(core.clone()));
        services::repair::mend(&core).await.map_err(Error::Bootstrap)?;
        tokio::spawn(services::repair::run(core.clone()));
        for (subject, file) in followed {
            tokio::spawn(reload::follow(core.clone(), subject, file));
        }
        Ok(ApiServer { core })
    }

    /// The API as an axum router. Requests without a verified identity are anonymous.
    pub fn router(&self) -> Router {
        async fn answer(State(core): State<Arc<core::Core>>, request: Request<Body>) -> Response<Body> {
            server::answer(core, request).await
        }
        Router::new().fallback(answer).with_state(self.core.clone())
    }

    /// A transport for `kube::Client::new` that runs every request as `user`.
    pub fn in_process(&self, user: UserInfo) -> InProcess {
        InProcess::new(self.core.clone(), user)
    }

    /// Says of a component (`controller-manager`, `scheduler`) that it runs in this process: as long as the
    /// answer lives, `componentstatuses` calls it healthy. Others are asked at their ports of this machine.
    pub fn runs(&self, component: &'static str) -> Running {
        self.core.components.add(component)
    }

    /// Serves HTTPS until `shutdown`, then lets requests end. See [`TlsOptions::config`] for `tls`.
    ///
    /// # Errors
    /// None at present; accept failures are logged and outlived.
    pub fn serve(
        &self,
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, std::io::Result<()>> {
        Box::pin(server::serve(self.core.clone(), listener, tls, shutdown))
    }

    /// Ends all watches and the following of the store: nothing can be asked any more.
    /// [`ApiServer::serve`] ends the watches by itself, requests in-process are still answered.
    pub fn close(&self) {
        self.core.shutdown.cancel();
        self.core.stop.cancel();
    }
}
