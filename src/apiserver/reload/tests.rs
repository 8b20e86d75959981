use axum::body::Body;
use http::{Request, StatusCode};
use rkind_store::Store as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::{
    UserInfo,
    tests::{Fixture, eventually, fixture_of},
};

/// A configuration file that a test writes.
struct Config {
    dir: tempfile::TempDir,
    kind: &'static str,
}

impl Config {
    fn new(kind: &'static str, body: Value) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { dir, kind };
        config.write(body);
        config
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("config")
    }

    /// In one step, as editors and kubelets do.
    fn write(&self, mut body: Value) {
        body["apiVersion"] = json!("apiserver.config.k8s.io/v1");
        body["kind"] = json!(self.kind);
        let beside = self.dir.path().join("new");
        std::fs::write(&beside, body.to_string()).unwrap();
        std::fs::rename(beside, self.path()).unwrap();
    }

    fn text(&self) -> Option<FileText> {
        Some(FileText::read(self.path().to_str().unwrap()).unwrap())
    }
}

/// A reload's counter, once it has a value.
async fn counted(f: &Fixture, subject: &str, status: &str, times: u64) {
    let prefix = format!("apiserver_{subject}_config_controller_automatic_reloads_total{{");
    let wanted = (format!("status=\"{status}\""), format!(" {times}"));
    eventually(&format!("{subject} {status} {times}"), async || {
        let metrics = f.get("/metrics").await;
        let line = metrics
            .as_str()?
            .lines()
            .find(|line| line.starts_with(&prefix) && line.contains(&wanted.0) && line.ends_with(&wanted.1));
        line.map(|_| ())
    })
    .await;
}

async fn nobody(f: &Fixture, path: &str) -> StatusCode {
    let request = Request::get(path).body(Body::empty()).unwrap();
    f.server.router().oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn who_is_believed() {
    let config = Config::new(
        "AuthenticationConfiguration",
        json!({"anonymous": {"enabled": true}}),
    );
    let f = fixture_of(|o| o.features.authentication.authentication_config = config.text()).await;
    assert_eq!(nobody(&f, "/version").await, StatusCode::OK);
    config.write(json!({"anonymous": {"enabled": true, "conditions": [{"path": "/livez"}]}}));
    counted(&f, "authentication", "success", 1).await;
    assert_eq!(nobody(&f, "/version").await, StatusCode::UNAUTHORIZED);
    assert_eq!(nobody(&f, "/livez").await, StatusCode::OK);
    config.write(json!({"jwt": [{}]}));
    counted(&f, "authentication", "failure", 1).await;
    std::fs::remove_file(config.path()).unwrap();
    counted(&f, "authentication", "failure", 2).await;
    assert_eq!(nobody(&f, "/version").await, StatusCode::UNAUTHORIZED);
    assert_eq!(nobody(&f, "/livez").await, StatusCode::OK);
    let metrics = f.get("/metrics").await;
    let info = "apiserver_authentication_config_controller_last_config_info{apiserver_id_hash=\"sha256:";
    assert!(metrics.as_str().unwrap().contains(info));
}

#[tokio::test]
async fn who_is_asked() {
    let chain = |types: &[&str]| {
        let authorizers: Vec<Value> = types
            .iter()
            .map(|t| json!({"type": t, "name": t.to_lowercase()}))
            .collect();
        json!({"authorizers": authorizers})
    };
    let config = Config::new("AuthorizationConfiguration", chain(&["RBAC"]));
    let f = fixture_of(|o| o.features.authorization.authorization_config = config.text()).await;
    let jane = async || {
        let who = f.server.in_process(UserInfo::new("jane", &[]));
        f.send_as(who, "GET", "/api/v1/nodes", Value::Null, &[]).await.0
    };
    assert_eq!(jane().await, StatusCode::FORBIDDEN);
    config.write(chain(&["RBAC", "AlwaysAllow"]));
    counted(&f, "authorization", "success", 1).await;
    assert_eq!(jane().await, StatusCode::OK);
    for (times, refused) in [
        (1, chain(&["AlwaysDeny"])),
        (2, chain(&["Node", "RBAC", "AlwaysAllow"])),
        (3, chain(&[])),
    ] {
        config.write(refused);
        counted(&f, "authorization", "failure", times).await;
        assert_eq!(jane().await, StatusCode::OK);
    }
}

#[tokio::test]
async fn how_values_are_stored() {
    let rule = |keys: &[&str]| {
        let secret = "c2VjcmV0IGlzIHNlY3VyZQ==";
        let keys: Vec<Value> = keys
            .iter()
            .map(|name| json!({"name": name, "secret": secret}))
            .collect();
        json!({"resources": [{"resources": ["secrets"], "providers": [{"aescbc": {"keys": keys}}]}]})
    };
    let uri = "/api/v1/namespaces/default/secrets";
    for followed in [true, false] {
        let config = Config::new("EncryptionConfiguration", rule(&["one"]));
        let f = fixture_of(|o| {
            o.features.encryption_provider_config = config.text();
            o.features.encryption_provider_config_automatic_reload = followed;
        })
        .await;
        let stored = async |name: &str| {
            let secret = json!({"metadata": {"name": name}, "stringData": {"k": "v"}});
            let (code, answer) = f.send("POST", uri, secret).await;
            assert_eq!(code, StatusCode::CREATED, "{answer}");
            let key = format!("/registry/core/secrets/default/{name}");
            let (entry, _) = f.store.get(&key, None).await.unwrap();
            let value = entry.unwrap().value;
            let prefix = value
                .own()
                .splitn(6, |byte| *byte == b':')
                .nth(4)
                .unwrap()
                .to_vec();
            String::from_utf8(prefix).unwrap()
        };
        assert_eq!(stored("a").await, "one");
        config.write(rule(&["two", "one"]));
        if !followed {
            assert_eq!(stored("b").await, "one");
            continue;
        }
        counted(&f, "encryption", "success", 1).await;
        assert_eq!(stored("b").await, "two");
        config.write(rule(&[]));
        counted(&f, "encryption", "failure", 1).await;
        assert_eq!(stored("c").await, "two");
        assert_eq!(f.get(&format!("{uri}/a")).await["data"]["k"], "dg==");
    }
}
