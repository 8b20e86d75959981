use super::*;

#[tokio::test]
async fn rbac_grants_and_refuses() {
    let f = fixture().await;
    let jane = || f.server.in_process(UserInfo::new("jane", &["devs"]));
    let pods = "/api/v1/namespaces/default/pods";
    let (code, error) = f.send_as(jane(), "GET", pods, Value::Null, &[]).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert_eq!(
        error["message"],
        "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "view"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "devs"}]});
    let uri = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    let (code, made) = f.send("POST", uri, binding).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    f.get(pods).await;
    assert_eq!(
        f.send_as(jane(), "GET", pods, Value::Null, &[]).await.0,
        StatusCode::OK
    );
    assert_eq!(
        f.send_as(jane(), "GET", "/api/v1/pods", Value::Null, &[]).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        f.send_as(jane(), "GET", "/apis", Value::Null, &[]).await.0,
        StatusCode::OK
    );

    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}}});
    let uri = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (code, answer) = f.send_as(jane(), "POST", uri, review, &[]).await;
    assert_eq!(
        (code.as_u16(), answer["status"]["allowed"].as_bool()),
        (201, Some(true)),
        "{answer}"
    );
}

#[tokio::test]
async fn nobody_sees_only_health_and_version() {
    let f = fixture().await;
    let ask = |uri: &'static str, token: Option<&'static str>| {
        let router = f.server.router();
        async move {
            let mut request = Request::get(uri);
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            router
                .oneshot(request.body(Body::empty()).unwrap())
                .await
                .unwrap()
                .status()
                .as_u16()
        }
    };
    assert_eq!(ask("/healthz", None).await, 200);
    assert_eq!(ask("/readyz?verbose", None).await, 200);
    assert_eq!(ask("/version", None).await, 200);
    assert_eq!(ask("/apis", None).await, 403);
    assert_eq!(ask("/api/v1/pods", None).await, 403);
    assert_eq!(ask("/version", Some("a.b.c")).await, 401);
}

#[tokio::test]
async fn service_account_tokens() {
    let f = fixture().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot"}});
    f.send("POST", accounts, account).await;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
    let (code, answer) = f.send("POST", &format!("{accounts}/bot/token"), request).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    let token = answer["status"]["token"].as_str().unwrap().to_owned();
    let review =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let (_, answer) = f
        .send(
            "POST",
            "/apis/authentication.k8s.io/v1/tokenreviews",
            review.clone(),
        )
        .await;
    assert_eq!(
        answer["status"]["user"]["username"], "system:serviceaccount:default:bot",
        "{answer}"
    );

    let with_token = Request::get("/apis")
        .header("authorization", format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        f.server.router().oneshot(with_token).await.unwrap().status(),
        StatusCode::OK
    );
    f.send("DELETE", &format!("{accounts}/bot"), Value::Null).await;
    f.get(accounts).await;
    let (_, answer) = f
        .send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
        .await;
    assert_eq!(answer["status"]["authenticated"], false, "{answer}");
}

#[tokio::test]
async fn impersonation_needs_permission() {
    let f = fixture().await;
    let uri = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let headers = [("impersonate-user", "jane"), ("impersonate-group", "devs")];
    let (code, answer) = f.send_as(f.admin(), "POST", uri, body.clone(), &headers).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    assert_eq!(answer["status"]["userInfo"]["username"], "jane");
    let bob = f.server.in_process(UserInfo::new("bob", &[]));
    assert_eq!(
        f.send_as(bob, "POST", uri, body, &headers).await.0,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn nobody_grants_what_they_lack() {
    let f = fixture().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    let binding = |name: &str, role: &str, user: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]})
    };
    f.send("POST", bindings, binding("jane", "admin", "jane")).await;
    let jane = || f.server.in_process(UserInfo::new("jane", &[]));
    let role = |verb: &str, resource: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": format!("{verb}-{resource}")},
            "rules": [{"verbs": [verb], "apiGroups": [""], "resources": [resource]}]})
    };
    let (code, made) = f.send_as(jane(), "POST", roles, role("get", "pods"), &[]).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let (code, error) = f.send_as(jane(), "POST", roles, role("get", "nodes"), &[]).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .ends_with("{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}"),
        "{error}"
    );
    assert_eq!(
        f.send_as(jane(), "POST", bindings, binding("a", "view", "bob"), &[])
            .await
            .0,
        StatusCode::CREATED
    );
    assert_eq!(
        f.send_as(
            jane(),
            "POST",
            bindings,
            binding("b", "cluster-admin", "bob"),
            &[]
        )
        .await
        .0,
        StatusCode::FORBIDDEN
    );
}
