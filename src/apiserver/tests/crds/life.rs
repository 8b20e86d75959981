use super::*;

#[tokio::test]
async fn a_definition_is_served_until_it_goes() {
    let f = fixture().await;
    assert_eq!(f.send("GET", WIDGETS, Value::Null).await.0, StatusCode::NOT_FOUND);
    let made = f.define(definition("widgets", "Widget", schema())).await;
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(made["status"]["acceptedNames"]["listKind"], "WidgetList");
    assert_eq!(made["status"]["acceptedNames"]["singular"], "widget");
    assert_eq!(condition(&made, "NamesAccepted"), "True");

    let list = f.get(WIDGETS).await;
    assert_eq!(
        (&list["kind"], &list["items"]),
        (&json!("WidgetList"), &json!([]))
    );
    let (code, made) = f.send("POST", WIDGETS, widget("a", json!({"size": 1}))).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(made["spec"], json!({"size": 1, "color": "red"}));
    assert_eq!(made["metadata"]["generation"], 1);

    // Discovery in all its forms.
    let groups = f.get("/apis").await;
    let group = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|g| g["name"] == "example.com");
    assert_eq!(
        group.unwrap()["preferredVersion"]["groupVersion"],
        "example.com/v1"
    );
    let resources = f.get("/apis/example.com/v1").await;
    let resource = &resources["resources"][0];
    assert_eq!(
        (
            &resource["name"],
            &resource["shortNames"],
            &resource["categories"],
            &resource["singularName"]
        ),
        (
            &json!("widgets"),
            &json!(["wi"]),
            &json!(["all"]),
            &json!("widget")
        )
    );
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let (_, all) = f
        .send_as(f.admin(), "GET", "/apis", Value::Null, &[("accept", accept)])
        .await;
    let group = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|g| g["metadata"]["name"] == "example.com");
    assert_eq!(
        group.unwrap()["versions"][0]["resources"][0]["resource"],
        "widgets"
    );

    // An object that waits holds the definition.
    let (code, _) = f
        .merge(
            &format!("{WIDGETS}/a"),
            json!({"metadata": {"finalizers": ["example.com/wait"]}}),
        )
        .await;
    assert_eq!(code, StatusCode::OK);
    let name = format!("{DEFINITIONS}/widgets.example.com");
    let (code, deleted) = f.send("DELETE", &name, Value::Null).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(
        deleted["metadata"]["finalizers"],
        json!(["customresourcecleanup.apiextensions.k8s.io"])
    );
    f.until(&name, |d| {
        d["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["reason"] == "InstanceDeletionInProgress")
    })
    .await;
    assert_eq!(
        f.send("POST", WIDGETS, widget("b", json!({}))).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    f.merge(&format!("{WIDGETS}/a"), json!({"metadata": {"finalizers": null}}))
        .await;
    f.until(&name, |d| d["code"] == 404).await;
    assert_eq!(f.send("GET", WIDGETS, Value::Null).await.0, StatusCode::NOT_FOUND);
    let groups = f.get("/apis").await;
    assert!(
        groups["groups"]
            .as_array()
            .unwrap()
            .iter()
            .all(|g| g["name"] != "example.com")
    );

    // The name is free again.
    f.define(definition("widgets", "Widget", schema())).await;
    assert_eq!(f.get(WIDGETS).await["items"], json!([]));
}

#[tokio::test]
async fn names_that_are_taken_are_not_granted() {
    let f = fixture().await;
    f.define(definition("widgets", "Widget", schema())).await;
    let other = definition("gadgets", "Widget", schema());
    f.send("POST", DEFINITIONS, other).await;
    let name = format!("{DEFINITIONS}/gadgets.example.com");
    let found = f.until(&name, |d| condition(d, "NamesAccepted") == "False").await;
    assert_eq!(condition(&found, "Established"), "False");
    assert_eq!(
        f.send(
            "GET",
            "/apis/example.com/v1/namespaces/default/gadgets",
            Value::Null
        )
        .await
        .0,
        StatusCode::NOT_FOUND
    );
    // When the first goes, the second gets them.
    f.send(
        "DELETE",
        &format!("{DEFINITIONS}/widgets.example.com"),
        Value::Null,
    )
    .await;
    f.until(&name, |d| condition(d, "Established") == "True").await;
    assert_eq!(
        f.send(
            "GET",
            "/apis/example.com/v1/namespaces/default/gadgets",
            Value::Null
        )
        .await
        .0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn objects_outlive_a_restart() {
    let mut f = fixture().await;
    f.define(definition("widgets", "Widget", schema())).await;
    f.send("POST", WIDGETS, widget("a", json!({"size": 4}))).await;
    f.restart().await;
    let found = f.get(&format!("{WIDGETS}/a")).await;
    assert_eq!(found["spec"]["size"], 4);
    assert_eq!(f.get(WIDGETS).await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_schema_that_changes_is_followed() {
    let f = fixture().await;
    f.define(definition("widgets", "Widget", schema())).await;
    f.send("POST", WIDGETS, widget("a", json!({"size": 1, "replicas": 2})))
        .await;
    let name = format!("{DEFINITIONS}/widgets.example.com");
    let mut changed = f.get(&name).await;
    let properties =
        &mut changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    properties["extra"] = json!({"type": "string", "default": "new"});
    properties.as_object_mut().unwrap().remove("replicas");
    let (code, changed) = f.send("PUT", &name, changed).await;
    assert_eq!(code, StatusCode::OK, "{changed}");
    assert_eq!(changed["metadata"]["generation"], 2);
    // What is stored is read by the schema of today.
    let found = f.get(&format!("{WIDGETS}/a")).await;
    assert_eq!(found["spec"], json!({"size": 1, "color": "red", "extra": "new"}));
    let list = f.get(WIDGETS).await;
    assert_eq!(list["items"][0]["spec"], found["spec"]);
    let (code, made) = f
        .send("POST", WIDGETS, widget("b", json!({"extra": "own"})))
        .await;
    assert_eq!(
        (code, &made["spec"]["extra"]),
        (StatusCode::CREATED, &json!("own"))
    );
}

#[tokio::test]
async fn schemas_are_published() {
    let f = fixture().await;
    let before = f.get("/openapi/v3").await;
    assert!(before["paths"]["apis/example.com/v1"].is_null());
    f.define(definition("widgets", "Widget", schema())).await;
    let root = f.get("/openapi/v3").await;
    let url = root["paths"]["apis/example.com/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let document = f.get(url).await;
    let widget = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(widget["properties"]["spec"]["properties"]["size"]["minimum"], 1);
    assert_eq!(
        widget["x-kubernetes-group-version-kind"],
        json!([{"group": "example.com", "version": "v1", "kind": "Widget"}])
    );
    assert!(
        document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"].is_object()
    );
    // kubectl looks here which patch it may send.
    let patch = &document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"];
    let forms: Vec<&String> = patch["requestBody"]["content"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(
        forms,
        [
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json"
        ]
    );
    let swagger = f.get("/openapi/v2").await;
    let mut published = swagger["definitions"]["com.example.v1.Widget"].clone();
    published
        .as_object_mut()
        .unwrap()
        .remove("x-kubernetes-group-version-kind");
    for field in ["metadata", "apiVersion", "kind"] {
        published["properties"].as_object_mut().unwrap().remove(field);
    }
    let mut wanted = schema();
    // What kubectl's second version does not understand is not said.
    let spec = wanted["properties"]["spec"]["properties"]
        .as_object_mut()
        .unwrap();
    spec.insert("note".into(), json!({}));
    spec.insert(
        "free".into(),
        json!({"x-kubernetes-preserve-unknown-fields": true}),
    );
    assert_eq!(published, wanted);
    // A changed schema has another name; what did not change keeps its.
    let name = format!("{DEFINITIONS}/widgets.example.com");
    let patch = json!([{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/more", "value": {"type": "string"}}]);
    f.patch(&name, "application/json-patch+json", patch).await;
    let after = f.get("/openapi/v3").await;
    assert_ne!(
        after["paths"]["apis/example.com/v1"],
        root["paths"]["apis/example.com/v1"]
    );
    assert_eq!(after["paths"]["api/v1"], before["paths"]["api/v1"]);
    f.send("DELETE", &name, Value::Null).await;
    f.until(&name, |d| d["code"] == 404).await;
    assert!(f.get("/openapi/v3").await["paths"]["apis/example.com/v1"].is_null());
}
