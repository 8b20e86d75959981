//! Each way to be believed, against a server.

mod oidc;

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use rkind_pki::ClusterPki;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::tests::{
    Fixture, fixture, fixture_of,
    hooks::{Hook, Reply},
};

/// What `SelfSubjectReview` says of a request, or its code.
async fn whoami(f: &Fixture, headers: &[(&str, &str)], connection: Option<Connection>) -> Result<Value, u16> {
    let mut request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let mut request = request.body(Body::from(body.to_string())).unwrap();
    if let Some(connection) = connection {
        request.extensions_mut().insert(connection);
    }
    let response = f.server.router().oneshot(request).await.unwrap();
    let code = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let value: Value = serde_json::from_slice(&bytes).unwrap();
    if code == StatusCode::CREATED {
        Ok(value["status"]["userInfo"].clone())
    } else {
        Err(code.as_u16())
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn shows(f: &Fixture, pem: &str) -> Connection {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    Connection {
        peer: None,
        certificate: f.server.core.authn.shown(&chain),
    }
}

#[tokio::test]
async fn certificates_and_front_proxies() {
    let pki = ClusterPki::generate().unwrap();
    let pem = pki.to_pem();
    let f = fixture_of(|o| {
        o.ca_cert = pem.ca_cert.clone();
        o.front_proxy_ca_cert = pem.front_proxy_ca_cert.clone();
    })
    .await;
    let admin = pki.admin().unwrap().cert_pem;
    let user = whoami(&f, &[], Some(shows(&f, &admin))).await.unwrap();
    assert_eq!(user["username"], "kubernetes-admin");
    let id = user["extra"]["authentication.kubernetes.io/credential-id"][0]
        .as_str()
        .unwrap();
    assert!(id.starts_with("X509SHA256=") && id.len() == 11 + 64, "{id}");

    let subject = |user: &'static str| rkind_pki::Subject { user, groups: &[] };
    let proxy = pki
        .front_proxy_ca
        .client(subject("front-proxy-client"))
        .unwrap()
        .cert_pem;
    let headers = [
        ("x-remote-user", "jane"),
        ("x-remote-uid", "7"),
        ("x-remote-group", "devs"),
        ("x-remote-group", "ops"),
        ("x-remote-extra-acme.com%2fscopes", "a"),
    ];
    let user = whoami(&f, &headers, Some(shows(&f, &proxy))).await.unwrap();
    assert_eq!(
        user,
        json!({"username": "jane", "uid": "7", "groups": ["devs", "ops", "system:authenticated"],
            "extra": {"acme.com/scopes": ["a"]}})
    );
    // The headers alone prove nothing, nor does another name of the proxy's authority, nor a
    // certificate of nobody's authority.
    assert_eq!(whoami(&f, &headers, None).await, Err(403));
    let stranger = pki.front_proxy_ca.client(subject("somebody")).unwrap().cert_pem;
    assert_eq!(whoami(&f, &headers, Some(shows(&f, &stranger))).await, Err(401));
    let other = ClusterPki::generate().unwrap().admin().unwrap().cert_pem;
    assert_eq!(whoami(&f, &[], Some(shows(&f, &other))).await, Err(401));
    // A user's certificate may not speak for others.
    let user = whoami(&f, &headers, Some(shows(&f, &admin))).await.unwrap();
    assert_eq!(user["username"], "kubernetes-admin");
}

fn bootstrap_secret(id: &str, edit: impl FnOnce(&mut Value)) -> Value {
    let b64 = |text: &str| STANDARD.encode(text);
    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
    "metadata": {"name": format!("bootstrap-token-{id}"), "namespace": "kube-system"},
    "data": {"token-id": b64(id), "token-secret": b64("0123456789abcdef"),
        "usage-bootstrap-authentication": b64("true"),
        "auth-extra-groups": b64("system:bootstrappers:kubeadm:default-node-token")}});
    edit(&mut secret);
    secret
}

#[tokio::test]
async fn bootstrap_tokens() {
    let f = fixture_of(|o| o.features.authentication.enable_bootstrap_token_auth = true).await;
    let b64 = |text: &str| json!(STANDARD.encode(text));
    let groups = json!([
        "system:bootstrappers",
        "system:bootstrappers:kubeadm:default-node-token",
        "system:authenticated"
    ]);
    for (id, edit, wanted) in [
        (
            "aaaaaa",
            Box::new(|_: &mut Value| {}) as Box<dyn FnOnce(&mut Value)>,
            true,
        ),
        (
            "bbbbbb",
            Box::new(|s: &mut Value| s["data"]["expiration"] = b64("2020-01-01T00:00:00Z")),
            false,
        ),
        (
            "cccccc",
            Box::new(|s: &mut Value| s["data"]["expiration"] = b64("2999-01-01T00:00:00Z")),
            true,
        ),
        (
            "dddddd",
            Box::new(|s: &mut Value| s["data"]["usage-bootstrap-authentication"] = b64("false")),
            false,
        ),
        (
            "eeeeee",
            Box::new(|s: &mut Value| s["type"] = json!("Opaque")),
            false,
        ),
        (
            "ffffff",
            Box::new(|s: &mut Value| s["data"]["auth-extra-groups"] = b64("system:masters")),
            false,
        ),
    ] {
        let (code, made) = f
            .send(
                "POST",
                "/api/v1/namespaces/kube-system/secrets",
                bootstrap_secret(id, edit),
            )
            .await;
        assert_eq!(code, StatusCode::CREATED, "{made}");
        let token = bearer(&format!("{id}.0123456789abcdef"));
        match whoami(&f, &[("authorization", &token)], None).await {
            Ok(user) if wanted => {
                assert_eq!(user["username"], format!("system:bootstrap:{id}"));
                assert_eq!(user["groups"], groups);
            }
            other => assert_eq!(other, Err(401), "{id}"),
        }
    }
    let wrong = bearer("aaaaaa.0123456789abcdee");
    assert_eq!(whoami(&f, &[("authorization", &wrong)], None).await, Err(401));
}

#[tokio::test]
async fn token_files_and_anonymous_paths() {
    let f = fixture_of(|o| {
        let authentication = &mut o.features.authentication;
        authentication.token_auth_file = Some("secret,jane,42,\"devs,ops\"\n".into());
        authentication.authentication_config = Some(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous:\n  enabled: true\n  conditions:\n  - path: /livez\n"
                .into(),
        );
    })
    .await;
    let user = whoami(&f, &[("authorization", "bearer secret")], None)
        .await
        .unwrap();
    assert_eq!(
        user,
        json!({"username": "jane", "uid": "42", "groups": ["devs", "ops", "system:authenticated"]})
    );
    let ask = async |uri: &'static str| {
        let request = Request::get(uri).body(Body::empty()).unwrap();
        f.server
            .router()
            .oneshot(request)
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(
        (ask("/livez").await, ask("/healthz").await, ask("/version").await),
        (200, 401, 401)
    );
}

#[tokio::test]
async fn a_webhook_knows_tokens() {
    let hook = Hook::start(|_, review| {
        let known = review["spec"]["token"] == "good";
        Reply::Json(json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "status": {"authenticated": known, "user": {"username": "hooked", "groups": ["g"], "extra": {"k": ["v"]}},
                "audiences": review["spec"]["audiences"]}}))
    })
    .await;
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster:\n    server: https://{}/authn\n    certificate-authority-data: {}\ncurrent-context: x\ncontexts:\n- name: x\n  context: {{cluster: c, user: u}}\nusers:\n- name: u\n  user: {{token: t}}\n",
        hook.address, hook.ca_bundle
    );
    let f = fixture_of(|o| {
        o.features.authentication.authentication_token_webhook_config_file = Some(kubeconfig.into())
    })
    .await;
    for _ in 0..2 {
        let user = whoami(&f, &[("authorization", "Bearer good")], None)
            .await
            .unwrap();
        assert_eq!(
            user,
            json!({"username": "hooked", "groups": ["g", "system:authenticated"], "extra": {"k": ["v"]}})
        );
    }
    assert_eq!(
        whoami(&f, &[("authorization", "Bearer bad")], None).await,
        Err(401)
    );
    assert_eq!(hook.bodies().len(), 2, "the answer is kept");
}

#[test]
fn configurations_that_are_refused() {
    let parse = |text: &str| {
        config::parse(text)
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default()
    };
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
    for (body, why) in [
        (
            "jwt: [{issuer: {url: 'http://x', audiences: [a]}}]",
            "URL scheme must be https",
        ),
        (
            "jwt: [{issuer: {url: 'https://x'}}]",
            "at least one jwt[0].issuer.audiences is required",
        ),
        (
            "jwt: [{issuer: {url: 'https://x', audiences: [a, b]}}]",
            "audienceMatchPolicy must be MatchAny",
        ),
        (
            "jwt: [{issuer: {url: 'https://x', audiences: [a]}}]",
            "claim or expression is required",
        ),
        (
            "jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub}}}]",
            "prefix is required",
        ),
        (
            "jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {expression: 'claims.email'}}}]",
            "claims.email_verified must be used in claimMappings.username.expression",
        ),
        (
            "jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {expression: 'claim.sub'}}}]",
            "jwt[0].claimMappings.username.expression: Invalid value: \"claim.sub\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'claim'",
        ),
        (
            "jwt: [{issuer: {url: 'https://x', audiences: [a]}, userValidationRules: [{expression: 'user.username'}]}]",
            "jwt[0].userValidationRules[0].expression: Invalid value: \"user.username\": must evaluate to bool",
        ),
        (
            "jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {extra: [{key: x.k8s.io/a, valueExpression: claims.a}]}}]",
            "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use",
        ),
        (
            "anonymous: {enabled: false, conditions: [{path: /livez}]}",
            "enabled should be set to true",
        ),
        ("jwt: [{issuers: {}}]", "unknown field `issuers`"),
    ] {
        let error = parse(&format!("{head}{body}"));
        assert!(error.contains(why), "{body}: {error}");
    }
    assert!(parse("kind: Other").contains("expected kind AuthenticationConfiguration"));
}

#[tokio::test]
async fn default_tokens_of_pods_live_long_and_warn() {
    let f = fixture().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    f.send("POST", accounts, account).await;
    let (code, pod) = f
        .send("POST", "/api/v1/namespaces/default/pods", crate::tests::pod("p"))
        .await;
    assert_eq!(code, StatusCode::CREATED, "{pod}");
    for (seconds, lifetime) in [(token::PROJECTED, 365 * 24 * 60 * 60), (3600, 3600)] {
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
            "expirationSeconds": seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": pod["metadata"]["uid"]}}});
        let (code, answer) = f
            .send("POST", &format!("{accounts}/default/token"), request)
            .await;
        assert_eq!(code, StatusCode::CREATED, "{answer}");
        let claims = jwt::claims(answer["status"]["token"].as_str().unwrap()).unwrap();
        let (from, to) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert_eq!(to - from, lifetime);
        let warn = claims["kubernetes.io"]["warnafter"].as_i64();
        assert_eq!(warn, (seconds == token::PROJECTED).then_some(from + seconds));
    }
}

#[tokio::test]
async fn no_token_lives_longer_than_is_allowed() {
    let f = fixture_of(|o| {
        o.features.authentication.service_account_max_token_expiration = std::time::Duration::from_secs(1200)
    })
    .await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot"}});
    f.send("POST", accounts, account).await;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
    let (code, answer) = f.send("POST", &format!("{accounts}/bot/token"), request).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    assert_eq!(answer["spec"]["expirationSeconds"], 1200);
    let claims = jwt::claims(answer["status"]["token"].as_str().unwrap()).unwrap();
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        1200
    );
}

#[tokio::test]
async fn tokens_in_secrets_are_believed_and_marked() {
    let keys = ClusterPki::generate().unwrap().to_pem();
    let signer = jwt::Signer::from_pem(&keys.sa_private_key, &keys.sa_public_key).unwrap();
    let f = fixture_of(|o| {
        o.sa_private_key = keys.sa_private_key.clone();
        o.sa_public_keys = vec![keys.sa_public_key.clone()];
    })
    .await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot"}});
    let (_, account) = f
        .send("POST", "/api/v1/namespaces/default/serviceaccounts", account)
        .await;
    let token = signer
        .sign(
            &json!({"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:default:bot",
            "kubernetes.io/serviceaccount/namespace": "default",
            "kubernetes.io/serviceaccount/secret.name": "bot-token",
            "kubernetes.io/serviceaccount/service-account.name": "bot",
            "kubernetes.io/serviceaccount/service-account.uid": account["metadata"]["uid"]}),
        )
        .unwrap();
    assert_eq!(
        whoami(&f, &[("authorization", &bearer(&token))], None).await,
        Err(401)
    );
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "bot-token", "annotations": {"kubernetes.io/service-account.name": "bot"}},
        "data": {"token": STANDARD.encode(&token)}});
    let secrets = "/api/v1/namespaces/default/secrets";
    let (code, made) = f.send("POST", secrets, secret).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let user = whoami(&f, &[("authorization", &bearer(&token))], None)
        .await
        .unwrap();
    assert_eq!(user["username"], "system:serviceaccount:default:bot");
    let marked = f.get(&format!("{secrets}/bot-token")).await;
    let day = marked["metadata"]["labels"]["kubernetes.io/legacy-token-last-used"]
        .as_str()
        .unwrap();
    assert_eq!(day, jiff::Timestamp::now().strftime("%Y-%m-%d").to_string());
}

/// Anybody can send tokens that name a provider: one that is down is not asked for each of them.
#[tokio::test]
async fn a_provider_that_fails_is_left_in_peace() {
    let hook = Hook::start(|_, _| Reply::Json(json!({"issuer": "https://somebody.else"}))).await;
    let url = format!("https://{}", hook.address);
    let ca = String::from_utf8(STANDARD.decode(&hook.ca_bundle).unwrap()).unwrap();
    let config = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {"url": url, "audiences": ["kube"], "certificateAuthority": ca},
            "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
        }],
    });
    let f = fixture_of(|o| o.features.authentication.authentication_config = Some(config.to_string().into()))
        .await;
    let keys = ClusterPki::generate().unwrap().to_pem();
    let signer = jwt::Signer::from_pem(&keys.sa_private_key, &keys.sa_public_key).unwrap();
    let token = bearer(
        &signer
            .sign(&json!({"iss": url, "aud": "kube", "sub": "x"}))
            .unwrap(),
    );
    for _ in 0..5 {
        assert_eq!(whoami(&f, &[("authorization", &token)], None).await, Err(401));
    }
    assert_eq!(hook.paths(), ["/.well-known/openid-configuration"]);
}
