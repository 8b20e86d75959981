use std::time::Duration;

use rkind_store::Store as _;

use super::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

struct Stream {
    body: Body,
    buffer: Vec<u8>,
}

impl Stream {
    async fn open(f: &Fixture, uri: &str) -> Stream {
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let response = f.admin().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Stream {
            body: response.into_body(),
            buffer: Vec::new(),
        }
    }

    /// The next event as `(type, object)`.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line).unwrap();
                return Some((event["type"].as_str().unwrap().into(), event["object"].clone()));
            }
            let frame = tokio::time::timeout(Duration::from_secs(10), self.body.frame())
                .await
                .expect("an event in time")?;
            self.buffer.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
    }

    async fn name(&mut self) -> (String, String) {
        let (kind, object) = self.next().await.unwrap();
        (
            kind,
            object["metadata"]["name"].as_str().unwrap_or_default().into(),
        )
    }
}

fn seen(kind: &str, name: &str) -> (String, String) {
    (kind.into(), name.into())
}

#[tokio::test]
async fn changes_in_order() {
    let f = fixture().await;
    f.send("POST", MAPS, config_map("a")).await;
    let list = f.get(MAPS).await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut fresh = Stream::open(&f, &format!("{MAPS}?watch=true")).await;
    assert_eq!(fresh.name().await, seen("ADDED", "a"));
    let mut stream = Stream::open(&f, &format!("{MAPS}?watch=1&resourceVersion={version}")).await;
    f.send("POST", MAPS, config_map("b")).await;
    let (kind, object) = stream.next().await.unwrap();
    assert_eq!(
        (kind.as_str(), object["metadata"]["name"].as_str()),
        ("ADDED", Some("b"))
    );
    assert_eq!(object, f.get(&format!("{MAPS}/b")).await);
    let mut next = object.clone();
    next["data"]["k"] = json!("2");
    f.send("PUT", &format!("{MAPS}/b"), next).await;
    assert_eq!(stream.name().await, seen("MODIFIED", "b"));
    f.send("DELETE", &format!("{MAPS}/b"), Value::Null).await;
    let (kind, last) = stream.next().await.unwrap();
    assert_eq!(kind, "DELETED");
    assert_ne!(
        last["metadata"]["resourceVersion"],
        object["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn leaving_a_selector_is_a_deletion() {
    let f = fixture().await;
    let mut labelled = config_map("a");
    labelled["metadata"]["labels"] = json!({"app": "web"});
    let mut stream = Stream::open(&f, &format!("{MAPS}?watch=true&labelSelector=app%3Dweb")).await;
    let (_, mut made) = f.send("POST", MAPS, labelled).await;
    assert_eq!(stream.name().await, seen("ADDED", "a"));
    made["metadata"]["labels"] = json!({});
    let (_, mut made) = f.send("PUT", &format!("{MAPS}/a"), made).await;
    let (kind, object) = stream.next().await.unwrap();
    assert_eq!(kind, "DELETED");
    assert_eq!(object["metadata"]["labels"]["app"], "web");
    assert_eq!(
        object["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
    made["metadata"]["labels"] = json!({"app": "web"});
    f.send("PUT", &format!("{MAPS}/a"), made).await;
    assert_eq!(stream.name().await, seen("ADDED", "a"));
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let f = fixture().await;
    f.send("POST", MAPS, config_map("a")).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut stream = Stream::open(&f, &format!("{MAPS}?{query}")).await;
    assert_eq!(stream.name().await, seen("ADDED", "a"));
    let (kind, object) = stream.next().await.unwrap();
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(
        object["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    f.send("POST", MAPS, config_map("b")).await;
    assert_eq!(stream.name().await, seen("ADDED", "b"));
}

#[tokio::test]
async fn too_old_is_an_error_event_and_time_ends_a_watch() {
    let f = fixture().await;
    // The cache began at the store's first revision, so only what falls out of the ring is too old.
    for _ in 0..2100 {
        f.store
            .create(
                &format!("/registry/core/configmaps/default/{}", uuid::Uuid::new_v4()),
                "{\"metadata\":{}}".into(),
            )
            .await
            .unwrap();
    }
    let mut stream = Stream::open(&f, &format!("{MAPS}?watch=1&resourceVersion=1")).await;
    let (kind, status) = stream.next().await.unwrap();
    assert_eq!(
        (kind.as_str(), status["code"].as_i64(), status["reason"].as_str()),
        ("ERROR", Some(410), Some("Expired"))
    );
    assert!(stream.next().await.is_none());
    let version = f.get(&format!("{MAPS}?limit=1")).await["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut short = Stream::open(
        &f,
        &format!("{MAPS}?watch=1&resourceVersion={version}&timeoutSeconds=1"),
    )
    .await;
    assert!(short.next().await.is_none());
}

#[tokio::test]
async fn tables_and_other_versions_are_watched_too() {
    let f = fixture().await;
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}, "reason": "Test", "message": "hello", "type": "Normal"});
    let (code, made) = f.send("POST", "/api/v1/namespaces/default/events", event).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let mut stream = Stream::open(&f, "/apis/events.k8s.io/v1/namespaces/default/events?watch=1").await;
    let (_, object) = stream.next().await.unwrap();
    assert_eq!(
        (object["apiVersion"].as_str(), object["note"].as_str()),
        (Some("events.k8s.io/v1"), Some("hello"))
    );
    for (form, kind) in [
        ("Table", "Table"),
        ("PartialObjectMetadata", "PartialObjectMetadata"),
    ] {
        let request = Request::get("/api/v1/namespaces/default/events?watch=1")
            .header("accept", format!("application/json;as={form};v=v1;g=meta.k8s.io"))
            .body(Body::empty())
            .unwrap();
        let response = f.admin().oneshot(request).await.unwrap();
        let mut stream = Stream {
            body: response.into_body(),
            buffer: Vec::new(),
        };
        let (event, object) = stream.next().await.unwrap();
        assert_eq!((event.as_str(), object["kind"].as_str()), ("ADDED", Some(kind)));
        let cells = object["rows"][0]["cells"].as_array();
        assert_eq!(
            cells.is_some_and(|cells| cells.contains(&json!("hello"))),
            form == "Table"
        );
    }
    let chosen = f
        .get("/api/v1/events?fieldSelector=involvedObject.name%3Dp,reason%3DTest")
        .await;
    assert_eq!(chosen["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_source_of_an_event_is_its_controller_where_it_names_no_component() {
    let f = fixture().await;
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": "e", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Do", "reason": "Test", "type": "Normal",
        "reportingController": "test-controller", "reportingInstance": "test-node",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}});
    let (code, made) = f
        .send("POST", "/apis/events.k8s.io/v1/namespaces/default/events", event)
        .await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    for (selector, items) in [("test-controller", 1), ("other", 0)] {
        let chosen = f
            .get(&format!("/api/v1/events?fieldSelector=source%3D{selector}"))
            .await;
        assert_eq!(
            chosen["items"].as_array().map(Vec::len),
            Some(items),
            "{selector}"
        );
    }
}

#[tokio::test]
async fn many_watchers_see_everything_in_order() {
    const WATCHERS: usize = 50;
    const WRITES: usize = 100;
    let f = fixture().await;
    let version = f.get(MAPS).await["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut streams = Vec::new();
    for _ in 0..WATCHERS {
        streams.push(Stream::open(&f, &format!("{MAPS}?watch=1&resourceVersion={version}")).await);
    }
    let names: Vec<String> = (0..WRITES).map(|i| format!("m{i}")).collect();
    let writes = names.iter().map(|name| f.send("POST", MAPS, config_map(name)));
    assert!(
        futures::future::join_all(writes)
            .await
            .iter()
            .all(|(code, _)| *code == StatusCode::CREATED)
    );
    let mut orders = Vec::new();
    for stream in &mut streams {
        let mut order = Vec::with_capacity(WRITES);
        for _ in 0..WRITES {
            let (kind, object) = stream.next().await.unwrap();
            assert_eq!(kind, "ADDED");
            order.push(
                object["metadata"]["resourceVersion"]
                    .as_str()
                    .unwrap()
                    .parse::<u64>()
                    .unwrap(),
            );
        }
        assert!(order.is_sorted());
        orders.push(order);
    }
    assert!(orders.windows(2).all(|pair| pair[0] == pair[1]));
}

/// Cells as kube-apiserver sends them.
#[tokio::test]
async fn a_bookmarks_row_is_that_of_an_empty_object() {
    let f = fixture().await;
    for (path, cells) in [
        (
            "/api/v1/pods",
            json!([
                "",
                "0/0",
                "",
                "0",
                "<unknown>",
                "<none>",
                "<none>",
                "<none>",
                "<none>"
            ]),
        ),
        (
            "/api/v1/services",
            json!(["", "", "<none>", "<unknown>", "<none>", "<unknown>", "<none>"]),
        ),
        (
            "/apis/apps/v1/deployments",
            json!(["", "0/0", 0, 0, "<unknown>", "", "", ""]),
        ),
        ("/api/v1/configmaps", json!(["", 0, "<unknown>"])),
        ("/api/v1/secrets", json!(["", "", 0, "<unknown>"])),
    ] {
        let uri = format!(
            "{path}?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name%3Dnobody"
        );
        let request = Request::get(uri)
            .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(Body::empty())
            .unwrap();
        let response = f.admin().oneshot(request).await.unwrap();
        let mut stream = Stream {
            body: response.into_body(),
            buffer: Vec::new(),
        };
        let (event, table) = stream.next().await.unwrap();
        assert_eq!((event.as_str(), &table["kind"]), ("BOOKMARK", &json!("Table")));
        let row = &table["rows"][0];
        assert_eq!(row["cells"], cells, "{path}");
        assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
        let metadata = &row["object"]["metadata"];
        assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
        assert_eq!(metadata["resourceVersion"], table["metadata"]["resourceVersion"]);
    }
}
