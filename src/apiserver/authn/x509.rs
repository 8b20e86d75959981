//! Client certificate -> user: CN is the name, each O a group, one attribute the uid.
//! Upstream: `authentication/request/x509`, `CommonNameUserConversion`.

use std::{fmt::Write as _, sync::Arc};

use rustls::{
    RootCertStore,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::*;

use crate::{server::TlsError, user::UserInfo};

/// Attribute of the subject that holds the user's uid (`AllowParsingUserUIDFromCertAuth`).
const UID: &str = "1.3.6.1.4.1.57683.2";
/// Key of [`UserInfo::extra`] that tells credentials apart in audit logs.
pub(super) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Checks chains against the authorities of a PEM text; `None` for an empty text.
///
/// # Errors
/// When the text does not hold certificates.
pub(crate) fn verifier(pem: &str) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    if pem.trim().is_empty() {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(|_| TlsError::Pem("client CA"))?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(Some(
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?,
    ))
}

/// A client certificate whose key the client has, and what it proves.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// By the authority of users, or why not.
    user: Result<UserInfo, String>,
    /// Common name, when the front proxy's authority vouches for it.
    proxy: Option<String>,
    /// End of its validity, seconds since 1970.
    expires: i64,
}

impl Shown {
    /// Judges a chain, the client's own certificate first. `None` for an empty one.
    pub(super) fn of(
        chain: &[CertificateDer<'_>],
        users: Option<&dyn ClientCertVerifier>,
        proxies: Option<&dyn ClientCertVerifier>,
    ) -> Option<Shown> {
        let (leaf, others) = chain.split_first()?;
        let holds = |ca: Option<&dyn ClientCertVerifier>| match ca {
            None => Err("x509: no authority of client certificates".to_owned()),
            Some(ca) => ca
                .verify_client_cert(leaf, others, UnixTime::now())
                .map(|_| ())
                .map_err(|e| format!("x509: {e}")),
        };
        let expires = X509Certificate::from_der(leaf).map_or(0, |(_, c)| c.validity().not_after.timestamp());
        Some(Shown {
            user: holds(users).and_then(|()| user(leaf)),
            proxy: holds(proxies).ok().and_then(|()| common_name(leaf)),
            expires,
        })
    }

    fn expired(&self) -> bool {
        jiff::Timestamp::now().as_second() > self.expires
    }

    /// The certificate's user.
    ///
    /// # Errors
    /// Why it is nobody's.
    pub(super) fn user(&self) -> Result<&UserInfo, &str> {
        if self.expired() {
            return Err("x509: certificate has expired or is not yet valid");
        }
        self.user.as_ref().map_err(String::as_str)
    }

    /// The front proxy's name.
    pub(super) fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref().filter(|_| !self.expired())
    }
}

fn common_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// User of a certificate.
///
/// # Errors
/// Without a common name, or with a uid that is not one text.
fn user(der: &[u8]) -> Result<UserInfo, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|e| format!("x509: {e}"))?;
    let name = common_name(der).ok_or("x509: certificate has no common name")?;
    let subject = certificate.subject();
    let groups = subject
        .iter_organization()
        .filter_map(|o| o.as_str().ok())
        .map(str::to_owned)
        .collect();
    let mut uids = subject
        .iter_attributes()
        .filter(|a| a.attr_type().to_id_string() == UID);
    let uid = match (uids.next(), uids.next()) {
        (None, _) => String::new(),
        (Some(uid), None) => match uid.as_str() {
            Ok(text) if !text.is_empty() => text.to_owned(),
            Ok(_) => return Err("UID cannot be an empty string".into()),
            Err(_) => return Err("unable to parse UID into a string".into()),
        },
        _ => return Err("expected 1 UID, but found multiple".into()),
    };
    let mut id = String::from("X509SHA256=");
    for byte in Sha256::digest(der) {
        // Writing to a string does not fail.
        let _ = write!(id, "{byte:02x}");
    }
    Ok(UserInfo {
        name,
        uid,
        groups,
        extra: [(CREDENTIAL_ID.to_owned(), vec![id])].into(),
    })
}
