//! An object as it came over the wire. All kinds share one list and one watch in code: a kind adds
//! only the reading of its own objects, instead of copies of the whole machinery.

use std::borrow::Cow;

use kube::Resource;
use kube::api::{ApiResource, ObjectMeta};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// An object of any kind of which only the version is read.
///
/// A watch event must name its `type` before its `object`, as every API server writes it: text can't
/// be kept of what a decoder has to buffer.
#[derive(Debug, Clone)]
pub(crate) struct Unread {
    /// Nothing but `resourceVersion`, by which a watch goes on.
    meta: ObjectMeta,
    text: Box<RawValue>,
}

impl Unread {
    pub(crate) fn text(&self) -> &str {
        self.text.get()
    }

    pub(crate) fn version(&self) -> Option<&str> {
        self.meta.resource_version.as_deref()
    }
}

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Envelope {
            metadata: Version,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            resource_version: Option<String>,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let envelope: Envelope = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Unread {
            meta: ObjectMeta {
                resource_version: envelope.metadata.resource_version,
                ..ObjectMeta::default()
            },
            text,
        })
    }
}

impl Resource for Unread {
    type DynamicType = ApiResource;
    type Scope = kube::core::DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
