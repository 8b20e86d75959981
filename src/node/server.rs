//! The control plane in one process: store, API server, controllers,
//! scheduler. The loops call the API server without a socket, each under the
//! identity it would have as a process of its own.

use crate::{Error, shutdown};
use rkind_apiserver::options::Features;
use rkind_apiserver::{ApiServer, Running, TlsOptions, UserInfo};
use rkind_client::Client;
use rkind_config::{ComponentFlags, ControlPlanePki, NodeConfig, extra, paths};
use rkind_store::embedded::EmbeddedStore;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const NAMESPACE: &str = "default";

pub(crate) fn run(node: NodeConfig) -> Result<(), Error> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(rkind_apiserver::STACK)
        .enable_all()
        .build()
        .map_err(Error::room("could not start the server's runtime"))?
        .block_on(serve(node))
}

async fn serve(node: NodeConfig) -> Result<(), Error> {
    let started = Instant::now();
    let pki = node
        .pki
        .control_plane
        .clone()
        .ok_or(Error::Role("this node's configuration has no control-plane keys"))?;
    let shutdown = shutdown::on_signal().map_err(Error::room("could not listen for signals"))?;
    // The port is taken before the store is opened: a client that comes early waits in the
    // listener's queue instead of being refused.
    let listener = listen(&node).await?;
    let store = EmbeddedStore::open(Path::new(paths::STORE_DIR), rkind_apiserver::store_options())
        .await
        .map_err(Error::room("could not open the store"))?;
    let features = features(&node)?;
    let (certificate, key) = (&pki.apiserver.cert, &pki.apiserver.key);
    let tls = TlsOptions::given(&features, certificate, key, &node.pki.ca_cert)
        .config()
        .map_err(Error::room("the API server's certificates can't be used"))?;
    let flags = crate::component_flags(&node)?;
    let api = ApiServer::new(api_options(&node, pki, features, Arc::new(store)))
        .await
        .map_err(Error::room("the API server could not start"))?;
    tracing::info!(address = %listener.1, after = ?started.elapsed(), "API server ready");
    mark_ready()?;

    // Loops end before the API they talk through, so its token is its own.
    let api_shutdown = CancellationToken::new();
    let served = tokio::spawn({
        let (api, token) = (api.clone(), api_shutdown.clone());
        async move { api.serve(listener.0, tls, token).await }
    });
    let mut loops = JoinSet::new();
    let controllers = run_controllers(
        client(&api, "system:kube-controller-manager"),
        node.clone(),
        flags,
        shutdown.clone(),
    );
    let scheduler = run_scheduler(client(&api, "system:kube-scheduler"), shutdown.clone());
    loops.spawn(while_running(api.runs("controller-manager"), controllers));
    loops.spawn(while_running(api.runs("scheduler"), scheduler));
    loops.spawn(crate::role::keep(
        client(&api, "system:kube-controller-manager"),
        node.name.clone(),
        shutdown.clone(),
    ));
    let outcome = crate::join::all(loops, &shutdown).await;
    api_shutdown.cancel();
    served
        .await
        .map_err(Error::room("the API server panicked"))?
        .map_err(Error::room("the API server ended"))?;
    outcome
}

/// All addresses of the node: pods reach it through the `kubernetes` Service,
/// the host through a published port, nodes directly.
async fn listen(node: &NodeConfig) -> Result<(TcpListener, SocketAddr), Error> {
    let any = match node.node_ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let address = SocketAddr::new(any, paths::APISERVER_PORT);
    let listener = TcpListener::bind(address)
        .await
        .map_err(Error::room("could not listen for API requests"))?;
    Ok((listener, address))
}

/// Flags as kubeadm sets them, then the user's. Files are this node's.
fn features(node: &NodeConfig) -> Result<Features, Error> {
    let own = node.extra_config.get(extra::APISERVER).into_iter().flatten();
    let own = own.map(|(flag, value)| (flag.as_str(), value.as_str()));
    let kubeadm = [
        ("enable-bootstrap-token-auth", "true"),
        (
            "kubelet-preferred-address-types",
            "InternalIP,ExternalIP,Hostname",
        ),
    ];
    Features::given(kubeadm.into_iter().chain(own))
        .map_err(Error::room("the API server's flags can't be used"))
}

fn api_options(
    node: &NodeConfig,
    pki: ControlPlanePki,
    mut features: Features,
    store: Arc<EmbeddedStore>,
) -> rkind_apiserver::Options {
    let shown = pki.front_proxy_client;
    features.aggregation.or_client(shown.cert, shown.key);
    rkind_apiserver::Options {
        store,
        service_subnet: node.network.service_subnet,
        node_port_range: node.network.node_port_range,
        advertise_address: node.node_ip,
        advertise_port: paths::APISERVER_PORT,
        sa_private_key: pki.sa_private_key,
        sa_public_keys: vec![pki.sa_public_key],
        issuer: format!("https://kubernetes.default.svc.{}", node.network.dns_domain),
        ca_cert: node.pki.ca_cert.clone(),
        front_proxy_ca_cert: pki.front_proxy_ca_cert,
        kubelet_client: Some((
            pki.apiserver_kubelet_client.cert,
            pki.apiserver_kubelet_client.key,
        )),
        features,
    }
}

fn client(api: &ApiServer, user: &str) -> Client {
    rkind_client::from_service(api.in_process(UserInfo::new(user, &[])), NAMESPACE)
}

/// Runs a component that the API shows as healthy meanwhile.
async fn while_running<T>(running: Running, component: impl Future<Output = T>) -> T {
    let ended = component.await;
    drop(running);
    ended
}

async fn run_controllers(
    client: Client,
    node: NodeConfig,
    flags: ComponentFlags,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let defaults = rkind_controllers::Options::default();
    let options = rkind_controllers::Options {
        cluster_cidr: Some(node.network.pod_subnet),
        root_ca_pem: node.pki.ca_cert,
        node_monitor_grace: flags
            .node_monitor_grace_period
            .unwrap_or(defaults.node_monitor_grace),
        terminated_pod_threshold: flags
            .terminated_pod_gc_threshold
            .unwrap_or(defaults.terminated_pod_threshold),
        ..defaults
    };
    rkind_controllers::run(client, options, shutdown)
        .await
        .map_err(Error::room("the controllers ended"))
}

async fn run_scheduler(client: Client, shutdown: CancellationToken) -> Result<(), Error> {
    rkind_scheduler::run(client, rkind_scheduler::Options::default(), shutdown)
        .await
        .map_err(Error::room("the scheduler ended"))
}

fn mark_ready() -> Result<(), Error> {
    let mark = Path::new(paths::APISERVER_READY);
    std::fs::write(mark, b"").map_err(Error::file("could not write", mark))
}
