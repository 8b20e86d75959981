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
        let answer = nobody.raw("GET", path, &[], Vec::new()).await;
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
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

/// A token is good while what it is bound to is there.
#[tokio::test]
async fn tokens_are_bound_to_secrets_and_nodes() {
    let server = Server::start();
    let api = server.api().await;
    let ns = api.namespace("bound").await;
    api.post(
        &format!("{ns}/serviceaccounts"),
        &json!({"metadata": {"name": "robot"}}),
    )
    .await;
    let request = |bound: Value| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": bound}});
    let tokens = format!("{ns}/serviceaccounts/robot/token");
    for (kind, collection, extra) in [
        ("Secret", format!("{ns}/secrets"), None),
        (
            "Node",
            "/api/v1/nodes".to_owned(),
            Some("authentication.kubernetes.io/node-name"),
        ),
    ] {
        let made = api.post(&collection, &json!({"metadata": {"name": "b"}})).await;
        let bound = json!({"kind": kind, "apiVersion": "v1", "name": "b", "uid": made["metadata"]["uid"]});
        let answer = api.post(&tokens, &request(bound.clone())).await;
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": answer["status"]["token"]}});
        let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
        let seen = api.post(reviews, &review).await["status"].clone();
        assert_eq!(seen["authenticated"], true, "{kind}: {seen}");
        if let Some(key) = extra {
            assert_eq!(seen["user"]["extra"][key], json!(["b"]));
        }
        api.delete(&format!("{collection}/b")).await;
        let seen = api.post(reviews, &review).await["status"].clone();
        assert_ne!(seen["authenticated"], true, "{kind}: {seen}");
        assert_eq!(api.refused("POST", &tokens, &request(bound)).await.0, 404);
    }
    let other = json!({"kind": "ConfigMap", "apiVersion": "v1", "name": "b"});
    let (code, _, message) = api.refused("POST", &tokens, &request(other)).await;
    assert_eq!(
        (code, message.as_str()),
        (400, "cannot bind token to object of type /v1, Kind=ConfigMap")
    );
}

#[tokio::test]
async fn somebody_else_has_a_uid_and_more() {
    let server = Server::start();
    let api = server.api().await;
    let ask = async |headers: &[(&str, &str)]| {
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
        let headers = [&[("content-type", "application/json")][..], headers].concat();
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let (code, answer) = api.ask("POST", path, &headers, body.into_bytes()).await;
        match code.as_u16() {
            201 => answer["status"]["userInfo"].clone(),
            code => json!([code, answer["message"]]),
        }
    };
    let all = [
        ("impersonate-user", "jane"),
        ("impersonate-uid", "42"),
        ("impersonate-extra-scopes", "a"),
        ("impersonate-extra-scopes", "b"),
        ("impersonate-extra-acme.com%2fproject", "p"),
    ];
    assert_eq!(
        ask(&all).await,
        json!({"username": "jane", "uid": "42", "groups": ["system:authenticated"],
            "extra": {"scopes": ["a", "b"], "acme.com/project": ["p"]}})
    );
    let robot = ask(&[("impersonate-user", "system:serviceaccount:default:robot")]).await;
    assert_eq!(
        robot["groups"],
        json!([
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated"
        ])
    );
    for (header, asked) in [
        (("impersonate-group", "g"), "{Group  g    }"),
        (("impersonate-uid", "4"), "{UID  4  authentication.k8s.io/v1  }"),
        (
            ("impersonate-extra-a", "b"),
            "{UserExtra  b  authentication.k8s.io/v1  a}",
        ),
    ] {
        let said = format!("requested [{asked}] without impersonating a user");
        assert_eq!(ask(&[header]).await, json!([400, said]));
    }
}

/// A start brings back what the default policy lacks, unless its owner wants otherwise.
#[tokio::test]
async fn a_start_mends_the_default_policy() {
    let server = Server::start();
    let api = server.api().await;
    let base = "/apis/rbac.authorization.k8s.io/v1";
    let role = |name: &str| format!("{base}/clusterroles/{name}");
    let (emptied, left) = (role("system:discovery"), role("system:monitoring"));
    let wanted = api.get(&emptied).await["rules"].clone();
    for path in [&emptied, &left] {
        let mut changed = api.get(path).await;
        changed["rules"] = json!([]);
        if *path == left {
            changed["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] =
                json!("false");
        }
        api.put(path, &changed).await;
    }
    let more = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
    let mut extended = api.get(&role("system:basic-user")).await;
    extended["rules"].as_array_mut().unwrap().push(more);
    let extended = api.put(&role("system:basic-user"), &extended).await["rules"].clone();
    let binding = format!("{base}/clusterrolebindings/system:basic-user");
    api.delete(&binding).await;
    let server = server.restart();
    let api = server.api().await;
    assert_eq!(api.get(&emptied).await["rules"], wanted);
    // No rule is none, as in what Go reads from protobuf.
    assert_eq!(api.get(&left).await.get("rules"), Some(&Value::Null));
    assert_eq!(api.get(&role("system:basic-user")).await["rules"], extended);
    assert_eq!(api.get(&binding).await["roleRef"]["name"], "system:basic-user");
}
