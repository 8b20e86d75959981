use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    UserInfo,
    tests::{
        fixture, fixture_of,
        hooks::{Hook, Reply},
    },
};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

#[tokio::test]
async fn the_reason_names_the_binding() {
    let f = fixture().await;
    let review = |user: &str, group: &str, verb: &str| {
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": user, "groups": [group],
            "resourceAttributes": {"verb": verb, "group": "apps", "resource": "deployments", "namespace": "ns"}}})
    };
    let (_, answer) = f
        .send("POST", REVIEWS, review("jane", "system:nodes", "get"))
        .await;
    assert_eq!(answer["status"], json!({"allowed": false}));
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "devs"}, "subjects": [{"kind": "Group", "name": "devs", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}});
    let ns = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}});
    f.send("POST", "/api/v1/namespaces", ns).await;
    let (code, made) = f
        .send(
            "POST",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/ns/rolebindings",
            binding,
        )
        .await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let (_, answer) = f.send("POST", REVIEWS, review("jane", "devs", "get")).await;
    assert_eq!(
        answer["status"],
        json!({"allowed": true,
            "reason": "RBAC: allowed by RoleBinding \"devs/ns\" of ClusterRole \"view\" to Group \"devs\""})
    );
}

#[tokio::test]
async fn a_webhook_is_asked_in_its_turn() {
    let hook = Hook::start(|_, review| {
        let spec = &review["spec"];
        let status = match spec["user"].as_str() {
            Some("friend") => json!({"allowed": true, "reason": "a friend"}),
            Some("enemy") => json!({"allowed": false, "denied": true, "reason": "an enemy"}),
            _ => json!({"allowed": false, "reason": "who?"}),
        };
        Reply::Json(
            json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "status": status}),
        )
    })
    .await;
    let kubeconfig = json!({
        "clusters": [{"name": "c", "cluster": {
            "server": format!("https://{}/authz", hook.address), "certificate-authority-data": hook.ca_bundle}}],
        "users": [{"name": "u", "user": {}}],
    });
    let f = fixture_of(|o| {
        o.features.authorization.modes = vec!["Webhook".into(), "RBAC".into()];
        o.features.authorization.webhook = Some(kubeconfig.to_string());
    })
    .await;
    let pods = "/api/v1/namespaces/default/pods";
    let ask = async |name: &str| {
        let who = f.server.in_process(UserInfo::new(name, &[]));
        f.send_as(who, "GET", pods, Value::Null, &[]).await
    };
    assert_eq!(ask("friend").await.0, StatusCode::OK);
    let forbidden = "cannot list resource \"pods\" in API group \"\" in the namespace \"default\"";
    for (name, why) in [("enemy", "an enemy"), ("stranger", "who?")] {
        let (code, error) = ask(name).await;
        assert_eq!(code, StatusCode::FORBIDDEN);
        assert_eq!(
            error["message"],
            format!("pods is forbidden: User \"{name}\" {forbidden}: {why}")
        );
    }
    let asked = hook.bodies();
    let seen: Vec<&Value> = asked.iter().map(|r| &r["spec"]).collect();
    assert_eq!(
        seen[0],
        &json!({"user": "friend", "groups": ["system:authenticated"], "resourceAttributes": {
            "namespace": "default", "verb": "list", "version": "v1", "resource": "pods"}})
    );
    assert_eq!(ask("friend").await.0, StatusCode::OK);
    assert_eq!(hook.bodies().len(), seen.len(), "the answer is kept");
}
