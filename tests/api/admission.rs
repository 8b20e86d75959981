//! Admission that is always on, seen from outside.

use serde_json::{Value, json};

use crate::server::{Api, Server, pod};

#[tokio::test]
async fn limit_ranges_default_and_refuse() {
    let server = Server::start();
    let api = server.api().await;
    let ns = api.namespace("limits").await;
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}}]}});
    api.post(&format!("{ns}/limitranges"), &range).await;
    let made = api.post(&format!("{ns}/pods"), &pod("a")).await;
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}})
    );
    let mut large = pod("b");
    large["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}});
    let (code, _, message) = api.refused("POST", &format!("{ns}/pods"), &large).await;
    assert_eq!(code, 403);
    assert!(
        message.contains("maximum cpu usage per Container is 1, but limit is 2"),
        "{message}"
    );
}

#[tokio::test]
async fn pods_get_priority_runtime_and_tolerations() {
    let server = Server::start();
    let api = server.api().await;
    let ns = api.namespace("pods").await;
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000,
        "preemptionPolicy": "Never"});
    api.post("/apis/scheduling.k8s.io/v1/priorityclasses", &class)
        .await;
    let runtime = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "small"}, "handler": "h",
        "overhead": {"podFixed": {"cpu": "50m"}}, "scheduling": {"nodeSelector": {"kind": "small"}}});
    api.post("/apis/node.k8s.io/v1/runtimeclasses", &runtime).await;
    let mut body = pod("a");
    body["spec"]["priorityClassName"] = json!("high");
    body["spec"]["runtimeClassName"] = json!("small");
    let made = api.post(&format!("{ns}/pods"), &body).await;
    let spec = &made["spec"];
    assert_eq!(
        (&spec["priority"], &spec["preemptionPolicy"]),
        (&json!(1000), &json!("Never"))
    );
    assert_eq!(spec["overhead"], json!({"cpu": "50m"}));
    assert_eq!(spec["nodeSelector"], json!({"kind": "small"}));
    let keys: Vec<&Value> = spec["tolerations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["key"])
        .collect();
    assert_eq!(
        keys,
        ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
    );
    body["metadata"]["name"] = json!("b");
    body["spec"]["priorityClassName"] = json!("none");
    let (code, _, message) = api.refused("POST", &format!("{ns}/pods"), &body).await;
    assert_eq!(code, 403);
    assert!(
        message.contains("no PriorityClass with name none was found"),
        "{message}"
    );
}

#[tokio::test]
async fn default_classes() {
    let server = Server::start();
    let api = server.api().await;
    let ns = api.namespace("classes").await;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "example.com/p",
        "metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}});
    api.post("/apis/storage.k8s.io/v1/storageclasses", &class).await;
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let made = api.post(&format!("{ns}/persistentvolumeclaims"), &claim).await;
    assert_eq!(made["spec"]["storageClassName"], "fast");
}

#[tokio::test]
async fn service_accounts_when_they_are_asked_for() {
    let server = Server::start_with(&["--enable-admission-plugins=ServiceAccount"]);
    let api = server.api().await;
    let ns = api.namespace("accounts").await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
        "imagePullSecrets": [{"name": "pull"}]});
    api.post(&format!("{ns}/serviceaccounts"), &account).await;
    let made = api.post(&format!("{ns}/pods"), &pod("a")).await;
    let spec = &made["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "pull"}]));
    let mount = &spec["containers"][0]["volumeMounts"][0];
    assert_eq!(
        mount["mountPath"],
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    let mut other = pod("b");
    other["spec"]["serviceAccountName"] = json!("none");
    let (code, _, message) = api.refused("POST", &format!("{ns}/pods"), &other).await;
    assert_eq!(code, 403);
    assert!(message.contains("serviceaccount \"none\" not found"), "{message}");
}

#[tokio::test]
async fn the_default_ingress_class() {
    let server = Server::start();
    let api = server.api().await;
    let base = "/apis/networking.k8s.io/v1";
    api.namespace("ingresses").await;
    let ingresses = format!("{base}/namespaces/ingresses/ingresses");
    let class = |name: &str| {
        json!({"metadata": {"name": name, "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
            "spec": {"controller": "example.com/c"}})
    };
    let ingress = |name: &str| {
        json!({"metadata": {"name": name},
            "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}})
    };
    let without = api.post(&ingresses, &ingress("without")).await;
    assert!(without["spec"]["ingressClassName"].is_null());
    api.post(&format!("{base}/ingressclasses"), &class("one")).await;
    let made = api.post(&ingresses, &ingress("with")).await;
    assert_eq!(made["spec"]["ingressClassName"], "one");
    let mut old = ingress("annotated");
    old["metadata"]["annotations"] = json!({"kubernetes.io/ingress.class": "other"});
    assert!(api.post(&ingresses, &old).await["spec"]["ingressClassName"].is_null());
}

#[tokio::test]
async fn what_is_in_use_is_protected_and_nodes_begin_tainted() {
    let server = Server::start();
    let api = server.api().await;
    let ns = api.namespace("protected").await;
    let volume = json!({"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}});
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    for (path, object, finalizer) in [
        (
            "/api/v1/persistentvolumes".to_owned(),
            volume,
            "kubernetes.io/pv-protection",
        ),
        (
            format!("{ns}/persistentvolumeclaims"),
            claim,
            "kubernetes.io/pvc-protection",
        ),
    ] {
        let made = api.post(&path, &object).await;
        assert_eq!(made["metadata"]["finalizers"], json!([finalizer]));
    }
    let node =
        json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "own", "effect": "NoExecute"}]}});
    let made = api.post("/api/v1/nodes", &node).await;
    assert_eq!(
        made["spec"]["taints"],
        json!([{"key": "own", "effect": "NoExecute"},
            {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    );
}

#[tokio::test]
async fn claims_grow_where_their_class_lets_them() {
    let server = Server::start();
    let api = server.api().await;
    let claims = format!("{}/persistentvolumeclaims", api.namespace("growing").await);
    for (name, grows) in [("fixed", false), ("elastic", true)] {
        let class = json!({"metadata": {"name": name}, "provisioner": "example.com/p", "allowVolumeExpansion": grows});
        api.post("/apis/storage.k8s.io/v1/storageclasses", &class).await;
        let claim = json!({"metadata": {"name": name}, "spec": {"storageClassName": name, "volumeName": "v",
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        api.post(&claims, &claim).await;
        let one = format!("{claims}/{name}");
        let bound = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
        Api::expect("bound", api.send("PATCH", &format!("{one}/status"), &bound).await);
        let more = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
        let (code, answer) = api.send("PATCH", &one, &more).await;
        if grows {
            assert_eq!(code, 200, "{answer}");
            continue;
        }
        assert_eq!(code, 403, "{answer}");
        let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
        assert!(answer["message"].as_str().unwrap().ends_with(why), "{answer}");
    }
}

/// Scopes that upstream's conformance tests leave out.
#[tokio::test]
async fn quotas_for_priorities_and_affinities() {
    let server = Server::start();
    let api = server.api().await;
    let ns = api.namespace("scopes").await;
    let class = json!({"metadata": {"name": "high"}, "value": 1000});
    api.post("/apis/scheduling.k8s.io/v1/priorityclasses", &class)
        .await;
    for (name, hard, scope) in [
        (
            "one-high",
            "1",
            json!({"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}),
        ),
        (
            "none-across",
            "0",
            json!({"scopeName": "CrossNamespacePodAffinity", "operator": "Exists"}),
        ),
        (
            "one-sized",
            "1",
            json!({"scopeName": "NotBestEffort", "operator": "Exists"}),
        ),
    ] {
        let mut quota = json!({"metadata": {"name": name}, "spec": {"hard": {"pods": hard},
            "scopeSelector": {"matchExpressions": [scope]}}});
        api.post(&format!("{ns}/resourcequotas"), &quota).await;
        quota["status"] = json!({"hard": {"pods": hard}, "used": {"pods": "0"}});
        api.put(&format!("{ns}/resourcequotas/{name}/status"), &quota)
            .await;
    }
    let with = |name: &str, spec: Value| {
        let mut pod = pod(name);
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        pod
    };
    let sized = json!([{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]);
    let across = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {}, "namespaceSelector": {}, "topologyKey": "k"}]}});
    for (pod, refused) in [
        (with("high-1", json!({"priorityClassName": "high"})), ""),
        (with("high-2", json!({"priorityClassName": "high"})), "one-high"),
        (with("sized-1", json!({"containers": sized})), ""),
        (with("sized-2", json!({"containers": sized})), "one-sized"),
        (with("across", json!({"affinity": across})), "none-across"),
        (with("plain", json!({})), ""),
    ] {
        let (code, answer) = api.send("POST", &format!("{ns}/pods"), &pod).await;
        let said = answer["message"].as_str().unwrap_or_default();
        if refused.is_empty() {
            assert_eq!(code, 201, "{said}");
        } else {
            assert_eq!(code, 403, "{answer}");
            assert!(
                said.contains(&format!("exceeded quota: {refused}, requested: pods=1")),
                "{said}"
            );
        }
    }
}
