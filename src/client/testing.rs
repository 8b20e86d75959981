//! An API server that is only a map, for tests of loops: create, update, patch, delete, list and watch
//! with resourceVersions, status subresources, finalizers and discovery, without validation, defaults
//! or authorization. Real enough that a loop can't tell on its ordinary path.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::Client;

mod merge;
mod path;
mod write;

use path::Target;

/// One kind that the fake serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Empty for core.
    pub group: &'static str,
    /// The only version.
    pub version: &'static str,
    /// Plural.
    pub resource: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

impl Served {
    fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.into()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

const fn served(
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    kind: &'static str,
    namespaced: bool,
) -> Served {
    Served {
        group,
        version,
        resource,
        kind,
        namespaced,
    }
}

/// What there is.
pub const SERVED: [Served; 27] = [
    served("", "v1", "pods", "Pod", true),
    served("", "v1", "nodes", "Node", false),
    served("", "v1", "namespaces", "Namespace", false),
    served("", "v1", "services", "Service", true),
    served("", "v1", "endpoints", "Endpoints", true),
    served("", "v1", "events", "Event", true),
    served("", "v1", "configmaps", "ConfigMap", true),
    served("", "v1", "secrets", "Secret", true),
    served("", "v1", "serviceaccounts", "ServiceAccount", true),
    served("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true),
    served("", "v1", "replicationcontrollers", "ReplicationController", true),
    served("", "v1", "resourcequotas", "ResourceQuota", true),
    served("apps", "v1", "deployments", "Deployment", true),
    served("apps", "v1", "replicasets", "ReplicaSet", true),
    served("apps", "v1", "statefulsets", "StatefulSet", true),
    served("apps", "v1", "daemonsets", "DaemonSet", true),
    served("apps", "v1", "controllerrevisions", "ControllerRevision", true),
    served("batch", "v1", "jobs", "Job", true),
    served("batch", "v1", "cronjobs", "CronJob", true),
    served(
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        true,
    ),
    served("coordination.k8s.io", "v1", "leases", "Lease", true),
    served("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true),
    served(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        false,
    ),
    served(
        "rbac.authorization.k8s.io",
        "v1",
        "clusterroles",
        "ClusterRole",
        false,
    ),
    served("storage.k8s.io", "v1", "storageclasses", "StorageClass", false),
    served("", "v1", "persistentvolumes", "PersistentVolume", false),
    served(
        "storage.k8s.io",
        "v1",
        "volumeattributesclasses",
        "VolumeAttributesClass",
        false,
    ),
];

#[derive(Clone)]
struct Logged {
    revision: u64,
    kind: &'static str,
    resource: &'static Served,
    object: Value,
}

type Key = (&'static str, String, String);

#[derive(Default)]
struct Inner {
    revision: u64,
    names: u64,
    objects: BTreeMap<Key, Value>,
    log: Vec<Logged>,
    requests: Vec<String>,
}

/// The fake. Clones are the same server.
#[derive(Clone)]
pub struct FakeApi {
    inner: Arc<Mutex<Inner>>,
    revision: watch::Sender<u64>,
}

impl Default for FakeApi {
    fn default() -> Self {
        Self::new()
    }
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

impl FakeApi {
    /// An empty server.
    pub fn new() -> Self {
        Self {
            inner: Arc::default(),
            revision: watch::channel(0).0,
        }
    }

    /// A client of it. Must be called within a tokio runtime.
    pub fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.handle(request).await) }
        });
        crate::from_service(service, "default")
    }

    /// Stores an object as if a user had created it; gives it as stored.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn create(&self, object: Value) -> Value {
        let target = Target::of(&object).expect("a served kind with a name");
        self.write(|inner| write::create(inner, &target, object))
            .expect("accepted")
    }

    /// Changes an object in place, status and all; does nothing when it is not there.
    pub fn edit(&self, resource: &str, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let Some(served) = SERVED.iter().find(|s| s.resource == resource) else {
            return;
        };
        let target = Target::named(served, namespace, name);
        let Some(mut object) = self.get(resource, namespace, name) else {
            return;
        };
        change(&mut object);
        object["metadata"]["resourceVersion"] = Value::Null;
        let _ = self.write(|inner| write::store(inner, &target, object));
    }

    /// Deletes an object as a client would, with `options` (a `DeleteOptions`).
    pub fn delete(&self, resource: &str, namespace: &str, name: &str, options: Value) {
        let Some(served) = SERVED.iter().find(|s| s.resource == resource) else {
            return;
        };
        let target = Target::named(served, namespace, name);
        let _ = self.write(|inner| write::delete(inner, &target, &options));
    }

    /// The stored object.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let served = SERVED.iter().find(|s| s.resource == resource)?;
        let key = (served.resource, namespace.to_owned(), name.to_owned());
        self.inner.lock().objects.get(&key).cloned()
    }

    /// All stored objects of a resource.
    pub fn list(&self, resource: &str) -> Vec<Value> {
        let inner = self.inner.lock();
        inner
            .objects
            .iter()
            .filter(|(key, _)| key.0 == resource)
            .map(|(_, o)| o.clone())
            .collect()
    }

    /// `METHOD /path` of every request so far.
    pub fn requests(&self) -> Vec<String> {
        self.inner.lock().requests.clone()
    }

    /// Waits until `reached` holds, looking after every write.
    ///
    /// # Panics
    /// After ten seconds, with `what` was awaited.
    pub async fn wait(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let mut revision = self.revision.subscribe();
        let wait = async {
            while !reached(self) {
                if revision.changed().await.is_err() {
                    return;
                }
            }
        };
        assert!(
            tokio::time::timeout(Duration::from_secs(10), wait).await.is_ok(),
            "{what} did not happen"
        );
    }

    /// Runs `step` now and after every write, until dropped: a stand-in for another component.
    pub fn drive(&self, step: impl Fn(&Self) + Send + 'static) -> tokio::task::JoinHandle<()> {
        let (api, mut revision) = (self.clone(), self.revision.subscribe());
        tokio::spawn(async move {
            loop {
                step(&api);
                if revision.changed().await.is_err() {
                    return;
                }
            }
        })
    }

    fn write<T>(&self, change: impl FnOnce(&mut Inner) -> Result<T, Value>) -> Result<T, Value> {
        let mut inner = self.inner.lock();
        let result = change(&mut inner);
        self.revision.send_replace(inner.revision);
        result
    }

    async fn handle(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let line = format!("{} {}", parts.method, parts.uri.path());
        self.inner.lock().requests.push(line);
        if let Some(document) = path::discovery(parts.uri.path()) {
            return answer(StatusCode::OK, &document);
        }
        let Some(target) = Target::parse(parts.uri.path(), parts.uri.query().unwrap_or_default()) else {
            return failure(status(
                404,
                "NotFound",
                "the server could not find the requested resource",
            ));
        };
        let content = serde_json::from_slice::<Value>(&body).unwrap_or(Value::Null);
        let metadata_only = parts
            .headers
            .get(http::header::ACCEPT)
            .and_then(|v| v.to_str().ok())
            .is_some_and(|v| v.contains("as=PartialObjectMetadata"));
        let result = match (&parts.method, target.name.is_some()) {
            (&Method::GET, false) if target.watch => return self.watch(target, metadata_only),
            (&Method::GET, false) => Ok(self.list_document(&target, metadata_only)),
            (&Method::GET, true) => write::get(&self.inner.lock(), &target).map(|o| shape(o, metadata_only)),
            (&Method::POST, _) => self.write(|inner| write::create(inner, &target, content)),
            (&Method::PUT, true) => self.write(|inner| write::update(inner, &target, content)),
            (&Method::PATCH, true) => self
                .write(|inner| write::patch(inner, &target, &content))
                .map(|object| shape(object, metadata_only)),
            (&Method::DELETE, true) => self.write(|inner| write::delete(inner, &target, &content)),
            (&Method::DELETE, false) => {
                self.write(|inner| write::delete_collection(inner, &target, &content))
            }
            _ => Err(status(
                405,
                "MethodNotAllowed",
                "the server does not allow this method",
            )),
        };
        match result {
            Ok(value) => answer(StatusCode::OK, &value),
            Err(error) => failure(error),
        }
    }

    fn list_document(&self, target: &Target, metadata_only: bool) -> Value {
        let inner = self.inner.lock();
        let items: Vec<Value> = inner
            .objects
            .iter()
            .filter(|(key, object)| key.0 == target.served.resource && target.selects(object))
            .map(|(_, object)| shape(object.clone(), metadata_only))
            .collect();
        json!({
            "kind": format!("{}List", target.served.kind),
            "apiVersion": target.served.api_version(),
            "metadata": {"resourceVersion": inner.revision.to_string()},
            "items": items,
        })
    }

    fn watch(&self, target: Target, metadata_only: bool) -> Answer {
        let state = (self.clone(), self.revision.subscribe(), target.from);
        let target = Arc::new(target);
        let stream = futures::stream::unfold(state, move |(api, mut changed, from)| {
            let target = target.clone();
            async move {
                loop {
                    let (lines, newest) = {
                        let inner = api.inner.lock();
                        (watch_lines(&inner, &target, from, metadata_only), inner.revision)
                    };
                    if !lines.is_empty() {
                        let frame = http_body::Frame::data(Bytes::from(lines));
                        return Some((Ok::<_, Infallible>(frame), (api, changed, newest)));
                    }
                    changed.changed().await.ok()?;
                }
            }
        });
        Response::new(BodyExt::boxed(StreamBody::new(Box::pin(SyncStream(Mutex::new(
            Box::pin(stream),
        ))))))
    }
}

/// A stream behind a lock, so that a response body may be shared between threads.
struct SyncStream<S: ?Sized>(Mutex<std::pin::Pin<Box<S>>>);

impl<S: futures::Stream + Send> futures::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.lock().as_mut().poll_next(cx)
    }
}

fn watch_lines(inner: &Inner, target: &Target, from: u64, metadata_only: bool) -> String {
    let mut lines = String::new();
    for logged in inner.log.iter().filter(|l| l.revision > from) {
        if logged.resource == target.served && target.selects(&logged.object) {
            let object = shape(logged.object.clone(), metadata_only);
            // The type comes first, as from every API server.
            let kind = json!(logged.kind);
            lines.push_str(&format!("{{\"type\":{kind},\"object\":{object}}}\n"));
        }
    }
    lines
}

fn shape(object: Value, metadata_only: bool) -> Value {
    if !metadata_only {
        return object;
    }
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}

fn failure(status: Value) -> Answer {
    let code = status["code"]
        .as_u64()
        .and_then(|c| u16::try_from(c).ok())
        .unwrap_or(500);
    answer(
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        &status,
    )
}

fn answer(code: StatusCode, document: &Value) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(document.to_string())).boxed());
    *response.status_mut() = code;
    response
}
