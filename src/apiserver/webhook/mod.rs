//! The client of webhooks: admission, conversion of custom resources, authorization.
//! Upstream: `k8s.io/apiserver/pkg/util/webhook`.
//!
//! # Flow
//! A `clientConfig` (a URL, or a Service with a path) becomes a [`Target`]; [`Webhooks::post`] sends
//! one JSON body to it and gives the JSON that came back. Connections are kept and used again by
//! whoever trusts the same authorities under the same server name. HTTP/1.1 only, as upstream's, so
//! that requests spread over a Service's endpoints.

mod connect;
pub(crate) mod resolve;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::body::Body;
use base64::Engine as _;
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use parking_lot::Mutex;
use rkind_apimachinery::{field::quote, status::Status};
use serde_json::Value;

use crate::cacher::Cache;

/// Clients kept at most, one per authority and server name.
const CLIENTS: usize = 200;
/// Largest answer in bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(90);
/// Port of a Service or URL that names none.
const HTTPS: u16 = 443;

/// Why a webhook gave no answer. Prints as upstream's error of the same kind.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("webhook configuration must have either service or URL")]
    NoTarget,
    #[error("Unparsable URL: {0}")]
    Url(String),
    #[error("unable to load root certificates: unable to parse bytes as PEM block")]
    CaBundle,
    #[error("Post {url}: {why}", url = quote(url))]
    Send { url: String, why: String },
    #[error("{message}")]
    Answer { message: String },
}

/// The Service behind a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServiceRef {
    pub namespace: String,
    pub name: String,
    pub port: u16,
}

/// Where a webhook is and whom it is believed to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Scheme, host, port and path; the host of a Service is its name in the cluster.
    pub url: String,
    /// Dialled instead of the URL's host.
    pub service: Option<ServiceRef>,
    /// PEM of the authorities; empty for those of this machine.
    pub ca_bundle: Vec<u8>,
}

impl Target {
    /// Of a `WebhookClientConfig` (admissionregistration, apiextensions).
    ///
    /// # Errors
    /// When it names neither a Service nor a URL, or its authorities are not base64.
    pub(crate) fn of(config: &Value) -> Result<Self, Error> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let ca_bundle = base64::engine::general_purpose::STANDARD
            .decode(config["caBundle"].as_str().unwrap_or_default())
            .map_err(|_| Error::CaBundle)?;
        let service = &config["service"];
        if service.is_object() {
            let service_ref = ServiceRef {
                namespace: text(&service["namespace"]),
                name: text(&service["name"]),
                port: service["port"]
                    .as_u64()
                    .and_then(|p| u16::try_from(p).ok())
                    .unwrap_or(HTTPS),
            };
            let ServiceRef {
                namespace,
                name,
                port,
            } = &service_ref;
            let path = text(&service["path"]);
            let slash = if path.starts_with('/') { "" } else { "/" };
            return Ok(Target {
                url: format!("https://{name}.{namespace}.svc:{port}{slash}{path}"),
                service: Some(service_ref),
                ca_bundle,
            });
        }
        match config["url"].as_str().filter(|url| !url.is_empty()) {
            Some(url) => Ok(Target {
                url: url.to_owned(),
                service: None,
                ca_bundle,
            }),
            None => Err(Error::NoTarget),
        }
    }
}

type Pool = Client<connect::Connector, Body>;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    service: Option<ServiceRef>,
    ca_bundle: Vec<u8>,
}

/// All webhook clients of this server.
pub(crate) struct Webhooks {
    cache: Arc<Cache>,
    pools: Mutex<HashMap<Key, Pool>>,
}

impl Webhooks {
    /// Services are looked up in `cache`.
    pub(crate) fn new(cache: Arc<Cache>) -> Self {
        Webhooks {
            cache,
            pools: Mutex::default(),
        }
    }

    /// Posts `body` and gives the JSON of the answer. The webhook is told how long it has in the
    /// query parameter `timeout` when `tell` is set.
    ///
    /// # Errors
    /// When the webhook cannot be reached in time, or answers with anything but 2xx and JSON.
    pub(crate) async fn post(
        &self,
        target: &Target,
        body: &Value,
        timeout: Duration,
        tell: bool,
    ) -> Result<Value, Error> {
        let url = if tell {
            let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
            let joint = if target.url.contains('?') { '&' } else { '?' };
            format!("{}{joint}timeout={seconds}s", target.url)
        } else {
            target.url.clone()
        };
        let uri: Uri = url
            .parse()
            .map_err(|e: http::uri::InvalidUri| Error::Url(e.to_string()))?;
        let pool = self.pool(target)?;
        let bytes = serde_json::to_vec(body).unwrap_or_default();
        let request = Request::post(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::USER_AGENT, "kube-apiserver-admission")
            .body(Body::from(bytes))
            .map_err(|e| Error::Url(e.to_string()))?;
        let failed = |why: String| Error::Send {
            url: url.clone(),
            why,
        };
        let exchange = async {
            let response = pool
                .request(request)
                .await
                .map_err(|e| failed(connect::reason(&e)))?;
            let code = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await
                .map_err(|e| failed(e.to_string()))?
                .to_bytes();
            answer(code, &body)
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(done) => done,
            Err(_) => Err(failed("context deadline exceeded".into())),
        }
    }

    fn pool(&self, target: &Target) -> Result<Pool, Error> {
        let key = Key {
            service: target.service.clone(),
            ca_bundle: target.ca_bundle.clone(),
        };
        let mut pools = self.pools.lock();
        if let Some(pool) = pools.get(&key) {
            return Ok(pool.clone());
        }
        let connector = connect::Connector::new(self.cache.clone(), target)?;
        let pool = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        // Configurations come and go, seldom: when there are too many, all begin anew.
        if pools.len() >= CLIENTS {
            pools.clear();
        }
        pools.insert(key, pool.clone());
        Ok(pool)
    }
}

/// What an answer says, in the words of upstream's REST client where it is no success.
fn answer(code: StatusCode, body: &Bytes) -> Result<Value, Error> {
    let parsed: Result<Value, _> = serde_json::from_slice(body);
    if code.is_success() {
        return parsed.map_err(|e| Error::Answer {
            message: format!("unable to decode the response: {e}"),
        });
    }
    if let Ok(status) = &parsed
        && status["kind"] == "Status"
        && let Some(message) = status["message"].as_str()
    {
        return Err(Error::Answer {
            message: message.to_owned(),
        });
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let message = match code.as_u16() {
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 => format!("unknown: {}", if text.is_empty() { "forbidden" } else { text }),
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        413 => "the request is too large".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the request".to_owned(),
        500..=599 => format!("an error on the server ({}) has prevented the request from succeeding", quote(text)),
        _ => format!("the server responded with the status code {} but did not return more information", code.as_u16()),
    };
    Err(Error::Answer { message })
}

/// 500 as upstream wraps a webhook that could not be called.
pub(crate) fn failed_calling(name: &str, why: &str) -> Box<Status> {
    Status::internal_error(&format!("failed calling webhook {}: {why}", quote(name))).into()
}
