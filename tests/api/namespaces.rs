//! Namespaces and finalizers: what a deletion waits for.

use serde_json::{Value, json};

use crate::server::{Api, Server, config_map};

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let server = Server::start();
    let api = server.api().await;
    let path = api.namespace("going").await;
    assert_eq!(api.get(&path).await["spec"]["finalizers"], json!(["kubernetes"]));
    let deleted = api.delete(&path).await;
    assert_eq!(deleted["status"]["phase"], "Terminating");
    let (code, reason, message) = api
        .refused("POST", &format!("{path}/configmaps"), &config_map("late"))
        .await;
    assert_eq!((code, reason.as_str()), (403, "Forbidden"), "{message}");
    assert!(message.contains("because it is being terminated"), "{message}");
    let mut namespace = api.get(&path).await;
    namespace["spec"]["finalizers"] = json!([]);
    api.put(&format!("{path}/finalize"), &namespace).await;
    assert_eq!(api.refused("GET", &path, &Value::Null).await.0, 404);
    for name in ["default", "kube-system", "kube-public"] {
        let path = format!("/api/v1/namespaces/{name}");
        let (code, _, message) = api.refused("DELETE", &path, &Value::Null).await;
        assert_eq!(code, 403, "{message}");
        assert!(message.contains("this namespace may not be deleted"), "{message}");
    }
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let server = Server::start();
    let api = server.api().await;
    let maps = format!("{}/configmaps", api.namespace("held").await);
    let mut map = config_map("a");
    map["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let made = api.post(&maps, &map).await;
    let one = format!("{maps}/a");
    let going = api.delete(&one).await;
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
    assert_eq!(going["metadata"]["uid"], made["metadata"]["uid"]);
    let add = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    let (code, _, message) = api.refused("PATCH", &one, &add).await;
    assert_eq!(code, 422, "{message}");
    assert!(
        message.contains("no new finalizers can be added if the object is being deleted"),
        "{message}"
    );
    let none = json!({"metadata": {"finalizers": null}});
    Api::expect("finalize", api.send("PATCH", &one, &none).await);
    assert_eq!(api.refused("GET", &one, &Value::Null).await.0, 404);
}

#[tokio::test]
async fn propagation_policies_become_finalizers() {
    let server = Server::start();
    let api = server.api().await;
    let maps = format!("{}/configmaps", api.namespace("owners").await);
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        let name = policy.to_lowercase();
        api.post(&maps, &config_map(&name)).await;
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        let going = Api::expect(
            policy,
            api.send("DELETE", &format!("{maps}/{name}"), &options).await,
        );
        assert_eq!(going["metadata"]["finalizers"], json!([finalizer]));
    }
    api.post(&maps, &config_map("background")).await;
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    let path = format!("{maps}/background");
    let status = Api::expect("background", api.send("DELETE", &path, &options).await);
    assert_eq!(
        (&status["status"], &status["details"]["kind"]),
        (&json!("Success"), &json!("configmaps"))
    );
    let both = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Orphan", "orphanDependents": true});
    api.post(&maps, &config_map("both")).await;
    assert_eq!(api.refused("DELETE", &format!("{maps}/both"), &both).await.0, 422);
}

#[tokio::test]
async fn pods_are_deleted_with_grace() {
    let server = Server::start();
    let api = server.api().await;
    let pods = format!("{}/pods", api.namespace("grace").await);
    let mut pod = crate::server::pod("bound");
    pod["spec"]["nodeName"] = json!("n1");
    api.post(&pods, &pod).await;
    let path = format!("{pods}/bound");
    let going = api.delete(&path).await;
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 30);
    let now = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
    Api::expect("now", api.send("DELETE", &path, &now).await);
    assert_eq!(api.refused("GET", &path, &Value::Null).await.0, 404);
    api.post(&pods, &crate::server::pod("unbound")).await;
    api.delete(&format!("{pods}/unbound")).await;
    assert_eq!(
        api.get(&pods).await["items"],
        json!([]),
        "no node has to be waited for"
    );
}
