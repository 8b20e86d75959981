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
