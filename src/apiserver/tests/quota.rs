//! Resource quotas are held, and stay true under many writers.

use super::*;

const NS: &str = "/api/v1/namespaces/default";

/// A quota as the quota controller leaves it: nothing used yet.
async fn quota(f: &Fixture, name: &str, spec: Value) {
    let object = json!({"metadata": {"name": name}, "spec": spec});
    let (code, answer) = f.send("POST", &format!("{NS}/resourcequotas"), object).await;
    assert_eq!(code, 201, "{answer}");
    let used: serde_json::Map<_, _> = spec["hard"]
        .as_object()
        .unwrap()
        .keys()
        .map(|k| (k.clone(), json!("0")))
        .collect();
    let status =
        json!({"metadata": {"name": name}, "spec": spec, "status": {"hard": spec["hard"], "used": used}});
    let (code, answer) = f
        .send("PUT", &format!("{NS}/resourcequotas/{name}/status"), status)
        .await;
    assert_eq!(code, 200, "{answer}");
}

async fn used(f: &Fixture, name: &str) -> Value {
    f.get(&format!("{NS}/resourcequotas/{name}")).await["status"]["used"].clone()
}

fn sized(name: &str, cpu: &str) -> Value {
    let mut object = pod(name);
    object["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu, "memory": "1Mi"}});
    object
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let f = fixture().await;
    f.send(
        "POST",
        &format!("{NS}/serviceaccounts"),
        json!({"metadata": {"name": "default"}}),
    )
    .await;
    quota(&f, "compute", json!({"hard": {"requests.cpu": "1", "pods": "2"}})).await;
    quota(
        &f,
        "best",
        json!({"hard": {"pods": "5"}, "scopes": ["BestEffort"]}),
    )
    .await;
    quota(
        &f,
        "objects",
        json!({"hard": {"count/deployments.apps": "1", "configmaps": "1", "services": "2",
        "services.nodeports": "1", "persistentvolumeclaims": "1", "requests.storage": "1Gi"}}),
    )
    .await;
    let pods = format!("{NS}/pods");
    let (code, answer) = f
        .send("POST", &format!("{pods}?dryRun=All"), sized("a", "600m"))
        .await;
    assert_eq!(code, 201, "{answer}");
    assert_eq!(
        used(&f, "compute").await,
        json!({"requests.cpu": "0", "pods": "0"})
    );
    assert_eq!(f.send("POST", &pods, sized("a", "600m")).await.0, 201);
    assert_eq!(
        used(&f, "compute").await,
        json!({"requests.cpu": "600m", "pods": "1"})
    );
    assert_eq!(used(&f, "best").await, json!({"pods": "0"}));
    let (code, answer) = f.send("POST", &pods, sized("b", "600m")).await;
    assert_eq!((code.as_u16(), &answer["reason"]), (403, &json!("Forbidden")));
    assert_eq!(
        answer["message"],
        "pods \"b\" is forbidden: exceeded quota: compute, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"
    );
    let (code, answer) = f.send("POST", &pods, pod("c")).await;
    assert_eq!(code, 403);
    assert_eq!(
        answer["message"],
        "pods \"c\" is forbidden: failed quota: compute: must specify requests.cpu for: c"
    );

    let deployment = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
    };
    let service = |name: &str, kind: &str| json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}]}});
    let claim = |name: &str, size: &str| {
        json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}}}})
    };
    let deployments = "/apis/apps/v1/namespaces/default/deployments".to_owned();
    let cases = [
        (&deployments, deployment("a"), ""),
        (
            &deployments,
            deployment("b"),
            "exceeded quota: objects, requested: count/deployments.apps=1",
        ),
        (&format!("{NS}/configmaps"), config_map("a"), ""),
        (
            &format!("{NS}/configmaps"),
            config_map("b"),
            "requested: configmaps=1, used: configmaps=1, limited: configmaps=1",
        ),
        (&format!("{NS}/services"), service("a", "NodePort"), ""),
        (
            &format!("{NS}/services"),
            service("b", "NodePort"),
            "requested: services.nodeports=1",
        ),
        (&format!("{NS}/services"), service("c", "ClusterIP"), ""),
        (
            &format!("{NS}/persistentvolumeclaims"),
            claim("a", "2Gi"),
            "requested: requests.storage=2Gi, used: requests.storage=0, limited: requests.storage=1Gi",
        ),
        (&format!("{NS}/persistentvolumeclaims"), claim("b", "1Gi"), ""),
    ];
    for (uri, object, refused) in cases {
        let (code, answer) = f.send("POST", uri, object).await;
        assert_eq!(code, if refused.is_empty() { 201 } else { 403 }, "{answer}");
        assert!(
            answer["message"].as_str().unwrap_or_default().contains(refused),
            "{answer}"
        );
    }
    // A type change is an update that grows.
    let mut grown = f.get(&format!("{NS}/services/c")).await;
    grown["spec"]["type"] = json!("NodePort");
    let (code, answer) = f.send("PUT", &format!("{NS}/services/c"), grown).await;
    assert_eq!(code, 403, "{answer}");
    assert_eq!(used(&f, "objects").await["services"], "2");
}
