//! What happens to any object: names, versions, generations, dry run, patches, events in two groups.

use serde_json::{Value, json};

use crate::behaviours::names;
use crate::server::{Api, Server, config_map, pod};

#[tokio::test]
async fn metadata_is_the_servers() {
    let server = Server::start();
    let api = server.api().await;
    let maps = format!("{}/configmaps", api.namespace("meta").await);
    let mut map = config_map("ignored");
    map["metadata"] = json!({"generateName": "made-", "uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z",
        "generation": 7, "selfLink": "x", "resourceVersion": ""});
    let made = api.post(&maps, &map).await;
    let meta = &made["metadata"];
    assert_eq!(meta["name"].as_str().unwrap().len(), "made-".len() + 5);
    assert_eq!(meta["namespace"], "meta");
    assert_ne!(meta["uid"], "mine");
    assert_ne!(meta["creationTimestamp"], "2001-01-01T00:00:00Z");
    assert!(meta.get("selfLink").is_none());
    map["metadata"] = json!({"name": "x", "resourceVersion": "5"});
    let (code, _, message) = api.refused("POST", &maps, &map).await;
    assert_eq!(code, 400);
    assert_eq!(
        message,
        "resourceVersion should not be set on objects to be created"
    );
    let mut wrong = config_map("a");
    wrong["metadata"]["namespace"] = json!("other");
    let (code, _, message) = api.refused("POST", &maps, &wrong).await;
    assert_eq!(code, 400);
    assert!(message.contains("does not match the namespace"), "{message}");
    let (code, _, _) = api.refused("PUT", &format!("{maps}/b"), &config_map("a")).await;
    assert_eq!(code, 400);
}

#[tokio::test]
async fn generation_counts_changes_of_the_spec() {
    let server = Server::start();
    let api = server.api().await;
    let base = api
        .namespace("generation")
        .await
        .replace("/api/v1", "/apis/apps/v1");
    let deployments = format!("{base}/deployments");
    let made = api
        .post(
            &deployments,
            &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
                "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]}}},
                "status": {"replicas": 9}}),
        )
        .await;
    assert_eq!(made["metadata"]["generation"], 1);
    assert!(made["status"]["replicas"].is_null(), "a create sets no status");
    let one = format!("{deployments}/web");
    for (patch, sub, generation) in [
        (json!({"metadata": {"labels": {"x": "y"}}}), "", 1),
        (json!({"spec": {"replicas": 3}}), "", 2),
        (json!({"spec": {"replicas": 3}}), "", 2),
        (json!({"status": {"replicas": 2}}), "", 2),
        (
            json!({"status": {"replicas": 2}, "spec": {"replicas": 8}}),
            "/status",
            2,
        ),
        (json!({"spec": {"replicas": 4}}), "/scale", 3),
    ] {
        Api::expect(sub, api.send("PATCH", &format!("{one}{sub}"), &patch).await);
        let read = api.get(&one).await;
        assert_eq!(read["metadata"]["generation"], generation, "{sub} {patch}");
    }
    let read = api.get(&one).await;
    assert_eq!(
        (&read["spec"]["replicas"], &read["status"]["replicas"]),
        (&json!(4), &json!(2))
    );
    let pods = format!("{}/pods", api.namespace("pods").await);
    assert_eq!(api.post(&pods, &pod("a")).await["metadata"]["generation"], 1);
}

#[tokio::test]
async fn nothing_changes_without_a_change() {
    let server = Server::start();
    let api = server.api().await;
    let maps = format!("{}/configmaps", api.namespace("same").await);
    let made = api.post(&maps, &config_map("a")).await;
    let path = format!("{maps}/a");
    for (method, body) in [
        ("PUT", made.clone()),
        ("PATCH", json!({"data": {"k": "v"}})),
        ("PATCH", json!({})),
    ] {
        let same = Api::expect(method, api.send(method, &path, &body).await);
        assert_eq!(
            same["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"],
            "{method} {body}"
        );
    }
}

#[tokio::test]
async fn dry_run_of_every_write() {
    let server = Server::start();
    let api = server.api().await;
    let maps = format!("{}/configmaps", api.namespace("dry").await);
    let kept = api.post(&maps, &config_map("kept")).await;
    let one = format!("{maps}/kept?dryRun=All");
    api.post(&format!("{maps}?dryRun=All"), &config_map("new")).await;
    let mut changed = kept.clone();
    changed["data"]["k"] = json!("w");
    assert_eq!(api.put(&one, &changed).await["data"]["k"], "w");
    Api::expect("patch", api.send("PATCH", &one, &json!({"data": null})).await);
    api.delete(&one).await;
    api.delete(&format!("{maps}?dryRun=All")).await;
    let list = api.get(&maps).await;
    assert_eq!(names(&list), ["kept"]);
    assert_eq!(api.get(&format!("{maps}/kept")).await, kept);
    assert_eq!(
        api.refused("POST", &format!("{maps}?dryRun=Some"), &config_map("x"))
            .await
            .0,
        422
    );
}

#[tokio::test]
async fn events_are_one_thing_in_two_groups() {
    let server = Server::start();
    let api = server.api().await;
    let core = format!("{}/events", api.namespace("events").await);
    let new = core.replace("/api/v1", "/apis/events.k8s.io/v1");
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "events"},
        "eventTime": "2024-01-02T03:04:05.000006Z", "reportingController": "example.com/test", "reportingInstance": "t-1",
        "action": "Tested", "reason": "Testing", "type": "Normal", "note": "n",
        "regarding": {"kind": "Pod", "namespace": "events", "name": "p"}});
    api.post(&new, &event).await;
    let old = api.get(&format!("{core}/e")).await;
    assert_eq!(
        (&old["message"], &old["involvedObject"]["name"]),
        (&json!("n"), &json!("p"))
    );
    let series = json!({"series": {"count": 2, "lastObservedTime": "2024-01-02T03:05:05.000006Z"}});
    Api::expect("series", api.send("PATCH", &format!("{new}/e"), &series).await);
    let listed = api
        .get(&format!(
            "{core}?fieldSelector=involvedObject.kind%3DPod,reason%3DTesting"
        ))
        .await;
    assert_eq!(listed["items"][0]["series"]["count"], 2);
    api.delete(&format!("{new}?labelSelector=none")).await;
    assert_eq!(api.get(&core).await["items"].as_array().unwrap().len(), 1);
    api.delete(&new).await;
    assert_eq!(api.get(&core).await["items"], json!([]));
}

#[tokio::test]
async fn a_pods_own_subresources() {
    let server = Server::start();
    let api = server.api().await;
    let pods = format!("{}/pods", api.namespace("subs").await);
    let mut running = pod("p");
    running["spec"]["nodeName"] = json!("n1");
    running["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100m"}});
    api.post(&pods, &running).await;
    let one = format!("{pods}/p");
    let mut read = api.get(&one).await;
    read["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "registry.example/d:1"}]);
    api.put(&format!("{one}/ephemeralcontainers"), &read).await;
    let resize = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "200m"}}}]}});
    let kind = [("content-type", "application/strategic-merge-patch+json")];
    let body = resize.to_string().into_bytes();
    Api::expect(
        "resize",
        api.ask("PATCH", &format!("{one}/resize"), &kind, body).await,
    );
    let read = api.get(&one).await;
    assert_eq!(
        read["spec"]["ephemeralContainers"][0]["terminationMessagePolicy"],
        "File"
    );
    assert_eq!(
        read["spec"]["containers"][0]["resources"]["requests"]["cpu"],
        "200m"
    );
    assert_eq!(read["metadata"]["generation"], 3);
    let image = json!({"spec": {"schedulerName": "other"}});
    let (code, _, message) = api.refused("PATCH", &one, &image).await;
    assert_eq!(code, 422);
    assert!(
        message.contains("pod updates may not change fields other than"),
        "{message}"
    );
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "p"}}}});
    let base = one
        .replace("/api/v1", "/apis/policy/v1")
        .replace("/pods/p", "/poddisruptionbudgets");
    api.post(&base, &budget).await;
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    Api::expect("ready", api.send("PATCH", &format!("{one}/status"), &ready).await);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let (code, reason, message) = api.refused("POST", &format!("{one}/eviction"), &eviction).await;
    assert_eq!((code, reason.as_str()), (429, "TooManyRequests"), "{message}");
    assert!(message.contains("disruption budget"), "{message}");
    let (code, _, _) = api.refused("GET", &format!("{one}/log"), &Value::Null).await;
    assert!(code >= 400, "there is no kubelet to ask");
}

/// What an apply creates names itself; what is there has its name already.
#[tokio::test]
async fn an_apply_that_creates_says_the_name() {
    let server = Server::start();
    let api = server.api().await;
    let path = format!("{}/configmaps/a?fieldManager=m", api.namespace("named").await);
    let kind = [("content-type", "application/apply-patch+yaml")];
    let apply = async |body: Value| {
        api.ask("PATCH", &path, &kind, body.to_string().into_bytes())
            .await
    };
    let nameless = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v"}});
    let (code, status) = apply(nameless.clone()).await;
    assert_eq!(
        (code.as_u16(), &status["message"]),
        (
            400,
            &json!("the name of the object (a based on URL) was undeterminable: name must be provided")
        )
    );
    assert_eq!(apply(config_map("a")).await.0, 201);
    assert_eq!(apply(nameless).await.0, 200);
}
