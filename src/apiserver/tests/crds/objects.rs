use super::*;

fn with_subresources() -> Value {
    let mut made = definition("widgets", "Widget", schema());
    let version = &mut made["spec"]["versions"][0];
    version["subresources"] = json!({"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}});
    version["additionalPrinterColumns"] = json!([
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Note", "type": "string", "jsonPath": ".spec.note", "priority": 1},
    ]);
    version["selectableFields"] = json!([{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.size"}]);
    made
}

#[tokio::test]
async fn unknown_and_repeated_fields_are_met_as_asked() {
    let f = fixture().await;
    f.define(definition("widgets", "Widget", schema())).await;
    let mut object = widget("a", json!({"size": 1, "bogus": 1, "free": {"kept": {"deep": 1}}}));
    object["metadata"]["odd"] = json!(1);
    let strict = format!("{WIDGETS}?fieldValidation=Strict");
    let (code, error) = f.send("POST", &strict, object.clone()).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert_eq!(
        message(&error),
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"metadata.odd\", unknown field \"spec.bogus\""
    );
    let (code, made) = f.send("POST", WIDGETS, object).await;
    assert_eq!(code, StatusCode::CREATED);
    assert_eq!(
        made["spec"],
        json!({"size": 1, "color": "red", "free": {"kept": {"deep": 1}}})
    );
    let twice = Request::post(&strict)
        .header("content-type", "application/json")
        .body(Body::from(
            r#"{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"b"},"spec":{"size":1,"size":2}}"#,
        ))
        .unwrap();
    let response = f.admin().oneshot(twice).await.unwrap();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains(r#"duplicate field \"spec.size\""#), "{text}");
    let (code, error) = f
        .patch(
            &format!("{WIDGETS}/a?fieldValidation=Strict"),
            "application/merge-patch+json",
            json!({"spec": {"foo": 1}}),
        )
        .await;
    assert_eq!(code, StatusCode::BAD_REQUEST, "{error}");
    assert!(message(&error).contains("unknown field \"spec.foo\""), "{error}");
}

#[tokio::test]
async fn faults_are_told_in_upstreams_words() {
    let f = fixture().await;
    f.define(definition("widgets", "Widget", schema())).await;
    for (spec, told) in [
        (
            json!({"size": "x"}),
            r#"spec.size: Invalid value: "string": spec.size in body must be of type integer: "string""#,
        ),
        (
            json!({"size": 0}),
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ),
        (
            json!({"color": "pink"}),
            r#"spec.color: Unsupported value: "pink": supported values: "red", "blue""#,
        ),
        (json!({"parts": [{}]}), "spec.parts[0].name: Required value"),
    ] {
        let (code, error) = f.send("POST", WIDGETS, widget("a", spec)).await;
        assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{error}");
        assert_eq!(
            message(&error),
            format!("Widget.example.com \"a\" is invalid: {told}")
        );
    }
    let mut wrong = widget("a", json!({}));
    wrong["kind"] = json!("Gadget");
    let (code, error) = f.send("POST", WIDGETS, wrong).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        message(&error).contains(r#"kind: Invalid value: "Gadget": must be Widget"#),
        "{error}"
    );
    let (code, error) = f.send("POST", WIDGETS, widget("Upper", json!({}))).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        message(&error).contains("metadata.name: Invalid value: \"Upper\""),
        "{error}"
    );
}

#[tokio::test]
async fn status_and_scale_are_apart() {
    let f = fixture().await;
    f.define(with_subresources()).await;
    let mut object = widget("a", json!({"size": 1, "replicas": 2}));
    object["status"] = json!({"phase": "Lost"});
    let (_, made) = f.send("POST", WIDGETS, object).await;
    assert!(made["status"].is_null(), "{made}");
    let uri = format!("{WIDGETS}/a");
    let (code, with) = f
        .merge(
            &format!("{uri}/status"),
            json!({"status": {"phase": "Up", "replicas": 2, "selector": "a=b"}, "spec": {"size": 9}}),
        )
        .await;
    assert_eq!(code, StatusCode::OK, "{with}");
    assert_eq!(
        (&with["status"]["phase"], &with["spec"]["size"]),
        (&json!("Up"), &json!(1))
    );
    assert_eq!(with["metadata"]["generation"], 1);
    let (_, with) = f
        .merge(&uri, json!({"spec": {"size": 3}, "status": {"phase": "Down"}}))
        .await;
    assert_eq!(
        (&with["status"]["phase"], &with["spec"]["size"]),
        (&json!("Up"), &json!(3))
    );
    assert_eq!(with["metadata"]["generation"], 2);

    let mut scale = f.get(&format!("{uri}/scale")).await;
    assert_eq!(scale["spec"]["replicas"], 2);
    assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=b"}));
    scale["spec"]["replicas"] = json!(5);
    let (code, scaled) = f.send("PUT", &format!("{uri}/scale"), scale).await;
    assert_eq!(
        (code, &scaled["spec"]["replicas"]),
        (StatusCode::OK, &json!(5)),
        "{scaled}"
    );
    let (code, scaled) = f
        .merge(&format!("{uri}/scale"), json!({"spec": {"replicas": 7}}))
        .await;
    assert_eq!(
        (code, &scaled["spec"]["replicas"]),
        (StatusCode::OK, &json!(7)),
        "{scaled}"
    );
    assert_eq!(f.get(&uri).await["spec"]["replicas"], 7);
}

#[tokio::test]
async fn every_kind_of_patch_but_the_strategic() {
    let f = fixture().await;
    f.define(definition("widgets", "Widget", schema())).await;
    f.send("POST", WIDGETS, widget("a", json!({"size": 1}))).await;
    let uri = format!("{WIDGETS}/a");
    let (_, new) = f
        .patch(
            &uri,
            "application/json-patch+json",
            json!([{"op": "replace", "path": "/spec/size", "value": 2}]),
        )
        .await;
    assert_eq!(new["spec"]["size"], 2);
    let (code, error) = f
        .patch(
            &uri,
            "application/strategic-merge-patch+json",
            json!({"spec": {"size": 3}}),
        )
        .await;
    assert_eq!(code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(
        message(&error),
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    );
    // Lists with keys are owned item by item.
    let apply = "application/apply-patch+yaml";
    let config = |items: Value| widget("b", json!({"parts": items}));
    let b = format!("{WIDGETS}/b");
    let (code, made) = f
        .patch(
            &format!("{b}?fieldManager=one"),
            apply,
            config(json!([{"name": "x", "count": 1}])),
        )
        .await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let (code, both) = f
        .patch(
            &format!("{b}?fieldManager=two"),
            apply,
            config(json!([{"name": "y", "count": 2}])),
        )
        .await;
    assert_eq!(code, StatusCode::OK, "{both}");
    assert_eq!(both["spec"]["parts"].as_array().unwrap().len(), 2);
    let (code, error) = f
        .patch(
            &format!("{b}?fieldManager=two"),
            apply,
            config(json!([{"name": "x", "count": 9}])),
        )
        .await;
    assert_eq!(code, StatusCode::CONFLICT);
    assert!(
        message(&error).contains(r#"conflict with "one": .spec.parts[name="x"].count"#),
        "{error}"
    );
}

#[tokio::test]
async fn tables_selectors_and_forms() {
    let f = fixture().await;
    f.define(with_subresources()).await;
    f.send("POST", WIDGETS, widget("a", json!({"size": 1, "note": "hi"})))
        .await;
    f.send("POST", WIDGETS, widget("b", json!({"size": 2, "color": "blue"})))
        .await;
    let accept = [(
        "accept",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    )];
    let (_, table) = f.send_as(f.admin(), "GET", WIDGETS, Value::Null, &accept).await;
    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|c| c["name"].as_str())
        .collect();
    assert_eq!(columns, ["Name", "Size", "Note"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", 1, "hi"]));
    assert_eq!(table["rows"][1]["cells"], json!(["b", 2, null]));
    let list = f.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dblue")).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["metadata"]["name"], "b");
    let list = f
        .get(&format!(
            "{WIDGETS}?fieldSelector=spec.size%21%3D2,metadata.name%3Da"
        ))
        .await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let (code, error) = f
        .send(
            "GET",
            &format!("{WIDGETS}?fieldSelector=spec.note%3Dx"),
            Value::Null,
        )
        .await;
    assert_eq!(
        (code, message(&error)),
        (StatusCode::BAD_REQUEST, "field label not supported: spec.note")
    );
    let proto = "application/vnd.kubernetes.protobuf";
    let (code, _) = f
        .send_as(f.admin(), "GET", WIDGETS, Value::Null, &[("accept", proto)])
        .await;
    assert_eq!(code, StatusCode::NOT_ACCEPTABLE);
    let both = [("accept", "application/vnd.kubernetes.protobuf, application/json")];
    assert_eq!(
        f.send_as(f.admin(), "GET", WIDGETS, Value::Null, &both).await.0,
        StatusCode::OK
    );
    let (code, _) = f
        .send_as(
            f.admin(),
            "POST",
            WIDGETS,
            widget("c", json!({})),
            &[("content-type", proto)],
        )
        .await;
    assert_eq!(code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (code, gone) = f.send("DELETE", WIDGETS, Value::Null).await;
    assert_eq!(code, StatusCode::OK, "{gone}");
    assert_eq!(f.get(WIDGETS).await["items"], json!([]));
}

#[tokio::test]
async fn nulls_and_int_or_string() {
    let f = fixture().await;
    f.define(definition("widgets", "Widget", schema())).await;
    let spec = json!({"color": null, "note": null, "replicas": null, "port": "http"});
    let (code, made) = f.send("POST", WIDGETS, widget("a", spec)).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(
        made["spec"],
        json!({"color": "red", "note": null, "port": "http"})
    );
    let (code, _) = f
        .merge(&format!("{WIDGETS}/a"), json!({"spec": {"port": 80}}))
        .await;
    assert_eq!(code, StatusCode::OK);
    let (code, error) = f
        .merge(&format!("{WIDGETS}/a"), json!({"spec": {"port": true}}))
        .await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{error}");
    // A custom resource is never replaced unseen.
    let (code, error) = f
        .send("PUT", &format!("{WIDGETS}/a"), widget("a", json!({})))
        .await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        message(&error).contains("metadata.resourceVersion: Invalid value: 0"),
        "{error}"
    );
}

#[tokio::test]
async fn rules_hold() {
    let f = fixture().await;
    let mut schema = schema();
    schema["properties"]["spec"]["x-kubernetes-validations"] = json!([
        {"rule": "!has(self.replicas) || self.replicas <= 5", "message": "replicas are 5 at most"},
        {"rule": "!has(oldSelf.size) || self.size >= oldSelf.size", "messageExpression": "'size may only ' + 'grow'"},
    ]);
    f.define(definition("widgets", "Widget", schema.clone())).await;
    let (code, error) = f.send("POST", WIDGETS, widget("a", json!({"replicas": 6}))).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{error}");
    assert_eq!(
        message(&error),
        "Widget.example.com \"a\" is invalid: spec: Invalid value: replicas are 5 at most"
    );
    let (code, made) = f.send("POST", WIDGETS, widget("a", json!({"size": 3}))).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let (code, error) = f
        .merge(&format!("{WIDGETS}/a"), json!({"spec": {"size": 2}}))
        .await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{error}");
    assert!(
        message(&error).ends_with("spec: Invalid value: size may only grow"),
        "{error}"
    );
    let (code, _) = f
        .merge(&format!("{WIDGETS}/a"), json!({"spec": {"size": 4}}))
        .await;
    assert_eq!(code, StatusCode::OK);
    // A rule that cannot be understood is refused with its definition.
    schema["properties"]["spec"]["x-kubernetes-validations"] = json!([{"rule": "self.nope > 1"}]);
    let (code, error) = f
        .send("POST", DEFINITIONS, definition("gadgets", "Gadget", schema))
        .await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(message(&error).contains("compilation failed"), "{error}");
}

/// What could not be read again is refused, whatever way it comes; the rest can be deleted.
#[tokio::test]
async fn depth_ends_before_the_store() {
    let f = fixture().await;
    f.define(definition("widgets", "Widget", schema())).await;
    let nested = |levels: usize| -> Value { (0..levels).fold(json!({}), |inner, _| json!({"a": inner})) };
    let (code, error) = f
        .send("POST", WIDGETS, widget("deep", json!({"free": nested(118)})))
        .await;
    assert_eq!(code, StatusCode::BAD_REQUEST, "{error}");
    assert_eq!(message(&error), "the object is nested deeper than 120 levels");
    let (code, made) = f
        .send("POST", WIDGETS, widget("w", json!({"free": nested(60)})))
        .await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let uri = format!("{WIDGETS}/w");
    let patch = json!([{"op": "add", "path": format!("/spec/free{}", "/a".repeat(60)), "value": nested(80)}]);
    let (code, error) = f.patch(&uri, "application/json-patch+json", patch).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{error}");
    assert_eq!(f.send("DELETE", &uri, Value::Null).await.0, StatusCode::OK);
}
