//! Input that no client sends: always a 4xx `Status`, never a fault.

use super::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn raw(f: &Fixture, method: &str, uri: &str, kind: &str, body: Vec<u8>) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("content-type", kind)
        .body(Body::from(body))
        .unwrap();
    let response = f.admin().oneshot(request).await.unwrap();
    let code = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn bodies() {
    let f = fixture().await;
    f.send("POST", MAPS, config_map("a")).await;
    let nested = |open: &str, n: usize| format!("{{\"metadata\":{}", open.repeat(n)).into_bytes();
    let mut laughs = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (next, last) in [
        ("b", "a"),
        ("c", "b"),
        ("d", "c"),
        ("e", "d"),
        ("f", "e"),
        ("g", "f"),
        ("h", "g"),
        ("i", "h"),
    ] {
        laughs.push_str(&format!(
            "{next}: &{next} [{}]\n",
            vec![format!("*{last}"); 9].join(",")
        ));
    }
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("application/json", Vec::new()),
        ("application/json", b"null".to_vec()),
        ("application/json", b"[]".to_vec()),
        ("application/json", b"{\"metadata\":{\"name\":\"x\"".to_vec()),
        (
            "application/json",
            b"{\"metadata\":{\"name\":\"\xff\xfe\"}}".to_vec(),
        ),
        ("application/json", b"{\"metadata\":{\"name\":1e999}}".to_vec()),
        ("application/json", b"{\"metadata\":7}".to_vec()),
        ("application/json", nested("[", 100_000)),
        ("application/json", nested("{\"a\":", 100_000)),
        ("application/yaml", nested("[", 100_000)),
        ("application/yaml", laughs.into_bytes()),
        ("application/yaml", b"\t- : [".to_vec()),
        ("application/vnd.kubernetes.protobuf", b"k8s\0".to_vec()),
        (
            "application/vnd.kubernetes.protobuf",
            b"k8s\0\x0a\xff\xff\xff\xff\x0f".to_vec(),
        ),
        ("application/vnd.kubernetes.protobuf", b"nope".to_vec()),
        ("text/plain", b"x".to_vec()),
    ];
    for (kind, body) in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let (code, status) = raw(&f, "POST", MAPS, kind, body).await;
        assert!(code.is_client_error(), "{kind} {shown}: {code} {status}");
        assert_eq!(status["kind"], "Status", "{kind} {shown}");
    }
    for (kind, body) in [
        (
            "application/json-patch+json",
            "[{\"op\":\"test\",\"path\":\"/data\",\"value\":{}}]".to_owned(),
        ),
        (
            "application/json-patch+json",
            "[{\"op\":\"remove\",\"path\":\"/nowhere\"}]".to_owned(),
        ),
        ("application/json-patch+json", "{}".to_owned()),
        ("application/merge-patch+json", "[]".to_owned()),
        (
            "application/merge-patch+json",
            "{\"metadata\":{\"name\":\"other\"}}".to_owned(),
        ),
        (
            "application/strategic-merge-patch+json",
            "{\"metadata\":{\"$patch\":\"what\"}}".to_owned(),
        ),
        (
            "application/merge-patch+json",
            format!("{{\"data\":{}", "{\"a\":".repeat(50_000)),
        ),
        ("application/apply-patch+yaml", "{".to_owned()),
    ] {
        let (code, status) = raw(
            &f,
            "PATCH",
            &format!("{MAPS}/a?fieldManager=m"),
            kind,
            body.clone().into_bytes(),
        )
        .await;
        assert!(code.is_client_error(), "{kind} {body:.60}: {code} {status}");
    }
    assert_eq!(f.get(&format!("{MAPS}/a")).await["data"]["k"], "v");
}

#[tokio::test]
async fn queries() {
    let f = fixture().await;
    for query in [
        "limit=many",
        "resourceVersion=x",
        "resourceVersion=1&resourceVersionMatch=Sometimes",
        "labelSelector=%3D%3D%3D",
        "labelSelector=a%20in%20(",
        "fieldSelector=x",
        "continue=%00%00",
        "watch=1&resourceVersion=x",
        "watch=1&sendInitialEvents=true",
        "watch=1&resourceVersionMatch=Exact",
    ] {
        let (code, status) = f.send("GET", &format!("{MAPS}?{query}"), Value::Null).await;
        assert!(code.is_client_error(), "{query}: {code} {status}");
    }
    for uri in [
        "/api/v1/namespaces/default/configmaps/a/b/c",
        "/api//v1",
        "/apis/apps/v9/deployments",
        "/api/v1/configmaps/a",
        "/%ff%fe",
    ] {
        let (code, status) = f.send("GET", uri, Value::Null).await;
        assert!(code.is_client_error(), "{uri}: {code} {status}");
    }
    let (code, _) = f.send("OPTIONS", MAPS, Value::Null).await;
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
}
