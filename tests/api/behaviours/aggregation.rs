//! A group that another server serves: asked by the front proxy, discovered like the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::{Ground, cases, eventually};
use crate::tls::{Peer, TlsServer, own_address, self_signed};

cases! {
    a_sample_server_is_aggregated: ["aggregator/sample-server"],
}

const GROUP: &str = "wardle.example.com";
const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const FLUNDERS: &str = "/apis/wardle.example.com/v1alpha1/namespaces/wardle/flunders";

/// What a sample server holds, and who asked it last.
#[derive(Default)]
struct Sample {
    flunders: BTreeMap<String, Value>,
    asked_by: Vec<(String, Vec<String>)>,
    /// The name in the front proxy's certificate.
    proxies: Vec<String>,
}

fn answer(code: u16, body: &Value) -> Response<String> {
    let response = Response::builder()
        .status(code)
        .header("content-type", "application/json");
    response.body(body.to_string()).expect("a response")
}

fn not_found() -> Response<String> {
    answer(
        404,
        &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}),
    )
}

/// The group's documents, and objects by name, for requests that the front proxy vouches for.
fn serve(request: &Request<Bytes>, sample: &Mutex<Sample>) -> Response<String> {
    let Some(Peer(Some(proxy))) = request.extensions().get() else {
        return answer(
            401,
            &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 401}),
        );
    };
    let mut sample = sample.lock().expect("the sample");
    let texts = |name: &str| {
        let values = request.headers().get_all(name).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let version = format!("{GROUP}/v1alpha1");
    let path = request.uri().path();
    if path == format!("/apis/{version}") {
        return answer(
            200,
            &json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [
            {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder",
                "verbs": ["create", "delete", "get", "list"]}]}),
        );
    }
    let Some(name) = path.strip_prefix(FLUNDERS) else {
        return not_found();
    };
    let (proxy, user) = (proxy.clone(), texts("x-remote-user").join(","));
    sample.proxies.push(proxy);
    sample.asked_by.push((user, texts("x-remote-group")));
    let name = name.trim_start_matches('/');
    match (request.method(), name) {
        (&Method::GET, "") => {
            let items: Vec<&Value> = sample.flunders.values().collect();
            answer(
                200,
                &json!({"kind": "FlunderList", "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items}),
            )
        }
        (&Method::POST, "") => {
            let object: Value = serde_json::from_slice(request.body()).unwrap_or_default();
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            sample.flunders.insert(name, object.clone());
            answer(201, &object)
        }
        (&Method::GET, name) => sample
            .flunders
            .get(name)
            .map_or_else(not_found, |found| answer(200, found)),
        (&Method::DELETE, name) => match sample.flunders.remove(name) {
            Some(_) => answer(
                200,
                &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}),
            ),
            None => not_found(),
        },
        _ => not_found(),
    }
}

/// The condition that says whether a group is to be had.
fn available(service: &Value) -> (String, String) {
    let condition = &service["status"]["conditions"][0];
    assert!(condition.is_null() || condition["type"] == "Available");
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

async fn a_sample_server_is_aggregated(g: Arc<Ground>) {
    let api = &g.api;
    // What an extension server reads to know whom to believe.
    let trusted = api
        .get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")
        .await;
    let proxy_ca = trusted["data"]["requestheader-client-ca-file"]
        .as_str()
        .expect("an authority");
    let allowed: Vec<String> =
        serde_json::from_str(trusted["data"]["requestheader-allowed-names"].as_str().unwrap()).unwrap();
    let headers: Vec<String> = serde_json::from_str(
        trusted["data"]["requestheader-username-headers"]
            .as_str()
            .unwrap(),
    )
    .unwrap();
    assert!(
        headers
            .iter()
            .any(|name| name.eq_ignore_ascii_case("x-remote-user")),
        "{headers:?}"
    );

    let pair = self_signed(&["sample-api.wardle.svc"]);
    let sample = Arc::new(Mutex::new(Sample::default()));
    let shared = sample.clone();
    let server = TlsServer::start(&pair, Some(proxy_ca), move |request| {
        let response = serve(&request, &shared);
        async move { response }
    })
    .await;
    let ns = api.namespace("wardle").await;
    let name = format!("v1alpha1.{GROUP}");
    let one = format!("{SERVICES}/{name}");
    let service = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": name, "labels": {"sample": "yes"}}, "spec": {
            "group": GROUP, "version": "v1alpha1", "groupPriorityMinimum": 2000, "versionPriority": 200,
            "service": {"namespace": "wardle", "name": "sample-api", "port": 7443},
            "caBundle": base64::engine::general_purpose::STANDARD.encode(&pair.certificate)}});
    api.post(SERVICES, &service).await;
    api.until(&one, |service| {
        available(service) == ("False".into(), "ServiceNotFound".into())
    })
    .await;
    let (code, text) = api.send("GET", FLUNDERS, &Value::Null).await;
    assert_eq!(
        (code.as_u16(), text.as_str()),
        (503, Some("service unavailable\n"))
    );

    let target = server.address.port();
    let body = json!({"metadata": {"name": "sample-api"}, "spec": {"ports": [{"port": 7443, "targetPort": target}]}});
    api.post(&format!("{ns}/services"), &body).await;
    let slice = json!({"metadata": {"name": "sample-api", "labels": {"kubernetes.io/service-name": "sample-api"}},
        "addressType": "IPv4", "endpoints": [{"addresses": [own_address()], "conditions": {"ready": true}}],
        "ports": [{"port": target}]});
    api.post(
        "/apis/discovery.k8s.io/v1/namespaces/wardle/endpointslices",
        &slice,
    )
    .await;
    api.until(&one, |service| {
        available(service) == ("True".into(), "Passed".into())
    })
    .await;

    // Through kubectl, which finds the kind by discovery.
    eventually("discovery has the group", async || {
        let (code, _, _) = g.try_kubectl(&["get", "flunders", "-n", "wardle"], "").await;
        (code == 0).then_some(())
    })
    .await;
    let flunder = json!({"apiVersion": format!("{GROUP}/v1alpha1"), "kind": "Flunder",
        "metadata": {"name": "dynamic-flunder", "namespace": "wardle"}});
    g.kubectl(&["create", "--validate=false", "-f", "-"], &flunder.to_string())
        .await;
    assert_eq!(super::names(&api.get(FLUNDERS).await), ["dynamic-flunder"]);
    let said = g
        .kubectl(&["get", "flunders", "-n", "wardle", "-o", "name"], "")
        .await;
    assert_eq!(said, format!("flunder.{GROUP}/dynamic-flunder\n"));

    // The other server is told who asks, by somebody it believes, and forged headers do not reach it.
    let (code, _) = api
        .ask(
            "GET",
            FLUNDERS,
            &[("x-remote-user", "forged"), ("x-remote-group", "forged")],
            vec![],
        )
        .await;
    assert_eq!(code, 200);
    let (asked_by, proxies) = {
        let sample = sample.lock().unwrap();
        (sample.asked_by.last().cloned().unwrap(), sample.proxies.clone())
    };
    assert_eq!(asked_by.0, "kubernetes-admin");
    assert!(
        asked_by.1.contains(&"system:masters".into()) && !asked_by.1.contains(&"forged".into()),
        "{asked_by:?}"
    );
    assert!(
        proxies.iter().all(|name| allowed.contains(name)),
        "{proxies:?} {allowed:?}"
    );
    // Whom this server refuses, it does not send on.
    let jane = [("impersonate-user", "jane")];
    let asked = sample.lock().unwrap().asked_by.len();
    assert_eq!(api.ask("GET", FLUNDERS, &jane, vec![]).await.0, 403);
    assert_eq!(sample.lock().unwrap().asked_by.len(), asked);

    // The APIService is an object like others, with a status.
    let status = format!("{one}/status");
    let patched = api
        .merge(&status, json!({"metadata": {"annotations": {"patched": "yes"}}}))
        .await;
    assert_eq!(available(&patched).0, "True");
    let mut changed = api.get(&one).await;
    changed["spec"]["versionPriority"] = json!(400);
    assert_eq!(api.put(&one, &changed).await["spec"]["versionPriority"], 400);
    let groups = api.get("/apis").await;
    assert!(
        groups["groups"]
            .as_array()
            .unwrap()
            .iter()
            .any(|group| group["name"] == GROUP)
    );
    api.delete(&format!("{FLUNDERS}/dynamic-flunder")).await;
    api.delete(&format!("{SERVICES}?labelSelector=sample%3Dyes"))
        .await;
    api.until_gone(&one).await;
    eventually("the group is gone", async || {
        let groups = api.get("/apis").await;
        let mut groups = groups["groups"].as_array().unwrap().iter();
        groups.all(|group| group["name"] != GROUP).then_some(())
    })
    .await;
    assert_eq!(api.refused("GET", FLUNDERS, &Value::Null).await.0, 404);
}
