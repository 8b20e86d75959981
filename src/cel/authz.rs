//! The library that lets an expression ask whether a user may do something
//! (`k8s.io/apiserver/pkg/cel/library/authz.go`).

use std::{fmt, rc::Rc};

use crate::{types, value::Value};

/// Who answers. Called while an expression runs, so it must not wait long.
pub trait Authorizer: Send + Sync {
    /// May the request's user (or `question.service_account`) do this?
    fn authorize(&self, question: &Question) -> Answer;
}

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Namespace and name; `None`: the request's own user.
    pub service_account: Option<(String, String)>,
    /// The HTTP verb or the API verb.
    pub verb: String,
    /// Of a question about a URL path; all that follows is then empty.
    pub path: Option<String>,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// As given to `fieldSelector`.
    pub field_selector: Option<String>,
    /// As given to `labelSelector`.
    pub label_selector: Option<String>,
}

/// What is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub allowed: bool,
    pub reason: String,
    /// Why it could not be found out.
    pub error: Option<String>,
}

/// A value of the library: see [`crate::types`] for the types' names.
#[derive(Clone)]
pub enum Authz<'a> {
    Authorizer(&'a dyn Authorizer, Question),
    Path(&'a dyn Authorizer, Question),
    Group(&'a dyn Authorizer, Question),
    Resource(&'a dyn Authorizer, Question),
    Decision(Answer),
}

impl<'a> Authz<'a> {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Authz::Authorizer(..) => types::AUTHORIZER,
            Authz::Path(..) => types::PATH_CHECK,
            Authz::Group(..) => types::GROUP_CHECK,
            Authz::Resource(..) => types::RESOURCE_CHECK,
            Authz::Decision(_) => types::DECISION,
        }
    }

    /// The value of the variable `authorizer`.
    #[must_use]
    pub fn authorizer(authorizer: &'a dyn Authorizer) -> Value<'a> {
        Value::Authz(Rc::new(Authz::Authorizer(authorizer, Question::default())))
    }

    /// The value of the variable `authorizer.requestResource`.
    #[must_use]
    pub fn request_resource(authorizer: &'a dyn Authorizer, question: Question) -> Value<'a> {
        Value::Authz(Rc::new(Authz::Resource(authorizer, question)))
    }
}

impl fmt::Debug for Authz<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())
    }
}

type Out<'a> = Result<Value<'a>, String>;

/// Runs a function of the library on its target and texts.
pub(crate) fn call<'a>(name: &str, args: &[Value<'a>]) -> Option<Out<'a>> {
    let Value::Authz(target) = args.first()? else {
        return None;
    };
    let text = |i: usize| match args.get(i) {
        Some(Value::String(s)) => s.to_string(),
        _ => String::new(),
    };
    let value = |authz: Authz<'a>| Some(Ok(Value::Authz(Rc::new(authz))));
    match (&**target, name) {
        (Authz::Authorizer(who, q), "path") => {
            if text(1).is_empty() {
                return Some(Err("path must not be empty".into()));
            }
            let path = Some(text(1));
            value(Authz::Path(*who, Question { path, ..q.clone() }))
        }
        (Authz::Authorizer(who, q), "group") => value(Authz::Group(
            *who,
            Question {
                group: text(1),
                ..q.clone()
            },
        )),
        (Authz::Authorizer(who, q), "serviceAccount") => {
            let (namespace, name) = (text(1), text(2));
            if !rkind_apimachinery::names::dns1123_subdomain(&name).is_empty() {
                return Some(Err(format!("Invalid service account name: {name}")));
            }
            if !rkind_apimachinery::names::dns1123_label(&namespace).is_empty() {
                return Some(Err(format!("Invalid service account namespace: {namespace}")));
            }
            let service_account = Some((namespace, name));
            value(Authz::Authorizer(
                *who,
                Question {
                    service_account,
                    ..q.clone()
                },
            ))
        }
        (Authz::Group(who, q), "resource") => value(Authz::Resource(
            *who,
            Question {
                resource: text(1),
                ..q.clone()
            },
        )),
        (
            Authz::Resource(who, q),
            "subresource" | "namespace" | "name" | "fieldSelector" | "labelSelector",
        ) => {
            let mut question = q.clone();
            match name {
                "subresource" => question.subresource = text(1),
                "namespace" => question.namespace = text(1),
                "name" => question.name = text(1),
                "fieldSelector" => question.field_selector = Some(text(1)),
                _ => question.label_selector = Some(text(1)),
            }
            value(Authz::Resource(*who, question))
        }
        (Authz::Path(who, q) | Authz::Resource(who, q), "check") => {
            let question = Question {
                verb: text(1),
                ..q.clone()
            };
            value(Authz::Decision(who.authorize(&question)))
        }
        (Authz::Decision(answer), "allowed") => Some(Ok(Value::Bool(answer.allowed))),
        (Authz::Decision(answer), "reason") => Some(Ok(Value::string(answer.reason.clone()))),
        (Authz::Decision(answer), "errored") => Some(Ok(Value::Bool(answer.error.is_some()))),
        (Authz::Decision(answer), "error") => {
            Some(Ok(Value::string(answer.error.clone().unwrap_or_default())))
        }
        _ => None,
    }
}
