//! Connections to kubelets: HTTPS with the API server's client certificate.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::body::Body;
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use rkind_apimachinery::{meta::GroupResource, status::Status};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::proxy::authority;
use crate::{core::Core, error::Result, outbound::dial_error, server::TlsError};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Where a node's kubelet listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeAddress {
    /// IP address or host name.
    pub host: String,
    pub port: u16,
    /// What the host name led to, where that was looked at.
    pub at: Option<IpAddr>,
}

/// Address of a node's kubelet, from its status.
///
/// # Errors
/// 404 without the node, 500 without an address.
pub(crate) fn node_address(core: &Core, name: &str) -> Result<NodeAddress> {
    let node = core
        .cached("core/nodes", name)
        .ok_or_else(|| Status::not_found(&GroupResource::new("", "nodes"), name))?
        .to_value();
    let addresses = node["status"]["addresses"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let preferred = &core.kubelet.preferred;
    let host = preferred
        .iter()
        .find_map(|kind| addresses.iter().find(|a| a["type"] == kind.as_str())?["address"].as_str())
        .ok_or_else(|| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let known = addresses
                .iter()
                .map(|a| format!("{{{} {}}}", text(&a["type"]), text(&a["address"])));
            let known = known.collect::<Vec<_>>().join(" ");
            plain(format!(
                "no preferred addresses found; known addresses: [{known}]"
            ))
        })?
        .to_owned();
    let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
    let port = port
        .and_then(|p| u16::try_from(p).ok())
        .filter(|p| *p != 0)
        .unwrap_or(10250);
    Ok(NodeAddress { host, port, at: None })
}

/// Connects to kubelets.
pub(crate) struct KubeletClient {
    tls: Option<TlsConnector>,
    /// Types of addresses, the best first.
    preferred: Vec<String>,
}

impl KubeletClient {
    /// `ca` verifies kubelets; `pair` is the certificate chain and key shown to them, in PEM.
    /// Without a pair no kubelet can be reached. `preferred` are types of nodes' addresses, the best first.
    ///
    /// # Errors
    /// When a PEM text does not hold what it should.
    pub(crate) fn new(
        ca: &str,
        pair: Option<(&str, &str)>,
        preferred: Vec<String>,
    ) -> Result<Self, TlsError> {
        let Some((chain, key)) = pair else {
            return Ok(KubeletClient { tls: None, preferred });
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots.add(certificate.map_err(|_| TlsError::Pem("CA certificate"))?)?;
        }
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::Pem("kubelet client certificate"))?;
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| TlsError::Pem("kubelet client key"))?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        Ok(KubeletClient {
            tls: Some(TlsConnector::from(Arc::new(config))),
            preferred,
        })
    }

    /// A connection for one request.
    ///
    /// # Errors
    /// 500 naming the node's address when it cannot be reached.
    pub(crate) async fn connect(&self, node: &NodeAddress) -> Result<SendRequest<Body>> {
        let connected = self.dial(node).await;
        connected.map_err(|why| plain(format!("error dialing backend: {why}")))
    }

    /// Sends one request.
    ///
    /// # Errors
    /// 500 naming the request's URL when the node cannot be reached.
    pub(crate) async fn send(
        &self,
        node: &NodeAddress,
        mut request: http::Request<Body>,
    ) -> Result<http::Response<Incoming>> {
        let at = authority(&node.host, node.port);
        // Go's name of a method in an error.
        let method = match *request.method() {
            http::Method::POST => "Post",
            _ => "Get",
        };
        let asked = format!("{method} \"https://{at}{}\"", request.uri());
        if let Ok(host) = http::HeaderValue::from_str(&at) {
            request.headers_mut().insert(http::header::HOST, host);
        }
        let told = |why: String| plain(format!("{asked}: {why}"));
        let mut sender = self.dial(node).await.map_err(told)?;
        let answer = sender.send_request(request).await;
        answer.map_err(|error| told(error.to_string()))
    }

    /// A connection, or why there is none.
    async fn dial(&self, node: &NodeAddress) -> Result<SendRequest<Body>, String> {
        let at = authority(&node.host, node.port);
        let none = || "this server has no kubelet client certificate".to_owned();
        let tls = self.tls.as_ref().ok_or_else(none)?;
        let name = ServerName::try_from(node.host.clone());
        let name = name.map_err(|_| format!("{at} is no valid address"))?;
        let connect = async {
            let stream = match node.at {
                Some(at) => TcpStream::connect((at, node.port)).await?,
                None => TcpStream::connect((node.host.as_str(), node.port)).await?,
            };
            let _ = stream.set_nodelay(true);
            tls.connect(name, stream).await
        };
        let unreachable = |why: String| format!("dial tcp {at}: {why}");
        match tokio::time::timeout(CONNECT, connect).await {
            Ok(Ok(stream)) => {
                let begun = handshake(TokioIo::new(stream)).await;
                begun.map_err(|error| unreachable(error.to_string()))
            }
            Ok(Err(error)) => Err(unreachable(dial_error(&error))),
            Err(_) => Err(unreachable("i/o timeout".to_owned())),
        }
    }
}

/// HTTP/1.1 over a connection, which may be upgraded.
///
/// # Errors
/// Hyper's.
pub(crate) async fn handshake<T>(io: T) -> hyper::Result<SendRequest<Body>>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to a backend ended");
        }
    });
    Ok(sender)
}

/// 500 with nothing but a text, as upstream answers errors that it does not know.
fn plain(message: String) -> Box<Status> {
    Status::failure(500, "", message).into()
}
