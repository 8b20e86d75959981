//! Types of the variables in configurations of authentication and authorization
//! (`k8s.io/apiserver/pkg/authentication/cel`, `k8s.io/apiserver/pkg/authorization/cel`).

use crate::{
    Env,
    request::{object, strings, user_info},
    types::Type,
};

/// An environment with `claims`, a token's claims as they came.
#[must_use]
pub fn claims() -> Env {
    let claims = Type::map(Type::String, Type::Dyn);
    Env::new().variable("claims", claims).build()
}

/// An environment with `user`, who a token's claims were mapped to.
#[must_use]
pub fn user() -> Env {
    Env::new().variable("user", user_info()).build()
}

/// An environment with `request`, the spec of a SubjectAccessReview in version v1.
#[must_use]
pub fn access_review() -> Env {
    let text = || Type::String;
    let selector = |name: &str| {
        let requirement = object(
            "kubernetes.SelectorRequirement",
            [("key", text()), ("operator", text()), ("values", strings())],
        );
        object(
            name,
            [("rawSelector", text()), ("requirements", Type::list(requirement))],
        )
    };
    let resource = object(
        "kubernetes.ResourceAttributes",
        [
            ("namespace", text()),
            ("verb", text()),
            ("group", text()),
            ("version", text()),
            ("resource", text()),
            ("subresource", text()),
            ("name", text()),
            ("fieldSelector", selector("kubernetes.FieldSelectorAttributes")),
            ("labelSelector", selector("kubernetes.LabelSelectorAttributes")),
        ],
    );
    let path = object(
        "kubernetes.NonResourceAttributes",
        [("path", text()), ("verb", text())],
    );
    let spec = object(
        "kubernetes.SubjectAccessReviewSpec",
        [
            ("resourceAttributes", resource),
            ("nonResourceAttributes", path),
            ("user", text()),
            ("groups", strings()),
            ("extra", Type::map(text(), strings())),
            ("uid", text()),
        ],
    );
    Env::new().variable("request", spec).build()
}
