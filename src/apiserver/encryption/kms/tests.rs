use std::future::{Ready, ready};

use axum::{Router, body::Body, extract::State, routing::post};
use http::{Request as HttpRequest, Response as HttpResponse, StatusCode};
use rkind_store::{Store as _, embedded::EmbeddedStore};
use serde_json::json;
use tokio::net::UnixListener;
use tonic::{Response, Status};

use super::*;
use crate::tests::fixture_of;

/// A plugin whose keys are names: what it encrypts it turns round, and says by which key.
#[derive(Default)]
struct Plugin {
    key: Mutex<String>,
    version: Mutex<String>,
    ill: std::sync::atomic::AtomicBool,
    decrypted: std::sync::atomic::AtomicUsize,
}

/// One method: a message for a message.
struct Method<F>(F);

impl<Q, A, F: Fn(Q) -> Result<A, Status>> tonic::server::UnaryService<Q> for Method<F> {
    type Response = A;
    type Future = Ready<Result<Response<A>, Status>>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        ready((self.0)(request.into_inner()).map(Response::new))
    }
}

async fn answer<Q, A>(
    request: HttpRequest<Body>,
    method: impl Fn(Q) -> Result<A, Status>,
) -> HttpResponse<tonic::body::Body>
where
    Q: prost::Message + Default + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let codec: ProstCodec<A, Q> = ProstCodec::default();
    tonic::server::Grpc::new(codec)
        .unary(Method(method), request)
        .await
}

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

async fn status(
    State(plugin): State<Arc<Plugin>>,
    request: HttpRequest<Body>,
) -> HttpResponse<tonic::body::Body> {
    let ill = plugin.ill.load(std::sync::atomic::Ordering::Relaxed);
    answer(request, move |_: StatusRequest| {
        Ok(StatusResponse {
            version: plugin.version.lock().clone(),
            healthz: if ill { "ill" } else { "ok" }.into(),
            key_id: plugin.key.lock().clone(),
        })
    })
    .await
}

async fn encrypt(
    State(plugin): State<Arc<Plugin>>,
    request: HttpRequest<Body>,
) -> HttpResponse<tonic::body::Body> {
    answer(request, move |question: EncryptRequest| {
        Ok(EncryptResponse {
            ciphertext: reversed(&question.plaintext),
            key_id: plugin.key.lock().clone(),
            annotations: [("by.example.com".to_owned(), b"plugin".to_vec())].into(),
        })
    })
    .await
}

async fn decrypt(
    State(plugin): State<Arc<Plugin>>,
    request: HttpRequest<Body>,
) -> HttpResponse<tonic::body::Body> {
    answer(request, move |question: DecryptRequest| {
        if question.annotations.get("by.example.com").map(Vec::as_slice) != Some(b"plugin") {
            return Err(Status::invalid_argument("whose is this?"));
        }
        let before = plugin
            .decrypted
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tracing::debug!(before, "a seed is told");
        Ok(DecryptResponse {
            plaintext: reversed(&question.ciphertext),
        })
    })
    .await
}

/// Serves a plugin at a socket.
fn serve(path: &std::path::Path, key: &str) -> Arc<Plugin> {
    let plugin = Arc::new(Plugin::default());
    *plugin.key.lock() = key.to_owned();
    *plugin.version.lock() = "v2".to_owned();
    let routes = Router::new()
        .route("/v2.KeyManagementService/Status", post(status))
        .route("/v2.KeyManagementService/Encrypt", post(encrypt))
        .route("/v2.KeyManagementService/Decrypt", post(decrypt))
        .with_state(plugin.clone());
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    plugin
}

#[tokio::test]
async fn seeds_follow_the_plugin_s_key() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kms.sock");
    let plugin = serve(&socket, "one");
    let path = socket.to_str().unwrap();
    let kms = Kms::new("p", path, Duration::from_secs(5));
    assert!(kms.seal("k", b"v").unwrap_err().contains("never made"));
    kms.refresh().await.unwrap();
    let first = kms.seal("k", b"v").unwrap();
    assert!(first.starts_with(b"k8s:enc:kms:v2:p:"));
    assert_ne!(kms.seal("k", b"v").unwrap(), first, "no two are alike");
    let open = |kms: &Arc<Kms>, context: &str, sealed: &[u8]| kms.open(context, &sealed[kms.prefix.len()..]);
    assert_eq!(open(&kms, "k", &first).unwrap(), Ok((b"v".to_vec(), false)));
    assert!(open(&kms, "elsewhere", &first).unwrap().is_err());

    *plugin.key.lock() = "two".to_owned();
    assert_eq!(open(&kms, "k", &first).unwrap(), Ok((b"v".to_vec(), false)));
    kms.refresh().await.unwrap();
    assert_eq!(
        open(&kms, "k", &first).unwrap(),
        Ok((b"v".to_vec(), true)),
        "it is to be written anew"
    );
    let second = kms.seal("k", b"v").unwrap();

    // Another server has to ask for seeds, once for each.
    let other = Kms::new("p", path, Duration::from_secs(5));
    other.refresh().await.unwrap();
    for (sealed, stale) in [(&first, true), (&second, false), (&first, true)] {
        if let Err(locked) = open(&other, "k", sealed) {
            locked.unlock().await.unwrap();
        }
        assert_eq!(open(&other, "k", sealed).unwrap(), Ok((b"v".to_vec(), stale)));
    }
    assert_eq!(plugin.decrypted.load(std::sync::atomic::Ordering::Relaxed), 2);

    plugin.ill.store(true, std::sync::atomic::Ordering::Relaxed);
    let why = kms.refresh().await.unwrap_err();
    assert_eq!(
        why,
        "kmsv2 Provider p is not healthy, error: got unexpected healthz status: ill"
    );
    assert!(
        kms.seal("k", b"v").is_ok(),
        "a seed outlives its plugin for a while"
    );
}

#[tokio::test]
async fn a_server_stores_what_only_the_plugin_can_open() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kms.sock");
    let plugin = serve(&socket, "one");
    let below = Arc::new(
        EmbeddedStore::open(&dir.path().join("store"), Default::default())
            .await
            .unwrap(),
    );
    let config = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [
            {"kms": {"apiVersion": "v2", "name": "p", "endpoint": format!("unix://{}", socket.display())}},
            {"identity": {}}]}]});
    let uri = "/api/v1/namespaces/default/secrets";
    let start = async || {
        fixture_of(|o| {
            o.store = below.clone();
            o.features.encryption_provider_config = Some(config.to_string().into());
        })
        .await
    };
    let f = start().await;
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}});
    let (code, made) = f.send("POST", uri, secret).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let (raw, _) = below.get("/registry/core/secrets/default/s", None).await.unwrap();
    assert!(raw.unwrap().value.own().starts_with(b"k8s:enc:kms:v2:p:"));
    drop(f);
    *plugin.key.lock() = "two".to_owned();
    let f = start().await;
    let read = f.get(&format!("{uri}/s")).await;
    assert_eq!(read["data"]["k"], "dg==");
    let version = read["metadata"]["resourceVersion"].clone();
    let (code, written) = f.send("PUT", &format!("{uri}/s"), read).await;
    assert_eq!(code, StatusCode::OK, "{written}");
    assert_ne!(written["metadata"]["resourceVersion"], version, "the key changed");
}

#[tokio::test]
async fn a_server_is_as_well_as_its_plugin() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kms.sock");
    let plugin = serve(&socket, "one");
    let config = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [
            {"kms": {"apiVersion": "v2", "name": "p", "endpoint": format!("unix://{}", socket.display())}}]}]});
    // Nobody can be asked how well it is between two answers: each server has its own first one.
    for ill in [false, true] {
        plugin.ill.store(ill, std::sync::atomic::Ordering::Relaxed);
        let f = fixture_of(|o| o.features.encryption_provider_config = Some(config.to_string().into())).await;
        for (path, checks) in [("/readyz", true), ("/healthz", true), ("/livez", false)] {
            let (code, text) = f.send("GET", &format!("{path}?verbose"), json!(null)).await;
            let text = text.as_str().unwrap_or_default();
            let good = !(ill && checks);
            assert_eq!(code.is_success(), good, "{path} {ill}: {text}");
            let wanted = if good {
                "[+]kms-providers ok"
            } else {
                "[-]kms-providers failed: reason withheld"
            };
            assert_eq!(text.contains(wanted), checks, "{path} {ill}: {text}");
        }
        assert_eq!(f.send("GET", "/livez", json!(null)).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_plugin_keeps_its_version_and_its_word() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kms.sock");
    let plugin = serve(&socket, "one");
    let kms = Kms::new("p", socket.to_str().unwrap(), Duration::from_secs(5));
    kms.check().await.unwrap();
    // Its word holds for a while.
    plugin.ill.store(true, std::sync::atomic::Ordering::Relaxed);
    kms.check().await.unwrap();
    plugin.ill.store(false, std::sync::atomic::Ordering::Relaxed);
    *plugin.version.lock() = "v2beta1".to_owned();
    let why = kms.refresh().await.unwrap_err();
    assert!(
        why.ends_with("should not change after the initial status response version v2, got v2beta1"),
        "{why}"
    );
}
