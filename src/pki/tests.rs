use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::kubeconfig::{self, Access, Locations};
use super::*;

fn names<'a>(extra: &'a [String], nodes: &'a [(&'a str, std::net::IpAddr)]) -> ServerNames<'a> {
    ServerNames {
        nodes,
        kubernetes_ip: "10.96.0.1".parse().unwrap(),
        dns_domain: "cluster.local",
        extra,
    }
}

#[test]
fn identities_are_those_that_rbac_binds() {
    let pki = ClusterPki::generate().unwrap();
    let nodes = [("rkind-control-plane", "172.18.0.2".parse().unwrap())];
    let extra = ["api.example.com".to_owned(), "127.0.0.1".to_owned()];
    let cp = pki.control_plane(&names(&extra, &nodes)).unwrap();
    let who = |leaf: &Leaf| {
        let info = inspect(&leaf.cert_pem).unwrap();
        (info.common_name, info.organizations.join(","))
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(who(&cp.admin), pair("kubernetes-admin", "system:masters"));
    assert_eq!(
        who(&cp.apiserver_kubelet_client),
        pair("kube-apiserver-kubelet-client", "system:masters")
    );
    assert_eq!(
        who(&cp.controller_manager),
        pair("system:kube-controller-manager", "")
    );
    assert_eq!(who(&cp.scheduler), pair("system:kube-scheduler", ""));
    assert_eq!(who(&cp.front_proxy_client), pair("front-proxy-client", ""));
    let sans = inspect(&cp.apiserver.cert_pem).unwrap().sans;
    for san in [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        "10.96.0.1",
        "host.docker.internal",
        "rkind-control-plane",
        "172.18.0.2",
        "api.example.com",
    ] {
        assert_eq!(sans.iter().filter(|s| *s == san).count(), 1, "{san} in {sans:?}");
    }
    let node = pki.node("w1", &["172.18.0.3".parse().unwrap()]).unwrap();
    assert_eq!(who(&node.kubelet), pair("system:node:w1", "system:nodes"));
    assert_eq!(who(&node.kubelet_serving), pair("system:node:w1", "system:nodes"));
    assert_eq!(
        inspect(&node.kubelet_serving.cert_pem).unwrap().sans,
        ["w1", "172.18.0.3"]
    );
    assert_eq!(who(&node.proxy), pair("system:kube-proxy", ""));
    assert!(inspect(pki.ca.cert_pem()).unwrap().is_ca);
    assert!(!inspect(&cp.admin.cert_pem).unwrap().is_ca);
}

#[test]
fn certificates_verify_against_a_stored_authority() {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let stored = serde_json::to_string(&ClusterPki::generate().unwrap().to_pem()).unwrap();
    let pki = ClusterPki::from_pem(&serde_json::from_str(&stored).unwrap()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pki.ca.cert_pem().as_bytes()).unwrap())
        .unwrap();
    let roots = std::sync::Arc::new(roots);
    let cp = pki.control_plane(&names(&[], &[])).unwrap();
    let der = |leaf: &Leaf| CertificateDer::from_pem_slice(leaf.cert_pem.as_bytes()).unwrap();

    let server = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .unwrap();
    use rustls::client::danger::ServerCertVerifier as _;
    let check = |name: &'static str| {
        let name = ServerName::try_from(name).unwrap();
        server.verify_server_cert(&der(&cp.apiserver), &[], &name, &[], UnixTime::now())
    };
    check("kubernetes.default.svc").unwrap();
    check("127.0.0.1").unwrap();
    check("elsewhere.example").unwrap_err();

    let client = rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider)
        .build()
        .unwrap();
    client
        .verify_client_cert(&der(&cp.admin), &[], UnixTime::now())
        .unwrap();
    client
        .verify_client_cert(&der(&cp.front_proxy_client), &[], UnixTime::now())
        .unwrap_err();
}

#[test]
fn secrets_do_not_print() {
    let pki = ClusterPki::generate().unwrap();
    let text = format!("{pki:?} {:?}", pki.admin().unwrap());
    assert!(!text.contains("PRIVATE"));
}

fn access(name: &str) -> Access<'_> {
    Access {
        name,
        server: "https://127.0.0.1:6443",
        ca_pem: "CA",
        cert_pem: "CERT",
        key_pem: "KEY",
    }
}

const FOREIGN: &str = "\
apiVersion: v1
kind: Config
preferences: {colors: true}
current-context: work
clusters:
- name: work
  cluster: {server: 'https://work:443', insecure-skip-tls-verify: true}
contexts:
- name: work
  context: {cluster: work, user: me, namespace: 'on'}
users:
- name: me
  user: {token: '0777'}
";

fn load(path: &std::path::Path) -> serde_json::Value {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn merge_and_remove_leave_others_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    std::fs::write(&file, FOREIGN).unwrap();
    let before = load(&file);
    let at = Locations::explicit(&file);
    assert_eq!(kubeconfig::merge(&at, &access("dev"), true).unwrap(), file);
    kubeconfig::merge(&at, &access("dev"), true).unwrap();
    let merged = load(&file);
    assert_eq!(merged["current-context"], "dev");
    assert_eq!(merged["contexts"].as_array().unwrap().len(), 2);
    assert_eq!(merged["users"][0], before["users"][0]);
    assert_eq!(merged["contexts"][0]["context"]["namespace"], "on");
    assert_eq!(merged["preferences"], before["preferences"]);
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(kubeconfig::has_context(&at, "dev").unwrap());

    assert_eq!(
        kubeconfig::remove(&at, "dev").unwrap(),
        std::slice::from_ref(&file)
    );
    let mut after = load(&file);
    assert_eq!(after["current-context"], "");
    after["current-context"] = "work".into();
    assert_eq!(after, before);
    assert!(kubeconfig::remove(&at, "dev").unwrap().is_empty());
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no lock or temporary file is left"
    );
}

#[test]
fn the_last_cluster_takes_the_file_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    let at = Locations::explicit(&file);
    kubeconfig::merge(&at, &access("a"), true).unwrap();
    kubeconfig::merge(&at, &access("b"), true).unwrap();
    kubeconfig::remove(&at, "b").unwrap();
    assert!(file.exists());
    kubeconfig::remove(&at, "a").unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_current_context_can_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    std::fs::write(&file, FOREIGN).unwrap();
    let at = Locations::explicit(&file);
    kubeconfig::merge(&at, &access("dev"), false).unwrap();
    assert_eq!(kubeconfig::current_context(&at).unwrap().as_deref(), Some("work"));
    kubeconfig::remove(&at, "dev").unwrap();
    assert_eq!(kubeconfig::current_context(&at).unwrap().as_deref(), Some("work"));
}

#[test]
fn entries_of_others_are_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    std::fs::write(&file, FOREIGN).unwrap();
    let at = Locations::explicit(&file);
    assert!(matches!(
        kubeconfig::check(&at, "work"),
        Err(Error::Foreign { .. })
    ));
    assert!(matches!(
        kubeconfig::merge(&at, &access("work"), true),
        Err(Error::Foreign { .. })
    ));
    kubeconfig::remove(&at, "work").unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), FOREIGN);
}

#[test]
fn a_broken_file_is_named_and_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    std::fs::write(&file, "clusters: [").unwrap();
    let at = Locations::explicit(&file);
    let error = kubeconfig::merge(&at, &access("dev"), true).unwrap_err();
    assert!(error.to_string().contains("config is no kubeconfig"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "clusters: [");
}

#[test]
fn several_files_follow_kubectl() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|n| dir.path().join(n));
    let list = std::env::join_paths([&a, &b, &c]).unwrap();
    let at = Locations::from(Some(&list), None).unwrap();
    assert_eq!(at.default_file(), c, "none exists: the last");
    std::fs::write(&b, FOREIGN).unwrap();
    assert_eq!(at.default_file(), b, "the first that exists");
    std::fs::write(&a, "").unwrap();
    assert_eq!(kubeconfig::merge(&at, &access("dev"), true).unwrap(), a);
    assert_eq!(
        load(&b)["current-context"],
        "dev",
        "the file that has a current context keeps having it"
    );
    // An entry is changed where it is.
    let moved = std::fs::read_to_string(&a).unwrap();
    std::fs::write(&c, moved).unwrap();
    std::fs::write(&a, "").unwrap();
    let again = Access {
        server: "https://127.0.0.1:7777",
        ..access("dev")
    };
    assert_eq!(kubeconfig::merge(&at, &again, true).unwrap(), c);
    assert_eq!(
        load(&c)["clusters"][0]["cluster"]["server"],
        "https://127.0.0.1:7777"
    );
    assert_eq!(std::fs::read_to_string(&a).unwrap(), "");
    kubeconfig::remove(&at, "dev").unwrap();
    assert_eq!(load(&b)["current-context"], "");
}

#[test]
fn default_location_is_in_the_home_directory() {
    let home = Some(PathBuf::from("/home/me"));
    assert_eq!(
        Locations::from(None, home.clone()).unwrap().default_file(),
        PathBuf::from("/home/me/.kube/config")
    );
    assert_eq!(
        Locations::from(Some(OsStr::new("")), home).unwrap().files().len(),
        1
    );
    assert!(matches!(Locations::from(None, None), Err(Error::NoHome)));
}

#[test]
fn parallel_edits_all_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sub").join("config");
    std::thread::scope(|scope| {
        for i in 0..16 {
            let file = &file;
            scope.spawn(move || {
                let at = Locations::explicit(file);
                kubeconfig::merge(&at, &access(&format!("c{i}")), i == 0).unwrap();
            });
        }
    });
    assert_eq!(load(&file)["contexts"].as_array().unwrap().len(), 16);
}

#[test]
fn a_link_stays_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("real"), dir.path().join("link"));
    std::fs::write(&file, FOREIGN).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    kubeconfig::merge(&Locations::explicit(&link), &access("dev"), true).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(load(&file)["current-context"], "dev");
}

#[test]
fn a_kubeconfig_alone_is_complete() {
    let value: serde_json::Value = serde_saphyr::from_str(&access("dev").to_yaml()).unwrap();
    assert_eq!(value["current-context"], "dev");
    assert_eq!(
        value["clusters"][0]["cluster"]["certificate-authority-data"],
        "Q0E="
    );
    assert_eq!(value["users"][0]["user"]["client-key-data"], "S0VZ");
}
