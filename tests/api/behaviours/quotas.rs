//! ResourceQuotas: counted by their controller, held by admission.

use std::sync::Arc;

use serde_json::{Value, json};

use super::operations::Operations;
use super::{Ground, cases, names, workload};
use crate::server::{Api, config_map, pod};

cases! {
    a_status_is_calculated: ["quota/calculated"],
    configmaps_are_counted: ["quota/configmap"],
    secrets_are_counted: ["quota/secret"],
    services_are_counted: ["quota/service"],
    replication_controllers_are_counted: ["quota/replicationcontroller"],
    replica_sets_are_counted: ["quota/replicaset"],
    pods_are_counted_and_weighed: ["quota/pod"],
    best_effort_is_a_scope: ["quota/best-effort"],
    terminating_is_a_scope: ["quota/terminating"],
    quotas_change_and_go: ["quota/update-delete"],
    quotas_have_operations: ["quota/lifecycle"],
    a_status_is_written_and_calculated_again: ["quota/status-update"],
    many_writers_never_pass_a_limit: [],
}

/// Some amounts by resource.
fn amounts(list: &[(&str, &str)]) -> Value {
    let pairs = list
        .iter()
        .map(|(name, amount)| ((*name).to_owned(), json!(amount)));
    Value::Object(pairs.collect())
}

/// Makes a quota and waits until it is counted; gives its path.
async fn quota(api: &Api, ns: &str, name: &str, spec: Value) -> String {
    let quotas = format!("{ns}/resourcequotas");
    api.post(&quotas, &json!({"metadata": {"name": name}, "spec": spec}))
        .await;
    let path = format!("{quotas}/{name}");
    api.until(&path, |quota| {
        quota["status"]["hard"] == spec["hard"] && quota["status"]["used"].is_object()
    })
    .await;
    path
}

/// Waits until a quota's use is, at least for these resources, what it should be.
async fn until_used(api: &Api, path: &str, wanted: &[(&str, &str)]) {
    api.until(path, |quota| {
        wanted
            .iter()
            .all(|(name, amount)| quota["status"]["used"][name] == *amount)
    })
    .await;
}

/// Upstream's test quota, but for what this one counts.
fn hard(more: &[(&str, &str)]) -> Value {
    let mut all = amounts(&[
        ("pods", "5"),
        ("services", "10"),
        ("services.nodeports", "1"),
        ("services.loadbalancers", "1"),
        ("replicationcontrollers", "10"),
        ("resourcequotas", "1"),
        ("configmaps", "10"),
        ("secrets", "10"),
        ("persistentvolumeclaims", "10"),
        ("requests.storage", "10Gi"),
        ("count/replicasets.apps", "5"),
        ("requests.example.com/dongle", "3"),
    ]);
    for (name, amount) in more {
        all[name] = json!(amount);
    }
    json!({"hard": all})
}

async fn a_status_is_calculated(g: Arc<Ground>) {
    let ns = g.namespace("quota-calculated").await;
    let path = quota(&g.api, &ns, "q", hard(&[])).await;
    until_used(
        &g.api,
        &path,
        &[("resourcequotas", "1"), ("pods", "0"), ("requests.storage", "0")],
    )
    .await;
    let (code, reason, said) = g
        .api
        .refused(
            "POST",
            &format!("{ns}/resourcequotas"),
            &json!({"metadata": {"name": "r"}, "spec": {}}),
        )
        .await;
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    assert!(said.contains("exceeded quota: q, requested: resourcequotas=1, used: resourcequotas=1, limited: resourcequotas=1"), "{said}");
}

/// Objects of a kind are counted with their creation, and no longer after their deletion; one too many is refused.
async fn counted(g: &Ground, namespace: &str, collection: &str, resource: &str, object: Value) {
    let (api, ns) = (&g.api, g.namespace(namespace).await);
    let collection = match collection.strip_prefix("apps/") {
        Some(apps) => format!("/apis/apps/v1/namespaces/{namespace}/{apps}"),
        None => format!("{ns}/{collection}"),
    };
    // Every namespace has a map with the cluster's authority.
    if resource == "configmaps" {
        api.until(&format!("{collection}/kube-root-ca.crt"), |_| true)
            .await;
    }
    let before = names(&api.get(&collection).await).len();
    let limit = (before + 1).to_string();
    let path = quota(api, &ns, "q", hard(&[(resource, &limit)])).await;
    let (few, many) = (before.to_string(), limit.clone());
    until_used(api, &path, &[(resource, &few)]).await;
    api.post(&collection, &object).await;
    until_used(api, &path, &[(resource, &many)]).await;
    let mut other = object.clone();
    other["metadata"]["name"] = json!("other");
    let (code, _, said) = api.refused("POST", &collection, &other).await;
    assert_eq!(code, 403);
    let wanted = format!(
        "exceeded quota: q, requested: {resource}=1, used: {resource}={limit}, limited: {resource}={limit}"
    );
    assert!(said.contains(&wanted), "{said}");
    api.delete(&format!(
        "{collection}/{}",
        object["metadata"]["name"].as_str().unwrap()
    ))
    .await;
    until_used(api, &path, &[(resource, &few)]).await;
    api.post(&collection, &other).await;
}

async fn configmaps_are_counted(g: Arc<Ground>) {
    counted(&g, "quota-maps", "configmaps", "configmaps", config_map("one")).await;
}

async fn secrets_are_counted(g: Arc<Ground>) {
    let secret = json!({"metadata": {"name": "one"}, "stringData": {"k": "v"}});
    counted(&g, "quota-secrets", "secrets", "secrets", secret).await;
}

async fn replication_controllers_are_counted(g: Arc<Ground>) {
    let body = workload("v1", "ReplicationController", "one", 0);
    counted(
        &g,
        "quota-rcs",
        "replicationcontrollers",
        "replicationcontrollers",
        body,
    )
    .await;
}

async fn replica_sets_are_counted(g: Arc<Ground>) {
    let body = workload("apps/v1", "ReplicaSet", "one", 0);
    counted(
        &g,
        "quota-sets",
        "apps/replicasets",
        "count/replicasets.apps",
        body,
    )
    .await;
}

async fn services_are_counted(g: Arc<Ground>) {
    let (api, ns) = (&g.api, g.namespace("quota-services").await);
    let path = quota(api, &ns, "q", hard(&[("services", "2")])).await;
    let services = format!("{ns}/services");
    let service = |name: &str, kind: &str| json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}]}});
    api.post(&services, &service("plain", "ClusterIP")).await;
    api.post(&services, &service("node", "NodePort")).await;
    until_used(
        api,
        &path,
        &[
            ("services", "2"),
            ("services.nodeports", "1"),
            ("services.loadbalancers", "0"),
        ],
    )
    .await;
    let (_, _, said) = api
        .refused("POST", &services, &service("balanced", "LoadBalancer"))
        .await;
    assert!(said.contains("exceeded quota: q"), "{said}");
    // Growing is refused as making is.
    let (_, _, said) = api
        .refused(
            "PATCH",
            &format!("{services}/plain"),
            &json!({"spec": {"type": "NodePort"}}),
        )
        .await;
    assert!(
        said.contains("requested: services.nodeports=1, used: services.nodeports=1"),
        "{said}"
    );
    for name in ["plain", "node"] {
        api.delete(&format!("{services}/{name}")).await;
    }
    until_used(api, &path, &[("services", "0"), ("services.nodeports", "0")]).await;
}

fn sized(name: &str, requests: &[(&str, &str)], limits: &[(&str, &str)]) -> Value {
    let mut made = pod(name);
    made["spec"]["containers"][0]["resources"] =
        json!({"requests": amounts(requests), "limits": amounts(limits)});
    made
}

async fn pods_are_counted_and_weighed(g: Arc<Ground>) {
    let (api, ns) = (&g.api, g.namespace("quota-pods").await);
    let spec = hard(&[("cpu", "1"), ("memory", "500Mi"), ("ephemeral-storage", "50Gi")]);
    let path = quota(api, &ns, "q", spec).await;
    let pods = format!("{ns}/pods");
    let dongle = ("example.com/dongle", "2");
    let requests = [
        ("cpu", "500m"),
        ("memory", "252Mi"),
        ("ephemeral-storage", "30Gi"),
        dongle,
    ];
    api.post(&pods, &sized("one", &requests, &[dongle])).await;
    let used = [
        ("pods", "1"),
        ("cpu", "500m"),
        ("memory", "252Mi"),
        ("ephemeral-storage", "30Gi"),
        ("requests.example.com/dongle", "2"),
    ];
    until_used(api, &path, &used).await;
    for (name, requests, limits, resource) in [
        (
            "cpu",
            vec![("cpu", "600m"), ("memory", "100Mi"), ("ephemeral-storage", "1Gi")],
            vec![],
            "cpu",
        ),
        (
            "dongle",
            vec![
                ("cpu", "100m"),
                ("memory", "100Mi"),
                ("ephemeral-storage", "1Gi"),
                dongle,
            ],
            vec![dongle],
            "requests.example.com/dongle",
        ),
    ] {
        let (code, _, said) = api.refused("POST", &pods, &sized(name, &requests, &limits)).await;
        assert_eq!(code, 403);
        assert!(
            said.contains(&format!("exceeded quota: q, requested: {resource}=")),
            "{said}"
        );
    }
    let (_, _, said) = api.refused("POST", &pods, &pod("nothing")).await;
    assert!(
        said.contains("failed quota: q: must specify cpu for: c; memory for: c"),
        "{said}"
    );
    let change =
        json!([{"op": "replace", "path": "/spec/containers/0/resources/requests/cpu", "value": "100m"}]);
    let form = [("content-type", "application/json-patch+json")];
    let (code, _) = api
        .ask(
            "PATCH",
            &format!("{pods}/one"),
            &form,
            change.to_string().into_bytes(),
        )
        .await;
    assert_eq!(code, 422, "what is counted does not change");
    until_used(api, &path, &used).await;
    api.delete(&format!("{pods}/one")).await;
    until_used(api, &path, &[("pods", "0"), ("cpu", "0"), ("memory", "0")]).await;
}

async fn best_effort_is_a_scope(g: Arc<Ground>) {
    let (api, ns) = (&g.api, g.namespace("quota-best").await);
    let scoped = |scope: &str| json!({"hard": {"pods": "5"}, "scopes": [scope]});
    let best = quota(api, &ns, "best", scoped("BestEffort")).await;
    let other = quota(api, &ns, "other", scoped("NotBestEffort")).await;
    let burstable = sized(
        "burstable",
        &[("cpu", "500m"), ("memory", "200Mi")],
        &[("cpu", "1"), ("memory", "400Mi")],
    );
    for (object, counting, idle) in [(pod("best"), &best, &other), (burstable, &other, &best)] {
        let made = api.post(&format!("{ns}/pods"), &object).await;
        until_used(api, counting, &[("pods", "1")]).await;
        until_used(api, idle, &[("pods", "0")]).await;
        api.delete(&format!(
            "{ns}/pods/{}",
            made["metadata"]["name"].as_str().unwrap()
        ))
        .await;
        until_used(api, counting, &[("pods", "0")]).await;
    }
}

async fn terminating_is_a_scope(g: Arc<Ground>) {
    let (api, ns) = (&g.api, g.namespace("quota-ending").await);
    let scoped = |scope: &str| {
        json!({"hard": amounts(&[("pods", "5"), ("requests.cpu", "1"), ("requests.memory", "500Mi"),
            ("limits.cpu", "2"), ("limits.memory", "1Gi")]), "scopes": [scope]})
    };
    let ending = quota(api, &ns, "ending", scoped("Terminating")).await;
    let lasting = quota(api, &ns, "lasting", scoped("NotTerminating")).await;
    let (requests, limits) = (
        [("cpu", "500m"), ("memory", "200Mi")],
        [("cpu", "1"), ("memory", "400Mi")],
    );
    let mut short = sized("short", &requests, &limits);
    short["spec"]["activeDeadlineSeconds"] = json!(3600);
    let used = [
        ("pods", "1"),
        ("requests.cpu", "500m"),
        ("requests.memory", "200Mi"),
        ("limits.cpu", "1"),
        ("limits.memory", "400Mi"),
    ];
    let unused = used.map(|(name, _)| (name, "0"));
    for (object, counting, idle) in [
        (sized("long", &requests, &limits), &lasting, &ending),
        (short, &ending, &lasting),
    ] {
        let made = api.post(&format!("{ns}/pods"), &object).await;
        until_used(api, counting, &used).await;
        until_used(api, idle, &unused).await;
        api.delete(&format!(
            "{ns}/pods/{}",
            made["metadata"]["name"].as_str().unwrap()
        ))
        .await;
        until_used(api, counting, &unused).await;
    }
}

async fn quotas_change_and_go(g: Arc<Ground>) {
    let (api, ns) = (&g.api, g.namespace("quota-changes").await);
    let path = quota(api, &ns, "q", json!({"hard": {"cpu": "1", "memory": "500Mi"}})).await;
    let mut read = api.get(&path).await;
    read["spec"]["hard"] = json!({"cpu": "2", "memory": "1Gi"});
    assert_eq!(api.put(&path, &read).await["spec"]["hard"]["cpu"], "2");
    api.until(&path, |quota| {
        quota["status"]["hard"] == json!({"cpu": "2", "memory": "1Gi"})
    })
    .await;
    api.delete(&path).await;
    assert_eq!(api.refused("GET", &path, &Value::Null).await.0, 404);
}

async fn quotas_have_operations(g: Arc<Ground>) {
    let ns = g.namespace("quota-operations").await;
    let walk = Operations {
        collection: &format!("{ns}/resourcequotas"),
        object: json!({"spec": {"hard": {"cpu": "500m", "memory": "500Mi"}}}),
        status: None,
    };
    walk.walk(&g.api).await;
}

async fn a_status_is_written_and_calculated_again(g: Arc<Ground>) {
    let (api, ns) = (&g.api, g.namespace("quota-status").await);
    let path = quota(api, &ns, "q", json!({"hard": {"cpu": "500m", "memory": "500Mi"}})).await;
    let status = format!("{path}/status");
    for method in ["PUT", "PATCH"] {
        let wrong = json!({"status": {"hard": {"cpu": "7"}}});
        let mut body = wrong.clone();
        if method == "PUT" {
            body = api.get(&status).await;
            body["metadata"]
                .as_object_mut()
                .unwrap()
                .remove("resourceVersion");
            body["status"]["hard"] = wrong["status"]["hard"].clone();
        }
        let written = Api::expect(method, api.send(method, &status, &body).await);
        assert_eq!(written["status"]["hard"]["cpu"], "7", "{method}");
        assert_eq!(written["spec"]["hard"]["cpu"], "500m");
        // The controller says what is true.
        api.until(&path, |quota| {
            quota["status"]["hard"] == json!({"cpu": "500m", "memory": "500Mi"})
        })
        .await;
    }
}

async fn many_writers_never_pass_a_limit(g: Arc<Ground>) {
    let ns = g.namespace("quota-many").await;
    let path = quota(&g.api, &ns, "q", json!({"hard": {"count/secrets": "10"}})).await;
    let writers = (0..40).map(|i| {
        let (g, secrets) = (g.clone(), format!("{ns}/secrets"));
        tokio::spawn(async move {
            let secret = json!({"metadata": {"name": format!("s{i}")}});
            g.api.send("POST", &secrets, &secret).await.0
        })
    });
    let answers = futures::future::join_all(writers).await;
    let made = answers
        .into_iter()
        .filter(|code| *code.as_ref().unwrap() == 201)
        .count();
    assert_eq!(made, 10);
    until_used(&g.api, &path, &[("count/secrets", "10")]).await;
}
