//! Lists: pages, versions, selectors, and the forms they come in.

use serde_json::json;

use crate::server::{Api, Server, config_map, pod};

async fn maps(api: &Api, count: usize) -> String {
    let maps = format!("{}/configmaps", api.namespace("lists").await);
    for i in 0..count {
        let mut map = config_map(&format!("m{i:03}"));
        map["metadata"]["labels"] = json!({"even": (i % 2 == 0).to_string(), "n": i.to_string()});
        api.post(&maps, &map).await;
    }
    maps
}

#[tokio::test]
async fn selectors() {
    let server = Server::start();
    let api = server.api().await;
    let maps = maps(&api, 10).await;
    for (query, count) in [
        ("labelSelector=even%3Dtrue", 5),
        ("labelSelector=even%3D%3Dtrue,n!%3D2", 4),
        ("labelSelector=n%20in%20(1,2,30)", 2),
        ("labelSelector=n%20notin%20(1,2),even", 8),
        ("labelSelector=!even", 0),
        ("labelSelector=n%3E7", 2),
        ("fieldSelector=metadata.name%3Dm003", 1),
        (
            "fieldSelector=metadata.name!%3Dm003,metadata.namespace%3Dlists",
            9,
        ),
        ("fieldSelector=metadata.name%3Dm003&labelSelector=even%3Dtrue", 0),
    ] {
        let list = api.get(&format!("{maps}?{query}")).await;
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{query}");
    }
    for (query, message) in [
        (
            "labelSelector=a%20in%20(",
            "unable to parse requirement: found '', expected: ',', ')' or identifier",
        ),
        (
            "fieldSelector=data.k%3Dv",
            "\"data.k\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        (
            "labelSelector=a%3D-b",
            "unable to parse requirement: values[0][a]: Invalid value: \"-b\"",
        ),
    ] {
        let (code, reason, said) = api.refused("GET", &format!("{maps}?{query}"), &json!(null)).await;
        assert_eq!((code, reason.as_str()), (400, "BadRequest"), "{query}: {said}");
        assert!(said.contains(message), "{query}: {said}");
    }
    let pods = "/api/v1/namespaces/lists/pods";
    api.post(pods, &pod("a")).await;
    for (query, count) in [
        ("status.phase%3DPending", 1),
        ("spec.nodeName%3D", 1),
        ("spec.nodeName%3Dn1", 0),
        ("spec.restartPolicy!%3DAlways", 0),
        ("spec.schedulerName%3Ddefault-scheduler", 1),
    ] {
        let list = api.get(&format!("{pods}?fieldSelector={query}")).await;
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{query}");
    }
}

#[tokio::test]
async fn versions() {
    let server = Server::start();
    let api = server.api().await;
    let maps = maps(&api, 3).await;
    let old = api.get(&maps).await["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    api.post(&maps, &config_map("later")).await;
    for (query, count) in [
        (String::new(), 4),
        ("resourceVersion=0".into(), 4),
        (format!("resourceVersion={old}"), 4),
        (
            format!("resourceVersion={old}&resourceVersionMatch=NotOlderThan"),
            4,
        ),
        (format!("resourceVersion={old}&resourceVersionMatch=Exact"), 3),
        (format!("resourceVersion={old}&limit=500"), 3),
    ] {
        let list = api.get(&format!("{maps}?{query}")).await;
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{query}");
    }
    for (query, code) in [
        ("resourceVersion=0&resourceVersionMatch=Exact", 422),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersion=x", 400),
        ("resourceVersion=1&resourceVersionMatch=Sometimes", 422),
        ("resourceVersion=99999999999", 504),
        ("continue=x", 400),
    ] {
        let (got, reason, message) = api.refused("GET", &format!("{maps}?{query}"), &json!(null)).await;
        assert_eq!(got, code, "{query}: {reason} {message}");
    }
}

#[tokio::test]
async fn forms() {
    let server = Server::start();
    let api = server.api().await;
    let maps = maps(&api, 3).await;
    let form = |kind: &'static str| [("accept", kind)];
    // What items are is said once, at the list.
    let list = api.get(&maps).await;
    let pretty = api.get(&format!("{maps}?pretty=true")).await;
    // Whatever else is written in between: the lists' own versions may differ.
    assert_eq!(list["items"], pretty["items"]);
    assert_eq!(
        (&list["apiVersion"], &list["kind"]),
        (&json!("v1"), &json!("ConfigMapList"))
    );
    let fields: Vec<&String> = list["items"][0].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["data", "metadata"]);
    let (code, table) = api
        .ask(
            "GET",
            &maps,
            &form("application/json;as=Table;v=v1;g=meta.k8s.io"),
            vec![],
        )
        .await;
    assert_eq!((code.as_u16(), &table["kind"]), (200, &json!("Table")));
    assert_eq!(table["columnDefinitions"][1]["name"], "Data");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let (_, partial) = api
        .ask(
            "GET",
            &maps,
            &form("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"),
            vec![],
        )
        .await;
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert_eq!(partial["items"][2]["metadata"]["name"], "m002");
    assert!(partial["items"][0].get("data").is_none());
    for kind in [
        "application/json;as=Table;v=v1alpha1;g=meta.k8s.io",
        "application/json;as=Chair;v=v1;g=meta.k8s.io",
        "text/html",
    ] {
        let (code, status) = api.ask("GET", &maps, &form(kind), vec![]).await;
        assert_eq!(
            (code.as_u16(), &status["reason"]),
            (406, &json!("NotAcceptable")),
            "{kind}"
        );
    }
    let response = api
        .raw("GET", &maps, &form("application/vnd.kubernetes.protobuf"), vec![])
        .await;
    assert_eq!(
        response.headers()["content-type"],
        "application/vnd.kubernetes.protobuf"
    );
    let bytes = response.into_body().collect_bytes().await.unwrap();
    assert!(bytes.starts_with(b"k8s\0"), "{bytes:?}");
    let response = api.raw("GET", &maps, &form("application/yaml"), vec![]).await;
    let bytes = response.into_body().collect_bytes().await.unwrap();
    assert!(bytes.starts_with(b"apiVersion: v1\n"), "{bytes:?}");
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"nonResourceAttributes": {"verb": "get", "path": "/"}}});
    let (code, _) = api
        .ask(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            &[
                ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io"),
                ("content-type", "application/json"),
            ],
            review.to_string().into_bytes(),
        )
        .await;
    assert_eq!(code.as_u16(), 406, "a kind without columns");
}

#[tokio::test]
async fn a_deleted_collection_is_told_as_it_was() {
    let server = Server::start();
    let api = server.api().await;
    let pods = format!("{}/pods", api.namespace("collection").await);
    let mut bound = pod("a");
    bound["spec"]["nodeName"] = json!("n1");
    api.post(&pods, &bound).await;
    for query in ["?dryRun=All", ""] {
        let before = api.get(&pods).await;
        let told = api.delete(&format!("{pods}{query}")).await;
        assert_eq!(
            (&told["kind"], &told["items"]),
            (&before["kind"], &before["items"]),
            "{query}"
        );
    }
    let now = api.get(&pods).await;
    assert_eq!(now["items"][0]["metadata"]["deletionGracePeriodSeconds"], 30);
}
