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
        o.features.authorization.authorization_mode = vec!["Webhook".into(), "RBAC".into()];
        o.features.authorization.authorization_webhook_config_file = Some(kubeconfig.to_string().into());
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
        &json!({"user": "friend", "group": ["system:authenticated"], "resourceAttributes": {
            "namespace": "default", "verb": "list", "version": "v1", "resource": "pods"}})
    );
    assert_eq!(ask("friend").await.0, StatusCode::OK);
    assert_eq!(hook.bodies().len(), seen.len(), "the answer is kept");
}

/// A webhook that allows whom `allows` says, and a file with its kubeconfig.
async fn authorizer(dir: &std::path::Path, name: &str, allows: fn(&Value) -> bool) -> (Hook, String) {
    let hook = Hook::start(move |_, review| {
        Reply::Json(
            json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "status": {"allowed": allows(&review["spec"])}}),
        )
    })
    .await;
    let path = dir.join(name);
    let kubeconfig = json!({"clusters": [{"name": "c", "cluster": {
        "server": format!("https://{}/authz", hook.address), "certificate-authority-data": hook.ca_bundle}}]});
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    (hook, path.display().to_string())
}

#[tokio::test]
async fn a_configuration_orders_authorizers_and_says_whom_to_ask() {
    let dir = tempfile::tempdir().unwrap();
    let (first, first_file) = authorizer(dir.path(), "first", |spec| spec["user"] == "friend").await;
    // Nobody answers at the second one.
    let second_file = dir.path().join("second").display().to_string();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let kubeconfig = json!({"clusters": [{"name": "c", "cluster": {"server": format!("https://{closed}")}}]});
    std::fs::write(&second_file, kubeconfig.to_string()).unwrap();
    let webhook = |name: &str, file: &str, policy: &str, condition: &str| {
        json!({"type": "Webhook", "name": name, "webhook": {
            "timeout": "3s", "subjectAccessReviewVersion": "v1", "failurePolicy": policy,
            "matchConditionSubjectAccessReviewVersion": "v1", "authorizedTTL": "10s", "cacheAuthorizedRequests": false,
            "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": file},
            "matchConditions": [{"expression": condition}]}})
    };
    let config = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration", "authorizers": [
        webhook("first", &first_file, "NoOpinion",
            "has(request.resourceAttributes) && request.resourceAttributes.resource == 'pods' && !('skipped' in request.groups)"),
        webhook("second", &second_file, "Deny", "request.user == 'enemy' || request.extra['k'][0] == 'v'"),
        {"type": "RBAC", "name": "rbac"}]});
    let f =
        fixture_of(|o| o.features.authorization.authorization_config = Some(config.to_string().into())).await;
    let ask = async |name: &str, group: &str, path: &str| {
        let mut user = UserInfo::new(name, &[group]);
        user.extra.insert("k".into(), vec!["w".into()]);
        let who = f.server.in_process(user);
        f.send_as(who, "GET", path, Value::Null, &[]).await
    };
    let pods = "/api/v1/namespaces/default/pods?fieldSelector=spec.nodeName%3Dn&labelSelector=a%3Db,c+notin+(e,d),!f,g%3E1";
    assert_eq!(ask("friend", "g", pods).await.0, StatusCode::OK);
    let spec = &first.bodies()[0]["spec"];
    assert_eq!(spec["groups"], json!(["g", "system:authenticated"]));
    assert_eq!(
        spec["resourceAttributes"]["fieldSelector"],
        json!({"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["n"]}]})
    );
    assert_eq!(
        spec["resourceAttributes"]["labelSelector"],
        json!({"requirements": [{"key": "a", "operator": "In", "values": ["b"]},
            {"key": "c", "operator": "NotIn", "values": ["d", "e"]}, {"key": "f", "operator": "DoesNotExist"}]})
    );
    assert_eq!(ask("friend", "g", pods).await.0, StatusCode::OK);
    assert_eq!(first.bodies().len(), 2, "consent is not kept");
    assert_eq!(ask("friend", "skipped", pods).await.0, StatusCode::FORBIDDEN);
    assert_eq!(ask("friend", "g", "/api/v1/nodes").await.0, StatusCode::FORBIDDEN);
    assert_eq!(first.bodies().len(), 2, "conditions keep questions back");
    let (code, denied) = ask("enemy", "g", "/version").await;
    assert_eq!(code, StatusCode::FORBIDDEN, "nobody after it is asked: {denied}");
    assert_eq!(ask("stranger", "g", "/version").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_condition_that_fails_counts_as_the_policy_says() {
    let dir = tempfile::tempdir().unwrap();
    let (hook, file) = authorizer(dir.path(), "hook", |_| true).await;
    for (policy, code) in [("NoOpinion", StatusCode::OK), ("Deny", StatusCode::FORBIDDEN)] {
        let config = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- type: Webhook\n  name: w\n  webhook:\n    timeout: 3s\n    subjectAccessReviewVersion: v1\n    matchConditionSubjectAccessReviewVersion: v1\n    failurePolicy: {policy}\n    connectionInfo: {{type: KubeConfigFile, kubeConfigFile: {file}}}\n    matchConditions:\n    - expression: request.resourceAttributes.verb == 'get'\n- type: RBAC\n  name: rbac\n"
        );
        let f = fixture_of(|o| o.features.authorization.authorization_config = Some(config.into())).await;
        let who = f.server.in_process(UserInfo::new("jane", &[]));
        let (got, _) = f.send_as(who, "GET", "/version", Value::Null, &[]).await;
        assert_eq!(got, code, "{policy}");
    }
    assert_eq!(hook.bodies().len(), 0);
}

#[test]
fn configurations_that_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kubeconfig");
    std::fs::write(&file, "{}").unwrap();
    let connection = format!(
        "connectionInfo: {{type: KubeConfigFile, kubeConfigFile: {}}}",
        file.display()
    );
    let webhook = |rest: &str| format!("[{{type: Webhook, name: w, webhook: {{{rest}}}}}]");
    let whole = format!("timeout: 3s, subjectAccessReviewVersion: v1, failurePolicy: Deny, {connection}");
    for (authorizers, why) in [
        (
            "[]".to_owned(),
            "authorizers: Required value: at least one authorization mode must be defined",
        ),
        (
            "[{type: Magic, name: a}]".to_owned(),
            "authorizers[0].type: Unsupported value: \"Magic\": supported values: \"ABAC\", \"AlwaysAllow\", \"AlwaysDeny\", \"Node\", \"RBAC\", \"Webhook\"",
        ),
        (
            "[{type: RBAC, name: a}, {type: RBAC, name: b}]".to_owned(),
            "authorizers[1].type: Duplicate value: \"RBAC\"",
        ),
        ("[{type: RBAC}]".to_owned(), "authorizers[0].name: Required value"),
        (
            "[{type: RBAC, name: a}, {type: Node, name: a}]".to_owned(),
            "authorizers[1].name: Duplicate value: \"a\"",
        ),
        (
            "[{type: Webhook, name: a}]".to_owned(),
            "authorizers[0].webhook: Required value: required when type=Webhook",
        ),
        (
            webhook("failurePolicy: Maybe"),
            "[authorizers[0].timeout: Required value, authorizers[0].subjectAccessReviewVersion: Required value, authorizers[0].failurePolicy: Unsupported value: \"Maybe\": supported values: \"Deny\", \"NoOpinion\", authorizers[0].connectionInfo.type: Required value]",
        ),
        (
            webhook(&whole.replace("3s", "31s")),
            "authorizers[0].timeout: Invalid value: \"31s\": must be > 0s and <= 30s",
        ),
        (
            webhook(&format!("{whole}, matchConditions: [{{expression: 'true'}}]")),
            "authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified",
        ),
        (
            webhook(&format!(
                "{whole}, matchConditionSubjectAccessReviewVersion: v1, matchConditions: [{{expression: request.user}}]"
            )),
            "authorizers[0].matchConditions[0].expression: Invalid value: \"request.user\": must evaluate to bool but got string",
        ),
        (
            webhook(&whole.replace(&file.display().to_string(), "relative")),
            "authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"relative\": must be an absolute path",
        ),
    ] {
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: {authorizers}"
        );
        assert_eq!(
            super::config::parse(&text).err().as_deref(),
            Some(why),
            "{authorizers}"
        );
    }
}
