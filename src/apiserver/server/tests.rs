use std::time::Duration;

use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use rkind_pki::{ClusterPki, ServerNames};
use rustls_pki_types::ServerName;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::{
    options::NamedPair,
    outbound::{Connector, HttpClient, Trust, explain},
    tests::{eventually, fixture, fixture_of},
};

fn options(pki: &ClusterPki, name: &str) -> TlsOptions {
    let names = ServerNames {
        nodes: &[("localhost", [127, 0, 0, 1].into())],
        kubernetes_ip: [10, 96, 0, 1].into(),
        dns_domain: "cluster.local",
        extra: &[name.to_owned()],
    };
    let leaf = pki.control_plane(&names).unwrap().apiserver;
    TlsOptions {
        certificate: leaf.cert_pem,
        key: leaf.key_pem,
        client_ca: pki.to_pem().ca_cert,
        ..Default::default()
    }
}

fn client(pki: &ClusterPki, port: u16, name: &str, identity: Option<(String, String)>) -> HttpClient {
    let trust = Trust {
        ca: pki.to_pem().ca_cert.into_bytes(),
        insecure: false,
        identity,
    };
    let connector = Connector {
        locate: Arc::new(move || Ok(("127.0.0.1".into(), port))),
        tls: Some((
            trust.config().unwrap(),
            ServerName::try_from(name.to_owned()).unwrap(),
        )),
    };
    connector.client()
}

async fn get(client: &HttpClient, path: &str) -> Result<u16, String> {
    let request = Request::get(format!("https://server{path}"))
        .body(Body::empty())
        .unwrap();
    let response = client.request(request).await.map_err(|e| explain(&e))?;
    let code = response.status().as_u16();
    response.into_body().collect().await.map_err(|e| e.to_string())?;
    Ok(code)
}

#[tokio::test]
async fn certificates_are_chosen_by_name_and_judged_after_the_handshake() {
    let (pki, other) = (ClusterPki::generate().unwrap(), ClusterPki::generate().unwrap());
    let f = fixture_of(|o| o.ca_cert = pki.to_pem().ca_cert).await;
    let mut tls = options(&pki, "server");
    let subject = rkind_pki::Subject {
        user: "other",
        groups: &[],
    };
    let named = other.ca.server(subject, &["api.example.com".to_owned()]).unwrap();
    tls.sni = vec![NamedPair {
        certificate: named.cert_pem,
        key: named.key_pem,
        names: Vec::new(),
    }];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, server) = (CancellationToken::new(), f.server.clone());
    let (config, token) = (tls.config().unwrap(), stop.clone());
    let served = tokio::spawn(async move { server.serve(listener, config, token).await });

    assert_eq!(
        get(&client(&pki, port, "localhost", None), "/version").await,
        Ok(200)
    );
    assert_eq!(
        get(&client(&other, port, "api.example.com", None), "/version").await,
        Ok(200)
    );
    // A name of the other certificate is not shown the first one.
    let wrong = get(&client(&pki, port, "api.example.com", None), "/version").await;
    assert!(wrong.unwrap_err().contains("invalid peer certificate"));
    let pair = |pki: &ClusterPki| pki.admin().map(|leaf| (leaf.cert_pem, leaf.key_pem)).ok();
    let admin = client(&pki, port, "localhost", pair(&pki));
    assert_eq!(get(&admin, "/api/v1/secrets").await, Ok(200));
    let stranger = client(&pki, port, "localhost", pair(&other));
    assert_eq!(get(&stranger, "/version").await, Ok(401));
    stop.cancel();
    served.await.unwrap().unwrap();
}

#[test]
fn versions_and_suites_by_upstreams_names() {
    let pki = ClusterPki::generate().unwrap();
    let with = |version: &str, suites: &[&str]| {
        let mut tls = options(&pki, "server");
        tls.min_version = version.into();
        tls.cipher_suites = suites.iter().map(|s| (*s).to_owned()).collect();
        tls.config().map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(with("VersionTLS13", &[]), Ok(()));
    assert_eq!(
        with("VersionTLS12", &["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]),
        Ok(())
    );
    assert_eq!(with("", &["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"]), Ok(()));
    assert!(with("VersionTLS14", &[]).unwrap_err().contains("VersionTLS14"));
    assert_eq!(
        with("", &["TLS_RSA_WITH_RC4_128_SHA"]),
        Err("cipher suite TLS_RSA_WITH_RC4_128_SHA is not supported or doesn't exist".into())
    );
}

#[tokio::test]
async fn it_says_that_it_leaves_before_it_does() {
    let pki = ClusterPki::generate().unwrap();
    let f = fixture_of(|o| {
        o.ca_cert = pki.to_pem().ca_cert;
        o.features.serving.shutdown_delay_duration = Duration::from_secs(4);
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, server) = (CancellationToken::new(), f.server.clone());
    let (config, token) = (options(&pki, "server").config().unwrap(), stop.clone());
    let served = tokio::spawn(async move { server.serve(listener, config, token).await });
    let identity = pki.admin().map(|leaf| (leaf.cert_pem, leaf.key_pem)).unwrap();
    let admin = client(&pki, port, "localhost", Some(identity));
    assert_eq!(get(&admin, "/readyz").await, Ok(200));
    let watch = Request::get("https://server/api/v1/secrets?watch=true")
        .body(Body::empty())
        .unwrap();
    let mut events = admin.request(watch).await.unwrap().into_body();

    stop.cancel();
    eventually("readyz to fail", async || {
        (get(&admin, "/readyz").await == Ok(500)).then_some(())
    })
    .await;
    assert_eq!(get(&admin, "/livez").await, Ok(200));
    assert_eq!(
        get(&admin, "/api/v1/secrets").await,
        Ok(200),
        "what comes now is still served"
    );
    assert_eq!(get(&admin, "/readyz?exclude=shutdown").await, Ok(200));
    // The watch ends by itself, well before the drain time.
    while let Some(Ok(_)) = events.frame().await {}
    served.await.unwrap().unwrap();
    assert!(
        get(&client(&pki, port, "localhost", None), "/version")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn origins_and_transport_security() {
    let f = fixture_of(|o| {
        o.features.serving.cors_allowed_origins = vec!["^https://ui[.]example[.]com$".into()];
        o.features.serving.strict_transport_security_directives =
            vec!["max-age=31536000".into(), "includeSubDomains".into()];
    })
    .await;
    let ask = async |method: &str, origin: &str| {
        let request = Request::builder()
            .method(method)
            .uri("/version")
            .header("origin", origin);
        let request = request.body(Body::empty()).unwrap();
        f.server.router().oneshot(request).await.unwrap()
    };
    let text = |response: &http::Response<Body>, name: &str| {
        let value = response.headers().get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let good = ask("GET", "https://ui.example.com").await;
    assert_eq!(
        text(&good, "access-control-allow-origin"),
        "https://ui.example.com"
    );
    assert_eq!(
        text(&good, "strict-transport-security"),
        "max-age=31536000; includeSubDomains"
    );
    let before = ask("OPTIONS", "https://ui.example.com").await;
    assert_eq!(before.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        text(&before, "access-control-allow-methods"),
        "POST, GET, OPTIONS, PUT, DELETE, PATCH"
    );
    let bad = ask("GET", "https://evil.example.com").await;
    assert_eq!(text(&bad, "access-control-allow-origin"), "");
}

#[tokio::test]
async fn checks_are_named_and_can_be_left_out() {
    let f = fixture().await;
    let text = async |uri: &str| f.get(uri).await.as_str().unwrap_or_default().to_owned();
    assert_eq!(text("/livez").await, "ok");
    let verbose = text("/readyz?verbose").await;
    for line in [
        "[+]ping ok",
        "[+]etcd ok",
        "[+]poststarthook/rbac/bootstrap-roles ok",
        "[+]autoregister-completion ok",
        "[+]shutdown ok",
        "readyz check passed",
    ] {
        assert!(verbose.lines().any(|l| l == line), "{line} is not in\n{verbose}");
    }
    let excluded = text("/readyz?verbose&exclude=etcd&exclude=nothing").await;
    assert!(excluded.contains("[+]etcd excluded: ok\n"));
    assert!(excluded.contains("warn: some health checks cannot be excluded: no matches for \"nothing\"\n"));
    assert_eq!(text("/readyz/ping").await, "ok");
    assert_eq!(
        f.send("GET", "/readyz/nothing", Value::Null).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        f.send("GET", "/debug/pprof/heap", Value::Null).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_timeout_that_is_none_is_refused() {
    let f = fixture().await;
    let (code, error) = f.send("GET", "/api/v1/pods?timeout=soon", Value::Null).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .starts_with("invalid timeout specified in the request URL")
    );
    assert_eq!(
        f.send("GET", "/api/v1/pods?timeout=5s", Value::Null).await.0,
        StatusCode::OK
    );
}

/// A watch over a WebSocket: the path, and what the client accepts.
async fn socket(port: u16, pki: &ClusterPki, path: &str, headers: &[(&str, &str)]) -> Result<Socket, String> {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
    let admin = pki.admin().unwrap();
    let trust = Trust {
        ca: pki.to_pem().ca_cert.into_bytes(),
        insecure: false,
        identity: Some((admin.cert_pem, admin.key_pem)),
    };
    let config = trust.config().unwrap();
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(config)
        .connect(name, stream)
        .await
        .unwrap();
    let mut request = format!("wss://localhost{path}").into_client_request().unwrap();
    for (name, value) in headers {
        let name = http::HeaderName::try_from(*name).unwrap();
        request
            .headers_mut()
            .insert(name, HeaderValue::try_from(*value).unwrap());
    }
    let connected = tokio_tungstenite::client_async(request, stream).await;
    connected.map(|(socket, _)| socket).map_err(|e| e.to_string())
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>;

#[tokio::test]
async fn a_watch_may_come_over_a_websocket() {
    use futures::StreamExt as _;
    use tokio_tungstenite::tungstenite::Message;
    let pki = ClusterPki::generate().unwrap();
    let f = fixture_of(|o| o.ca_cert = pki.to_pem().ca_cert).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, server) = (CancellationToken::new(), f.server.clone());
    let (config, token) = (options(&pki, "server").config().unwrap(), stop.clone());
    let served = tokio::spawn(async move { server.serve(listener, config, token).await });

    let path = "/api/v1/namespaces/default/configmaps?watch=true";
    let mut json = socket(port, &pki, path, &[]).await.unwrap();
    let accept = ("accept", "application/vnd.kubernetes.protobuf;stream=watch");
    let mut protobuf = socket(port, &pki, path, &[accept]).await.unwrap();
    for name in ["a", "b"] {
        let map = crate::tests::config_map(name);
        let (code, made) = f.send("POST", "/api/v1/namespaces/default/configmaps", map).await;
        assert_eq!(code, StatusCode::CREATED, "{made}");
    }
    for name in ["a", "b"] {
        let Some(Ok(Message::Text(text))) = json.next().await else {
            panic!("no text");
        };
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&event["type"], &event["object"]["metadata"]["name"]),
            (&"ADDED".into(), &name.into())
        );
        let Some(Ok(Message::Binary(bytes))) = protobuf.next().await else {
            panic!("no bytes");
        };
        // `WatchEvent.type`, the first field.
        assert!(bytes.starts_with(b"\x0a\x05ADDED"), "{bytes:?}");
    }
    // What cannot be watched is refused as ever, and a subprotocol is taken when it is the only one.
    let refused = socket(port, &pki, "/api/v1/nodes?watch=true&labelSelector=!!", &[]).await;
    assert!(refused.err().is_some_and(|why| why.contains("400")));
    let one = ("sec-websocket-protocol", "base64.binary.k8s.io");
    assert!(socket(port, &pki, path, &[one]).await.is_ok());
    let two = ("sec-websocket-protocol", "a, b");
    let refused = socket(port, &pki, path, &[two]).await;
    assert!(refused.err().is_some_and(|why| why.contains("400")));
    stop.cancel();
    served.await.unwrap().unwrap();
    // The end of the server ends the watch.
    while let Some(Ok(_)) = json.next().await {}
}
