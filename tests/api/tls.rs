//! A TLS server in the test's process, for what the API server asks: webhooks, aggregated APIs, kubelets.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A certificate with its key, in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A certificate that is its own authority.
pub(crate) fn self_signed(names: &[&str]) -> Pair {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    Pair {
        certificate: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
    }
}

/// An address of this machine that is not loopback: endpoints may not be.
///
/// # Panics
/// Where the machine has no network interface but `lo`.
pub(crate) fn own_address() -> IpAddr {
    let interfaces = nix::ifaddrs::getifaddrs().expect("network interfaces");
    let addresses = interfaces.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    addresses
        .map(IpAddr::V4)
        .find(|address| !address.is_loopback())
        .expect("these tests need a network interface with an IPv4 address beside lo")
}

fn config(pair: &Pair, client_ca: Option<&str>) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
                roots.add(certificate.expect("PEM")).expect("an authority");
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes());
    let chain = chain.collect::<Result<_, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM");
    builder.with_single_cert(chain, key).expect("a pair")
}

/// Who asks: the common name of the certificate shown, if any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer(pub(crate) Option<String>);

fn peer(stream: &TlsStream<TcpStream>) -> Peer {
    let certificates = stream.get_ref().1.peer_certificates();
    let name = certificates.and_then(<[_]>::first).and_then(|certificate| {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let name = certificate.subject().iter_common_name().next()?;
        name.as_str().ok().map(str::to_owned)
    });
    Peer(name)
}

/// A running server; dropping it ends it.
pub(crate) struct TlsServer {
    pub(crate) address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl TlsServer {
    /// Serves at any address of this machine. Certificates of clients are checked against
    /// `client_ca`; [`Peer`] is among a request's extensions.
    pub(crate) async fn start<F, A>(pair: &Pair, client_ca: Option<&str>, answer: F) -> TlsServer
    where
        F: Fn(Request<Bytes>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<String>> + Send,
    {
        let acceptor = TlsAcceptor::from(Arc::new(config(pair, client_ca)));
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let answer = Arc::new(answer);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer) = (acceptor.clone(), answer.clone());
                tokio::spawn(async move {
                    // A client that does not believe us ends the handshake.
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let peer = peer(&stream);
                    let service =
                        hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                            let (answer, peer) = (answer.clone(), peer.clone());
                            async move {
                                let (mut parts, body) = request.into_parts();
                                parts.extensions.insert(peer);
                                let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
                                let response = answer(Request::from_parts(parts, body)).await;
                                Ok::<_, Infallible>(response.map(|text| Full::new(Bytes::from(text))))
                            }
                        });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        TlsServer { address, accepting }
    }
}
