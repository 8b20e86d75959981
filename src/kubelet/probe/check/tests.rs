use rkind_cri::fake::Fake;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A server that answers every path by a table of `path -> head`.
async fn server(answers: &'static [(&'static str, &'static str)]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = text.split(' ').nth(1).unwrap_or_default();
            let head = answers
                .iter()
                .find(|(p, _)| *p == path)
                .map_or("404 Not Found", |(_, head)| *head);
            let _ = stream
                .write_all(format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n").as_bytes())
                .await;
        }
    });
    port
}

async fn probe(probe: Value) -> Result<(), String> {
    let probe: Probe = serde_json::from_value(probe).expect("a probe");
    let container = Container {
        name: "c".into(),
        ..Container::default()
    };
    check(
        &Fake::new(),
        "id",
        "127.0.0.1",
        &container,
        &probe,
        Duration::from_secs(5),
    )
    .await
}

#[tokio::test]
async fn http_codes_and_redirects() {
    let port = server(&[
        ("/ok", "200 OK"),
        ("/bad", "503 Service Unavailable"),
        ("/moved", "302 Found\r\nLocation: /ok"),
        ("/moved-bad", "302 Found\r\nLocation: /bad"),
        (
            "/away",
            "301 Moved Permanently\r\nLocation: http://elsewhere.invalid/",
        ),
        ("/round", "302 Found\r\nLocation: /round"),
    ])
    .await;
    let get = async |path: &str| probe(json!({"httpGet": {"path": path, "port": port}})).await;
    assert_eq!(get("/ok").await, Ok(()));
    assert_eq!(get("/moved").await, Ok(()));
    assert_eq!(get("/away").await, Ok(()));
    assert_eq!(
        get("/bad").await,
        Err("HTTP probe failed with statuscode: 503".into())
    );
    assert_eq!(
        get("/moved-bad").await,
        Err("HTTP probe failed with statuscode: 503".into())
    );
    assert!(
        get("/round")
            .await
            .unwrap_err()
            .ends_with("stopped after 10 redirects")
    );
    assert_eq!(probe(json!({"tcpSocket": {"port": port}})).await, Ok(()));
}

#[tokio::test]
async fn nobody_listens() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let http = probe(json!({"httpGet": {"path": "/", "port": port}}))
        .await
        .unwrap_err();
    assert_eq!(
        http,
        format!("Get \"http://127.0.0.1:{port}/\": dial tcp 127.0.0.1:{port}: connect: connection refused")
    );
    let tcp = probe(json!({"tcpSocket": {"port": port}})).await.unwrap_err();
    assert_eq!(
        tcp,
        format!("dial tcp 127.0.0.1:{port}: connect: connection refused")
    );
}

#[test]
fn ports_by_name() {
    let container: Container =
        serde_json::from_value(json!({"name": "c", "ports": [{"name": "http", "containerPort": 80}]}))
            .expect("a container");
    assert_eq!(port(&IntOrString::String("http".into()), &container), Ok(80));
    assert_eq!(port(&IntOrString::String("81".into()), &container), Ok(81));
    assert!(port(&IntOrString::String("none".into()), &container).is_err());
    assert!(port(&IntOrString::Int(0), &container).is_err());
}

/// A gRPC health service that always answers with one status.
async fn health(status: u8) -> u16 {
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service =
                hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| async move {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    let message = bytes::Bytes::from(vec![0, 0, 0, 0, 2, 8, status]);
                    let trailers = http::HeaderMap::from_iter([(
                        http::HeaderName::from_static("grpc-status"),
                        http::HeaderValue::from_static("0"),
                    )]);
                    let frames = [
                        Ok::<_, std::io::Error>(Frame::data(message)),
                        Ok(Frame::trailers(trailers)),
                    ];
                    let body = StreamBody::new(futures::stream::iter(frames));
                    http::Response::builder()
                        .header("content-type", "application/grpc")
                        .body(body)
                });
            let executor = hyper_util::rt::TokioExecutor::new();
            let connection = hyper::server::conn::http2::Builder::new(executor);
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

#[tokio::test]
async fn grpc_health_service() {
    let serving = health(1).await;
    assert_eq!(
        probe(json!({"grpc": {"port": serving, "service": "web"}})).await,
        Ok(())
    );
    let not_serving = health(2).await;
    let answer = probe(json!({"grpc": {"port": not_serving}})).await;
    assert_eq!(
        answer,
        Err("service unhealthy (responded with \"NOT_SERVING\")".into())
    );
}
