//! Logs and upgrades through a kubelet that is a few lines of hyper.

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

/// Answers logs with the request's path and query, and echoes what comes over an upgrade.
async fn kubelet(
    mut request: Request<hyper::body::Incoming>,
) -> Result<http::Response<Body>, std::convert::Infallible> {
    if request.uri().path().starts_with("/containerLogs") {
        return Ok(http::Response::new(Body::from(request.uri().to_string())));
    }
    let uri = request.uri().to_string();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgrade.await.unwrap());
        io.write_all(uri.as_bytes()).await.unwrap();
        io.write_all(b"\n").await.unwrap();
        let (mut read, mut write) = tokio::io::split(io);
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    });
    let response = http::Response::builder()
        .status(101)
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .header("x-stream-protocol-version", "v4.channel.k8s.io");
    Ok(response.body(Body::empty()).unwrap())
}

struct Cluster {
    f: Fixture,
    pki: rkind_pki::ClusterPki,
}

async fn cluster() -> Cluster {
    let pki = rkind_pki::ClusterPki::generate().unwrap();
    let names = rkind_pki::ServerNames {
        nodes: &[("localhost", [127, 0, 0, 1].into())],
        kubernetes_ip: [10, 96, 0, 1].into(),
        dns_domain: "cluster.local",
        extra: &[],
    };
    let certificates = pki.control_plane(&names).unwrap();
    let node = pki.node("n1", &[[127, 0, 0, 1].into()]).unwrap();
    let ca = pki.to_pem().ca_cert;
    let pair = certificates.apiserver_kubelet_client;
    let f = fixture_with(Some((ca.clone(), pair.cert_pem, pair.key_pem))).await;

    let tls = crate::TlsOptions {
        certificate: node.kubelet_serving.cert_pem,
        key: node.kubelet_serving.key_pem,
        client_ca: ca,
        ..Default::default()
    };
    let acceptor = tokio_rustls::TlsAcceptor::from({
        let mut config = Arc::unwrap_or_clone(tls.config().unwrap());
        config.alpn_protocols.clear();
        Arc::new(config)
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                // Whoever asks a kubelet shows a certificate.
                assert!(stream.get_ref().1.peer_certificates().is_some());
                let service = hyper::service::service_fn(kubelet);
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                let _ = connection.with_upgrades().await;
            });
        }
    });
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    let (code, made) = f.send("POST", "/api/v1/nodes", node).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    f.send("POST", "/api/v1/namespaces/default/serviceaccounts", account)
        .await;
    let mut p = pod("p");
    p["spec"]["nodeName"] = json!("n1");
    let (code, made) = f.send("POST", "/api/v1/namespaces/default/pods", p).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    Cluster { f, pki }
}

const POD: &str = "/api/v1/namespaces/default/pods/p";

#[tokio::test]
async fn logs_come_from_the_kubelet() {
    let c = cluster().await;
    let (code, text) =
        c.f.send(
            "GET",
            &format!("{POD}/log?tailLines=5&follow=true&pretty=1"),
            Value::Null,
        )
        .await;
    assert_eq!(code, StatusCode::OK, "{text}");
    assert_eq!(text, "/containerLogs/default/p/c?follow=true&tailLines=5");
    let (code, error) =
        c.f.send("GET", &format!("{POD}/log?container=nope"), Value::Null)
            .await;
    assert_eq!(
        (code.as_u16(), error["message"].as_str()),
        (400, Some("container nope is not valid for pod p"))
    );
    let (code, _) =
        c.f.send("POST", &format!("{POD}/exec?command=ls"), Value::Null)
            .await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn upgrades_are_tunnelled() {
    let c = cluster().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let names = rkind_pki::ServerNames {
        nodes: &[("localhost", [127, 0, 0, 1].into())],
        kubernetes_ip: [10, 96, 0, 1].into(),
        dns_domain: "cluster.local",
        extra: &[],
    };
    let certificates = c.pki.control_plane(&names).unwrap();
    let ca = c.pki.to_pem().ca_cert;
    let tls = crate::TlsOptions {
        certificate: certificates.apiserver.cert_pem,
        key: certificates.apiserver.key_pem,
        client_ca: ca.clone(),
        ..Default::default()
    };
    let shutdown = tokio_util::sync::CancellationToken::new();
    let server = c.f.server.clone();
    let config = tls.config().unwrap();
    let stop = shutdown.clone();
    let serving = tokio::spawn(async move { server.serve(listener, config, stop).await });

    let stream = connect(address, &ca, &certificates.admin).await;
    let (mut read, mut write) = tokio::io::split(stream);
    let head = format!(
        "POST {POD}/exec?command=echo&command=a%20b&stdin=true&stdout=true HTTP/1.1\r\nHost: x\r\n\
         Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
    );
    write.write_all(head.as_bytes()).await.unwrap();
    write.write_all(b"hello\n").await.unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.ends_with("hello\n") {
        let n = read.read(&mut buffer).await.unwrap();
        assert_ne!(n, 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    assert!(seen.starts_with("HTTP/1.1 101"), "{seen}");
    assert!(
        seen.to_lowercase()
            .contains("x-stream-protocol-version: v4.channel.k8s.io")
    );
    assert!(
        seen.contains("/exec/default/p/c?command=echo&command=a%20b&input=1&output=1\n"),
        "{seen}"
    );
    shutdown.cancel();
    serving.await.unwrap().unwrap();
}

async fn connect(
    address: std::net::SocketAddr,
    ca: &str,
    who: &rkind_pki::Leaf,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
        .unwrap();
    let chain = vec![CertificateDer::from_pem_slice(who.cert_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(who.key_pem.as_bytes()).unwrap();
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap()
}

/// A backend that tells the request line's target and one header.
async fn backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
                let secret = request.headers().contains_key("authorization");
                let text = format!("{} {} {secret}", request.method(), request.uri());
                Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(text)))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    port
}

#[tokio::test]
async fn pods_and_services_are_proxied() {
    let c = cluster().await;
    let port = backend().await;
    let mut running = c.f.get(POD).await;
    running["status"]["phase"] = json!("Running");
    running["status"]["podIP"] = json!("127.0.0.1");
    running["status"]["podIPs"] = json!([{"ip": "127.0.0.1"}]);
    let (code, answer) = c.f.send("PUT", &format!("{POD}/status"), running).await;
    assert_eq!(code, StatusCode::OK, "{answer}");
    let uri = format!("/api/v1/namespaces/default/pods/http:p:{port}/proxy/a/b%20c?x=1");
    let (code, text) =
        c.f.send_as(
            c.f.admin(),
            "GET",
            &uri,
            Value::Null,
            &[("authorization", "Bearer x")],
        )
        .await;
    assert_eq!((code, text), (StatusCode::OK, json!("GET /a/b%20c?x=1 false")));

    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"ports": [{"name": "http", "port": 80}]}});
    c.f.send("POST", "/api/v1/namespaces/default/services", service)
        .await;
    let uri = "/api/v1/namespaces/default/services/web:http/proxy/";
    let (code, error) = c.f.send("GET", uri, Value::Null).await;
    assert_eq!(
        (code.as_u16(), error["reason"].as_str()),
        (503, Some("ServiceUnavailable")),
        "{error}"
    );
    // The API refuses loopback endpoints, so this one is put into the store.
    use rkind_store::Store as _;
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
        "ports": [{"name": "http", "port": port}]});
    let key = "/registry/discovery.k8s.io/endpointslices/default/web-1";
    c.f.store.create(key, slice.to_string().into()).await.unwrap();
    for uri in [uri, "/api/v1/namespaces/default/services/web:80/proxy"] {
        let (code, text) = c.f.send("POST", uri, json!({"a": 1})).await;
        assert_eq!((code, text), (StatusCode::OK, json!("POST / false")), "{uri}");
    }
}
