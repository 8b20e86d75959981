//! Service accounts and their tokens. What a kubelet does with a token it asked for is seen on real
//! nodes; here is what it asks for, and what the token is good for.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Ground, cases, message, names};
use crate::server::{Api, pod};

cases! {
    every_namespace_has_the_authority: ["accounts/root-ca"],
    pods_get_a_token: ["accounts/token-mounted"],
    a_projected_token_is_bound_to_its_pod: ["accounts/token-projected"],
    tokens_are_opted_out_of: ["accounts/automount-opt-out"],
    tokens_are_reviewed: ["accounts/token-review"],
    an_account_lives: ["accounts/lifecycle"],
    an_account_is_updated: ["accounts/update"],
    the_issuer_is_discovered: ["accounts/issuer-discovery"],
}

async fn every_namespace_has_the_authority(g: Arc<Ground>) {
    let ns = g.namespace("authority").await;
    let path = format!("{ns}/configmaps/kube-root-ca.crt");
    let pem = g.server.pki().ca_cert;
    let is_right = |map: &Value| map["data"] == json!({"ca.crt": pem});
    let first = g.api.until(&path, is_right).await;
    g.api.delete(&path).await;
    let second = g.api.until(&path, is_right).await;
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    g.api
        .merge(&path, json!({"data": {"ca.crt": "", "more": "x"}}))
        .await;
    g.api.until(&path, is_right).await;
}

/// Asks for a token of an account, as an identity that may be another's.
async fn token(api: &Api, ns: &str, account: &str, user: Option<&str>, spec: Value) -> (u16, Value) {
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let mut headers = vec![("content-type", "application/json")];
    if let Some(user) = user {
        headers.extend([("impersonate-user", user), ("impersonate-group", "system:nodes")]);
    }
    let path = format!("{ns}/serviceaccounts/{account}/token");
    let (code, answer) = api
        .ask("POST", &path, &headers, request.to_string().into_bytes())
        .await;
    (code.as_u16(), answer)
}

/// What the server makes of a token.
async fn review(api: &Api, token: &Value, audiences: Value) -> Value {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": audiences}});
    api.post("/apis/authentication.k8s.io/v1/tokenreviews", &body)
        .await["status"]
        .clone()
}

fn bound_to(pod: &Value) -> Value {
    json!({"kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]})
}

/// A pod on a node of its own, for which the node may ask for tokens.
async fn on_node(g: &Ground, ns: &str, node: &str, mut object: Value) -> Value {
    g.api
        .post("/api/v1/nodes", &json!({"metadata": {"name": node}}))
        .await;
    object["spec"]["nodeName"] = json!(node);
    object["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    g.api.post(&format!("{ns}/pods"), &object).await
}

async fn pods_get_a_token(g: Arc<Ground>) {
    let ns = g.namespace("mounted").await;
    g.api
        .post(
            &format!("{ns}/serviceaccounts"),
            &json!({"metadata": {"name": "mount-test"}}),
        )
        .await;
    let mut object = pod("mounted");
    object["spec"]["serviceAccountName"] = json!("mount-test");
    let made = on_node(&g, &ns, "mounting", object).await;
    let volume = &made["spec"]["volumes"][0];
    assert!(volume["name"].as_str().unwrap().starts_with("kube-api-access-"));
    let sources = &volume["projected"]["sources"];
    assert_eq!(
        sources[0]["serviceAccountToken"],
        json!({"expirationSeconds": 3607, "path": "token"})
    );
    assert_eq!(sources[1]["configMap"]["name"], "kube-root-ca.crt");
    assert_eq!(sources[2]["downwardAPI"]["items"][0]["path"], "namespace");
    let mount = &made["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(
        mount["mountPath"],
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    assert_eq!(
        (&mount["name"], &mount["readOnly"]),
        (&volume["name"], &json!(true))
    );
    // The node asks for it, and no other node may.
    let spec = json!({"expirationSeconds": 3607, "boundObjectRef": bound_to(&made)});
    let (code, refused) = token(&g.api, &ns, "mount-test", Some("system:node:other"), spec.clone()).await;
    assert_eq!(code, 403, "{refused}");
    let (code, given) = token(&g.api, &ns, "mount-test", Some("system:node:mounting"), spec).await;
    assert_eq!(code, 201, "{given}");
    let robot = Api(g
        .server
        .client_with_token(given["status"]["token"].as_str().map(str::to_owned))
        .await);
    let who = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let who = robot
        .post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &who)
        .await;
    let user = &who["status"]["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:mounted:mount-test");
    for group in [
        "system:serviceaccounts",
        "system:serviceaccounts:mounted",
        "system:authenticated",
    ] {
        assert!(
            user["groups"].as_array().unwrap().contains(&json!(group)),
            "{user}"
        );
    }
    assert_eq!(
        user["extra"]["authentication.kubernetes.io/pod-name"],
        json!(["mounted"])
    );
    assert_eq!(
        user["extra"]["authentication.kubernetes.io/node-name"],
        json!(["mounting"])
    );
}

async fn a_projected_token_is_bound_to_its_pod(g: Arc<Ground>) {
    let ns = g.namespace("projected").await;
    let mut object = pod("projected");
    let source = json!({"serviceAccountToken": {"path": "test-token", "audience": "vault"}});
    object["spec"]["volumes"] = json!([{"name": "token", "projected": {"sources": [source]}}]);
    object["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "token", "mountPath": "/tokens"}]);
    let made = on_node(&g, &ns, "projecting", object).await;
    let volume = made["spec"]["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|volume| volume["name"] == "token");
    let volume = &volume.unwrap()["projected"];
    assert_eq!(
        volume["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3600,
        "the default"
    );
    assert_eq!(volume["defaultMode"], 420);
    let spec = json!({"audiences": ["vault"], "boundObjectRef": bound_to(&made)});
    let (code, given) = token(&g.api, &ns, "default", Some("system:node:projecting"), spec).await;
    assert_eq!(code, 201, "{given}");
    let token = &given["status"]["token"];
    assert_eq!(
        review(&g.api, token, json!(["vault"])).await["audiences"],
        json!(["vault"])
    );
    assert_ne!(
        review(&g.api, token, Value::Null).await["authenticated"],
        true,
        "it is for the vault only"
    );
    let now = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
    let path = format!("{ns}/pods/projected");
    Api::expect("delete", g.api.send("DELETE", &path, &now).await);
    assert_ne!(
        review(&g.api, token, json!(["vault"])).await["authenticated"],
        true,
        "the pod is gone"
    );
}

async fn tokens_are_opted_out_of(g: Arc<Ground>) {
    let ns = g.namespace("opting").await;
    for (name, mounts) in [("mount", true), ("nomount", false)] {
        let account = json!({"metadata": {"name": name}, "automountServiceAccountToken": mounts});
        g.api.post(&format!("{ns}/serviceaccounts"), &account).await;
    }
    for (account, of_pod, mounted) in [
        ("default", Value::Null, true),
        ("mount", Value::Null, true),
        ("nomount", Value::Null, false),
        ("default", json!(true), true),
        ("mount", json!(true), true),
        ("nomount", json!(true), true),
        ("default", json!(false), false),
        ("mount", json!(false), false),
        ("nomount", json!(false), false),
    ] {
        let mut object = pod("p");
        object["spec"]["serviceAccountName"] = json!(account);
        if !of_pod.is_null() {
            object["spec"]["automountServiceAccountToken"] = of_pod.clone();
        }
        let made = g.api.post(&format!("{ns}/pods?dryRun=All"), &object).await;
        let mounts = &made["spec"]["containers"][0]["volumeMounts"];
        assert_eq!(mounts.is_array(), mounted, "{account} {of_pod}: {made}");
    }
}

async fn tokens_are_reviewed(g: Arc<Ground>) {
    let ns = g.namespace("reviewed").await;
    g.api
        .post(
            &format!("{ns}/serviceaccounts"),
            &json!({"metadata": {"name": "robot"}}),
        )
        .await;
    let said = g
        .kubectl(
            &["create", "token", "robot", "-n", "reviewed", "--duration=1h"],
            "",
        )
        .await;
    let given = json!(said.trim());
    let seen = review(&g.api, &given, Value::Null).await;
    assert_eq!(
        (&seen["authenticated"], &seen["error"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(seen["user"]["username"], "system:serviceaccount:reviewed:robot");
    assert!(seen["user"]["uid"].is_string());
    let (code, status) = token(&g.api, &ns, "robot", None, json!({"expirationSeconds": 10})).await;
    assert_eq!(code, 422);
    assert!(
        message(&status).contains("may not specify a duration less than 10 minutes"),
        "{status}"
    );
    g.api.delete(&format!("{ns}/serviceaccounts/robot")).await;
    assert_ne!(review(&g.api, &given, Value::Null).await["authenticated"], true);
}

async fn an_account_lives(g: Arc<Ground>) {
    let ns = g.namespace("account-life").await;
    let accounts = format!("{ns}/serviceaccounts");
    let selected = format!("{accounts}?labelSelector=test%3Dyes");
    let begin = g.api.get(&selected).await["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    g.api
        .post(
            &accounts,
            &json!({"metadata": {"name": "alive", "labels": {"test": "yes"}}}),
        )
        .await;
    let one = format!("{accounts}/alive");
    assert_eq!(g.api.get(&one).await["metadata"]["name"], "alive");
    let patch = json!({"automountServiceAccountToken": false})
        .to_string()
        .into_bytes();
    let form = [("content-type", "application/strategic-merge-patch+json")];
    Api::expect("patch", g.api.ask("PATCH", &one, &form, patch).await);
    let everywhere = g
        .api
        .get("/api/v1/serviceaccounts?labelSelector=test%3Dyes")
        .await;
    assert_eq!(everywhere["items"][0]["automountServiceAccountToken"], false);
    g.api.delete(&selected).await;
    assert!(names(&g.api.get(&selected).await).is_empty());
    let watch = format!("{selected}&watch=1&timeoutSeconds=20&resourceVersion={begin}");
    let events = g.api.events(&watch, |seen| seen.len() == 3).await;
    assert_eq!(
        super::watches::shown(&events),
        ["ADDED alive", "MODIFIED alive", "DELETED alive"]
    );
    // The one that every namespace has comes again.
    let default = format!("{accounts}/default");
    let first = g.api.get(&default).await["metadata"]["uid"].clone();
    g.api.delete(&default).await;
    g.api
        .until(&default, |account| account["metadata"]["uid"] != first)
        .await;
}

async fn an_account_is_updated(g: Arc<Ground>) {
    let accounts = format!("{}/serviceaccounts", g.namespace("account-update").await);
    let account = json!({"metadata": {"name": "a"}, "automountServiceAccountToken": false});
    let mut made = g.api.post(&accounts, &account).await;
    assert_eq!(made["automountServiceAccountToken"], false);
    made["automountServiceAccountToken"] = json!(true);
    let updated = g.api.put(&format!("{accounts}/a"), &made).await;
    assert_eq!(updated["automountServiceAccountToken"], true);
}

async fn the_issuer_is_discovered(g: Arc<Ground>) {
    let ns = g.namespace("issuer").await;
    let (_, given) = token(&g.api, &ns, "default", None, json!({})).await;
    let parts: Vec<&str> = given["status"]["token"].as_str().unwrap().split('.').collect();
    let decoded = |part: &str| -> Value {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(part)
            .unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let (header, claims) = (decoded(parts[0]), decoded(parts[1]));
    // A pod reads the documents with its own token: every service account may.
    let robot = Api(g
        .server
        .client_with_token(given["status"]["token"].as_str().map(str::to_owned))
        .await);
    let configuration = robot.get("/.well-known/openid-configuration").await;
    assert_eq!(configuration["issuer"], claims["iss"]);
    assert_eq!(configuration["response_types_supported"], json!(["id_token"]));
    assert_eq!(configuration["subject_types_supported"], json!(["public"]));
    let keys_at = configuration["jwks_uri"].as_str().unwrap();
    assert!(
        keys_at.starts_with("https://") && keys_at.ends_with("/openid/v1/jwks"),
        "{keys_at}"
    );
    let keys = robot.get("/openid/v1/jwks").await;
    let mut keys = keys["keys"].as_array().unwrap().iter();
    let key = keys
        .find(|key| key["kid"] == header["kid"])
        .expect("the key that the token is signed with");
    assert_eq!((&key["use"], &key["alg"]), (&json!("sig"), &header["alg"]));
}
