//! `metav1.Status`: the one shape in which the API answers an error (and some
//! successes), with upstream's code, reason, message and details
//! (`k8s.io/apimachinery/pkg/api/errors`).
//!
//! Every constructor returns a [`Status`]; `code` is also the HTTP status.
//! `Status::to_value` / `serde` give the wire form. Resources are named by
//! [`GroupResource`], kinds by group and kind:
//!
//! ```text
//! Status::not_found(&gr, name)             404 pods "x" not found
//! Status::already_exists(&gr, name)        409 deployments.apps "web" already exists
//! Status::conflict(&gr, name, why)         409 Operation cannot be fulfilled on pods "x": why
//! Status::modified(&gr, name)              409 … the object has been modified; …
//! Status::invalid(group, kind, name, &ErrorList)   422 Pod "x" is invalid: …
//! Status::forbidden(&gr, name, why)        403 pods "x" is forbidden: why
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::field::{ErrorList, quote};
use crate::meta::GroupResource;

/// What upstream says when a compare-and-swap lost.
pub const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// `metav1.StatusCause`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// `metav1.StatusDetails`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Seconds after which the client may try again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_no_code(code: &u16) -> bool {
    *code == 0
}

/// `metav1.ListMeta` of a status: present on the wire, and nearly always empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusMeta {
    /// Where a list may be gone on with although its version is gone.
    #[serde(rename = "continue", default, skip_serializing_if = "String::is_empty")]
    pub next: String,
}

/// `metav1.Status.status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Success,
    #[default]
    Failure,
}

/// `metav1.Status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub kind: String,
    pub api_version: String,
    #[serde(default)]
    pub metadata: Box<StatusMeta>,
    #[serde(default)]
    pub status: Outcome,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
    /// The HTTP status code; 0 for a success.
    #[serde(default, skip_serializing_if = "is_no_code")]
    pub code: u16,
}

impl Status {
    /// Any failure: prefer the named constructors.
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: "Status".into(),
            api_version: "v1".into(),
            metadata: Box::default(),
            status: Outcome::Failure,
            message: message.into(),
            reason: reason.into(),
            details: None,
            code,
        }
    }

    /// A success, as a completed delete answers it.
    #[must_use]
    pub fn success(details: Option<Details>) -> Self {
        Self {
            kind: "Status".into(),
            api_version: "v1".into(),
            metadata: Box::default(),
            status: Outcome::Success,
            message: String::new(),
            reason: String::new(),
            details: details.map(Box::new),
            code: 0,
        }
    }

    /// The same status with these details.
    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    fn about(self, gr: &GroupResource, name: &str) -> Self {
        self.with_details(Details {
            name: name.into(),
            group: gr.group.clone(),
            kind: gr.resource.clone(),
            ..Details::default()
        })
    }

    /// 404: the named object is not there.
    #[must_use]
    pub fn not_found(gr: &GroupResource, name: &str) -> Self {
        Self::failure(404, "NotFound", format!("{gr} {} not found", quote(name))).about(gr, name)
    }

    /// 404: the path names no resource served here.
    #[must_use]
    pub fn unknown_resource() -> Self {
        Self::failure(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .with_details(Details::default())
    }

    /// 409: create of a name that is taken.
    #[must_use]
    pub fn already_exists(gr: &GroupResource, name: &str) -> Self {
        Self::failure(
            409,
            "AlreadyExists",
            format!("{gr} {} already exists", quote(name)),
        )
        .about(gr, name)
    }

    /// 409: every generated name tried was taken.
    #[must_use]
    pub fn generate_name_conflict(gr: &GroupResource, name: &str, retry_after_seconds: u32) -> Self {
        let m = format!(
            "{gr} {} already exists, the server was not able to generate a unique name for the object",
            quote(name)
        );
        let mut s = Self::failure(409, "AlreadyExists", m).about(gr, name);
        s.details.get_or_insert_default().retry_after_seconds = retry_after_seconds;
        s
    }

    /// 401. Upstream's server says "Unauthorized".
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::failure(401, "Unauthorized", message)
    }

    /// 403: an empty resource is a non-resource request, an empty name a
    /// request on the collection.
    #[must_use]
    pub fn forbidden(gr: &GroupResource, name: &str, why: &str) -> Self {
        let m = if gr.resource.is_empty() {
            format!("forbidden: {why}")
        } else if name.is_empty() {
            format!("{gr} is forbidden: {why}")
        } else {
            format!("{gr} {} is forbidden: {why}", quote(name))
        };
        Self::failure(403, "Forbidden", m).about(gr, name)
    }

    /// 409: the request contradicts the stored object.
    #[must_use]
    pub fn conflict(gr: &GroupResource, name: &str, why: &str) -> Self {
        let m = format!("Operation cannot be fulfilled on {gr} {}: {why}", quote(name));
        Self::failure(409, "Conflict", m).about(gr, name)
    }

    /// 409: the resourceVersion sent is not the stored one.
    #[must_use]
    pub fn modified(gr: &GroupResource, name: &str) -> Self {
        Self::conflict(gr, name, MODIFIED)
    }

    /// 409: server-side apply met fields owned by others.
    pub fn apply_conflict(message: impl Into<String>, causes: Vec<Cause>) -> Self {
        Self::failure(409, "Conflict", message).with_details(Details {
            causes,
            ..Details::default()
        })
    }

    /// 410: something that existed once will not come back.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::failure(410, "Gone", message)
    }

    /// 410: the resourceVersion or continue token asked for is compacted.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, "Expired", message)
    }

    /// 422: the object breaks rules. `group` may be empty.
    #[must_use]
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &ErrorList) -> Self {
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let mut message = format!("{qualified} {} is invalid", quote(name));
        if !errors.is_empty() {
            message.push_str(": ");
            message.push_str(&errors.to_string());
        }
        let causes = errors
            .iter()
            .map(|e| Cause {
                reason: e.kind.cause().into(),
                message: e.body(),
                field: e.field.clone(),
            })
            .collect();
        Self::failure(422, "Invalid", message).with_details(Details {
            name: name.into(),
            group: group.into(),
            kind: kind.into(),
            causes,
            ..Details::default()
        })
    }

    /// 400: the request can't be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// 429 with `Retry-After`, in seconds.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::failure(429, "TooManyRequests", message).with_details(Details {
            retry_after_seconds,
            ..Details::default()
        })
    }

    /// 503.
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, "ServiceUnavailable", message)
    }

    /// 422 without a field to blame: a patch that does not fit the object.
    /// Upstream's answer does not say why; the log does.
    #[must_use]
    pub fn unprocessable(why: &str) -> Self {
        tracing::debug!(why, "unprocessable");
        Self::failure(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
        )
        .with_details(Details::default())
    }

    /// 405: the resource knows no such verb.
    #[must_use]
    pub fn method_not_supported(gr: &GroupResource, action: &str) -> Self {
        let m = format!(
            "{action} is not supported on resources of kind {}",
            quote(&gr.to_string())
        );
        Self::failure(405, "MethodNotAllowed", m).about(gr, "")
    }

    /// 405 where no resource is known.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::failure(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_details(Details::default())
    }

    /// 406. `accepted` are media types.
    #[must_use]
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let m = format!(
            "only the following media types are accepted: {}",
            accepted.join(", ")
        );
        Self::failure(406, "NotAcceptable", m)
    }

    /// 415. `accepted` are media types.
    #[must_use]
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let m = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::failure(415, "UnsupportedMediaType", m)
    }

    /// 413.
    #[must_use]
    pub fn request_entity_too_large(why: &str) -> Self {
        Self::failure(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: {why}"),
        )
    }

    /// 500: a fault of the server; `why` reaches the client.
    #[must_use]
    pub fn internal_error(why: &str) -> Self {
        let causes = vec![Cause {
            message: why.into(),
            ..Cause::default()
        }];
        Self::failure(500, "InternalError", format!("Internal error occurred: {why}")).with_details(Details {
            causes,
            ..Details::default()
        })
    }

    /// 504: the request's own deadline passed.
    #[must_use]
    pub fn timeout(why: &str, retry_after_seconds: u32) -> Self {
        Self::failure(504, "Timeout", format!("Timeout: {why}")).with_details(Details {
            retry_after_seconds,
            ..Details::default()
        })
    }

    /// 500: an operation could not be completed now.
    #[must_use]
    pub fn server_timeout(gr: &GroupResource, operation: &str, retry_after_seconds: u32) -> Self {
        let m = format!(
            "The {operation} operation against {gr} could not be completed at this time, please try again."
        );
        let mut s = Self::failure(500, "ServerTimeout", m).about(gr, operation);
        s.details.get_or_insert_default().retry_after_seconds = retry_after_seconds;
        s
    }

    /// The wire form.
    #[must_use]
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The wire form's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests;
