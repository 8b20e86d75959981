use super::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn a_life() {
    let f = fixture().await;
    let (code, made) = f.send("POST", MAPS, config_map("a")).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert!(made["metadata"]["uid"].is_string() && made["metadata"]["creationTimestamp"].is_string());
    let uri = format!("{MAPS}/a");
    assert_eq!(f.get(&uri).await, made);

    let (code, error) = f.send("POST", MAPS, config_map("a")).await;
    assert_eq!(
        (code.as_u16(), error["reason"].as_str()),
        (409, Some("AlreadyExists"))
    );
    assert_eq!(error["message"], "configmaps \"a\" already exists");

    let mut next = made.clone();
    next["data"]["k"] = json!("w");
    let (code, changed) = f.send("PUT", &uri, next.clone()).await;
    assert_eq!(code, StatusCode::OK, "{changed}");
    assert_ne!(
        changed["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
    let (code, error) = f.send("PUT", &uri, next).await;
    assert_eq!((code.as_u16(), error["reason"].as_str()), (409, Some("Conflict")));

    // An update that changes nothing writes nothing.
    let (_, same) = f.send("PUT", &uri, changed.clone()).await;
    assert_eq!(same, changed);

    let (code, status) = f.send("DELETE", &uri, Value::Null).await;
    assert_eq!((code.as_u16(), status["status"].as_str()), (200, Some("Success")));
    assert_eq!(status["details"]["uid"], made["metadata"]["uid"]);
    let (code, error) = f.send("GET", &uri, Value::Null).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
    assert_eq!(error["message"], "configmaps \"a\" not found");
}

#[tokio::test]
async fn patches() {
    let f = fixture().await;
    f.send("POST", MAPS, config_map("a")).await;
    let uri = format!("{MAPS}/a");
    let patch = |kind: &'static str, body: Value| {
        let (f, uri) = (&f, uri.clone());
        async move {
            f.send_as(f.admin(), "PATCH", &uri, body, &[("content-type", kind)])
                .await
        }
    };
    let (code, value) = patch(
        "application/merge-patch+json",
        json!({"data": {"x": "1", "k": null}}),
    )
    .await;
    assert_eq!(
        (code.as_u16(), &value["data"]),
        (200, &json!({"x": "1"})),
        "{value}"
    );
    let ops = json!([{"op": "add", "path": "/data/y", "value": "2"}]);
    let (_, value) = patch("application/json-patch+json", ops).await;
    assert_eq!(value["data"], json!({"x": "1", "y": "2"}));
    let (_, value) = patch(
        "application/strategic-merge-patch+json",
        json!({"data": {"x": "3"}}),
    )
    .await;
    assert_eq!(value["data"], json!({"x": "3", "y": "2"}));
    let (code, _) = patch("text/plain", json!({})).await;
    assert_eq!(code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn what_a_client_may_not_say() {
    let f = fixture().await;
    let (code, error) = f
        .send("POST", "/api/v1/namespaces/nope/configmaps", config_map("a"))
        .await;
    assert_eq!(
        (code.as_u16(), error["message"].as_str()),
        (404, Some("namespaces \"nope\" not found"))
    );
    let mut wrong = config_map("a");
    wrong["metadata"]["namespace"] = json!("other");
    assert_eq!(f.send("POST", MAPS, wrong).await.0, StatusCode::BAD_REQUEST);
    let (code, error) = f.send("POST", MAPS, pod("p")).await;
    assert_eq!(code, StatusCode::BAD_REQUEST, "{error}");
    let (code, error) = f.send("POST", MAPS, config_map("Not_A_Name")).await;
    assert_eq!(
        (code.as_u16(), error["reason"].as_str()),
        (422, Some("Invalid")),
        "{error}"
    );
    let (code, _) = f.send("POST", MAPS, json!("x".repeat(4 << 20))).await;
    assert_eq!(code, StatusCode::PAYLOAD_TOO_LARGE);
    let mut unknown = config_map("u");
    unknown["bogus"] = json!(1);
    let (code, error) = f
        .send("POST", &format!("{MAPS}?fieldValidation=Strict"), unknown)
        .await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("unknown field \"bogus\""),
        "{error}"
    );
    assert_eq!(
        f.send("GET", "/api/v1/nothings", Value::Null).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn pods_are_admitted_bound_and_deleted_with_grace() {
    let f = fixture().await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    f.send("POST", "/api/v1/namespaces/default/serviceaccounts", account)
        .await;
    let pods = "/api/v1/namespaces/default/pods";
    let (code, made) = f.send("POST", pods, pod("p")).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(made["status"]["phase"], "Pending");
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["tolerations"].as_array().map(Vec::len), Some(2));
    let volume = made["spec"]["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with("kube-api-access-"));
    assert_eq!(made["spec"]["containers"][0]["volumeMounts"][0]["name"], volume);

    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    let (code, status) = f
        .send("POST", &format!("{pods}/p/binding"), binding.clone())
        .await;
    assert_eq!(code, StatusCode::CREATED, "{status}");
    let (code, _) = f.send("POST", &format!("{pods}/p/binding"), binding).await;
    assert_eq!(code, StatusCode::CONFLICT);
    let bound = f.get(&format!("{pods}/p")).await;
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");

    let (_, status) = f
        .send("PUT", &format!("{pods}/p/status"), {
            let mut p = bound.clone();
            p["status"]["phase"] = json!("Running");
            p["spec"]["nodeName"] = json!("other");
            p
        })
        .await;
    assert_eq!(status["status"]["phase"], "Running", "{status}");
    assert_eq!(status["spec"]["nodeName"], "n1");

    let (_, marked) = f.send("DELETE", &format!("{pods}/p"), Value::Null).await;
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    let (code, _) = f
        .send("DELETE", &format!("{pods}/p?gracePeriodSeconds=0"), Value::Null)
        .await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(
        f.send("GET", &format!("{pods}/p"), Value::Null).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn services_get_addresses() {
    let f = fixture().await;
    let services = "/api/v1/namespaces/default/services";
    let kubernetes = f.get(&format!("{services}/kubernetes")).await;
    assert_eq!(kubernetes["spec"]["clusterIP"], "10.96.0.1", "{kubernetes}");
    let web = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    let (code, made) = f.send("POST", services, web).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let address = made["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(address.starts_with("10.96."));
    let port = made["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    assert!((30000..=32767).contains(&port));
    let thief = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "thief"},
        "spec": {"clusterIP": address, "ports": [{"port": 80}]}});
    let (code, error) = f.send("POST", services, thief.clone()).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{error}");
    f.send("DELETE", &format!("{services}/web"), Value::Null).await;
    assert_eq!(f.send("POST", services, thief).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn scale_and_generation() {
    let f = fixture().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let (code, made) = f.send("POST", deployments, web).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(made["metadata"]["generation"], 1);
    let scale = f.get(&format!("{deployments}/web/scale")).await;
    assert_eq!(
        (
            scale["spec"]["replicas"].as_i64(),
            scale["status"]["selector"].as_str()
        ),
        (Some(2), Some("app=web"))
    );
    let body = json!({"spec": {"replicas": 5}});
    let uri = format!("{deployments}/web/scale");
    let (code, scaled) = f
        .send_as(
            f.admin(),
            "PATCH",
            &uri,
            body,
            &[("content-type", "application/merge-patch+json")],
        )
        .await;
    assert_eq!(
        (code.as_u16(), scaled["spec"]["replicas"].as_i64()),
        (200, Some(5)),
        "{scaled}"
    );
    let now = f.get(&format!("{deployments}/web")).await;
    assert_eq!(
        (
            now["spec"]["replicas"].as_i64(),
            now["metadata"]["generation"].as_i64()
        ),
        (Some(5), Some(2))
    );
}

#[tokio::test]
async fn namespaces_wait_for_their_finalizer() {
    let f = fixture().await;
    let (_, made) = f
        .send(
            "POST",
            "/api/v1/namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}),
        )
        .await;
    assert_eq!(made["spec"]["finalizers"], json!(["kubernetes"]), "{made}");
    let (code, gone) = f.send("DELETE", "/api/v1/namespaces/n", Value::Null).await;
    assert_eq!(
        (code.as_u16(), gone["status"]["phase"].as_str()),
        (200, Some("Terminating"))
    );
    let (code, error) = f
        .send("POST", "/api/v1/namespaces/n/configmaps", config_map("a"))
        .await;
    assert_eq!(code, StatusCode::FORBIDDEN, "{error}");
    let mut last = f.get("/api/v1/namespaces/n").await;
    last["spec"]["finalizers"] = json!([]);
    let (code, answer) = f.send("PUT", "/api/v1/namespaces/n/finalize", last).await;
    assert_eq!(code, StatusCode::OK, "{answer}");
    assert_eq!(
        f.send("GET", "/api/v1/namespaces/n", Value::Null).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        f.send("DELETE", "/api/v1/namespaces/default", Value::Null)
            .await
            .0,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn what_is_stored_survives_a_restart() {
    let f = fixture().await;
    f.send("POST", MAPS, config_map("kept")).await;
    let names = vec!["core/configmaps".to_owned()];
    let cache = crate::cacher::Cache::load(f.store.clone(), &names).await.unwrap();
    assert!(
        cache
            .cacher("core/configmaps")
            .unwrap()
            .get("default/kept")
            .is_some()
    );
}
