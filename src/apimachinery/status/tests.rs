use super::*;
use crate::field::{Error, Path};

fn gr(group: &str, resource: &str) -> GroupResource {
    GroupResource::new(group, resource)
}

#[test]
fn messages_are_upstreams() {
    let pods = gr("", "pods");
    let table = [
        (
            Status::not_found(&pods, "x"),
            404,
            "NotFound",
            "pods \"x\" not found",
        ),
        (
            Status::already_exists(&gr("apps", "deployments"), "web"),
            409,
            "AlreadyExists",
            "deployments.apps \"web\" already exists",
        ),
        (
            Status::modified(&pods, "x"),
            409,
            "Conflict",
            "Operation cannot be fulfilled on pods \"x\": the object has been modified; please apply your \
             changes to the latest version and try again",
        ),
        (
            Status::forbidden(&pods, "", "no"),
            403,
            "Forbidden",
            "pods is forbidden: no",
        ),
        (
            Status::forbidden(&gr("", ""), "", "no"),
            403,
            "Forbidden",
            "forbidden: no",
        ),
        (
            Status::internal_error("boom"),
            500,
            "InternalError",
            "Internal error occurred: boom",
        ),
        (
            Status::method_not_supported(&pods, "patch"),
            405,
            "MethodNotAllowed",
            "patch is not supported on resources of kind \"pods\"",
        ),
        (
            Status::server_timeout(&pods, "list", 0),
            500,
            "ServerTimeout",
            "The list operation against pods could not be completed at this time, please try again.",
        ),
    ];
    for (s, code, reason, message) in table {
        assert_eq!(
            (s.code, s.reason.as_str(), s.message.as_str()),
            (code, reason, message)
        );
    }
}

#[test]
fn invalid_has_causes() {
    let mut errs = ErrorList::new();
    errs.push(Error::required(&Path::new("spec").child("containers"), ""));
    let s = Status::invalid("", "Pod", "x", &errs);
    assert_eq!(s.message, "Pod \"x\" is invalid: spec.containers: Required value");
    let v = s.to_value();
    assert_eq!(v["details"]["causes"][0]["reason"], "FieldValueRequired");
    assert_eq!(v["details"]["causes"][0]["field"], "spec.containers");
    assert_eq!(v["metadata"], serde_json::json!({}));
    assert_eq!(v["code"], 422);
    let s = Status::invalid("apps", "Deployment", "w", &errs);
    assert!(s.message.starts_with("Deployment.apps \"w\" is invalid: "));
}
