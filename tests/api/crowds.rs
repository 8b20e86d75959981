//! Thousands of watches at once, and one whose client does not read.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rkind_tests::{http1, servers::Target, watches::Watches};
use serde_json::{Value, json};

use crate::server::{Server, config_map};

const WATCHES: usize = 3000;
/// More than a server keeps for watches that fall behind.
const WRITES: u64 = 2200;

fn numbered(number: u64) -> Value {
    let mut map = config_map("seen");
    map["data"] = json!({"number": format!("is-{number}"), "padding": "x".repeat(512)});
    map
}

#[tokio::test]
async fn each_of_thousands_sees_each_change() {
    let server = Server::start();
    let api = server.api().await;
    let maps = format!("{}/configmaps", api.namespace("crowd").await);
    api.post(&maps, &numbered(0)).await;
    let target = Target::of_kubeconfig(server.kubeconfig()).unwrap();
    let path = format!("{maps}?watch=1&resourceVersion=0");
    let mut watches = Watches::open(&target, WATCHES, &path, "\"number\":\"is-")
        .await
        .unwrap();
    watches.take(0, WATCHES, Instant::now()).await.unwrap();
    for number in 1..=5 {
        let sent = Instant::now();
        api.put(&format!("{maps}/seen"), &numbered(number)).await;
        watches.take(number, WATCHES, sent).await.unwrap();
    }
}

#[tokio::test]
async fn one_that_does_not_read_holds_nobody_up() {
    let server = Server::start();
    let api = server.api().await;
    let maps = format!("{}/configmaps", api.namespace("slow").await);
    let first = api.post(&maps, &numbered(0)).await;
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let target = Target::of_kubeconfig(server.kubeconfig()).unwrap();
    let stream = http1::stream(&target, b"h2").await.unwrap();
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(16 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let watch = Request::get(format!(
        "https://{}{maps}?watch=1&resourceVersion={version}",
        target.address
    ));
    let watch = watch.body(Empty::<Bytes>::new()).unwrap();
    let unread = sender.send_request(watch).await.unwrap();
    assert_eq!(unread.status(), 200);

    let other = api.clone();
    let (path, last) = (
        format!("{maps}?watch=1&resourceVersion={version}"),
        json!(format!("is-{WRITES}")),
    );
    let reader = tokio::spawn(async move {
        let all = |seen: &[Value]| {
            seen.last()
                .is_some_and(|event| event["object"]["data"]["number"] == last)
        };
        other.events(&path, all).await
    });
    for number in 1..=WRITES {
        api.put(&format!("{maps}/seen"), &numbered(number)).await;
    }
    let seen = reader.await.unwrap();
    assert_eq!(seen.len() as u64, WRITES, "who reads sees everything");

    // What was under way when its client stopped reading is in order, then it is told to begin anew.
    let body = tokio::time::timeout(Duration::from_secs(30), unread.into_body().collect());
    let body = body.await.expect("the watch ends").unwrap().to_bytes();
    let mut events: Vec<Value> = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let end = events.pop().expect("an end");
    assert_eq!(
        (&end["type"], &end["object"]["code"]),
        (&json!("ERROR"), &json!(410)),
        "{end}"
    );
    assert!(
        !events.is_empty() && (events.len() as u64) < WRITES,
        "{}",
        events.len()
    );
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["object"]["data"]["number"], format!("is-{}", at + 1));
    }
    connection.abort();
}
