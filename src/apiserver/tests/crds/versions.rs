use super::{
    super::hooks::{Hook, Reply},
    *,
};

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

/// `spec.size` of v1 is `spec.width` of v2.
fn converted(review: &Value) -> Reply {
    let request = &review["request"];
    let to = request["desiredAPIVersion"].as_str().unwrap();
    let objects: Vec<Value> = request["objects"]
        .as_array()
        .unwrap()
        .iter()
        .cloned()
        .map(|mut object| {
            let (from, into) = if to.ends_with("v2") {
                ("size", "width")
            } else {
                ("width", "size")
            };
            if let Some(value) = object["spec"].as_object_mut().and_then(|spec| spec.remove(from)) {
                object["spec"][into] = value;
            }
            object["apiVersion"] = json!(to);
            object["metadata"]["labels"] = json!({"converted": "yes"});
            object["metadata"]["finalizers"] = json!(["not/taken"]);
            object
        })
        .collect();
    let broken = objects.iter().any(|o| o["metadata"]["name"] == "broken");
    let result = if broken {
        json!({"status": "Failed", "message": "it is broken"})
    } else {
        json!({"status": "Success"})
    };
    Reply::Json(
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "response": {"uid": request["uid"], "result": result, "convertedObjects": objects}}),
    )
}

#[tokio::test]
async fn a_webhook_converts() {
    let f = fixture().await;
    let hook = Hook::start(|_, review| converted(review)).await;
    let mut made = two_versions();
    let spec =
        &mut made["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let size = spec.as_object_mut().unwrap().remove("size").unwrap();
    spec["width"] = size;
    made["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": hook.by_url("/convert")}});
    f.define(made).await;
    let second = "/apis/example.com/v2/namespaces/default/widgets";
    let (code, one) = f.send("POST", WIDGETS, widget("a", json!({"size": 3}))).await;
    assert_eq!(code, StatusCode::CREATED, "{one}");
    let two = f.get(&format!("{second}/a")).await;
    assert_eq!(
        (&two["apiVersion"], &two["spec"]["width"]),
        (&json!("example.com/v2"), &json!(3)),
        "{two}"
    );
    assert!(two["spec"]["size"].is_null());
    assert_eq!(two["metadata"]["labels"]["converted"], "yes");
    assert!(two["metadata"]["finalizers"].is_null());
    let (code, two) = f
        .merge(&format!("{second}/a"), json!({"spec": {"width": 8}}))
        .await;
    assert_eq!(code, StatusCode::OK, "{two}");
    assert_eq!(f.get(&format!("{WIDGETS}/a")).await["spec"]["size"], 8);
    let mut other = widget("b", json!({"width": 2}));
    other["apiVersion"] = json!("example.com/v2");
    let (code, made) = f.send("POST", second, other).await;
    assert_eq!(
        (code, &made["spec"]["width"]),
        (StatusCode::CREATED, &json!(2)),
        "{made}"
    );
    let list = f.get(second).await;
    let widths: Vec<&Value> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| &i["spec"]["width"])
        .collect();
    assert_eq!(widths, [&json!(8), &json!(2)]);
    assert_eq!(f.get(WIDGETS).await["items"][1]["spec"]["size"], 2);
    f.send("POST", WIDGETS, widget("broken", json!({"size": 1})))
        .await;
    let (code, error) = f.send("GET", &format!("{second}/broken"), Value::Null).await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(
        message(&error).contains("conversion webhook for example.com/v1, Kind=Widget failed: it is broken"),
        "{error}"
    );
}
