use std::time::Duration;

use super::*;

#[test]
fn nothing_given_is_the_default() {
    assert_eq!(Features::given([]).unwrap(), Features::default());
}

#[test]
fn values_have_upstream_s_forms() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.csv");
    std::fs::write(&file, "t,jane,1").unwrap();
    let features = Features::given([
        ("runtime-config", "api/beta=true,apps/v1/daemonsets=false"),
        ("runtime-config", "batch/v1"),
        ("token-auth-file", file.to_str().unwrap()),
        ("anonymous-auth", "false"),
        ("authorization-webhook-cache-authorized-ttl", "1m30s"),
        ("oidc-issuer-url", "https://issuer"),
        ("oidc-required-claim", "a=b=c"),
        ("oidc-required-claim", "d="),
        ("max-requests-inflight", "7"),
        ("goaway-chance", "0.001"),
        ("audit-log-compress", "true"),
    ])
    .unwrap();
    let said: Vec<(&str, &str)> = features
        .runtime_config
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            ("api/beta", "true"),
            ("apps/v1/daemonsets", "false"),
            ("batch/v1", "")
        ]
    );
    let authn = &features.authentication;
    let tokens = authn.token_auth_file.as_ref().unwrap();
    assert_eq!((&**tokens, tokens.path()), ("t,jane,1", file.as_path()));
    assert_eq!(authn.anonymous_auth, Some(false));
    let oidc = authn.oidc.as_ref().unwrap();
    assert_eq!(oidc.oidc_username_claim, "sub");
    assert_eq!(oidc.oidc_signing_algs, ["RS256"]);
    let claim = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(oidc.oidc_required_claim, [claim("a", "b=c"), claim("d", "")]);
    let ttl = features.authorization.authorization_webhook_cache_authorized_ttl;
    assert_eq!(ttl, Duration::from_secs(90));
    assert_eq!(features.flow_control.max_requests_inflight, 7);
    assert!((features.serving.goaway_chance - 0.001).abs() < f64::EPSILON);
    assert!(features.audit.audit_log_compress);
}

#[test]
fn what_cannot_be_set_is_named() {
    for (flag, value, why) in [
        ("anonymous", "true", "is no flag of the API server"),
        (
            "goaway-chance",
            "0.5",
            "can not be less than 0 or greater than 0.02",
        ),
        ("request-timeout", "5", "time: invalid duration \"5\""),
        ("request-timeout", "-5s", "time: invalid duration \"-5s\""),
        ("max-requests-inflight", "many", "invalid value \"many\""),
        ("anonymous-auth", "maybe", "possible: true, false"),
        ("oidc-signing-algs", "HS256", "possible: RS256"),
        ("tls-min-version", "TLS1.3", "possible: VersionTLS10"),
        ("audit-policy-file", "/does/not/exist", "No such file"),
    ] {
        let misuse = Features::given([("enable-admission-plugins", ""), (flag, value)]).unwrap_err();
        assert_eq!(misuse.flag, flag);
        assert!(misuse.why.contains(why), "{misuse}");
    }
}

#[test]
fn what_lies_in_a_node_is_not_looked_for() {
    let fine = [
        ("audit-policy-file", "/etc/kubernetes/policy.yaml"),
        ("runtime-config", "api/all=true"),
        ("enable-bootstrap-token-auth", "true"),
    ];
    assert_eq!(Features::check(fine), Ok(()));
    let wrong = Features::check([
        ("audit-policy-file", "policy.yaml"),
        ("nonsense", "1"),
        ("runtime-config", "example.com/v1=true"),
    ]);
    let told: Vec<String> = wrong.unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "--audit-policy-file: \"policy.yaml\" is no absolute path in the node",
            "--nonsense: is no flag of the API server",
            "--runtime-config: unknown api groups example.com",
        ]
    );
}
