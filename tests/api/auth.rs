//! Who a client is and what it may do.

use serde_json::{Value, json};

use crate::server::{Api, Server, config_map};

/// Binds a cluster role to a user.
async fn bind(api: &Api, ns: &str, role: &str, user: &str) {
    let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings");
    let body = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": format!("{role}-{user}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
    api.post(&path, &body).await;
}

#[tokio::test]
async fn anonymous_sees_health_only() {
    let server = Server::start();
    let nobody = Api(server.client_with_token(None).await);
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        let (code, _) = nobody.send("GET", path, &Value::Null).await;
        assert_eq!(code, 200, "{path}");
    }
    for path in [
        "/api/v1/namespaces",
        "/metrics",
        "/openapi/v3",
        "/api",
        "/nonsense",
    ] {
        let (code, reason, message) = nobody.refused("GET", path, &Value::Null).await;
        assert_eq!((code, reason.as_str()), (403, "Forbidden"), "{path}: {message}");
        assert!(message.contains("User \"system:anonymous\" cannot"), "{message}");
    }
    let wrong = Api(server.client_with_token(Some("nonsense".into())).await);
    let (code, reason, _) = wrong.refused("GET", "/healthz", &Value::Null).await;
    assert_eq!(
        (code, reason.as_str()),
        (401, "Unauthorized"),
        "a wrong token is no anonymous client"
    );
}

#[tokio::test]
async fn tokens_live_as_long_as_what_they_are_bound_to() {
    let server = Server::start();
    let api = server.api().await;
    let ns = api.namespace("tokens").await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
    api.post(&format!("{ns}/serviceaccounts"), &account).await;
    let mut pod = crate::server::pod("p");
    pod["spec"]["serviceAccountName"] = json!("robot");
    let pod = api.post(&format!("{ns}/pods"), &pod).await;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600,
        "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": pod["metadata"]["uid"]}}});
    let made = api
        .post(&format!("{ns}/serviceaccounts/robot/token"), &request)
        .await;
    let token = made["status"]["token"].as_str().unwrap().to_owned();
    let review =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let seen = api.post(reviews, &review).await;
    let user = &seen["status"]["user"];
    assert_eq!(user["username"], "system:serviceaccount:tokens:robot");
    assert_eq!(
        user["extra"]["authentication.kubernetes.io/pod-name"],
        json!(["p"])
    );
    let robot = Api(server.client_with_token(Some(token.clone())).await);
    let who = robot
        .post(
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            &json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}),
        )
        .await;
    assert_eq!(who["status"]["userInfo"]["groups"][0], "system:serviceaccounts");
    let other = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": ["elsewhere"]}});
    assert_ne!(api.post(reviews, &other).await["status"]["authenticated"], true);
    let now = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
    Api::expect("delete", api.send("DELETE", &format!("{ns}/pods/p"), &now).await);
    assert_ne!(api.post(reviews, &review).await["status"]["authenticated"], true);
    assert_eq!(robot.refused("GET", &ns, &Value::Null).await.0, 401);
    let mut short = request.clone();
    short["spec"] = json!({"expirationSeconds": 10});
    let (code, _, message) = api
        .refused("POST", &format!("{ns}/serviceaccounts/robot/token"), &short)
        .await;
    assert_eq!(code, 422);
    assert!(
        message.contains("may not specify a duration less than 10 minutes"),
        "{message}"
    );
}

#[tokio::test]
async fn roles_allow_and_nothing_else_does() {
    let server = Server::start();
    let api = server.api().await;
    let ns = api.namespace("roles").await;
    bind(&api, "roles", "edit", "jane").await;
    let jane = |verb: &str, path: String, body: Value| {
        let (api, verb) = (api.clone(), verb.to_owned());
        async move {
            let headers = [("impersonate-user", "jane"), ("content-type", "application/json")];
            let bytes = if body.is_null() {
                vec![]
            } else {
                body.to_string().into_bytes()
            };
            api.ask(&verb, &path, &headers, bytes).await.0.as_u16()
        }
    };
    let maps = format!("{ns}/configmaps");
    assert_eq!(jane("POST", maps.clone(), config_map("a")).await, 201);
    assert_eq!(jane("GET", format!("{maps}/a"), Value::Null).await, 200);
    assert_eq!(jane("DELETE", maps, Value::Null).await, 200);
    assert_eq!(
        jane("GET", "/api/v1/namespaces/default/configmaps".into(), Value::Null).await,
        403
    );
    assert_eq!(jane("GET", "/api/v1/nodes".into(), Value::Null).await, 403);
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/roles/roles".to_owned();
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"},
        "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["*"]}]});
    assert_eq!(
        jane("POST", roles.clone(), role.clone()).await,
        403,
        "edit may not make roles"
    );
    bind(&api, "roles", "admin", "jane").await;
    assert_eq!(
        jane("POST", roles.clone(), role).await,
        403,
        "nobody gives what he has not"
    );
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
    assert_eq!(jane("POST", roles, role).await, 201);
    let rules = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "roles"}});
    let review = api
        .post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", &rules)
        .await;
    assert_eq!(review["status"]["resourceRules"][0]["verbs"], json!(["*"]));
    let headers = [
        ("impersonate-user", "jane"),
        ("impersonate-group", "system:masters"),
    ];
    let (code, nodes) = api.ask("GET", "/api/v1/nodes", &headers, vec![]).await;
    assert_eq!(code.as_u16(), 200, "{nodes}");
}

#[tokio::test]
async fn cluster_roles_aggregate() {
    let server = Server::start();
    let api = server.api().await;
    let base = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    for name in [
        "cluster-admin",
        "admin",
        "edit",
        "view",
        "system:node",
        "system:discovery",
    ] {
        let role = api.get(&format!("{base}/{name}")).await;
        assert_eq!(
            role["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults",
            "{name}"
        );
    }
    let view = api.get(&format!("{base}/view")).await;
    assert_eq!(
        view["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"],
        json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"})
    );
}
