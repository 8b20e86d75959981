//! Promises of the API that clients build on.

use super::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn dry_run_changes_nothing() {
    let f = fixture().await;
    let (code, made) = f
        .send("POST", &format!("{MAPS}?dryRun=All"), config_map("a"))
        .await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(
        f.send("GET", &format!("{MAPS}/a"), Value::Null).await.0,
        StatusCode::NOT_FOUND
    );
    f.send("POST", MAPS, config_map("a")).await;
    assert_eq!(
        f.send("POST", &format!("{MAPS}?dryRun=All"), config_map("a"))
            .await
            .0,
        StatusCode::CONFLICT
    );
    let before = f.get(&format!("{MAPS}/a")).await;
    let patch = json!({"data": {"x": "1"}});
    let headers = [("content-type", "application/merge-patch+json")];
    let (_, shown) = f
        .send_as(
            f.admin(),
            "PATCH",
            &format!("{MAPS}/a?dryRun=All"),
            patch,
            &headers,
        )
        .await;
    assert_eq!(shown["data"]["x"], "1");
    let (code, _) = f
        .send("DELETE", &format!("{MAPS}/a?dryRun=All"), Value::Null)
        .await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(f.get(&format!("{MAPS}/a")).await, before);
}

#[tokio::test]
async fn names_are_generated() {
    let f = fixture().await;
    let mut object = config_map("x");
    object["metadata"] = json!({"generateName": "pre-"});
    let (code, made) = f.send("POST", MAPS, object).await;
    assert_eq!(code, StatusCode::CREATED);
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("pre-") && name.len() == 9, "{name}");
    let mut nameless = config_map("x");
    nameless["metadata"] = json!({});
    let (code, error) = f.send("POST", MAPS, nameless).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("name or generateName is required"),
        "{error}"
    );
}

#[tokio::test]
async fn unknown_fields_warn() {
    let f = fixture().await;
    let mut object = config_map("a");
    object["bogus"] = json!(1);
    let request = Request::post(MAPS)
        .header("content-type", "application/json")
        .body(Body::from(object.to_string()))
        .unwrap();
    let response = f.admin().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(
        response.headers()["warning"],
        "299 - \"unknown field \\\"bogus\\\"\""
    );
    assert!(response.headers().contains_key("audit-id"));
    assert!(f.get(&format!("{MAPS}/a")).await.get("bogus").is_none());
}

#[tokio::test]
async fn old_kinds_warn() {
    let f = fixture().await;
    let request = Request::get("/api/v1/endpoints").body(Body::empty()).unwrap();
    let response = f.admin().oneshot(request).await.unwrap();
    let warning = response.headers()["warning"].to_str().unwrap().to_owned();
    assert!(
        warning.starts_with("299 - \"v1 Endpoints is deprecated"),
        "{warning}"
    );
}

#[tokio::test]
async fn finalizers_and_preconditions() {
    let f = fixture().await;
    let mut object = config_map("a");
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let (_, made) = f.send("POST", MAPS, object).await;
    let uri = format!("{MAPS}/a");
    let wrong = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}});
    let (code, error) = f.send("DELETE", &uri, wrong).await;
    assert_eq!(
        (code.as_u16(), error["reason"].as_str()),
        (409, Some("Conflict")),
        "{error}"
    );
    let right = json!({"preconditions": {"uid": made["metadata"]["uid"]}});
    let (code, marked) = f.send("DELETE", &uri, right).await;
    assert_eq!(code, StatusCode::OK);
    assert!(marked["metadata"]["deletionTimestamp"].is_string(), "{marked}");
    let headers = [("content-type", "application/merge-patch+json")];
    let patch = json!({"metadata": {"finalizers": null}});
    let (code, last) = f.send_as(f.admin(), "PATCH", &uri, patch, &headers).await;
    assert_eq!(code, StatusCode::OK, "{last}");
    assert_eq!(f.send("GET", &uri, Value::Null).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn racing_writers_lose_nothing() {
    let f = fixture().await;
    f.send("POST", MAPS, config_map("a")).await;
    let writes = (0..20).map(|i| {
        let f = &f;
        async move {
            let mut data = serde_json::Map::new();
            data.insert(format!("w{i}"), json!("1"));
            let headers = [("content-type", "application/merge-patch+json")];
            f.send_as(
                f.admin(),
                "PATCH",
                &format!("{MAPS}/a"),
                json!({"data": data}),
                &headers,
            )
            .await
            .0
        }
    });
    let codes = futures::future::join_all(writes).await;
    assert!(codes.iter().all(|c| *c == StatusCode::OK), "{codes:?}");
    assert_eq!(
        f.get(&format!("{MAPS}/a")).await["data"]
            .as_object()
            .unwrap()
            .len(),
        21
    );
}

#[test]
fn an_approval_changes_conditions_and_metadata_only() {
    let old = json!({"metadata": {"name": "c", "uid": "u"}, "spec": {"signerName": "example.com/s"},
        "status": {"certificate": "old"}});
    let mut new = old.clone();
    new["metadata"]["annotations"] = json!({"patched": "true"});
    new["spec"]["signerName"] = json!("example.com/t");
    let approved = json!([{"type": "Approved", "lastUpdateTime": "t", "lastTransitionTime": "t"}]);
    new["status"] = json!({"certificate": "new", "conditions": approved});
    let gvk = rkind_apimachinery::meta::Gvk::new("certificates.k8s.io", "v1", "CertificateSigningRequest");
    crate::machinery::prepare_update(&gvk, "approval", &mut new, &old);
    assert_eq!(
        new,
        json!({"metadata": {"name": "c", "uid": "u", "annotations": {"patched": "true"}},
            "spec": {"signerName": "example.com/s"},
            "status": {"certificate": "old", "conditions": approved}})
    );
}

#[tokio::test]
async fn an_update_need_not_name_the_default_tolerations() {
    let f = fixture().await;
    let uri = "/api/v1/namespaces/default/pods";
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    f.send("POST", "/api/v1/namespaces/default/serviceaccounts", account)
        .await;
    let (code, made) = f.send("POST", uri, pod("p")).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(made["spec"]["tolerations"].as_array().map(Vec::len), Some(2));
    let mut new = made.clone();
    new["spec"]["tolerations"] = json!([{"key": "own", "operator": "Exists", "effect": "NoExecute"}]);
    let (code, updated) = f.send("PUT", &format!("{uri}/p"), new).await;
    assert_eq!(code, StatusCode::OK, "{updated}");
    assert_eq!(updated["spec"]["tolerations"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn paths_for_no_resource() {
    let f = fixture().await;
    assert_eq!(f.get("/version").await["gitVersion"], "v1.35.0");
    assert!(f.get("/").await["paths"].as_array().unwrap().len() > 20);
    let index = f.get("/openapi/v3").await;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let document = f.get(url).await;
    assert!(document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"].is_object());
    assert!(f.get("/openapi/v2").await["definitions"]["io.k8s.api.core.v1.Pod"].is_object());
    assert_eq!(f.get("/openid/v1/jwks").await["keys"][0]["alg"], "ES256");
    let metrics = f.get("/metrics").await;
    assert!(
        metrics
            .as_str()
            .unwrap()
            .contains("apiserver_request_total{code=\"200\""),
        "{metrics}"
    );
    assert_eq!(
        f.send("GET", "/nowhere", Value::Null).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        f.send("POST", "/version", json!({})).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    let readyz = f.get("/readyz?verbose").await;
    assert!(
        readyz.as_str().unwrap().ends_with("readyz check passed\n"),
        "{readyz}"
    );
}

#[tokio::test]
async fn limit_ranges_default_and_bound() {
    let f = fixture().await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    f.send("POST", "/api/v1/namespaces/default/serviceaccounts", account)
        .await;
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "200m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}}]}});
    let (code, made) = f
        .send("POST", "/api/v1/namespaces/default/limitranges", range)
        .await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let pods = "/api/v1/namespaces/default/pods";
    let (code, made) = f.send("POST", pods, pod("p")).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let resources = &made["spec"]["containers"][0]["resources"];
    assert_eq!(
        resources,
        &json!({"limits": {"cpu": "200m"}, "requests": {"cpu": "100m"}})
    );
    let mut big = pod("big");
    big["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}});
    let (code, error) = f.send("POST", pods, big).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert_eq!(
        error["message"],
        "pods \"big\" is forbidden: maximum cpu usage per Container is 1, but limit is 2"
    );
}

#[tokio::test]
async fn large_answers_are_compressed_for_who_accepts_it() {
    let f = fixture().await;
    let mut object = config_map("a");
    object["data"]["k"] = json!("x".repeat(200_000));
    f.send("POST", MAPS, object).await;
    let request = Request::get(format!("{MAPS}/a"))
        .header("accept-encoding", "gzip")
        .body(Body::empty())
        .unwrap();
    let response = f.admin().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let packed = response.into_body().collect().await.unwrap().to_bytes();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut text).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        f.get(&format!("{MAPS}/a")).await
    );
}

#[tokio::test]
async fn keys_of_tokens_are_where_the_server_is_reached() {
    let at = "/.well-known/openid-configuration";
    let f = fixture().await;
    let keys = &f.get(at).await["jwks_uri"];
    assert_eq!(keys, "https://192.0.2.1:6443/openid/v1/jwks");
    let elsewhere = "https://keys.example.com/jwks";
    let f = fixture_of(|o| o.features.authentication.service_account_jwks_uri = Some(elsewhere.into())).await;
    assert_eq!(&f.get(at).await["jwks_uri"], elsewhere);
}

#[tokio::test]
async fn kubelets_are_asked_at_the_preferred_address() {
    let addresses = json!([{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": "node.invalid"}]);
    for (order, wanted) in [
        (None, "lookup node.invalid"),
        (Some(["ExternalIP", "InternalIP"]), "address not allowed"),
        (
            Some(["ExternalIP", "ExternalDNS"]),
            "no preferred addresses found; known addresses: [{InternalIP 127.0.0.1} {Hostname node.invalid}]",
        ),
    ] {
        let f = fixture_of(|o| {
            if let Some(order) = order {
                o.features.kubelets.kubelet_preferred_address_types = order.map(str::to_owned).into();
            }
        })
        .await;
        let node = json!({"metadata": {"name": "n"}, "status": {"addresses": addresses}});
        f.send("POST", "/api/v1/nodes", node).await;
        let (_, answer) = f.send("GET", "/api/v1/nodes/n/proxy/", Value::Null).await;
        let said = answer["message"].as_str().unwrap_or_default();
        assert!(said.starts_with(wanted), "{said}");
    }
}
