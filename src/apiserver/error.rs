//! The one error of a request: a `Status`, boxed because it is large and rare.

use rkind_apimachinery::{meta::GroupResource, status::Status};

/// Result of every stage of a request.
pub(crate) type Result<T, E = Box<Status>> = std::result::Result<T, E>;

/// What a store's failure is to a client. `Conflict`, `Exists` and `NotFound` are met where they
/// arise; what comes here is beyond the request's fault.
pub(crate) fn store(gr: &GroupResource, error: &rkind_store::Error) -> Box<Status> {
    match error {
        rkind_store::Error::Compacted { .. } => {
            Status::expired("The resourceVersion for the provided list is too old.").into()
        }
        rkind_store::Error::TooLarge { .. } => Status::request_entity_too_large(&error.to_string()).into(),
        rkind_store::Error::Future { requested, current } => too_large_version(*requested, *current),
        // Only the server's own end closes it.
        rkind_store::Error::Closed => Status::service_unavailable("the server is shutting down").into(),
        _ => {
            tracing::error!(resource = %gr, %error, "store refused");
            Status::internal_error(&error.to_string()).into()
        }
    }
}

/// 504 for a `resourceVersion` that is not reached yet; the cause is what client-go looks for.
pub(crate) fn too_large_version(requested: u64, current: u64) -> Box<Status> {
    let mut status = Status::timeout(
        &format!("Too large resource version: {requested}, current: {current}"),
        1,
    );
    if let Some(details) = status.details.as_deref_mut() {
        details.causes.push(rkind_apimachinery::status::Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            ..Default::default()
        });
    }
    status.into()
}
