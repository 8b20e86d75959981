//! All controllers together against the fake server, with a stand-in for scheduler and kubelets.

use std::time::Duration;

use rkind_client::testing::FakeApi;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::Options;

mod collecting;
mod quotas;
mod rollout;
mod services;
mod sets;
mod storage;

/// A server with a default namespace, and the controllers, which stop with the returned guard.
fn start(options: Options) -> (FakeApi, DropGuard) {
    let api = FakeApi::new();
    for name in ["default", "kube-system"] {
        api.create(
            json!({"kind": "Namespace", "metadata": {"name": name}, "spec": {"finalizers": ["kubernetes"]}}),
        );
    }
    let stop = CancellationToken::new();
    tokio::spawn(crate::run(api.client(), options, stop.clone()));
    (api, stop.drop_guard())
}

fn options() -> Options {
    Options {
        root_ca_pem: "PEM".into(),
        cluster_cidr: "10.244.0.0/16".parse().ok(),
        ..Options::default()
    }
}

/// Makes pods run and be ready as soon as they exist, and go as soon as they should.
fn run_pods(api: &FakeApi) -> tokio::task::JoinHandle<()> {
    api.drive(|api| {
        for (i, pod) in api.list("pods").into_iter().enumerate() {
            let (namespace, name) = place(&pod);
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                api.delete("pods", &namespace, &name, json!({"gracePeriodSeconds": 0}));
            } else if pod["status"].is_null() {
                api.edit("pods", &namespace, &name, |pod| make_ready(pod, i));
            }
        }
    })
}

fn make_ready(pod: &mut Value, i: usize) {
    let ip = format!("10.244.0.{}", i + 2);
    pod["spec"]["nodeName"] = json!("n1");
    pod["status"] = json!({
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    });
}

fn place(object: &Value) -> (String, String) {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    (
        text(&object["metadata"]["namespace"]),
        text(&object["metadata"]["name"]),
    )
}

#[tokio::test]
async fn every_namespace_gets_an_account_and_the_ca_and_is_emptied_when_deleted() {
    let (api, _stop) = start(options());
    api.create(
        json!({"kind": "Namespace", "metadata": {"name": "team"}, "spec": {"finalizers": ["kubernetes"]}}),
    );
    api.wait("account and CA", |api| {
        api.get("serviceaccounts", "team", "default").is_some()
            && api
                .get("configmaps", "team", "kube-root-ca.crt")
                .is_some_and(|m| m["data"]["ca.crt"] == "PEM")
    })
    .await;
    api.create(json!({"kind": "Secret", "metadata": {"name": "s", "namespace": "team"}}));
    api.create(json!({"kind": "Secret", "metadata": {"name": "other", "namespace": "default"}}));
    api.delete("namespaces", "", "team", json!({}));
    api.wait("the namespace gone", |api| {
        api.get("namespaces", "", "team").is_none()
    })
    .await;
    assert!(api.get("secrets", "team", "s").is_none());
    assert!(api.get("secrets", "default", "other").is_some());
}

#[tokio::test]
async fn nodes_get_ranges_and_silent_ones_are_tainted_and_emptied() {
    let options = Options {
        node_monitor_grace: Duration::from_millis(300),
        ..options()
    };
    let (api, _stop) = start(options);
    api.create(json!({
        "kind": "Pod", "metadata": {"name": "on-it"},
        "spec": {"nodeName": "n1", "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }));
    api.create(json!({
        "kind": "Node", "metadata": {"name": "n1"}, "spec": {"taints": [
            {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
            {"key": "mine", "effect": "NoSchedule"},
        ]},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]},
    }));
    let taints = |api: &FakeApi| -> Vec<String> {
        let node = api.get("nodes", "", "n1").unwrap_or_default();
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        taints
            .iter()
            .map(|t| format!("{}:{}", t["key"], t["effect"]).replace('"', ""))
            .collect()
    };
    api.wait("a range and no not-ready taint", |api| {
        let node = api.get("nodes", "", "n1").unwrap_or_default();
        node["spec"]["podCIDR"] == "10.244.0.0/24" && taints(api) == ["mine:NoSchedule"]
    })
    .await;
    api.wait("the silent node's taints", |api| {
        let wanted = [
            "node.kubernetes.io/unreachable:NoSchedule",
            "node.kubernetes.io/unreachable:NoExecute",
        ];
        wanted.iter().all(|w| taints(api).contains(&(*w).to_owned()))
    })
    .await;
    let node = api.get("nodes", "", "n1").unwrap_or_default();
    let ready = &node["status"]["conditions"][0];
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&json!("Unknown"), &json!("NodeStatusUnknown"))
    );
    api.wait("the pod's eviction", |api| {
        api.get("pods", "default", "on-it")
            .is_none_or(|p| !p["metadata"]["deletionTimestamp"].is_null())
    })
    .await;
}
