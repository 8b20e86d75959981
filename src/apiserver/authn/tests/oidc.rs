//! Providers of identity tokens.

use super::*;

/// A provider with one ES256 key: its server, and a signer of tokens.
async fn provider() -> (Hook, jwt::Signer, String) {
    provider_of(|_| None).await
}

/// With answers of the test's own.
async fn provider_of(
    more: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static,
) -> (Hook, jwt::Signer, String) {
    let keys = ClusterPki::generate().unwrap().to_pem();
    let signer = jwt::Signer::from_pem(&keys.sa_private_key, &keys.sa_public_key).unwrap();
    let verifier = jwt::Verifier::from_pem(&[keys.sa_public_key]).unwrap();
    let jwks = verifier.jwks();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let url = format!("https://{address}");
    let issuer = url.clone();
    let hook = Hook::start_at(&address, move |path, _| match path {
        "/.well-known/openid-configuration" => {
            Reply::Json(json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}))
        }
        path => more(path).unwrap_or_else(|| Reply::Json(jwks.clone())),
    })
    .await;
    (hook, signer, url)
}

#[tokio::test]
async fn an_openid_provider_vouches() {
    let (hook, signer, url) = provider().await;
    let ca = String::from_utf8(STANDARD.decode(&hook.ca_bundle).unwrap()).unwrap();
    let config = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {"url": url, "audiences": ["kube"], "certificateAuthority": ca},
            "claimValidationRules": [{"claim": "hd", "requiredValue": "acme"}],
            "claimMappings": {
                "username": {"claim": "email", "prefix": "oidc:"},
                "groups": {"claim": "roles", "prefix": "r:"},
                "uid": {"claim": "sub"},
                "extra": [{"key": "acme.com/tenant", "valueExpression": "claims.tenant"}],
            },
        }],
    });
    let f = fixture_of(|o| o.features.authentication.authentication_config = Some(config.to_string().into()))
        .await;
    let now = jiff::Timestamp::now().as_second();
    let good = json!({"iss": url, "aud": "kube", "exp": now + 600, "sub": "7", "email": "a@b.c", "hd": "acme",
        "roles": ["x", "y"], "tenant": "t", "jti": "j"});
    let token = |edit: &dyn Fn(&mut Value)| {
        let mut claims = good.clone();
        edit(&mut claims);
        bearer(&signer.sign(&claims).unwrap())
    };
    let user = whoami(&f, &[("authorization", &token(&|_| {}))], None)
        .await
        .unwrap();
    assert_eq!(
        user,
        json!({"username": "oidc:a@b.c", "uid": "7", "groups": ["r:x", "r:y", "system:authenticated"],
            "extra": {"acme.com/tenant": ["t"], "authentication.kubernetes.io/credential-id": ["JTI=j"]}})
    );
    for (what, edit) in [
        (
            "expired",
            Box::new(|c: &mut Value| c["exp"] = json!(now - 1)) as Box<dyn Fn(&mut Value)>,
        ),
        ("audience", Box::new(|c: &mut Value| c["aud"] = json!(["other"]))),
        (
            "required claim",
            Box::new(|c: &mut Value| c["hd"] = json!("evil")),
        ),
        (
            "email",
            Box::new(|c: &mut Value| c["email_verified"] = json!(false)),
        ),
        ("username", Box::new(|c: &mut Value| c["email"] = Value::Null)),
    ] {
        let token = token(&*edit);
        assert_eq!(
            whoami(&f, &[("authorization", &token)], None).await,
            Err(401),
            "{what}"
        );
    }
    let keys = ClusterPki::generate().unwrap().to_pem();
    let forger = jwt::Signer::from_pem(&keys.sa_private_key, &keys.sa_public_key).unwrap();
    let forged = bearer(&forger.sign(&good).unwrap());
    assert_eq!(whoami(&f, &[("authorization", &forged)], None).await, Err(401));
}

#[tokio::test]
async fn groups_may_be_kept_elsewhere() {
    let kept: Arc<parking_lot::Mutex<String>> = Arc::default();
    let told = kept.clone();
    let (hook, signer, url) = provider_of(move |path| {
        (path == "/groups").then(|| match told.lock().clone() {
            none if none.is_empty() => Reply::Text(500, String::new()),
            token => Reply::Text(200, token),
        })
    })
    .await;
    let ca = String::from_utf8(STANDARD.decode(&hook.ca_bundle).unwrap()).unwrap();
    let config = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {"url": url, "audiences": ["kube"], "certificateAuthority": ca},
            "claimMappings": {"username": {"claim": "sub", "prefix": ""}, "groups": {"claim": "groups", "prefix": ""}},
        }],
    });
    let f = fixture_of(|o| o.features.authentication.authentication_config = Some(config.to_string().into()))
        .await;
    let exp = jiff::Timestamp::now().as_second() + 600;
    let claims = |more: Value| {
        let mut claims = json!({"iss": url, "aud": "kube", "exp": exp, "sub": "jane"});
        claims
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        signer.sign(&claims).unwrap()
    };
    let names = json!({"groups": "src"});
    let there = json!({"src": {"endpoint": format!("{url}/groups"), "access_token": "secret"}});
    let elsewhere = || bearer(&claims(json!({"_claim_names": names, "_claim_sources": there})));
    *kept.lock() = claims(json!({"groups": ["team"]}));
    let user = whoami(&f, &[("authorization", &elsewhere())], None)
        .await
        .unwrap();
    assert_eq!(user["groups"], json!(["team", "system:authenticated"]));
    assert!(hook.shown().contains(&"Bearer secret".to_owned()));
    // What the token says itself holds.
    let own = claims(json!({"groups": ["own"], "_claim_names": names, "_claim_sources": there}));
    let user = whoami(&f, &[("authorization", &bearer(&own))], None)
        .await
        .unwrap();
    assert_eq!(user["groups"], json!(["own", "system:authenticated"]));
    // An aggregated claim is not read.
    let inside = claims(json!({"_claim_names": names, "_claim_sources": {"src": {"JWT": "x"}}}));
    let user = whoami(&f, &[("authorization", &bearer(&inside))], None)
        .await
        .unwrap();
    assert_eq!(user["groups"], json!(["system:authenticated"]));
    let nowhere = claims(json!({"_claim_names": names, "_claim_sources": {}}));
    assert_eq!(
        whoami(&f, &[("authorization", &bearer(&nowhere))], None).await,
        Err(401)
    );
    let keys = ClusterPki::generate().unwrap().to_pem();
    let forger = jwt::Signer::from_pem(&keys.sa_private_key, &keys.sa_public_key).unwrap();
    let forged = json!({"iss": url, "aud": "kube", "exp": exp, "groups": ["system:masters"]});
    let late = claims(json!({"groups": ["team"], "exp": exp - 1200}));
    for wrong in [
        forger.sign(&forged).unwrap(),
        late,
        claims(json!({})),
        "none".to_owned(),
        String::new(),
    ] {
        *kept.lock() = wrong.clone();
        let refused = whoami(&f, &[("authorization", &elsewhere())], None).await;
        assert_eq!(refused, Err(401), "{wrong}");
    }
}

#[tokio::test]
async fn expressions_map_claims_and_judge() {
    let (hook, signer, url) = provider().await;
    let ca = String::from_utf8(STANDARD.decode(&hook.ca_bundle).unwrap()).unwrap();
    let config = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {"url": url, "audiences": ["kube"], "certificateAuthority": ca},
            "claimValidationRules": [
                {"expression": "claims.exp - claims.nbf <= 3600", "message": "too long"},
                {"expression": "claims.?email_verified.orValue(true) == true", "message": "not verified"}],
            "claimMappings": {
                "username": {"expression": "'idp:' + claims.email"},
                "groups": {"expression": "claims.roles.split(',').map(r, 'r:' + r)"},
                "uid": {"expression": "string(claims.number)"},
                "extra": [
                    {"key": "acme.com/tenant", "valueExpression": "claims.org.tenant"},
                    {"key": "acme.com/none", "valueExpression": "claims.?missing.orValue('')"}],
            },
            "userValidationRules": [
                {"expression": "!user.username.startsWith('idp:system:')", "message": "reserved"},
                {"expression": "user.groups.all(g, !g.startsWith('system:'))", "message": "reserved group"}],
        }],
    });
    let f = fixture_of(|o| o.features.authentication.authentication_config = Some(config.to_string().into()))
        .await;
    let now = jiff::Timestamp::now().as_second();
    let token = |edit: &dyn Fn(&mut Value)| {
        let mut claims = json!({"iss": url, "aud": "kube", "nbf": now, "exp": now + 600, "email": "a@b.c",
            "roles": "x,y", "number": 7, "org": {"tenant": ["t", "", "u"]}});
        edit(&mut claims);
        bearer(&signer.sign(&claims).unwrap())
    };
    let user = whoami(&f, &[("authorization", &token(&|_| {}))], None)
        .await
        .unwrap();
    assert_eq!(
        user,
        json!({"username": "idp:a@b.c", "uid": "7", "groups": ["r:x", "r:y", "system:authenticated"],
            "extra": {"acme.com/tenant": ["t", "u"]}})
    );
    for (what, edit) in [
        (
            "a claim rule",
            Box::new(|c: &mut Value| c["exp"] = json!(now + 7200)) as Box<dyn Fn(&mut Value)>,
        ),
        (
            "a user rule",
            Box::new(|c: &mut Value| c["email"] = json!("system:admin")),
        ),
        ("an empty claim", Box::new(|c: &mut Value| c["email"] = json!(5))),
        ("a missing claim", Box::new(|c: &mut Value| c["org"] = json!({}))),
        (
            "no list of texts",
            Box::new(|c: &mut Value| c["org"]["tenant"] = json!([1])),
        ),
    ] {
        let token = token(&*edit);
        assert_eq!(
            whoami(&f, &[("authorization", &token)], None).await,
            Err(401),
            "{what}"
        );
    }
}
