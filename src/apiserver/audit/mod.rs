//! What is written down of requests: `audit.k8s.io/v1` events by a policy.
//! Upstream: `k8s.io/apiserver/pkg/audit`.
//!
//! Without a policy nothing here runs. With one, a request carries a [`Recording`]; any stage may
//! add to it by [`annotate`], which does nothing for a request that is not audited.

mod event;
mod log;
mod policy;
mod webhook;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::body::Body;
use bytes::Bytes;
use http::{Response, header, request::Parts};
use parking_lot::Mutex;
use rkind_apimachinery::{meta, status::Status};
use serde_json::Value;

use crate::{authn::Connection, options, outbound::RemoteError, request::RequestInfo, user::UserInfo};

pub(crate) use policy::{Level, Stage};

/// How long the server's end waits for events that are on their way.
const FLUSH: std::time::Duration = std::time::Duration::from_secs(5);

tokio::task_local! {
    static CURRENT: Arc<Recording>;
}

/// Why audit cannot be set up as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("audit policy: {0}")]
    Policy(String),
    #[error("audit log cannot be opened")]
    Log(#[source] std::io::Error),
    #[error("audit webhook")]
    Webhook(#[source] RemoteError),
}

/// Adds an annotation to the request's audit event: a plugin's verdict, for instance
/// `pod-security.kubernetes.io/enforce-policy`. The first value of a key stays. Costs nothing but a
/// look when the request is not audited.
pub(crate) fn annotate(key: &str, value: &str) {
    // Outside of an audited request there is nothing to add to.
    let _ = CURRENT.try_with(|recording| {
        let mut facts = recording.facts.lock();
        if facts.level >= Level::Metadata || !facts.judged {
            facts
                .annotations
                .entry(key.to_owned())
                .or_insert_with(|| value.to_owned());
        }
    });
}

/// Tells the request's audit event which object its body is: a creation's path does not say its name. `shown`
/// makes the form of it that the event has, where it has one.
pub(crate) fn about(object: &Value, shown: impl FnOnce() -> Value) {
    let _ = CURRENT.try_with(|recording| {
        let wanted = {
            let mut facts = recording.facts.lock();
            facts.name = meta::name(object).to_owned();
            facts.level >= Level::Request
        };
        if wanted {
            let object = shown();
            recording.facts.lock().request_object = Some(object);
        }
    });
}

/// Whether anybody will read what [`annotate`] is told: for values that cost something to make.
pub(crate) fn is_recording() -> bool {
    CURRENT
        .try_with(|recording| {
            let facts = recording.facts.lock();
            !facts.judged || facts.level >= Level::Metadata
        })
        .unwrap_or(false)
}

/// Runs a request's stages with its recording at hand.
pub(crate) async fn scope<F: Future>(recording: Option<Arc<Recording>>, work: F) -> F::Output {
    match recording {
        Some(recording) => CURRENT.scope(recording, work).await,
        None => work.await,
    }
}

/// The recording of the request that runs this, if it is audited.
pub(crate) fn current() -> Option<Arc<Recording>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// What is written down as the code of a request whose client went before it was answered.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The recording of a request that is not answered yet. Dropped before [`Pending::answered`], as when the
/// client hangs up, it tells so: who resets a stream is audited as everybody.
#[derive(Default)]
pub(crate) struct Pending(Option<Arc<Recording>>);

impl Pending {
    pub(crate) fn new(recording: Option<Arc<Recording>>) -> Self {
        Pending(recording)
    }

    /// The recording, if the request is audited.
    pub(crate) fn recording(&self) -> Option<&Arc<Recording>> {
        self.0.as_ref()
    }

    /// As [`Recording::answered`].
    pub(crate) async fn answered(mut self, response: Response<Body>, long: bool) -> Response<Body> {
        match &self.0 {
            None => response,
            Some(recording) => {
                let response = recording.clone().answered(response, long).await;
                self.0 = None;
                response
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(recording) = self.0.take() {
            recording.abandoned();
        }
    }
}

/// What is known of one request so far.
#[derive(Default)]
struct Facts {
    /// The policy was asked.
    judged: bool,
    level: Level,
    omit: Vec<Stage>,
    omit_managed_fields: bool,
    user: Option<UserInfo>,
    impersonated: Option<UserInfo>,
    annotations: BTreeMap<String, String>,
    /// Of the object in the body, where it was read.
    name: String,
    request_object: Option<Value>,
    response_object: Option<Value>,
}

/// One audited request.
pub(crate) struct Recording {
    auditor: Arc<Auditor>,
    id: String,
    uri: String,
    verb: String,
    info: RequestInfo,
    source: Vec<String>,
    agent: String,
    received: jiff::Timestamp,
    facts: Mutex<Facts>,
}

impl Recording {
    /// Asks the policy and tells of the request's arrival; waits for a log that is far behind.
    pub(crate) async fn begin(&self, user: &UserInfo) {
        if let Some(log) = &self.auditor.log {
            log.room().await;
        }
        let (level, omit, omit_managed_fields) = self.auditor.policy.judge(user, &self.info);
        {
            let mut facts = self.facts.lock();
            facts.judged = true;
            facts.level = level;
            facts.omit = omit;
            facts.omit_managed_fields = omit_managed_fields;
            facts.user = Some(user.clone());
        }
        self.emit(Stage::RequestReceived, None);
    }

    /// Who the request runs as, when that is somebody else.
    pub(crate) fn impersonated(&self, user: &UserInfo) {
        self.facts.lock().impersonated = Some(user.clone());
    }

    /// What admission had to say.
    pub(crate) fn annotated(&self, annotations: Vec<(String, String)>) {
        let mut facts = self.facts.lock();
        for (key, value) in annotations {
            facts.annotations.entry(key).or_insert(value);
        }
    }

    /// The level, once the policy was asked.
    pub(crate) fn level(&self) -> Level {
        self.facts.lock().level
    }

    /// The body that came, of a request whose body is no object of its resource: a patch as it was sent,
    /// options of a deletion.
    pub(crate) fn request_body(&self, body: &Bytes, parts: &Parts) {
        let kind = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok());
        let object = event::object(body, kind);
        self.facts.lock().request_object = match object {
            Some(Value::Object(options)) if self.info.verb.starts_with("delete") => {
                Some(event::delete_options(options))
            }
            object => object,
        };
    }

    /// The answer: its body too, where the policy wants it.
    async fn answered(self: Arc<Self>, mut response: Response<Body>, long: bool) -> Response<Body> {
        if self.level() == Level::None {
            return response;
        }
        let code = response.status().as_u16();
        if long {
            self.emit(Stage::ResponseStarted, Some(code));
            let ends = event::Ends::new(self, code);
            let (parts, body) = response.into_parts();
            return Response::from_parts(parts, Body::new(event::Watched::new(body, ends)));
        }
        if self.level() == Level::RequestResponse {
            let kind = response
                .headers()
                .get(header::CONTENT_TYPE)
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned);
            let packed = response.headers().contains_key(header::CONTENT_ENCODING);
            let (parts, body) = response.into_parts();
            let bytes = match http_body_util::BodyExt::collect(body).await {
                Ok(collected) => collected.to_bytes(),
                Err(_) => Bytes::new(),
            };
            if !packed {
                self.facts.lock().response_object = event::object(&bytes, kind.as_deref());
            }
            response = Response::from_parts(parts, Body::from(bytes));
        }
        self.emit(Stage::ResponseComplete, Some(code));
        response
    }

    /// Nobody waits for the answer any more; what was begun may have been done all the same.
    fn abandoned(&self) {
        self.emit(Stage::ResponseComplete, Some(CLIENT_CLOSED_REQUEST));
    }

    /// The request met a fault.
    pub(crate) fn panicked(&self) {
        self.emit(Stage::Panic, Some(500));
    }

    /// What the client was told instead of an answer.
    pub(crate) fn refused(&self, status: &Status) {
        let mut facts = self.facts.lock();
        if facts.response_object.is_none() {
            facts.response_object = Some(status.to_value());
        }
    }

    fn emit(&self, stage: Stage, code: Option<u16>) {
        let event = {
            let facts = self.facts.lock();
            if facts.level == Level::None || facts.omit.contains(&stage) {
                return;
            }
            event::render(self, &facts, stage, code)
        };
        self.auditor.write(&event);
    }
}

/// The policy and where events go.
pub(crate) struct Auditor {
    policy: policy::Policy,
    log: Option<log::Log>,
    webhook: Option<webhook::Webhook>,
    events: AtomicU64,
}

impl Auditor {
    /// By options; `None` without a policy.
    ///
    /// # Errors
    /// When the policy is not valid or a backend cannot be used.
    pub(crate) fn new(options: &options::Audit) -> Result<Option<Arc<Auditor>>, Error> {
        let Some(policy) = &options.audit_policy_file else {
            return Ok(None);
        };
        Ok(Some(Arc::new(Auditor {
            policy: policy::Policy::parse(policy).map_err(Error::Policy)?,
            log: options
                .audit_log_path
                .as_ref()
                .map(|path| log::Log::open(path, options))
                .transpose()
                .map_err(Error::Log)?,
            webhook: options
                .audit_webhook_config_file
                .as_deref()
                .map(|kubeconfig| webhook::Webhook::new(kubeconfig, options))
                .transpose()
                .map_err(Error::Webhook)?,
            events: AtomicU64::new(0),
        })))
    }

    /// Begins the recording of a request.
    pub(crate) fn record(self: &Arc<Self>, parts: &Parts, info: &RequestInfo, id: &str) -> Arc<Recording> {
        let text = |name: &str| {
            let value = parts.headers.get(name).and_then(|v| v.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let mut source: Vec<String> = text("x-forwarded-for")
            .split(',')
            .map(str::trim)
            .chain(std::iter::once(text("x-real-ip").trim()))
            .filter(|ip| ip.parse::<std::net::IpAddr>().is_ok())
            .map(str::to_owned)
            .collect();
        let peer = parts.extensions.get::<Connection>().and_then(|c| c.peer);
        source.extend(peer.map(|peer| peer.ip().to_string()));
        source.dedup();
        Arc::new(Recording {
            auditor: self.clone(),
            id: id.to_owned(),
            uri: parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
            verb: info.verb.clone(),
            info: info.clone(),
            source,
            agent: text("user-agent"),
            received: jiff::Timestamp::now(),
            facts: Mutex::default(),
        })
    }

    /// Waits until all events have left, for as long as [`FLUSH`] at most: the server ends.
    pub(crate) async fn flush(&self) {
        let all = async {
            if let Some(log) = &self.log {
                log.flush().await;
            }
            if let Some(webhook) = &self.webhook {
                webhook.flush().await;
            }
        };
        if tokio::time::timeout(FLUSH, all).await.is_err() {
            tracing::error!("audit events are lost: they did not leave in time");
        }
    }

    /// Number of events written, upstream's `apiserver_audit_event_total`.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    fn write(&self, event: &Value) {
        self.events.fetch_add(1, Ordering::Relaxed);
        if let Some(log) = &self.log {
            log.write(event);
        }
        if let Some(webhook) = &self.webhook {
            webhook.write(event.clone());
        }
    }
}
