//! A webhook for tests: a real TLS server whose answers are a closure.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::Engine as _;
use hyper_util::rt::TokioIo;
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use tokio::net::TcpListener;

use super::*;

/// What a hook does with a request's path and body.
pub(crate) enum Reply {
    /// 200 with this JSON.
    Json(Value),
    /// This code with this text.
    Text(u16, String),
    /// Never.
    Hang,
}

/// A running webhook.
pub(crate) struct Hook {
    /// Base64 of its authority's PEM.
    pub(crate) ca_bundle: String,
    pub(crate) address: SocketAddr,
    /// Paths with query, and bodies, in order.
    calls: Arc<Mutex<Vec<(String, Value)>>>,
    /// `Authorization` of each.
    shown: Arc<Mutex<Vec<String>>>,
}

impl Hook {
    /// Serves `localhost`, 127.0.0.1 and the Service `s` of namespace `default`.
    pub(crate) async fn start(answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Hook {
        Hook::start_at("127.0.0.1:0", answer).await
    }

    pub(crate) async fn start_at(
        address: &str,
        answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static,
    ) -> Hook {
        let names = [
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "s.default.svc".to_owned(),
        ];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let pem = made.cert.pem();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let shown: Arc<Mutex<Vec<String>>> = Arc::default();
        let (answer, seen, credentials) = (Arc::new(answer), calls.clone(), shown.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer, seen) = (acceptor.clone(), answer.clone(), seen.clone());
                let credentials = credentials.clone();
                tokio::spawn(async move {
                    // A client that does not believe us ends the handshake.
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = hyper::service::service_fn(move |request: Request<_>| {
                        let (answer, seen) = (answer.clone(), seen.clone());
                        let shown = request.headers().get("authorization");
                        let shown = shown.and_then(|v| v.to_str().ok()).unwrap_or_default();
                        credentials.lock().unwrap().push(shown.to_owned());
                        async move { Ok::<_, std::convert::Infallible>(reply(request, &*answer, &seen).await) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Hook {
            ca_bundle: base64::engine::general_purpose::STANDARD.encode(pem),
            address,
            calls,
            shown,
        }
    }

    /// A `clientConfig` by URL.
    pub(crate) fn by_url(&self, path: &str) -> Value {
        json!({"url": format!("https://{}{path}", self.address), "caBundle": self.ca_bundle})
    }

    /// Bodies received so far.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.calls
            .lock()
            .unwrap()
            .iter()
            .map(|(_, body)| body.clone())
            .collect()
    }

    /// `Authorization` headers received so far; empty for none.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.shown.lock().unwrap().clone()
    }

    /// Paths with query received so far.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.calls
            .lock()
            .unwrap()
            .iter()
            .map(|(path, _)| path.clone())
            .collect()
    }
}

async fn reply(
    request: Request<hyper::body::Incoming>,
    answer: &(dyn Fn(&str, &Value) -> Reply + Send + Sync),
    seen: &Mutex<Vec<(String, Value)>>,
) -> http::Response<Body> {
    let path = request.uri().to_string();
    let bytes = request.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let reply = answer(&path, &body);
    seen.lock().unwrap().push((path, body));
    match reply {
        Reply::Json(value) => http::Response::new(Body::from(value.to_string())),
        Reply::Text(code, text) => {
            let mut response = http::Response::new(Body::from(text));
            *response.status_mut() = StatusCode::from_u16(code).unwrap();
            response
        }
        Reply::Hang => std::future::pending().await,
    }
}
