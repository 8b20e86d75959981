//! Resource quotas are counted.

use super::*;

fn used(api: &FakeApi) -> Value {
    let quota = api.get("resourcequotas", "default", "q").unwrap_or_default();
    quota["status"]["used"].clone()
}

#[tokio::test]
async fn what_is_used_follows_what_is_there() {
    let (api, _stop) = start(options());
    let pod = |name: &str| {
        json!({"kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [
            {"name": "c", "image": "i", "resources": {"requests": {"cpu": "250m"}}}]}})
    };
    api.create(pod("a"));
    api.create(pod("b"));
    api.create(json!({"kind": "ConfigMap", "metadata": {"name": "m"}}));
    api.create(json!({"kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {
        "pods": "5", "requests.cpu": "1", "configmaps": "9", "count/secrets": "2", "count/widgets.example.com": "1"}}}));
    // The CA of every namespace is one more.
    api.wait("a first count", |api| {
        used(api) == json!({"pods": "2", "requests.cpu": "500m", "configmaps": "2", "count/secrets": "0"})
    })
    .await;
    let status = api.get("resourcequotas", "default", "q").unwrap()["status"].clone();
    assert_eq!(status["hard"]["pods"], "5");

    api.delete("configmaps", "default", "m", json!({}));
    api.wait("a configmap less", |api| used(api)["configmaps"] == "1")
        .await;
    api.edit("pods", "default", "a", |pod| {
        pod["status"] = json!({"phase": "Succeeded"})
    });
    api.wait("a pod that ended", |api| {
        used(api)["pods"] == "1" && used(api)["requests.cpu"] == "250m"
    })
    .await;
    api.edit("resourcequotas", "default", "q", |quota| {
        quota["spec"]["hard"] = json!({"pods": "3", "services": "1"});
    });
    api.wait("what the new spec names", |api| {
        used(api) == json!({"pods": "1", "services": "0"})
    })
    .await;
}
