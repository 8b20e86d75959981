//! StatefulSets, DaemonSets and Jobs.

use super::*;

fn template(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

fn names(api: &FakeApi) -> Vec<String> {
    api.list("pods").iter().map(|p| place(p).1).collect()
}

fn bump(object: &mut Value) {
    object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
}

#[tokio::test]
async fn a_stateful_set_counts_up_rolls_and_counts_down_in_order() {
    let (api, _stop) = start(options());
    let _pods = run_pods(&api);
    let order = api.drive(|api| {
        let names = names(api);
        assert!(["db-0", "db-1", "db-2"].starts_with(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    });
    api.create(json!({"kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
        "replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "template": template("db", "db:1"),
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]}}));
    let done = |api: &FakeApi, n: i64, image: &str| {
        let set = api.get("statefulsets", "default", "db").unwrap_or_default();
        let status = &set["status"];
        status["readyReplicas"] == n
            && status["updatedReplicas"] == n
            && status["currentRevision"] == status["updateRevision"]
            && status["observedGeneration"] == set["metadata"]["generation"]
            && api
                .list("pods")
                .iter()
                .all(|p| p["spec"]["containers"][0]["image"] == image)
    };
    api.wait("three pods", |api| done(api, 3, "db:1")).await;
    assert_eq!(names(&api), ["db-0", "db-1", "db-2"]);
    assert!(!order.is_finished(), "out of order");
    order.abort();
    assert!(
        api.get("persistentvolumeclaims", "default", "data-db-2")
            .is_some()
    );
    let pod = api.get("pods", "default", "db-1").unwrap_or_default();
    assert_eq!(
        pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"],
        "db-1"
    );
    assert_eq!(pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"], "1");
    assert_eq!(
        (&pod["spec"]["hostname"], &pod["spec"]["subdomain"]),
        (&json!("db-1"), &json!("db"))
    );
    assert_eq!(
        pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"],
        "data-db-1"
    );

    api.edit("statefulsets", "default", "db", |s| {
        s["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:2");
        bump(s);
    });
    api.wait("the update", |api| done(api, 3, "db:2") && names(api).len() == 3)
        .await;
    assert_eq!(api.list("controllerrevisions").len(), 2);
    api.edit("statefulsets", "default", "db", |s| {
        s["spec"]["replicas"] = json!(1);
        bump(s);
    });
    api.wait("one pod", |api| done(api, 1, "db:2") && names(api) == ["db-0"])
        .await;
    assert!(
        api.get("persistentvolumeclaims", "default", "data-db-2")
            .is_some(),
        "claims stay"
    );
}

fn node(name: &str, labels: Value) -> Value {
    json!({"kind": "Node", "metadata": {"name": name, "labels": labels},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
}

/// Binds daemon pods to the node they ask for, and runs them.
fn run_daemons(api: &FakeApi) -> tokio::task::JoinHandle<()> {
    api.drive(|api| {
        for pod in api.list("pods") {
            let (namespace, name) = place(&pod);
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                api.delete("pods", &namespace, &name, json!({"gracePeriodSeconds": 0}));
            } else if pod["status"].is_null() {
                api.edit("pods", &namespace, &name, |pod| {
                    let terms = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
                    let node = terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0].clone();
                    make_ready(pod, 0);
                    pod["spec"]["nodeName"] = node;
                });
            }
        }
    })
}

#[tokio::test]
async fn a_daemon_set_follows_nodes_and_rolls() {
    let (api, _stop) = start(options());
    let _pods = run_daemons(&api);
    for (name, kind) in [("n1", "a"), ("n2", "a"), ("n3", "b")] {
        api.create(node(name, json!({"kind": kind})));
    }
    let mut wanted = template("agent", "agent:1");
    wanted["spec"]["nodeSelector"] = json!({"kind": "a"});
    api.create(
        json!({"kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": {
        "selector": {"matchLabels": {"app": "agent"}}, "template": wanted}}),
    );
    let done = |api: &FakeApi, n: i64| {
        let set = api.get("daemonsets", "default", "agent").unwrap_or_default();
        [
            "desiredNumberScheduled",
            "currentNumberScheduled",
            "numberReady",
            "updatedNumberScheduled",
            "numberAvailable",
        ]
        .iter()
        .all(|field| set["status"][field] == n)
            && set["status"]["observedGeneration"] == set["metadata"]["generation"]
    };
    api.wait("two daemons", |api| done(api, 2)).await;
    let mut nodes: Vec<String> = api
        .list("pods")
        .iter()
        .map(|p| p["spec"]["nodeName"].to_string())
        .collect();
    nodes.sort();
    assert_eq!(nodes, ["\"n1\"", "\"n2\""]);
    api.create(node("n4", json!({"kind": "a"})));
    api.wait("a third", |api| done(api, 3)).await;
    api.edit("daemonsets", "default", "agent", |s| {
        s["spec"]["template"]["spec"]["containers"][0]["image"] = json!("agent:2");
        bump(s);
    });
    api.wait("the update", |api| {
        done(api, 3)
            && api
                .list("pods")
                .iter()
                .all(|p| p["spec"]["containers"][0]["image"] == "agent:2")
    })
    .await;
    api.edit("nodes", "", "n1", |n| {
        n["spec"]["taints"] = json!([{"key": "k", "effect": "NoExecute"}]);
    });
    api.wait("two left", |api| done(api, 2) && api.list("pods").len() == 2)
        .await;
}

/// Ends pods as soon as they exist, with the phase that `phase` chooses.
fn end_pods(
    api: &FakeApi,
    phase: impl Fn(&Value) -> &'static str + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    api.drive(move |api| {
        for pod in api.list("pods") {
            let (namespace, name) = place(&pod);
            let finalizers = pod["metadata"]["finalizers"]
                .as_array()
                .is_some_and(|f| !f.is_empty());
            if !pod["metadata"]["deletionTimestamp"].is_null() && !finalizers {
                api.delete("pods", &namespace, &name, json!({"gracePeriodSeconds": 0}));
            } else if pod["status"].is_null() {
                let phase = phase(&pod);
                api.edit("pods", &namespace, &name, |pod| {
                    pod["status"] = json!({"phase": phase})
                });
            }
        }
    })
}

fn job(name: &str, spec: Value) -> Value {
    let mut job = json!({"kind": "Job", "metadata": {"name": name}, "spec": {
        "template": template(name, "job:1"), "selector": {"matchLabels": {"app": name}}}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        job["spec"][key] = value.clone();
    }
    job
}

fn condition(api: &FakeApi, name: &str, kind: &str) -> Value {
    let job = api.get("jobs", "default", name).unwrap_or_default();
    let conditions = job["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    conditions
        .into_iter()
        .find(|c| c["type"] == kind && c["status"] == "True")
        .unwrap_or_default()
}

#[tokio::test]
async fn jobs_complete_by_count_and_by_index() {
    let (api, _stop) = start(options());
    let _pods = end_pods(&api, |_| "Succeeded");
    api.create(job("count", json!({"completions": 5, "parallelism": 2})));
    api.create(job(
        "index",
        json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed"}),
    ));
    api.wait("both complete", |api| {
        ["count", "index"]
            .iter()
            .all(|name| !condition(api, name, "Complete").is_null())
    })
    .await;
    let status = api.get("jobs", "default", "count").unwrap_or_default()["status"].clone();
    assert_eq!(
        (&status["succeeded"], &status["failed"]),
        (&json!(5), &Value::Null)
    );
    assert!(!status["completionTime"].is_null());
    let status = api.get("jobs", "default", "index").unwrap_or_default()["status"].clone();
    assert_eq!(
        (&status["succeeded"], &status["completedIndexes"]),
        (&json!(4), &json!("0-3"))
    );
    let pods = api.list("pods");
    assert_eq!(pods.len(), 9, "none too many");
    assert!(
        pods.iter()
            .all(|p| p["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty))
    );
    let indexed = pods.iter().find(|p| place(p).1.starts_with("index-3-")).unwrap();
    assert_eq!(indexed["spec"]["hostname"], "index-3");
    assert_eq!(
        indexed["spec"]["containers"][0]["env"][0]["name"],
        "JOB_COMPLETION_INDEX"
    );
}

#[tokio::test]
async fn a_job_fails_at_its_limit_and_a_suspended_one_waits() {
    let (api, _stop) = start(options());
    let _pods = end_pods(&api, |_| "Failed");
    api.create(job(
        "bad",
        json!({"completions": 1, "parallelism": 1, "backoffLimit": 0}),
    ));
    api.wait("the failure", |api| {
        condition(api, "bad", "Failed")["reason"] == "BackoffLimitExceeded"
    })
    .await;
    let status = api.get("jobs", "default", "bad").unwrap_or_default()["status"].clone();
    assert_eq!(status["failed"], 1);
    api.create(job("later", json!({"completions": 1, "suspend": true})));
    api.wait("suspension", |api| {
        condition(api, "later", "Suspended")["reason"] == "JobSuspended"
    })
    .await;
    assert_eq!(api.list("pods").len(), 1);
}
