//! A webhook that judges by its path, as the one of upstream's tests does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

use crate::server::Api;
use crate::tls::{TlsServer, own_address, self_signed};

/// Namespace, name and port of the Service that leads to the webhook.
const SERVICE: (&str, &str, u16) = ("webhooks", "sample", 8443);

/// A running webhook.
pub(crate) struct SampleWebhook {
    server: TlsServer,
    /// Base64 of its authority's PEM.
    ca_bundle: String,
    /// Paths and bodies, in order.
    calls: Arc<Mutex<Vec<(String, Value)>>>,
}

impl SampleWebhook {
    /// Serves by URL and behind a Service, whose EndpointSlice leads to this process.
    pub(crate) async fn start(api: &Api) -> SampleWebhook {
        let (namespace, name, port) = SERVICE;
        let pair = self_signed(&["127.0.0.1", &format!("{name}.{namespace}.svc")]);
        let calls: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let seen = calls.clone();
        let server = TlsServer::start(&pair, None, move |request| answer(request, seen.clone())).await;
        let core = api.namespace(namespace).await;
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ports": [{"port": port, "targetPort": server.address.port()}]}});
        api.post(&format!("{core}/services"), &service).await;
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "endpoints": [{"addresses": [own_address()], "conditions": {"ready": true}}],
            "ports": [{"port": server.address.port()}]});
        let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
        api.post(&slices, &slice).await;
        SampleWebhook {
            server,
            ca_bundle: STANDARD.encode(pair.certificate),
            calls,
        }
    }

    /// A `clientConfig` through the Service.
    pub(crate) fn by_service(&self, path: &str) -> Value {
        let (namespace, name, port) = SERVICE;
        json!({"service": {"namespace": namespace, "name": name, "port": port, "path": path}, "caBundle": self.ca_bundle})
    }

    /// A `clientConfig` by address.
    pub(crate) fn by_url(&self, path: &str) -> Value {
        json!({"url": self.url(path), "caBundle": self.ca_bundle})
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.server.address.port())
    }

    /// The requests of reviews for objects of a name, with the paths they came to.
    pub(crate) fn asked(&self, name: &str) -> Vec<(String, Value)> {
        let calls = self.calls.lock().expect("calls");
        let requests = calls
            .iter()
            .map(|(path, body)| (path.clone(), body["request"].clone()));
        requests.filter(|(_, request)| request["name"] == name).collect()
    }
}

async fn answer(request: Request<Bytes>, calls: Arc<Mutex<Vec<(String, Value)>>>) -> Response<String> {
    let path = request.uri().path().to_owned();
    let review: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    calls.lock().expect("calls").push((path.clone(), review.clone()));
    match path.as_str() {
        "/broken" => {
            let response = Response::builder().status(500);
            return response.body("oh".into()).expect("a response");
        }
        "/hang" => std::future::pending().await,
        // Longer than one second, shorter than two.
        "/slow" => tokio::time::sleep(Duration::from_millis(1500)).await,
        "/crdconvert" => return Response::new(super::versions::converted(&review).to_string()),
        _ => {}
    }
    let request = &review["request"];
    let mut response = judge(&path, request);
    response["uid"] = match path.as_str() {
        "/wrong-uid" => json!("another"),
        _ => request["uid"].clone(),
    };
    let answer =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Response::new(answer.to_string())
}

fn yes() -> Value {
    json!({"allowed": true})
}

fn no(why: &str) -> Value {
    json!({"allowed": false, "status": {"message": why}})
}

fn patched(operations: Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())})
}

/// What each path says to a request.
fn judge(path: &str, request: &Value) -> Value {
    let object = match request["operation"].as_str() {
        Some("DELETE") => &request["oldObject"],
        _ => &request["object"],
    };
    let data = &object["data"];
    match path {
        "/always-deny" => no("this webhook denies all requests"),
        "/data" if data["webhook-e2e-test"] == "webhook-disallow" => no("the object contains unwanted data"),
        "/pods" if object["metadata"]["labels"]["webhook-e2e-test"] == "webhook-disallow" => {
            no("the pod contains unwanted label")
        }
        "/attach" => no("attaching to pod is not allowed"),
        "/mutate-data" => mutate_data(data),
        "/mutate-pods" => patched(json!([{"op": "add", "path": "/spec/initContainers",
            "value": [{"name": "webhook-added-init-container", "image": "registry.example/init:1", "bogus": 1}]}])),
        // Only what has been defaulted after the patch above.
        "/mutate-defaulted" if object["spec"]["initContainers"][0]["terminationMessagePath"].is_string() => {
            patched(json!([{"op": "add", "path": "/metadata/labels/saw-defaults", "value": "yes"}]))
        }
        "/first" if data["second"].is_string() => {
            patched(json!([{"op": "add", "path": "/data/first-again", "value": "yes"}]))
        }
        "/first" => patched(json!([{"op": "add", "path": "/data/first", "value": "yes"}])),
        "/second" if data["first"].is_string() => {
            patched(json!([{"op": "add", "path": "/data/second", "value": "yes"}]))
        }
        "/label" if object["metadata"]["labels"].is_object() => {
            patched(json!([{"op": "add", "path": "/metadata/labels/added-label", "value": "added-value"}]))
        }
        "/label" => patched(
            json!([{"op": "add", "path": "/metadata/labels", "value": {"added-label": "added-value"}}]),
        ),
        "/three-at-most" if object["spec"]["replicas"].as_i64() > Some(3) => {
            patched(json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]))
        }
        "/warn" => json!({"allowed": true, "warnings": ["mind \"this\""]}),
        _ => yes(),
    }
}

/// Each stage adds a mark once the one before is there.
fn mutate_data(data: &Value) -> Value {
    let mut operations = Vec::new();
    for (after, mark) in [
        ("mutation-start", "mutation-stage-1"),
        ("mutation-stage-1", "mutation-stage-2"),
    ] {
        if data[after] == "yes" && data[mark].is_null() {
            operations.push(json!({"op": "add", "path": format!("/data/{mark}"), "value": "yes"}));
            break;
        }
    }
    patched(json!(operations))
}
