//! The loop against a fake API server.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{Request, Response, StatusCode};
use kube::client::Body;
use rkind_client::{Client, testing::FakeApi};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Options, run};

/// The fake with what only the scheduler asks for: bindings and (no) persistent volumes. The first
/// `failures` bindings are refused.
fn client(api: &FakeApi, failures: usize) -> Client {
    let (api, inner, failures) = (api.clone(), api.client(), Arc::new(AtomicUsize::new(failures)));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (api, inner, failures) = (api.clone(), inner.clone(), failures.clone());
        async move { Ok::<_, Infallible>(answer(&api, inner, &failures, request).await) }
    });
    rkind_client::from_service(service, "default")
}

fn json_answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string().into_bytes()));
    *response.status_mut() = status;
    response
}

async fn answer(
    api: &FakeApi,
    inner: Client,
    failures: &AtomicUsize,
    request: Request<Body>,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if path.ends_with("/persistentvolumes") {
        if request.uri().query().is_some_and(|query| query.contains("watch")) {
            std::future::pending::<()>().await;
        }
        let list = json!({ "kind": "PersistentVolumeList", "apiVersion": "v1",
            "metadata": { "resourceVersion": "1" }, "items": [] });
        return json_answer(StatusCode::OK, &list);
    }
    let parts: Vec<_> = path.split('/').collect();
    let ["", "api", "v1", "namespaces", namespace, "pods", name, "binding"] = parts[..] else {
        return inner.send(request).await.expect("the fake answers");
    };
    if failures
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
        .is_ok()
    {
        let error = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500,
            "reason": "InternalError", "message": "no luck today" });
        return json_answer(StatusCode::INTERNAL_SERVER_ERROR, &error);
    }
    let body = request.into_body().collect_bytes().await.expect("body");
    let binding: Value = serde_json::from_slice(&body).expect("a binding");
    assert_eq!(binding["target"]["kind"], "Node");
    api.edit("pods", namespace, name, |pod| {
        assert_eq!(binding["metadata"]["uid"], pod["metadata"]["uid"]);
        pod["spec"]["nodeName"] = binding["target"]["name"].clone();
    });
    json_answer(
        StatusCode::CREATED,
        &json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }),
    )
}

/// Starts the scheduler; it stops when the guard goes.
fn start(api: &FakeApi, failures: usize) -> tokio_util::sync::DropGuard {
    let shutdown = CancellationToken::new();
    let client = client(api, failures);
    tokio::spawn(run(client, Options::default(), shutdown.clone()));
    shutdown.drop_guard()
}

fn node(api: &FakeApi, name: &str, over: Value) {
    let mut object = json!({
        "kind": "Node", "apiVersion": "v1",
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
        "status": { "allocatable": { "cpu": "2", "memory": "4Gi", "pods": "110" } },
    });
    object["spec"] = over;
    api.create(object);
}

fn pod(api: &FakeApi, name: &str, cpu: &str, spec: Value) {
    let mut object = json!({
        "kind": "Pod", "apiVersion": "v1", "metadata": { "name": name, "namespace": "default" },
        "spec": { "schedulerName": "default-scheduler", "containers": [
            { "name": "c", "image": "web:1", "resources": { "requests": { "cpu": cpu } } }
        ] },
        "status": { "phase": "Pending" },
    });
    object["spec"]
        .as_object_mut()
        .expect("object")
        .extend(spec.as_object().expect("object").clone());
    api.create(object);
}

fn placed(api: &FakeApi, name: &str) -> Option<String> {
    Some(
        api.get("pods", "default", name)?["spec"]["nodeName"]
            .as_str()?
            .to_owned(),
    )
}

/// `type reason source: message` of the events about a pod.
fn events(api: &FakeApi, name: &str) -> Vec<String> {
    let text = |event: &Value| {
        let of = |pointer: &str| {
            event
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        format!(
            "{} {} {}: {}",
            of("/type"),
            of("/reason"),
            of("/source/component"),
            of("/message")
        )
    };
    let about = api.list("events");
    about
        .iter()
        .filter(|event| event["involvedObject"]["name"] == name)
        .map(text)
        .collect()
}

fn scheduled_condition(api: &FakeApi, name: &str) -> Option<Value> {
    let pod = api.get("pods", "default", name)?;
    pod["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|c| c["type"] == "PodScheduled")
        .cloned()
}

#[tokio::test(start_paused = true)]
async fn pods_are_bound_and_told() {
    let api = FakeApi::new();
    node(&api, "a", json!({}));
    pod(&api, "before", "1", json!({}));
    let _running = start(&api, 0);
    api.wait("pod from before", |api| placed(api, "before").is_some())
        .await;
    pod(&api, "later", "1", json!({}));
    pod(&api, "foreign", "1", json!({ "schedulerName": "other" }));
    api.wait("later pod", |api| placed(api, "later").is_some()).await;
    let told = "Normal Scheduled default-scheduler: Successfully assigned default/later to a";
    api.wait("event", |api| events(api, "later") == [told]).await;
    assert_eq!(placed(&api, "foreign"), None);
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_node_says_why_and_goes_when_it_can() {
    let api = FakeApi::new();
    let _running = start(&api, 0);
    pod(&api, "p", "1", json!({}));
    let none = |api: &FakeApi, message: &str| {
        scheduled_condition(api, "p")
            .is_some_and(|c| c["message"] == message && c["reason"] == "Unschedulable")
    };
    api.wait("no nodes", |api| none(api, "no nodes available to schedule pods"))
        .await;
    node(
        &api,
        "a",
        json!({ "taints": [{ "key": "k", "value": "v", "effect": "NoSchedule" }] }),
    );
    let message = "0/1 nodes are available: 1 node(s) had untolerated taint {k: v}. \
                   preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    api.wait("tainted", |api| none(api, message)).await;
    let told = format!("Warning FailedScheduling default-scheduler: {message}");
    api.wait("event", |api| events(api, "p").contains(&told)).await;
    let condition = scheduled_condition(&api, "p").expect("condition");
    assert_eq!(
        (
            condition["status"].as_str(),
            condition["observedGeneration"].as_i64()
        ),
        (Some("False"), Some(1))
    );
    api.edit("nodes", "", "a", |node| node["spec"] = json!({}));
    api.wait("taint removed", |api| placed(api, "p").as_deref() == Some("a"))
        .await;
}

#[tokio::test(start_paused = true)]
async fn room_is_made_for_the_important() {
    let api = FakeApi::new();
    node(&api, "a", json!({}));
    let _running = start(&api, 0);
    pod(&api, "low", "2", json!({ "priority": 1 }));
    api.wait("low", |api| placed(api, "low").is_some()).await;
    // As a kubelet would: what is going is soon gone.
    let kubelet = api.drive(|api| {
        for pod in api.list("pods") {
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                let conditions = pod["status"]["conditions"].to_string();
                assert!(conditions.contains("PreemptionByScheduler"), "{conditions}");
                let name = pod["metadata"]["name"].as_str().expect("name");
                api.delete("pods", "default", name, json!({ "gracePeriodSeconds": 0 }));
            }
        }
    });
    pod(&api, "high", "2", json!({ "priority": 10 }));
    api.wait("high", |api| placed(api, "high").as_deref() == Some("a"))
        .await;
    kubelet.abort();
    assert!(api.get("pods", "default", "low").is_none());
    api.wait("told", |api| {
        let told = events(api, "high");
        told.contains(
            &"Warning FailedScheduling default-scheduler: 0/1 nodes are available: 1 Insufficient cpu."
                .into(),
        ) && events(api, "low")
            .iter()
            .any(|event| event.starts_with("Normal Preempted default-scheduler: Preempted by pod uid-"))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_binding_is_tried_again() {
    let api = FakeApi::new();
    node(&api, "a", json!({}));
    let _running = start(&api, 2);
    pod(&api, "p", "2", json!({}));
    api.wait("third attempt", |api| placed(api, "p").is_some()).await;
    let condition = scheduled_condition(&api, "p").expect("condition");
    assert_eq!(condition["reason"], "SchedulerError");
    assert!(
        condition["message"]
            .as_str()
            .is_some_and(|message| message.contains("no luck today")),
        "{condition}"
    );
}

#[tokio::test(start_paused = true)]
async fn gates_and_departures() {
    let api = FakeApi::new();
    node(&api, "a", json!({}));
    let _running = start(&api, 0);
    pod(
        &api,
        "gated",
        "1",
        json!({ "schedulingGates": [{ "name": "wait" }] }),
    );
    pod(&api, "first", "2", json!({}));
    api.wait("first", |api| placed(api, "first").is_some()).await;
    assert_eq!(placed(&api, "gated"), None);
    api.edit("pods", "default", "gated", |pod| {
        pod["spec"]["schedulingGates"] = json!([])
    });
    api.wait("no room", |api| scheduled_condition(api, "gated").is_some())
        .await;
    api.edit("pods", "default", "first", |pod| {
        pod["status"]["phase"] = json!("Succeeded")
    });
    api.wait("room again", |api| placed(api, "gated").is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_cleared_for_a_pod_that_is_deleted_goes_to_others() {
    let api = FakeApi::new();
    node(&api, "a", json!({}));
    let _running = start(&api, 0);
    pod(&api, "low", "2", json!({ "priority": 1 }));
    api.wait("low", |api| placed(api, "low").is_some()).await;
    pod(&api, "high", "2", json!({ "priority": 10 }));
    let nominated = |api: &FakeApi| {
        api.get("pods", "default", "high")
            .map(|pod| pod["status"]["nominatedNodeName"] == "a")
    };
    api.wait("nominated", |api| nominated(api) == Some(true)).await;
    api.wait("victim chosen", |api| {
        api.get("pods", "default", "low")
            .is_some_and(|low| !low["metadata"]["deletionTimestamp"].is_null())
    })
    .await;
    pod(&api, "next", "2", json!({ "priority": 1 }));
    api.delete("pods", "default", "low", json!({ "gracePeriodSeconds": 0 }));
    api.delete("pods", "default", "high", json!({ "gracePeriodSeconds": 0 }));
    api.wait("either", |api| {
        placed(api, "high").is_some() || placed(api, "next").is_some()
    })
    .await;
    if placed(&api, "next").is_none() {
        api.delete("pods", "default", "high", json!({ "gracePeriodSeconds": 0 }));
    }
    api.wait("next", |api| placed(api, "next").as_deref() == Some("a"))
        .await;
}
