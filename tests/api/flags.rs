//! What is switched on by flags, each through the real binary.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::{Value, json};

use crate::server::{Api, Server, pod, program};
use crate::tls::self_signed;

/// A folder with one file, and the file's path.
fn file(name: &str, content: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("a file");
    (folder, path.display().to_string())
}

fn whoami() -> Value {
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
}

const WHOAMI: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// What a server says that does not start, on standard error.
fn refusal(flags: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(program("RKIND_BIN"))
        .args(["apiserver", "--secure-port=0", "--data-dir"])
        .arg(folder.path().join("data"))
        .args(flags)
        .output()
        .expect("rkind runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{flags:?}: {said}");
    said
}

#[tokio::test]
async fn runtime_config_serves_policies_that_mutate() {
    let server = Server::start_with(&["--runtime-config=admissionregistration.k8s.io/v1beta1=true"]);
    let versions = server.kubectl(&["api-versions"]);
    assert!(versions.contains("admissionregistration.k8s.io/v1beta1\n"));
    assert!(!versions.contains("v1alpha1"));
    server.kubectl_with(
        &["apply", "-f", "-"],
        r#"
apiVersion: admissionregistration.k8s.io/v1beta1
kind: MutatingAdmissionPolicy
metadata:
  name: labels
spec:
  matchConstraints:
    resourceRules:
    - apiGroups: [""]
      apiVersions: [v1]
      operations: [CREATE]
      resources: [pods]
  failurePolicy: Fail
  reinvocationPolicy: Never
  paramKind:
    apiVersion: v1
    kind: ConfigMap
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration:
      expression: 'Object{metadata: Object.metadata{labels: {"made-by": request.userInfo.username, "team": params.data.team}}}'
  - patchType: JSONPatch
    jsonPatch:
      expression: '[JSONPatch{op: "add", path: "/spec/priority", value: 0}, JSONPatch{op: "add", path: "/metadata/annotations", value: {"n": "1"}}]'
---
apiVersion: admissionregistration.k8s.io/v1beta1
kind: MutatingAdmissionPolicyBinding
metadata:
  name: labels
spec:
  policyName: labels
  paramRef:
    name: labels
    namespace: default
    parameterNotFoundAction: Deny
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: labels
  namespace: default
data:
  team: blue
"#,
    );
    assert!(
        server
            .kubectl(&["explain", "mutatingadmissionpolicy.spec.mutations"])
            .contains("patchType")
    );
    let api = server.api().await;
    let ns = api.namespace("mutated").await;
    let made = api.post(&format!("{ns}/pods"), &pod("p")).await;
    assert_eq!(
        made["metadata"]["labels"]["made-by"], "kubernetes-admin",
        "{made}"
    );
    assert_eq!(made["metadata"]["labels"]["team"], "blue", "{made}");
    assert_eq!(made["metadata"]["annotations"], json!({"n": "1"}));
    server.kubectl(&["delete", "configmap", "labels"]);
    let (code, refused) = api.send("POST", &format!("{ns}/pods"), &pod("q")).await;
    assert_eq!(code, 403, "{refused}");
}

#[tokio::test]
async fn beta_versions_share_what_is_stored() {
    let server = Server::start_with(&["--runtime-config=api/beta=true,apps/v1/daemonsets=false"]);
    let api = server.api().await;
    let (code, _) = api.send("GET", "/apis/apps/v1/daemonsets", &Value::Null).await;
    assert_eq!(code, 404);
    let resources = server.kubectl(&["api-resources", "--no-headers"]);
    assert!(!resources.contains("daemonsets"), "{resources}");
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass",
        "metadata": {"name": "fast"}, "driverName": "x.example.com", "parameters": {"iops": "1"}});
    api.post("/apis/storage.k8s.io/v1/volumeattributesclasses", &class)
        .await;
    for (path, name) in [
        (
            "/apis/storage.k8s.io/v1beta1/volumeattributesclasses/fast",
            "storage.k8s.io/v1beta1",
        ),
        (
            "/apis/storage.k8s.io/v1/volumeattributesclasses/fast",
            "storage.k8s.io/v1",
        ),
    ] {
        let read = api.get(path).await;
        assert_eq!(
            (&read["apiVersion"], &read["driverName"]),
            (&json!(name), &json!("x.example.com"))
        );
    }
    // Devices are described otherwise in each version.
    let claim = json!({"apiVersion": "resource.k8s.io/v1beta1", "kind": "ResourceClaim", "metadata": {"name": "c"},
        "spec": {"devices": {"requests": [{"name": "r", "deviceClassName": "gpu"}]}}});
    let path = |version: &str| format!("/apis/resource.k8s.io/{version}/namespaces/default/resourceclaims");
    api.post(&path("v1beta1"), &claim).await;
    let exactly = json!({"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1});
    for version in ["v1", "v1beta2"] {
        let read = api.get(&format!("{}/c", path(version))).await;
        assert_eq!(
            read["spec"]["devices"]["requests"],
            json!([{"name": "r", "exactly": exactly}]),
            "{version}"
        );
    }
    let read = api.get(&format!("{}/c", path("v1beta1"))).await;
    assert_eq!(
        read["spec"]["devices"]["requests"],
        json!([{"name": "r", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}])
    );
}

#[tokio::test]
async fn who_is_believed() {
    let (_tokens, tokens) = file("tokens.csv", "secret,jane,42,\"devs,ops\"\n");
    let server = Server::start_with(&[
        &format!("--token-auth-file={tokens}"),
        "--anonymous-auth=false",
        "--enable-bootstrap-token-auth",
        "--api-audiences=kube,other",
        "--service-account-max-token-expiration=2h",
    ]);
    let nobody = Api(server.client_with_token(None).await);
    let (code, _) = nobody.send("GET", "/healthz", &Value::Null).await;
    assert_eq!(code, 401, "not even health, without credentials");
    let jane = Api(server.client_with_token(Some("secret".into())).await);
    let user = jane.post(WHOAMI, &whoami()).await["status"]["userInfo"].clone();
    assert_eq!(
        user,
        json!({"username": "jane", "uid": "42", "groups": ["devs", "ops", "system:authenticated"]})
    );
    let api = server.api().await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "stringData": {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"}});
    api.post("/api/v1/namespaces/kube-system/secrets", &secret).await;
    let joining = Api(server
        .client_with_token(Some("abcdef.0123456789abcdef".into()))
        .await);
    let user = joining.post(WHOAMI, &whoami()).await["status"]["userInfo"].clone();
    assert_eq!(user["username"], "system:bootstrap:abcdef");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
    api.post("/api/v1/namespaces/default/serviceaccounts", &account)
        .await;
    let wanted = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 86400}});
    let path = "/api/v1/namespaces/default/serviceaccounts/robot/token";
    let issued = api.post(path, &wanted).await;
    assert_eq!(issued["spec"]["audiences"], json!(["kube", "other"]));
    assert_eq!(issued["spec"]["expirationSeconds"], 7200);
}

#[tokio::test]
async fn configurations_of_authentication_and_authorization() {
    let (_authn, authn) = file(
        "authn.yaml",
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {enabled: true, conditions: [{path: /livez}]}\n",
    );
    let (_authz, authz) = file(
        "authz.yaml",
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- {type: AlwaysAllow, name: everybody}\n",
    );
    let (_tokens, tokens) = file("tokens.csv", "secret,jane,42\n");
    let server = Server::start_with(&[
        &format!("--authentication-config={authn}"),
        &format!("--authorization-config={authz}"),
        &format!("--token-auth-file={tokens}"),
    ]);
    let nobody = Api(server.client_with_token(None).await);
    for (path, wanted) in [("/livez", 200), ("/healthz", 401)] {
        let (code, _) = nobody.send("GET", path, &Value::Null).await;
        assert_eq!(code, wanted, "{path}");
    }
    let jane = Api(server.client_with_token(Some("secret".into())).await);
    let (code, _) = jane.send("GET", "/api/v1/secrets", &Value::Null).await;
    assert_eq!(code, 200, "authorizers are those of the file");
    // Both are read again when they change; what cannot be used is counted, and what was there stays.
    let text = std::fs::read_to_string(&authn).expect("a file");
    std::fs::write(&authn, text.replace("/livez", "/healthz")).expect("a file");
    becomes(&nobody, "/healthz", 200).await;
    becomes(&nobody, "/livez", 401).await;
    let text = std::fs::read_to_string(&authz).expect("a file");
    std::fs::write(&authz, text.replace("AlwaysAllow", "AlwaysDeny")).expect("a file");
    let refused = "apiserver_authorization_config_controller_automatic_reloads_total{";
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (_, metrics) = jane.send("GET", "/metrics", &Value::Null).await;
        let metrics = metrics.as_str().expect("text");
        if metrics
            .lines()
            .any(|line| line.starts_with(refused) && line.contains("failure"))
        {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "the missing authorizer is not complained of"
        );
        // What a server answers can only be asked again.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    becomes(&jane, "/api/v1/secrets", 200).await;
}

/// Asks until the answer has this code.
async fn becomes(api: &Api, path: &str, wanted: u16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (code, answer) = api.send("GET", path, &Value::Null).await;
        if code == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{path}: {code} {answer}");
        // What a server answers can only be asked again.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn requests_are_written_down_by_policy() {
    let (folder, policy) = file(
        "policy.yaml",
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: RequestResponse\n  resources: [{group: \"\", resources: [configmaps]}]\n- level: None\n",
    );
    let log = folder.path().join("audit.log");
    let server = Server::start_with(&[
        &format!("--audit-policy-file={policy}"),
        &format!("--audit-log-path={}", log.display()),
        "--audit-log-maxsize=1",
    ]);
    server.kubectl(&["create", "configmap", "noted", "--from-literal=k=v"]);
    server.kubectl(&["create", "namespace", "unnoted"]);
    let api = server.api().await;
    // Events are written in order: the next request's line says that those before it are there.
    let deadline = Instant::now() + Duration::from_secs(20);
    let written = loop {
        assert!(Instant::now() < deadline, "no event of a read is written");
        api.get("/api/v1/namespaces/default/configmaps/noted").await;
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if text.lines().any(|line| line.contains("\"verb\":\"get\"")) {
            break text;
        }
    };
    let events: Vec<Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is an event"))
        .collect();
    assert!(
        events
            .iter()
            .all(|event| event["objectRef"]["resource"] == "configmaps")
    );
    let created = events
        .iter()
        .find(|event| event["verb"] == "create" && event["objectRef"]["name"] == "noted")
        .expect("the creation");
    assert_eq!(created["stage"], "ResponseComplete");
    assert_eq!(created["requestObject"]["data"], json!({"k": "v"}));
    assert_eq!(created["user"]["username"], "kubernetes-admin");
}

#[tokio::test]
async fn secrets_are_encrypted_on_disk() {
    let (_folder, config) = file(
        "encryption.yaml",
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - aesgcm: {keys: [{name: k1, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}\n  - identity: {}\n",
    );
    let server = Server::start_with(&[&format!("--encryption-provider-config={config}")]);
    server.kubectl(&[
        "create",
        "secret",
        "generic",
        "s",
        "--from-literal=k=plainly-visible",
    ]);
    server.kubectl(&["create", "configmap", "c", "--from-literal=k=visible-as-ever"]);
    let encoded = "cGxhaW5seS12aXNpYmxl";
    assert_eq!(
        server.kubectl(&["get", "secret", "s", "-o", "jsonpath={.data.k}"]),
        encoded
    );
    let stored = everything_below(&server.data());
    let holds = |text: &str| stored.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(holds("k8s:enc:aesgcm:v1:k1:") && holds("visible-as-ever"));
    assert!(!holds(encoded), "the secret lies there as it is");
}

/// The bytes of all files below a folder.
fn everything_below(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(everything_below(&path));
        } else {
            all.extend(std::fs::read(path).expect("a file"));
        }
    }
    all
}

#[tokio::test]
async fn how_requests_are_treated() {
    let server = Server::start_with(&[
        "--enable-priority-and-fairness=false",
        "--max-requests-inflight=50",
        "--cors-allowed-origins=^https://ui[.]example[.]com$",
        "--strict-transport-security-directives=max-age=60,includeSubDomains",
        "--request-timeout=30s",
        "--tls-min-version=VersionTLS13",
    ]);
    let api = server.api().await;
    let answer = api
        .raw(
            "GET",
            "/version",
            &[("origin", "https://ui.example.com")],
            Vec::new(),
        )
        .await;
    let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok());
    assert_eq!(
        header("access-control-allow-origin"),
        Some("https://ui.example.com")
    );
    assert_eq!(
        header("strict-transport-security"),
        Some("max-age=60; includeSubDomains")
    );
    assert_eq!(header("x-kubernetes-pf-flowschema-uid"), None);
    let server = Server::start_with(&["--requestheader-allowed-names=proxy", "--goaway-chance=0.01"]);
    let api = server.api().await;
    let told = api
        .get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")
        .await;
    assert_eq!(told["data"]["requestheader-allowed-names"], "[\"proxy\"]");
    let answer = api.raw("GET", "/version", &[], Vec::new()).await;
    assert!(answer.headers().contains_key("x-kubernetes-pf-flowschema-uid"));
}

#[test]
fn what_cannot_be_used_names_flag_file_and_cause() {
    let (_folder, broken) = file("broken.yaml", "kind: Other\n");
    for (flag, why) in [
        (
            "--authentication-config",
            "expected kind AuthenticationConfiguration",
        ),
        (
            "--authorization-config",
            "expected kind AuthorizationConfiguration",
        ),
        (
            "--encryption-provider-config",
            "expected kind EncryptionConfiguration",
        ),
        ("--audit-policy-file", "audit policy"),
        ("--token-auth-file", "must have at least 3 columns"),
        (
            "--authentication-token-webhook-config-file",
            "no cluster with a server",
        ),
    ] {
        let said = refusal(&[&format!("{flag}={broken}")]);
        assert!(said.contains(flag) && said.contains(&broken), "{said}");
        assert!(said.contains(why), "{said}");
        let said = refusal(&[&format!("{flag}=/does/not/exist")]);
        assert!(said.contains(flag) && said.contains("/does/not/exist"), "{said}");
        assert!(said.contains("No such file"), "{said}");
    }
    for (flags, why) in [
        (
            &["--runtime-config=example.com/v1=true"][..],
            "unknown api groups example.com",
        ),
        (
            &["--authorization-mode=RBAC,RBAC"],
            "has mode specified more than once",
        ),
        (
            &["--authorization-mode=Webhook"],
            "authorization config file not passed",
        ),
        (
            &["--oidc-issuer-url=https://issuer"],
            "oidc-client-id must be specified together",
        ),
        (&["--goaway-chance=1"], "greater than 0.02"),
        (
            &["--tls-cipher-suites=NULL"],
            "cipher suite NULL is not supported",
        ),
        (
            &["--enable-admission-plugins=Magic"],
            "admission plugin \"Magic\" is unknown",
        ),
    ] {
        let said = refusal(flags);
        assert!(said.contains(why), "{flags:?}: {said}");
    }
}

#[tokio::test]
async fn certificates_of_ones_own() {
    let (own, named) = (
        self_signed(&["localhost", "127.0.0.1"]),
        self_signed(&["api.example.com"]),
    );
    let strangers = rkind_pki::ClusterPki::generate().expect("an authority");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let pair = format!(
        "{},{}",
        write("sni.crt", &named.certificate),
        write("sni.key", &named.key)
    );
    let server = Server::start_with(&[
        &format!("--tls-cert-file={}", write("own.crt", &own.certificate)),
        &format!("--tls-private-key-file={}", write("own.key", &own.key)),
        &format!("--tls-sni-cert-key={pair}"),
        &format!("--tls-sni-cert-key={pair}:*.example.org,other.example.net"),
        &format!(
            "--client-ca-file={}",
            write("ca.crt", &strangers.to_pem().ca_cert)
        ),
    ]);
    // The kubeconfig believes what is served.
    assert_eq!(
        server.kubectl(&["get", "ns", "default", "-o", "name"]),
        "namespace/default\n"
    );
    let believes = |certificate: &str, name: &str| {
        let (der, name) = (der(certificate), name.to_owned());
        server.client_as(move |config| {
            config.root_cert = Some(vec![der]);
            config.tls_server_name = Some(name);
        })
    };
    // The names said count, and not those that the certificate has: clients check those.
    for (certificate, name, fits) in [
        (&own.certificate, "localhost", true),
        (&named.certificate, "api.example.com", true),
        (&own.certificate, "api.example.com", false),
        (&named.certificate, "localhost", false),
    ] {
        let client = believes(certificate, name).await;
        let asked = client.apiserver_version().await;
        assert_eq!(asked.is_ok(), fits, "{name}: {asked:?}");
    }
    for (name, shown) in [
        ("a.example.org", &named),
        ("other.example.net", &named),
        ("a.b.example.org", &own),
    ] {
        assert_eq!(
            shown_by_name(&server, name).await,
            der(&shown.certificate),
            "{name}"
        );
    }
    // Whom the further authority vouches for is believed, as is the administrator above.
    let subject = rkind_pki::Subject {
        user: "jane",
        groups: &["devs"],
    };
    let leaf = strangers.ca.client(subject).expect("a certificate");
    let encode = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
    let jane = Api(server
        .client_as(|config| {
            config.auth_info = kube::config::AuthInfo {
                client_certificate_data: Some(encode(&leaf.cert_pem)),
                client_key_data: Some(encode(&leaf.key_pem).into()),
                ..Default::default()
            };
        })
        .await);
    let user = jane.post(WHOAMI, &whoami()).await["status"]["userInfo"].clone();
    assert_eq!(
        (&user["username"], &user["groups"][0]),
        (&json!("jane"), &json!("devs"))
    );
}

fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .expect("PEM")
        .to_vec()
}

/// The certificate that a server shows to who asks for a name.
async fn shown_by_name(server: &Server, name: &str) -> Vec<u8> {
    let target = rkind_tests::servers::Target::of_kubeconfig(server.kubeconfig()).expect("a target");
    let stream = tokio::net::TcpStream::connect(target.address)
        .await
        .expect("it listens");
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(target.tls));
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let stream = connector.connect(name, stream).await.expect("a handshake");
    let shown = stream.get_ref().1.peer_certificates().expect("certificates");
    shown[0].to_vec()
}
