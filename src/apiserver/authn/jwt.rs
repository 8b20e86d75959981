//! JSON Web Tokens as service accounts use them: ES256 out, ES256 and RS256 in (RFC 7515, 7518).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use ring::{rand::SystemRandom, signature};
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

#[cfg(test)]
mod tests;

/// Why a key or token is no good.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("service account key: no {0} key in the PEM")]
    NoKey(&'static str),
    #[error("service account key: not an ECDSA P-256 private key in PKCS#8")]
    PrivateKey,
    #[error("service account key: neither ECDSA P-256 nor RSA")]
    PublicKey,
    #[error("token is malformed")]
    Malformed,
    #[error("token is signed by no known key")]
    Signature,
    #[error("token is not of this issuer")]
    Foreign,
    #[error("{0}")]
    Claim(String),
}

/// Signs with ES256.
pub(crate) struct Signer {
    key: signature::EcdsaKeyPair,
    kid: String,
    random: SystemRandom,
}

impl Signer {
    /// Reads a private key in PKCS#8 PEM.
    ///
    /// # Errors
    /// When the PEM holds no ECDSA P-256 key.
    pub(crate) fn from_pem(private: &str, public: &str) -> Result<Self, Error> {
        let der = PrivateKeyDer::from_pem_slice(private.as_bytes()).map_err(|_| Error::NoKey("private"))?;
        let random = SystemRandom::new();
        let key = signature::EcdsaKeyPair::from_pkcs8(
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            der.secret_der(),
            &random,
        )
        .map_err(|_| Error::PrivateKey)?;
        let kid = key_id(&spki(public)?);
        Ok(Signer { key, kid, random })
    }

    /// A signed compact token.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, Error> {
        let header = json!({"alg": "ES256", "kid": self.kid});
        let mut token = B64.encode(header.to_string());
        token.push('.');
        B64.encode_string(claims.to_string(), &mut token);
        let signed = self
            .key
            .sign(&self.random, token.as_bytes())
            .map_err(|_| Error::Signature)?;
        token.push('.');
        B64.encode_string(signed, &mut token);
        Ok(token)
    }
}

enum PublicKey {
    /// Uncompressed point.
    P256(Vec<u8>),
    /// PKCS#1.
    Rsa(Vec<u8>),
}

/// Checks signatures against a set of public keys.
pub(crate) struct Verifier {
    keys: Vec<(String, PublicKey)>,
}

impl Verifier {
    /// Reads every public key of PEM texts.
    ///
    /// # Errors
    /// When one is neither ECDSA P-256 nor RSA.
    pub(crate) fn from_pem(publics: &[String]) -> Result<Self, Error> {
        let keys = publics
            .iter()
            .map(|pem| read_public(pem))
            .collect::<Result<_, _>>()?;
        Ok(Verifier { keys })
    }

    /// Claims of a token whose signature holds. Nothing else is checked.
    ///
    /// # Errors
    /// [`Error::Malformed`] or [`Error::Signature`].
    pub(crate) fn verify(&self, token: &str) -> Result<Value, Error> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Error::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Error::Malformed)?;
        let header: Value = decode(header)?;
        let signature = B64.decode(signature).map_err(|_| Error::Malformed)?;
        let kid = header["kid"].as_str();
        let holds = self
            .keys
            .iter()
            .filter(|(id, _)| kid.is_none_or(|k| k == id))
            .any(|(_, key)| {
                let (algorithm, bytes): (&dyn signature::VerificationAlgorithm, _) =
                    match (key, header["alg"].as_str()) {
                        (PublicKey::P256(bytes), Some("ES256")) => {
                            (&signature::ECDSA_P256_SHA256_FIXED, bytes)
                        }
                        (PublicKey::Rsa(bytes), Some("RS256")) => {
                            (&signature::RSA_PKCS1_2048_8192_SHA256, bytes)
                        }
                        _ => return false,
                    };
                signature::UnparsedPublicKey::new(algorithm, bytes)
                    .verify(signed.as_bytes(), &signature)
                    .is_ok()
            });
        if !holds {
            return Err(Error::Signature);
        }
        decode(claims)
    }

    /// The keys as a JSON Web Key Set.
    pub(crate) fn jwks(&self) -> Value {
        let keys: Vec<Value> = self
            .keys
            .iter()
            .filter_map(|(kid, key)| match key {
                PublicKey::P256(point) if point.len() == 65 => Some(json!({
                    "use": "sig", "kty": "EC", "kid": kid, "crv": "P-256", "alg": "ES256",
                    "x": B64.encode(&point[1..33]), "y": B64.encode(&point[33..65]),
                })),
                PublicKey::P256(_) => None,
                PublicKey::Rsa(der) => {
                    let (_, key) = x509_parser::public_key::RSAPublicKey::from_der(der).ok()?;
                    let modulus = key.modulus.strip_prefix(&[0]).unwrap_or(key.modulus);
                    Some(json!({
                        "use": "sig", "kty": "RSA", "kid": kid, "alg": "RS256",
                        "n": B64.encode(modulus), "e": B64.encode(key.exponent),
                    }))
                }
            })
            .collect();
        json!({ "keys": keys })
    }

    /// Signing algorithms in use.
    pub(crate) fn algorithms(&self) -> Vec<&'static str> {
        let mut all: Vec<_> = self
            .keys
            .iter()
            .map(|(_, key)| {
                if matches!(key, PublicKey::P256(_)) {
                    "ES256"
                } else {
                    "RS256"
                }
            })
            .collect();
        all.dedup();
        all
    }
}

/// Keys of another issuer (RFC 7517).
pub(crate) struct KeySet {
    keys: Vec<(Option<String>, Foreign)>,
}

enum Foreign {
    /// Uncompressed points.
    P256(Vec<u8>),
    P384(Vec<u8>),
    /// Modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
}

impl KeySet {
    /// Reads a JSON Web Key Set; keys of kinds that are not understood are left out.
    pub(crate) fn from_jwks(set: &Value) -> KeySet {
        let part = |key: &Value, name: &str| B64.decode(key[name].as_str()?.trim_end_matches('=')).ok();
        let point = |key: &Value, size: usize| {
            let mut point = vec![4];
            for name in ["x", "y"] {
                let bytes = part(key, name)?;
                point.extend(std::iter::repeat_n(0, size.checked_sub(bytes.len())?));
                point.extend(bytes);
            }
            Some(point)
        };
        let read = |key: &Value| {
            if key["use"].as_str().is_some_and(|u| u != "sig") {
                return None;
            }
            let found = match (key["kty"].as_str()?, key["crv"].as_str()) {
                ("RSA", _) => Foreign::Rsa(part(key, "n")?, part(key, "e")?),
                ("EC", Some("P-256")) => Foreign::P256(point(key, 32)?),
                ("EC", Some("P-384")) => Foreign::P384(point(key, 48)?),
                _ => return None,
            };
            Some((key["kid"].as_str().map(str::to_owned), found))
        };
        KeySet {
            keys: set["keys"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(read)
                .collect(),
        }
    }

    /// Claims of a token that one of the keys signed with one of `algorithms`. Nothing else is checked.
    ///
    /// # Errors
    /// [`Error::Malformed`] or [`Error::Signature`].
    pub(crate) fn verify(&self, token: &str, algorithms: &[String]) -> Result<Value, Error> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Error::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Error::Malformed)?;
        let header: Value = decode(header)?;
        let bytes = B64.decode(signature).map_err(|_| Error::Malformed)?;
        let algorithm = header["alg"].as_str().unwrap_or_default();
        if !algorithms.iter().any(|a| a == algorithm) {
            return Err(Error::Claim(format!(
                "oidc: malformed jwt: unexpected signature algorithm {algorithm:?}; expected {algorithms:?}"
            )));
        }
        let kid = header["kid"].as_str();
        let mut fitting = self
            .keys
            .iter()
            .filter(|(id, _)| kid.is_none() || id.is_none() || id.as_deref() == kid);
        if fitting.any(|(_, key)| key.signed(algorithm, signed.as_bytes(), &bytes)) {
            decode(claims)
        } else {
            Err(Error::Signature)
        }
    }
}

impl Foreign {
    fn signed(&self, algorithm: &str, message: &[u8], bytes: &[u8]) -> bool {
        let holds = |with: &'static dyn signature::VerificationAlgorithm, point: &Vec<u8>| {
            signature::UnparsedPublicKey::new(with, point)
                .verify(message, bytes)
                .is_ok()
        };
        match (self, algorithm) {
            (Foreign::P256(point), "ES256") => holds(&signature::ECDSA_P256_SHA256_FIXED, point),
            (Foreign::P384(point), "ES384") => holds(&signature::ECDSA_P384_SHA384_FIXED, point),
            (Foreign::Rsa(n, e), _) => {
                let with = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                signature::RsaPublicKeyComponents { n, e }
                    .verify(with, message, bytes)
                    .is_ok()
            }
            _ => false,
        }
    }
}

/// What a token claims, unverified.
///
/// # Errors
/// [`Error::Malformed`].
pub(crate) fn claims(token: &str) -> Result<Value, Error> {
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(claims), Some(_), None) => decode(claims),
        _ => Err(Error::Malformed),
    }
}

fn decode(part: &str) -> Result<Value, Error> {
    let bytes = B64.decode(part).map_err(|_| Error::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Error::Malformed)
}

fn spki(pem: &str) -> Result<Vec<u8>, Error> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| Error::NoKey("public"))?;
    Ok(der.to_vec())
}

/// Upstream's key id: SHA-256 of the public key's PKIX form, base64url.
fn key_id(spki: &[u8]) -> String {
    B64.encode(Sha256::digest(spki))
}

fn read_public(pem: &str) -> Result<(String, PublicKey), Error> {
    let der = spki(pem)?;
    let (_, info) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| Error::PublicKey)?;
    let bits = info.subject_public_key.data.to_vec();
    let key = match info.algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.10045.2.1" => PublicKey::P256(bits),
        "1.2.840.113549.1.1.1" => PublicKey::Rsa(bits),
        _ => return Err(Error::PublicKey),
    };
    Ok((key_id(&der), key))
}
