//! Types of the variables that admission expressions share
//! (`k8s.io/apiserver/pkg/admission/plugin/cel/compile.go`).

use std::sync::{Arc, LazyLock};

use crate::{
    Env, EnvBuilder,
    types::{self, ObjectType, Type},
};

pub(crate) fn object<const N: usize>(name: &str, fields: [(&str, Type); N]) -> Type {
    Type::Object(ObjectType::new(name, fields))
}

pub(crate) fn strings() -> Type {
    Type::list(Type::String)
}

fn string_map() -> Type {
    Type::map(Type::String, Type::String)
}

/// A user: name, UID, groups and what else is known.
pub(crate) fn user_info() -> Type {
    object(
        "kubernetes.UserInfo",
        [
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", strings()),
            ("extra", Type::map(Type::String, strings())),
        ],
    )
}

static REQUEST: LazyLock<Type> = LazyLock::new(|| {
    let text = || Type::String;
    let kind = || {
        object(
            "kubernetes.GroupVersionKind",
            [("group", text()), ("version", text()), ("kind", text())],
        )
    };
    let resource = || {
        object(
            "kubernetes.GroupVersionResource",
            [("group", text()), ("version", text()), ("resource", text())],
        )
    };
    object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind()),
            ("resource", resource()),
            ("subResource", text()),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource", text()),
            ("name", text()),
            ("namespace", text()),
            ("operation", text()),
            ("userInfo", user_info()),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
});

static NAMESPACE: LazyLock<Type> = LazyLock::new(|| {
    let text = || Type::String;
    let condition = object(
        "kubernetes.NamespaceCondition",
        [
            ("status", text()),
            ("type", text()),
            ("lastTransitionTime", Type::Timestamp),
            ("message", text()),
            ("reason", text()),
        ],
    );
    let metadata = object(
        "kubernetes.NamespaceMetadata",
        [
            ("name", text()),
            ("generateName", text()),
            ("namespace", text()),
            ("labels", string_map()),
            ("annotations", string_map()),
            ("UID", text()),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", text()),
            ("finalizers", strings()),
        ],
    );
    let spec = object("kubernetes.NamespaceSpec", [("finalizers", strings())]);
    let status = object(
        "kubernetes.NamespaceStatus",
        [("conditions", Type::list(condition)), ("phase", text())],
    );
    object(
        "kubernetes.Namespace",
        [("metadata", metadata), ("spec", spec), ("status", status)],
    )
});

/// The type of `request`: an AdmissionReview's request without uid and objects.
#[must_use]
pub fn request_type() -> Type {
    REQUEST.clone()
}

/// The type of `namespaceObject`.
#[must_use]
pub fn namespace_type() -> Type {
    NAMESPACE.clone()
}

/// An environment with `object`, `oldObject`, `request` and `authorizer`: what a webhook's match
/// conditions see.
#[must_use]
pub fn match_conditions() -> Env {
    base().build()
}

fn base() -> EnvBuilder {
    Env::new()
        .variable("object", Type::Dyn)
        .variable("oldObject", Type::Dyn)
        .variable("request", request_type())
        .variable("authorizer", types::authorizer())
        .variable("authorizer.requestResource", types::resource_check())
}

/// What a policy's expressions see: `namespaceObject` besides, and `params` when it has a
/// paramKind. `mutations`: also what makes patches.
#[must_use]
pub fn policy(params: bool, mutations: bool) -> Env {
    let mut builder = base().variable("namespaceObject", namespace_type());
    if params {
        builder = builder.variable("params", Type::Dyn);
    }
    if mutations {
        builder = builder.mutations();
    }
    builder.build()
}

/// The type of `variables` with these fields, in order of definition.
#[must_use]
pub fn variables_type(fields: &[(String, Type)]) -> Type {
    let fields = fields.iter().map(|(name, ty)| (name.as_str(), ty.clone()));
    let mut object = ObjectType {
        name: "kubernetes.variables".into(),
        ..ObjectType::default()
    };
    for (name, ty) in fields {
        let json = name.to_owned();
        object.fields.insert(name.to_owned(), types::Field { json, ty });
    }
    Type::Object(Arc::new(object))
}
