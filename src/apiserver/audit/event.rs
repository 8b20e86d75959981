//! One request at one stage -> `audit.k8s.io/v1 Event`.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use serde_json::{Map, Value, json};

use super::{Facts, Level, Recording, Stage};
use crate::{machinery, registry::reviews::user_info};

/// A body as an object, where it is one.
pub(super) fn object(body: &Bytes, content_type: Option<&str>) -> Option<Value> {
    if body.is_empty() {
        return None;
    }
    let kind = content_type.unwrap_or("application/json");
    if kind.contains("yaml") {
        return machinery::yaml(std::str::from_utf8(body).ok()?).ok();
    }
    if kind.contains("protobuf") {
        return machinery::protobuf_any(body);
    }
    serde_json::from_slice(body).ok()
}

/// Options as upstream writes them down: in the version that it works with.
pub(super) fn delete_options(options: Map<String, Value>) -> Value {
    let mut object = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/__internal"});
    for (name, value) in options {
        if object.get(&name).is_none() {
            object[name] = value;
        }
    }
    object
}

fn micro(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Takes `managedFields` out of an object and of a list's items.
fn without_managed_fields(value: &mut Value) {
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
    }
    for item in value
        .get_mut("items")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        without_managed_fields(item);
    }
}

pub(super) fn render(recording: &Recording, facts: &Facts, stage: Stage, code: Option<u16>) -> Value {
    let info = &recording.info;
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": facts.level.as_str(),
        "auditID": recording.id, "stage": stage.as_str(), "requestURI": recording.uri,
        "verb": recording.verb, "user": facts.user.as_ref().map(user_info).unwrap_or_default(),
        "sourceIPs": recording.source,
        "requestReceivedTimestamp": micro(recording.received),
        "stageTimestamp": micro(jiff::Timestamp::now()),
    });
    if let Some(user) = &facts.impersonated {
        event["impersonatedUser"] = user_info(user);
    }
    if !recording.agent.is_empty() {
        event["userAgent"] = json!(recording.agent);
    }
    let response = facts.response_object.as_ref();
    if info.is_resource {
        let mut reference = serde_json::Map::new();
        let sent = facts.request_object.as_ref();
        let own = |field: &str| -> String {
            let value = |object: Option<&Value>| Some(object?["metadata"][field].as_str()?.to_owned());
            let status = response.is_some_and(|r| r["kind"] == "Status");
            let answered = if status { None } else { value(response) };
            value(sent).or(answered).unwrap_or_default()
        };
        let known = [&info.name, &facts.name]
            .into_iter()
            .find(|name| !name.is_empty());
        let name = known.cloned().unwrap_or_else(|| own("name"));
        for (key, value) in [
            ("resource", info.resource.clone()),
            ("namespace", info.namespace.clone()),
            ("name", name),
            ("uid", own("uid")),
            ("apiGroup", info.group.clone()),
            ("apiVersion", info.version.clone()),
            (
                "resourceVersion",
                sent.and_then(|o| o["metadata"]["resourceVersion"].as_str())
                    .unwrap_or_default()
                    .to_owned(),
            ),
            ("subresource", info.subresource.clone()),
        ] {
            if !value.is_empty() {
                reference.insert(key.into(), Value::String(value));
            }
        }
        event["objectRef"] = Value::Object(reference);
    }
    if let Some(code) = code {
        let mut status = json!({"metadata": {}, "code": code});
        if let Some(told) = response.filter(|r| r["kind"] == "Status") {
            for field in ["status", "reason", "message"] {
                if told[field].is_string() {
                    status[field] = told[field].clone();
                }
            }
            if told["details"].is_object() {
                status["details"] = told["details"].clone();
            }
        }
        event["responseStatus"] = status;
    }
    let shown = |object: &Value| {
        let mut object = object.clone();
        if facts.omit_managed_fields {
            without_managed_fields(&mut object);
        }
        object
    };
    if facts.level >= Level::Request
        && let Some(object) = &facts.request_object
    {
        event["requestObject"] = shown(object);
    }
    if facts.level >= Level::RequestResponse
        && code.is_some()
        && let Some(object) = response
    {
        event["responseObject"] = shown(object);
    }
    if !facts.annotations.is_empty() {
        event["annotations"] = json!(facts.annotations);
    }
    event
}

/// Tells of a long answer's end when it is dropped.
pub(super) struct Ends {
    recording: Arc<Recording>,
    code: u16,
}

impl Ends {
    pub(super) fn new(recording: Arc<Recording>, code: u16) -> Self {
        Ends { recording, code }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.recording.emit(Stage::ResponseComplete, Some(self.code));
    }
}

/// A body whose end is told of.
pub(super) struct Watched {
    body: Body,
    _ends: Ends,
}

impl Watched {
    pub(super) fn new(body: Body, ends: Ends) -> Self {
        Watched { body, _ends: ends }
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
