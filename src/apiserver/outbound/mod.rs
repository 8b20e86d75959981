//! Connections to other HTTP servers: webhooks, identity providers, extension API servers.
//!
//! A [`Connector`] knows where to connect and whom to believe there; hyper's client above it keeps
//! connections. [`Remote`] is a URL that JSON is posted to, as a kubeconfig names it.

mod remote;
pub(crate) mod service;

#[cfg(test)]
mod tests;

use std::{
    io::ErrorKind,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use http::Uri;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    client::danger::{ServerCertVerified, ServerCertVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::server::TlsError;

pub(crate) use remote::{Remote, RemoteError};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Whom to believe, and what to show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// PEM; empty: the system's authorities.
    pub ca: Vec<u8>,
    /// Believe everybody.
    pub insecure: bool,
    /// Certificate chain and key shown to the server, PEM.
    pub identity: Option<(String, String)>,
}

impl Trust {
    /// The rustls configuration, HTTP/1.1 only.
    ///
    /// # Errors
    /// When a PEM text does not hold what it should.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?;
        let builder = if self.insecure {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes())
                    .collect::<Result<_, _>>()
                    .map_err(|_| TlsError::Pem("client certificate"))?;
                let key =
                    PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| TlsError::Pem("client key"))?;
                builder.with_client_auth_cert(chain, key)?
            }
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        if self.ca.is_empty() {
            for certificate in rustls_native_certs::load_native_certs().certs {
                // The system's store may hold what rustls does not understand.
                let _ = roots.add(certificate);
            }
            return Ok(roots);
        }
        for certificate in CertificateDer::pem_slice_iter(&self.ca) {
            roots.add(certificate.map_err(|_| TlsError::Pem("CA bundle"))?)?;
        }
        if roots.is_empty() {
            return Err(TlsError::Pem("CA bundle"));
        }
        Ok(roots)
    }
}

/// Where to connect: host (name or address) and port, or why that is not known.
pub(crate) type Locate = Arc<dyn Fn() -> Result<(String, u16), String> + Send + Sync>;

/// Opens connections to one server.
#[derive(Clone)]
pub(crate) struct Connector {
    pub locate: Locate,
    /// Configuration and name that the server's certificate must carry.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// A connection, with or without TLS.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Connector {
    async fn open(self) -> std::io::Result<TokioIo<Stream>> {
        let (host, port) = (self.locate)().map_err(std::io::Error::other)?;
        let at = format!("{host}:{port}");
        let named = |why: String| std::io::Error::other(format!("dial tcp {at}: {why}"));
        let dial = async {
            let stream = TcpStream::connect((host.as_str(), port))
                .await
                .map_err(|e| named(dial_error(&e)))?;
            let _ = stream.set_nodelay(true);
            Ok::<_, std::io::Error>(match self.tls {
                None => Stream::Plain(stream),
                Some((config, name)) => Stream::Tls(Box::new(
                    TlsConnector::from(config)
                        .connect(name, stream)
                        .await
                        .map_err(|e| std::io::Error::other(format!("tls: {e}")))?,
                )),
            })
        };
        match tokio::time::timeout(CONNECT, dial).await {
            Ok(stream) => Ok(TokioIo::new(stream?)),
            Err(_) => Err(named("i/o timeout".into())),
        }
    }

    /// A client that keeps connections to this server.
    pub(crate) fn client(self) -> HttpClient {
        Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(self)
    }
}

/// A client for one server; the authority of a request's URI is for its `Host` header only.
pub(crate) type HttpClient = Client<Connector, Body>;

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().open())
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_flush(cx),
            Stream::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

/// What went wrong with a request, innermost cause included: hyper's own text names only the layer.
pub(crate) fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// Why a connection did not come about, in Go's words, which clients look for.
pub(crate) fn dial_error(error: &std::io::Error) -> String {
    let why = match error.kind() {
        ErrorKind::ConnectionRefused => "connect: connection refused",
        ErrorKind::HostUnreachable => "connect: no route to host",
        ErrorKind::NetworkUnreachable => "connect: network is unreachable",
        ErrorKind::TimedOut => "i/o timeout",
        _ => return error.to_string(),
    };
    why.to_owned()
}

/// The methods that every verifier of certificates has alike, whatever it makes of the certificate itself:
/// the other side holds its key.
macro_rules! checks_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &rustls_pki_types::CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &rustls_pki_types::CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            rustls::crypto::ring::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    };
}

pub(crate) use checks_signatures;

/// Believes every certificate: for servers that have none that could be checked.
#[derive(Debug)]
pub(crate) struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    checks_signatures!();
}
