//! A URL that JSON is posted to or read from.

use std::time::Duration;

use axum::body::{Body, Bytes};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use rustls_pki_types::ServerName;
use serde_json::Value;

use super::{Connector, HttpClient, Trust, explain};
use crate::{machinery, server::TlsError};

/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// Why a remote server did not answer with JSON.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("kubeconfig: {0}")]
    Config(String),
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    #[error("{0}")]
    Unreachable(String),
    #[error("request timed out")]
    Timeout,
    #[error("the server answered {0}")]
    Refused(StatusCode),
    #[error("the server's answer is no JSON: {0}")]
    Malformed(String),
}

/// A server at a fixed URL.
#[derive(Clone)]
pub(crate) struct Remote {
    client: HttpClient,
    uri: Uri,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

impl Remote {
    /// By URL; `timeout` is for a whole request.
    ///
    /// # Errors
    /// When the URL or a PEM text is no good.
    pub(crate) fn new(url: &str, trust: &Trust, timeout: Duration) -> Result<Remote, RemoteError> {
        Remote::named(url, trust, "", timeout)
    }

    fn named(url: &str, trust: &Trust, server_name: &str, timeout: Duration) -> Result<Remote, RemoteError> {
        let bad = || RemoteError::Config(format!("{url:?} is not a valid URL"));
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad()),
        };
        let host = uri.host().ok_or_else(bad)?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let tls = if https {
            let name = if server_name.is_empty() {
                &host
            } else {
                server_name
            };
            let name = ServerName::try_from(name.to_owned()).map_err(|_| bad())?;
            Some((trust.config()?, name))
        } else {
            None
        };
        let connector = Connector {
            locate: std::sync::Arc::new(move || Ok((host.clone(), port))),
            tls,
        };
        Ok(Remote {
            client: connector.client(),
            uri,
            authorization: None,
            timeout,
        })
    }

    /// As a kubeconfig's current context names it.
    ///
    /// # Errors
    /// When the kubeconfig lacks something or holds something unusable.
    pub(crate) fn from_kubeconfig(text: &str, timeout: Duration) -> Result<Remote, RemoteError> {
        let bad = |why: &str| RemoteError::Config(why.to_owned());
        let config = machinery::yaml(text).map_err(RemoteError::Config)?;
        let find = |list: &str, name: &Value| -> Value {
            let items = config[list].as_array();
            let mut found = items.into_iter().flatten().filter(|i| i["name"] == *name);
            found.next().cloned().unwrap_or_default()
        };
        let context = find("contexts", &config["current-context"])["context"].take();
        let (cluster, user) = if context.is_object() {
            (
                find("clusters", &context["cluster"])["cluster"].take(),
                find("users", &context["user"])["user"].take(),
            )
        } else {
            (
                config["clusters"][0]["cluster"].clone(),
                config["users"][0]["user"].clone(),
            )
        };
        let server = cluster["server"]
            .as_str()
            .ok_or_else(|| bad("no cluster with a server"))?;
        let identity = match (
            material(&user, "client-certificate")?,
            material(&user, "client-key")?,
        ) {
            (Some(chain), Some(key)) => Some((text_of(chain)?, text_of(key)?)),
            _ => None,
        };
        let trust = Trust {
            ca: material(&cluster, "certificate-authority")?.unwrap_or_default(),
            insecure: cluster["insecure-skip-tls-verify"] == true,
            identity,
        };
        let name = cluster["tls-server-name"].as_str().unwrap_or_default();
        let mut remote = Remote::named(server, &trust, name, timeout)?;
        let token = match user["token"].as_str() {
            Some(token) => Some(format!("Bearer {token}")),
            None => match (user["username"].as_str(), user["password"].as_str()) {
                (Some(name), Some(password)) => {
                    Some(format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
                }
                _ => None,
            },
        };
        if let Some(token) = token {
            let value = HeaderValue::from_str(&token).map_err(|_| unfit())?;
            remote.authorization = Some(value);
        }
        Ok(remote)
    }

    /// Posts JSON and reads JSON; an empty answer is `null`.
    ///
    /// # Errors
    /// When the server cannot be reached in time, or does not answer with a 2xx and JSON.
    pub(crate) async fn post(&self, body: Vec<u8>) -> Result<Value, RemoteError> {
        let mut request = Request::post(self.uri.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*");
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request
            .body(Body::from(body))
            .map_err(|e| RemoteError::Config(e.to_string()))?;
        json(&self.send(request).await?)
    }

    /// With a bearer token, if there is one.
    ///
    /// # Errors
    /// When it is none that a header can carry.
    pub(crate) fn bearing(mut self, token: Option<&str>) -> Result<Remote, RemoteError> {
        let value = token.map(|token| HeaderValue::try_from(format!("Bearer {token}")));
        self.authorization = value.transpose().map_err(|_| unfit())?;
        Ok(self)
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// As [`Remote::post`].
    pub(crate) async fn get(&self) -> Result<Value, RemoteError> {
        json(&self.read("application/json").await?)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// As [`Remote::post`], without a look at what the text says.
    pub(crate) async fn get_text(&self) -> Result<String, RemoteError> {
        let bytes = self.read("*/*").await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn read(&self, accept: &str) -> Result<Bytes, RemoteError> {
        let mut request = Request::get(self.uri.clone()).header(header::ACCEPT, accept);
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request
            .body(Body::empty())
            .map_err(|e| RemoteError::Config(e.to_string()))?;
        self.send(request).await
    }

    async fn send(&self, request: Request<Body>) -> Result<Bytes, RemoteError> {
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|e| RemoteError::Unreachable(explain(&e)))?;
            let code = response.status();
            let bytes = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await
                .map_err(|e| RemoteError::Unreachable(e.to_string()))?
                .to_bytes();
            if !code.is_success() {
                return Err(RemoteError::Refused(code));
            }
            Ok(bytes)
        };
        tokio::time::timeout(self.timeout, exchange)
            .await
            .map_err(|_| RemoteError::Timeout)?
    }
}

/// An empty answer is `null`.
fn json(bytes: &[u8]) -> Result<Value, RemoteError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(bytes).map_err(|e| RemoteError::Malformed(e.to_string()))
}

fn unfit() -> RemoteError {
    RemoteError::Config("token has characters that no header can".into())
}

fn text_of(bytes: Vec<u8>) -> Result<String, RemoteError> {
    String::from_utf8(bytes).map_err(|_| RemoteError::Config("a PEM text is not UTF-8".into()))
}

/// `NAME-data` in base64, or the file that `NAME` names.
fn material(value: &Value, name: &str) -> Result<Option<Vec<u8>>, RemoteError> {
    if let Some(data) = value[format!("{name}-data")].as_str() {
        let bytes = STANDARD
            .decode(data)
            .map_err(|_| RemoteError::Config(format!("{name}-data is not base64")))?;
        return Ok(Some(bytes));
    }
    let Some(path) = value[name].as_str().filter(|p| !p.is_empty()) else {
        return Ok(None);
    };
    std::fs::read(path)
        .map(Some)
        .map_err(|e| RemoteError::Config(format!("cannot read {path}: {e}")))
}
