//! A server alone on a store in a temporary folder, asked in-process.

mod apply;
mod auth;
mod clients;
mod configured;
mod crds;
mod crud;
mod evictions;
mod forms;
pub(crate) mod hooks;
mod hostile;
mod lists;
mod nodes;
mod order;
mod plugins;
mod pod_security;
mod policies;
mod protobuf;
mod quota;
mod reviews;
mod semantics;
mod watches;
mod webhooks;

use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use rkind_store::embedded::EmbeddedStore;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{ApiServer, InProcess, Options, UserInfo};

/// A server and the folder that it lives in.
pub(crate) struct Fixture {
    pub(crate) server: ApiServer,
    pub(crate) store: Arc<EmbeddedStore>,
    _dir: tempfile::TempDir,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.server.close();
    }
}

pub(crate) async fn fixture() -> Fixture {
    fixture_of(|_| {}).await
}

/// With options of the test's own.
pub(crate) async fn fixture_of(edit: impl FnOnce(&mut Options)) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(
        EmbeddedStore::open(dir.path(), crate::store_options())
            .await
            .unwrap(),
    );
    Fixture {
        server: server_with(store.clone(), edit).await,
        store,
        _dir: dir,
    }
}

async fn server_with(store: Arc<EmbeddedStore>, edit: impl FnOnce(&mut Options)) -> ApiServer {
    let pki = rkind_pki::ClusterPki::generate().unwrap().to_pem();
    let mut options = Options {
        store,
        service_subnet: "10.96.0.0/16".parse().unwrap(),
        node_port_range: (30000, 32767),
        advertise_address: [192, 0, 2, 1].into(),
        advertise_port: 6443,
        sa_private_key: pki.sa_private_key,
        sa_public_keys: vec![pki.sa_public_key],
        issuer: "https://kubernetes.default.svc.cluster.local".into(),
        ca_cert: pki.ca_cert,
        front_proxy_ca_cert: pki.front_proxy_ca_cert,
        kubelet_client: None,
        features: Default::default(),
    };
    edit(&mut options);
    ApiServer::new(options).await.unwrap()
}

/// Asks until `wanted` gives something.
///
/// # Panics
/// After 20 s.
pub(crate) async fn eventually<T>(what: &str, mut wanted: impl AsyncFnMut() -> Option<T>) -> T {
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        if let Some(found) = wanted().await {
            return found;
        }
        assert!(std::time::Instant::now() < limit, "{what} did not come");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

impl Fixture {
    pub(crate) fn admin(&self) -> InProcess {
        self.server
            .in_process(UserInfo::new("kubernetes-admin", &["system:masters"]))
    }

    /// The same store under a new server.
    pub(crate) async fn restart(&mut self) {
        self.server.close();
        self.server = server_with(self.store.clone(), |_| {}).await;
    }

    /// Sends a request as the administrator; gives code and body.
    pub(crate) async fn send(&self, method: &str, uri: &str, body: Value) -> (StatusCode, Value) {
        self.send_as(self.admin(), method, uri, body, &[]).await
    }

    pub(crate) async fn send_as(
        &self,
        who: InProcess,
        method: &str,
        uri: &str,
        body: Value,
        headers: &[(&str, &str)],
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(uri);
        let mut typed = false;
        for (name, value) in headers {
            typed |= *name == "content-type";
            request = request.header(*name, *value);
        }
        if !typed {
            request = request.header("content-type", "application/json");
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        let response = who.oneshot(request.body(body).unwrap()).await.unwrap();
        let code = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes).into_owned()));
        (code, value)
    }

    pub(crate) async fn patch(&self, uri: &str, kind: &str, patch: Value) -> (StatusCode, Value) {
        let headers = [("content-type", kind)];
        self.send_as(self.admin(), "PATCH", uri, patch, &headers).await
    }

    /// A merge patch.
    pub(crate) async fn merge(&self, uri: &str, patch: Value) -> (StatusCode, Value) {
        self.patch(uri, "application/merge-patch+json", patch).await
    }

    pub(crate) async fn get(&self, uri: &str) -> Value {
        self.send("GET", uri, Value::Null).await.1
    }
}

pub(crate) fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

pub(crate) fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "img:1"}]}})
}
