//! The authorizer as expressions ask it.

use rkind_cel::{Answer, Authorizer, Question};

use crate::{
    authz::{Attributes, Decision},
    core::Core,
    user::{AUTHENTICATED, UserInfo},
};

/// Asks on behalf of a request's user.
pub(super) struct Asked<'r> {
    pub core: &'r Core,
    pub user: &'r UserInfo,
}

impl Authorizer for Asked<'_> {
    fn authorize(&self, question: &Question) -> Answer {
        let account = question.service_account.as_ref().map(|(namespace, name)| {
            let of = format!("system:serviceaccounts:{namespace}");
            UserInfo::new(
                format!("system:serviceaccount:{namespace}:{name}"),
                &["system:serviceaccounts", &of, AUTHENTICATED],
            )
        });
        let wanted = match &question.path {
            Some(path) => Attributes {
                verb: question.verb.clone(),
                path: path.clone(),
                ..Attributes::default()
            },
            None => Attributes {
                verb: question.verb.clone(),
                namespace: question.namespace.clone(),
                group: question.group.clone(),
                version: "*".into(),
                resource: question.resource.clone(),
                subresource: question.subresource.clone(),
                name: question.name.clone(),
                is_resource: true,
                ..Attributes::default()
            },
        };
        let user = account.as_ref().unwrap_or(self.user);
        let decision = self.core.authorizer.decide_here(user, &wanted);
        Answer {
            allowed: matches!(decision, Decision::Allow(_)),
            reason: decision.reason().to_owned(),
            error: None,
        }
    }
}
