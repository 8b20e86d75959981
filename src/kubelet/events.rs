//! Events of the node agent.

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use rkind_client::{EventRecorder, EventType, object_reference};

use crate::pod::ContainerKind;

pub(crate) use EventType::{Normal, Warning};

/// Events about one container of a pod.
pub(crate) struct ContainerEvents {
    recorder: EventRecorder,
    about: ObjectReference,
}

impl ContainerEvents {
    pub(crate) fn new(recorder: &EventRecorder, pod: &Pod, kind: ContainerKind, name: &str) -> Self {
        let about = ObjectReference {
            field_path: Some(kind.field_path(name)),
            ..object_reference(pod)
        };
        Self {
            recorder: recorder.clone(),
            about,
        }
    }

    pub(crate) fn send(&self, kind: EventType, reason: &str, message: impl Into<String>) {
        self.recorder.event_ref(self.about.clone(), kind, reason, message);
    }
}
