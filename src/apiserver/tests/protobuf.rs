//! Kubernetes' protobuf in and out.

use super::*;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

async fn raw(f: &Fixture, method: &str, uri: &str, body: Vec<u8>) -> (StatusCode, bytes::Bytes) {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("accept", PROTOBUF)
        .header("content-type", PROTOBUF)
        .body(Body::from(body))
        .unwrap();
    let response = f.admin().oneshot(request).await.unwrap();
    let code = response.status();
    assert_eq!(response.headers()["content-type"], PROTOBUF);
    (code, response.into_body().collect().await.unwrap().to_bytes())
}

fn def(name: &str) -> &'static rkind_apimachinery::schema::TypeDef {
    rkind_apimachinery::schema::Schema::get()
        .type_by_name(name)
        .unwrap()
}

#[tokio::test]
async fn objects_lists_and_errors() {
    let f = fixture().await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    f.send("POST", "/api/v1/namespaces/default/serviceaccounts", account)
        .await;
    let pods = "/api/v1/namespaces/default/pods";
    let body = rkind_apimachinery::protobuf::encode(&pod("p"), def("io.k8s.api.core.v1.Pod")).unwrap();
    let (code, bytes) = raw(&f, "POST", pods, body).await;
    assert_eq!(code, StatusCode::CREATED, "{bytes:?}");
    assert_eq!(&bytes[..4], b"k8s\0");
    let made = rkind_apimachinery::protobuf::decode(&bytes, def("io.k8s.api.core.v1.Pod")).unwrap();
    let stored = f.get(&format!("{pods}/p")).await;
    assert_eq!(made, stored);
    // The second has owners in common with the first.
    f.send("POST", pods, pod("q")).await;
    for name in ["p", "q"] {
        let (_, bytes) = raw(&f, "GET", &format!("{pods}/{name}"), Vec::new()).await;
        let read = rkind_apimachinery::protobuf::decode(&bytes, def("io.k8s.api.core.v1.Pod")).unwrap();
        assert_eq!(read, f.get(&format!("{pods}/{name}")).await);
        let owners = &read["metadata"]["managedFields"][0]["fieldsV1"];
        assert!(owners["f:spec"]["f:containers"].is_object(), "{owners}");
    }

    let (code, bytes) = raw(&f, "GET", pods, Vec::new()).await;
    assert_eq!(code, StatusCode::OK);
    let list = rkind_apimachinery::protobuf::decode(&bytes, def("io.k8s.api.core.v1.PodList")).unwrap();
    let mut items = f.get(pods).await["items"].take();
    for item in items.as_array_mut().unwrap() {
        item["apiVersion"] = json!("v1");
        item["kind"] = json!("Pod");
    }
    let mut read = list["items"].clone();
    for item in read.as_array_mut().unwrap() {
        item["apiVersion"] = json!("v1");
        item["kind"] = json!("Pod");
    }
    assert_eq!(read, items);
    assert_eq!(items[1]["metadata"]["name"], "q");
    assert!(list["metadata"]["resourceVersion"].is_string());

    let (code, bytes) = raw(&f, "GET", &format!("{pods}/nope"), Vec::new()).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
    let status = def("io.k8s.apimachinery.pkg.apis.meta.v1.Status");
    let status = rkind_apimachinery::protobuf::decode(&bytes, status).unwrap();
    assert_eq!(status["reason"], "NotFound");
}

#[tokio::test]
async fn watch_frames_are_length_delimited() {
    let f = fixture().await;
    f.send("POST", "/api/v1/namespaces/default/configmaps", config_map("a"))
        .await;
    let request = Request::get("/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1")
        .header("accept", format!("{PROTOBUF};stream=watch"))
        .body(Body::empty())
        .unwrap();
    let response = f.admin().oneshot(request).await.unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "application/vnd.kubernetes.protobuf;stream=watch"
    );
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
    assert_eq!(bytes.len(), length + 4);
    assert!(bytes.windows(5).any(|w| w == b"ADDED"));
    assert!(bytes.windows(4).any(|w| w == b"k8s\0"));
}
