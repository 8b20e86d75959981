//! Input that no client sends, against a live server: always a 4xx `Status` (or success, where a
//! mutation hit nothing), never a fault, never unbounded memory. Seeds are fixed: a failure repeats.

use futures::{StreamExt as _, stream};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::server::{Api, Server, config_map, pod};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// Far above what a server needs that holds next to nothing.
const MEMORY_KIB: u64 = 400 * 1024;

/// One request and the media type of its body.
struct Shot {
    method: &'static str,
    path: String,
    kind: &'static str,
    body: Vec<u8>,
}

fn shot(method: &'static str, path: &str, kind: &'static str, body: impl Into<Vec<u8>>) -> Shot {
    Shot {
        method,
        path: path.to_owned(),
        kind,
        body: body.into(),
    }
}

/// Sends all; each answer must be below 500, and a `Status` where it is a refusal. Gives the codes.
async fn fire(api: &Api, shots: Vec<Shot>) -> Vec<u16> {
    stream::iter(shots)
        .map(|shot| async move {
            let shown = String::from_utf8_lossy(&shot.body[..shot.body.len().min(300)]).into_owned();
            let headers = [("content-type", shot.kind), ("accept", "application/json")];
            let (code, answer) = api.ask(shot.method, &shot.path, &headers, shot.body).await;
            let what = format!("{} {} {}: {shown}", shot.method, shot.path, shot.kind);
            assert!(code.as_u16() < 500, "{what}\n{code} {answer}");
            if code.is_client_error() && !Api::is_page(code, &answer) {
                assert_eq!(answer["kind"], "Status", "{what}\n{code} {answer}");
                assert_eq!(answer["code"], code.as_u16(), "{what}");
            }
            code.as_u16()
        })
        .buffered(8)
        .collect()
        .await
}

fn is_well(server: &mut Server) {
    assert!(server.is_alive());
    let kib = server.resident_kib();
    assert!(kib < MEMORY_KIB, "the server has grown to {kib} KiB");
}

#[tokio::test]
async fn bodies_that_are_too_much() {
    let mut server = Server::start();
    let api = server.api().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let pods = "/api/v1/namespaces/default/pods?dryRun=All";
    let apply = "/api/v1/namespaces/default/configmaps/a?fieldManager=m";
    let json = "application/json";
    let nested = |open: &str, n: usize| format!("{{\"metadata\":{}", open.repeat(n));
    let whole = |open: &str, close: &str, n: usize| {
        format!("{{\"metadata\":{}1{}}}", open.repeat(n), close.repeat(n))
    };
    let three_mib = "x".repeat(3 * 1024 * 1024 + 1);
    let mut laughs = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
    for pair in "abcdefghijk".as_bytes().windows(2) {
        let (last, next) = (pair[0] as char, pair[1] as char);
        let again = vec![format!("*{last}"); 9].join(",");
        laughs.push_str(&format!("{next}: &{next} [{again}]\n"));
    }
    let huge = "9".repeat(100_000);
    let mut shots = vec![
        shot("POST", maps, json, nested("[", 1_000_000)),
        shot("POST", maps, json, nested("{\"a\":", 400_000)),
        shot("POST", maps, json, whole("[", "]", 200_000)),
        shot("POST", maps, json, whole("{\"a\":", "}", 200_000)),
        shot("POST", maps, "application/yaml", nested("[", 200_000)),
        shot("POST", maps, "application/yaml", "- ".repeat(200_000)),
        shot("POST", maps, "application/yaml", laughs),
        shot(
            "POST",
            maps,
            json,
            format!("{{\"metadata\":{{\"name\":\"a\"}},\"data\":{{\"k\":\"{three_mib}\"}}}}"),
        ),
        shot(
            "POST",
            maps,
            PROTOBUF,
            [b"k8s\0".to_vec(), three_mib.clone().into_bytes()].concat(),
        ),
        shot("PATCH", apply, "application/apply-patch+yaml", three_mib.clone()),
        shot(
            "POST",
            maps,
            json,
            b"{\"metadata\":{\"name\":\"\xff\xfe\"}}".to_vec(),
        ),
        shot(
            "POST",
            maps,
            json,
            b"{\"metadata\":{\"name\":\"\\ud800\"}}".to_vec(),
        ),
        shot(
            "POST",
            maps,
            "application/yaml",
            b"metadata: {name: \"\xc3\x28\"}".to_vec(),
        ),
        shot(
            "POST",
            maps,
            json,
            "{\"metadata\":{\"name\":\"a\",\"generation\":1e999}}",
        ),
        shot(
            "POST",
            maps,
            json,
            format!("{{\"metadata\":{{\"name\":\"a\",\"generation\":{huge}}}}}"),
        ),
        shot(
            "POST",
            pods,
            json,
            pod("a").to_string().replace(
                "\"image\"",
                &format!("\"ports\":[{{\"containerPort\":{huge}}}],\"image\""),
            ),
        ),
        shot(
            "POST",
            pods,
            json,
            pod("a").to_string().replace(
                "\"image\"",
                "\"resources\":{\"requests\":{\"cpu\":\"1e2147483647\"}},\"image\"",
            ),
        ),
        shot(
            "POST",
            pods,
            json,
            pod("a").to_string().replace(
                "\"image\"",
                &format!("\"resources\":{{\"requests\":{{\"cpu\":\"{huge}\"}}}},\"image\""),
            ),
        ),
        shot(
            "PATCH",
            apply,
            "application/merge-patch+json",
            nested("{\"a\":", 400_000),
        ),
        shot(
            "PATCH",
            apply,
            "application/json-patch+json",
            format!(
                "[{}",
                "{\"op\":\"add\",\"path\":\"/data/x\",\"value\":\"y\"},".repeat(20_000)
            ),
        ),
        shot(
            "PATCH",
            apply,
            "application/json-patch+json",
            json!([{"op": "copy", "from": "", "path": "/data/x"}]).to_string(),
        ),
        shot("PATCH", apply, "text/plain", "x"),
        shot("POST", maps, "application/xml", "<a/>"),
        shot("PUT", "/api/v1/namespaces/default/configmaps/a", json, "null"),
        shot("DELETE", maps, json, nested("[", 100_000)),
        shot("POST", "/api/v1/namespaces/default/pods/a/eviction", json, "[]"),
        shot(
            "POST",
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            json,
            "{\"spec\":7}",
        ),
    ];
    let doubling = json!([{"op": "copy", "from": "/data", "path": "/data/x"}]);
    shots.push(shot(
        "PATCH",
        apply,
        "application/json-patch+json",
        doubling.to_string(),
    ));
    api.post(maps, &config_map("a")).await;
    let codes = fire(&api, shots).await;
    let refused = codes.iter().filter(|code| (400..500).contains(*code)).count();
    // A quantity beyond all bounds is the largest there is.
    assert!(refused >= codes.len() - 2, "{codes:?}");
    assert!(
        codes.iter().filter(|code| **code == 413).count() >= 3,
        "{codes:?}"
    );
    assert_eq!(api.get(&format!("{maps}/a")).await["data"], json!({"k": "v"}));
    is_well(&mut server);
}

/// A copy of bytes with some of them changed, dropped, doubled or moved.
fn mutate(bytes: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..random.random_range(1..4) {
        if out.is_empty() {
            break;
        }
        let at = random.random_range(0..out.len());
        let end = (at + random.random_range(1..20)).min(out.len());
        match random.random_range(0..6) {
            0 => out[at] ^= 1 << random.random_range(0..8),
            1 => out[at] = random.random(),
            2 => drop(out.drain(at..end)),
            3 => {
                let copy = out[at..end].to_vec();
                out.splice(at..at, copy);
            }
            4 => out.truncate(at),
            _ => {
                let interesting: [&[u8]; 8] = [
                    b"null",
                    b"[]",
                    b"{}",
                    b"-1",
                    b"1e400",
                    b"\"\"",
                    b"\xff\xff\xff\xff\x7f",
                    b"\0",
                ];
                let piece = interesting[random.random_range(0..interesting.len())];
                out.splice(at..end, piece.iter().copied());
            }
        }
    }
    out
}

/// Valid bodies of many kinds, made invalid at random, in every media type and by every write.
#[tokio::test]
async fn mutations_of_valid_bytes() {
    let mut server = Server::start();
    let api = server.api().await;
    let base = "/api/v1/namespaces/default";
    let mut random = StdRng::seed_from_u64(0x5eed);
    let mut full = pod("p");
    full["metadata"]["annotations"] = json!({"a": "b"});
    full["spec"]["volumes"] = json!([{"name": "v", "projected": {"sources": [{"configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}}]}}]);
    full["spec"]["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}]}}});
    full["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
    full["spec"]["containers"][0]["livenessProbe"] = json!({"httpGet": {"port": "http", "path": "/"}});
    api.post(&format!("{base}/pods"), &full).await;
    api.post(&format!("{base}/configmaps"), &config_map("a")).await;
    let protobuf = |path: String| {
        let api = api.clone();
        async move {
            let response = api.raw("GET", &path, &[("accept", PROTOBUF)], vec![]).await;
            response
                .into_body()
                .collect_bytes()
                .await
                .expect("a body")
                .to_vec()
        }
    };
    let pod_bytes = protobuf(format!("{base}/pods/p")).await;
    let map_bytes = protobuf(format!("{base}/configmaps/a")).await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"type": "NodePort",
        "selector": {"a": "b"}, "ports": [{"name": "http", "port": 80, "targetPort": "http", "nodePort": 30080}]}});
    let crd: Value = include_str!("testdata/kinds.jsonl")
        .lines()
        .find(|line| line.contains("CustomResourceDefinition"))
        .and_then(|line| serde_json::from_str(line).ok())
        .expect("a definition");
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let strategic = json!({"spec": {"containers": [{"name": "c", "image": "i", "$patch": "delete"}], "$setElementOrder/containers": [{"name": "c"}]}});
    let operations = json!([{"op": "test", "path": "/data/k", "value": "v"}, {"op": "move", "from": "/data/k", "path": "/data/l"}]);
    let seeds: Vec<(&'static str, String, &'static str, Vec<u8>)> = vec![
        (
            "POST",
            format!("{base}/pods"),
            "application/json",
            full.to_string().into_bytes(),
        ),
        (
            "POST",
            format!("{base}/pods"),
            "application/yaml",
            full.to_string().into_bytes(),
        ),
        ("POST", format!("{base}/pods"), PROTOBUF, pod_bytes.clone()),
        ("PUT", format!("{base}/pods/p"), PROTOBUF, pod_bytes),
        ("PUT", format!("{base}/configmaps/a"), PROTOBUF, map_bytes),
        (
            "POST",
            format!("{base}/services"),
            "application/json",
            service.to_string().into_bytes(),
        ),
        (
            "POST",
            crds.into(),
            "application/json",
            crd.to_string().into_bytes(),
        ),
        (
            "PATCH",
            format!("{base}/pods/p"),
            "application/strategic-merge-patch+json",
            strategic.to_string().into_bytes(),
        ),
        (
            "PATCH",
            format!("{base}/configmaps/a"),
            "application/json-patch+json",
            operations.to_string().into_bytes(),
        ),
        (
            "PATCH",
            format!("{base}/configmaps/a"),
            "application/merge-patch+json",
            config_map("a").to_string().into_bytes(),
        ),
        (
            "PATCH",
            format!("{base}/pods/p"),
            "application/apply-patch+yaml",
            full.to_string().into_bytes(),
        ),
    ];
    let mut shots = Vec::new();
    for (method, path, kind, body) in &seeds {
        for _ in 0..250 {
            let path = format!("{path}?dryRun=All&fieldManager=fuzz&force=true");
            let path = if *method == "PATCH" && kind.contains("apply") {
                path
            } else {
                path.replace("&force=true", "")
            };
            shots.push(shot(method, &path, kind, mutate(body, &mut random)));
        }
    }
    fire(&api, shots).await;
    is_well(&mut server);
}

#[tokio::test]
async fn every_truncation_of_protobuf() {
    let mut server = Server::start();
    let api = server.api().await;
    let pods = "/api/v1/namespaces/default/pods";
    api.post(pods, &pod("p")).await;
    let response = api
        .raw("GET", &format!("{pods}/p"), &[("accept", PROTOBUF)], vec![])
        .await;
    let whole = response.into_body().collect_bytes().await.unwrap();
    let path = format!("{pods}?dryRun=All");
    let shots = (0..whole.len())
        .map(|n| shot("POST", &path, PROTOBUF, &whole[..n]))
        .collect();
    let codes = fire(&api, shots).await;
    assert!(codes.iter().all(|code| (400..500).contains(code)), "{codes:?}");
    is_well(&mut server);
}

#[tokio::test]
async fn paths_queries_and_headers() {
    let mut server = Server::start();
    let api = server.api().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let long = "x".repeat(60_000);
    let mut paths: Vec<String> = [
        "labelSelector=%3D%3D%3D",
        "labelSelector=a%20in%20(",
        "fieldSelector=x",
        "fieldSelector=%00",
        "continue=%00%00",
        "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTksInN0YXJ0IjoiLi4vLi4ifQ",
        "limit=99999999999999999999",
        "resourceVersion=-1",
        "resourceVersion=99999999999999999999",
        "watch=1&timeoutSeconds=99999999999999999999",
        "watch=1&sendInitialEvents=maybe",
    ]
    .iter()
    .map(|query| format!("{maps}?{query}"))
    .collect();
    for path in [
        "/api/v1/namespaces/default/configmaps/a/b/c/d",
        "/api//v1",
        "/apis/apps/v9/deployments",
        "/apis/../../etc/passwd",
        "/%ff%fe",
        "/api/v1/namespaces/default/configmaps/%00",
        "/openapi/v3/apis/none/v1",
        "/healthz/none",
    ] {
        paths.push(path.into());
    }
    paths.push(format!("{maps}/{long}"));
    paths.push(format!("{maps}?labelSelector={long}"));
    paths.push(format!("{maps}?labelSelector={}", "a,".repeat(20_000)));
    let shots = paths
        .iter()
        .map(|path| shot("GET", path, "application/json", ""))
        .collect();
    let codes = fire(&api, shots).await;
    for (code, path) in codes.iter().zip(&paths) {
        let fine = (400..500).contains(code) || path.contains("a,a,") || path.contains("timeoutSeconds");
        assert!(fine, "{code} {:.80}", path);
    }
    // Made-up groups and verbs leave nothing behind.
    let before = server.resident_kib();
    let shots = (0..3000)
        .map(|i| {
            shot(
                "GET",
                &format!("/apis/g{i}.{}/v1/things", "x".repeat(200)),
                "application/json",
                "",
            )
        })
        .collect();
    fire(&api, shots).await;
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 20 * 1024, "grown by {grown} KiB");
    // The limit is 1 MiB, found when a read fills the buffer: less than twice as much may pass.
    for (count, size) in [(3_000, 10), (1, 2 * 1024 * 1024), (90, 40_000)] {
        let value = "y".repeat(size);
        let names: Vec<String> = (0..count).map(|i| format!("x-flood-{i}")).collect();
        let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
        let mut request = http::Request::get(maps);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(kube::client::Body::empty()).unwrap();
        // Refused, or borne: the server may also close the connection while the client still writes.
        if let Ok(response) = api.0.send(request).await {
            let code = response.status();
            assert!(!code.is_server_error(), "{count} headers: {code}");
        }
    }
    api.get(maps).await;
    is_well(&mut server);
}
