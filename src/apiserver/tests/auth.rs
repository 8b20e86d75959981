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
    assert!(answer["status"]["authenticated"].is_null(), "{answer}");
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

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Gives `jane` one rule for everything in the cluster.
async fn grant(f: &Fixture, verbs: &[&str], group: &str, resources: &[&str]) {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "janes"},
        "rules": [{"verbs": verbs, "apiGroups": [group], "resources": resources}]});
    let (code, made) = f.send("POST", &format!("{RBAC}/clusterroles"), role).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "janes"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "janes"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}]});
    let (code, made) = f
        .send("POST", &format!("{RBAC}/clusterrolebindings"), binding)
        .await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
}

#[tokio::test]
async fn nobody_gathers_what_they_lack() {
    let f = fixture().await;
    let roles = format!("{RBAC}/clusterroles");
    grant(
        &f,
        &["get", "create", "update"],
        "rbac.authorization.k8s.io",
        &["clusterroles"],
    )
    .await;
    let jane = || f.server.in_process(UserInfo::new("jane", &[]));
    let gathering = |name: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
            "aggregationRule": {"clusterRoleSelectors": [
                {"matchLabels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}]}})
    };
    let why = "clusterroles.rbac.authorization.k8s.io \"all\" is forbidden: must have cluster-admin privileges to use the aggregationRule";
    let (code, error) = f.send_as(jane(), "POST", &roles, gathering("all"), &[]).await;
    assert_eq!((code.as_u16(), error["message"].as_str()), (403, Some(why)));
    // Nor does she change one that is there, or make one of her own.
    let (code, made) = f.send("POST", &roles, gathering("all")).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let all = format!("{roles}/all");
    let mut changed = f.get(&all).await;
    changed["aggregationRule"] = Value::Null;
    let (code, error) = f.send_as(jane(), "PUT", &all, changed, &[]).await;
    assert_eq!((code.as_u16(), error["message"].as_str()), (403, Some(why)));
    let mut own = f.get(&format!("{roles}/janes")).await;
    own["aggregationRule"] = gathering("x")["aggregationRule"].clone();
    let (code, _) = f
        .send_as(jane(), "PUT", &format!("{roles}/janes"), own, &[])
        .await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert_eq!(
        f.send_as(jane(), "GET", "/api/v1/secrets", Value::Null, &[])
            .await
            .0,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn bindings_are_compared_with_what_their_role_gathers() {
    let f = fixture().await;
    let bindings = format!("{RBAC}/clusterrolebindings");
    grant(
        &f,
        &["create"],
        "rbac.authorization.k8s.io",
        &["clusterrolebindings"],
    )
    .await;
    let gathering = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "all"},
        "aggregationRule": {"clusterRoleSelectors": [
            {"matchExpressions": [{"key": "kubernetes.io/bootstrapping", "operator": "Exists"}]}]}});
    let (code, made) = f.send("POST", &format!("{RBAC}/clusterroles"), gathering).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let bound = |role: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}]})
    };
    let jane = || f.server.in_process(UserInfo::new("jane", &[]));
    let (code, error) = f.send_as(jane(), "POST", &bindings, bound("all"), &[]).await;
    assert_eq!(code, StatusCode::FORBIDDEN, "{error}");
    // What is not there yet may become anything.
    let (code, error) = f.send_as(jane(), "POST", &bindings, bound("later"), &[]).await;
    assert_eq!(
        (code.as_u16(), error["message"].as_str()),
        (
            404,
            Some("clusterroles.rbac.authorization.k8s.io \"later\" not found")
        )
    );
    // Who may bind it needs no more.
    let (code, made) = f.send("POST", &bindings, bound("later")).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
}

#[tokio::test]
async fn updates_and_applies_that_create_need_the_verb() {
    let f = fixture().await;
    grant(&f, &["update", "patch"], "", &["endpoints", "configmaps"]).await;
    let jane = || f.server.in_process(UserInfo::new("jane", &[]));
    let uri = "/api/v1/namespaces/default/endpoints/e";
    let body = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "e"}});
    let (code, error) = f.send_as(jane(), "PUT", uri, body.clone(), &[]).await;
    assert_eq!(
        (code.as_u16(), error["message"].as_str()),
        (
            403,
            Some(
                "endpoints \"e\" is forbidden: User \"jane\" cannot create resource \"endpoints\" in API group \"\" in the namespace \"default\""
            )
        )
    );
    assert_eq!(f.send("PUT", uri, body.clone()).await.0, StatusCode::CREATED);
    assert_eq!(f.send_as(jane(), "PUT", uri, body, &[]).await.0, StatusCode::OK);

    let uri = "/api/v1/namespaces/default/configmaps/m?fieldManager=jane";
    let headers = [("content-type", "application/apply-patch+yaml")];
    let (code, error) = f.send_as(jane(), "PATCH", uri, config_map("m"), &headers).await;
    assert_eq!(code, StatusCode::FORBIDDEN, "{error}");
    let made = f
        .send_as(f.admin(), "PATCH", uri, config_map("m"), &headers)
        .await;
    assert_eq!(made.0, StatusCode::CREATED);
    let (code, _) = f.send_as(jane(), "PATCH", uri, config_map("m"), &headers).await;
    assert_eq!(code, StatusCode::OK);
}

#[tokio::test]
async fn nobody_acts_as_somebody_else_by_an_unreadable_header() {
    let f = fixture().await;
    let uri = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let ask = async |user: &[u8]| {
        let request = Request::post(uri)
            .header("content-type", "application/json")
            .header("impersonate-user", http::HeaderValue::from_bytes(user).unwrap())
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = f.admin().oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice::<Value>(&bytes).unwrap())
    };
    let (code, answer) = ask("j\u{fc}rgen".as_bytes()).await;
    assert_eq!(
        (code, answer["status"]["userInfo"]["username"].as_str()),
        (201, Some("j\u{fc}rgen"))
    );
    let (code, answer) = ask(b"j\xfcrgen").await;
    assert_eq!(code, 400, "{answer}");
}

/// What authorization reads of a query is what a list does.
#[tokio::test]
async fn a_second_selector_opens_nothing() {
    let f = fixture().await;
    for name in ["mine", "other"] {
        let uri = "/api/v1/namespaces/default/configmaps";
        assert_eq!(f.send("POST", uri, config_map(name)).await.0, StatusCode::CREATED);
    }
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "one"},
        "rules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "one"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "one"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}]});
    f.send("POST", &format!("{RBAC}/namespaces/default/roles"), role)
        .await;
    f.send(
        "POST",
        &format!("{RBAC}/namespaces/default/rolebindings"),
        binding,
    )
    .await;
    let jane = || f.server.in_process(UserInfo::new("jane", &[]));
    let uri = "/api/v1/namespaces/default/configmaps?fieldSelector=metadata.name%3Dmine&fieldSelector=";
    let (code, list) = f.send_as(jane(), "GET", uri, Value::Null, &[]).await;
    assert_eq!(code, StatusCode::OK, "{list}");
    let names: Vec<&str> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect();
    assert_eq!(names, ["mine"]);
}
