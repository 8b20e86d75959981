//! Building a [`Client`].

use std::path::Path;

use kube::Config;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::{BoxError, Service};

use crate::{Client, ConnectError};

/// A client over HTTPS from a kubeconfig file's current context.
///
/// # Errors
/// The file is missing or malformed, or its certificates can't be used. The server is not contacted.
pub async fn from_kubeconfig(path: &Path) -> Result<Client, ConnectError> {
    let kubeconfig = Kubeconfig::read_from(path).map_err(|e| ConnectError::Kubeconfig {
        path: path.to_owned(),
        source: Box::new(e),
    })?;
    build(kubeconfig).await
}

/// As [`from_kubeconfig`], from the file's text (which must hold its certificates inline).
///
/// # Errors
/// As [`from_kubeconfig`].
pub async fn from_kubeconfig_text(text: &str) -> Result<Client, ConnectError> {
    build(Kubeconfig::from_yaml(text).map_err(|e| ConnectError::Context(Box::new(e)))?).await
}

async fn build(kubeconfig: Kubeconfig) -> Result<Client, ConnectError> {
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|e| ConnectError::Context(Box::new(e)))?;
    Client::try_from(config).map_err(|e| ConnectError::Build(Box::new(e)))
}

/// A client whose requests are calls of `service` in this process: no socket, no TLS. Identity is
/// whatever the service attaches to its requests. `namespace` is the default namespace.
///
/// Must be called within a tokio runtime.
pub fn from_service<S, B>(service: S, namespace: &str) -> Client
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Client::new(service, namespace)
}
