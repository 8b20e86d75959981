//! The node agent's HTTPS API: logs, exec, attach, port-forward, pods, statistics.
//!
//! Only clients with a certificate of the cluster's authority that belongs to the API server or
//! an administrator are served. <https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/>

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use rkind_client::ObjectKey;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::pod::PodExt;

mod container_logs;
pub(crate) mod logs;
mod stats;
mod streams;
mod upstream;

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;
type Query = Vec<(String, String)>;

/// An answer that is an error, in plain text as upstream's node agent gives it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: StatusCode,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: StatusCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message.to_string())
    }
}

pub(crate) fn full(code: StatusCode, kind: &str, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into())
        .map_err(|never: Infallible| match never {})
        .boxed();
    let mut response = Response::new(body);
    *response.status_mut() = code;
    if let Ok(value) = kind.parse() {
        response.headers_mut().insert(http::header::CONTENT_TYPE, value);
    }
    response
}

/// Who may use this API, by the subject of the client certificate.
pub(crate) fn is_allowed(certificate: &[u8]) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return false;
    };
    let subject = parsed.subject();
    let text =
        |value: &x509_parser::x509::AttributeTypeAndValue<'_>| value.as_str().unwrap_or_default().to_string();
    let name = subject.iter_common_name().next().map(text).unwrap_or_default();
    let mut groups = subject.iter_organization().map(text);
    name == "kube-apiserver-kubelet-client" || groups.any(|group| group == "system:masters")
}

/// Serves until `shutdown`.
pub(crate) async fn serve(
    agent: Arc<Agent>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let stats = Arc::new(stats::Stats::new(agent.options.cgroup_root.clone()));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let (agent, stats, acceptor) = (agent.clone(), stats.clone(), acceptor.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let allowed = stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|certificate| is_allowed(certificate));
            let service = service_fn(move |request| {
                let (agent, stats) = (agent.clone(), stats.clone());
                async move { Ok::<_, Infallible>(answer(agent, stats, allowed, request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection of a client of the node's API ended early");
            }
        });
    }
}

async fn answer(
    agent: Arc<Agent>,
    stats: Arc<stats::Stats>,
    allowed: Option<bool>,
    request: Request<Incoming>,
) -> Response<Body> {
    let result = match allowed {
        None => Err(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized")),
        Some(false) => Err(Refusal::new(StatusCode::FORBIDDEN, "Forbidden")),
        Some(true) => route(&agent, &stats, request).await,
    };
    result.unwrap_or_else(|refusal| full(refusal.code, "text/plain; charset=utf-8", refusal.message + "\n"))
}

async fn route(
    agent: &Arc<Agent>,
    stats: &stats::Stats,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let path = request.uri().path().to_string();
    let query = parse_query(request.uri().query().unwrap_or_default());
    let parts: Vec<String> = path
        .split('/')
        .filter(|p| !p.is_empty())
        .map(|p| {
            percent_encoding::percent_decode_str(p)
                .decode_utf8_lossy()
                .into_owned()
        })
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let get = request.method() == Method::GET;
    match parts.as_slice() {
        ["healthz" | "livez" | "readyz", ..] if get => {
            Ok(full(StatusCode::OK, "text/plain; charset=utf-8", "ok"))
        }
        ["pods"] if get => Ok(pod_list(agent.pods.list())),
        ["runningpods"] if get => Ok(pod_list(
            agent
                .pods
                .list()
                .into_iter()
                .filter(|p| p.phase() == "Running")
                .collect(),
        )),
        ["configz"] if get => Ok(configz(agent)),
        ["stats", "summary"] if get => stats.summary(agent).await,
        ["metrics"] if get => stats.agent_metrics(agent).await,
        ["metrics", "resource"] if get => stats.resource_metrics(agent).await,
        ["metrics", "cadvisor"] if get => stats.resource_metrics(agent).await,
        ["containerLogs", namespace, pod, container] if get => {
            let pod = find_pod(agent, namespace, pod, None)?;
            container_logs::answer(agent, &pod, container, &query).await
        }
        ["exec", namespace, pod, container] => {
            let pod = find_pod(agent, namespace, pod, None)?;
            streams::exec(agent, &pod, container, &query, request).await
        }
        ["exec", namespace, pod, uid, container] => {
            let pod = find_pod(agent, namespace, pod, Some(uid))?;
            streams::exec(agent, &pod, container, &query, request).await
        }
        ["attach", namespace, pod, container] => {
            let pod = find_pod(agent, namespace, pod, None)?;
            streams::attach(agent, &pod, container, &query, request).await
        }
        ["attach", namespace, pod, uid, container] => {
            let pod = find_pod(agent, namespace, pod, Some(uid))?;
            streams::attach(agent, &pod, container, &query, request).await
        }
        ["portForward", namespace, pod] => {
            let pod = find_pod(agent, namespace, pod, None)?;
            streams::port_forward(agent, &pod, &query, request).await
        }
        ["portForward", namespace, pod, uid] => {
            let pod = find_pod(agent, namespace, pod, Some(uid))?;
            streams::port_forward(agent, &pod, &query, request).await
        }
        _ => Err(Refusal::not_found("404 page not found")),
    }
}

fn parse_query(query: &str) -> Query {
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
        .collect()
}

fn find_pod(agent: &Agent, namespace: &str, name: &str, uid: Option<&str>) -> Result<Arc<Pod>, Refusal> {
    agent
        .pods
        .get(&ObjectKey::new(namespace, name))
        .filter(|pod| uid.is_none_or(|uid| pod.uid() == uid))
        .ok_or_else(|| Refusal::not_found(format!("pod \"{name}\" not found in namespace \"{namespace}\"")))
}

fn pod_list(pods: Vec<Arc<Pod>>) -> Response<Body> {
    let items: Vec<&Pod> = pods.iter().map(AsRef::as_ref).collect();
    let list = serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
    full(StatusCode::OK, "application/json", list.to_string())
}

fn configz(agent: &Agent) -> Response<Body> {
    let options = &agent.options;
    let config = serde_json::json!({"kubeletconfig": {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "clusterDomain": options.cluster_domain,
        "clusterDNS": options.cluster_dns,
        "maxPods": options.max_pods,
        "cgroupDriver": "cgroupfs",
        "resolvConf": options.resolv_conf,
        "port": options.listen.port(),
    }});
    full(StatusCode::OK, "application/json", config.to_string())
}

#[cfg(test)]
mod tests;
