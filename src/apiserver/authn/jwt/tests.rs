use super::*;

/// A throw-away P-256 pair.
pub(crate) fn pair() -> (String, String) {
    use ring::signature::KeyPair as _;
    let random = SystemRandom::new();
    let document =
        signature::EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .unwrap();
    let key = signature::EcdsaKeyPair::from_pkcs8(
        &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        document.as_ref(),
        &random,
    )
    .unwrap();
    // PKIX header of an uncompressed P-256 point.
    let mut spki = vec![
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    spki.extend_from_slice(key.public_key().as_ref());
    let pem = |label: &str, der: &[u8]| {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    (pem("PRIVATE KEY", document.as_ref()), pem("PUBLIC KEY", &spki))
}

#[test]
fn signs_and_verifies() {
    let (private, public) = pair();
    let signer = Signer::from_pem(&private, &public).unwrap();
    let verifier = Verifier::from_pem(std::slice::from_ref(&public)).unwrap();
    let token = signer.sign(&json!({"sub": "x"})).unwrap();
    assert_eq!(verifier.verify(&token).unwrap()["sub"], "x");

    let mut forged: Vec<String> = token.split('.').map(str::to_owned).collect();
    forged[1] = B64.encode(json!({"sub": "admin"}).to_string());
    assert!(matches!(
        verifier.verify(&forged.join(".")),
        Err(Error::Signature)
    ));
    assert!(matches!(verifier.verify("a.b"), Err(Error::Malformed)));

    let (_, other) = pair();
    let stranger = Verifier::from_pem(&[other]).unwrap();
    assert!(matches!(stranger.verify(&token), Err(Error::Signature)));
}

#[test]
fn no_algorithm_none() {
    let (_, public) = pair();
    let verifier = Verifier::from_pem(&[public]).unwrap();
    let token = format!(
        "{}.{}.",
        B64.encode(r#"{"alg":"none"}"#),
        B64.encode(r#"{"sub":"x"}"#)
    );
    assert!(verifier.verify(&token).is_err());
}

#[test]
fn publishes_its_keys() {
    let (_, public) = pair();
    let set = Verifier::from_pem(&[public]).unwrap().jwks();
    assert_eq!(set["keys"][0]["kty"], "EC");
    assert_eq!(set["keys"][0]["crv"], "P-256");
}
