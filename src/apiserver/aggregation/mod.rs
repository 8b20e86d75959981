//! APIs that other servers serve: a group-version whose APIService names a Service is handed on to it.
//! Upstream: `k8s.io/kube-aggregator`.
//!
//! # Flow
//! One loop follows the APIServices and keeps the [`Routes`]: which group-versions go where. For each
//! remote one a task of its own looks whether its server answers, tells so in the APIService's
//! status, and fetches its discovery and OpenAPI documents. Requests read the routes only; without a
//! remote APIService that is one look at an empty list.
//!
//! Local group-versions (built in, or of a CustomResourceDefinition) have an APIService too, made by
//! [`local`].

mod check;
pub(crate) mod discovery;
mod local;
pub(crate) mod openapi;
pub(crate) mod proxy;

#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls_pki_types::ServerName;
use serde::Deserialize;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    cacher::Cache,
    core::Core,
    options::{self, FileText},
    outbound::{Connector, HttpClient, Locate, Trust, service},
};

pub(crate) use local::register;

/// Storage prefix of APIServices.
const RESOURCE: &str = "apiregistration.k8s.io/apiservices";

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    service: Option<Reference>,
    group: String,
    version: String,
    #[serde(rename = "insecureSkipTLSVerify")]
    insecure: bool,
    ca_bundle: Option<String>,
    group_priority_minimum: i32,
    version_priority: i32,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
struct Reference {
    namespace: String,
    name: String,
    port: Option<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ApiService {
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
}

/// One condition of an APIService, without its time.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    message: String,
}

/// A server that answers for a group-version.
pub(crate) struct Backend {
    /// Name of the APIService.
    name: String,
    spec: Spec,
    namespace: String,
    service: String,
    port: u16,
    client: Result<HttpClient, String>,
    locate: Locate,
    /// As the APIService's status says.
    available: AtomicBool,
    documents: Mutex<Arc<Documents>>,
    /// Ends the backend's own task.
    _stop: DropGuard,
}

/// What a backend serves, as it says itself.
#[derive(Clone, Debug, Default)]
struct Documents {
    /// Its version's entry of aggregated discovery.
    discovery: Option<serde_json::Value>,
    /// Where its OpenAPI v3 document lies, with the hash of its content.
    openapi_v3: Option<String>,
    /// Its part of the Swagger document.
    openapi_v2: Option<Arc<serde_json::Value>>,
}

/// One APIService, as discovery sorts them.
#[derive(Clone)]
struct Entry {
    group: String,
    version: String,
    group_priority: i32,
    version_priority: i32,
    backend: Option<Arc<Backend>>,
}

/// All APIServices at one moment.
#[derive(Default)]
pub(crate) struct Routes {
    entries: Vec<Entry>,
    remote: usize,
}

/// The aggregation layer.
pub(crate) struct Aggregator {
    routes: ArcSwap<Routes>,
    /// Certificate chain and key shown to other servers.
    identity: Option<(String, String)>,
    /// Local APIServices are there.
    registered: AtomicBool,
}

impl Aggregator {
    /// By options.
    pub(crate) fn new(options: &options::Aggregation) -> Self {
        let text = |file: &Option<FileText>| file.as_deref().map(str::to_owned);
        Aggregator {
            routes: ArcSwap::default(),
            identity: text(&options.proxy_client_cert_file).zip(text(&options.proxy_client_key_file)),
            registered: AtomicBool::new(false),
        }
    }

    /// The server that a path is for; `None` when it is this one.
    pub(crate) fn backend(&self, path: &str) -> Option<Arc<Backend>> {
        let routes = self.routes.load();
        if routes.remote == 0 {
            return None;
        }
        let mut parts = path.strip_prefix("/apis/")?.split('/');
        let (group, version) = (parts.next()?, parts.next()?);
        let entry = routes
            .entries
            .iter()
            .find(|e| e.group == group && e.version == version)?;
        entry.backend.clone()
    }

    /// Whether any group-version is served elsewhere.
    pub(crate) fn is_used(&self) -> bool {
        self.routes.load().remote > 0
    }

    /// Whether the local APIServices were made.
    pub(crate) fn is_registered(&self) -> bool {
        self.registered.load(Ordering::Relaxed)
    }

    /// Remote APIServices by name, and whether they are available.
    pub(crate) fn availability(&self) -> Vec<(String, bool)> {
        let routes = self.routes.load();
        let remote = routes.entries.iter().filter_map(|e| e.backend.as_ref());
        remote
            .map(|b| (b.name.clone(), b.available.load(Ordering::Relaxed)))
            .collect()
    }

    fn connect(
        &self,
        cache: &Arc<Cache>,
        spec: &Spec,
        reference: &Reference,
    ) -> (Result<HttpClient, String>, Locate) {
        let port = reference.port.unwrap_or(443);
        let (namespace, name) = (reference.namespace.clone(), reference.name.clone());
        let host = format!("{name}.{namespace}.svc");
        let cache = cache.clone();
        let locate: Locate = Arc::new(move || service::endpoint(&cache, &namespace, &name, port));
        let client = (|| {
            use base64::Engine as _;
            let ca = base64::engine::general_purpose::STANDARD
                .decode(spec.ca_bundle.as_deref().unwrap_or_default())
                .map_err(|e| e.to_string())?;
            let trust = Trust {
                ca,
                insecure: spec.insecure,
                identity: self.identity.clone(),
            };
            let config = trust.config().map_err(|e| e.to_string())?;
            let name = ServerName::try_from(host).map_err(|e| e.to_string())?;
            let connector = Connector {
                locate: locate.clone(),
                tls: Some((config, name)),
            };
            Ok(connector.client())
        })();
        (client, locate)
    }
}

/// Follows APIServices until shutdown.
pub(crate) async fn run(core: Arc<Core>) {
    let Some(services) = core.cache.cacher(RESOURCE) else {
        return;
    };
    let mut changed = services.changed();
    let mut definitions = core
        .cache
        .cacher("apiextensions.k8s.io/customresourcedefinitions")
        .map(|c| c.changed());
    let mut ticks = tokio::time::interval(check::PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        changed.mark_unchanged();
        local::sync(&core).await;
        route(&core);
        tokio::select! {
            () = core.shutdown.cancelled() => return,
            told = changed.changed() => if told.is_err() { return },
            () = any(&mut definitions) => {}
            _ = ticks.tick() => {}
        }
    }
}

async fn any(changes: &mut Option<tokio::sync::watch::Receiver<u64>>) {
    if let Some(changes) = changes
        && changes.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Makes the routes what the APIServices say. Backends whose APIService did not change are kept,
/// with their connections.
fn route(core: &Arc<Core>) {
    let Some(services) = core.cache.cacher(RESOURCE) else {
        return;
    };
    let old = core.aggregation.routes.load_full();
    let mut routes = Routes::default();
    for object in services.snapshot(0).objects.values() {
        let Ok(ApiService { spec, status }) = object.typed::<ApiService>() else {
            continue;
        };
        let available = status
            .conditions
            .iter()
            .any(|c| c.kind == "Available" && c.status == "True");
        let backend = spec.service.as_ref().map(|reference| {
            let same = old
                .entries
                .iter()
                .filter_map(|e| e.backend.as_ref())
                .find(|b| b.name == object.name() && b.spec == spec);
            let backend = same
                .cloned()
                .unwrap_or_else(|| start(core, object.name(), &spec, reference));
            backend.available.store(available, Ordering::Relaxed);
            routes.remote += 1;
            backend
        });
        routes.entries.push(Entry {
            group: spec.group,
            version: spec.version,
            group_priority: spec.group_priority_minimum,
            version_priority: spec.version_priority,
            backend,
        });
    }
    core.aggregation.routes.store(Arc::new(routes));
}

fn start(core: &Arc<Core>, name: &str, spec: &Spec, reference: &Reference) -> Arc<Backend> {
    let (client, locate) = core.aggregation.connect(&core.cache, spec, reference);
    let stop = CancellationToken::new();
    let backend = Arc::new(Backend {
        name: name.to_owned(),
        spec: spec.clone(),
        namespace: reference.namespace.clone(),
        service: reference.name.clone(),
        port: reference.port.unwrap_or(443),
        client,
        locate,
        available: AtomicBool::new(false),
        documents: Mutex::default(),
        _stop: stop.clone().drop_guard(),
    });
    // Only a weak handle: the task must not keep its own backend alive.
    tokio::spawn(check::run(core.clone(), Arc::downgrade(&backend), stop));
    backend
}
