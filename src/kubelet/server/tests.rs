use rcgen::{CertificateParams, DnType, KeyPair};

use super::*;

#[test]
fn queries_are_decoded() {
    let query = parse_query("command=sh&command=-c&command=echo%20a+b&tty=1&x");
    let want = [
        ("command", "sh"),
        ("command", "-c"),
        ("command", "echo a b"),
        ("tty", "1"),
        ("x", ""),
    ];
    assert_eq!(query, want.map(|(k, v)| (k.to_string(), v.to_string())));
}

fn certificate(name: &str, group: &str) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, group);
    let key = KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("a certificate").der().to_vec()
}

#[test]
fn only_the_api_server_and_administrators_are_let_in() {
    assert!(is_allowed(&certificate("kube-apiserver-kubelet-client", "")));
    assert!(is_allowed(&certificate("someone", "system:masters")));
    assert!(!is_allowed(&certificate("system:node:n2", "system:nodes")));
    assert!(!is_allowed(&certificate("system:masters", "someone")));
    assert!(!is_allowed(b"nonsense"));
}
