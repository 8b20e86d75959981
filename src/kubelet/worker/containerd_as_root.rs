//! Pods on a real containerd: see [`rkind_cri::testing`] for what that needs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rkind_client::testing::FakeApi;
use rkind_cri::Runtime;
use rkind_cri::grpc::Client;
use rkind_cri::testing::{Containerd, TOOLS};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Options;

fn agent(
    api: &FakeApi,
    runtime: &Client,
    dir: &Path,
) -> (JoinHandle<Result<(), crate::Error>>, CancellationToken) {
    let mut options = Options::new("n1", "127.0.0.1".parse().expect("an address"));
    options.root_dir = dir.join("kubelet");
    options.pod_log_dir = dir.join("logs");
    options.container_log_dir = Some(dir.join("links"));
    options.cgroup_root = None;
    let stop = CancellationToken::new();
    let running = crate::run(api.client(), Arc::new(runtime.clone()), options, stop.clone());
    (tokio::spawn(running), stop)
}

fn status(api: &FakeApi, name: &str) -> Value {
    api.get("pods", "default", name)
        .map(|p| p["status"].clone())
        .unwrap_or_default()
}

fn log(dir: &Path, uid: &str) -> String {
    std::fs::read_to_string(dir.join(format!("logs/default_web_{uid}/c/0.log"))).unwrap_or_default()
}

#[tokio::test]
async fn a_pod_runs_survives_the_agent_and_goes() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path();
    let containerd = Containerd::start(dir).await;
    let runtime = containerd.client();
    let api = FakeApi::new();
    let (task, stop) = agent(&api, &runtime, dir);
    api.create(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "m", "namespace": "default"}, "data": {"k": "from the map"}}));
    let pod = api.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"nodeName": "n1", "hostNetwork": true, "terminationGracePeriodSeconds": 5,
            "volumes": [{"name": "conf", "configMap": {"name": "m"}}, {"name": "tmp", "emptyDir": {}}],
            "initContainers": [{"name": "i", "image": TOOLS, "command": ["sh", "-c", "echo made > /tmp/x"],
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}],
            "containers": [{"name": "c", "image": TOOLS, "env": [{"name": "A", "value": "b"}],
                "command": ["sh", "-c", "cat /conf/k /tmp/x; echo $A; trap 'exit 0' TERM; while true; do sleep 0.1; done"],
                "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/x"]}, "periodSeconds": 1},
                "volumeMounts": [{"name": "conf", "mountPath": "/conf"}, {"name": "tmp", "mountPath": "/tmp"}]}]}}));
    let uid = pod["metadata"]["uid"].as_str().expect("a uid").to_string();
    let ready = |api: &FakeApi| status(api, "web")["containerStatuses"][0]["ready"] == true;
    api.wait("readiness", ready).await;
    let running = status(&api, "web");
    assert_eq!(running["phase"], "Running");
    assert_eq!(running["podIP"], "127.0.0.1");
    assert_eq!(
        running["initContainerStatuses"][0]["state"]["terminated"]["reason"],
        "Completed"
    );
    let text = log(dir, &uid);
    assert!(
        text.contains("stdout F from the map") || text.contains("stdout P from the map"),
        "{text}"
    );
    assert!(text.contains("F b\n"), "{text}");

    stop.cancel();
    task.await.expect("ends").expect("without an error");
    let (task, stop) = agent(&api, &runtime, dir);
    api.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "job", "namespace": "default"},
        "spec": {"nodeName": "n1", "hostNetwork": true, "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": TOOLS, "command": ["sh", "-c", "echo last > /dev/termination-log; exit 3"]}]}}));
    api.wait("failure", |api| status(api, "job")["phase"] == "Failed")
        .await;
    let ended = &status(&api, "job")["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(
        (&ended["exitCode"], &ended["message"]),
        (&json!(3), &json!("last\n"))
    );
    assert_eq!(status(&api, "web"), running, "the first pod did not notice");

    for name in ["web", "job"] {
        api.delete("pods", "default", name, json!({"gracePeriodSeconds": 5}));
    }
    api.wait("removal", |api| api.list("pods").is_empty()).await;
    let gone = async {
        while !runtime.list_pod_sandboxes(None).await.expect("a list").is_empty()
            || dir.join("kubelet/pods").join(&uid).exists()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone)
        .await
        .expect("nothing is left");
    stop.cancel();
    task.await.expect("ends").expect("without an error");
}
