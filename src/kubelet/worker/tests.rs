use std::path::Path;
use std::time::Duration;

use rkind_client::testing::FakeApi;
use rkind_cri::Runtime;
use rkind_cri::fake::{Behaviour, ExecReply, Fake};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::Options;

mod retries;

/// A node agent between a fake API and a fake runtime.
struct Node {
    api: FakeApi,
    runtime: Fake,
    temp: tempfile::TempDir,
    agent: Option<(JoinHandle<Result<(), crate::Error>>, CancellationToken)>,
}

impl Node {
    fn new() -> Self {
        let runtime = Fake::new();
        runtime.add_image("web:1", Behaviour::Run);
        let temp = tempfile::tempdir().expect("a directory");
        let mut node = Self {
            api: FakeApi::new(),
            runtime,
            temp,
            agent: None,
        };
        node.start();
        node
    }

    fn start(&mut self) {
        let mut options = Options::new("n1", "192.0.2.1".parse().expect("an address"));
        options.root_dir = self.temp.path().join("kubelet");
        options.pod_log_dir = self.temp.path().join("logs");
        options.container_log_dir = None;
        options.cgroup_root = None;
        let stop = CancellationToken::new();
        let running = crate::run(
            self.api.client(),
            Arc::new(self.runtime.clone()),
            options,
            stop.clone(),
        );
        self.agent = Some((tokio::spawn(running), stop));
    }

    async fn stop(&mut self) {
        let (task, stop) = self.agent.take().expect("runs");
        stop.cancel();
        task.await.expect("ends").expect("without an error");
    }

    fn pod(&self, name: &str, spec: Value) -> String {
        let mut spec = spec;
        spec["nodeName"] = "n1".into();
        if spec["terminationGracePeriodSeconds"].is_null() {
            spec["terminationGracePeriodSeconds"] = 1.into();
        }
        let pod = self.api.create(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"}, "spec": spec}));
        pod["metadata"]["uid"].as_str().expect("a uid").to_string()
    }

    fn status(&self, name: &str) -> Value {
        self.api
            .get("pods", "default", name)
            .map(|p| p["status"].clone())
            .unwrap_or_default()
    }

    async fn wait(&self, name: &str, what: &str, reached: impl Fn(&Value) -> bool) -> Value {
        self.api.wait(what, |_| reached(&self.status(name))).await;
        self.status(name)
    }

    fn events(&self, reason: &str) -> Vec<String> {
        let all = self
            .api
            .list("events")
            .into_iter()
            .filter(|e| e["reason"] == reason);
        all.map(|e| e["message"].as_str().unwrap_or_default().to_string())
            .collect()
    }

    async fn event(&self, reason: &str) -> String {
        self.api.wait(reason, |_| !self.events(reason).is_empty()).await;
        self.events(reason).remove(0)
    }
}

fn state<'a>(status: &'a Value, kind: &str) -> &'a Value {
    &status["containerStatuses"][0]["state"][kind]
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let list = status["conditions"].as_array().expect("conditions");
    list.iter().find(|c| c["type"] == kind).expect("the condition")
}

fn one(extra: Value) -> Value {
    let mut container = json!({"name": "c", "image": "web:1"});
    for (key, value) in extra.as_object().into_iter().flatten() {
        container[key] = value.clone();
    }
    json!({"containers": [container]})
}

#[tokio::test]
async fn a_pod_runs_and_is_removed() {
    let node = Node::new();
    let uid = node.pod("web", one(json!({})));
    let status = node.wait("web", "running", |s| s["phase"] == "Running").await;
    assert!(!state(&status, "running")["startedAt"].is_null());
    assert_eq!(status["containerStatuses"][0]["ready"], true);
    assert_eq!(status["containerStatuses"][0]["restartCount"], 0);
    assert_eq!(status["qosClass"], "BestEffort");
    assert_eq!(
        (&status["hostIP"], &status["podIP"]),
        (&json!("192.0.2.1"), &json!("10.244.0.2"))
    );
    assert_eq!(status["podIPs"], json!([{"ip": "10.244.0.2"}]));
    for kind in [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ] {
        assert_eq!(condition(&status, kind)["status"], "True", "{kind}");
    }
    assert_eq!(
        node.event("Pulled").await,
        "Container image \"web:1\" already present on machine"
    );
    node.event("Started").await;
    let about = node
        .api
        .list("events")
        .into_iter()
        .find(|e| e["reason"] == "Started")
        .expect("an event");
    assert_eq!(about["involvedObject"]["fieldPath"], "spec.containers{c}");
    assert_eq!(about["source"], json!({"component": "kubelet", "host": "n1"}));

    node.api
        .delete("pods", "default", "web", json!({"gracePeriodSeconds": 1}));
    node.api
        .wait("removal", |api| api.get("pods", "default", "web").is_none())
        .await;
    assert_eq!(node.event("Killing").await, "Stopping container c");
    let gone = async {
        while !node
            .runtime
            .list_pod_sandboxes(None)
            .await
            .expect("a list")
            .is_empty()
            || node.temp.path().join("kubelet/pods").join(&uid).exists()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .expect("nothing is left");
}

#[tokio::test]
async fn the_node_registers_and_keeps_a_lease() {
    let mut node = Node::new();
    let ready = |api: &FakeApi| {
        let node = api.get("nodes", "", "n1").unwrap_or_default();
        let list = node["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        list.iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    node.api.wait("a ready node", ready).await;
    node.api
        .wait("a lease", |api| {
            api.get("leases", "kube-node-lease", "n1").is_some()
        })
        .await;
    let first = node.api.get("nodes", "", "n1").expect("a node");
    assert_eq!(first["metadata"]["labels"]["kubernetes.io/hostname"], "n1");
    assert_eq!(
        first["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"],
        10250
    );
    assert_eq!(node.event("NodeReady").await, "Node n1 status is now: NodeReady");
    node.stop().await;
    node.start();
    node.api.wait("a ready node", ready).await;
    assert_eq!(
        node.api.get("nodes", "", "n1").expect("a node")["metadata"]["uid"],
        first["metadata"]["uid"]
    );
}

#[tokio::test]
async fn a_pod_that_ends_is_final() {
    let node = Node::new();
    for (name, code, phase) in [("good", 0, "Succeeded"), ("bad", 1, "Failed")] {
        let reason = if code == 0 { "Completed" } else { "Error" };
        let ends = Behaviour::Exit {
            after: Duration::ZERO,
            code,
            reason: reason.into(),
        };
        node.runtime.add_image(&format!("{name}:1"), ends);
        let image = format!("{name}:1");
        node.pod(
            name,
            json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]}),
        );
        let status = node.wait(name, phase, |s| s["phase"] == phase).await;
        assert_eq!(state(&status, "terminated")["exitCode"], code);
        assert_eq!(state(&status, "terminated")["reason"], reason);
        let why = if code == 0 { "PodCompleted" } else { "PodFailed" };
        assert_eq!(condition(&status, "Ready")["reason"], why);
    }
}

#[tokio::test]
async fn a_missing_image_is_reported() {
    let node = Node::new();
    node.pod("none", json!({"containers": [{"name": "c", "image": "none:1"}]}));
    node.pod(
        "never",
        json!({"containers": [{"name": "c", "image": "none:1", "imagePullPolicy": "Never"}]}),
    );
    let back = node
        .wait("none", "back-off", |s| {
            state(s, "waiting")["reason"] == "ImagePullBackOff"
        })
        .await;
    let message = state(&back, "waiting")["message"]
        .as_str()
        .expect("a message")
        .to_string();
    assert!(
        message.starts_with("Back-off pulling image \"none:1\": ErrImagePull: rpc error: code = NotFound"),
        "{message}"
    );
    assert_eq!(back["phase"], "Pending");
    node.wait("never", "refusal", |s| {
        state(s, "waiting")["reason"] == "ErrImageNeverPull"
    })
    .await;
    assert_eq!(node.events("Pulling")[0], "Pulling image \"none:1\"");
}

#[tokio::test]
async fn missing_configuration_is_waited_for() {
    let node = Node::new();
    let env = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]);
    node.pod("web", one(json!({"env": env})));
    let status = node
        .wait("web", "an error", |s| {
            state(s, "waiting")["reason"] == "CreateContainerConfigError"
        })
        .await;
    assert_eq!(state(&status, "waiting")["message"], "configmap \"m\" not found");
    node.api.create(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "m", "namespace": "default"}, "data": {"k": "v"}}));
    node.wait("web", "running", |s| s["phase"] == "Running").await;
}

#[tokio::test]
async fn volumes_are_there_and_go_with_the_pod() {
    let node = Node::new();
    node.api.create(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "m", "namespace": "default"}, "data": {"k": "v"}}));
    let mut spec = one(json!({"volumeMounts": [
        {"name": "conf", "mountPath": "/conf"}, {"name": "tmp", "mountPath": "/tmp"}]}));
    spec["volumes"] = json!([{"name": "conf", "configMap": {"name": "m"}}, {"name": "tmp", "emptyDir": {}}]);
    let uid = node.pod("web", spec);
    node.wait("web", "running", |s| s["phase"] == "Running").await;
    let id = node.runtime.find_container(&uid, "c").expect("a container");
    let mounts = node
        .runtime
        .container_config(&id)
        .expect("a configuration")
        .mounts;
    let host = |path: &str| {
        mounts
            .iter()
            .find(|m| m.container_path == path)
            .map(|m| m.host_path.clone())
            .expect("a mount")
    };
    assert_eq!(
        std::fs::read_to_string(Path::new(&host("/conf")).join("k")).expect("a file"),
        "v"
    );
    assert!(Path::new(&host("/tmp")).is_dir());
    let hosts = std::fs::read_to_string(host("/etc/hosts")).expect("a file");
    assert!(hosts.contains("10.244.0.2\tweb\n"), "{hosts}");
    node.api
        .delete("pods", "default", "web", json!({"gracePeriodSeconds": 0}));
    let dir = node.temp.path().join("kubelet/pods").join(&uid);
    let gone = async {
        while dir.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .expect("the files are removed");
}

#[tokio::test]
async fn a_restarted_agent_adopts_what_runs() {
    let mut node = Node::new();
    let probe = json!({"exec": {"command": ["ready"]}, "periodSeconds": 1});
    let uid = node.pod("web", one(json!({"readinessProbe": probe})));
    let before = node
        .wait("web", "running", |s| s["containerStatuses"][0]["ready"] == true)
        .await;
    let id = node.runtime.find_container(&uid, "c");
    node.stop().await;
    node.start();
    // The new agent is at work once it has started another pod.
    node.pod("other", one(json!({})));
    node.wait("other", "running", |s| s["phase"] == "Running").await;
    assert_eq!(node.runtime.find_container(&uid, "c"), id);
    assert_eq!(node.status("web"), before);
    assert_eq!(node.runtime.calls("CreateContainer"), 2);
}

#[tokio::test]
async fn a_pod_that_the_api_has_lost_is_removed() {
    let mut node = Node::new();
    node.pod("web", one(json!({})));
    node.wait("web", "running", |s| s["phase"] == "Running").await;
    node.stop().await;
    node.api
        .delete("pods", "default", "web", json!({"gracePeriodSeconds": 0}));
    node.start();
    let gone = async {
        while !node
            .runtime
            .list_containers(None)
            .await
            .expect("a list")
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .expect("the orphan is removed");
    let logs = node.temp.path().join("logs");
    let tidy = async {
        while std::fs::read_dir(&logs).expect("a directory").next().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), tidy)
        .await
        .expect("its logs are removed");
}

#[tokio::test]
async fn a_dead_sandbox_is_replaced() {
    let node = Node::new();
    node.pod("web", one(json!({})));
    node.wait("web", "running", |s| s["phase"] == "Running").await;
    let sandbox = node
        .runtime
        .list_pod_sandboxes(None)
        .await
        .expect("a list")
        .remove(0);
    node.runtime.kill_sandbox(&sandbox.id);
    let status = node
        .wait("web", "a restart", |s| {
            s["containerStatuses"][0]["restartCount"] == 1
                && s["phase"] == "Running"
                && s["containerStatuses"][0]["ready"] == true
        })
        .await;
    assert_eq!(status["podIP"], "10.244.0.3");
    assert_eq!(
        node.runtime.calls("StopPodSandbox"),
        1,
        "the old address is given back"
    );
}

#[tokio::test]
async fn probes_decide() {
    let node = Node::new();
    node.runtime.on_exec(
        "live",
        ExecReply {
            exit_code: 1,
            ..ExecReply::default()
        },
    );
    node.runtime.on_exec(
        "ready",
        ExecReply {
            exit_code: 1,
            ..ExecReply::default()
        },
    );
    node.pod("live", one(json!({"livenessProbe": {"exec": {"command": ["live"]}, "periodSeconds": 1, "failureThreshold": 1}})));
    node.pod(
        "ready",
        one(json!({"readinessProbe": {"exec": {"command": ["ready"]}, "periodSeconds": 1}})),
    );
    let status = node.wait("ready", "running", |s| s["phase"] == "Running").await;
    assert_eq!(status["containerStatuses"][0]["ready"], false);
    node.wait("live", "a restart", |s| {
        s["containerStatuses"][0]["restartCount"].as_i64() >= Some(1)
    })
    .await;
    assert!(
        node.events("Killing")
            .contains(&"Container c failed liveness probe, will be restarted".to_string())
    );
    assert!(
        node.events("Unhealthy")
            .iter()
            .any(|m| m.starts_with("Liveness probe failed:"))
    );
    node.runtime.on_exec("ready", ExecReply::default());
    node.wait("ready", "readiness", |s| {
        condition(s, "Ready")["status"] == "True"
    })
    .await;
}

#[tokio::test]
async fn init_containers_come_first() {
    let node = Node::new();
    let done = Behaviour::Exit {
        after: Duration::from_millis(20),
        code: 0,
        reason: "Completed".into(),
    };
    node.runtime.add_image("init:1", done);
    let mut spec = one(json!({}));
    spec["initContainers"] = json!([{"name": "i", "image": "init:1"}, {"name": "side", "image": "web:1", "restartPolicy": "Always"}]);
    node.pod("web", spec);
    let status = node
        .wait("web", "running", |s| {
            s["phase"] == "Running" && s["containerStatuses"][0]["ready"] == true
        })
        .await;
    let inits = status["initContainerStatuses"].as_array().expect("statuses");
    assert_eq!(inits[0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(
        (&inits[0]["ready"], &inits[1]["ready"], &inits[1]["started"]),
        (&json!(true), &json!(true), &json!(true))
    );
}

#[tokio::test]
async fn a_stubborn_container_is_killed_after_its_grace() {
    let node = Node::new();
    node.runtime.add_image("stubborn:1", Behaviour::IgnoreTerm);
    node.pod(
        "web",
        json!({"terminationGracePeriodSeconds": 600, "containers": [{"name": "c", "image": "stubborn:1"}]}),
    );
    node.wait("web", "running", |s| s["phase"] == "Running").await;
    node.api
        .delete("pods", "default", "web", json!({"gracePeriodSeconds": 600}));
    node.event("Killing").await;
    // Somebody in a hurry: the shorter grace counts, also while the longer one runs.
    node.api.edit("pods", "default", "web", |pod| {
        pod["metadata"]["deletionGracePeriodSeconds"] = 2.into()
    });
    node.api
        .wait("removal", |api| api.get("pods", "default", "web").is_none())
        .await;
}

#[tokio::test]
async fn sidecars_end_last() {
    let node = Node::new();
    let mut spec = one(json!({"lifecycle": {"preStop": {"exec": {"command": ["bye"]}}}}));
    spec["initContainers"] = json!([
        {"name": "s1", "image": "web:1", "restartPolicy": "Always"},
        {"name": "s2", "image": "web:1", "restartPolicy": "Always"}]);
    node.pod("web", spec);
    node.wait("web", "running", |s| s["containerStatuses"][0]["ready"] == true)
        .await;
    node.api
        .delete("pods", "default", "web", json!({"gracePeriodSeconds": 2}));
    node.api
        .wait("removal", |api| api.get("pods", "default", "web").is_none())
        .await;
    node.api
        .wait("events", |_| node.events("Killing").len() == 3)
        .await;
    let mut ended: Vec<_> = node
        .api
        .list("events")
        .into_iter()
        .filter(|e| e["reason"] == "Killing")
        .collect();
    ended.sort_by_key(|e| {
        e["metadata"]["resourceVersion"]
            .as_str()
            .and_then(|v| v.parse::<u64>().ok())
    });
    let order: Vec<_> = ended
        .iter()
        .map(|e| e["message"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(
        order,
        [
            "Stopping container c",
            "Stopping container s2",
            "Stopping container s1"
        ]
    );
    assert_eq!(node.runtime.calls("ExecSync"), 1, "the hook ran");
}

#[tokio::test]
async fn a_deadline_ends_a_pod() {
    let node = Node::new();
    let mut spec = one(json!({}));
    spec["activeDeadlineSeconds"] = 1.into();
    node.pod("web", spec);
    let status = node.wait("web", "failure", |s| s["phase"] == "Failed").await;
    assert_eq!(status["reason"], "DeadlineExceeded");
    assert_eq!(
        status["message"],
        "Pod was active on the node longer than the specified deadline"
    );
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let node = Node::new();
    node.pod("big", one(json!({"resources": {"requests": {"cpu": "10000"}}})));
    let status = node.wait("big", "refusal", |s| s["phase"] == "Failed").await;
    assert_eq!(status["reason"], "OutOfcpu");
    let message = status["message"].as_str().expect("a message");
    assert!(
        message.starts_with("Pod was rejected: Node didn't have enough resource: cpu, requested: 10000000,"),
        "{message}"
    );
    assert!(status["containerStatuses"].is_null());
}
