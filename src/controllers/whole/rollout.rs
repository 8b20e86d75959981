//! Deployments and their ReplicaSets.

use super::*;

fn deployment(replicas: i32, image: &str) -> Value {
    json!({
        "kind": "Deployment", "metadata": {"name": "web", "annotations": {"note": "kept"}},
        "spec": {
            "replicas": replicas, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
        },
    })
}

fn set_image(api: &FakeApi, image: &str) {
    api.edit("deployments", "default", "web", |d| {
        d["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        let generation = d["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        d["metadata"]["generation"] = json!(generation);
    });
}

fn condition(api: &FakeApi, kind: &str) -> (String, String, String) {
    let deployment = api.get("deployments", "default", "web").unwrap_or_default();
    let conditions = deployment["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let found = conditions
        .into_iter()
        .find(|c| c["type"] == kind)
        .unwrap_or_default();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    (
        text(&found["status"]),
        text(&found["reason"]),
        text(&found["message"]),
    )
}

fn done(api: &FakeApi, replicas: i64, revision: &str) -> bool {
    let deployment = api.get("deployments", "default", "web").unwrap_or_default();
    let status = &deployment["status"];
    [
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
    ]
    .iter()
    .all(|f| status[f] == replicas)
        && status["observedGeneration"] == deployment["metadata"]["generation"]
        && deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == revision
        && condition(api, "Progressing").1 == "NewReplicaSetAvailable"
}

#[tokio::test]
async fn a_deployment_comes_up_rolls_rolls_back_and_scales() {
    let (api, _stop) = start(options());
    let pods = run_pods(&api);
    api.create(deployment(6, "web:1"));
    api.wait("six pods", |api| done(api, 6, "1")).await;
    let sets = api.list("replicasets");
    assert_eq!(sets.len(), 1);
    let first = place(&sets[0]).1;
    let annotations = &sets[0]["metadata"]["annotations"];
    assert_eq!(annotations["note"], "kept");
    assert_eq!(annotations["deployment.kubernetes.io/desired-replicas"], "6");
    assert_eq!(annotations["deployment.kubernetes.io/max-replicas"], "8");
    let hash = sets[0]["metadata"]["labels"]["pod-template-hash"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert_eq!(first, format!("web-{hash}"));
    for pod in api.list("pods") {
        assert_eq!(pod["metadata"]["labels"]["pod-template-hash"], json!(hash));
        assert!(place(&pod).1.starts_with(&format!("{first}-")));
    }
    let available = ("True".to_owned(), "MinimumReplicasAvailable".to_owned());
    let (status, reason, message) = condition(&api, "Available");
    assert_eq!(
        ((status, reason), message.as_str()),
        (available, "Deployment has minimum availability.")
    );
    let message = format!("ReplicaSet \"{first}\" has successfully progressed.");
    assert_eq!(condition(&api, "Progressing").2, message);
    let told = |api: &FakeApi, reason: &str, message: &str| {
        api.list("events")
            .iter()
            .any(|e| e["reason"] == reason && e["message"] == message)
    };
    let message = format!("Scaled up replica set {first} from 0 to 6");
    api.wait("the scaling event", |api| {
        told(api, "ScalingReplicaSet", &message)
    })
    .await;

    // Every moment of a rolling update keeps within its bounds.
    let watching = api.drive(|api| {
        let pods = api.list("pods");
        let ready = pods
            .iter()
            .filter(|p| p["metadata"]["deletionTimestamp"].is_null());
        let ready = ready.filter(|p| !p["status"].is_null()).count();
        assert!(ready >= 5, "only {ready} ready");
        let wanted: i64 = api
            .list("replicasets")
            .iter()
            .filter_map(|s| s["spec"]["replicas"].as_i64())
            .sum();
        assert!(wanted <= 8, "{wanted} wanted");
    });
    set_image(&api, "web:2");
    api.wait("the second revision", |api| done(api, 6, "2")).await;
    assert_eq!(api.list("replicasets").len(), 2);
    assert!(
        api.list("pods")
            .iter()
            .all(|p| p["spec"]["containers"][0]["image"] == "web:2")
    );

    // Back to the first template: the same ReplicaSet, a new revision.
    set_image(&api, "web:1");
    api.wait("the rollback", |api| done(api, 6, "3")).await;
    let set = api.get("replicasets", "default", &first).unwrap_or_default();
    assert_eq!(
        set["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "3"
    );
    assert_eq!(
        set["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"],
        "1"
    );
    assert!(!watching.is_finished(), "a bound was broken");
    watching.abort();

    // A third template: of two old sets only one is kept.
    set_image(&api, "web:3");
    api.wait("the history's limit", |api| {
        done(api, 6, "4") && api.list("replicasets").len() == 2
    })
    .await;

    api.edit("deployments", "default", "web", |d| {
        d["spec"]["replicas"] = json!(2);
        d["metadata"]["generation"] = json!(d["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
    });
    api.wait("two pods", |api| done(api, 2, "4") && api.list("pods").len() == 2)
        .await;
    pods.abort();
}

#[tokio::test]
async fn recreate_removes_all_old_pods_first() {
    let (api, _stop) = start(options());
    let _pods = run_pods(&api);
    let mut wanted = deployment(3, "web:1");
    wanted["spec"]["strategy"] = json!({"type": "Recreate"});
    api.create(wanted);
    api.wait("three pods", |api| done(api, 3, "1")).await;
    let watching = api.drive(|api| {
        let images: std::collections::HashSet<String> = api
            .list("pods")
            .iter()
            .map(|p| p["spec"]["containers"][0]["image"].to_string())
            .collect();
        assert!(images.len() <= 1, "both at once: {images:?}");
    });
    set_image(&api, "web:2");
    api.wait("the new pods", |api| done(api, 3, "2")).await;
    assert!(!watching.is_finished());
}

#[tokio::test]
async fn a_paused_deployment_scales_but_does_not_roll() {
    let (api, _stop) = start(options());
    let _pods = run_pods(&api);
    api.create(deployment(2, "web:1"));
    api.wait("two pods", |api| done(api, 2, "1")).await;
    api.edit("deployments", "default", "web", |d| {
        d["spec"]["paused"] = json!(true);
        d["spec"]["replicas"] = json!(4);
        d["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
        d["metadata"]["generation"] = json!(2);
    });
    api.wait("four old pods", |api| {
        api.list("pods").len() == 4 && condition(api, "Progressing").1 == "DeploymentPaused"
    })
    .await;
    assert_eq!(api.list("replicasets").len(), 1);
    api.edit("deployments", "default", "web", |d| {
        d["spec"]["paused"] = json!(false);
        d["metadata"]["generation"] = json!(3);
    });
    api.wait("four new pods", |api| done(api, 4, "2")).await;
}

#[tokio::test]
async fn a_replica_set_adopts_releases_and_replaces() {
    let (api, _stop) = start(options());
    let _pods = run_pods(&api);
    api.create(
        json!({"kind": "Pod", "metadata": {"name": "orphan", "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}}),
    );
    api.create(json!({
        "kind": "ReplicaSet", "metadata": {"name": "set"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "a"}}, "template": {
            "metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}},
    }));
    let ready = |api: &FakeApi, n: i64| {
        api.get("replicasets", "default", "set")
            .is_some_and(|s| s["status"]["readyReplicas"] == n)
    };
    api.wait("three ready", |api| ready(api, 3)).await;
    assert_eq!(api.list("pods").len(), 3, "the orphan was adopted");
    let orphan = api.get("pods", "default", "orphan").unwrap_or_default();
    assert_eq!(orphan["metadata"]["ownerReferences"][0]["name"], "set");

    api.edit("pods", "default", "orphan", |p| {
        p["metadata"]["labels"]["app"] = json!("b")
    });
    api.wait("release and replacement", |api| {
        let owners =
            api.get("pods", "default", "orphan").unwrap_or_default()["metadata"]["ownerReferences"].clone();
        api.list("pods").len() == 4 && owners.as_array().is_none_or(Vec::is_empty)
    })
    .await;
    let victim = api
        .list("pods")
        .into_iter()
        .find(|p| place(p).1 != "orphan")
        .map(|p| place(&p).1)
        .unwrap();
    api.delete("pods", "default", &victim, json!({}));
    api.wait("a replacement", |api| {
        api.get("pods", "default", &victim).is_none() && api.list("pods").len() == 4 && ready(api, 3)
    })
    .await;
}
