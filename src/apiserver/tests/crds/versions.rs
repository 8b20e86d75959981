use super::*;

fn two_versions() -> Value {
    let mut made = definition("widgets", "Widget", schema());
    let mut second = made["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    second["deprecated"] = json!(true);
    made["spec"]["versions"].as_array_mut().unwrap().push(second);
    made
}

#[tokio::test]
async fn versions_without_conversion_differ_in_name_only() {
    let f = fixture().await;
    f.define(two_versions()).await;
    let second = "/apis/example.com/v2/namespaces/default/widgets";
    let mut object = widget("a", json!({"size": 1}));
    object["apiVersion"] = json!("example.com/v2");
    let (code, made) = f.send("POST", second, object).await;
    assert_eq!(
        (code, &made["apiVersion"]),
        (StatusCode::CREATED, &json!("example.com/v2"))
    );
    assert!(made["metadata"]["resourceVersion"].is_string());
    let found = f.get(&format!("{WIDGETS}/a")).await;
    assert_eq!(
        (&found["apiVersion"], &found["spec"]["size"]),
        (&json!("example.com/v1"), &json!(1))
    );
    let list = f.get(second).await;
    assert_eq!(
        (&list["apiVersion"], &list["items"][0]["apiVersion"]),
        (&json!("example.com/v2"), &json!("example.com/v2"))
    );
    let (code, new) = f
        .merge(&format!("{second}/a"), json!({"spec": {"size": 5}}))
        .await;
    assert_eq!(
        (code, &new["apiVersion"]),
        (StatusCode::OK, &json!("example.com/v2"))
    );
    assert_eq!(f.get(&format!("{WIDGETS}/a")).await["spec"]["size"], 5);
    let groups = f.get("/apis/example.com").await;
    assert_eq!(groups["preferredVersion"]["version"], "v2");

    let request = Request::get(second).body(Body::empty()).unwrap();
    let response = f.admin().oneshot(request).await.unwrap();
    assert_eq!(
        response.headers()["warning"],
        "299 - \"example.com/v2 Widget is deprecated\""
    );

    // The other version becomes the stored one: what is there is still read.
    let name = format!("{DEFINITIONS}/widgets.example.com");
    let mut changed = f.get(&name).await;
    changed["spec"]["versions"][0]["storage"] = json!(false);
    changed["spec"]["versions"][1]["storage"] = json!(true);
    let (code, changed) = f.send("PUT", &name, changed).await;
    assert_eq!(code, StatusCode::OK, "{changed}");
    assert_eq!(changed["status"]["storedVersions"], json!(["v1", "v2"]));
    let list = f.get(second).await;
    assert_eq!(list["items"][0]["apiVersion"], "example.com/v2");
    assert_eq!(
        f.get(&format!("{WIDGETS}/a")).await["apiVersion"],
        "example.com/v1"
    );
}
