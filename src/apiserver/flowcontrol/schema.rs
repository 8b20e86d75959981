//! Which requests are of a flow. Upstream: `rule.go`.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use http::HeaderValue;
use serde::Deserialize;

use super::{Counters, Level};
use crate::{cacher::Obj, request::RequestInfo, user::UserInfo};

/// A FlowSchema.
pub(super) struct Schema {
    pub name: String,
    pub uid: HeaderValue,
    pub precedence: i32,
    pub level: Arc<Level>,
    pub counters: Arc<Counters>,
    by: Distinguisher,
    rules: Vec<Rule>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Distinguisher {
    Nothing,
    User,
    Namespace,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    uid: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    priority_level_configuration: Named,
    matching_precedence: i32,
    distinguisher_method: Option<Method>,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Method {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    subjects: Vec<Subject>,
    resource_rules: Vec<ResourceRule>,
    non_resource_rules: Vec<PathRule>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Subject {
    kind: String,
    user: Option<Named>,
    group: Option<Named>,
    service_account: Option<Named>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResourceRule {
    verbs: Vec<String>,
    api_groups: Vec<String>,
    resources: Vec<String>,
    cluster_scope: bool,
    namespaces: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PathRule {
    verbs: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    paths: Vec<String>,
}

fn has(list: &[String], value: &str) -> bool {
    list.iter().any(|item| item == "*" || item == value)
}

impl Subject {
    fn is(&self, user: &UserInfo) -> bool {
        let named = |named: &Option<Named>, name: &str| {
            named.as_ref().is_some_and(|n| n.name == "*" || n.name == name)
        };
        match self.kind.as_str() {
            "User" => named(&self.user, &user.name),
            "Group" => user.groups.iter().any(|group| named(&self.group, group)),
            "ServiceAccount" => user.service_account().is_some_and(|(namespace, name)| {
                let wanted = self.service_account.as_ref();
                wanted.is_some_and(|w| w.namespace == namespace && (w.name == "*" || w.name == name))
            }),
            _ => false,
        }
    }
}

impl ResourceRule {
    fn fits(&self, info: &RequestInfo) -> bool {
        let placed = if info.namespace.is_empty() {
            self.cluster_scope
        } else {
            has(&self.namespaces, &info.namespace)
        };
        let resource = |wanted: &String| match (info.subresource.as_str(), wanted.as_str()) {
            (_, "*") => true,
            ("", wanted) => wanted == info.resource,
            (sub, wanted) => wanted
                .strip_prefix(info.resource.as_str())
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|rest| rest == sub),
        };
        placed
            && has(&self.verbs, &info.verb)
            && has(&self.api_groups, &info.group)
            && self.resources.iter().any(resource)
    }
}

impl PathRule {
    fn fits(&self, info: &RequestInfo) -> bool {
        let path = |wanted: &String| {
            wanted == "*"
                || *wanted == info.path
                || wanted.ends_with("/*") && info.path.starts_with(wanted.trim_end_matches('*'))
        };
        has(&self.verbs, &info.verb) && self.paths.iter().any(path)
    }
}

impl Schema {
    /// Reads an object; `None` when its priority level does not exist.
    pub(super) fn read(
        object: &Obj,
        levels: &HashMap<String, Arc<Level>>,
        counters: Arc<Counters>,
    ) -> Option<Schema> {
        let read: Object = object
            .typed()
            .inspect_err(|error| tracing::warn!(name = object.name(), %error, "flow schema cannot be read"))
            .ok()?;
        let spec = read.spec;
        Some(Schema {
            name: object.name().to_owned(),
            uid: HeaderValue::from_str(&read.metadata.uid).ok()?,
            precedence: spec.matching_precedence,
            level: levels.get(&spec.priority_level_configuration.name)?.clone(),
            counters,
            by: match spec.distinguisher_method.as_ref().map(|m| m.kind.as_str()) {
                Some("ByUser") => Distinguisher::User,
                Some("ByNamespace") => Distinguisher::Namespace,
                _ => Distinguisher::Nothing,
            },
            rules: spec.rules,
        })
    }

    /// Whether a request is of this schema's flows.
    pub(super) fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        self.rules.iter().any(|rule| {
            rule.subjects.iter().any(|s| s.is(user))
                && if info.is_resource {
                    rule.resource_rules.iter().any(|r| r.fits(info))
                } else {
                    rule.non_resource_rules.iter().any(|r| r.fits(info))
                }
        })
    }

    /// What tells a flow from the schema's others.
    pub(super) fn distinguisher<'a>(&self, user: &'a UserInfo, info: &'a RequestInfo) -> &'a str {
        match self.by {
            Distinguisher::Nothing => "",
            Distinguisher::User => &user.name,
            Distinguisher::Namespace => &info.namespace,
        }
    }

    /// Number that a flow's queues are dealt by.
    pub(super) fn hash(&self, flow: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.name, flow).hash(&mut hasher);
        hasher.finish()
    }
}
