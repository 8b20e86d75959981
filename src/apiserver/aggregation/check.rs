//! Whether a backend answers. Upstream: `pkg/controllers/status/remote/remote_available_controller.go`.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use axum::body::Body;
use http::Request;
use http_body_util::{BodyExt as _, Limited};
use rkind_apimachinery::{meta, resources};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Backend, Condition, Documents, RESOURCE, discovery, openapi, proxy};
use crate::{
    core::Core,
    outbound::{explain, service},
    registry::{condition, create::Write},
    user::{MASTERS, UserInfo},
};

/// How often a backend is asked.
pub(super) const PERIOD: Duration = Duration::from_secs(10);
/// How soon one is asked again that did not answer.
const RETRY: Duration = Duration::from_millis(500);
/// Deadline of one question.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest document that is read, in bytes.
const MAX_DOCUMENT: usize = 16 * 1024 * 1024;

/// Looks after one backend until its APIService is gone or changed.
pub(super) async fn run(core: Arc<Core>, backend: Weak<Backend>, stop: CancellationToken) {
    let watched = [
        "core/services",
        "discovery.k8s.io/endpointslices",
        "core/endpoints",
    ];
    let mut changes: Vec<_> = watched
        .iter()
        .filter_map(|r| Some(core.cache.cacher(r)?.changed()))
        .collect();
    let mut wait = RETRY;
    loop {
        let Some(held) = backend.upgrade() else {
            return;
        };
        changes.iter_mut().for_each(|c| c.mark_unchanged());
        let condition = judge(&core, &held).await;
        let passed = condition.status == "True";
        held.available.store(passed, Ordering::Relaxed);
        report(&core, &held.name, &condition).await;
        if passed {
            let documents = fetch(&held).await;
            *held.documents.lock() = Arc::new(documents);
        }
        wait = if passed { PERIOD } else { (wait * 2).min(PERIOD) };
        let mark = stamp(&core, &held);
        drop(held);
        // A backend tells nobody when it fails or recovers: it is asked from time to time, and at
        // once when its Service or endpoints change.
        let asleep = tokio::time::sleep(if passed { PERIOD } else { wait / 2 });
        tokio::pin!(asleep);
        loop {
            let told = futures::future::select_all(changes.iter_mut().map(|c| Box::pin(c.changed())));
            tokio::select! {
                () = stop.cancelled() => return,
                () = core.shutdown.cancelled() => return,
                () = &mut asleep => break,
                _ = told => {}
            }
            changes.iter_mut().for_each(|c| c.mark_unchanged());
            let moved = backend.upgrade().is_none_or(|held| stamp(&core, &held) != mark);
            if moved {
                wait = RETRY;
                break;
            }
        }
    }
}

/// Changes when the Service or where it leads to does.
fn stamp(core: &Core, backend: &Backend) -> (u64, Vec<(String, u16)>) {
    let key = format!("{}/{}", backend.namespace, backend.service);
    let revision = core.cached("core/services", &key).map_or(0, |s| s.revision);
    let mut targets = service::all(&core.cache, &backend.namespace, &backend.service, backend.port);
    targets.sort_unstable();
    (revision, targets)
}

fn condition(status: &str, reason: &str, message: String) -> Condition {
    Condition {
        kind: "Available".into(),
        status: status.into(),
        reason: reason.into(),
        message,
    }
}

async fn judge(core: &Core, backend: &Backend) -> Condition {
    let (namespace, name) = (&backend.namespace, &backend.service);
    let no = |reason: &str, message: String| condition("False", reason, message);
    let Some(object) = core.cached("core/services", &format!("{namespace}/{name}")) else {
        return no(
            "ServiceNotFound",
            format!("service/{name} in \"{namespace}\" is not present"),
        );
    };
    let spec = object.to_value()["spec"].take();
    if spec["type"] == "ClusterIP" {
        let ports = spec["ports"].as_array().cloned().unwrap_or_default();
        let Some(port) = ports
            .iter()
            .find(|p| p["port"].as_u64() == Some(u64::from(backend.port)))
        else {
            return no(
                "ServicePortError",
                format!(
                    "service/{name} in \"{namespace}\" is not listening on port {}",
                    backend.port
                ),
            );
        };
        if !service::has_slices(&core.cache, namespace, name) {
            return no(
                "EndpointsNotFound",
                format!("cannot find endpointslices for service/{name} in \"{namespace}\""),
            );
        }
        if service::all(&core.cache, namespace, name, backend.port).is_empty() {
            let port = port["name"].as_str().unwrap_or_default();
            return no(
                "MissingEndpoints",
                format!(
                    "endpoints for service/{name} in \"{namespace}\" have no addresses with port name \"{port}\""
                ),
            );
        }
    }
    match get(backend, &version_path(backend), "*/*").await {
        Ok(_) => condition("True", "Passed", "all checks passed".into()),
        Err(why) => {
            let at =
                (backend.locate)().map_or_else(|_| backend.host(), |(host, port)| format!("{host}:{port}"));
            no(
                "FailedDiscoveryCheck",
                format!(
                    "failing or missing response from https://{at}{}: {why}",
                    version_path(backend)
                ),
            )
        }
    }
}

pub(super) fn version_path(backend: &Backend) -> String {
    format!("/apis/{}/{}", backend.spec.group, backend.spec.version)
}

/// Reads a path of a backend as the aggregator itself. Gives content type and body.
///
/// # Errors
/// Why there is no 2xx answer.
pub(super) async fn get(
    backend: &Backend,
    path: &str,
    accept: &str,
) -> Result<(String, bytes::Bytes), String> {
    let client = backend.client.as_ref().map_err(Clone::clone)?;
    let mut request = Request::get(format!("https://{}{path}", backend.host()))
        .header(http::header::ACCEPT, accept)
        .body(Body::empty())
        .map_err(|e| e.to_string())?;
    let user = UserInfo {
        name: "system:kube-aggregator".into(),
        groups: vec![MASTERS.into()],
        ..Default::default()
    };
    proxy::identify(request.headers_mut(), &user);
    let exchange = async {
        let response = client
            .request(request)
            .await
            .map_err(|e| format!("Get \"https://{}{path}\": {}", backend.host(), explain(&e)))?;
        let code = response.status();
        if !code.is_success() {
            return Err(format!(
                "bad status from https://{}{path}: {}",
                backend.host(),
                code.as_u16()
            ));
        }
        let kind = response
            .headers()
            .get(http::header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let body = Limited::new(response.into_body(), MAX_DOCUMENT)
            .collect()
            .await
            .map_err(|e| e.to_string())?;
        Ok((kind, body.to_bytes()))
    };
    tokio::time::timeout(TIMEOUT, exchange)
        .await
        .map_err(|_| "context deadline exceeded".to_owned())?
}

async fn fetch(backend: &Backend) -> Documents {
    let old = backend.documents.lock().clone();
    let (discovery, v3, v2) = tokio::join!(
        discovery::fetch(backend),
        openapi::fetch_v3(backend),
        openapi::fetch_v2(backend)
    );
    Documents {
        // What does not answer now is shown as it was.
        discovery: discovery.or_else(|| {
            let mut known = old.discovery.clone()?;
            known["freshness"] = json!("Stale");
            Some(known)
        }),
        openapi_v3: v3,
        openapi_v2: v2.map(Arc::new).or_else(|| old.openapi_v2.clone()),
    }
}

/// Writes a condition into an APIService's status unless it is there.
pub(super) async fn report(core: &Arc<Core>, name: &str, condition: &Condition) {
    let Some(object) = core.cached(RESOURCE, name) else {
        return;
    };
    let known = object.typed::<super::ApiService>().unwrap_or_default();
    if known.status.conditions.contains(condition) {
        return;
    }
    let Some(def) = resources::find("apiregistration.k8s.io", "v1", "apiservices") else {
        return;
    };
    let mut write = Write::internal(core, def, "");
    write.sub = "status";
    write.retry = true;
    let done = write
        .change(name, |old| {
            let mut new = old.clone();
            let told = json!({"type": condition.kind, "status": condition.status, "reason": condition.reason,
                "message": condition.message});
            condition::set(&mut new["status"], told, &meta::now());
            Ok(new)
        })
        .await;
    if let Err(error) = done {
        tracing::debug!(name, message = %error.message, "cannot tell whether an API is available");
    }
}

/// The condition of every APIService without a Service.
pub(super) fn local() -> Condition {
    condition("True", "Local", "Local APIServices are always available".into())
}
