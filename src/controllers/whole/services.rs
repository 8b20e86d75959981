//! Services and their endpoints.

use super::*;

#[tokio::test]
async fn endpoints_follow_pods() {
    let (api, _stop) = start(options());
    let _pods = run_pods(&api);
    api.create(
        json!({"kind": "Node", "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
    );
    api.create(
        json!({"kind": "Service", "metadata": {"name": "web", "labels": {"l": "v"}}, "spec": {
        "clusterIP": "10.96.0.9", "ipFamilies": ["IPv4"], "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}}),
    );
    let slices = |api: &FakeApi| api.list("endpointslices");
    api.wait("a slice without endpoints", |api| slices(api).len() == 1)
        .await;
    for i in 0..3 {
        api.create(json!({"kind": "Pod", "metadata": {"name": format!("p{i}"), "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"name": "web", "containerPort": 8080}]}]}}));
    }
    api.wait("three ready endpoints", |api| {
        let all = slices(api);
        all.len() == 1
            && all[0]["endpoints"].as_array().is_some_and(|e| {
                e.len() == 3
                    && e.iter()
                        .all(|e| e["conditions"]["ready"] == true && e["zone"] == "z")
            })
    })
    .await;
    let slice = &slices(&api)[0];
    assert_eq!(
        slice["ports"],
        json!([{"name": "http", "port": 8080, "protocol": "TCP"}])
    );
    let labels = &slice["metadata"]["labels"];
    assert_eq!(labels["kubernetes.io/service-name"], "web");
    assert_eq!(
        labels["endpointslice.kubernetes.io/managed-by"],
        "endpointslice-controller.k8s.io"
    );
    assert_eq!(labels["l"], "v");
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    assert_eq!(slice["endpoints"][0]["targetRef"]["kind"], "Pod");
    api.wait("legacy endpoints", |api| {
        let endpoints = api.get("endpoints", "default", "web").unwrap_or_default();
        endpoints["subsets"][0]["addresses"]
            .as_array()
            .is_some_and(|a| a.len() == 3)
            && endpoints["subsets"][0]["ports"] == json!([{"name": "http", "port": 8080, "protocol": "TCP"}])
    })
    .await;

    api.delete("pods", "default", "p1", json!({}));
    api.wait("two endpoints", |api| {
        slices(api)[0]["endpoints"]
            .as_array()
            .is_some_and(|e| e.len() == 2)
    })
    .await;
    api.delete("services", "default", "web", json!({}));
    api.wait("nothing left", |api| {
        slices(api).is_empty() && api.get("endpoints", "default", "web").is_none()
    })
    .await;
}
