//! Third stage: may they. `system:masters` may do everything, kubelets what their pods need,
//! everybody else what RBAC grants.

pub(crate) mod node;
pub(crate) mod rbac;

use rkind_apimachinery::{field::quote, meta::GroupResource, status::Status};

use crate::{
    error::Result,
    request::RequestInfo,
    user::{MASTERS, UserInfo},
};

/// What somebody wants to do. Upstream: `authorizer.Attributes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub verb: String,
    pub namespace: String,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    /// Path of a request for no resource; empty for resources.
    pub path: String,
    pub is_resource: bool,
    /// Field selector of a read of many, as text; empty for none.
    pub field_selector: String,
}

impl Attributes {
    /// Of a request.
    pub(crate) fn of(info: &RequestInfo) -> Self {
        Attributes {
            verb: info.verb.clone(),
            namespace: info.namespace.clone(),
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
            name: info.name.clone(),
            path: info.path.clone(),
            is_resource: info.is_resource,
            field_selector: info.field_selector.clone(),
        }
    }

    /// `resource` or `resource/subresource`.
    pub(crate) fn combined(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// Outcome of authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Allow(String),
    /// Nobody allowed it; with what went wrong on the way, if anything.
    NoOpinion(String),
}

impl Decision {
    pub(crate) fn allowed(&self) -> bool {
        matches!(self, Decision::Allow(_))
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Decision::Allow(reason) | Decision::NoOpinion(reason) => reason,
        }
    }
}

/// The chain of authorizers.
pub(crate) struct Authorizer {
    pub node: node::NodeAuthorizer,
    pub rbac: rbac::Rbac,
}

impl Authorizer {
    /// Decides.
    pub(crate) fn decide(&self, user: &UserInfo, wanted: &Attributes) -> Decision {
        if user.in_group(MASTERS) {
            return Decision::Allow(String::new());
        }
        let node = self.node.decide(user, wanted);
        if node.allowed() {
            return node;
        }
        match self.rbac.decide(user, wanted) {
            Decision::NoOpinion(why) if !node.reason().is_empty() => {
                let both = [node.reason(), &why].join("\n");
                Decision::NoOpinion(both.trim_end().to_owned())
            }
            decision => decision,
        }
    }

    /// Decides, as an error for the client.
    ///
    /// # Errors
    /// 403, worded as upstream's `responsewriters.Forbidden`.
    pub(crate) fn check(&self, user: &UserInfo, wanted: &Attributes) -> Result<()> {
        match self.decide(user, wanted) {
            Decision::Allow(_) => Ok(()),
            Decision::NoOpinion(reason) => Err(forbidden(user, wanted, &reason).into()),
        }
    }
}

/// The 403 for `wanted`.
pub(crate) fn forbidden(user: &UserInfo, wanted: &Attributes, reason: &str) -> Status {
    let mut why = denial(user, wanted);
    if !reason.is_empty() {
        why.push_str(": ");
        why.push_str(reason);
    }
    if !wanted.is_resource {
        return Status::forbidden(&GroupResource::default(), "", &why);
    }
    Status::forbidden(
        &GroupResource::new(&wanted.group, &wanted.resource),
        &wanted.name,
        &why,
    )
}

fn denial(user: &UserInfo, wanted: &Attributes) -> String {
    let who = quote(&user.name);
    let verb = &wanted.verb;
    if !wanted.is_resource {
        return format!("User {who} cannot {verb} path {}", quote(&wanted.path));
    }
    let what = format!(
        "User {who} cannot {verb} resource {} in API group {}",
        quote(&wanted.combined()),
        quote(&wanted.group)
    );
    if wanted.namespace.is_empty() {
        format!("{what} at the cluster scope")
    } else {
        format!("{what} in the namespace {}", quote(&wanted.namespace))
    }
}
