use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::StatusCode;
use rkind_store::{Store, embedded::EmbeddedStore};
use serde_json::{Value, json};

use super::{config::Config, *};
use crate::tests::{config_map, fixture_of};

fn key(name: &str, length: usize) -> Value {
    json!({"name": name, "secret": STANDARD.encode(vec![name.as_bytes()[0]; length])})
}

fn config(resources: &[&str], providers: Value) -> String {
    json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
        "resources": [{"resources": resources, "providers": providers}]})
    .to_string()
}

#[test]
fn every_provider_gives_back_what_it_took() {
    let at = "/registry/core/secrets/default/s";
    for (name, length) in [
        ("aescbc", 16),
        ("aescbc", 24),
        ("aescbc", 32),
        ("aesgcm", 16),
        ("aesgcm", 24),
        ("aesgcm", 32),
        ("secretbox", 32),
    ] {
        let config = Config::parse(&config(
            &["secrets"],
            json!([{name: {"keys": [key("k", length)]}}]),
        ))
        .unwrap();
        let rule = config.rule("secrets").unwrap();
        for plain in [&b""[..], b"x", b"0123456789abcdef", &[7; 5000]] {
            let sealed = rule.seal(at, plain).unwrap().unwrap();
            assert!(sealed.starts_with(format!("k8s:enc:{name}:v1:k:").as_bytes()));
            assert_ne!(rule.seal(at, plain).unwrap().unwrap(), sealed, "no two are alike");
            assert_eq!(rule.open(at, &sealed).unwrap(), (Some(plain.to_vec()), false));
            let mut broken = sealed.clone();
            if let (true, Some(last)) = (name != "aescbc", broken.last_mut()) {
                *last ^= 1;
                assert!(rule.open(at, &broken).is_err());
            }
            // AES-GCM knows where the value belongs.
            assert_eq!(rule.open("/elsewhere", &sealed).is_err(), name == "aesgcm");
        }
    }
}

#[test]
fn resources_by_name_and_wildcard() {
    let two = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration", "resources": [
        {"resources": ["secrets", "*.apps"], "providers": [{"secretbox": {"keys": [key("a", 32)]}}]},
        {"resources": ["*."], "providers": [{"identity": {}}]},
        {"resources": ["*.*"], "providers": [{"secretbox": {"keys": [key("b", 32)]}}]},
    ]});
    let config = Config::parse(&two.to_string()).unwrap();
    let under = |resource: &str| {
        let sealed = config.rule(resource).unwrap().seal("k", b"v").unwrap();
        sealed.map(|s| String::from_utf8_lossy(&s[..s.len().min(22)]).into_owned())
    };
    let of = |name: &str| Some(format!("k8s:enc:secretbox:v1:{name}"));
    assert_eq!(under("secrets"), of("a"));
    assert_eq!(under("deployments.apps"), of("a"));
    assert_eq!(under("pods"), None);
    assert_eq!(under("jobs.batch"), of("b"));
}

#[test]
fn configurations_that_are_refused() {
    for (text, why) in [
        ("kind: Other".to_owned(), "expected kind EncryptionConfiguration"),
        (config(&["*"], json!([{"identity": {}}])), "use \"*.*\""),
        (
            config(&["secrets"], json!([])),
            "at least one provider is required",
        ),
        (
            config(&["secrets"], json!([{"kms": {"apiVersion": "v2"}}])),
            "providers[0].kms.name: Required value: name is a mandatory field for a provider",
        ),
        (
            config(
                &["secrets"],
                json!([{"kms": {"apiVersion": "v2", "name": "a:b"}}]),
            ),
            "must not contain ':'",
        ),
        (
            config(
                &["secrets"],
                json!([{"kms": {"apiVersion": "v2", "name": "a", "endpoint": "http://x"}}]),
            ),
            "unsupported scheme \"http\" for KMS provider, only unix is supported",
        ),
        (
            config(
                &["secrets"],
                json!([{"kms": {"name": "a", "endpoint": "unix:///x"}}]),
            ),
            "KMSv1 is not served any more",
        ),
        (
            config(&["secrets"], json!([{"vault": {}}])),
            "provider \"vault\" is not supported",
        ),
        (
            config(&["secrets"], json!([{"aescbc": {"keys": [key("k", 15)]}}])),
            "secret is not of the expected length, got 15",
        ),
        (
            config(
                &["secrets"],
                json!([{"identity": {}, "aescbc": {"keys": [key("k", 16)]}}]),
            ),
            "more than one provider specified",
        ),
    ] {
        let error = Config::parse(&text).err().unwrap();
        assert!(error.contains(why), "{error}");
    }
}

/// Keys are rotated by putting a new one first and writing everything anew; then the old one can go.
#[tokio::test]
async fn secrets_are_ciphertext_below_and_keys_rotate() {
    let dir = tempfile::tempdir().unwrap();
    let below = Arc::new(EmbeddedStore::open(dir.path(), Default::default()).await.unwrap());
    let raw = async || {
        let (entry, _) = below.get("/registry/core/secrets/default/s", None).await.unwrap();
        entry.unwrap().value
    };
    let start = async |config: Option<String>| {
        fixture_of(|o| {
            o.store = below.clone();
            o.features.encryption_provider_config = config.map(Into::into);
        })
        .await
    };
    let uri = "/api/v1/namespaces/default/secrets";
    let plain = start(None).await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "marked"}});
    let (code, _) = plain.send("POST", uri, secret).await;
    assert_eq!(code, StatusCode::CREATED);
    drop(plain);
    assert!(raw().await.own().starts_with(b"{"));

    let rewrite = async |f: &crate::tests::Fixture| {
        let object = f.get(&format!("{uri}/s")).await;
        assert_eq!(object["data"]["k"], STANDARD.encode("marked"));
        let (code, answer) = f.send("PUT", &format!("{uri}/s"), object).await;
        assert_eq!(code, StatusCode::OK, "{answer}");
    };
    let providers = [
        (
            json!([{"aescbc": {"keys": [key("one", 32)]}}, {"identity": {}}]),
            "k8s:enc:aescbc:v1:one:",
        ),
        (
            json!([{"aesgcm": {"keys": [key("two", 16)]}}, {"aescbc": {"keys": [key("one", 32)]}}]),
            "k8s:enc:aesgcm:v1:two:",
        ),
        (
            json!([{"aesgcm": {"keys": [key("three", 32), key("two", 16)]}}]),
            "k8s:enc:aesgcm:v1:three:",
        ),
        (
            json!([{"secretbox": {"keys": [key("four", 32)]}}, {"aesgcm": {"keys": [key("three", 32)]}}]),
            "k8s:enc:secretbox:v1:four:",
        ),
    ];
    for (providers, prefix) in providers {
        let f = start(Some(config(&["secrets"], providers))).await;
        rewrite(&f).await;
        assert!(raw().await.own().starts_with(prefix.as_bytes()), "{prefix}");
        // A second time nothing is stale any more.
        let before = raw().await;
        rewrite(&f).await;
        assert_eq!(raw().await, before);
        let list = f.get(uri).await;
        assert_eq!(list["items"][0]["data"]["k"], STANDARD.encode("marked"));
        f.send(
            "POST",
            "/api/v1/namespaces/default/configmaps",
            config_map(
                &prefix
                    .replace(':', "-")
                    .replace("--", "-")
                    .trim_matches('-')
                    .to_lowercase(),
            ),
        )
        .await;
    }
    let lost = Encrypted::new(
        below.clone(),
        &config(&["secrets"], json!([{"aesgcm": {"keys": [key("two", 16)]}}])),
    )
    .await
    .unwrap();
    let error = lost
        .get("/registry/core/secrets/default/s", None)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "value of key /registry/core/secrets/default/s cannot be read: no matching prefix found"
    );
    // Nothing of a secret stands in the files below, but what else is kept does.
    let f = start(Some(config(
        &["secrets"],
        json!([{"secretbox": {"keys": [key("four", 32)]}}]),
    )))
    .await;
    let hidden = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "t"}, "stringData": {"k": "needle-in-the-log"}});
    f.send("POST", uri, hidden).await;
    let mut files = String::new();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
        files.push_str(&String::from_utf8_lossy(&bytes));
    }
    assert!(files.contains("/registry/core/secrets/default/t"));
    assert!(!files.contains(&STANDARD.encode("needle-in-the-log")));
}

/// One key that is lost costs its resource's lists and its own object, and no more.
#[tokio::test]
async fn what_cannot_be_opened_hides_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let below = Arc::new(EmbeddedStore::open(dir.path(), Default::default()).await.unwrap());
    let start = async |name: &str| {
        fixture_of(|o| {
            o.store = below.clone();
            let providers = json!([{"secretbox": {"keys": [key(name, 32)]}}]);
            o.features.encryption_provider_config = Some(config(&["secrets"], providers).into());
        })
        .await
    };
    let (uri, maps) = (
        "/api/v1/namespaces/default/secrets",
        "/api/v1/namespaces/default/configmaps",
    );
    let secret = |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    let f = start("one").await;
    assert_eq!(f.send("POST", uri, secret("lost")).await.0, StatusCode::CREATED);
    drop(f);
    let f = start("two").await;
    assert_eq!(f.send("POST", maps, config_map("m")).await.0, StatusCode::CREATED);
    assert_eq!(f.send("GET", maps, Value::Null).await.0, StatusCode::OK);
    let (code, error) = f.send("GET", uri, Value::Null).await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
    let why = "unable to transform key \"/registry/core/secrets/default/lost\"";
    assert!(error["message"].as_str().unwrap().contains(why), "{error}");
    assert_eq!(
        f.send("GET", &format!("{uri}/lost"), Value::Null).await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(f.send("POST", uri, secret("new")).await.0, StatusCode::CREATED);
    assert_eq!(
        f.send("GET", &format!("{uri}/new"), Value::Null).await.0,
        StatusCode::OK
    );
    assert_eq!(f.get("/readyz").await, "ok");
    // Whatever removes it below makes the list whole again.
    let at = "/registry/core/secrets/default/lost";
    let (entry, _) = below.get(at, None).await.unwrap();
    below.delete(at, entry.unwrap().mod_revision).await.unwrap();
    let (code, list) = f.send("GET", uri, Value::Null).await;
    assert_eq!(
        (code, list["items"].as_array().unwrap().len()),
        (StatusCode::OK, 1),
        "{list}"
    );
}
