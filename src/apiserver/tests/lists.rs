use super::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn pages_are_consistent() {
    let f = fixture().await;
    for i in 0..5 {
        f.send("POST", MAPS, config_map(&format!("m{i}"))).await;
    }
    let first = f.get(&format!("{MAPS}?limit=2")).await;
    assert_eq!(first["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    f.send("DELETE", &format!("{MAPS}/m3"), Value::Null).await;
    let mut names: Vec<String> = vec![];
    let mut page = first;
    loop {
        for item in page["items"].as_array().unwrap() {
            names.push(item["metadata"]["name"].as_str().unwrap().into());
        }
        let Some(next) = page["metadata"]["continue"].as_str() else {
            break;
        };
        page = f.get(&format!("{MAPS}?limit=2&continue={next}")).await;
    }
    assert_eq!(names, ["m0", "m1", "m2", "m3", "m4"]);
    assert_eq!(f.get(MAPS).await["items"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn a_list_goes_on_after_its_revision_is_compacted() {
    use rkind_store::Store as _;
    let f = fixture().await;
    for i in 0..5 {
        f.send("POST", MAPS, config_map(&format!("m{i}"))).await;
    }
    let first = f.get(&format!("{MAPS}?limit=2")).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    f.send("DELETE", &format!("{MAPS}/m3"), Value::Null).await;
    f.store.compact(f.store.revision()).await.unwrap();
    let uri = format!("{MAPS}?limit=2&continue={token}");
    let (code, status) = f.send("GET", &uri, Value::Null).await;
    assert_eq!((code, &status["reason"]), (StatusCode::GONE, &json!("Expired")));
    let token = status["metadata"]["continue"].as_str().expect("a way to go on");
    let rest = f.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_ne!(
        rest["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let names: Vec<&Value> = rest["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["metadata"]["name"])
        .collect();
    assert_eq!(names, ["m2", "m4"]);
}

#[tokio::test]
async fn selectors_and_forms() {
    let f = fixture().await;
    let mut labelled = config_map("a");
    labelled["metadata"]["labels"] = json!({"app": "web"});
    f.send("POST", MAPS, labelled).await;
    f.send("POST", MAPS, config_map("b")).await;
    assert_eq!(
        f.get(&format!("{MAPS}?labelSelector=app%3Dweb")).await["items"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(
        f.get(&format!("{MAPS}?labelSelector=%21app")).await["items"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(
        f.get(&format!("{MAPS}?fieldSelector=metadata.name%3Db")).await["items"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let (code, error) = f
        .send("GET", &format!("{MAPS}?fieldSelector=data.k%3Dv"), Value::Null)
        .await;
    assert_eq!(code, StatusCode::BAD_REQUEST, "{error}");

    let accept = [(
        "accept",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    )];
    let (_, table) = f.send_as(f.admin(), "GET", MAPS, Value::Null, &accept).await;
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let accept = [(
        "accept",
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    )];
    let (_, list) = f.send_as(f.admin(), "GET", MAPS, Value::Null, &accept).await;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    let (code, _) = f
        .send_as(f.admin(), "GET", MAPS, Value::Null, &[("accept", "text/html")])
        .await;
    assert_eq!(code, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn versions_of_lists() {
    let f = fixture().await;
    f.send("POST", MAPS, config_map("a")).await;
    let list = f.get(MAPS).await;
    let version: u64 = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    f.send("POST", MAPS, config_map("b")).await;
    let then = f
        .get(&format!(
            "{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact"
        ))
        .await;
    assert_eq!(then["items"].as_array().map(Vec::len), Some(1), "{then}");
    let now = f
        .get(&format!(
            "{MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan"
        ))
        .await;
    assert_eq!(now["items"].as_array().map(Vec::len), Some(2));
    let (code, error) = f
        .send("GET", &format!("{MAPS}?continue=garbage"), Value::Null)
        .await;
    assert_eq!(code, StatusCode::BAD_REQUEST, "{error}");
}

#[tokio::test]
async fn collections_are_deleted() {
    let f = fixture().await;
    for i in 0..3 {
        f.send("POST", MAPS, config_map(&format!("m{i}"))).await;
    }
    let (code, list) = f
        .send(
            "DELETE",
            &format!("{MAPS}?fieldSelector=metadata.name%21%3Dm1"),
            Value::Null,
        )
        .await;
    assert_eq!(
        (code.as_u16(), list["items"].as_array().map(Vec::len)),
        (200, Some(2))
    );
    assert_eq!(f.get(MAPS).await["items"][0]["metadata"]["name"], "m1");
}
