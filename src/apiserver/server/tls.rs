//! The serving side of TLS.

use std::sync::Arc;

use rustls::{
    DistinguishedName, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::CryptoProvider,
    server::{
        ClientHello, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};

use crate::{
    options::{Features, FileText, NamedPair},
    outbound::checks_signatures,
};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{0} is not valid PEM")]
    Pem(&'static str),
    #[error("TLS configuration is refused")]
    Config(#[from] rustls::Error),
    #[error("client CA is refused")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error("TLS version {0:?} is not supported, possible values: VersionTLS12, VersionTLS13")]
    Version(String),
    #[error("cipher suite {0} is not supported or doesn't exist")]
    Suite(String),
}

/// PEM texts of the serving side, and what a client must speak.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Serving certificate, chain included.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Authorities whose client certificates are asked for. A client needs none; who it is, is found
    /// out from [`crate::Options::ca_cert`].
    pub client_ca: String,
    /// `--tls-min-version`: `VersionTLS12` (also when empty) or `VersionTLS13`.
    pub min_version: String,
    /// `--tls-cipher-suites`: Go's names; empty: all that are safe. Does not concern TLS 1.3.
    pub cipher_suites: Vec<String>,
    /// `--tls-sni-cert-key`: further certificate chains and keys, chosen by the name that a client
    /// asks for.
    pub sni: Vec<NamedPair>,
}

impl TlsOptions {
    /// By flags, which may name another certificate than this one.
    #[must_use]
    pub fn given(features: &Features, certificate: &str, key: &str, ca: &str) -> TlsOptions {
        let serving = &features.serving;
        let own = |file: &Option<FileText>, otherwise: &str| file.as_deref().unwrap_or(otherwise).to_owned();
        TlsOptions {
            certificate: own(&serving.tls_cert_file, certificate),
            key: own(&serving.tls_private_key_file, key),
            client_ca: features.authentication.client_authorities(ca),
            min_version: serving.tls_min_version.clone(),
            cipher_suites: serving.tls_cipher_suites.clone(),
            sni: serving.tls_sni_cert_key.clone(),
        }
    }

    /// The rustls configuration: TLS 1.2 and 1.3, h2 and http/1.1, client certificates optional.
    ///
    /// # Errors
    /// When a PEM text does not hold what it should, or a version or suite is unknown.
    pub fn config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let mut provider = rustls::crypto::ring::default_provider();
        self.choose(&mut provider)?;
        let versions: &[&SupportedProtocolVersion] = match self.min_version.as_str() {
            "" | "VersionTLS10" | "VersionTLS11" | "VersionTLS12" => &[&TLS13, &TLS12],
            "VersionTLS13" => &[&TLS13],
            other => return Err(TlsError::Version(other.to_owned())),
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.client_ca.as_bytes()) {
            roots.add(certificate.map_err(|_| TlsError::Pem("client CA"))?)?;
        }
        let default = Arc::new(certified(&self.certificate, &self.key, &provider)?);
        let mut named = Vec::new();
        for pair in &self.sni {
            let key = certified(&pair.certificate, &pair.key, &provider)?;
            let names = match pair.names.as_slice() {
                [] => names(&key),
                given => given.to_vec(),
            };
            named.push((names, Arc::new(key)));
        }
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(Arc::new(Asked {
                hints: roots.subjects(),
            }))
            .with_cert_resolver(Arc::new(ByName { named, default }));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn choose(&self, provider: &mut CryptoProvider) -> Result<(), TlsError> {
        if self.cipher_suites.is_empty() {
            return Ok(());
        }
        let name =
            |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
        for wanted in &self.cipher_suites {
            // Go's older names of two suites lack their hash.
            let wanted = wanted.trim_end_matches("_SHA256");
            if !provider
                .cipher_suites
                .iter()
                .any(|s| name(s).trim_end_matches("_SHA256") == wanted)
            {
                return Err(TlsError::Suite(wanted.to_owned()));
            }
        }
        provider.cipher_suites.retain(|suite| {
            let own = name(suite);
            suite.tls13().is_some()
                || self
                    .cipher_suites
                    .iter()
                    .any(|w| w.trim_end_matches("_SHA256") == own.trim_end_matches("_SHA256"))
        });
        Ok(())
    }
}

fn certified(chain: &str, key: &str, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::Pem("serving certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| TlsError::Pem("serving key"))?;
    Ok(CertifiedKey::from_der(chain, key, provider)?)
}

/// DNS names of a certificate; the common name where there are none.
fn names(key: &CertifiedKey) -> Vec<String> {
    use x509_parser::prelude::*;
    let Some(Ok((_, certificate))) = key.cert.first().map(|der| X509Certificate::from_der(der)) else {
        return Vec::new();
    };
    let mut all: Vec<String> = Vec::new();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        all.extend(alternatives.value.general_names.iter().filter_map(|n| match n {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        }));
    }
    if all.is_empty() {
        let common = certificate.subject().iter_common_name();
        all.extend(
            common
                .filter_map(|n| n.as_str().ok())
                .map(str::to_ascii_lowercase),
        );
    }
    all
}

/// A certificate by the name asked for.
#[derive(Debug)]
struct ByName {
    named: Vec<(Vec<String>, Arc<CertifiedKey>)>,
    default: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().and_then(|asked| {
            let asked = asked.to_ascii_lowercase();
            let parent = asked.split_once('.').map(|(_, rest)| rest);
            let fits = |name: &String| {
                *name == asked || name.strip_prefix("*.").is_some_and(|rest| Some(rest) == parent)
            };
            self.named.iter().find(|(names, _)| names.iter().any(fits))
        });
        Some(found.map_or(&self.default, |(_, key)| key).clone())
    }
}

/// Asks for a client certificate and checks that the client has its key. Who vouches for it is
/// found out later: users and front proxies have different authorities, and a certificate of
/// neither is a 401 and no failed handshake, as upstream.
#[derive(Debug)]
struct Asked {
    hints: Vec<DistinguishedName>,
}

impl ClientCertVerifier for Asked {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    checks_signatures!();
}
