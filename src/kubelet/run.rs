//! Starting all parts and keeping one worker per pod.

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, Service};
use rkind_client::{Client, EventRecorder, Filter, Informers};
use rkind_cri::Runtime;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, Wakers};
use crate::cgroups::Cgroups;
use crate::dns;
use crate::housekeeping;
use crate::images::Images;
use crate::node::{self, NodeReporter, RuntimeHealth};
use crate::objects::Objects;
use crate::options::Options;
use crate::pleg;
use crate::pod::PodExt;
use crate::probe::Probes;
use crate::server;
use crate::tls;
use crate::tokens::Tokens;
use crate::volumes::Volumes;
use crate::worker;

/// Why the node agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory or file of the node can't be made.
    #[error("cannot prepare {what}")]
    Prepare {
        /// Which, with its path.
        what: String,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The certificates in the options are not usable.
    #[error("cannot serve the node's HTTPS API: {0}")]
    Tls(String),
    /// The address of the HTTPS API is taken.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address and port.
        address: std::net::SocketAddr,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
}

/// Runs the node agent until `shutdown`. Containers keep running then: the next agent adopts them.
///
/// # Errors
/// Only for what can't mend itself: unusable directories, certificates, or a taken port. A missing
/// API server or runtime is waited for.
///
/// The future is boxed: its code is made once, in this crate, and not in each that awaits it.
pub fn run(
    client: Client,
    runtime: Arc<dyn Runtime>,
    options: Options,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(run_agent(client, runtime, options, shutdown))
}

async fn run_agent(
    client: Client,
    runtime: Arc<dyn Runtime>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    for dir in [options.root_dir.join("pods"), options.pod_log_dir.clone()] {
        std::fs::create_dir_all(&dir).map_err(|source| Error::Prepare {
            what: dir.display().to_string(),
            source,
        })?;
    }
    let mut cgroups = Cgroups::new(options.cgroup_root.as_deref());
    if let Err(error) = cgroups.prepare() {
        // Containers still get their own limits; what is lost is the limit of a pod as a whole.
        tracing::warn!(%error, "this machine lets nobody make cgroups: pods get none of their own");
        cgroups = Cgroups::new(None);
    }

    let (health_sender, health) = watch::channel(RuntimeHealth::default());
    let agent = build(client, runtime, options, cgroups, health.clone());
    let mut tasks = tokio::task::JoinSet::new();
    if !agent.options.serving_cert_pem.is_empty() {
        let options = &agent.options;
        let tls = tls::server(
            &options.serving_cert_pem,
            &options.serving_key_pem,
            &options.client_ca_pem,
        )
        .map_err(Error::Tls)?;
        let address = options.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| Error::Listen { address, source })?;
        tasks.spawn(server::serve(agent.clone(), listener, tls, shutdown.clone()));
    }
    tasks.spawn(node::watch_runtime(agent.runtime.clone(), health_sender));
    let reporter = NodeReporter {
        options: agent.options.clone(),
        client: agent.client.clone(),
        runtime: agent.runtime.clone(),
        recorder: agent.recorder.clone(),
        health: health.clone(),
    };
    tasks.spawn(reporter.run(shutdown.clone()));
    tasks.spawn(pleg::run(agent.clone()));
    tasks.spawn(housekeeping::rotate_logs(agent.clone()));
    let wakers = agent.wakers.clone();
    let mut changes = health;
    tasks.spawn(async move {
        // Pods that waited for the runtime or its network go on at once.
        while changes.changed().await.is_ok() {
            wakers.wake_all();
        }
    });
    follow_pods(agent, shutdown).await;
    tasks.shutdown().await;
    Ok(())
}

fn build(
    client: Client,
    runtime: Arc<dyn Runtime>,
    options: Options,
    cgroups: Cgroups,
    health: watch::Receiver<RuntimeHealth>,
) -> Arc<Agent> {
    let informers = Informers::new(client.clone());
    let pods = informers.filtered::<Pod>(Filter::fields(format!("spec.nodeName={}", options.node_name)));
    pods.index("uid", |pod: &Pod| vec![pod.uid().to_string()]);
    let services = informers.get::<Service>();
    let recorder = EventRecorder::new(client.clone(), "kubelet", &options.node_name);
    let objects = Arc::new(Objects::new(client.clone()));
    let tokens = Arc::new(Tokens::new(client.clone()));
    let wakers = Arc::new(Wakers::default());
    let waker = wakers.clone();
    let probes = Probes::new(
        runtime.clone(),
        recorder.clone(),
        services.clone(),
        Arc::new(move |uid: &str| waker.wake(uid)),
        options.node_ip.to_string(),
    );
    let resolv_conf =
        dns::parse_resolv_conf(&std::fs::read_to_string(&options.resolv_conf).unwrap_or_default());
    Arc::new(Agent {
        volumes: Volumes::new(options.root_dir.clone(), objects.clone(), tokens.clone()),
        images: Images::new(runtime.clone(), objects.clone()),
        machine: node::facts::machine(&options),
        options,
        client,
        runtime,
        pods,
        services,
        recorder,
        objects,
        tokens,
        probes,
        cgroups,
        resolv_conf,
        wakers,
        relist: Notify::new(),
        health,
    })
}

/// Gives every pod of this node a worker, and wakes it whenever its object changes.
async fn follow_pods(agent: Arc<Agent>, shutdown: CancellationToken) {
    let mut changes = agent.pods.subscribe();
    let follow = async {
        // Environment variables of services have to be complete from the first container on.
        tokio::join!(agent.pods.synced(), agent.services.synced());
        for uid in pleg::known_uids(&agent).await {
            ensure_worker(&agent, &uid, &shutdown);
        }
        while let Some(change) = changes.recv().await {
            for pod in [&change.old, &change.new].into_iter().flatten() {
                if agent.pod(pod.uid()).is_some() {
                    ensure_worker(&agent, pod.uid(), &shutdown);
                }
                agent.wakers.wake(pod.uid());
            }
        }
    };
    shutdown.run_until_cancelled(follow).await;
}

fn ensure_worker(agent: &Arc<Agent>, uid: &str, shutdown: &CancellationToken) {
    if let Some(wake) = agent.wakers.insert(uid) {
        tokio::spawn(worker::run(
            agent.clone(),
            uid.to_string(),
            wake,
            shutdown.clone(),
        ));
    }
}
