//! A client that gets at everything of an answer.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rkind_tests::http1::stream;
use rkind_tests::servers::Target;
use serde_json::Value;

/// What a server said.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// 0 where it closed the connection instead.
    pub(crate) code: u16,
    /// The texts of the Warning headers.
    pub(crate) warnings: Vec<String>,
    /// JSON, or else the text as one string.
    pub(crate) body: Value,
}

/// A request but for its place in a [`crate::script::Script`].
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// With the query.
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

/// One connection, one request at a time; opened again when the server has closed it.
pub(crate) struct Client<'a> {
    target: &'a Target,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(target: &'a Target) -> Client<'a> {
        Client { target, sender: None }
    }

    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Answer> {
        let what = || format!("{} {}", request.method, request.path);
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => {
                let stream = stream(self.target, b"http/1.1").await?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                sender
            }
        };
        sender.ready().await?;
        let mut head = http::Request::builder()
            .method(request.method)
            .uri(&request.path)
            .header("host", "localhost");
        if let Some(token) = &self.target.token {
            head = head.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in &request.headers {
            head = head.header(*name, value);
        }
        let request = head.body(Full::new(request.body.clone())).with_context(what)?;
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            // A panic, most likely; the next request has another connection.
            Err(error) => {
                return Ok(Answer {
                    code: 0,
                    warnings: vec![],
                    body: error.to_string().into(),
                });
            }
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.with_context(what)?.to_bytes();
        self.sender = Some(sender);
        let warnings = head.headers.get_all("warning").iter();
        Ok(Answer {
            code: head.status.as_u16(),
            warnings: warnings
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect(),
            body: serde_json::from_slice(&body)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned())),
        })
    }
}
