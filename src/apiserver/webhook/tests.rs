use serde_json::json;

use super::*;

#[test]
fn a_client_config_names_a_url_or_a_service() {
    let target = Target::of(&json!({"service": {"namespace": "n", "name": "s", "path": "/p"}})).unwrap();
    assert_eq!(target.url, "https://s.n.svc:443/p");
    assert_eq!(target.service.unwrap().port, 443);
    let target = Target::of(&json!({"service": {"namespace": "n", "name": "s", "port": 8443}})).unwrap();
    assert_eq!(target.url, "https://s.n.svc:8443/");
    let target = Target::of(&json!({"url": "https://h/x", "caBundle": "YQ=="})).unwrap();
    assert_eq!(
        (target.url.as_str(), target.ca_bundle.as_slice()),
        ("https://h/x", b"a".as_slice())
    );
    assert_eq!(
        Target::of(&json!({})).unwrap_err().to_string(),
        "webhook configuration must have either service or URL"
    );
}

#[test]
fn answers_read_as_upstreams_client_reads_them() {
    let of = |code: u16, body: &'static str| {
        answer(
            StatusCode::from_u16(code).unwrap(),
            &Bytes::from_static(body.as_bytes()),
        )
    };
    assert_eq!(of(200, "{\"a\":1}").unwrap(), json!({"a": 1}));
    let cases = [
        (404, "", "the server could not find the requested resource"),
        (
            500,
            "boom\n",
            "an error on the server (\"boom\") has prevented the request from succeeding",
        ),
        (503, "{\"kind\":\"Status\",\"message\":\"later\"}", "later"),
        (
            302,
            "",
            "the server responded with the status code 302 but did not return more information",
        ),
    ];
    for (code, body, message) in cases {
        let error = of(code, body).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    assert!(of(200, "no").is_err());
}

mod calls {
    use crate::tests::{
        fixture,
        hooks::{Hook, Reply},
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn core(f: &crate::tests::Fixture) -> &crate::core::Core {
        &f.server.core
    }

    #[tokio::test]
    async fn a_url_is_asked_over_tls() {
        let f = fixture().await;
        let hook = Hook::start(|path, body| match path {
            "/echo?timeout=2s" => Reply::Json(body.clone()),
            _ => Reply::Text(500, "no".into()),
        })
        .await;
        let target = Target::of(&hook.by_url("/echo")).unwrap();
        let post = |timeout, tell| core(&f).webhooks.post(&target, &Value::Null, timeout, tell);
        let answer = core(&f)
            .webhooks
            .post(&target, &json!({"a": 1}), SECOND * 3 / 2, true)
            .await;
        assert_eq!(answer.unwrap(), json!({"a": 1}));
        assert!(post(SECOND, false).await.is_err());
        assert_eq!(hook.paths(), ["/echo?timeout=2s", "/echo"]);
        assert_eq!(hook.bodies()[0], json!({"a": 1}));
    }

    #[tokio::test]
    async fn what_goes_wrong_reads_as_upstreams() {
        let f = fixture().await;
        let hook = Hook::start(|_, _| Reply::Hang).await;
        let at = hook.address;
        let post = async |config: Value| {
            let target = Target::of(&config).unwrap();
            let done = core(&f).webhooks.post(&target, &Value::Null, SECOND, false).await;
            done.unwrap_err().to_string()
        };
        let late = post(hook.by_url("/x")).await;
        assert_eq!(
            late,
            format!("Post \"https://{at}/x\": context deadline exceeded")
        );
        let mut stranger = hook.by_url("/x");
        stranger["caBundle"] = Value::String(Hook::start(|_, _| Reply::Hang).await.ca_bundle);
        let error = post(stranger).await;
        assert!(
            error.ends_with(
                "tls: failed to verify certificate: x509: certificate signed by unknown authority"
            ),
            "{error}"
        );
        let missing =
            post(json!({"service": {"namespace": "default", "name": "s"}, "caBundle": hook.ca_bundle}));
        assert_eq!(
            missing.await,
            "Post \"https://s.default.svc:443/\": services \"s\" not found"
        );
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let refused = post(json!({"url": format!("https://{free}/"), "caBundle": hook.ca_bundle})).await;
        assert!(
            refused.ends_with(&format!("dial tcp {free}: connect: connection refused")),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn a_service_is_dialled_at_a_ready_endpoint() {
        let f = fixture().await;
        let hook = Hook::start(|_, _| Reply::Json(json!({"ok": true}))).await;
        let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"name": "https", "port": 443}]}});
        assert_eq!(
            f.send("POST", "/api/v1/namespaces/default/services", service)
                .await
                .0,
            201
        );
        let target = Target::of(&json!({
            "service": {"namespace": "default", "name": "s"}, "caBundle": hook.ca_bundle}));
        let target = target.unwrap();
        let post = || core(&f).webhooks.post(&target, &Value::Null, SECOND * 5, false);
        core(&f).cache.catch_up().await.unwrap();
        let error = post().await.unwrap_err().to_string();
        assert!(
            error.ends_with("no endpoints available for service \"s\""),
            "{error}"
        );
        // The API takes no loopback endpoint; the store does.
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "s-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "s"}},
            "ports": [{"name": "https", "port": hook.address.port()}],
            "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": false}}, {"addresses": ["127.0.0.1"]}]});
        rkind_store::Store::create(
            &*f.store,
            "/registry/discovery.k8s.io/endpointslices/default/s-1",
            slice.to_string().into(),
        )
        .await
        .unwrap();
        core(&f).cache.catch_up().await.unwrap();
        assert_eq!(post().await.unwrap(), json!({"ok": true}));
    }
}
