//! Recording `core/v1` Events: never waits, never fails its caller.
//!
//! As client-go's correlator: the same event again raises `count` on the stored object; more than ten
//! different messages for one object and reason within ten minutes are combined into one event; an
//! object that causes more than 25 events in a burst is muted to one per five minutes.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use tokio::sync::mpsc;

use crate::{Client, ErrorExt};

mod correlate;
use correlate::{Correlator, Outcome};

/// How many events may wait to be written before new ones are dropped.
const BACKLOG: usize = 1000;

/// `Event.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Information only.
    Normal,
    /// Something to look at.
    Warning,
}

impl EventType {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What somebody wants recorded.
#[derive(Debug, Clone)]
pub(crate) struct Occurrence {
    about: ObjectReference,
    kind: EventType,
    reason: String,
    message: String,
    at: Timestamp,
}

/// Records events in the name of one component. Cheap to clone.
#[derive(Clone)]
pub struct EventRecorder {
    sender: mpsc::Sender<Occurrence>,
}

impl EventRecorder {
    /// Events carry `component` (such as `deployment-controller`) and `host` (a node's name, or empty) as
    /// their source. Must be called within a tokio runtime.
    pub fn new(client: Client, component: &str, host: &str) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let source = Arc::new((component.to_owned(), host.to_owned()));
        tokio::spawn(write_all(client, source, receiver));
        Self { sender }
    }

    /// A recorder that drops everything, for tests of what uses one.
    pub fn discard() -> Self {
        let (sender, _) = mpsc::channel(1);
        Self { sender }
    }

    /// Something happened to `object`.
    pub fn event<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.event_ref(object_reference(object), kind, reason, message);
    }

    /// Something happened to the object (or the part of it, by `fieldPath`) that `about` names.
    pub fn event_ref(
        &self,
        about: ObjectReference,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let occurrence = Occurrence {
            about,
            kind,
            reason: reason.to_owned(),
            message: message.into(),
            at: Timestamp::now(),
        };
        if let Err(mpsc::error::TrySendError::Full(lost)) = self.sender.try_send(occurrence) {
            tracing::warn!(
                reason = lost.reason,
                message = lost.message,
                "event dropped, too many are waiting"
            );
        }
    }
}

/// A reference to the whole of `object`.
pub fn object_reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

async fn write_all(
    client: Client,
    source: Arc<(String, String)>,
    mut occurrences: mpsc::Receiver<Occurrence>,
) {
    let mut correlator = Correlator::default();
    while let Some(occurrence) = occurrences.recv().await {
        let outcome = correlator.observe(occurrence);
        if let Err(error) = write(&client, &source, &mut correlator, outcome).await {
            // Upstream retries; here the next occurrence of a lasting state does.
            tracing::debug!(error = %crate::chain(&error), "event not written");
        }
    }
}

async fn write(
    client: &Client,
    source: &(String, String),
    correlator: &mut Correlator,
    outcome: Outcome,
) -> kube::Result<()> {
    let (key, occurrence, repeat) = match outcome {
        Outcome::Muted => return Ok(()),
        Outcome::New { key, occurrence } => (key, occurrence, None),
        Outcome::Repeat {
            key,
            occurrence,
            name,
            count,
        } => (key, occurrence, Some((name, count))),
    };
    let namespace = occurrence.about.namespace.clone().filter(|n| !n.is_empty());
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    if let Some((name, count)) = repeat {
        let patch = serde_json::json!({
            "count": count,
            "lastTimestamp": Time(occurrence.at),
            "message": occurrence.message,
        });
        match events
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            // Events expire: then it is a first one again.
            Err(error) if error.is_not_found() => correlator.restart(&key, occurrence.at),
            other => return other.map(|_| ()),
        }
    }
    let event = new_event(source, &namespace, &occurrence);
    let name = event.metadata.name.clone().unwrap_or_default();
    events.create(&PostParams::default(), &event).await?;
    correlator.written(&key, name);
    Ok(())
}

fn new_event(source: &(String, String), namespace: &str, occurrence: &Occurrence) -> Event {
    let (component, host) = source;
    let subject = occurrence.about.name.as_deref().unwrap_or_default();
    let nanoseconds = occurrence.at.as_nanosecond();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{subject}.{nanoseconds:x}")),
            namespace: Some(namespace.to_owned()),
            ..Default::default()
        },
        involved_object: occurrence.about.clone(),
        type_: Some(occurrence.kind.as_str().to_owned()),
        reason: Some(occurrence.reason.clone()),
        message: Some(occurrence.message.clone()),
        count: Some(1),
        first_timestamp: Some(Time(occurrence.at)),
        last_timestamp: Some(Time(occurrence.at)),
        source: Some(EventSource {
            component: Some(component.clone()),
            host: Some(host.clone()).filter(|h| !h.is_empty()),
        }),
        reporting_component: Some(component.clone()),
        reporting_instance: Some(host.clone()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
